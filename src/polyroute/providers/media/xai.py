"""xAI: pictures and their edits (JSON both), films that are polled, speech, transcripts; with exact costs (media.md 11)."""

from __future__ import annotations

import base64
from decimal import Decimal
from typing import Any

import msgspec

from polyroute.catalog.model import Provider
from polyroute.ports import FormPart, Headers, MediaStream, MediaWire
from polyroute.providers.media import fields
from polyroute.providers.media.asking import ask_once
from polyroute.providers.media.handles import NOT_FOUND, is_settling, new_handle
from polyroute.providers.media.intents import OPENAI_VOICES
from polyroute.providers.media.sound import BytesStream
from polyroute.providers.media.spoken import turns_of
from polyroute.providers.media.tabled import Tabled
from polyroute.providers.media.tables import load_table
from polyroute.providers.media.verdicts import filtered, gone_wrong, read_moderation, unreadable
from polyroute.types.errors import Failure
from polyroute.types.media import (
    Fitted,
    Handle,
    MediaRequest,
    Outcome,
    Produced,
    Progress,
    Task,
    Transcript,
    Voice,
    Word,
)
from polyroute.types.usage import Usage

_TICK = Decimal("1e-10")
_PENDING = 202
_MEDIA_TYPES = {
    "mp3": "audio/mpeg", "wav": "audio/wav", "pcm": "audio/pcm", "mulaw": "audio/basic", "alaw": "audio/basic",
}  # fmt: skip


class XaiMedia:
    """All that it makes."""

    def __init__(self, row: Provider) -> None:
        self._provider = row.name

    def maker(self, task: Task, model: str) -> Images | Videos | Speech | Transcription | None:
        """By task."""
        spec = load_table("xai").find(task, model)
        if spec is None:
            return None
        match task:
            case Task.TEXT_TO_IMAGE | Task.IMAGE_TO_IMAGE:
                return Images(spec, self._provider)
            case Task.SPEECH:
                return Speech(spec, self._provider)
            case Task.TRANSCRIBE:
                return Transcription(spec, self._provider)
            case _:
                return Videos(spec, self._provider)

    async def models(self, wire: MediaWire) -> tuple[tuple[str, tuple[Task, ...]], ...]:
        """All models, by their names."""
        listed = (await wire.call("GET", "/models")).json()
        return tuple((str(one["id"]), _tasks_of(str(one["id"]))) for one in listed.get("data", ()))

    async def voices(self, wire: MediaWire) -> tuple[Voice, ...]:
        """The voices of `/tts`."""
        listed = (await wire.call("GET", "/tts/voices")).json()
        return tuple(
            Voice(id=str(one["voice_id"]), name=str(one.get("name") or one["voice_id"]), provider=self._provider,
                  languages=(str(one["language"]),) if one.get("language") else ())
            for one in listed.get("voices", ())
        )  # fmt: skip

    def classify(self, status: int, headers: Headers, body: bytes) -> Failure | None:
        """What is refused on grounds of content; the rest has OpenAI's shape."""
        return read_moderation(status, body)


def _tasks_of(model: str) -> tuple[Task, ...]:
    if "video" in model:
        return Task.TEXT_TO_VIDEO, Task.IMAGE_TO_VIDEO
    if "image" in model:
        return Task.TEXT_TO_IMAGE, Task.IMAGE_TO_IMAGE
    if "transcribe" in model:
        return (Task.TRANSCRIBE,)
    return ()


def _cost(told: dict[str, Any]) -> Decimal | None:
    ticks = (told.get("usage") or {}).get("cost_in_usd_ticks")
    return None if not isinstance(ticks, int) else ticks * _TICK


class Images(Tabled):
    """Implements `ports.Immediate`: pictures from words, and from up to three pictures."""

    async def make(self, request: MediaRequest, model: str, wire: MediaWire) -> Outcome:
        """The pictures of one call. One that was blocked comes without an address."""
        body = await self.body(request, model, wire)
        pictures = body.get("images")
        if pictures and len(pictures) == 1:
            body["image"] = body.pop("images")[0]
        path = "/images/edits" if pictures else "/images/generations"
        told = (await ask_once(wire, path, json=body)).json()
        listed = told.get("data") or ()
        produced = tuple(_picture(one) for one in listed if one.get("respect_moderation") is not False)
        if not produced:
            raise filtered("respect_moderation is false") if listed else unreadable("The provider gave no picture.")
        blocked = len(listed) - len(produced)
        usage = Usage(
            images=len(produced), image_size=body.get("resolution"), image_quality=body.get("quality"),
            reported_cost_usd=_cost(told), raw=told.get("usage"),
        )  # fmt: skip
        notes = (f"{blocked} of {len(listed)} pictures were blocked by moderation",) if blocked else ()
        return Outcome(produced=produced, usage=usage, model=told.get("model"), notes=notes)


