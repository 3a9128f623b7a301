"""Runway: tasks for films, pictures and sound, of one account's size, charged in credits."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from polyroute.sandbox.control import SandboxOperation
from polyroute.sandbox.errors import Refused, invalid
from polyroute.sandbox.exchange import Exchange, Json, Reply, Whole, hexadecimal, json_reply, uuid_text
from polyroute.sandbox.media.artifacts import Artifact, audio, image, speech_seconds, video
from polyroute.sandbox.media.call import check_account, count, film_sides, is_blocked, number, polled, seed_of, stamp
from polyroute.sandbox.media.jobs import Job, Upload
from polyroute.sandbox.route import Route, route

_VERSION = "2024-11-06"
_CREDITS_A_SECOND = {
    "gen4.5": 12, "gen4_turbo": 5, "aleph2": 28, "veo3.1": 40, "veo3.1_fast": 15, "seedance2": 36, "seedance2_fast": 29,
    "seedance2_mini": 16, "seedance2_5": 30, "hailuo3": 10, "gemini_omni_flash": 10, "act_two": 5,
}  # fmt: skip
_CREDITS = {"gen4_image": 5, "gen4_image_turbo": 2}
_LONGEST_PROMPT = 1000
_LARGEST_DATA_URI = 5 << 20
_CLASSES = {"720p": "720p", "1k": "1080p", "2k": "1440p", "4k": "4k"}
_CODE = re.compile(r"[A-Z_]+(\.[A-Z0-9_]+)+")


class _Endpoint(msgspec.Struct, frozen=True):
    """One way of ordering: what has to be there, the usual length of what comes out in seconds, and its bounds."""

    sort: SandboxOperation
    needed: tuple[str, ...]
    seconds: float = 5.0
    least: float = 0.5
    most: float = 30.0


_ENDPOINTS: Mapping[str, _Endpoint] = {
    "image_to_video": _Endpoint("video", ("promptImage",), 5, 2, 15),
    "text_to_video": _Endpoint("video", ("promptText",), 5, 2, 15),
    "video_to_video": _Endpoint("video", ("videoUri|promptVideo",), 5, 2, 15),
    "video_upscale": _Endpoint("video", ("videoUri",)),
    "character_performance": _Endpoint("video", ("character", "reference")),
    "text_to_image": _Endpoint("image", ("promptText", "ratio")),
    "image_upscale": _Endpoint("image", ("imageUri",)),
    "text_to_speech": _Endpoint("speech", ("promptText",)),
    "speech_to_speech": _Endpoint("speech", ("media", "voice")),
    "voice_dubbing": _Endpoint("speech", ("audioUri", "targetLang")),
    "voice_isolation": _Endpoint("speech", ("audioUri",)),
    "sound_effect": _Endpoint("effects", ("promptText",)),
    "video_to_audio": _Endpoint("effects", ("videoUri", "duration")),
}
_BOUNDS = {"gen4.5": (2, 10), "gen4_turbo": (2, 10)}


def _sort(exchange: Exchange) -> SandboxOperation:
    return _ENDPOINTS[exchange.groups["what"]].sort


def _wrong(field: str, what: str) -> Refused:
    return invalid(f"Validation of body failed: {field}: {what}", param=field)


def _check_version(exchange: Exchange) -> None:
    if exchange.headers.get("x-runway-version") != _VERSION:
        raise invalid("The X-Runway-Version header is missing or not supported.")


def _check_media(exchange: Exchange, value: Any, name: str) -> None:
    """Every address in a body: https, a small data URI, or an upload that has arrived."""
    if isinstance(value, list):
        for item in value:
            _check_media(exchange, item, name)
        return
    if isinstance(value, dict):
        _check_media(exchange, value.get("uri") or value.get("audioUri"), name)
        return
    if not isinstance(value, str):
        raise _wrong(name, "Required")
    if value.startswith("runway://"):
        file = exchange.desk.upload(value.removeprefix("runway://"))
        if file is None or file.data is None:
            raise _wrong(name, "The upload was not found")
    elif value.startswith("data:"):
        if len(value) > _LARGEST_DATA_URI:
            raise _wrong(name, "Data URIs may have at most 5 MB")
    elif not value.startswith(("https://", "http://")):
        raise _wrong(name, "Must be an https URL, a data URI or an upload")


_MEDIA_FIELDS = (
    "promptImage", "promptVideo", "videoUri", "imageUri", "audioUri", "character", "reference", "references",
    "referenceImages", "referenceVideos", "referenceAudio", "media", "keyframes",
)  # fmt: skip


def _pixels(body: Json, usual: str) -> tuple[int, int]:
    """`1280:720`; what names no pixels (`16:9`, `auto_720p`) is a film of its class."""
    ratio = str(body.get("ratio") or usual)
    wide, _, high = ratio.partition(":")
    if ratio.startswith("auto_"):
        return film_sides(ratio.removeprefix("auto_"))
    if not wide.isdecimal() or not high.isdecimal() or int(wide) < 1:
        if ratio in ("auto", "adaptive"):
            return film_sides("720p")
        raise _wrong("ratio", "Invalid value")
    if int(wide) < 64:
        return film_sides(body.get("resolution") or "720p", ratio)
    return int(wide), int(high)


def _film(exchange: Exchange, seconds: float) -> list[Artifact]:
    body = exchange.body
    wide, high = _pixels(body, "1280:720")
    if exchange.groups["what"] == "video_upscale":
        wide, high = film_sides(_CLASSES.get(str(body.get("resolution") or "2k"), "1440p"))
    rate = number(str(body.get("targetFramerate") or "24").replace("_", "."), 24)
    return [video(seed_of(exchange), wide, high, seconds, rate)]


def _pictures(exchange: Exchange, seconds: float) -> list[Artifact]:
    body = exchange.body
    wide, high = _pixels(body, "1024:1024")
    if exchange.groups["what"] == "image_upscale":
        wide = high = 256 * count(body.get("scaleFactor"), 2, 16)
    form = str(body.get("outputFormat") or "png")
    return [image(seed_of(exchange, place), wide, high, form) for place in range(count(body.get("outputCount")))]


def _sounds(exchange: Exchange, seconds: float) -> list[Artifact]:
    body = exchange.body
    form = str(body.get("format") or body.get("outputFormat") or "mp3").replace("ogg_opus", "opus")
    if form not in ("mp3", "wav", "flac", "opus"):
        raise _wrong("format", "Invalid value")
    spoken = speech_seconds(str(body.get("promptText") or "hello"), number(body.get("speed"), 1))
    length = seconds if _sort(exchange) == "effects" else spoken
    return [audio(length, form) for _ in range(count(body.get("numVariants")))]


_MAKERS: Mapping[str, Callable[[Exchange, float], list[Artifact]]] = {
    "video": _film, "image": _pictures, "speech": _sounds, "effects": _sounds,
}  # fmt: skip


def answer_create(exchange: Exchange) -> Reply:
    """What begins a task."""
    _check_version(exchange)
    body, what = exchange.body, exchange.groups["what"]
    endpoint, model = _ENDPOINTS[what], str(body.get("model") or "")
    if not model or "no-such-model" in model:
        raise _wrong("model", "Invalid value")
    for needed in endpoint.needed:
        if not any(body.get(name) for name in needed.split("|")):
            raise _wrong(needed.partition("|")[0], "Required")
    if len(str(body.get("promptText") or "").encode("utf-16-le")) > 2 * _LONGEST_PROMPT and model.startswith("gen4"):
        raise _wrong("promptText", f"Must be at most {_LONGEST_PROMPT} characters")
    for name in _MEDIA_FIELDS:
        if name in body:
            _check_media(exchange, body[name], name)
    seconds = number(body.get("duration"), endpoint.seconds)
    least, most = _BOUNDS.get(model, (endpoint.least, endpoint.most))
    if not least <= seconds <= most:
        raise _wrong("duration", f"must be between {least} and {most}")
    made = _MAKERS[endpoint.sort](exchange, seconds)
    credits_ = _CREDITS.get(model, 2) * len(made)
    if endpoint.sort == "video":
        credits_ = round(_CREDITS_A_SECOND.get(model, 12) * seconds)
    job = exchange.desk.submit(
        exchange,
        endpoint.sort,
        model,
        made,
        name=lambda digest: uuid_text(digest, "task"),
        cost=credits_ / 100,
        extra={"blocked": is_blocked(body.get("promptText"))},
    )
    return json_reply({"id": job.name, "estimatedCost": {"credits": credits_}})


def _failure_code(job: Job) -> str:
    """`SAFETY.…` for moderation; a fault's message may name another code."""
    if job.moderated:
        return "SAFETY.INPUT.TEXT"
    found = _CODE.match(job.failure)
    return found[0] if found else "INTERNAL.BAD_OUTPUT.CODE01"


