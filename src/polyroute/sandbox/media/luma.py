"""Luma: the Dream Machine surface and the agents surface, whose addresses are fresh on every look."""

from __future__ import annotations

from typing import Any

from polyroute.sandbox.control import SandboxOperation
from polyroute.sandbox.errors import Refused, invalid
from polyroute.sandbox.exchange import Exchange, Json, Reply, Whole, hexadecimal, json_reply, uuid_text
from polyroute.sandbox.media.artifacts import image, video
from polyroute.sandbox.media.call import (
    check_account,
    encoded,
    film_sides,
    is_blocked,
    number,
    polled,
    seed_of,
    sides,
    stamp,
)
from polyroute.sandbox.media.callbacks import Callback
from polyroute.sandbox.media.jobs import Job, Upload
from polyroute.sandbox.route import Route, route

_STATES = {"queued": "queued", "running": "dreaming", "succeeded": "completed"}
_AGENT_STATES = {"queued": "queued", "running": "processing", "succeeded": "completed"}
_DREAM_MODELS = {"video": ("ray-2", "ray-flash-2"), "image": ("photon-1", "photon-flash-1")}
_AGENT_TYPES = ("image", "image_edit", "video", "video_edit", "video_reframe", "layering")


def _prompt(exchange: Exchange) -> str:
    prompt = exchange.body.get("prompt")
    if not isinstance(prompt, str) or len(prompt) < 3:
        raise invalid("prompt: String should have at least 3 characters", param="prompt")
    return prompt


def _aspect(exchange: Exchange) -> str:
    aspect = str(exchange.body.get("aspect_ratio") or "16:9")
    if sides(aspect) is None:
        raise invalid(
            f"aspect_ratio: Input should be '1:1', '16:9', '9:16', '4:3', '3:4', '21:9' or '9:21', not {aspect}"
        )
    return aspect


def answer_dream(exchange: Exchange) -> Reply:
    """`POST /dream-machine/v1/generations`, `/video`, `/image`."""
    body, kind = exchange.body, "image" if exchange.path.rstrip("/").endswith("/image") else "video"
    model, prompt, aspect = str(body.get("model") or ""), _prompt(exchange), _aspect(exchange)
    if model not in _DREAM_MODELS[kind]:
        raise invalid(f"model: Input should be one of {', '.join(_DREAM_MODELS[kind])}", param="model")
    if kind == "image":
        pair = sides(aspect, 1536 * 1024) or (1024, 1024)
        made = [image(seed_of(exchange), *pair, str(body.get("format") or "jpg"))]
    else:
        duration = str(body.get("duration") or "5s")
        if duration not in ("5s", "9s"):
            raise invalid("duration: Input should be '5s' or '9s'", param="duration")
        made = [video(seed_of(exchange), *film_sides(body.get("resolution", "720p"), aspect), number(duration, 5))]
    url = body.get("callback_url")
    job = exchange.desk.submit(
        exchange,
        kind,
        model,
        made,
        name=lambda digest: uuid_text(digest, "generation"),
        extra={"blocked": is_blocked(prompt), "agents": False},
        callback=None
        if not url
        else lambda job: Callback(url=str(url), body=encoded(_dream(job)), headers={}, at_start=True),
    )
    return json_reply(_dream(job) | {"state": "queued"}, status=201)


def _dream(job: Job) -> Json:
    value: Json = {"id": job.name, "generation_type": job.operation, "state": _STATES.get(job.phase, "failed")}
    value |= {"failure_reason": None, "created_at": stamp(job), "model": job.model, "assets": None, "request": job.body}
    if value["state"] == "completed":
        value["assets"] = {"video": None, "image": None, "progress_video": None, job.operation: job.url()}
    if value["state"] == "failed":
        value["failure_reason"] = "400: Content moderation failed" if job.moderated else job.failure
    return value


def answer_agents(exchange: Exchange) -> Reply:
    """`POST /v1/generations` of the agents."""
    body = exchange.body
    kind, model, prompt, aspect = (
        str(body.get("type") or "image"),
        str(body.get("model") or ""),
        _prompt(exchange),
        _aspect(exchange),
    )
    if kind not in _AGENT_TYPES:
        raise invalid(f"type: Input should be one of {', '.join(_AGENT_TYPES)}", param="type")
    wanted = ("ray-3.2",) if kind.startswith("video") else ("uni-1", "uni-1-max")
    if model not in wanted:
        raise invalid(f"model: Input should be one of {', '.join(wanted)}", param="model")
    if kind.startswith("video"):
        shape = body.get("video") or {}
        if str(shape.get("duration") or "5s") not in ("5s", "10s"):
            raise invalid("video.duration: Input should be '5s' or '10s'", param="duration")
        made = [
            video(seed_of(exchange), *film_sides(shape.get("resolution"), aspect), number(shape.get("duration"), 5))
        ]
    else:
        made = [image(seed_of(exchange), *(sides(aspect) or (1024, 1024)), str(body.get("output_format") or "png"))]
    job = exchange.desk.submit(
        exchange,
        "video" if kind.startswith("video") else "image",
        model,
        made,
        name=lambda digest: uuid_text(digest, "generation"),
        extra={"blocked": is_blocked(prompt), "agents": True, "type": kind},
    )
    return json_reply(_agents(job) | {"state": "queued", "output": []}, status=201)