def _picture(one: dict[str, Any]) -> Produced:
    revised = one.get("revised_prompt") or None
    if one.get("b64_json"):
        return Produced(data=base64.b64decode(one["b64_json"]), media_type=one.get("mime_type"), revised_prompt=revised)
    return Produced(url=str(one.get("url") or ""), media_type=one.get("mime_type"), revised_prompt=revised)


class Videos(Tabled):
    """Implements `ports.Queued`: films from words or a picture, and changes of films."""

    resubmits = False
    pace = (1.0, 5.0)

    async def submit(self, request: MediaRequest, model: str, wire: MediaWire) -> Handle | Outcome:
        """Start it."""
        body = await self.body(request, model, wire)
        path = "/videos/generations"
        if "video" in body:
            path = "/videos/extensions" if "duration" in body else "/videos/edits"
        told = (await wire.call("POST", path, json=body, creates=True)).json()
        return new_handle(str(told["request_id"]))

    async def poll(self, handle: Handle, wire: MediaWire) -> Progress | Outcome:
        """202, with or without a body, says that it is not over."""
        reply = await wire.call("GET", f"/videos/{handle.id}", accept=(NOT_FOUND,))
        if is_settling(handle, reply):
            return Progress(state="queued")
        if reply.status == _PENDING:
            return Progress(state="running", percent=_percent(reply.body))
        told = reply.json()
        match told.get("status"):
            case "pending":
                return Progress(state="running", percent=_percent(reply.body))
            case "done":
                return _film(told, handle)
            case "failed" | "expired" as status:
                error = told.get("error") or {}
                raise gone_wrong(f"The video {status}.", str(error.get("message") or ""), error.get("code"))
            case None if reply.status == NOT_FOUND:
                raise gone_wrong("The provider no longer knows the video.")
            case other:
                raise unreadable("The video has a state that is not known.", str(other))

    async def cancel(self, handle: Handle, wire: MediaWire) -> None:
        """There is no way to."""


def _percent(body: bytes) -> float | None:
    try:
        found = msgspec.json.decode(body).get("progress")
    except (msgspec.MsgspecError, AttributeError):
        return None
    return min(float(found), 99.0) if isinstance(found, int | float) else None


def _film(told: dict[str, Any], handle: Handle) -> Outcome:
    film = told.get("video") or {}
    if film.get("respect_moderation") is False:
        raise filtered("respect_moderation is false")
    if not film.get("url"):
        raise unreadable("The video has no address.")
    usage = Usage(video_seconds=film.get("duration"), reported_cost_usd=_cost(told), raw=told.get("usage"))
    return Outcome(
        produced=(Produced(url=str(film["url"])),), usage=usage, model=told.get("model"), upstream_id=handle.id
    )


class Speech(Tabled):
    """Implements `ports.Streamed`: the answer's bytes are the sound."""

    def fit(self, request: MediaRequest, model: str) -> Fitted:
        """By the model's table; OpenAI's names of voices stand for the usual voice."""
        given, notes = request, list[str]()
        if (request.voice or "").lower() in OPENAI_VOICES:
            given = msgspec.structs.replace(request, voice=None)
            notes.append(f"voice {request.voice} became the usual one")
        fitted = fields.fit(self._spec, given, self._provider)
        return msgspec.structs.replace(fitted, notes=(*notes, *fitted.notes))

    async def stream(self, request: MediaRequest, model: str, wire: MediaWire) -> MediaStream:
        """Ask; the sound follows."""
        filled = fields.fill(self._spec, request, self._provider)
        response = await wire.open("POST", "/tts", json=filled.fields)
        form = str((filled.fields.get("output_format") or {}).get("codec"))
        return BytesStream(response, _MEDIA_TYPES.get(form, "audio/mpeg"), Usage(characters=len(request.prompt or "")))


class Transcription(Tabled):
    """Implements `ports.Immediate`: words, each with its times, from sound."""

    async def make(self, request: MediaRequest, model: str, wire: MediaWire) -> Outcome:
        """The transcript of one call."""
        item = (*request.given("audio"), *request.given("video"))[0]
        content, media_type = await wire.input_body(item)
        given = {"model": model, **fields.fill(self._spec, request, self._provider).fields}
        parts = [FormPart(name=name, value=str(value)) for name, value in given.items()]
        name = item.name or f"audio.{media_type.partition('/')[2].removeprefix('x-')}"
        parts.append(FormPart(name="file", value=content, filename=name, media_type=media_type))
        transcript = read_transcript((await ask_once(wire, "/stt", form=tuple(parts))).json())
        return Outcome(transcript=transcript, usage=Usage(seconds=transcript.duration), model=model)


def read_transcript(told: dict[str, Any]) -> Transcript:
    """xAI's words, and sentences put together from them."""
    words = tuple(
        Word(word=str(one.get("text", "")), start=float(one.get("start") or 0), end=float(one.get("end") or 0),
             speaker=None if one.get("speaker") is None else str(one["speaker"]))
        for one in told.get("words") or ()
    )  # fmt: skip
    return Transcript(
        text=str(told["text"]), language=told.get("language") or None, duration=told.get("duration"),
        segments=turns_of(words), words=words,
    )  # fmt: skip