def answer_task(exchange: Exchange) -> Reply:
    """`GET /v1/tasks/{id}`: waits, is throttled, runs."""
    _check_version(exchange)
    job = polled(exchange, exchange.groups["job"], Refused("not_found", "Task not found", status=404))
    credits_ = round((job.cost or 0) * 100)
    value: Json = {"id": job.name, "createdAt": stamp(job)}
    match job.phase:
        case "queued":
            state = "PENDING" if job.fraction < 0.1 else "THROTTLED"
            value |= {"status": state, "estimatedCost": {"credits": credits_}}
        case "running":
            value |= {"status": "RUNNING", "progress": round(job.fraction, 2), "estimatedCost": {"credits": credits_}}
        case "canceled":
            value |= {"status": "CANCELLED", "cost": {"credits": 0}}
        case "failed":
            value |= {"status": "FAILED", "failure": job.failure, "failureCode": _failure_code(job)}
            value |= {"cost": {"credits": 0}}
        case _:
            # The addresses are signed anew on every look.
            value |= {"status": "SUCCEEDED", "output": job.signed_urls("_jwt"), "cost": {"credits": credits_}}
    return json_reply(value)


def answer_cancel(exchange: Exchange) -> Reply:
    """`DELETE /v1/tasks/{id}`: cancels, or deletes what is done."""
    _check_version(exchange)
    job = exchange.desk.find("runway", exchange.groups["job"])
    if job is None or job.deleted:
        raise Refused("not_found", "Task not found", status=404)
    check_account(job)
    job.deleted = not job.cancel()
    return Whole(body=b"", status=204)


