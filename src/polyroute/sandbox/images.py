"""Image generation and edits in OpenAI's form: base64 or an address, whole or streamed."""

from __future__ import annotations

import base64
from collections.abc import Iterator

from msgspec import structs

from polyroute.sandbox.errors import Refused, invalid
from polyroute.sandbox.exchange import (
    CREATED,
    Answered,
    Exchange,
    Frame,
    Json,
    Reply,
    Stream,
    event_frame,
    hexadecimal,
    json_reply,
)
from polyroute.sandbox.media.artifacts import Artifact, image
from polyroute.sandbox.media.call import is_blocked
from polyroute.sandbox.openai_reading import required_model
from polyroute.sandbox.openai_usage import reply_headers
from polyroute.sandbox.pictures import picture, size_of
from polyroute.sandbox.prompt import tokens_of

_QUALITIES = ("auto", "low", "medium", "high", "xhigh", "max", "standard", "hd")


def answer_generation(exchange: Exchange) -> Reply:
    """`POST /images/generations`."""
    return _Painter(exchange, "image_generation").reply()


def answer_edit(exchange: Exchange) -> Reply:
    """`POST /images/edits`: multipart with one or more images."""
    images = [upload for upload in exchange.uploads if upload.field in ("image", "image[]")]
    if not images and not exchange.body.get("images"):
        raise invalid("Missing required parameter: 'image'.", param="image", code="missing_required_parameter")
    return _Painter(exchange, "image_edit", sum(upload.size for upload in images)).reply()


def answer_variation(exchange: Exchange) -> Reply:
    """`POST /images/variations`: multipart with one image. OpenAI itself has retired it; servers like it have not."""
    if exchange.profile.name == "openai" and exchange.strict and exchange.body.get("model", "dall-e-2") != "dall-e-2":
        raise invalid("Invalid value: 'model'. Value must be 'dall-e-2'.", param="model", code="invalid_value")
    if not any(upload.field == "image" for upload in exchange.uploads):
        raise invalid("Missing required parameter: 'image'.", param="image", code="missing_required_parameter")
    body = {"prompt": "a variation", "model": "dall-e-2", **exchange.body}
    return _Painter(structs.replace(exchange, body=body), "image_edit").reply()


def answer_file(name: str) -> bytes | None:
    """The picture behind an address that an image answer gave (`{width}x{height}-{seed}.png`); None when it is none."""
    size, _, seed = name.removesuffix(".png").partition("-")
    sides = size_of(size)
    return picture(seed, *sides) if sides is not None and seed and name.endswith(".png") else None


def blocked(exchange: Exchange) -> Answered:
    """OpenAI's refusal by moderation; others of its dialect use their own words."""
    if exchange.profile.name not in ("openai", "azure"):
        raise Refused("content_filter")
    error: Json = {"message": "Your request was rejected by the safety system.", "type": "image_generation_user_error"}
    error |= {"param": None, "code": "moderation_blocked"}
    error["moderation_details"] = {"moderation_stage": "input", "categories": ["violence"]}
    return Answered(json_reply({"error": error}, status=400))


