"""ElevenLabs: speech whole, streamed and with times; transcription, sound effects, music."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

from aiohttp import WSMsgType, web

from polyroute.sandbox.control import SandboxOperation
from polyroute.sandbox.errors import Refused
from polyroute.sandbox.exchange import (
    Direct,
    Exchange,
    Frame,
    Json,
    Reply,
    Stream,
    Whole,
    identifier,
    json_reply,
    line_frame,
)
from polyroute.sandbox.media import elevenlabs_recordings as recordings
from polyroute.sandbox.media import elevenlabs_voices as voices
from polyroute.sandbox.media.artifacts import Artifact, audio, speech_seconds
from polyroute.sandbox.media.call import answered, encoded, is_blocked, number, said, timed_words
from polyroute.sandbox.media.callbacks import Callback
from polyroute.sandbox.media.callbacks import elevenlabs as signed
from polyroute.sandbox.media.jobs import Job
from polyroute.sandbox.route import Route, route

_CHUNK = 4096
_FORMS = {
    "mp3": ("22050_32", "24000_48", "44100_32", "44100_64", "44100_96", "44100_128", "44100_192"),
    "opus": ("48000_32", "48000_64", "48000_96", "48000_128", "48000_192"),
    "pcm": ("8000", "16000", "22050", "24000", "32000", "44100", "48000"),
    "wav": ("8000", "16000", "22050", "24000", "32000", "44100", "48000"),
    "ulaw": ("8000",),
    "alaw": ("8000",),
}
_LIMITS = {"eleven_flash_v2_5": 40_000, "eleven_turbo_v2_5": 40_000, "eleven_v3": 5000, "eleven_v4": 5000}
_STT_MODELS = ("scribe_v1", "scribe_v2", "scribe_v2_medical", "scribe_v2_turbo", "scribe_v3")


def problem(status: int, kind: str, code: str, message: str, param: str | None = None) -> Exception:
    """An error in the envelope that new accounts get."""
    detail = {"type": kind, "code": code, "message": message, "status": code, "request_id": "sandbox", "param": param}
    return answered({"detail": detail}, status)


def missing(field: str) -> Exception:
    """The 422 of a field that is not there."""
    return answered({"detail": [{"loc": ["body", field], "msg": "Field required", "type": "missing"}]}, 422)


def form_of(exchange: Exchange, seconds: float, fallback: str = "mp3_44100_128") -> Artifact:
    """The sound in the `output_format` that was asked for."""
    wanted = exchange.query.get("output_format", fallback)
    wanted = fallback if wanted == "auto" else wanted
    name, _, rest = wanted.partition("_")
    if rest not in _FORMS.get(name, ()) and not (name == "mp3" and rest.startswith("48000_")):
        message = f"Output format '{wanted}' is not supported."
        raise problem(400, "validation_error", "invalid_output_format", message, "output_format")
    rate, _, kbits = rest.partition("_")
    return audio(seconds, name, int(rate), int(kbits or 64))


def _headers(job: Job, cost: int | None = None) -> dict[str, str]:
    headers = {"request-id": job.name, "x-trace-id": job.token, "history-item-id": job.token}
    headers |= {"current-concurrent-requests": "1", "maximum-concurrent-requests": "10"}
    return headers if cost is None else headers | {"character-cost": str(cost)}


def _taken(
    exchange: Exchange, operation: str, model: str, made: list[Artifact], price: float | None, **more: Any
) -> Job:
    texts = (exchange.body.get("text"), exchange.body.get("prompt"))
    job = exchange.desk.submit(
        exchange,
        operation,
        model,
        made,
        name=lambda digest: identifier(digest, "request", 20),
        whole="callback" not in more,
        cost=price,
        **more,
    )
    if job.moderated or is_blocked(*texts):
        raise Refused("content_filter")
    return job


def _spoken(exchange: Exchange) -> tuple[Job, str, int]:
    """A checked request for speech: the job, its text, and its price in characters."""
    body = exchange.body
    if "inputs" in body:
        text = " ".join(str(item.get("text", "")) for item in body["inputs"])
        wanted = [str(item.get("voice_id")) for item in body["inputs"]]
    else:
        if not isinstance(body.get("text"), str):
            raise missing("text")
        text, wanted = body["text"], [exchange.groups["voice"]]
    if not text.strip():
        raise problem(400, "validation_error", "empty_text", "The text must not be empty.", "text")
    model = str(body.get("model_id") or "eleven_multilingual_v2")
    if model not in exchange.profile.models:
        raise Refused("model_not_found", values={"model": model}, param="model_id")
    most = _LIMITS.get(model, 10_000)
    if len(text) > most:
        message = f"The text has {len(text)} characters; the limit of {model} is {most}."
        raise problem(400, "validation_error", "text_too_long", message, "text")
    for voice in wanted:
        voices.check(exchange, voice)
    settings = body.get("voice_settings") or {}
    speed = number(settings.get("speed"), 1.0)
    if not 0.7 <= speed <= 1.2:
        message = "Invalid setting for speed received, expected to be greater or equal to 0.7 and less or equal to 1.2."
        raise problem(400, "validation_error", "invalid_voice_settings", message, "speed")
    half = any(part in model for part in ("flash", "turbo"))
    cost = -(-len(text) // 2) if half else len(text)
    artifact = form_of(exchange, speech_seconds(text, speed))
    price = round(len(text) * (0.00004 if half else 0.00008), 6)
    return _taken(exchange, "speech", model, [artifact], price), text, cost


def _sound(job: Job) -> bytes:
    return b"<!doctype html><html></html>" if job.has("wrong_media_type") else job.artifacts[0].content()


def answer_speech(exchange: Exchange) -> Reply:
    """`POST /v1/text-to-speech/{voice}`, `/stream`, `/v1/text-to-dialogue`: sound."""
    job, _, cost = _spoken(exchange)
    return _sounded(exchange, job, _headers(job, cost))


def _sounded(exchange: Exchange, job: Job, headers: dict[str, str]) -> Reply:
    data, kind = _sound(job), job.artifacts[0].content_type
    if not exchange.path.rstrip("/").endswith("/stream"):
        return Whole(body=data, content_type=kind, headers=headers, tokens=32)
    frames = (Frame(data[start : start + _CHUNK], 1) for start in range(0, len(data), _CHUNK))
    return Stream(frames=frames, content_type=kind, headers=headers)


def _alignment(text: str, seconds: float) -> Json:
    step = seconds / max(1, len(text))
    starts = [round(place * step, 3) for place in range(len(text))]
    ends = [round((place + 1) * step, 3) for place in range(len(text))]
    return {
        "characters": list(text),
        "character_start_times_seconds": starts,
        "character_end_times_seconds": ends,
    }


def answer_timed(exchange: Exchange) -> Reply:
    """`/with-timestamps`: JSON; `/stream/with-timestamps`: a line of JSON for each piece."""
    job, text, cost = _spoken(exchange)
    times = _alignment(text, job.artifacts[0].seconds)
    data = _sound(job)
    if "/stream/" not in exchange.path:
        value = {"audio_base64": base64.b64encode(data).decode(), "alignment": times, "normalized_alignment": times}
        return json_reply(value, headers=_headers(job, cost))
    return Stream(frames=_lines(data, times), content_type="application/json", headers=_headers(job, cost))


def _lines(data: bytes, times: Json) -> Iterator[Frame]:
    for start in range(0, len(data), _CHUNK):
        piece = base64.b64encode(data[start : start + _CHUNK]).decode()
        shown = times if start == 0 else None
        yield line_frame({"audio_base64": piece, "alignment": shown, "normalized_alignment": shown}, 1)


def answer_socket(exchange: Exchange) -> Reply:
    """`WS /v1/text-to-speech/{voice}/stream-input`: text in, sound out, until the empty text."""
    voices.check(exchange, exchange.groups["voice"])

    async def send(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        text = ""
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                continue
            said_now = message.json().get("text")
            text += said_now or ""
            if said_now == "":
                break
        seconds = speech_seconds(text)
        job = _taken(exchange, "speech", "stream-input", [form_of(exchange, seconds)], None)
        data = _sound(job)
        for start in range(0, len(data), _CHUNK):
            piece = base64.b64encode(data[start : start + _CHUNK]).decode()
            await socket.send_json({"audio": piece, "isFinal": None, "alignment": None})
        await socket.send_json({"isFinal": True})
        await socket.close()
        return socket

    return Direct(send)


def answer_transcription(exchange: Exchange) -> Reply:
    """`POST /v1/speech-to-text`."""
    body = exchange.body
    model = str(body.get("model_id") or "")
    if model not in _STT_MODELS:
        message = f"'{model}' is not a valid model_id. Only {', '.join(_STT_MODELS)} are currently supported."
        raise (
            problem(400, "validation_error", "unsupported_model", message, "model_id") if model else missing("model_id")
        )
    upload = next((item for item in exchange.uploads if item.field == "file"), None)
    if upload is None and not body.get("source_url") and not body.get("cloud_storage_url"):
        message = "Must provide either file or source_url parameter."
        raise problem(400, "validation_error", "invalid_parameters", message, "file")
    if upload is not None and upload.size < 64:
        raise problem(400, "validation_error", "audio_too_short", "Audio is too short.", "file")
    hook = str(exchange.body.get("webhook_id") or "")
    url = hook if str(body.get("webhook")).lower() == "true" and hook.startswith("http") else None
    if str(body.get("webhook")).lower() == "true":
        callback = None if url is None else (lambda made: _transcript_callback(exchange, made, url))
        job = _taken(exchange, "transcription", model, [], 0.001, callback=callback)
        job.extra["transcript"] = _transcript(exchange, job)
        return json_reply({"message": "Request accepted", "request_id": job.name, "transcription_id": job.token})
    job = _taken(exchange, "transcription", model, [], 0.001)
    exchange.memory.keep("transcripts", job.token, _transcript(exchange, job))
    return json_reply(_transcript(exchange, job), headers=_headers(job))


def _transcript_callback(exchange: Exchange, job: Job, url: str) -> Callback:
    data = {"request_id": job.name, "transcription": _transcript(exchange, job)}
    body = encoded({"type": "speech_to_text_transcription", "event_timestamp": int(job.submitted_at), "data": data})
    return Callback(url=url, body=body, headers=signed(body))


def _transcript(exchange: Exchange, job: Job) -> Json:
    text, seconds = said(job), 3.0
    words: list[Json] = []
    level = str(exchange.body.get("timestamps_granularity") or "word")
    for word, start, end in timed_words(text, seconds) if level != "none" else []:
        row = {"text": word, "start": start, "end": end, "type": "word", "speaker_id": "speaker_0", "logprob": 0.0}
        words += [row, {**row, "text": " ", "start": end, "type": "spacing"}]
    value: Json = {"language_code": "eng", "language_probability": 0.99, "text": text, "words": words[:-1]}
    value |= {"transcription_id": job.token, "audio_duration_secs": seconds}
    formats = exchange.body.get("additional_formats")
    if formats:
        content = f"1\n00:00:00,000 --> 00:00:03,000\n{text}\n\n"
        value["additional_formats"] = [
            {"requested_format": "srt", "file_extension": "srt", "content_type": "text/srt", "content": content}
        ]
    return value


def answer_transcript(exchange: Exchange) -> Reply:
    """`GET`, `DELETE /v1/speech-to-text/transcripts/{id}`."""
    name = exchange.groups["transcript"]
    value, job = exchange.memory.find("transcripts", name), exchange.desk.by_token(name)
    if job is not None and "transcript" in job.extra:
        job.polls += 1
        value = job.extra["transcript"] if job.phase == "succeeded" else None
    if value is None:
        raise problem(404, "not_found", "transcript_not_found", "Transcript not found.")
    if exchange.method == "DELETE":
        exchange.memory.drop("transcripts", name)
        return json_reply({"message": "Deleted"})
    return json_reply(value)


def answer_effect(exchange: Exchange) -> Reply:
    """`POST /v1/sound-generation`."""
    if not isinstance(exchange.body.get("text"), str):
        raise missing("text")
    given = exchange.body.get("duration_seconds")
    seconds = number(given, 3.0)
    if given is not None and not 0.5 <= seconds <= 30:
        message = "duration_seconds must be between 0.5 and 30."
        raise problem(400, "validation_error", "invalid_parameters", message, "duration_seconds")
    model = str(exchange.body.get("model_id") or "eleven_text_to_sound_v2")
    job = _taken(exchange, "effects", model, [form_of(exchange, seconds)], round(seconds * 0.002, 6))
    return _sounded(exchange, job, _headers(job, 200 if given is None else int(seconds * 40)))


def answer_music(exchange: Exchange) -> Reply:
    """`POST /v1/music`, `/stream`, `/plan`."""
    body = exchange.body
    plan = body.get("composition_plan")
    if not body.get("prompt") and not plan:
        raise problem(
            400, "validation_error", "invalid_parameters", "Provide a prompt or a composition plan.", "prompt"
        )
    if body.get("prompt") and body.get("seed") is not None:
        raise problem(400, "validation_error", "invalid_parameters", "A seed cannot be used with a prompt.", "seed")
    length = number(body.get("music_length_ms"), 10_000)
    if isinstance(plan, dict):
        length = sum(number(part.get("duration_ms"), 0) for part in plan.get("sections", [])) or length
    if not 3000 <= length <= 600_000:
        message = "music_length_ms must be between 3000 and 600000."
        raise problem(400, "validation_error", "invalid_parameters", message, "music_length_ms")
    if exchange.path.rstrip("/").endswith("/plan"):
        section = {"section_name": "Simulated", "positive_local_styles": [], "negative_local_styles": []}
        section_list = [section | {"duration_ms": int(length), "lines": []}]
        plan = {"positive_global_styles": [str(body.get("prompt"))], "negative_global_styles": []}
        return json_reply(plan | {"sections": section_list})
    model = str(body.get("model_id") or "music_v2")
    job = _taken(exchange, "music", model, [form_of(exchange, length / 1000)], round(length / 1000 * 0.005, 6))
    return _sounded(exchange, job, _headers(job, int(length / 10)) | {"song-id": job.token})


def _of(line: str, operation: SandboxOperation, answer: Any, **more: Any) -> Route:
    return route(line, operation, "media", answer, **more)


_SPEAK = r"/text-to-speech/(?P<voice>[^/]+)"
ROUTES: tuple[Route, ...] = (
    _of(rf"GET {_SPEAK}/(multi-)?stream-input", "speech", answer_socket),
    _of(rf"POST {_SPEAK}(/stream)?/with-timestamps", "speech", answer_timed),
    _of(rf"POST {_SPEAK}(/stream)?", "speech", answer_speech),
    _of(r"POST /text-to-dialogue(/stream)?/with-timestamps", "speech", answer_timed),
    _of(r"POST /text-to-dialogue(/stream)?", "speech", answer_speech),
    _of(r"POST /speech-to-text", "transcription", answer_transcription),
    _of(r"GET|DELETE /speech-to-text/transcripts/(?P<transcript>[^/]+)", "other", answer_transcript),
    _of(r"POST /sound-generation", "effects", answer_effect),
    _of(r"POST /music(/stream|/plan)?", "music", answer_music),
    *recordings.ROUTES,
    *voices.ROUTES,
)
