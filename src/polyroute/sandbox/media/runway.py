"""Runway: tasks for films, pictures and sound, of one account's size."""

from __future__ import annotations

from typing import Any

from polyroute.sandbox.control import SandboxOperation
from polyroute.sandbox.errors import Refused, invalid
from polyroute.sandbox.exchange import Exchange, Json, Reply, Whole, json_reply, uuid_text
from polyroute.sandbox.media.artifacts import Artifact, audio, image, speech_seconds, video
from polyroute.sandbox.media.call import (
    check_account,
    is_blocked,
    number,
    polled,
    seed_of,
    stamp,
)
from polyroute.sandbox.route import Route, route


def _of(line: str, operation: SandboxOperation, answer: Any, **more: Any) -> Route:
    return route(line, operation, "media", answer, **more)


_RUNWAY_KINDS: dict[str, SandboxOperation] = {
    "image_to_video": "video",
    "text_to_video": "video",
    "video_to_video": "video",
    "video_upscale": "video",
    "character_performance": "video",
    "text_to_image": "image",
    "image_upscale": "image",
    "text_to_speech": "speech",
    "speech_to_speech": "speech",
    "voice_dubbing": "speech",
    "voice_isolation": "speech",
    "sound_effect": "effects",
    "video_to_audio": "effects",
}
_NEEDED = {"image_to_video": "promptImage", "text_to_video": "promptText", "text_to_image": "promptText"}
_NEEDED |= {"text_to_speech": "promptText", "sound_effect": "promptText", "video_to_video": "videoUri"}


def _runway_kind(exchange: Exchange) -> SandboxOperation:
    return _RUNWAY_KINDS[exchange.groups["what"]]


def _check_version(exchange: Exchange) -> None:
    if exchange.headers.get("x-runway-version") != "2024-11-06":
        raise invalid("The X-Runway-Version header is missing or not supported.")


def answer_runway(exchange: Exchange) -> Reply:
    """Runway's creating endpoints."""
    _check_version(exchange)
    body, what, kind = exchange.body, exchange.groups["what"], _runway_kind(exchange)
    if not body.get("model") or "no-such-model" in str(body["model"]):
        raise invalid("Validation of body failed: model: Invalid value", param="model")
    field = _NEEDED.get(what)
    if field is not None and not body.get(field):
        raise invalid(f"Validation of body failed: {field}: Required", param=field)
    seconds = number(body.get("duration"), 5)
    if kind == "video" and not 2 <= seconds <= 10:
        raise invalid("Validation of body failed: duration: must be between 2 and 10", param="duration")
    wide, _, high = str(body.get("ratio") or "1280:720").partition(":")
    if not wide.isdecimal() or not high.isdecimal() or int(wide) < 64:
        raise invalid("Validation of body failed: ratio: Invalid value", param="ratio")
    made: list[Artifact] = [
        audio(seconds if kind == "effects" else speech_seconds(str(body.get("promptText") or "hello")))
    ]
    if kind == "video":
        made = [video(seed_of(exchange), int(wide), int(high), seconds)]
    elif kind == "image":
        made = [image(seed_of(exchange), int(wide), int(high), "png")]
    job = exchange.desk.submit(
        exchange,
        kind,
        str(body["model"]),
        made,
        name=lambda digest: uuid_text(digest, "task"),
        cost={"video": 0.12 * seconds, "image": 0.05}.get(kind, 0.02),
        extra={"blocked": is_blocked(body.get("promptText"))},
    )
    return json_reply({"id": job.name})


def answer_runway_task(exchange: Exchange) -> Reply:
    """Runway's `GET /v1/tasks/{id}`: waits, is throttled, runs."""
    _check_version(exchange)
    job = polled(exchange, exchange.groups["job"], Refused("not_found", "Task not found", status=404))
    credits_used = round((job.cost or 0) * 100)
    value: Json = {"id": job.name, "createdAt": stamp(job)}
    if job.phase == "queued":
        state = "PENDING" if job.fraction < 0.1 else "THROTTLED"
        return json_reply(value | {"status": state, "estimatedCost": {"credits": credits_used}})
    if job.phase == "running":
        running: Json = {"status": "RUNNING", "progress": round(job.fraction, 2)}
        return json_reply(value | running | {"estimatedCost": {"credits": credits_used}})
    if job.phase == "canceled":
        return json_reply(value | {"status": "CANCELLED"})
    if job.phase == "failed":
        code = "SAFETY.INPUT.TEXT" if job.moderated else "INTERNAL.BAD_OUTPUT.CODE01"
        return json_reply(
            value | {"status": "FAILED", "failure": job.failure, "failureCode": code, "cost": {"credits": 0}}
        )
    urls = [f"{url}?_jwt={job.polls}" for url in job.urls()]
    return json_reply(value | {"status": "SUCCEEDED", "output": urls, "cost": {"credits": credits_used}})


def answer_runway_cancel(exchange: Exchange) -> Reply:
    """Runway's `DELETE /v1/tasks/{id}`: cancels, or deletes what is done."""
    job = exchange.desk.find("runway", exchange.groups["job"])
    if job is None:
        raise Refused("not_found", "Task not found", status=404)
    check_account(job)
    job.deleted = not job.cancel()
    return Whole(body=b"", status=204)


def answer_runway_account(exchange: Exchange) -> Reply:
    """Runway's `GET /v1/organization`."""
    return json_reply(
        {"creditBalance": 10_000, "tier": {"maxMonthlyCreditSpend": 10_000, "models": {}}, "usage": {"models": {}}}
    )


ROUTES: tuple[Route, ...] = (
    _of(rf"POST /v1/(?P<what>{'|'.join(_RUNWAY_KINDS)})", "video", answer_runway, sort=_runway_kind),
    _of(r"GET /v1/tasks/(?P<job>[^/]+)", "poll", answer_runway_task),
    _of(r"DELETE /v1/tasks/(?P<job>[^/]+)", "cancel", answer_runway_cancel),
    _of(r"GET /v1/organization", "other", answer_runway_account),
)
