"""Pictures: by Gemini's generateContent, which also edits, and by Imagen's predict."""

from __future__ import annotations

import asyncio
import base64
from functools import reduce
from typing import Any

import msgspec

from polyroute.ports import MediaWire
from polyroute.providers.media import intents
from polyroute.providers.media.google import content, interactions
from polyroute.types.errors import AttemptFailed, ErrorKind
from polyroute.types.media import Fitted, MediaRequest, Outcome, Produced, Task
from polyroute.types.usage import Usage

_SHAPES = ("1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9")
_WIDER = (*_SHAPES, "1:4", "4:1", "1:8", "8:1")
_IMAGEN_SHAPES = ("1:1", "3:4", "4:3", "9:16", "16:9")
_CLASSES = {"512": "512", "0.5k": "512", "1k": "1K", "2k": "2K", "4k": "4K"}
_MOST = 10
_MOST_IMAGES = 14
_FORMATS = ("png", "jpeg")
_LENIENT = "BLOCK_ONLY_HIGH"
_HARMS = (
    "HARM_CATEGORY_HARASSMENT", "HARM_CATEGORY_HATE_SPEECH", "HARM_CATEGORY_SEXUALLY_EXPLICIT",
    "HARM_CATEGORY_DANGEROUS_CONTENT",
)  # fmt: skip


class Painting:
    """Implements `ports.Immediate`: one picture for each request to generateContent, with or without pictures to start
    from."""

    def __init__(self, provider: str) -> None:
        self._provider = provider

    def fit(self, request: MediaRequest, model: str) -> Fitted:
        """Words, pictures, shape, class of size and seed; a mask cannot be honoured."""
        intents.need_prompt(request)
        if request.task is not Task.TEXT_TO_IMAGE:
            intents.need_input(request, "image", "reference")
        if request.n > _MOST:
            raise intents.failed_field("n", request.n, f"at most {_MOST} are possible")
        images = len(request.given("image")) + len(request.given("reference"))
        if images > _MOST_IMAGES:
            raise intents.failed_field("image", images, f"at most {_MOST_IMAGES} are possible")
        _, notes = intents.nearest_shape(request, _shapes_of(model))
        kept = {"n", "seed", "aspect_ratio", "size", *(("resolution",) if _class_of(request, model) else ())}
        if request.format == "jpeg":
            kept.add("format")
        elif request.moderation == "low":
            kept.add("moderation")
        return intents.fitted(request, kept, ("image", "reference"), notes)

    async def make(self, request: MediaRequest, model: str, wire: MediaWire) -> Outcome:
        """As many answers as pictures are wanted. What was made is given although others failed."""
        given = (*request.given("image"), *request.given("reference"))
        if request.format == "jpeg":
            return await self._as_jpeg(
                request, model, [await interactions.block_of(item, wire) for item in given], wire
            )
        parts: list[Any] = [{"text": request.prompt}, *[await content.inline(item, wire) for item in given]]
        bodies = [
            content.merged(self._body(request, model, parts, place), request.options.get(self._provider, {}))
            for place in range(request.n)
        ]
        answers = await content.several(bodies, model, wire)
        return _gathered(answers, request, _class_of(request, model))

    def _body(self, request: MediaRequest, model: str, parts: list[Any], place: int) -> dict[str, Any]:
        shape, _ = intents.nearest_shape(request, _shapes_of(model))
        image = {"aspectRatio": shape, "imageSize": _class_of(request, model)}
        image = {name: value for name, value in image.items() if value is not None}
        config: dict[str, Any] = {"responseModalities": ["IMAGE"]}
        if image:
            config["imageConfig"] = image
        if request.seed is not None:
            config["seed"] = request.seed + place
        safety = [{"category": name, "threshold": _LENIENT} for name in _HARMS] if request.moderation == "low" else None
        found = {"contents": [{"role": "user", "parts": parts}], "generationConfig": config}
        return found if safety is None else {**found, "safetySettings": safety}

    async def _as_jpeg(
        self, request: MediaRequest, model: str, blocks: list[dict[str, Any]], wire: MediaWire
    ) -> Outcome:
        """By interactions, which alone give another format than PNG."""
        shape, _ = intents.nearest_shape(request, _shapes_of(model))
        form = {
            "type": "image",
            "mime_type": "image/jpeg",
            "aspect_ratio": shape,
            "image_size": _class_of(request, model),
        }
        form = {name: value for name, value in form.items() if value is not None}
        body = {"model": model, "input": [*blocks, {"type": "text", "text": request.prompt}], "response_format": form}
        bodies = [
            {**body, "generation_config": {"seed": request.seed + place}} if request.seed is not None else body
            for place in range(request.n)
        ]
        bodies = [content.merged(one, request.options.get(self._provider, {})) for one in bodies]
        answers = await asyncio.gather(*(_interacted(one, wire) for one in bodies), return_exceptions=True)
        made = [one for one in answers if not isinstance(one, BaseException)]
        if not made:
            raise next(one for one in answers if isinstance(one, BaseException))
        produced = tuple(picture for told in made for picture in interactions.media_of(told))
        usage = reduce(content.added, (interactions.usage_of(told) for told in made))
        usage = msgspec.structs.replace(usage, images=len(produced), image_size=form.get("image_size"))
        notes = () if len(made) == len(answers) else (f"{len(made)} of {request.n} pictures were made",)
        return Outcome(
            produced=produced, usage=usage, model=made[0].get("model"), upstream_id=made[0].get("id"), notes=notes
        )


