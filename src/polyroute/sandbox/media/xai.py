"""xAI: pictures and their edits (JSON both), films that are polled, speech, transcription."""

from __future__ import annotations

import base64
from typing import Any

from polyroute.sandbox.control import SandboxOperation
from polyroute.sandbox.errors import Refused, invalid
from polyroute.sandbox.exchange import Exchange, Json, Reply, Whole, json_reply, uuid_text
from polyroute.sandbox.media.artifacts import audio, image, speech_seconds, video
from polyroute.sandbox.media.call import (
    bytes_reply,
    count,
    film_sides,
    is_blocked,
    number,
    polled,
    said,
    seed_of,
    sides,
    timed_words,
)
from polyroute.sandbox.media.jobs import Job
from polyroute.sandbox.openai_reading import required_model
from polyroute.sandbox.route import Route, route

_TICKS = 10_000_000_000
_SECOND = {"480p": 0.05, "720p": 0.07, "1080p": 0.25}
_VOICES = ("Eve", "Ara", "Rex", "Sal", "Leo")
_FORMS = {"mp3": "mp3", "wav": "wav", "pcm": "pcm", "mulaw": "ulaw", "alaw": "alaw"}


def _prompt(exchange: Exchange) -> str:
    prompt = exchange.body.get("prompt")
    if not isinstance(prompt, str) or not prompt:
        raise invalid("Missing required field: prompt", param="prompt")
    return prompt


def answer_image(exchange: Exchange) -> Reply:
    """`POST /images/generations`, `/images/edits`."""
    body, model, prompt = exchange.body, required_model(exchange), _prompt(exchange)
    if "/edits" in exchange.path and not body.get("image") and not body.get("images"):
        raise invalid("Missing required field: image", param="image")
    for field in ("size", "seed", "negative_prompt"):
        if field in body and exchange.strict:
            raise invalid(f"Argument not supported: {field}", param=field)
    wanted = body.get("n", 1)
    if not isinstance(wanted, int) or not 1 <= wanted <= 10:
        raise invalid("n must be between 1 and 10", param="n")
    aspect, large = body.get("aspect_ratio", "1:1"), body.get("resolution") == "2k"
    pair = sides("1:1" if aspect == "auto" else aspect, 2048 * 2048 if large else 1024 * 1024)
    if pair is None:
        raise invalid(f"Invalid aspect_ratio: {aspect}", param="aspect_ratio")
    made = [image(seed_of(exchange, place), *pair, "jpeg") for place in range(count(wanted))]
    cost = round(0.02 * len(made), 4)
    job = exchange.desk.submit(
        exchange, "image", model, made, name=lambda digest: uuid_text(digest, "image"), whole=True, cost=cost
    )
    blocked = job.moderated or is_blocked(prompt)
    rows: list[Json] = []
    for place, artifact in enumerate(made):
        row: Json = {"mime_type": "image/jpeg"}
        if blocked:
            row |= {"respect_moderation": False, "url": ""}
        elif body.get("response_format") == "b64_json":
            row["b64_json"] = base64.b64encode(artifact.content()).decode()
        else:
            row["url"] = job.url(place)
        rows.append(row | {"revised_prompt": ""})
    return json_reply({"data": rows, "usage": {"cost_in_usd_ticks": 0 if blocked else round(cost * _TICKS)}})


def answer_video(exchange: Exchange) -> Reply:
    """`POST /videos/generations`, `/videos/edits`, `/videos/extensions`."""
    body, model, prompt = exchange.body, required_model(exchange), _prompt(exchange)
    if "/generations" not in exchange.path and not isinstance(body.get("video"), dict):
        raise invalid("Missing required field: video", param="video")
    seconds = number(body.get("duration"), 8)
    if not 1 <= seconds <= 15:
        raise invalid("duration must be between 1 and 15 seconds", param="duration")
    resolution = str(body.get("resolution") or "480p")
    if resolution not in _SECOND:
        raise invalid(f"Invalid resolution: {resolution}", param="resolution")
    wide, high = film_sides(resolution, body.get("aspect_ratio"))
    cost = round(seconds * _SECOND[resolution] + (0.002 if body.get("image") else 0), 6)
    made = [video(seed_of(exchange), wide, high, seconds)]
    extra = {"blocked": is_blocked(prompt)}
    job = exchange.desk.submit(
        exchange, "video", model, made, name=lambda digest: uuid_text(digest, "video"), cost=cost, extra=extra
    )
    return json_reply({"request_id": job.name})


