"""Chatterbox, speech and cloned voices on one's own machine (media.md 18.3)."""

from __future__ import annotations

from typing import Any

import msgspec

from polyroute.catalog.model import Provider
from polyroute.ports import FormPart, Headers, Immediate, MediaStream, MediaWire, Streamed
from polyroute.providers.media.asking import ask_once
from polyroute.providers.media.drops import keeping
from polyroute.providers.media.intents import OPENAI_VOICES
from polyroute.providers.media.reach import out_of_reach
from polyroute.providers.media.sound import BytesStream
from polyroute.providers.media.whisper import detail_failure
from polyroute.types.errors import AttemptFailed, ErrorKind, Failure, PolyrouteError
from polyroute.types.media import Fitted, MediaRequest, Outcome, Task, Voice
from polyroute.types.usage import Usage

_TYPES = {"wav": "audio/wav", "mp3": "audio/mpeg", "opus": "audio/ogg"}
_SPEEDS = (0.25, 4.0)
_USUAL_VOICE = "Emily.wav"
_CLONE = "clone:"
"""What the id of a voice begins with that is a reference recording; the others are the service's own."""


class ChatterboxMedia:
    """Speech, cloning, and the voices that there are."""

    def __init__(self, row: Provider) -> None:
        self._provider = row.name

    def maker(self, task: Task, model: str) -> Immediate | Streamed | None:
        """Speaks and clones."""
        match task:
            case Task.SPEECH:
                return Speaking(self._provider, self)
            case Task.CLONE_VOICE:
                return Cloning()
            case _:
                return None

    def classify(self, status: int, headers: Headers, body: bytes) -> Failure | None:
        """404 is an unknown voice, 503 a model that is not loaded yet."""
        found = detail_failure(status, body, {404: ErrorKind.INVALID_REQUEST, 503: ErrorKind.UNAVAILABLE})
        return msgspec.structs.replace(found, param="voice") if found is not None and status == 404 else found

    async def voices(self, wire: MediaWire) -> tuple[Voice, ...]:
        """The service's own, then the recordings that were given to it."""
        own = (await wire.call("GET", "/get_predefined_voices")).json()
        given = (await wire.call("GET", "/get_reference_files")).json()
        return (
            *(Voice(id=str(one["filename"]), name=str(one["display_name"])) for one in own),
            *(Voice(id=_CLONE + str(name), name=str(name).rpartition(".")[0], cloned=True) for name in given),
        )

    async def healthy(self, wire: MediaWire) -> str | None:
        """See `ports.LocalService.healthy`: ready when the model is loaded."""
        told = (await wire.call("GET", "/api/model-info")).json()
        return None if told.get("loaded") else "the model is not loaded yet"


