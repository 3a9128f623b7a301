"""Veo: films, and more of a film, as long-running operations, fetched with the credential."""

from __future__ import annotations

from typing import Any

from polyroute.ports import MediaWire
from polyroute.providers.media import intents
from polyroute.providers.media.google.content import filed, merged
from polyroute.types.errors import AttemptFailed, ErrorKind
from polyroute.types.media import Fitted, Handle, InputRole, MediaInput, MediaRequest, Outcome, Produced, Progress, Task
from polyroute.types.usage import Usage

_SHAPES = ("16:9", "9:16")
_SECONDS = (4.0, 6.0, 8.0)
_CLASSES = ("720p", "1080p", "4k")
_LONGEST = 8.0
_EXTENSION = 7.0
"""Seconds by which a film is made longer; nothing else can be asked for, nor another size."""
_ROLES: tuple[InputRole, ...] = ("image", "first_frame", "last_frame", "reference")
_MOST_REFERENCES = 3
_REFUSALS = ("safety", "policy", "prohibited", "sensitive")
_NOT_FOUND, _EXHAUSTED, _INVALID = 5, 8, 3
"""Codes of google.rpc in an operation that failed."""


class Veo:
    """Implements `ports.Queued`. Google cannot be asked twice for the same work: a lost answer is an unknown outcome."""

    resubmits = False
    pace = (5.0, 10.0)

    def __init__(self, provider: str, pace: tuple[float, float] | None = None) -> None:
        self._provider = provider
        self.pace = pace or self.pace

    def fit(self, request: MediaRequest, model: str) -> Fitted:
        """Words, first and last picture, references, shape, length, class of size, seed. Sound is always on."""
        if request.task is Task.VIDEO_TO_VIDEO:
            return self._fit_extension(request)
        if request.task is Task.TEXT_TO_VIDEO:
            intents.need_prompt(request)
        else:
            intents.need_input(request, "first_frame", "image", "reference")
        if len(request.given("reference")) > _MOST_REFERENCES:
            raise intents.failed_field(
                "reference", len(request.given("reference")), f"at most {_MOST_REFERENCES} are possible"
            )
        if request.n > 4:
            raise intents.failed_field("n", request.n, "at most 4 are possible")
        _, notes = intents.nearest_shape(request, _SHAPES)
        request, rounded = intents.bounded_seconds(request, _SECONDS)
        found = _class_of(request)
        if found not in (None, "720p") and request.duration not in (None, _LONGEST):
            rounded = (*rounded, f"duration {request.duration:g} became {_LONGEST:g}, which {found} needs")
        kept = {"n", "seed", "aspect_ratio", "duration", "negative_prompt"}
        kept |= {"resolution"} if found or request.resolution is None else set()
        kept |= {"sound"} if request.sound else set()
        kept |= {"fps"} if request.fps == 24 else set()
        return intents.fitted(request, kept, _ROLES, (*notes, *rounded))

    def _fit_extension(self, request: MediaRequest) -> Fitted:
        intents.need_input(request, "video")
        request, notes = intents.bounded_seconds(request, (_EXTENSION,))
        kept = {"n", "seed", "negative_prompt", "duration", *(("sound",) if request.sound else ())}
        kept |= {"resolution"} if request.resolution in (None, "720p") else set()
        return intents.fitted(request, kept, ("video",), notes)

    async def submit(self, request: MediaRequest, model: str, wire: MediaWire) -> Handle:
        """The operation's name is the handle."""
        extends = request.task is Task.VIDEO_TO_VIDEO
        instance, parameters = await (_extension(request, wire) if extends else _film(request, wire))
        if request.prompt:
            instance["prompt"] = request.prompt
        parameters |= {"negativePrompt": request.negative_prompt, "seed": request.seed}
        parameters |= {"sampleCount": request.n} if request.n > 1 else {}
        given = {name: value for name, value in parameters.items() if value is not None}
        body = merged({"instances": [instance], "parameters": given}, request.options.get(self._provider, {}))
        answer = (await wire.call("POST", f"/models/{model}:predictLongRunning", json=body, creates=True)).json()
        asked = body["parameters"]
        length = asked.get("durationSeconds", _EXTENSION if extends else _LONGEST)
        return Handle(id=str(answer["name"]), data={"seconds": length, "resolution": asked.get("resolution", "720p")})

    async def poll(self, handle: Handle, wire: MediaWire) -> Progress | Outcome:
        """The operation as it stands; Google tells no progress."""
        operation = (await wire.call("GET", f"/{handle.id}")).json()
        return read_operation(operation, handle)

    async def cancel(self, handle: Handle, wire: MediaWire) -> None:
        """Asked for as with any Google operation; where the service does not know it, the work runs out."""
        await wire.call("POST", f"/{handle.id}:cancel", json={}, accept=(400, 404, 405, 501))


