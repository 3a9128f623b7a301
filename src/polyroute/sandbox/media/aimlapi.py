"""AI/ML API: pictures at once; films, music and transcripts by a generation's id; speech as bytes."""

from __future__ import annotations

import base64
from typing import Any

from polyroute.sandbox.control import SandboxOperation
from polyroute.sandbox.errors import Refused, invalid
from polyroute.sandbox.exchange import Exchange, Json, Reply, json_reply
from polyroute.sandbox.media import reseller
from polyroute.sandbox.media.artifacts import audio, speech_seconds
from polyroute.sandbox.media.call import bytes_reply, is_blocked, polled, said
from polyroute.sandbox.media.jobs import Job
from polyroute.sandbox.openai_reading import required_model
from polyroute.sandbox.pictures import size_of
from polyroute.sandbox.route import Route, route

_CREDITS = 2_000_000
_STATUS = {"queued": "queued", "running": "generating", "succeeded": "completed"}
_STT_STATUS = {"queued": "waiting", "running": "active", "succeeded": "completed"}


def _usage(cost: float | None) -> Json:
    return {"usage": {"credits_used": int((cost or 0) * _CREDITS), "usd_spent": cost or 0}}


def _checked(exchange: Exchange, kind: str) -> str:
    model = required_model(exchange)
    if reseller.missing_prompt(exchange.body):
        raise invalid("prompt: Required", param="prompt")
    wrong = reseller.bad_field(kind, exchange.body)
    if wrong is not None:
        raise invalid(f"{wrong}: Invalid value", param=wrong)
    return model


def answer_image(exchange: Exchange) -> Reply:
    """`POST /v1/images/generations`."""
    model, given = _checked(exchange, "image"), dict(exchange.body)
    size = given.get("image_size") or given.get("size")
    pair = (size.get("width"), size.get("height")) if isinstance(size, dict) else size_of(str(size)) if size else None
    if pair is not None:
        given |= {"width": pair[0], "height": pair[1]}
    made = reseller.outputs(exchange, "image", given)
    job = exchange.desk.submit(
        exchange, "image", model, made, name=lambda digest: digest[:24], whole=True, cost=reseller.price(made, "image")
    )
    if job.moderated or is_blocked(given.get("prompt")):
        raise Refused("content_filter")
    rows: list[Json] = [{"url": url} for url in job.urls()]
    if given.get("response_format") == "b64_json":
        rows = [{"b64_json": base64.b64encode(item.content()).decode()} for item in made]
    return json_reply({"data": rows, "meta": _usage(job.cost)}, headers={"x-inference-id": job.name})


def _started(exchange: Exchange, kind: str) -> Job:
    model = _checked(exchange, kind)
    made = reseller.outputs(exchange, kind, exchange.body)
    extra = {"blocked": is_blocked(exchange.body.get("prompt"))}
    price = reseller.price(made, kind)
    return exchange.desk.submit(
        exchange, kind, model, made, name=lambda digest: f"{digest[:21]}:{model}", cost=price, extra=extra
    )


def answer_video(exchange: Exchange) -> Reply:
    """`POST /v2/video/generations`, and the older path of each maker."""
    return json_reply({"id": _started(exchange, "video").name, "status": "queued"})


def answer_music(exchange: Exchange) -> Reply:
    """`POST /v2/generate/audio`."""
    return json_reply({"id": _started(exchange, "music").name, "status": "queued"})


def answer_get(exchange: Exchange) -> Reply:
    """`GET …?generation_id=` of films and music."""
    job = polled(exchange, exchange.query.get("generation_id", ""))
    if job.expired:
        raise Refused("not_found")
    bad = job.phase in ("failed", "canceled") or (job.phase == "succeeded" and job.extra["blocked"])
    value: Json = {"id": job.name, "status": "error" if bad else _STATUS[job.phase]}
    if bad:
        blocked = job.moderated or job.extra["blocked"]
        name = "content_policy_violation" if blocked else "generation_failed"
        return json_reply(value | {"error": {"name": name, "message": job.failure}})
    if job.ended:
        item = job.artifacts[0]
        field = "video" if item.kind == "video" else "audio_file"
        file: Json = {"url": job.url()}
        if item.kind == "video":
            file["duration"] = item.seconds
        else:
            file |= {"content_type": item.content_type, "file_size": len(item.content())}
        value |= {field: file, "meta": _usage(job.cost)}
    return json_reply(value)


def answer_speech(exchange: Exchange) -> Reply:
    """`POST /v1/tts`: bytes, or an address where the model gives one."""
    model, text = required_model(exchange), exchange.body.get("text")
    if not isinstance(text, str) or not text:
        raise invalid("text: Required", param="text")
    form = str(exchange.body.get("output_format") or exchange.body.get("container") or "mp3").partition("_")[0]
    made = audio(speech_seconds(text), form if form in ("mp3", "wav", "pcm", "opus") else "mp3")
    cost = round(len(text) * 0.00002, 6)
    job = exchange.desk.submit(
        exchange, "speech", model, [made], name=lambda digest: digest[:24], whole=True, cost=cost
    )
    if job.moderated or is_blocked(text):
        raise Refused("content_filter")
    if "elevenlabs" in model or "openai" in model:
        return bytes_reply(made, {"x-inference-id": job.name})
    return json_reply({"audio": {"url": job.url()}, "meta": _usage(cost)})


def answer_listen(exchange: Exchange) -> Reply:
    """`POST /v1/stt/create`."""
    model = required_model(exchange)
    if not exchange.uploads and not exchange.body.get("url"):
        raise invalid("url: Required", param="url")
    job = exchange.desk.submit(exchange, "transcription", model, [], name=lambda digest: digest[:24], cost=0.001)
    return json_reply({"generation_id": job.name})


def answer_heard(exchange: Exchange) -> Reply:
    """`GET /v1/stt/{id}`: the maker's own result inside."""
    job = polled(exchange, exchange.groups["job"])
    value: Json = {"generation_id": job.name, "status": _STT_STATUS.get(job.phase, "error")}
    if job.phase == "failed":
        return json_reply(value | {"error": {"name": "error", "message": job.failure}})
    if job.ended:
        words = {"transcript": said(job), "confidence": 0.99, "words": []}
        metadata = {"duration": 3.0, "channels": 1}
        value["result"] = {"metadata": metadata, "results": {"channels": [{"alternatives": [words]}]}}
        value["meta"] = _usage(job.cost)
    return json_reply(value)


def answer_billing(exchange: Exchange) -> Reply:
    """`GET /v2/billing`."""
    return json_reply({"balance": 25 * _CREDITS, "currency": "credits", "auto_debit_status": "disabled"})


def _of(line: str, operation: SandboxOperation, answer: Any) -> Route:
    return route(line, operation, "media", answer)


_VIDEO = r"/v2/(video/generations|generate/video(/[^/]+/generation)?)"
ROUTES: tuple[Route, ...] = (
    _of(r"POST /images/generations", "image", answer_image),
    _of(rf"POST {_VIDEO}", "video", answer_video),
    _of(rf"GET {_VIDEO}", "poll", answer_get),
    _of(r"POST /v2/generate/audio", "music", answer_music),
    _of(r"GET /v2/generate/audio", "poll", answer_get),
    _of(r"POST /tts", "speech", answer_speech),
    _of(r"POST /stt/create", "transcription", answer_listen),
    _of(r"GET /stt/(?P<job>[^/]+)", "poll", answer_heard),
    _of(r"GET /v2/billing(/detail|/transactions)?", "other", answer_billing),
)
