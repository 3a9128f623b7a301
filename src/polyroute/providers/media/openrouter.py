"""OpenRouter: pictures of one call, from words and from other pictures; speech and transcripts over OpenAI's paths.

The form of `input_references`, `media_type` and `usage.cost` is that of a recorded exchange."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from polyroute.catalog.model import Provider
from polyroute.ports import Immediate, MediaWire, Queued, Streamed
from polyroute.providers.media import intents
from polyroute.providers.media.openai import OpenAIMedia, image_outcome
from polyroute.types.media import Fitted, MediaInput, MediaRequest, Outcome, Task

_IMAGES = (Task.TEXT_TO_IMAGE, Task.IMAGE_TO_IMAGE, Task.EDIT_IMAGE)
_KEPT = frozenset({
    "n", "seed", "aspect_ratio", "size", "resolution", "quality", "background", "format", "compression",
})  # fmt: skip
_MOST = 10
_MOST_IMAGES = 16


class OpenRouterMedia(OpenAIMedia):
    """Its own pictures, OpenAI's paths for the rest."""

    def __init__(self, row: Provider) -> None:
        super().__init__(row)
        self._name = row.name

    def maker(self, task: Task, model: str) -> Immediate | Streamed | Queued | None:
        """Pictures here, the rest as OpenAI."""
        return Pictures(self._name) if task in _IMAGES else super().maker(task, model)

    async def models(self, wire: MediaWire) -> tuple[tuple[str, tuple[Task, ...]], ...]:
        """All models; those whose output has pictures can make and change them."""
        listed = (await wire.call("GET", "/models", query={"output_modalities": "all"})).json().get("data") or ()
        return tuple((str(one["id"]), _tasks_of(one)) for one in listed)


def _tasks_of(model: dict[str, Any]) -> tuple[Task, ...]:
    architecture = model.get("architecture") or {}
    if "image" not in (architecture.get("output_modalities") or ()):
        return ()
    return _IMAGES[:2] if "image" in (architecture.get("input_modalities") or ()) else _IMAGES[:1]


class Pictures:
    """Implements `ports.Immediate`."""

    def __init__(self, provider: str) -> None:
        self._provider = provider

    def fit(self, request: MediaRequest, model: str) -> Fitted:
        """Words, pictures, count, shape, quality and format; a mask is not taken."""
        intents.need_prompt(request)
        if request.task is not Task.TEXT_TO_IMAGE:
            intents.need_input(request, "image", "reference")
        images = len(request.given("image")) + len(request.given("reference"))
        if images > _MOST_IMAGES:
            raise intents.failed_field("image", images, f"at most {_MOST_IMAGES} are possible")
        if request.n > _MOST:
            raise intents.failed_field("n", request.n, f"at most {_MOST} are possible")
        return intents.fitted(request, _KEPT, ("image", "reference"))

    async def make(self, request: MediaRequest, model: str, wire: MediaWire) -> Outcome:
        """The pictures of one call, at the price that it states."""
        given = {
            "n": request.n if request.n > 1 else None, "seed": request.seed, "aspect_ratio": intents.shape_of(request),
            "resolution": request.resolution, "quality": request.quality, "background": request.background,
            "output_format": request.format, "output_compression": request.compression,
        }  # fmt: skip
        body: dict[str, Any] = {"model": model, "prompt": request.prompt}
        body |= {name: value for name, value in given.items() if value is not None}
        references = [await _reference(item, wire) for item in (*request.given("image"), *request.given("reference"))]
        if references:
            body["input_references"] = references
        body |= request.options.get(self._provider, {})
        answer = (await wire.call("POST", "/images", json=body, creates=True)).json()
        return outcome_of(answer, request)


async def _reference(item: MediaInput, wire: MediaWire) -> dict[str, Any]:
    address = await wire.input_url(item) or await wire.input_data_uri(item)
    return {"type": "image_url", "image_url": {"url": address}}


def outcome_of(answer: dict[str, Any], request: MediaRequest) -> Outcome:
    """The pictures, their tokens and what they cost. Raises AttemptFailed(bad_response) without any."""
    found = image_outcome(answer, request)
    raw = answer.get("usage") if isinstance(answer.get("usage"), dict) else {}
    told: dict[str, Any] = raw or {}
    image_tokens = (told.get("completion_tokens_details") or {}).get("image_tokens")
    output, cost = told.get("completion_tokens"), told.get("cost")
    usage = msgspec.structs.replace(
        found.usage,
        input=told.get("prompt_tokens"),
        output=None if output is None else output - (image_tokens or 0),
        image_output=image_tokens,
        reported_cost_usd=None if cost is None else Decimal(str(cost)),
    )
    kinds = [item.get("media_type") for item in answer.get("data") or ()]
    produced = tuple(
        msgspec.structs.replace(item, media_type=kind or item.media_type)
        for item, kind in zip(found.produced, kinds, strict=True)
    )
    return msgspec.structs.replace(found, produced=produced, usage=usage)