async def _interacted(body: dict[str, Any], wire: MediaWire) -> dict[str, Any]:
    """An interaction with a picture in it. Raises AttemptFailed."""
    told = (await interactions.converse(body, wire))[-1]
    if not any(interactions.media_of(told)):
        raise interactions.nothing_made(told)
    return told


def _gathered(answers: list[dict[str, Any] | BaseException], request: MediaRequest, image_size: str | None) -> Outcome:
    produced: list[Produced] = []
    usage, first, failure = Usage(image_size=image_size), None, None
    for answer in answers:
        if isinstance(answer, BaseException):
            failure = answer
            continue
        try:
            found = content.pictures(answer)
        except AttemptFailed as failed:
            failure = failed
            continue
        first = first or answer
        produced += found
        usage = content.added(usage, content.usage_of(answer, images=len(found)))
    if first is None:
        raise failure or intents.failed(ErrorKind.BAD_RESPONSE, "The provider gave no picture.")
    notes = () if failure is None else (f"{len(produced)} of {request.n} pictures were made",)
    return Outcome(
        produced=tuple(produced), usage=usage, model=first.get("modelVersion"), upstream_id=first.get("responseId"),
        notes=notes,
    )  # fmt: skip


def _shapes_of(model: str) -> tuple[str, ...]:
    return _WIDER if model.startswith("gemini-3.1") or "nano-banana-2" in model else _SHAPES


def _class_of(request: MediaRequest, model: str) -> str | None:
    """The class of size; `gemini-2.5-flash-image` knows none."""
    if "2.5" in model:
        return None
    if request.resolution is not None:
        return _CLASSES.get(request.resolution.lower())
    if request.width and request.height:
        longest = max(request.width, request.height)
        return "1K" if longest <= 1536 else "2K" if longest <= 2816 else "4K"
    return None


class Imagen:
    """Implements `ports.Immediate`: several pictures of one `predict`."""

    def __init__(self, provider: str) -> None:
        self._provider = provider

    def fit(self, request: MediaRequest, model: str) -> Fitted:
        """Words, what is not wanted, shape, count, seed and format."""
        intents.need_prompt(request)
        if request.n > 4:
            raise intents.failed_field("n", request.n, "at most 4 are possible")
        _, notes = intents.nearest_shape(request, _IMAGEN_SHAPES)
        kept = {"n", "seed", "aspect_ratio", "negative_prompt", *(("format",) if request.format in _FORMATS else ())}
        return intents.fitted(request, kept, (), notes)

    async def make(self, request: MediaRequest, model: str, wire: MediaWire) -> Outcome:
        """The pictures of one call."""
        shape, _ = intents.nearest_shape(request, _IMAGEN_SHAPES)
        parameters = {
            "sampleCount": request.n, "aspectRatio": shape, "negativePrompt": request.negative_prompt,
            "seed": request.seed,
            "outputOptions": {"mimeType": f"image/{request.format}"} if request.format in _FORMATS else None,
        }  # fmt: skip
        if request.seed is not None:
            parameters["addWatermark"] = False  # Imagen refuses a seed together with its watermark
        body = {
            "instances": [{"prompt": request.prompt}],
            "parameters": {name: value for name, value in parameters.items() if value is not None},
        }
        body = content.merged(body, request.options.get(self._provider, {}))
        answer = (await wire.call("POST", f"/models/{model}:predict", json=body, creates=True)).json()
        predictions = answer.get("predictions") or ()
        produced = tuple(
            Produced(data=base64.b64decode(one["bytesBase64Encoded"]), media_type=one.get("mimeType"))
            for one in predictions
            if one.get("bytesBase64Encoded")
        )
        if not produced:
            reason = next((one["raiFilteredReason"] for one in predictions if one.get("raiFilteredReason")), None)
            kind = ErrorKind.BAD_RESPONSE if reason is None and predictions else ErrorKind.CONTENT_FILTERED
            raise intents.failed(kind, "The provider's safety check refused this.", detail=reason)
        notes = () if len(produced) == request.n else (f"{len(produced)} of {request.n} pictures were made",)
        return Outcome(produced=produced, usage=Usage(images=len(produced)), notes=notes)
