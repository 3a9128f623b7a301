"""Speech out of a recording: in another voice, without what is around it, in another language."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from polyroute.ports import FormPart, MediaWire, Reply
from polyroute.providers.media.elevenlabs.parts import ALWAYS, charged, format_of, given
from polyroute.types.errors import AttemptFailed, ErrorKind, Failure, PolyrouteError
from polyroute.types.media import Fitted, Handle, MediaInput, MediaRequest, Outcome, Produced, Progress
from polyroute.types.usage import Usage

ISOLATION, DUBBING, CHANGING = "isolation", "dubbing", "_sts_"
"""Names of ours for what has no model's name, and the mark of the models that change a voice."""
_PACE = (2.0, 15.0)


def recording_of(request: MediaRequest) -> MediaInput:
    """The recording. Raises PolyrouteError(invalid_request)."""
    found = (*request.given("audio"), *request.given("video"))
    if not found:
        raise PolyrouteError(ErrorKind.INVALID_REQUEST, "'audio' is required: the recording.", param="audio")
    return found[0]


async def _file(name: str, item: MediaInput, wire: MediaWire) -> FormPart:
    content, media_type = await wire.input_body(item)
    filename = item.name or f"recording.{media_type.partition('/')[2].removeprefix('x-')}"
    return FormPart(name=name, value=content, filename=filename, media_type=media_type)


def _texts(fields: dict[str, Any]) -> list[FormPart]:
    return [
        FormPart(name=name, value=value if isinstance(value, str) else msgspec.json.encode(value).decode())
        for name, value in fields.items()
        if value is not None
    ]


def _sound(reply: Reply, media_type: str) -> Outcome:
    if (reply.header("content-type") or "").startswith(("application/json", "text/")):
        message = "The provider answered with text where sound was due."
        raise AttemptFailed(Failure(kind=ErrorKind.BAD_RESPONSE, message=message))
    produced = (Produced(data=reply.body, media_type=media_type),)
    return Outcome(produced=produced, usage=charged(reply.headers, None), upstream_id=reply.header("request-id"))


class Isolation:
    """Implements `ports.Immediate`: the voice of a recording alone."""

    def __init__(self, provider: str) -> None:
        self._provider = provider

    def fit(self, request: MediaRequest, model: str) -> Fitted:
        """The recording, and nothing else."""
        recording_of(request)
        format_ = {"format"} if request.format in (None, "mp3") else set()
        return Fitted(request=request, dropped=given(request, ALWAYS - {"prompt", "format"} | {"inputs"} | format_))

    async def make(self, request: MediaRequest, model: str, wire: MediaWire) -> Outcome:
        """The sound of one call."""
        parts = [await _file("audio", recording_of(request), wire), *_texts(request.options.get(self._provider, {}))]
        return _sound(await wire.call("POST", "/v1/audio-isolation", form=tuple(parts), creates=True), "audio/mpeg")


class Dubbing:
    """Implements `ports.Queued`: a recording in another language, spoken by its own voices."""

    resubmits = False
    pace = _PACE

    def __init__(self, provider: str) -> None:
        self._provider = provider

    def fit(self, request: MediaRequest, model: str) -> Fitted:
        """The recording, the language that it shall be in, and how many speak."""
        recording_of(request)
        if request.language is None:
            message = "'language' is required: the one that is to be spoken."
            raise PolyrouteError(ErrorKind.INVALID_REQUEST, message, param="language")
        return Fitted(request=request, dropped=given(request, ALWAYS - {"prompt"} | {"inputs", "language", "speakers"}))

    async def submit(self, request: MediaRequest, model: str, wire: MediaWire) -> Handle:
        """Hand it over."""
        fields = {"target_lang": request.language, "num_speakers": request.speakers}
        fields |= request.options.get(self._provider, {})
        parts = [await _file("file", recording_of(request), wire), *_texts(fields)]
        told = (await wire.call("POST", "/v1/dubbing", form=tuple(parts), creates=True)).json()
        data = {"language": request.language, "seconds": told.get("expected_duration_sec")}
        return Handle(id=str(told["dubbing_id"]), data=data)

    async def poll(self, handle: Handle, wire: MediaWire) -> Progress | Outcome:
        """How it stands."""
        told = (await wire.call("GET", f"/v1/dubbing/{handle.id}")).json()
        match told.get("status"):
            case "dubbed":
                url = f"{wire.base_url}/v1/dubbing/{handle.id}/audio/{handle.data['language']}"
                usage = Usage(seconds=handle.data.get("seconds"))
                return Outcome(produced=(Produced(url=url, authenticated=True),), usage=usage, upstream_id=handle.id)
            case "failed":
                detail = str(told.get("error") or "")[:2000]
                failure = Failure(kind=ErrorKind.GENERATION_FAILED, message="The dubbing failed.", detail=detail)
                raise AttemptFailed(failure)
            case _:
                return Progress()

    async def cancel(self, handle: Handle, wire: MediaWire) -> None:
        """Deleting it is all there is."""
        await wire.call("DELETE", f"/v1/dubbing/{handle.id}", accept=(404,))


class VoiceChange:
    """Implements `ports.Immediate`: a recording in another voice. `voice_id` finds the id of a voice."""

    def __init__(self, provider: str, voice_id: Callable[[str | None, MediaWire], Awaitable[str]]) -> None:
        self._provider = provider
        self._voice_id = voice_id

    def fit(self, request: MediaRequest, model: str) -> Fitted:
        """The recording, the voice, the seed and the format."""
        recording_of(request)
        format_of(request)
        kept = ALWAYS - {"prompt"} | {"inputs", "voice", "seed", "sample_rate"}
        return Fitted(request=request, dropped=given(request, kept))

    async def make(self, request: MediaRequest, model: str, wire: MediaWire) -> Outcome:
        """The sound of one call."""
        form, media_type = format_of(request)
        path = f"/v1/voice-changer/{await self._voice_id(request.voice, wire)}"
        fields = {"model_id": model, "seed": request.seed, **request.options.get(self._provider, {})}
        parts = (await _file("audio", recording_of(request), wire), *_texts(fields))
        reply = await wire.call("POST", path, form=parts, query={"output_format": form}, creates=True)
        return _sound(reply, media_type)
