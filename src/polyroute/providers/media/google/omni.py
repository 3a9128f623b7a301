"""Gemini Omni: films made, changed, made longer and made larger, as interactions in the background."""

from __future__ import annotations

from typing import Any

import msgspec

from polyroute.ports import MediaWire
from polyroute.providers.media import intents, reach
from polyroute.providers.media.google import interactions
from polyroute.providers.media.google.content import merged
from polyroute.providers.media.handles import NOT_FOUND, is_settling, new_handle
from polyroute.providers.media.verdicts import gone_wrong
from polyroute.types.media import Fitted, Handle, InputRole, MediaRequest, Outcome, Progress, Task

_SHAPES = ("16:9", "9:16")
_CLASSES = ("360p", "720p", "1080p", "4k")
_SIDES = ((480, "360p"), (900, "720p"), (1620, "1080p"))
_SHORTEST = 3
_LONGEST = {"gemini-omni-1.2": 15}
_USUALLY_LONGEST = 10
_ROLES: tuple[InputRole, ...] = ("image", "first_frame", "reference", "video")
_BAD_REQUEST = 400


class Omni:
    """Implements `ports.Queued`. Google cannot be asked twice for the same work: a lost answer is an unknown outcome."""

    resubmits = False
    pace = (5.0, 10.0)

    def __init__(self, provider: str, pace: tuple[float, float] | None = None) -> None:
        self._provider = provider
        self.pace = pace or self.pace

    def fit(self, request: MediaRequest, model: str) -> Fitted:
        """Words, a first picture, references, a film; shape, length and class of size. Sound is always on."""
        continues = bool(request.options.get(self._provider, {}).get("previous_interaction_id"))
        if request.task is Task.IMAGE_TO_VIDEO:
            intents.need_input(request, "first_frame", "image", "reference")
        elif request.task in (Task.VIDEO_TO_VIDEO, Task.UPSCALE_VIDEO) and not continues:
            intents.need_input(request, "video")
        if request.task is not Task.UPSCALE_VIDEO:
            intents.need_prompt(request)
        kept, notes = {"sound"} if request.sound else set[str](), list[str]()
        if request.task in (Task.TEXT_TO_VIDEO, Task.IMAGE_TO_VIDEO):
            kept |= {"aspect_ratio", *(("fps",) if request.fps == 24 else ())}
            notes += intents.nearest_shape(request, _SHAPES)[1]
        if request.task is not Task.UPSCALE_VIDEO and request.duration is not None:
            kept.add("duration")
            seconds = min(max(request.duration, _SHORTEST), _longest(model))
            reach.check_most("duration", request.duration, seconds)
            if seconds != request.duration:
                notes.append(f"duration {request.duration:g} became {seconds:g}")
                request = msgspec.structs.replace(request, duration=seconds)
        if _class_of(request) is not None or request.resolution is None:
            kept |= {"resolution", "size"}
        return intents.fitted(request, kept, _ROLES, notes)

    async def submit(self, request: MediaRequest, model: str, wire: MediaWire) -> Handle | Outcome:
        """Without `background` the call would last as long as the work."""
        blocks = [await interactions.block_of(item, wire) for item in request.inputs if item.role in _ROLES]
        if request.prompt:
            blocks.append({"type": "text", "text": request.prompt})
        shape, _ = intents.nearest_shape(request, _SHAPES)
        makes = request.task in (Task.TEXT_TO_VIDEO, Task.IMAGE_TO_VIDEO)
        form = {
            "type": "video", "delivery": "uri", "aspect_ratio": shape if makes else None,
            "duration": None if request.duration is None else f"{request.duration:g}s",
            "resolution": _class_of(request) or ("1080p" if request.task is Task.UPSCALE_VIDEO else None),
        }  # fmt: skip
        if request.task is Task.UPSCALE_VIDEO:
            form["duration"] = None
        body: dict[str, Any] = {
            "model": model, "input": blocks, "background": True, "store": True,
            "response_format": {name: value for name, value in form.items() if value is not None},
            "generation_config": {"video_config": {"task": _kind_of(request)}},
        }  # fmt: skip
        body = merged(body, request.options.get(self._provider, {}))
        told = (await wire.call("POST", "/interactions", json=body, creates=True)).json()
        handle = new_handle(str(told["id"]), model=model, seconds=request.duration)
        state = _read(told, handle)
        return state if isinstance(state, Outcome) else handle

    async def poll(self, handle: Handle, wire: MediaWire) -> Progress | Outcome:
        """The interaction as it stands. Google says with 400 that it does not know one; any other 400 is about the poll."""
        reply = await wire.call("GET", f"/interactions/{handle.id}", accept=(_BAD_REQUEST, NOT_FOUND))
        if reply.status not in (_BAD_REQUEST, NOT_FOUND):
            return _read(reply.json(), handle)
        unknown = reply.status == NOT_FOUND or b"invalid interaction name" in reply.body.lower()
        if unknown and not is_settling(handle):
            raise gone_wrong("The provider no longer knows the interaction.")
        return Progress(state="queued" if unknown else "running")

    async def cancel(self, handle: Handle, wire: MediaWire) -> None:
        """Stop it; what was made until then may be charged."""
        await wire.call("POST", f"/interactions/{handle.id}/cancel", json={}, accept=(400, 404, 409))


def _kind_of(request: MediaRequest) -> str:
    """The mode: a film is made longer where a length is asked for, and changed otherwise."""
    match request.task:
        case Task.UPSCALE_VIDEO:
            return "upscale"
        case Task.VIDEO_TO_VIDEO:
            return "edit" if request.duration is None else "extend"
    if request.given("first_frame") or request.given("image"):
        return "image_to_video"
    return "reference_to_video" if request.given("reference") else "text_to_video"


def _longest(model: str) -> int:
    return next((seconds for name, seconds in _LONGEST.items() if model.startswith(name)), _USUALLY_LONGEST)


def _class_of(request: MediaRequest) -> str | None:
    if request.resolution is not None:
        return request.resolution.lower() if request.resolution.lower() in _CLASSES else None
    if not (request.width and request.height):
        return None
    side = min(request.width, request.height)
    return next((name for most, name in _SIDES if side <= most), "4k")


def _read(told: dict[str, Any], handle: Handle) -> Progress | Outcome:
    """Raises AttemptFailed for an interaction that ended without a film."""
    if (state := interactions.state_of(told)) is not None:
        return Progress(state="queued" if state == "queued" else "running")
    interactions.check_over(told)
    produced = tuple(interactions.media_of(told))
    if not produced:
        raise interactions.nothing_made(told)
    usage = msgspec.structs.replace(interactions.usage_of(told), video_seconds=handle.data.get("seconds"))
    notes = ("the provider ended before the film was done",) if told.get("status") == "incomplete" else ()
    return Outcome(
        produced=produced, text=interactions.text_of(told) or None, usage=usage, model=told.get("model"),
        upstream_id=handle.id, notes=notes,
    )  # fmt: skip