def _agents(job: Job) -> Json:
    state = _AGENT_STATES.get(job.phase, "failed")
    value: Json = {
        "id": job.name,
        "type": job.extra["type"],
        "model": job.model,
        "state": state,
        "created_at": stamp(job),
    }
    value |= {"output": [], "failure_code": None, "failure_reason": None}
    if state == "completed":
        # The address is signed anew on every look, and good for an hour from then.
        value["output"] = [{"type": job.operation, "url": f"{job.url()}?sig={job.polls}"}]
    if state == "failed":
        value |= {"failure_code": "content_moderated" if job.moderated else "generation_failed"}
        value["failure_reason"] = job.failure
    return value


def answer_get(exchange: Exchange) -> Reply:
    """`GET /generations/{id}` of both surfaces."""
    job = polled(exchange, exchange.groups["job"], Refused("not_found", status=404))
    return json_reply(_agents(job) if job.extra["agents"] else _dream(job))


def answer_delete(exchange: Exchange) -> Reply:
    """`DELETE /generations/{id}`: removes it, running or not."""
    job = exchange.desk.find("luma", exchange.groups["job"])
    if job is None or job.deleted:
        raise Refused("not_found", status=404)
    check_account(job)
    job.cancel()
    job.deleted = True
    return Whole(body=b"", status=204)


def answer_list(exchange: Exchange) -> Reply:
    """`GET /generations`."""
    jobs = [job for job in exchange.desk.jobs("luma") if not job.deleted and not job.extra["agents"]][::-1]
    return json_reply({"generations": [_dream(job) for job in jobs], "has_more": False, "count": len(jobs)})


def answer_account(exchange: Exchange) -> Reply:
    """`GET /credits`, `/ping`, `/generations/concepts/list`."""
    if exchange.path.endswith("/list"):
        return json_reply([])
    return json_reply({"credit_balance": 1000.0} if exchange.path.endswith("/credits") else {"message": "pong"})


def answer_file(exchange: Exchange) -> Reply:
    """`POST /v1/files`, the PUT of its bytes, and `/complete`."""
    name = exchange.groups.get("file") or hexadecimal(exchange.digest, "file", 20)
    if exchange.method == "PUT":
        kind = exchange.headers.get("content-type", "application/octet-stream")
        exchange.desk.keep_upload(
            exchange, name, Upload(name=name, content_type=kind, size=len(exchange.raw), data=exchange.raw)
        )
        return Whole(body=b"")
    if exchange.method == "DELETE":
        exchange.desk.drop_upload(name)
        return Whole(body=b"", status=204)
    value: Json = {"id": name, "state": "ready" if "/complete" in exchange.path else "pending"}
    upload = {
        "method": "PUT",
        "url": f"{exchange.origin}/luma/put/{name}",
        "headers": {},
        "expires_at": "2099-01-01T00:00:00Z",
    }
    return json_reply(value | ({} if value["state"] == "ready" else {"upload": upload}))


def _of(line: str, operation: SandboxOperation, answer: Any, **more: Any) -> Route:
    return route(line, operation, "media", answer, **more)


def _dream_kind(exchange: Exchange) -> SandboxOperation:
    return "image" if exchange.path.rstrip("/").endswith("/image") else "video"


def _agents_kind(exchange: Exchange) -> SandboxOperation:
    return "video" if str(exchange.body.get("type")).startswith("video") else "image"


_DREAM = r"/dream-machine/v1"
ROUTES: tuple[Route, ...] = (
    _of(rf"POST {_DREAM}/generations(/video|/image)?", "video", answer_dream, sort=_dream_kind),
    _of(rf"GET {_DREAM}/(credits|ping|generations/concepts/list)", "other", answer_account),
    _of(rf"GET {_DREAM}/generations", "other", answer_list),
    _of(r"POST /v1/generations", "image", answer_agents, sort=_agents_kind),
    _of(r"GET /generations/(?P<job>[^/]+)", "poll", answer_get),
    _of(r"DELETE /generations/(?P<job>[^/]+)", "cancel", answer_delete),
    _of(r"POST /v1/files(/(?P<file>[^/]+)/complete)?", "file", answer_file),
    _of(r"DELETE /v1/files/(?P<file>[^/]+)", "file", answer_file),
    _of(r"PUT ^/put/(?P<file>[^/]+)", "file", answer_file, raw=True, free=("luma",)),
)