def answer_get(exchange: Exchange) -> Reply:
    """`GET /videos/{id}`: 202 and nothing at first, then 200 with the progress."""
    job = polled(exchange, exchange.groups["job"])
    if job.phase == "queued":
        return Whole(body=b"", status=202)
    return json_reply(_shown(job), status=202 if job.phase == "running" and job.fraction < 0.5 else 200)


def _shown(job: Job) -> Json:
    if job.expired:
        return {"status": "expired", "model": job.model}
    if not job.ended:
        return {"status": "pending", "model": job.model, "progress": job.percent}
    if job.phase == "failed" and not job.moderated:
        return {"status": "failed", "model": job.model, "error": {"code": "internal_error", "message": job.failure}}
    blocked = job.moderated or job.extra["blocked"]
    film: Json = {"url": "" if blocked else job.url(), "duration": job.artifacts[0].seconds}
    value: Json = {"status": "done", "model": job.model, "progress": 100}
    value["video"] = film | {"respect_moderation": not blocked}
    return value | {"usage": {"cost_in_usd_ticks": 0 if blocked else round((job.cost or 0) * _TICKS)}}


def answer_speech(exchange: Exchange) -> Reply:
    """`POST /tts`."""
    text = exchange.body.get("text")
    if not isinstance(text, str) or not text:
        raise invalid("Missing required field: text", param="text")
    given = exchange.body.get("output_format")
    codec = str(given.get("codec", "mp3")) if isinstance(given, dict) else "mp3"
    if codec not in _FORMS:
        raise invalid(f"Invalid codec: {codec}", param="output_format")
    rate = int(number(given.get("sample_rate"), 24_000)) if isinstance(given, dict) else 24_000
    made = audio(speech_seconds(text), _FORMS[codec], rate)
    job = exchange.desk.submit(
        exchange, "speech", "grok-tts", [made], name=lambda digest: uuid_text(digest, "speech"), whole=True
    )
    if job.moderated or is_blocked(text):
        raise Refused("content_filter")
    return bytes_reply(made)


def answer_voices(exchange: Exchange) -> Reply:
    """`GET /tts/voices`."""
    voices = [{"voice_id": name.lower(), "name": name, "language": "multilingual"} for name in _VOICES]
    return json_reply({"voices": voices})


def answer_transcription(exchange: Exchange) -> Reply:
    """`POST /stt`."""
    if not any(upload.field == "file" for upload in exchange.uploads) and not exchange.body.get("url"):
        raise invalid("Missing required field: file", param="file")
    model = str(exchange.body.get("model") or "grok-voice-transcribe-2.0")
    job = exchange.desk.submit(
        exchange, "transcription", model, [], name=lambda digest: uuid_text(digest, "stt"), whole=True, cost=0.0000834
    )
    words = [{"text": word, "start": start, "end": end} for word, start, end in timed_words(said(job), 3.0)]
    language = str(exchange.body.get("language") or "en")
    return json_reply({"text": said(job), "language": language, "duration": 3.0, "words": words})


def _of(line: str, operation: SandboxOperation, answer: Any) -> Route:
    return route(line, operation, "media", answer)


ROUTES: tuple[Route, ...] = (
    _of(r"POST /images/(generations|edits)", "image", answer_image),
    _of(r"POST /videos/(generations|edits|extensions)", "video", answer_video),
    _of(r"GET /videos/(?P<job>[^/]+)", "poll", answer_get),
    _of(r"POST /tts", "speech", answer_speech),
    _of(r"GET /tts/voices", "voices", answer_voices),
    _of(r"POST /stt", "transcription", answer_transcription),
)
