"""AUTOMATIC1111's web UI and its likes (Forge), pictures on one's own machine (media.md 19.2)."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import msgspec

from polyroute.catalog.model import Provider
from polyroute.ports import Headers, Local, MediaWire, Report
from polyroute.providers.media.asking import ask_once
from polyroute.providers.media.drops import keeping
from polyroute.providers.media.geometry import megapixels_of, ratio_of, size_of_shape
from polyroute.types.errors import AttemptFailed, ErrorKind, Failure, PolyrouteError
from polyroute.types.media import Fitted, MediaRequest, Outcome, Produced, Progress, Task
from polyroute.types.usage import Usage

_LOOK_EVERY = 0.5
_SIDES = (64, 2048)
_MOST = 8
_DRAWN = (Task.TEXT_TO_IMAGE, Task.IMAGE_TO_IMAGE, Task.EDIT_IMAGE)


class Automatic1111Media:
    """Drawing, redrawing and enlarging."""

    def __init__(self, row: Provider) -> None:
        auth = row.credentials[0] if row.credentials else None
        token = None if auth is None else base64.b64encode(auth.encode()).decode()
        self._headers: Headers = [] if token is None else [(b"authorization", f"Basic {token}".encode())]
        self._provider = row.name

    def maker(self, task: Task, model: str) -> Local | None:
        """By task."""
        match task:
            case Task.TEXT_TO_IMAGE | Task.IMAGE_TO_IMAGE | Task.EDIT_IMAGE:
                return Drawing(self._headers, self._provider)
            case Task.UPSCALE_IMAGE:
                return Enlarging(self._headers, self._provider)
            case _:
                return None

    def classify(self, status: int, headers: Headers, body: bytes) -> Failure | None:
        """Its `{error, detail, errors}`."""
        try:
            told = msgspec.json.decode(body)
        except msgspec.DecodeError:
            return None
        if not isinstance(told, dict):
            return None
        detail = told.get("detail") or told.get("errors") or told.get("error")
        param = None
        if isinstance(detail, list) and detail and isinstance(detail[0], dict):
            param = str((detail[0].get("loc") or [None])[-1])
            detail = f"{param}: {detail[0].get('msg')}"
        message = f"The service refused: {str(detail)[:300]}"
        match status:
            case 404:
                kind = ErrorKind.MODEL_NOT_FOUND if "odel" in str(detail) else ErrorKind.INVALID_REQUEST
            case 422:
                kind = ErrorKind.INVALID_REQUEST
            case 500:
                kind = ErrorKind.GENERATION_FAILED
            case _:
                return None
        return Failure(kind=kind, message=message, http_status=status, param=param, detail=str(detail)[:1000])

    async def models(self, wire: MediaWire) -> tuple[tuple[str, tuple[Task, ...]], ...]:
        """The checkpoints and upscalers that are installed."""
        drawing = (await wire.call("GET", "/sdapi/v1/sd-models", headers=self._headers)).json()
        enlarging = (await wire.call("GET", "/sdapi/v1/upscalers", headers=self._headers)).json()
        return (
            *((str(one["model_name"]), _DRAWN) for one in drawing),
            *((str(one["name"]), (Task.UPSCALE_IMAGE,)) for one in enlarging),
        )

    async def healthy(self, wire: MediaWire) -> str | None:
        """See `ports.LocalService.healthy`."""
        query = {"skip_current_image": "true"}
        await wire.call("GET", "/sdapi/v1/progress", query=query, headers=self._headers)
        return None


class _Blocking:
    """A call that answers when the work is done, beside another that tells how far it is and one that ends it."""

    def __init__(self, headers: Headers, provider: str) -> None:
        self._headers = headers
        self._provider = provider

    async def ask(self, path: str, body: dict[str, Any], wire: MediaWire, report: Report) -> dict[str, Any]:
        """The answer. Raises AttemptFailed."""
        call = asyncio.create_task(ask_once(wire, path, json=body, headers=self._headers))
        looking = asyncio.create_task(self._look(wire, report))
        try:
            reply = await call
        except asyncio.CancelledError:
            call.cancel()
            await asyncio.shield(self._interrupt(wire))
            raise
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
        found: dict[str, Any] = reply.json()
        return found

    async def _look(self, wire: MediaWire, report: Report) -> None:
        """It works at one thing at a time, and what it tells is of that: only what grows is passed on."""
        most = 0.0
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            try:
                reply = await wire.call(
                    "GET", "/sdapi/v1/progress", query={"skip_current_image": "true"}, headers=self._headers
                )
                percent = float(reply.json().get("progress") or 0.0) * 100
            except (AttemptFailed, ValueError, TypeError, msgspec.MsgspecError):
                continue
            if percent > most:
                most = percent
                await report(Progress(percent=round(min(percent, 99.0), 1)))

    async def _interrupt(self, wire: MediaWire) -> None:
        try:
            async with asyncio.timeout(5):
                await wire.call("POST", "/sdapi/v1/interrupt", json={}, headers=self._headers)
        except (AttemptFailed, TimeoutError):
            return


class Drawing(_Blocking):
    """Implements `ports.Local`: pictures from words, and from pictures with a mask or without."""

    def fit(self, request: MediaRequest, model: str) -> Fitted:
        """Size, count, seed, steps, guidance, strength and what is not wanted."""
        if request.task is not Task.TEXT_TO_IMAGE and not request.given("image"):
            raise PolyrouteError(ErrorKind.INVALID_REQUEST, "'image' is required.", param="image")
        if request.n > _MOST:
            raise PolyrouteError(ErrorKind.UNSUPPORTED, f"'n' is {request.n}; at most {_MOST} are possible.", param="n")
        for side in ("width", "height"):
            value = getattr(request, side)
            if value is not None and not _SIDES[0] <= value <= _SIDES[1]:
                raise PolyrouteError(
                    ErrorKind.UNSUPPORTED, f"'{side}' is {value}; possible are {_SIDES[0]} to {_SIDES[1]}.", param=side
                )
        kept = ["prompt", "negative_prompt", "inputs", "n", "width", "height", "seed", "steps", "guidance", "strength"]
        notes: tuple[str, ...] = ()
        ratio = ratio_of(request.aspect_ratio or "")
        if ratio is not None and request.width is None:
            wide, high = size_of_shape(ratio, megapixels_of(request.resolution), 64)
            request = msgspec.structs.replace(request, width=wide, height=high)
            notes = (f"aspect_ratio {request.aspect_ratio} became {wide}x{high}",)
            kept += ["aspect_ratio", "resolution"]
        return keeping(request, *kept, "format", notes=notes)

    async def work(self, request: MediaRequest, model: str, wire: MediaWire, report: Report) -> Outcome:
        """See `ports.Local.work`."""
        body: dict[str, Any] = {
            "prompt": request.prompt or "",
            "batch_size": request.n,
            "n_iter": 1,
            "save_images": False,
        }
        named = {
            "negative_prompt": "negative_prompt", "seed": "seed", "steps": "steps", "guidance": "cfg_scale",
            "strength": "denoising_strength", "width": "width", "height": "height",
        }  # fmt: skip
        body |= {theirs: getattr(request, ours) for ours, theirs in named.items() if getattr(request, ours) is not None}
        if model != "default":
            body |= {"override_settings": {"sd_model_checkpoint": model}, "override_settings_restore_afterwards": True}
        path = "/sdapi/v1/txt2img"
        if request.task is not Task.TEXT_TO_IMAGE:
            path = "/sdapi/v1/img2img"
            body["init_images"] = [await _base64_of(item, wire) for item in request.given("image")]
            mask = request.given("mask")
            if mask:
                body |= {"mask": await _base64_of(mask[0], wire), "inpainting_fill": 1, "inpaint_full_res": False}
        body |= request.options.get(self._provider, {})
        answer = await self.ask(path, body, wire, report)
        return _outcome(answer.get("images") or [], request)


class Enlarging(_Blocking):
    """Implements `ports.Local`: a larger picture; the model names the upscaler."""

    def fit(self, request: MediaRequest, model: str) -> Fitted:
        """How many times as large."""
        if not request.given("image"):
            raise PolyrouteError(ErrorKind.INVALID_REQUEST, "'image' is required.", param="image")
        return keeping(request, "inputs", "scale", "format")

    async def work(self, request: MediaRequest, model: str, wire: MediaWire, report: Report) -> Outcome:
        """See `ports.Local.work`."""
        body = {
            "image": await _base64_of(request.given("image")[0], wire), "upscaling_resize": request.scale or 2,
            "upscaler_1": model, **request.options.get(self._provider, {}),
        }  # fmt: skip
        answer = await self.ask("/sdapi/v1/extra-single-image", body, wire, report)
        return _outcome([answer["image"]] if answer.get("image") else [], request)


async def _base64_of(item: Any, wire: MediaWire) -> str:
    content, _ = await wire.input_bytes(item)
    return base64.b64encode(content).decode()


def _outcome(images: list[str], request: MediaRequest) -> Outcome:
    wanted = images[: request.n]  # a grid may follow
    try:
        made = tuple(
            Produced(data=base64.b64decode(one.partition(",")[2] or one), media_type="image/png") for one in wanted
        )
    except ValueError as error:
        raise AttemptFailed(
            Failure(kind=ErrorKind.BAD_RESPONSE, message="The service sent a broken picture.")
        ) from error
    size = f"{request.width}x{request.height}" if request.width and request.height else None
    return Outcome(produced=made, usage=Usage(images=len(made), image_size=size))
