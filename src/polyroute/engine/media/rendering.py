"""What was made, in the words of the caller's dialect."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator

import msgspec

from polyroute.dialects.openai_media.answers import (
    JSON,
    Deliverable,
    render_images,
    render_transcript,
    render_transcript_events,
    speech_end,
    speech_event,
)
from polyroute.dialects.openai_media.requests import transcript_format
from polyroute.engine.media.inputs import Storage
from polyroute.engine.media.made import MadeAnswer
from polyroute.ports import MediaStream
from polyroute.types.media import Made, MediaRequest
from polyroute.types.operations import Dialect
from polyroute.types.usage import Usage

EVENT_STREAM = b"text/event-stream"
_TRANSCRIPTS = frozenset({Dialect.OPENAI_TRANSCRIPTIONS, Dialect.OPENAI_TRANSLATIONS})
_IMAGES = frozenset({Dialect.OPENAI_IMAGES, Dialect.OPENAI_IMAGE_EDITS, Dialect.OPENAI_IMAGE_VARIATIONS})


class Form(msgspec.Struct, frozen=True):
    """How an answer is to look: its dialect, as a stream of events or not, images as `addresses` or as base64."""

    dialect: Dialect
    stream: bool = False
    addresses: bool = False


async def render_made(made: Made, request: MediaRequest, form: Form, storage: Storage) -> MadeAnswer:
    """The answer; in our own dialects, the JSON of `Made`."""
    if form.dialect in _TRANSCRIPTS:
        task = "translate" if form.dialect is Dialect.OPENAI_TRANSLATIONS else "transcribe"
        wanted = transcript_format(request.format)
        if form.stream and wanted in ("json", "diarized_json"):
            return MadeAnswer(EVENT_STREAM, render_transcript_events(made, diarized=wanted == "diarized_json"))
        body, media_type = render_transcript(made, wanted, task)
        return MadeAnswer(media_type, body)
    if form.dialect in _IMAGES:
        images = [await _deliver(made, number, form, storage) for number in range(len(made.artifacts))]
        created = int(made.artifacts[0].created_at) if made.artifacts else 0
        if form.stream:
            return MadeAnswer(EVENT_STREAM, _image_events(form.dialect, images, created))
        return MadeAnswer(JSON, render_images(made, images, created))
    if form.dialect is Dialect.OPENAI_SPEECH and made.artifacts:
        first = made.artifacts[0]
        sound = storage.artifacts.open(first.id)
        if form.stream:
            return MadeAnswer(EVENT_STREAM, chunks=_speech_events(sound, made))
        return MadeAnswer(first.media_type.encode(), chunks=sound)
    return MadeAnswer(JSON, msgspec.json.encode(made))


async def _speech_events(sound: AsyncIterator[bytes], made: Made) -> AsyncIterator[bytes]:
    async for block in sound:
        yield speech_event(block)
    yield speech_end(made.usage)


class SpeechEvents:
    """Implements `ports.MediaStream`: speech as it comes, in OpenAI's events."""

    media_type = EVENT_STREAM.decode()

    def __init__(self, stream: MediaStream) -> None:
        self._stream = stream

    async def chunks(self) -> AsyncIterator[bytes]:
        """An event for each piece, and one at the end. Raises AttemptFailed."""
        async for block in self._stream.chunks():
            yield speech_event(block)
        yield speech_end(self._stream.usage())

    def usage(self) -> Usage:
        """As the speech's own."""
        return self._stream.usage()

    def abort(self) -> None:
        """Stop."""
        self._stream.abort()


async def _deliver(made: Made, number: int, form: Form, storage: Storage) -> Deliverable:
    artifact = made.artifacts[number]
    revised = made.revised_prompts[number] if number < len(made.revised_prompts) else None
    if form.addresses:
        return Deliverable(url=storage.address + storage.artifacts.sign(artifact.id), revised_prompt=revised)
    content = b"".join([block async for block in storage.artifacts.open(artifact.id)])
    return Deliverable(b64_json=base64.b64encode(content).decode(), revised_prompt=revised)


def _image_events(dialect: Dialect, images: list[Deliverable], created: int) -> bytes:
    """The end of an image stream; nobody but OpenAI shows pictures while they form."""
    kind = "image_generation.completed" if dialect is Dialect.OPENAI_IMAGES else "image_edit.completed"
    events = (
        {
            "type": kind,
            "created_at": created,
            "b64_json": image.b64_json or "",
            **({"url": image.url} if image.url else {}),
        }
        for image in images
    )
    return b"".join(b"event: %s\ndata: %s\n\n" % (kind.encode(), msgspec.json.encode(event)) for event in events)
