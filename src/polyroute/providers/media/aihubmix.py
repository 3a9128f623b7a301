"""AiHubMix beyond OpenAI's paths: its native media, films in each maker's own form, and predictions (media.md 16)."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from polyroute.catalog.model import Provider
from polyroute.ports import Headers, Immediate, MediaWire, Queued, Streamed
from polyroute.providers.media import geometry, intents
from polyroute.providers.media.openai import OpenAIMedia
from polyroute.types.errors import ErrorKind, Failure
from polyroute.types.media import Fitted, Handle, MediaInput, MediaRequest, Outcome, Produced, Progress, Task
from polyroute.types.usage import Usage

_IMAGES = (Task.TEXT_TO_IMAGE, Task.IMAGE_TO_IMAGE, Task.EDIT_IMAGE)
_VIDEOS = (Task.TEXT_TO_VIDEO, Task.IMAGE_TO_VIDEO)
_RUNNING: dict[str, Literal["queued", "running"]] = {
    "pending": "queued", "queued": "queued", "in_progress": "running", "processing": "running", "running": "running",
}  # fmt: skip
_KINDS = {
    "insufficient_user_quota": ErrorKind.QUOTA_EXHAUSTED,
    "schema_violation": ErrorKind.INVALID_REQUEST,
    "async_not_enabled": ErrorKind.UNSUPPORTED,
}
_VEO_SIZES = ("1280x720", "720x1280", "1920x1080", "1080x1920")
_ADDRESSES = ("video_url", "url", "output_url")


class AiHubMixMedia(OpenAIMedia):
    """A model that is written `vendor/model` is a prediction; pictures are native; films have their maker's form, or the
    native one with the option `native_videos`; the rest is OpenAI's."""

    def __init__(self, row: Provider) -> None:
        super().__init__(row)
        self._name = row.name
        self._native = bool(row.options.get("native_videos"))
        self._pace = (0.05, 0.2) if row.simulated else (2.0, 15.0)

    def maker(self, task: Task, model: str) -> Immediate | Streamed | Queued | None:
        """By task and name."""
        if task in _IMAGES:
            return Prediction(self._name) if "/" in model else NativeMedia(self._name, self._pace)
        if task is Task.VIDEO_TO_VIDEO:
            return VendorVideos(self._name, self._pace)
        if task in _VIDEOS:
            return NativeMedia(self._name, self._pace) if self._native else VendorVideos(self._name, self._pace)
        return super().maker(task, model)

    def classify(self, status: int, headers: Headers, body: bytes) -> Failure | None:
        """Three codes that the usual reading would take for something else."""
        try:
            error = msgspec.json.decode(body).get("error")
        except (msgspec.MsgspecError, AttributeError):
            return None
        code = str(error.get("code") or error.get("type")) if isinstance(error, dict) else ""
        if code not in _KINDS:
            return None
        message = f"AiHubMix: {str(error.get('message') or code)[:300]}"
        return Failure(kind=_KINDS[code], message=message, code=code, http_status=status, param=error.get("param"))

    async def models(self, wire: MediaWire) -> tuple[tuple[str, tuple[Task, ...]], ...]:
        """The catalogue, which needs no key."""
        listed = (await wire.call("GET", f"{_root(wire)}/api/v1/models", anonymous=True)).json().get("data") or ()
        return tuple((str(one["model_id"]), _tasks_of(str(one.get("types") or ""))) for one in listed)


def _tasks_of(types: str) -> tuple[Task, ...]:
    known: dict[str, tuple[Task, ...]] = {
        "t2i": _IMAGES[:2], "image": _IMAGES[:2], "t2v": _VIDEOS, "video": _VIDEOS, "tts": (Task.SPEECH,),
        "stt": (Task.TRANSCRIBE,),
    }  # fmt: skip
    return next((tasks for part, tasks in known.items() if part in types), ())


def _root(wire: MediaWire) -> str:
    return wire.base_url.removesuffix("/v1")


async def _address(item: MediaInput, wire: MediaWire) -> str:
    return await wire.input_url(item) or await wire.input_data_uri(item)


def _size(request: MediaRequest) -> str | None:
    return f"{request.width}x{request.height}" if request.width and request.height else None