class _Painter:
    """One image request, checked."""

    def __init__(self, exchange: Exchange, event: str, input_bytes: int = 0) -> None:
        body = exchange.body
        self.exchange = exchange
        self.event = event
        self.model = required_model(exchange)
        self.prompt = body.get("prompt")
        if not isinstance(self.prompt, str) or not self.prompt:
            raise invalid("Missing required parameter: 'prompt'.", param="prompt", code="missing_required_parameter")
        self.count = _number(body.get("n"), "n", 1, 10)
        self.size = str(body.get("size") or "auto")
        sides = size_of(self.size)
        if sides is None:
            raise invalid(f"Invalid value: '{self.size}'.", param="size", code="invalid_value")
        self.sides = sides
        self.by_tokens = self.model.split("/")[-1].startswith("gpt-image")
        form = body.get("response_format")
        if form is not None and self.by_tokens and exchange.profile.name == "openai":
            raise Refused(
                "unsupported_parameter",
                "Unknown parameter: 'response_format'.",
                param="response_format",
                code="unknown_parameter",
            )
        if form not in (None, "url", "b64_json"):
            raise invalid(f"Invalid value: '{form}'.", param="response_format", code="invalid_value")
        self.by_url = form == "url" or (form is None and not self.by_tokens)
        self.form = str(body.get("output_format") or "png") if self.by_tokens else "png"
        if self.form not in ("png", "jpeg", "webp", "svg"):
            raise invalid(f"Invalid value: '{self.form}'.", param="output_format", code="invalid_value")
        if exchange.strict and exchange.profile.name == "openai" and self.by_tokens:
            self._check_looks()
        self.made = [self._artifact(self._seed(place)) for place in range(self.count)]
        self.job = exchange.desk.submit(
            exchange, "image", self.model, self.made, name=lambda digest: f"img_{digest[:24]}", whole=True
        )
        if self.job.moderated or is_blocked(self.prompt):
            raise blocked(exchange)
        self.tokens_in = tokens_of(self.prompt), input_bytes and 85

    def reply(self) -> Reply:
        """Whole, or streamed when asked."""
        headers = reply_headers(self.exchange)
        if self.exchange.body.get("stream") in (True, "true"):
            return Stream(frames=self._frames(), headers=headers)
        value: Json = {"created": CREATED}
        if self.by_tokens:
            value |= self._looks()
        value["data"] = [self._image(place) for place in range(self.count)]
        if self.by_tokens:
            value["usage"] = self._usage()
        return json_reply(value, headers=headers, tokens=64)

    def _check_looks(self) -> None:
        body, (width, height) = self.exchange.body, self.sides
        fits = width % 16 == 0 and height % 16 == 0 and width <= 3 * height and height <= 3 * width
        if not fits or width * height > 3840 * 2160:
            raise invalid(
                f"Invalid size '{self.size}'. Both sides must be divisible by 16.", param="size", code="invalid_value"
            )
        if str(body.get("quality") or "auto") not in _QUALITIES:
            raise invalid(f"Invalid value: '{body['quality']}'.", param="quality", code="invalid_value")
        if body.get("background") == "transparent" and self.form == "jpeg":
            raise invalid("Transparent background is not supported for JPEG output format.", param="background")

    def _artifact(self, seed: str) -> Artifact:
        return image(seed, *self.sides, self.form)

    def _seed(self, place: int) -> str:
        return hexadecimal(f"{self.exchange.profile.name}:{self.model}:{self.prompt}", f"picture:{place}", 16)

    def _image(self, place: int) -> Json:
        seed = self._seed(place)
        if self.by_url:
            width, height = self.sides
            plain = f"{self.exchange.origin}/_files/{width}x{height}-{seed}.png"
            shown: Json = {"url": self.job.url(place) if self.job.fault is not None else plain}
        else:
            shown = {"b64_json": base64.b64encode(self.made[place].content()).decode()}
        if not self.by_tokens:
            shown["revised_prompt"] = f"[simulated {self.exchange.profile.name}/{self.model}] {self.prompt}"
        return shown

    def _looks(self) -> Json:
        body = self.exchange.body
        width, height = self.sides
        quality = body.get("quality") if body.get("quality") not in (None, "auto") else "medium"
        return {"background": "opaque", "output_format": self.form, "quality": quality, "size": f"{width}x{height}"}

    def _usage(self) -> Json:
        text, images = self.tokens_in
        output = 1372 * self.count
        details = {"text_tokens": text, "image_tokens": images}
        usage: Json = {"input_tokens": text + images, "input_tokens_details": details, "output_tokens": output}
        usage["output_tokens_details"] = {"text_tokens": 0, "image_tokens": output}
        return usage | {"total_tokens": text + images + output}

    def _frames(self) -> Iterator[Frame]:
        partial = _number(self.exchange.body.get("partial_images"), "partial_images", 0, 3)
        looks = self._looks() | {"created_at": CREATED}
        for place in range(self.count):
            for number in range(partial):
                data = base64.b64encode(self._artifact(f"{self._seed(place)}:{number}").content()).decode()
                name = f"{self.event}.partial_image"
                yield event_frame(name, {"type": name, "b64_json": data, "partial_image_index": number, **looks}, 16)
            data = base64.b64encode(self.made[place].content()).decode()
            name = f"{self.event}.completed"
            done = {"type": name, "b64_json": data, "usage": self._usage(), **looks}
            yield event_frame(name, done, 16, last=place == self.count - 1)


def _number(value: object, name: str, low: int, high: int) -> int:
    if value is None:
        return low
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise invalid(f"Invalid '{name}': expected an integer from {low} to {high}.", param=name, code="invalid_value")
    return value
