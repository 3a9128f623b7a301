"""Measured quantities, rate cards and money. Unknown is None, never 0."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any, Literal

import msgspec


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What one answer consumed, in disjoint buckets: no token is counted in two of them.

    Tokens: `input` is uncached text and image input, `cache_read` and `cache_write_*` are the rest of the prompt;
    `output` is visible output, `reasoning` the hidden rest. Where a provider counts image tokens apart, they are in
    `image_input` and `image_output` only, and tokens of video among them. `images` were made at `image_size` ("1024x1024",
    "2K") and `image_quality`, `megapixels` are theirs together. `seconds` are of audio, `video_seconds` of video at
    `video_size` ("720p", "1280x720"). `characters` were spoken. `web_searches` are those that the provider made for the
    answer. `requests` are the charged calls where one answer took several, `compute_seconds` those on `hardware`
    ("gpu-h100"). `tier` is the service tier that the answer names where it is not the usual one ("batch", "flex",
    "priority").

    `charged_input` and `charged_output` are the tokens that are billed where a provider bills others than it counts.

    What the provider itself says it charged: `reported_cost_usd` in money, or `reported_credits` in units of its own
    (credits, points, compute units), which a rate card with a `credit` rate turns into money. `raw` is the provider's own
    record.
    """

    input: int | None = None
    cache_read: int | None = None
    cache_write_5m: int | None = None
    cache_write_1h: int | None = None
    output: int | None = None
    reasoning: int | None = None
    audio_input: int | None = None
    audio_output: int | None = None
    image_input: int | None = None
    image_output: int | None = None
    images: int | None = None
    image_size: str | None = None
    image_quality: str | None = None
    megapixels: float | None = None
    seconds: float | None = None
    video_seconds: float | None = None
    video_size: str | None = None
    characters: int | None = None
    requests: int | None = None
    web_searches: int | None = None
    compute_seconds: float | None = None
    hardware: str | None = None
    tier: str | None = None
    charged_input: int | None = None
    charged_output: int | None = None
    reported_cost_usd: Decimal | None = None
    reported_credits: Decimal | None = None
    estimated: bool = False
    raw: dict[str, Any] | None = None

    @property
    def input_total(self) -> int | None:
        """All prompt tokens, cached, audio and image ones included; None when nothing is known."""
        total = (
            (self.input or 0) + (self.cache_read or 0) + (self.cache_write_5m or 0) + (self.cache_write_1h or 0)
            + (self.audio_input or 0) + (self.image_input or 0)
        )  # fmt: skip
        if total or self.input is not None:
            return total
        rest = (self.cache_read, self.cache_write_5m, self.cache_write_1h, self.audio_input, self.image_input)
        return None if rest == (None, None, None, None, None) else total

    @property
    def output_total(self) -> int | None:
        """All completion tokens, reasoning, audio and images included; None when nothing is known."""
        total = (self.output or 0) + (self.reasoning or 0) + (self.audio_output or 0) + (self.image_output or 0)
        if total or self.output is not None:
            return total
        return None if (self.reasoning, self.audio_output, self.image_output) == (None, None, None) else total


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """A rate card in USD: tokens per million, everything else for one of its unit. None means unknown.

    `version` names the table and its date; `tiers` are (from this many input tokens on, price) in rising order.
    `images` are (size, quality, price each) and `videos` (size, quality, price of a second), most particular first, where
    None stands for any; `image` and `video_second` are the prices of what none of them names. `compute` are (hardware,
    price of a second). `credit` is the price of one unit in which the provider counts what it charged. `factors` are
    (service tier, factor on everything): 0.5 for "batch".
    """

    version: str
    input: Decimal | None = None
    cache_read: Decimal | None = None
    cache_write_5m: Decimal | None = None
    cache_write_1h: Decimal | None = None
    output: Decimal | None = None
    audio_input: Decimal | None = None
    audio_output: Decimal | None = None
    image_input: Decimal | None = None
    image_output: Decimal | None = None
    request: Decimal | None = None
    image: Decimal | None = None
    second: Decimal | None = None
    character: Decimal | None = None
    checked: date | None = None
    tiers: tuple[tuple[int, Price], ...] = ()
    images: tuple[tuple[str | None, str | None, Decimal], ...] = ()
    megapixel: Decimal | None = None
    video_second: Decimal | None = None
    videos: tuple[tuple[str | None, str | None, Decimal], ...] = ()
    compute: tuple[tuple[str | None, Decimal], ...] = ()
    credit: Decimal | None = None
    web_search: Decimal | None = None
    factors: tuple[tuple[str, Decimal], ...] = ()

    @property
    def measures(self) -> bool:
        """Whether anything that is measured has a rate: tokens, units or time, and not only each request."""
        told = any(getattr(self, name) is not None for name in RATES if name not in ("request", "credit", "web_search"))
        return told or bool(self.images or self.videos or self.compute)

    @property
    def is_known(self) -> bool:
        """Whether a cost can come of it at all."""
        return self.measures or self.request is not None or self.credit is not None


RATES = (
    "input", "cache_read", "cache_write_5m", "cache_write_1h", "output", "audio_input", "audio_output", "image_input",
    "image_output", "request", "image", "second", "character", "megapixel", "video_second", "credit",
    "web_search",
)  # fmt: skip
"""The fields of a rate card that are one number."""


def scaled(price: Price, factor: Decimal, version: str) -> Price:
    """A rate card with every rate multiplied, under another version: for mark-ups and currencies."""
    flat = {name: rate * factor for name in RATES if (rate := getattr(price, name)) is not None}
    return msgspec.structs.replace(
        price,
        version=version,
        images=tuple((size, quality, rate * factor) for size, quality, rate in price.images),
        videos=tuple((size, quality, rate * factor) for size, quality, rate in price.videos),
        compute=tuple((hardware, rate * factor) for hardware, rate in price.compute),
        tiers=tuple((start, scaled(tier, factor, version)) for start, tier in price.tiers),
        **flat,
    )


CostOrigin = Literal["reported", "priced", "estimated", "simulated"]


class Cost(msgspec.Struct, frozen=True):
    """Money for one request, in USD, with where it comes from."""

    usd: Decimal
    origin: CostOrigin
    price_version: str | None = None