async def _film(request: MediaRequest, wire: MediaWire) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a new film starts from, and its form."""
    instance: dict[str, Any] = {}
    first = (*request.given("first_frame"), *request.given("image"))[:1]
    for name, items in (("image", first), ("lastFrame", request.given("last_frame"))):
        if items:
            instance[name] = await _bytes_of(items[0], wire)
    references = [
        {"image": await _bytes_of(item, wire), "referenceType": "asset"} for item in request.given("reference")
    ]
    if references:
        instance["referenceImages"] = references
    shape, _ = intents.nearest_shape(request, _SHAPES)
    resolution = _class_of(request)
    seconds = request.duration if resolution in (None, "720p") else _LONGEST
    return instance, {
        "aspectRatio": shape, "durationSeconds": None if seconds is None else int(seconds), "resolution": resolution,
    }  # fmt: skip


async def _extension(request: MediaRequest, wire: MediaWire) -> tuple[dict[str, Any], dict[str, Any]]:
    """The film that is to go on: a file of Google's."""
    file = await filed(intents.need_input(request, "video"), wire)
    return {"video": {"uri": file["fileData"]["fileUri"]}}, {}


async def _bytes_of(item: MediaInput, wire: MediaWire) -> dict[str, str]:
    head, _, data = (await wire.input_data_uri(item)).partition(",")
    return {"bytesBase64Encoded": data, "mimeType": head.removeprefix("data:").partition(";")[0]}


def _class_of(request: MediaRequest) -> str | None:
    if request.resolution is not None:
        return request.resolution.lower() if request.resolution.lower() in _CLASSES else None
    if not (request.width and request.height):
        return None
    side = min(request.width, request.height)
    return "720p" if side <= 720 else "1080p" if side <= 1080 else "4k"


def read_operation(operation: dict[str, Any], handle: Handle) -> Progress | Outcome:
    """An operation. Raises AttemptFailed for one that failed, or whose films were all filtered."""
    if not operation.get("done"):
        return Progress(state="running")
    if (error := operation.get("error")) is not None:
        raise _failure(error)
    found = operation.get("response") or {}
    videos = found.get("generateVideoResponse") or found
    samples = videos.get("generatedSamples") or videos.get("generatedVideos") or ()
    produced = tuple(
        Produced(url=str(one["video"]["uri"]), media_type="video/mp4", authenticated=True)
        for one in samples
        if (one.get("video") or {}).get("uri")
    )
    if not produced:
        reasons = " ".join(str(one) for one in videos.get("raiMediaFilteredReasons") or ())
        if videos.get("raiMediaFilteredCount") or reasons:
            raise intents.failed(
                ErrorKind.CONTENT_FILTERED, "The provider's safety check refused this.", detail=reasons
            )
        raise intents.failed(ErrorKind.BAD_RESPONSE, "The operation is done and made no film.")
    seconds = float(handle.data.get("seconds") or _LONGEST) * len(produced)
    usage = Usage(video_seconds=seconds, video_size=handle.data.get("resolution"))
    filtered = int(videos.get("raiMediaFilteredCount") or 0)
    notes = (f"{filtered} films were held back by the provider's safety check",) if filtered else ()
    return Outcome(produced=produced, usage=usage, upstream_id=handle.id, notes=notes)


def _failure(error: dict[str, Any]) -> AttemptFailed:
    message, code = str(error.get("message") or ""), error.get("code")
    if any(word in message.lower() for word in _REFUSALS):
        return intents.failed(ErrorKind.CONTENT_FILTERED, "The provider's safety check refused this.", detail=message)
    if code == _INVALID:
        return intents.failed(ErrorKind.INVALID_REQUEST, f"The provider refused the request: {message[:300]}")
    if code == _EXHAUSTED:
        return intents.failed(ErrorKind.RATE_LIMITED, "The provider's quota is used up for now.", detail=message)
    return intents.failed(ErrorKind.GENERATION_FAILED, "The operation failed.", detail=f"{code} {message}")