class NativeMedia:
    """Implements `ports.Queued` over `/ai/v1`: pictures are answered at once, films later. Unknown fields are refused there,
    so all that is particular to a model goes into `extra`."""

    resubmits = False

    def __init__(self, provider: str, pace: tuple[float, float]) -> None:
        self._provider = provider
        self.pace = pace

    def fit(self, request: MediaRequest, model: str) -> Fitted:
        """What the native form has fields for."""
        if request.task in _VIDEOS:
            return _fit_video(request, {"negative_prompt", "seed", "resolution"})
        intents.need_prompt(request)
        if request.task is not Task.TEXT_TO_IMAGE:
            intents.need_input(request, "image", "reference")
        kept = {"n", "aspect_ratio", "size", "resolution", "quality", "background", "format", "seed"}
        return intents.fitted(request, kept, ("image", "reference", "mask"))

    async def submit(self, request: MediaRequest, model: str, wire: MediaWire) -> Handle | Outcome:
        """Start it, or have it at once."""
        kind = "videos" if request.task in _VIDEOS else "images"
        body = await (self._video if kind == "videos" else self._image)(request, wire)
        body = {"model": model, **{name: value for name, value in body.items() if value not in (None, [], {})}}
        extra = request.options.get(self._provider, {})
        if extra:
            body["extra"] = {**body.get("extra", {}), **extra}
        path = f"{_root(wire)}/ai/v1/{kind}" + ("" if kind == "videos" else "/generations")
        job = (await wire.call("POST", path, json=body, creates=True)).json()
        handle = Handle(id=str(job["id"]), data={"kind": kind, "seconds": request.duration})
        state = native_state(job, handle)
        return state if isinstance(state, Outcome) else handle

    async def _image(self, request: MediaRequest, wire: MediaWire) -> dict[str, Any]:
        images = [*request.given("image"), *request.given("reference")]
        masks = request.given("mask")
        extra = {
            "quality": request.quality, "background": request.background, "output_format": request.format,
            "seed": request.seed,
        }  # fmt: skip
        size = _size(request) or request.resolution
        return {
            "prompt": request.prompt, "async": False, "n": request.n, "size": size,
            "aspect_ratio": None if size else request.aspect_ratio,
            "images": [{"url": await _address(item, wire)} for item in images],
            "mask": {"url": await _address(masks[0], wire)} if masks else None,
            "extra": {name: value for name, value in extra.items() if value is not None},
        }  # fmt: skip

    async def _video(self, request: MediaRequest, wire: MediaWire) -> dict[str, Any]:
        first = (*request.given("first_frame"), *request.given("image"))[:1]
        frames = [("first_frame", item) for item in first]
        frames += [("last_frame", item) for item in request.given("last_frame")[:1]]
        return {
            "prompt": request.prompt, "duration": request.duration, "generate_audio": request.sound,
            "frame_images": [
                {"frame_type": place, "image_url": {"url": await _address(item, wire)}} for place, item in frames
            ],
            "input_references": [
                {"type": "image_url", "image_url": {"url": await _address(item, wire)}}
                for item in request.given("reference")
            ],
            "aspect_ratio": intents.shape_of(request), "resolution": request.resolution, "seed": request.seed,
            "negative_prompt": request.negative_prompt,
        }  # fmt: skip

    async def poll(self, handle: Handle, wire: MediaWire) -> Progress | Outcome:
        """The job as it stands."""
        job = (await wire.call("GET", f"{_root(wire)}/ai/v1/{handle.data['kind']}/{handle.id}")).json()
        return native_state(job, handle)

    async def cancel(self, handle: Handle, wire: MediaWire) -> None:
        """There is no way to stop a native job; it runs out."""


def native_state(job: dict[str, Any], handle: Handle) -> Progress | Outcome:
    """A native object. Raises AttemptFailed for one that ended without a result."""
    status = str(job.get("status"))
    if status in _RUNNING:
        return Progress(state=_RUNNING[status])
    if status != "completed":
        raise _failure(job.get("error"), status)
    produced = tuple(_produced(one) for one in job.get("output") or ())
    if not produced:
        raise intents.failed(ErrorKind.BAD_RESPONSE, "The provider's job is done and made nothing.")
    return Outcome(
        produced=produced, usage=_usage(handle, len(produced)), model=job.get("model"), upstream_id=handle.id
    )


def _usage(handle: Handle, made: int) -> Usage:
    seconds = handle.data.get("seconds")
    if handle.data.get("kind") == "images":
        return Usage(images=made)
    return Usage(video_seconds=None if seconds is None else float(seconds))


def _produced(one: dict[str, Any]) -> Produced:
    if one.get("b64_json"):
        return Produced(data=base64.b64decode(one["b64_json"]), media_type=one.get("content_type"))
    return Produced(url=str(one.get("content_url")), media_type=one.get("content_type"), authenticated=True)


