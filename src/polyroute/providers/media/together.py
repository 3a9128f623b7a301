"""Together: pictures at once, films by a second version of the API with their exact cost, speech, transcripts (media.md 6)."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from polyroute.catalog.model import Provider
from polyroute.dialects.sse import SseDecoder
from polyroute.ports import FormPart, Headers, MediaStream, MediaWire, WireResponse
from polyroute.providers.media import fields
from polyroute.providers.media.asking import ask_once
from polyroute.providers.media.handles import NOT_FOUND, is_settling, new_handle
from polyroute.providers.media.sound import BytesStream
from polyroute.providers.media.tabled import Tabled
from polyroute.providers.media.tables import load_table
from polyroute.providers.media.verdicts import gone_wrong, money, read_moderation, unreadable
from polyroute.types.errors import AttemptFailed, ErrorKind, Failure
from polyroute.types.media import (
    Handle,
    MediaRequest,
    Outcome,
    Produced,
    Progress,
    Segment,
    Task,
    Transcript,
    Voice,
    Word,
)
from polyroute.types.usage import Usage

_MEDIA_TYPES = {"mp3": "audio/mpeg", "wav": "audio/wav", "raw": "audio/pcm", "mulaw": "audio/basic"}
_LARGEST_UPLOAD = 80 << 20
_BLOCK_PATIENCE = 30.0
_TASKS_OF_TYPE: dict[str, tuple[Task, ...]] = {
    "image": (Task.TEXT_TO_IMAGE,),
    "video": (Task.TEXT_TO_VIDEO,),
    "audio": (Task.SPEECH,),
    "transcribe": (Task.TRANSCRIBE,),
}


class TogetherMedia:
    """All that it makes, and its voices."""

    def __init__(self, row: Provider) -> None:
        self._provider = row.name

    def maker(self, task: Task, model: str) -> Images | Videos | Speech | Transcription | None:
        """By task."""
        spec = load_table("together").find(task, model)
        if spec is None:
            return None
        match task:
            case Task.TEXT_TO_IMAGE | Task.IMAGE_TO_IMAGE:
                return Images(spec, self._provider)
            case Task.SPEECH:
                return Speech(spec, self._provider)
            case Task.TRANSCRIBE | Task.TRANSLATE:
                return Transcription(spec, self._provider)
            case _:
                return Videos(spec, self._provider)

    async def models(self, wire: MediaWire) -> tuple[tuple[str, tuple[Task, ...]], ...]:
        """All models, by their type."""
        listed = (await wire.call("GET", "/models")).json()
        rows = listed.get("data", ()) if isinstance(listed, dict) else listed
        return tuple((str(one["id"]), _TASKS_OF_TYPE.get(str(one.get("type")), ())) for one in rows)

    async def voices(self, wire: MediaWire) -> tuple[Voice, ...]:
        """The voices of all models."""
        listed = (await wire.call("GET", "/voices")).json()
        return tuple(
            Voice(id=str(one.get("id") or one["name"]), name=str(one["name"]), provider=self._provider,
                  description=str(group.get("model") or "") or None)
            for group in listed.get("data", ())
            for one in group.get("voices", ())
        )  # fmt: skip

    def classify(self, status: int, headers: Headers, body: bytes) -> Failure | None:
        """What is refused on grounds of content; the rest has OpenAI's shape."""
        return read_moderation(status, body)


class Images(Tabled):
    """Implements `ports.Immediate`."""

    async def make(self, request: MediaRequest, model: str, wire: MediaWire) -> Outcome:
        """The pictures of one call."""
        body = await self.body(request, model, wire)
        told = (await ask_once(wire, "/images/generations", json=body)).json()
        produced = tuple(_picture(one) for one in told.get("data") or ())
        if not produced:
            raise unreadable("The provider gave no picture.")
        size = f"{body['width']}x{body['height']}" if body.get("width") and body.get("height") else None
        usage = Usage(images=len(produced), image_size=size)
        return Outcome(produced=produced, usage=usage, model=told.get("model"), upstream_id=told.get("id"))


def _picture(one: dict[str, Any]) -> Produced:
    if one.get("b64_json"):
        return Produced(data=base64.b64decode(one["b64_json"]))
    return Produced(url=str(one.get("url") or ""))


class Videos(Tabled):
    """Implements `ports.Queued`."""

    resubmits = False
    pace = (2.0, 15.0)

    async def submit(self, request: MediaRequest, model: str, wire: MediaWire) -> Handle | Outcome:
        """Start it."""
        body = await self.body(request, model, wire)
        told = (await wire.call("POST", _videos(wire), json=body, creates=True)).json()
        return new_handle(str(told["id"]))

    async def poll(self, handle: Handle, wire: MediaWire) -> Progress | Outcome:
        """It is in progress until it is over."""
        reply = await wire.call("GET", f"{_videos(wire)}/{handle.id}", accept=(NOT_FOUND,))
        if is_settling(handle, reply):
            return Progress(state="queued")
        told = reply.json()
        match told.get("status"):
            case "queued" | "in_progress":
                return Progress(state="queued" if told["status"] == "queued" else "running")
            case "completed":
                return _film(told, handle)
            case "failed" | "cancelled":
                error = told.get("error") or {}
                raise gone_wrong("The video failed.", str(error.get("message") or ""), error.get("code"))
            case None if reply.status == NOT_FOUND:
                raise gone_wrong("The provider no longer knows the video.")
            case other:
                raise unreadable("The video has a state that is not known.", str(other))

    async def cancel(self, handle: Handle, wire: MediaWire) -> None:
        """There is no way to."""


