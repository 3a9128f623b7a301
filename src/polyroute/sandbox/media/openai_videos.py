"""OpenAI's videos, which others imitate: create, read, list, download, remix, edit, extend, delete."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from polyroute.sandbox.errors import Refused, invalid
from polyroute.sandbox.exchange import Direct, Exchange, Json, Reply, json_reply
from polyroute.sandbox.media.artifacts import Artifact, image, video
from polyroute.sandbox.media.call import check_account, is_blocked, number, polled, seed_of
from polyroute.sandbox.media.files import send_artifact
from polyroute.sandbox.media.jobs import Job
from polyroute.sandbox.openai_reading import check_model
from polyroute.sandbox.route import Route, route

_STATUS = {"queued": "queued", "running": "in_progress", "succeeded": "completed", "failed": "failed"}
_SIZES = ("720x1280", "1280x720", "1024x1792", "1792x1024", "1080x1920", "1920x1080")
_SECONDS = ("4", "8", "12", "16", "20")
_PRICES = {"sora-2": 0.10, "sora-2-pro": 0.30}
_VARIANTS = {"video": 0, "thumbnail": 1, "spritesheet": 2}


def _missing(name: str) -> Refused:
    return Refused("not_found", f"Video with id '{name}' not found.", status=404)


def _prompt(exchange: Exchange) -> str:
    prompt = exchange.body.get("prompt")
    if not isinstance(prompt, str) or not prompt:
        raise invalid("Missing required parameter: 'prompt'.", param="prompt", code="missing_required_parameter")
    return prompt


def _choice(exchange: Exchange, field: str, fallback: str, allowed: tuple[str, ...]) -> str:
    given = str(exchange.body.get(field) or fallback)
    if given not in allowed and exchange.profile.name == "openai":
        listed = ", ".join(f"'{item}'" for item in allowed)
        raise invalid(f"Invalid value: '{given}'. Supported values are: {listed}.", param=field, code="invalid_value")
    return given


def answer_create(exchange: Exchange) -> Reply:
    """`POST /videos`, JSON or multipart."""
    model = str(exchange.body.get("model") or "sora-2")
    check_model(model)
    prompt = _prompt(exchange)
    if exchange.profile.name == "openai" and not model.startswith("sora"):
        raise Refused("model_not_found", values={"model": model}, param="model")
    seconds = _choice(exchange, "seconds", str(exchange.body.get("duration") or "4"), _SECONDS)
    size = _choice(exchange, "size", "720x1280", _SIZES)
    return _started(exchange, model, prompt, seconds, size)


def _started(exchange: Exchange, model: str, prompt: str, seconds: str, size: str, remixed: str | None = None) -> Reply:
    wide, _, high = size.partition("x")
    sides = (int(wide), int(high)) if wide.isdecimal() and high.isdecimal() else (1280, 720)
    length = number(seconds, 4)
    seed = seed_of(exchange)
    made: list[Artifact] = [
        video(seed, *sides, length),
        image(seed, *sides, "webp"),
        image(seed, sides[0] // 2, sides[1] // 2, "jpeg"),
    ]
    extra = {"prompt": prompt, "seconds": seconds, "size": size, "remixed": remixed, "blocked": is_blocked(prompt)}
    cost = length * _PRICES.get(model, 0.10)
    job = exchange.desk.submit(
        exchange, "video", model, made, name=lambda digest: f"video_{digest[:32]}", cost=cost, extra=extra
    )
    return json_reply(_shown(job) | {"status": "queued", "progress": 0})


def _shown(job: Job) -> Json:
    state = "failed" if job.phase == "succeeded" and job.extra["blocked"] else _STATUS.get(job.phase, "failed")
    created = int(job.submitted_at)
    value: Json = {"id": job.name, "object": "video", "model": job.model, "status": state, "progress": job.percent}
    value |= {"created_at": created, "completed_at": None, "expires_at": None, "error": None}
    value |= {"seconds": job.extra["seconds"], "size": job.extra["size"], "prompt": job.extra["prompt"]}
    value["remixed_from_video_id"] = job.extra["remixed"]
    if state == "completed":
        value |= {
            "completed_at": created + int(job.seconds),
            "expires_at": created + int(job.seconds + job.keep_seconds),
        }
    if state == "failed":
        blocked = job.moderated or job.extra["blocked"]
        message = "Your request was blocked by our moderation system." if blocked else job.failure
        value["error"] = {"code": "moderation_blocked" if blocked else "video_generation_failed", "message": message}
    if job.phase == "failed" or state == "failed":
        value["progress"] = min(99, job.percent)
    return value


def answer_get(exchange: Exchange) -> Reply:
    """`GET /videos/{id}`."""
    name = exchange.groups["job"]
    return json_reply(_shown(polled(exchange, name, _missing(name))))


def answer_list(exchange: Exchange) -> Reply:
    """`GET /videos`, newest first, in pages."""
    jobs = [job for job in exchange.desk.jobs(exchange.profile.name) if "remixed" in job.extra and not job.deleted][
        ::-1
    ]
    if exchange.query.get("order") == "asc":
        jobs.reverse()
    names = [job.name for job in jobs]
    after = exchange.query.get("after", "")
    start = names.index(after) + 1 if after in names else 0
    limit = int(number(exchange.query.get("limit"), 20))
    page = jobs[start : start + limit]
    value: Json = {"object": "list", "data": [_shown(job) for job in page], "has_more": start + limit < len(jobs)}
    return json_reply(value | {"first_id": page[0].name if page else None, "last_id": page[-1].name if page else None})


def answer_content(exchange: Exchange) -> Reply:
    """`GET /videos/{id}/content`: bytes, for the bearer of the key alone."""
    name = exchange.groups["job"]
    job = exchange.desk.find(exchange.profile.name, name)
    if job is None or job.deleted:
        raise _missing(name)
    check_account(job)
    variant = exchange.query.get("variant", "video")
    if variant not in _VARIANTS:
        raise invalid(f"Invalid value: '{variant}'.", param="variant", code="invalid_value")
    if job.phase != "succeeded" or job.extra["blocked"]:
        raise invalid("Video is not ready yet, use GET /v1/videos/{video_id} to check status.", code="video_not_ready")

    async def send(request: web.Request) -> web.StreamResponse:
        return await send_artifact(request, job, job.artifacts[_VARIANTS[variant]])

    return Direct(send)


def answer_delete(exchange: Exchange) -> Reply:
    """`DELETE /videos/{id}`: forgets it, and stops it when it still runs."""
    name = exchange.groups["job"]
    job = exchange.desk.find(exchange.profile.name, name)
    if job is None or job.deleted:
        raise _missing(name)
    check_account(job)
    job.cancel()
    job.deleted = True
    return json_reply({"id": name, "object": "video.deleted", "deleted": True})


def answer_again(exchange: Exchange) -> Reply:
    """`POST /videos/{id}/remix`, `/videos/edits`, `/videos/extensions`: another film from one that is done; the latter two
    take a file as well."""
    if any(upload.field == "video" for upload in exchange.uploads):
        seconds = _choice(exchange, "seconds", "4", _SECONDS)
        return _started(exchange, "sora-2", _prompt(exchange), seconds, "1280x720")
    given: Any = exchange.body.get("video")
    named = given.get("id") if isinstance(given, dict) else exchange.body.get("video[id]")
    name = exchange.groups.get("job") or str(named or "")
    job = exchange.desk.find(exchange.profile.name, name)
    if job is None or job.phase != "succeeded":
        raise _missing(name)
    seconds = str(exchange.body.get("seconds") or job.extra["seconds"])
    return _started(exchange, job.model, _prompt(exchange), seconds, job.extra["size"], name)


ROUTES: tuple[Route, ...] = (
    route(r"POST /videos", "video", "openai_other", answer_create),
    route(r"GET /videos", "other", "openai_other", answer_list),
    route(r"POST /videos/(edits|extensions)", "video", "openai_other", answer_again),
    route(r"GET /videos/(?P<job>[^/]+)", "poll", "openai_other", answer_get),
    route(r"GET /videos/(?P<job>[^/]+)/content", "file", "openai_other", answer_content),
    route(r"DELETE /videos/(?P<job>[^/]+)", "cancel", "openai_other", answer_delete),
    route(r"POST /videos/(?P<job>[^/]+)/remix", "video", "openai_other", answer_again),
)