class Speaking:
    """Implements `ports.Streamed`; the service answers when all of it is spoken."""

    def __init__(self, provider: str, adapter: ChatterboxMedia) -> None:
        self._provider = provider
        self._adapter = adapter

    def fit(self, request: MediaRequest, model: str) -> Fitted:
        """Voice, format, speed, seed, temperature and language."""
        if not request.prompt:
            raise PolyrouteError(ErrorKind.INVALID_REQUEST, "'prompt' is required: the words to speak.", param="prompt")
        if request.speed is not None and not _SPEEDS[0] <= request.speed <= _SPEEDS[1]:
            raise PolyrouteError(
                ErrorKind.UNSUPPORTED, f"'speed' is {request.speed:g}; possible are 0.25 to 4.", param="speed"
            )
        notes: tuple[str, ...] = ()
        if request.voice and request.voice.lower() in OPENAI_VOICES:
            notes = (f"voice {request.voice} became {_USUAL_VOICE}",)
        wanted = request.format or "wav"
        if wanted not in _TYPES:
            raise PolyrouteError(
                ErrorKind.UNSUPPORTED, f"'format' is {wanted!r}; possible are {', '.join(_TYPES)}.", param="format"
            )
        return keeping(
            request, "prompt", "voice", "format", "speed", "seed", "temperature", "language", "inputs", notes=notes
        )

    async def look(self, request: MediaRequest, model: str, wire: MediaWire) -> None:
        """See `ports.Looking.look`: whether there is such a voice."""
        voice = request.voice
        if voice is None or voice.lower() in OPENAI_VOICES or request.given("reference_audio"):
            return
        known = [one.id for one in await self._adapter.voices(wire)]
        if not {voice, f"{voice}.wav"} & set(known):
            raise out_of_reach("voice", voice, f"are {', '.join(known)}")

    async def stream(self, request: MediaRequest, model: str, wire: MediaWire) -> MediaStream:
        """Ask; the sound follows. A reference recording in the request is used for this one time."""
        form = request.format or "wav"
        voice = request.voice or _USUAL_VOICE
        if voice.lower() in OPENAI_VOICES:
            voice = _USUAL_VOICE
        recordings = request.given("reference_audio")
        if recordings:
            voice = _CLONE + await upload_reference(wire, request, "reference")
        cloned = voice.startswith(_CLONE)
        field = "reference_audio_filename" if cloned else "predefined_voice_id"
        body: dict[str, Any] = {
            "text": request.prompt, "voice_mode": "clone" if cloned else "predefined",
            field: voice.removeprefix(_CLONE) if "." in voice else f"{voice.removeprefix(_CLONE)}.wav",
            "output_format": form, "split_text": True,
        }  # fmt: skip
        for ours, theirs in (
            ("speed", "speed_factor"),
            ("seed", "seed"),
            ("temperature", "temperature"),
            ("language", "language"),
        ):
            if getattr(request, ours) is not None:
                body[theirs] = getattr(request, ours)
        body |= request.options.get(self._provider, {})
        try:
            response = await wire.open("POST", "/tts", json=body)
        except AttemptFailed as failed:
            if failed.failure.param != "voice":
                raise
            known = ", ".join(one.id for one in await self._adapter.voices(wire))
            refused = out_of_reach("voice", request.voice, f"are {known}")
            raise AttemptFailed(Failure(kind=refused.kind, message=refused.message, param="voice")) from failed
        return BytesStream(response, _TYPES[form], Usage(characters=len(request.prompt or "")))


class Cloning:
    """Implements `ports.Immediate`: a recording becomes a voice."""

    def fit(self, request: MediaRequest, model: str) -> Fitted:
        """A name and one recording."""
        if not request.given("reference_audio"):
            raise PolyrouteError(
                ErrorKind.INVALID_REQUEST, "'reference_audio' is required: a recording of the voice (.wav or .mp3, at most "
                "30 seconds).", param="reference_audio",
            )  # fmt: skip
        return keeping(request, "inputs", "voice_name")

    async def make(self, request: MediaRequest, model: str, wire: MediaWire) -> Outcome:
        """The new voice."""
        name = request.voice_name or "cloned voice"
        found = await upload_reference(wire, request, name)
        return Outcome(voice=Voice(id=_CLONE + found, name=name, cloned=True), usage=Usage())


async def upload_reference(wire: MediaWire, request: MediaRequest, name: str) -> str:
    """The file name under which the service has the recording now. Its own name carries a part of the request's key, so
    that no recording takes another's place."""
    item = request.given("reference_audio")[0]
    content, media_type = await wire.input_body(item)
    ending = {"audio/mpeg": "mp3", "audio/wav": "wav", "audio/x-wav": "wav"}.get(media_type)
    if ending is None:
        raise PolyrouteError(
            ErrorKind.UNSUPPORTED,
            f"'reference_audio' is {media_type}; possible are wav and mp3.",
            param="reference_audio",
        )
    plain = "".join(char if char.isalnum() else "-" for char in name)[:40]
    identity = (item.artifact or "")[-8:] or str(content.length)
    filename = f"{plain}-{identity}.{ending}"
    part = FormPart(name="files", value=content, filename=filename, media_type=media_type)
    told = (await ask_once(wire, "/upload_reference", form=(part,))).json()
    return str((told["uploaded_files"] or [filename])[0])