def _videos(wire: MediaWire) -> str:
    return wire.base_url.removesuffix("/v1") + "/v2/videos"


def _film(told: dict[str, Any], handle: Handle) -> Outcome:
    outputs = told.get("outputs") or {}
    if not outputs.get("video_url"):
        raise unreadable("The video has no address.")
    seconds = money(told.get("seconds"))
    usage = Usage(
        video_seconds=None if seconds is None else float(seconds), reported_cost_usd=money(outputs.get("cost"))
    )
    file = Produced(url=str(outputs["video_url"]))
    return Outcome(produced=(file,), usage=usage, model=told.get("model"), upstream_id=handle.id)


class Speech(Tabled):
    """Implements `ports.Streamed`: samples as events while they are spoken, files as the body of the answer."""

    async def stream(self, request: MediaRequest, model: str, wire: MediaWire) -> MediaStream:
        """Ask; the sound follows."""
        filled = fields.fill(self._spec, request, self._provider)
        body: dict[str, Any] = {"model": model, **filled.fields}
        form = str(body.get("response_format"))
        if form == "raw":
            body = {"response_encoding": "pcm_s16le", **body, "stream": True}
        response = await wire.open("POST", "/audio/speech", json=body)
        usage = Usage(characters=len(request.prompt or ""))
        if form == "raw":
            return EventStream(response, f"audio/pcm;rate={body.get('sample_rate', 24_000)}", usage)
        return BytesStream(response, _MEDIA_TYPES.get(form, "audio/mpeg"), usage)


class EventStream:
    """Implements `ports.MediaStream` over events that hold base64 pieces."""

    def __init__(self, response: WireResponse, media_type: str, usage: Usage) -> None:
        self.media_type = media_type
        self._response = response
        self._usage = usage

    async def chunks(self) -> AsyncIterator[bytes]:
        """The samples. Raises AttemptFailed for an error among the events, and for an end without its mark."""
        loop, decoder = asyncio.get_running_loop(), SseDecoder()
        while data := await self._response.receive(loop.time() + _BLOCK_PATIENCE):
            for event in decoder.feed(data):
                if event.data == b"[DONE]":
                    return
                told = msgspec.json.decode(event.data)
                if "error" in told:
                    raise gone_wrong("The speech failed.", str(told["error"]))
                if piece := told.get("b64"):
                    yield base64.b64decode(piece)
        raise AttemptFailed(Failure(kind=ErrorKind.TRUNCATED, message="The provider broke off the speech."))

    def usage(self) -> Usage:
        """The characters that were spoken."""
        return self._usage

    def abort(self) -> None:
        """Stop."""
        self._response.abort()


class Transcription(Tabled):
    """Implements `ports.Immediate`: words from sound."""

    async def make(self, request: MediaRequest, model: str, wire: MediaWire) -> Outcome:
        """The transcript of one call: an upload of up to 80 MB, beyond that an address."""
        item = (*request.given("audio"), *request.given("video"))[0]
        content, media_type = await wire.input_body(item)
        name = item.name or f"audio.{media_type.partition('/')[2].removeprefix('x-')}"
        file = FormPart(name="file", value=content, filename=name, media_type=media_type)
        if content.length > _LARGEST_UPLOAD:
            url = await wire.input_url(item)
            if url is None:
                message = f"'audio' has {content.length >> 20} MB; Together takes uploads of up to 80 MB."
                raise AttemptFailed(Failure(kind=ErrorKind.UNSUPPORTED, message=message, param="audio"))
            file = FormPart(name="file", value=url)
        filled = fields.fill(self._spec, request, self._provider)
        parts = [file, FormPart(name="model", value=model)]
        parts += [FormPart(name=name, value=_text(value)) for name, value in filled.fields.items()]
        parts += [FormPart(name="timestamp_granularities", value=stamp) for stamp in request.timestamps]
        path = "/audio/translations" if request.task is Task.TRANSLATE else "/audio/transcriptions"
        told = (await ask_once(wire, path, form=tuple(parts))).json()
        transcript = _transcript(told)
        return Outcome(transcript=transcript, usage=Usage(seconds=transcript.duration), model=model)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _transcript(told: dict[str, Any]) -> Transcript:
    turns = told.get("speaker_segments") or told.get("segments") or ()
    return Transcript(
        text=str(told["text"]),
        language=told.get("language"),
        duration=told.get("duration"),
        segments=tuple(
            Segment(text=str(one.get("text", "")).strip(), start=float(one.get("start") or 0),
                    end=float(one.get("end") or 0), speaker=one.get("speaker_id"))
            for one in turns
        ),
        words=tuple(
            Word(word=str(one.get("word", "")), start=float(one.get("start") or 0), end=float(one.get("end") or 0),
                 speaker=one.get("speaker_id"))
            for one in told.get("words") or ()
        ),
    )  # fmt: skip
