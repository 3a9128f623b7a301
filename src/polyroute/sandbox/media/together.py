"""Together: pictures, films with their exact cost, speech whole and as events, voices."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

from polyroute.sandbox.control import SandboxOperation
from polyroute.sandbox.errors import Refused, invalid
from polyroute.sandbox.exchange import Exchange, Frame, Json, Reply, Stream, data_frame, hexadecimal, json_reply
from polyroute.sandbox.media.artifacts import audio, image, speech_seconds, video
from polyroute.sandbox.media.call import bytes_reply, count, film_sides, is_blocked, number, polled, seed_of
from polyroute.sandbox.media.jobs import Job
from polyroute.sandbox.openai_reading import required_model
from polyroute.sandbox.route import Route, route

_STATUS = {"queued": "in_progress", "running": "in_progress", "succeeded": "completed"}
_VOICES = ("alloy", "af_heart", "af_bella", "am_adam", "tara", "leah", "leo")
_CHUNK = 4096


def _prompt(exchange: Exchange, field: str = "prompt") -> str:
    given = exchange.body.get(field)
    if not isinstance(given, str) or not given:
        raise invalid(f"Missing required parameter: '{field}'", param=field, code="missing_required_parameter")
    return given


def answer_image(exchange: Exchange) -> Reply:
    """`POST /v1/images/generations`."""
    body, model, prompt = exchange.body, required_model(exchange), _prompt(exchange)
    sides = [int(number(body.get(side), 1024)) for side in ("width", "height")]
    if any(not 64 <= side <= 4096 for side in sides):
        raise invalid("width and height must be between 64 and 4096", param="width", code="invalid_parameter")
    if body.get("n") is not None and not 1 <= number(body["n"], 0) <= 4:
        raise invalid("n must be between 1 and 4", param="n", code="invalid_parameter")
    form = str(body.get("output_format") or "jpeg")
    if form not in ("jpeg", "png"):
        raise invalid("output_format must be jpeg or png", param="output_format", code="invalid_parameter")
    made = [image(seed_of(exchange, place), sides[0], sides[1], form) for place in range(count(body.get("n"), most=4))]
    name = hexadecimal(exchange.digest, "image", 16)
    price = round(sides[0] * sides[1] / 1_000_000 * 0.0027 * len(made), 6)
    job = exchange.desk.submit(exchange, "image", model, made, name=lambda digest: digest[:16], whole=True, cost=price)
    if job.moderated or is_blocked(prompt):
        raise Refused("content_filter", code="nsfw_content")
    rows: list[Json] = []
    for place, artifact in enumerate(made):
        row: Json = {"index": place, "timings": {"inference": 0.3}}
        if body.get("response_format") in ("base64", "b64_json"):
            row |= {"type": "b64_json", "b64_json": base64.b64encode(artifact.content()).decode()}
        else:
            row |= {"type": "url", "url": job.url(place)}
        rows.append(row)
    return json_reply({"id": name, "model": model, "object": "list", "data": rows})


def answer_video(exchange: Exchange) -> Reply:
    """`POST /v2/videos`."""
    body, model = exchange.body, required_model(exchange)
    prompt = str(body.get("prompt") or "")
    if not prompt and not body.get("media") and not body.get("frame_images"):
        _prompt(exchange)
    seconds = number(body.get("seconds"), 5)
    if not 1 <= seconds <= 60:
        raise invalid("seconds must be between 1 and 60", param="seconds", code="invalid_parameter")
    if str(body.get("output_format") or "MP4").upper() != "MP4":
        raise invalid("The sandbox makes MP4 alone", param="output_format", code="invalid_parameter")
    wide, high = film_sides(body.get("resolution", "720p"), body.get("ratio"))
    wide, high = int(number(body.get("width"), wide)), int(number(body.get("height"), high))
    loud = body.get("generate_audio") is not False
    made = [video(seed_of(exchange), wide, high, seconds, number(body.get("fps"), 24), sound=loud)]
    extra = {"seconds": f"{seconds:g}", "size": f"{wide}x{high}", "blocked": is_blocked(prompt)}
    job = exchange.desk.submit(
        exchange,
        "video",
        model,
        made,
        name=lambda digest: f"v_{digest[:24]}",
        cost=round(seconds * 0.08, 4),
        extra=extra,
    )
    return json_reply(_shown(job) | {"status": "in_progress"})


def _shown(job: Job) -> Json:
    state = "failed" if job.phase == "succeeded" and job.extra["blocked"] else _STATUS.get(job.phase, "failed")
    value: Json = {"id": job.name, "object": "video", "model": job.model, "status": state}
    value |= {"created_at": int(job.submitted_at), "seconds": job.extra["seconds"], "size": job.extra["size"]}
    if state == "completed":
        value |= {
            "completed_at": int(job.submitted_at + job.seconds),
            "outputs": {"cost": job.cost, "video_url": job.url()},
        }
    elif state == "failed":
        blocked = job.moderated or job.extra["blocked"]
        value["error"] = {"code": "content_moderated" if blocked else "generation_failed", "message": job.failure}
    return value


def answer_get(exchange: Exchange) -> Reply:
    """`GET /v2/videos/{id}`."""
    return json_reply(_shown(polled(exchange, exchange.groups["job"])))


def answer_speech(exchange: Exchange) -> Reply:
    """`POST /v1/audio/speech`: bytes, or events that end with `[DONE]`."""
    body, model, text = exchange.body, required_model(exchange), _prompt(exchange, "input")
    voice = str(body.get("voice") or "")
    known = any(part in model.lower() for part in ("kokoro", "orpheus"))
    if known and exchange.strict and not any(name in voice for name in _VOICES):
        raise invalid(f"Voice '{voice}' is not available for {model}", param="voice", code="invalid_voice")
    form = {"raw": "pcm", "mulaw": "ulaw"}.get(
        str(body.get("response_format") or "wav"), body.get("response_format", "wav")
    )
    if form not in ("mp3", "wav", "pcm", "ulaw"):
        raise invalid("response_format must be mp3, wav or raw", param="response_format", code="invalid_parameter")
    rate = int(number(body.get("sample_rate"), 24_000))
    made = audio(speech_seconds(text), form, rate, int(number(body.get("bit_rate"), 128_000)) // 1000)
    cost = round(len(text) * 0.000015, 8)
    job = exchange.desk.submit(
        exchange, "speech", model, [made], name=lambda digest: digest[:16], whole=True, cost=cost
    )
    if job.moderated or is_blocked(text):
        raise Refused("content_filter")
    return Stream(frames=_events(model, made.content())) if body.get("stream") else bytes_reply(made)


def _events(model: str, data: bytes) -> Iterator[Frame]:
    for start in range(0, len(data), _CHUNK):
        piece = base64.b64encode(data[start : start + _CHUNK]).decode()
        yield data_frame({"object": "audio.tts.chunk", "model": model, "b64": piece}, 1)
    yield Frame(b"data: [DONE]\n\n", last=True)


def answer_voices(exchange: Exchange) -> Reply:
    """`GET /v1/voices`."""
    model = exchange.query.get("model", "hexgrad/Kokoro-82M")
    return json_reply({"data": [{"model": model, "voices": [{"name": name} for name in _VOICES]}]})


def _of(line: str, operation: SandboxOperation, answer: Any) -> Route:
    return route(line, operation, "media", answer)


ROUTES: tuple[Route, ...] = (
    _of(r"POST /images/generations", "image", answer_image),
    _of(r"POST /v2/videos", "video", answer_video),
    _of(r"GET /v2/videos/(?P<job>[^/]+)", "poll", answer_get),
    _of(r"POST /audio/speech", "speech", answer_speech),
    _of(r"GET /voices", "voices", answer_voices),
)
