"""Speech, transcription and translation in OpenAI's form."""

from __future__ import annotations

import base64
from collections.abc import Iterator

from polyroute.sandbox.answers import pieces
from polyroute.sandbox.errors import Refused, invalid
from polyroute.sandbox.exchange import Exchange, Frame, Json, Reply, Stream, Upload, Whole, data_frame, json_reply
from polyroute.sandbox.media.artifacts import Artifact, audio
from polyroute.sandbox.media.call import is_blocked
from polyroute.sandbox.media.jobs import Job
from polyroute.sandbox.openai_reading import required_model
from polyroute.sandbox.openai_usage import reply_headers
from polyroute.sandbox.prompt import tokens_of
from polyroute.sandbox.sound import FORMATS, spoken, spoken_seconds, wav_seconds

_CHUNK = 4096
_VOICES = (
    "alloy",
    "ash",
    "ballad",
    "coral",
    "echo",
    "fable",
    "onyx",
    "nova",
    "sage",
    "shimmer",
    "verse",
    "marin",
    "cedar",
)
_TRANSCRIPT_FORMS = ("json", "text", "srt", "verbose_json", "vtt", "diarized_json")


def answer_speech(exchange: Exchange) -> Reply:
    """`POST /audio/speech`: bytes in pieces, or server-sent events."""
    body = exchange.body
    model = required_model(exchange)
    text = body.get("input")
    if not isinstance(text, str) or not text:
        raise invalid("Missing required parameter: 'input'.", param="input", code="missing_required_parameter")
    if len(text) > 4096 and exchange.profile.name == "openai":
        raise invalid(
            "[{'type': 'string_too_long', 'loc': ('body', 'input'), 'msg': 'String should have at most 4096 characters'}]"
        )
    if not body.get("voice"):
        raise invalid("Missing required parameter: 'voice'.", param="voice", code="missing_required_parameter")
    if exchange.strict and exchange.profile.name == "openai":
        _check_voice(body)
    form = body.get("response_format") or "mp3"
    if form not in FORMATS:
        raise invalid(f"Invalid value: '{form}'.", param="response_format", code="invalid_value")
    content_type, data = spoken(text, form)
    job = _recorded(exchange, "speech", model, audio(spoken_seconds(text), form))
    if job.has("wrong_media_type"):
        data = b"<!doctype html><html><body>Please log in.</body></html>"
    if body.get("stream_format") == "sse":
        if model.startswith("tts-1"):
            raise invalid("stream_format 'sse' is not supported with this model.", param="stream_format")
        return Stream(frames=_speech_events(text, data), headers=reply_headers(exchange))
    return Stream(frames=_slices(data), content_type=content_type, headers=reply_headers(exchange))


def _check_voice(body: Json) -> None:
    voice, speed = body["voice"], body.get("speed", 1.0)
    if voice not in _VOICES and not (isinstance(voice, dict) and str(voice.get("id", "")).startswith("voice_")):
        listed = ", ".join(f"'{name}'" for name in _VOICES)
        raise invalid(f"Invalid value: '{voice}'. Supported values are: {listed}.", param="voice", code="invalid_value")
    if not isinstance(speed, int | float) or not 0.25 <= speed <= 4:
        raise invalid(f"Invalid 'speed': expected a number from 0.25 to 4.0, but got {speed}.", param="speed")


def _recorded(exchange: Exchange, operation: str, model: str, *made: Artifact) -> Job:
    job = exchange.desk.submit(
        exchange, operation, model, made, name=lambda digest: f"{operation}_{digest[:24]}", whole=True
    )
    if job.moderated or is_blocked(exchange.body.get("input")):
        raise Refused("content_filter")
    return job


def _slices(data: bytes) -> Iterator[Frame]:
    for start in range(0, len(data), _CHUNK):
        yield Frame(data[start : start + _CHUNK], 1, last=start + _CHUNK >= len(data))