def answer_new_upload(exchange: Exchange) -> Reply:
    """`POST /v1/uploads`: where a file is to be put, and what it is called afterwards."""
    _check_version(exchange)
    name = hexadecimal(exchange.digest, "upload", 24)
    exchange.desk.keep_upload(exchange, name, Upload(name=name, content_type="", size=0, data=None))
    value = {"uploadUrl": f"{exchange.origin}/runway/put", "fields": {"key": name, "policy": "sandbox"}}
    return json_reply(value | {"runwayUri": f"runway://{name}"})


def answer_upload(exchange: Exchange) -> Reply:
    """The form with the file in it, as storage takes it: the fields that were given out first."""
    name = str(exchange.body.get("key") or "")
    file = exchange.desk.upload(name)
    part = next((one for one in exchange.uploads if one.field == "file"), None)
    if file is None or part is None or "authorization" in exchange.headers:
        raise Refused("forbidden", "AccessDenied", status=403)
    kept = Upload(name=name, content_type=part.content_type, size=part.size, data=b"")
    exchange.desk.keep_upload(exchange, name, kept)
    return Whole(body=b"", status=204)


def answer_account(exchange: Exchange) -> Reply:
    """`GET /v1/organization` and `POST /v1/organization/usage`."""
    _check_version(exchange)
    if exchange.path.rstrip("/").endswith("/usage"):
        return json_reply({"models": [], "results": []})
    return json_reply(
        {"creditBalance": 10_000, "tier": {"maxMonthlyCreditSpend": 10_000, "models": {}}, "usage": {"models": {}}}
    )


ROUTES: tuple[Route, ...] = (
    route(rf"POST /v1/(?P<what>{'|'.join(_ENDPOINTS)})", "video", "media", answer_create, sort=_sort),
    route(r"GET /v1/tasks/(?P<job>[^/]+)", "poll", "media", answer_task),
    route(r"DELETE /v1/tasks/(?P<job>[^/]+)", "cancel", "media", answer_cancel),
    route(r"POST /v1/uploads", "file", "media", answer_new_upload),
    route(r"POST ^/put", "file", "media", answer_upload, free=("runway",)),
    route(r"GET /v1/organization", "other", "media", answer_account),
    route(r"POST /v1/organization/usage", "other", "media", answer_account),
)