def _failure(error: Any, status: str) -> Exception:
    told = error if isinstance(error, dict) else {"message": error}
    code, message = str(told.get("code") or ""), str(told.get("message") or status)
    if any(word in f"{code} {message}".lower() for word in ("policy", "moderation", "sensitive", "safety")):
        return intents.failed(ErrorKind.CONTENT_FILTERED, "The provider's safety check refused this.", detail=message)
    return intents.failed(ErrorKind.GENERATION_FAILED, f"The job ended as {status}.", detail=f"{code} {message}")


def _fit_video(request: MediaRequest, more: set[str]) -> Fitted:
    if request.task is Task.TEXT_TO_VIDEO:
        intents.need_prompt(request)
    else:
        intents.need_input(request, "first_frame", "image", "reference")
    kept = {"duration", "aspect_ratio", "size", "sound"} | more
    return intents.fitted(request, kept, ("image", "first_frame", "last_frame", "reference"))


class VendorVideos:
    """Implements `ports.Queued` over `/v1/videos`, whose body is the one of the model's maker."""

    resubmits = False

    def __init__(self, provider: str, pace: tuple[float, float]) -> None:
        self._provider = provider
        self.pace = pace

    def fit(self, request: MediaRequest, model: str) -> Fitted:
        """What the maker's form has fields for; of films only those that were made here, in other words."""
        if request.task is Task.VIDEO_TO_VIDEO:
            intents.need_prompt(request)
            film = intents.need_input(request, "video")
            if film.own_work(self._provider) is None:
                raise intents.failed_field("video", film.role, "only films that AiHubMix made can be changed here")
            return intents.fitted(request, (), ("video",))
        if model.startswith("doubao-seedance"):
            return _fit_video(request, {"seed", "resolution"})
        if model.startswith("happyhorse") or ("wan" in model and "i2v" in model):
            fitted = _fit_video(request, {"seed", "resolution"})
        else:
            fitted = _fit_video(request, set())
            if model.startswith("veo") and request.task is not Task.TEXT_TO_VIDEO:
                raise intents.failed_field("image", "given", "Veo makes films from words alone here")
        lost = ("sound",) if request.sound is not None else ()
        return msgspec.structs.replace(fitted, dropped=(*fitted.dropped, *lost))

    async def submit(self, request: MediaRequest, model: str, wire: MediaWire) -> Handle | Outcome:
        """Start the film, or a remix of one."""
        body, path = {"prompt": request.prompt, **request.options.get(self._provider, {})}, "/videos"
        if request.task is Task.VIDEO_TO_VIDEO:
            path += f"/{intents.need_input(request, 'video').own_work(self._provider)}/remix"
        else:
            body = {"model": model, **await self._body(request, model, wire), **body}
        body = {name: value for name, value in body.items() if value not in (None, [], {})}
        video = (await wire.call("POST", path, json=body, creates=True)).json()
        name = video.get("id") or video.get("task_id")
        if name is None:
            raise intents.failed(ErrorKind.BAD_RESPONSE, "The provider gave no id for the film.")
        return Handle(id=str(name), data={"seconds": request.duration})

    async def _body(self, request: MediaRequest, model: str, wire: MediaWire) -> dict[str, Any]:
        first = (*request.given("first_frame"), *request.given("image"))[:1]
        frames = [("first_frame", item) for item in first]
        frames += [("last_frame", item) for item in request.given("last_frame")[:1]]
        shape = intents.shape_of(request)
        if model.startswith("doubao-seedance"):
            placed = [*frames, *(("reference_image", item) for item in request.given("reference"))]
            content: list[dict[str, Any]] = [{"type": "text", "text": request.prompt}] if request.prompt else []
            content += [
                {"type": "image_url", "image_url": {"url": await _address(item, wire)}, "role": place}
                for place, item in placed
            ]  # fmt: skip
            return {
                "prompt": request.prompt, "duration": request.duration, "content": content, "seed": request.seed,
                "resolution": request.resolution, "ratio": shape, "generate_audio": request.sound,
            }  # fmt: skip
        if model.startswith("happyhorse") or ("wan" in model and "i2v" in model):
            media = [{"type": place, "url": await _address(item, wire)} for place, item in frames]
            resolution = None if request.resolution is None else request.resolution.upper()
            parameters = {
                "resolution": resolution, "duration": request.duration, "aspect_ratio": shape, "seed": request.seed,
            }  # fmt: skip
            return {
                "prompt": request.prompt,
                "input": {"prompt": request.prompt, "media": media},
                "parameters": {name: value for name, value in parameters.items() if value is not None},
            }
        if model.startswith("veo"):
            return {"prompt": request.prompt, "seconds": request.duration, "size": _film_size(request, _VEO_SIZES)}
        seconds = None if request.duration is None else f"{request.duration:g}"
        address = await _address(first[0], wire) if first else None
        reference = {"image_url": address} if address and model.startswith("sora") else address
        size = _film_size(request, ("1280x720", "720x1280", "1792x1024", "1024x1792"))
        return {"prompt": request.prompt, "seconds": seconds, "size": size, "input_reference": reference}

    async def poll(self, handle: Handle, wire: MediaWire) -> Progress | Outcome:
        """The film as it stands."""
        video = (await wire.call("GET", f"/videos/{handle.id}")).json()
        status = str(video.get("status"))
        if status in _RUNNING:
            percent = video.get("progress")
            return Progress(
                state=_RUNNING[status], percent=float(percent) if isinstance(percent, int | float) else None
            )
        if status not in ("completed", "succeeded", "success"):
            raise _failure(video.get("error"), status)
        address = next(_addresses(video), None)
        made = Produced(url=address) if address else Produced(
            url=f"{wire.base_url}/videos/{handle.id}/content", authenticated=True
        )  # fmt: skip
        seconds = video.get("seconds") or handle.data.get("seconds")
        usage = Usage(video_seconds=None if seconds is None else float(seconds), raw=video.get("usage"))
        return Outcome(produced=(made,), usage=usage, model=video.get("model"), upstream_id=handle.id)

    async def cancel(self, handle: Handle, wire: MediaWire) -> None:
        """Deleting it is all there is."""
        await wire.call("DELETE", f"/videos/{handle.id}", accept=(400, 404, 405))