def _speech_events(text: str, data: bytes) -> Iterator[Frame]:
    for frame in _slices(data):
        yield data_frame({"type": "speech.audio.delta", "audio": base64.b64encode(frame.data).decode()}, 1)
    usage = {"input_tokens": tokens_of(text), "output_tokens": len(data) // 1000}
    usage["total_tokens"] = sum(usage.values())
    yield data_frame({"type": "speech.audio.done", "usage": usage}, last=True)


def answer_transcription(exchange: Exchange) -> Reply:
    """`POST /audio/transcriptions`."""
    return _transcript(exchange, "transcribe")


def answer_translation(exchange: Exchange) -> Reply:
    """`POST /audio/translations`."""
    return _transcript(exchange, "translate")


def _transcript(exchange: Exchange, task: str) -> Reply:
    body = exchange.body
    model = required_model(exchange)
    upload = next((item for item in exchange.uploads if item.field == "file"), None)
    if upload is None:
        raise invalid("Missing required parameter: 'file'.", param="file", code="missing_required_parameter")
    if upload.size == 0:
        raise invalid("Audio file is too short. Minimum audio length is 0.1 seconds.", code="audio_too_short")
    form = str(body.get("response_format") or "json")
    if form not in _TRANSCRIPT_FORMS:
        raise invalid(f"Invalid value: '{form}'.", param="response_format", code="invalid_value")
    _recorded(exchange, "transcription", model)
    seconds = _seconds(upload)
    verb = "translated" if task == "translate" else "transcribed"
    text = (
        f"[simulated {exchange.profile.name}/{model}] {verb} {upload.filename or 'a file'}: "
        f"{upload.size} bytes, {seconds:.1f} seconds. Nobody has listened to it."
    )
    usage: Json = {"type": "duration", "seconds": -(-int(seconds * 10) // 10)}
    if not model.split("/")[-1].startswith("whisper"):
        audio = max(1, round(seconds * 10))
        usage = {
            "type": "tokens",
            "input_tokens": audio,
            "input_token_details": {"audio_tokens": audio, "text_tokens": 0},
        }
        usage |= {"output_tokens": tokens_of(text), "total_tokens": audio + tokens_of(text)}
    headers = reply_headers(exchange)
    if body.get("stream") in (True, "true") and not model.startswith("whisper"):
        return Stream(
            frames=_transcript_events(text, usage, seconds, diarized=form == "diarized_json"), headers=headers
        )
    if form in ("text", "srt", "vtt"):
        said = {"text": f"{text}\n", "srt": _srt(text, seconds), "vtt": _vtt(text, seconds)}[form]
        return Whole(
            body=said.encode(), content_type="text/plain; charset=utf-8", headers=headers, tokens=tokens_of(text)
        )
    value: Json = {"text": text, "usage": usage}
    if form == "verbose_json":
        value = _verbose(task, str(body.get("language") or "en"), seconds, text, _granularities(body)) | {
            "usage": usage
        }
    elif form == "diarized_json":
        segment = {
            "id": "seg_0",
            "type": "transcript.text.segment",
            "start": 0.0,
            "end": seconds,
            "speaker": "A",
            "text": text,
        }
        value = {"task": task, "duration": seconds, "text": text, "segments": [segment], "usage": usage}
    return json_reply(value, headers=headers, tokens=tokens_of(text))


def _seconds(upload: Upload) -> float:
    found = wav_seconds(upload.head, upload.size)
    return round(found if found is not None else upload.size / 4000, 2)


def _granularities(body: Json) -> set[str]:
    value = body.get("timestamp_granularities[]", body.get("timestamp_granularities", "segment"))
    return set(value) if isinstance(value, list) else {str(value)}


def _verbose(task: str, language: str, seconds: float, text: str, wanted: set[str]) -> Json:
    value: Json = {
        "task": task,
        "language": {"en": "english"}.get(language, language),
        "duration": seconds,
        "text": text,
    }
    if "segment" in wanted:
        segment: Json = {"id": 0, "seek": 0, "start": 0.0, "end": seconds, "text": text, "tokens": [50364, 50414]}
        segment |= {"temperature": 0.0, "avg_logprob": -0.25, "compression_ratio": 1.1, "no_speech_prob": 0.01}
        value["segments"] = [segment]
    if "word" in wanted:
        words = text.split()
        step = seconds / len(words)
        value["words"] = [
            {"word": word, "start": round(place * step, 3), "end": round((place + 1) * step, 3)}
            for place, word in enumerate(words)
        ]
    return value


def _clock(seconds: float, comma: str) -> str:
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest // 1000:02d}{comma}{rest % 1000:03d}"


def _srt(text: str, seconds: float) -> str:
    return f"1\n{_clock(0, ',')} --> {_clock(seconds, ',')}\n{text}\n\n"


def _vtt(text: str, seconds: float) -> str:
    return f"WEBVTT\n\n{_clock(0, '.')} --> {_clock(seconds, '.')}\n{text}\n\n"


def _transcript_events(text: str, usage: Json, seconds: float, *, diarized: bool) -> Iterator[Frame]:
    if diarized:
        segment: Json = {"type": "transcript.text.segment", "text": text, "speaker": "A", "start": 0.0, "end": seconds}
        yield data_frame(segment | {"id": "seg_0"}, 1)
    for piece in () if diarized else pieces(text):
        yield data_frame({"type": "transcript.text.delta", "delta": piece}, 1)
    yield data_frame({"type": "transcript.text.done", "text": text, "usage": usage}, last=True)
