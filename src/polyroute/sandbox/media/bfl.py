"""Black Forest Labs: pictures that are polled at another host."""

from __future__ import annotations

from typing import Any

from polyroute.sandbox.control import SandboxOperation
from polyroute.sandbox.errors import Refused
from polyroute.sandbox.exchange import Exchange, Json, Reply, json_reply, uuid_text
from polyroute.sandbox.media.artifacts import image
from polyroute.sandbox.media.call import (
    answered,
    encoded,
    is_blocked,
    number,
    polled,
    seed_of,
    sides,
    stamp,
)
from polyroute.sandbox.media.callbacks import Callback
from polyroute.sandbox.media.callbacks import bfl as signed
from polyroute.sandbox.media.jobs import Job
from polyroute.sandbox.route import Route, route


def _of(line: str, operation: SandboxOperation, answer: Any, **more: Any) -> Route:
    return route(line, operation, "media", answer, **more)


def _unprocessable(field: str, message: str) -> Exception:
    return answered({"detail": [{"type": "value_error", "loc": ["body", field], "msg": message, "input": None}]}, 422)


_NEEDS_IMAGE = ("fill", "expand")
_CREDITS = {
    "flux-2-pro": 3.0, "flux-2-flex": 5.0, "flux-2-max": 7.0, "flux-2-klein-4b": 1.4, "flux-2-klein-9b": 1.5,
    "flux-dev": 2.5, "flux-pro-1.1-ultra": 6.0, "flux-kontext-max": 8.0, "flux-pro-1.0-fill": 5.0, "flux-pro-1.0-expand": 5.0,
}  # fmt: skip
_USUAL_CREDITS = 4.0
_EDGES = ("top", "bottom", "left", "right")


def _sized(exchange: Exchange) -> tuple[int, int]:
    """Width and height. Refuses what is out of its range."""
    body = exchange.body
    pair = sides(body.get("aspect_ratio")) or (
        int(number(body.get("width"), 1024)),
        int(number(body.get("height"), 768)),
    )
    if any(side % 16 or not 64 <= side <= 4096 for side in pair):
        raise _unprocessable("width", "Input should be a multiple of 16")
    if not 0 <= number(body.get("safety_tolerance"), 2) <= 6:
        raise _unprocessable("safety_tolerance", "Input should be less than or equal to 6")
    if body.get("output_format") not in (None, "jpeg", "png"):
        raise _unprocessable("output_format", "Input should be 'jpeg' or 'png'")
    return pair


def answer_bfl(exchange: Exchange) -> Reply:
    """BFL's `POST /v1/{model}`; with a webhook the answer has no address to poll at."""
    body, model = exchange.body, exchange.groups["model"]
    if not model.startswith("flux") or "no-such-model" in model:
        raise Refused("model_not_found")
    if model.endswith(_NEEDS_IMAGE):
        if not body.get("image"):
            raise _unprocessable("image", "Field required")
        if model.endswith("expand") and not any(number(body.get(edge), 0) for edge in _EDGES):
            raise _unprocessable("top", "Input should be greater than 0")
    elif not body.get("prompt"):
        raise _unprocessable("prompt", "Field required")
    pictures = [value for name, value in body.items() if name.startswith(("input_image", "image"))]
    if any(str(value).startswith("data:") for value in pictures):
        raise _unprocessable("input_image", "Input should be an URL or base64")
    pair = _sized(exchange)
    cost = _CREDITS.get(model, _USUAL_CREDITS)
    url, secret = body.get("webhook_url"), str(body.get("webhook_secret") or "")
    job = exchange.desk.submit(
        exchange,
        "image",
        model,
        [image(seed_of(exchange), *pair, str(body.get("output_format") or "jpeg"))],
        name=lambda digest: uuid_text(digest, "task"),
        cost=cost / 100,
        extra={"blocked": is_blocked(body.get("prompt"))},
        callback=None if not url else lambda job: _bfl_callback(job, str(url), secret),
    )
    value: Json = {"id": job.name, "cost": cost, "input_mp": 0.0, "output_mp": round(pair[0] * pair[1] / 1e6, 2)}
    if url:
        return json_reply(value | {"status": "Pending", "webhook_url": url})
    host = "https://api.us1.bfl.example.invalid" if job.has("foreign_url") else f"{exchange.origin}/bfl/api.us1.bfl.ai"
    return json_reply(value | {"polling_url": f"{host}/v1/get_result?id={job.name}"})


def _bfl(job: Job) -> Json:
    value: Json = {"id": job.name, "status": "Pending", "result": None, "progress": job.fraction}
    if job.phase == "failed":
        if not job.moderated:
            return value | {"status": "Error", "progress": None, "details": {"error": job.failure}}
        state = "Request Moderated" if job.extra["blocked"] else "Content Moderated"
        return value | {"status": state, "progress": None, "details": {"Moderation Reasons": ["Safety Filter"]}}
    if job.phase == "succeeded":
        begun = job.submitted_at
        result: Json = {"sample": f"{job.url()}?se={int(begun + 600)}", "prompt": job.body.get("prompt")}
        result |= {
            "seed": seed_of_job(job),
            "start_time": begun,
            "end_time": begun + job.seconds,
            "duration": job.seconds,
        }
        value |= {"status": "Ready", "result": result, "progress": None}
    return value


def seed_of_job(job: Job) -> int:
    """The seed that was given, or one of the job's own."""
    given = job.body.get("seed")
    return given if isinstance(given, int) else int(job.token[:7], 16)


def _bfl_callback(job: Job, url: str, secret: str) -> Callback:
    body = encoded(_bfl(job) | {"timestamp": stamp(job, job.seconds)})
    return Callback(url=url, body=body, headers=signed(body, secret))


def answer_bfl_result(exchange: Exchange) -> Reply:
    """BFL's `GET /v1/get_result?id=`."""
    name = exchange.query.get("id", "")
    gone = answered({"id": name, "status": "Task not found", "result": None, "progress": None}, 404)
    job = exchange.desk.find("bfl", name)
    if job is None:
        raise gone
    hidden = job.has("missing_at_first") and job.fault is not None and job.polls < job.fault.polls
    if hidden:
        job.polls += 1
        raise gone
    return json_reply(_bfl(polled(exchange, name)), headers={"retry-after": "1"})


ROUTES: tuple[Route, ...] = (
    _of(r"GET /get_result", "poll", answer_bfl_result),
    _of(r"POST /v1/(?P<model>[^/]+)", "image", answer_bfl),
)