def _addresses(video: dict[str, Any]) -> Iterator[str]:
    data = video.get("data")
    for holder in (video, data if isinstance(data, dict) else {}):
        for name in _ADDRESSES:
            if isinstance(holder.get(name), str):
                yield holder[name]
    yield from (url for url in video.get("unsigned_urls") or () if isinstance(url, str))


def _film_size(request: MediaRequest, offered: tuple[str, ...]) -> str | None:
    if request.width and request.height:
        return geometry.nearest_size(request.width, request.height, offered)
    ratio = None if request.aspect_ratio is None else geometry.ratio_of(request.aspect_ratio)
    if ratio is None:
        return None
    side = 1080 if (request.resolution or "").lower() == "1080p" else 720
    longer = round(side * 16 / 9)
    return geometry.nearest_size(*((longer, side) if ratio >= 1 else (side, longer)), offered)


class Prediction:
    """Implements `ports.Immediate`: `/v1/models/{vendor}/{model}/predictions`."""

    def __init__(self, provider: str) -> None:
        self._provider = provider

    def fit(self, request: MediaRequest, model: str) -> Fitted:
        """Words, pictures, size and seed."""
        intents.need_prompt(request)
        return intents.fitted(request, {"n", "size", "resolution", "aspect_ratio", "seed"}, ("image", "reference"))

    async def make(self, request: MediaRequest, model: str, wire: MediaWire) -> Outcome:
        """The pictures of one call."""
        images = [await _address(item, wire) for item in (*request.given("image"), *request.given("reference"))]
        given = {
            "prompt": request.prompt, "size": _size(request) or request.resolution, "seed": request.seed,
            "n": request.n if request.n > 1 else None, "aspect_ratio": request.aspect_ratio,
            "image": images[0] if len(images) == 1 else images or None,
        }  # fmt: skip
        fields = {name: value for name, value in given.items() if value is not None}
        fields |= request.options.get(self._provider, {})
        answer = (await wire.call("POST", f"/models/{model}/predictions", json={"input": fields}, creates=True)).json()
        output = answer.get("output") or ()
        items = output if isinstance(output, list) else [output]
        produced = tuple(found for one in items if (found := _predicted(one)) is not None)
        if not produced:
            raise intents.failed(ErrorKind.BAD_RESPONSE, "The provider gave no picture.")
        return Outcome(produced=produced, usage=Usage(images=len(produced)))


def _predicted(one: Any) -> Produced | None:
    if isinstance(one, dict):
        if one.get("b64_json"):
            return Produced(data=base64.b64decode(one["b64_json"]))
        one = one.get("url")
    if not isinstance(one, str):
        return None
    return Produced(url=one) if one.startswith(("http", "data:")) else Produced(data=base64.b64decode(one))
