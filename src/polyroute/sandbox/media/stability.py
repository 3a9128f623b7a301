"""Stability: pictures and sound at once, in the form that is accepted; the creative upscaler is polled."""

from __future__ import annotations

import base64
from typing import Any

from polyroute.sandbox.control import SandboxOperation
from polyroute.sandbox.errors import Refused
from polyroute.sandbox.exchange import Exchange, Reply, json_reply
from polyroute.sandbox.media.artifacts import audio, image
from polyroute.sandbox.media.call import (
    answered,
    bytes_reply,
    is_blocked,
    number,
    polled,
    seed_number,
    seed_of,
    sides,
)
from polyroute.sandbox.media.jobs import Job
from polyroute.sandbox.route import Route, route


def _of(line: str, operation: SandboxOperation, answer: Any, **more: Any) -> Route:
    return route(line, operation, "media", answer, **more)


_STABLE_ASPECTS = ("1:1", "16:9", "9:16", "3:2", "2:3", "4:5", "5:4", "21:9", "9:21")
_STABLE_PRICES = {"ultra": 0.08, "core": 0.03, "sd3": 0.065, "fast": 0.002, "conservative": 0.04, "creative": 0.06}
_NEEDS_IMAGE = ("edit", "upscale", "control")


def _stable_problem(message: str, status: int = 400) -> Exception:
    return answered({"id": "sandbox", "name": "bad_request", "errors": [message]}, status)


def answer_stability(exchange: Exchange) -> Reply:
    """Stability's `POST /v2beta/stable-image/{family}/{what}`."""
    body, family, what = exchange.body, exchange.groups["family"], exchange.groups["what"]
    if "multipart/form-data" not in exchange.headers.get("content-type", ""):
        raise _stable_problem("content-type: must be multipart/form-data")
    sent = any(upload.field == "image" and upload.size for upload in exchange.uploads)
    if family in _NEEDS_IMAGE and not sent:
        raise _stable_problem("image: cannot be blank")
    if family == "generate" and not body.get("prompt"):
        raise _stable_problem("prompt: cannot be blank")
    aspect = body.get("aspect_ratio", "1:1")
    if aspect not in _STABLE_ASPECTS:
        raise _stable_problem(f"aspect_ratio: must be one of {', '.join(_STABLE_ASPECTS)}")
    form = str(body.get("output_format") or "png")
    if form not in ("png", "jpeg", "webp"):
        raise _stable_problem("output_format: must be one of png, jpeg, webp")
    wide, high = sides(aspect) or (1024, 1024)
    factor = 4 if family == "upscale" else 1
    model = str(body.get("model") or what)
    if what == "sd3" and body.get("model") and model not in exchange.profile.models:
        raise Refused("model_not_found")
    made = [image(seed_of(exchange), min(wide * factor, 4096), min(high * factor, 4096), form)]
    later = what == "creative"
    job = exchange.desk.submit(
        exchange,
        "image",
        model,
        made,
        name=lambda digest: digest[:64],
        whole=not later,
        cost=_STABLE_PRICES.get(what, 0.04),
        extra={"blocked": is_blocked(body.get("prompt"))},
    )
    return json_reply({"id": job.name}) if later else _stable(exchange, job)


def _stable(exchange: Exchange, job: Job) -> Reply:
    reason = "CONTENT_FILTERED" if job.moderated else "SUCCESS"
    if job.moderated and job.extra["blocked"]:
        raise Refused("content_filter")
    artifact = job.artifacts[0]
    seed = seed_number(exchange, int(number(job.body.get("seed"), 0)))
    if "application/json" in exchange.headers.get("accept", ""):
        field = "image" if artifact.kind == "image" else "audio"
        data = base64.b64encode(artifact.content()).decode()
        return json_reply({field: data, "seed": seed, "finish_reason": reason})
    return bytes_reply(artifact, {"seed": str(seed), "finish-reason": reason})


def answer_stable_audio(exchange: Exchange) -> Reply:
    """Stability's `POST /v2beta/audio/stable-audio-2/…`."""
    body = exchange.body
    if not body.get("prompt"):
        raise _stable_problem("prompt: cannot be blank")
    seconds = number(body.get("duration"), 20)
    if not 1 <= seconds <= 190:
        raise _stable_problem("duration: must be between 1 and 190")
    form = str(body.get("output_format") or "mp3")
    made = [audio(seconds, form if form in ("mp3", "wav") else "mp3")]
    extra = {"blocked": is_blocked(body.get("prompt"))}
    job = exchange.desk.submit(
        exchange, "music", "stable-audio-2", made, name=lambda digest: digest[:64], whole=True, cost=0.2, extra=extra
    )
    return _stable(exchange, job)


def answer_stable_result(exchange: Exchange) -> Reply:
    """Stability's `GET /v2beta/results/{id}`: 202 while it works."""
    missing = answered({"id": "sandbox", "name": "not_found", "errors": ["id: not found"]}, 404)
    job = exchange.desk.find("stability", exchange.groups["job"])
    if job is None or job.expired:
        raise missing
    job = polled(exchange, job.name)
    if not job.ended:
        return json_reply({"id": job.name, "status": "in-progress"}, status=202)
    if job.phase == "failed" and not job.moderated:
        raise answered({"id": job.name, "name": "internal_error", "errors": [job.failure]}, 500)
    return _stable(exchange, job)


ROUTES: tuple[Route, ...] = (
    _of(r"POST /v2beta/stable-image/(?P<family>[^/]+)/(?P<what>[^/]+)", "image", answer_stability),
    _of(r"POST /v2beta/audio/stable-audio-2/[^/]+", "music", answer_stable_audio),
    _of(r"GET /v2beta/results/(?P<job>[^/]+)", "poll", answer_stable_result),
)
