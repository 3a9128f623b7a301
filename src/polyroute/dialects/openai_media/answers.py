"""What was made → OpenAI's answers."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from polyroute.dialects.openai_media.subtitles import to_srt, to_vtt
from polyroute.types.media import Made, Transcript
from polyroute.types.usage import Usage

JSON = b"application/json"


class Deliverable(msgspec.Struct, frozen=True, kw_only=True):
    """One image on its way to the caller: base64, or an address."""

    b64_json: str | None = None
    url: str | None = None
    revised_prompt: str | None = None


def render_images(made: Made, images: Sequence[Deliverable], created: int) -> bytes:
    """The answer of /images/generations and /images/edits."""
    answer: dict[str, Any] = {
        "created": created,
        "data": [
            {name: value for name, value in msgspec.structs.asdict(image).items() if value is not None}
            for image in images
        ],
    }
    if made.artifacts:
        first = made.artifacts[0]
        if first.width and first.height:
            answer["size"] = f"{first.width}x{first.height}"
        answer["output_format"] = first.media_type.partition("/")[2].partition("+")[0]
    if (usage := _image_usage(made.usage)) is not None:
        answer["usage"] = usage
    return msgspec.json.encode(answer)


def _image_usage(usage: Usage) -> dict[str, Any] | None:
    if usage.input_total is None and usage.output_total is None:
        return None
    given, made = usage.input_total or 0, usage.output_total or 0
    return {
        "input_tokens": given,
        "input_tokens_details": {"text_tokens": usage.input or 0, "image_tokens": usage.image_input or 0},
        "output_tokens": made,
        "output_tokens_details": {"text_tokens": usage.output or 0, "image_tokens": usage.image_output or 0},
        "total_tokens": given + made,
    }


def render_transcript(made: Made, form: str, task: str) -> tuple[bytes, bytes]:
    """The answer of /audio/transcriptions and /audio/translations in a `response_format`, and its media type."""
    transcript = made.transcript or Transcript(text=made.text or "")
    match form:
        case "text":
            return f"{transcript.text}\n".encode(), b"text/plain; charset=utf-8"
        case "srt":
            return to_srt(transcript).encode(), b"text/plain; charset=utf-8"
        case "vtt":
            return to_vtt(transcript).encode(), b"text/vtt; charset=utf-8"
        case "verbose_json" | "diarized_json":
            return msgspec.json.encode(_verbose(transcript, made.usage, task, diarized=form == "diarized_json")), JSON
        case _:
            answer: dict[str, Any] = {"text": transcript.text}
            if (usage := _speech_usage(made.usage, transcript)) is not None:
                answer["usage"] = usage
            return msgspec.json.encode(answer), JSON


def render_transcript_events(made: Made, *, diarized: bool) -> bytes:
    """The answer of /audio/transcriptions as the events of a stream, all at once: a delta for each segment, and the end."""
    transcript = made.transcript or Transcript(text=made.text or "")
    return b"".join(_event(one) for one in _transcript_events(transcript, made.usage, diarized=diarized))


def _transcript_events(transcript: Transcript, usage: Usage, *, diarized: bool) -> Iterator[dict[str, Any]]:
    for number, segment in enumerate(transcript.segments if diarized else ()):
        yield {
            "type": "transcript.text.segment", "id": f"seg_{number}", "start": segment.start, "end": segment.end,
            "text": segment.text, "speaker": segment.speaker or "A",
        }  # fmt: skip
    pieces = [segment.text for segment in transcript.segments]
    if " ".join(pieces) != transcript.text:
        pieces = [transcript.text]
    for place, piece in enumerate(pieces):
        yield {"type": "transcript.text.delta", "delta": f" {piece}" if place else piece}
    counted = _speech_usage(usage, transcript)
    yield {"type": "transcript.text.done", "text": transcript.text, **({} if counted is None else {"usage": counted})}


def speech_event(sound: bytes) -> bytes:
    """A piece of speech as an event of the stream format `sse`."""
    return _event({"type": "speech.audio.delta", "audio": base64.b64encode(sound).decode()})


def speech_end(usage: Usage) -> bytes:
    """The event after the last piece of speech; its usage is there where the provider counts tokens."""
    told: dict[str, Any] = {"type": "speech.audio.done"}
    if usage.output_total is not None:
        given = usage.input_total or 0
        counted = {"input_tokens": given, "output_tokens": usage.output_total}
        told["usage"] = {**counted, "total_tokens": given + usage.output_total}
    return _event(told)


def _event(value: dict[str, Any]) -> bytes:
    return b"data: %s\n\n" % msgspec.json.encode(value)


def _verbose(transcript: Transcript, usage: Usage, task: str, *, diarized: bool) -> dict[str, Any]:
    answer: dict[str, Any] = {"task": task, "text": transcript.text}
    if transcript.language is not None:
        answer["language"] = transcript.language
    if transcript.duration is not None:
        answer["duration"] = transcript.duration
    answer["segments"] = [
        {
            "id": f"seg_{number}" if diarized else number,
            **({"type": "transcript.text.segment", "speaker": segment.speaker or "A"} if diarized else {}),
            "start": segment.start,
            "end": segment.end,
            "text": segment.text,
        }
        for number, segment in enumerate(transcript.segments)
    ]
    if transcript.words and not diarized:
        answer["words"] = [{"word": word.word, "start": word.start, "end": word.end} for word in transcript.words]
    if (counted := _speech_usage(usage, transcript)) is not None:
        answer["usage"] = counted
    return answer


def _speech_usage(usage: Usage, transcript: Transcript) -> dict[str, Any] | None:
    if usage.output_total is not None:
        given = usage.input_total or 0
        return {
            "type": "tokens",
            "input_tokens": given,
            "input_token_details": {"audio_tokens": usage.audio_input or 0, "text_tokens": usage.input or 0},
            "output_tokens": usage.output_total,
            "total_tokens": given + usage.output_total,
        }
    seconds = usage.seconds if usage.seconds is not None else transcript.duration
    return None if seconds is None else {"type": "duration", "seconds": seconds}
