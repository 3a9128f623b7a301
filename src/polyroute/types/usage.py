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
    `image_input` and `image_output` only. Seconds and characters as named. `reported_cost_usd` is what
    the provider itself says it charged. `raw` is the provider's own record.
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
    seconds: float | None = None
    characters: int | None = None
    reported_cost_usd: Decimal | None = None
    estimated: bool = False
    raw: dict[str, Any] | None = None

    @property
    def input_total(self) -> int | None:
        """All prompt tokens, cached, audio and image ones included; None when nothing is known."""
        total = self.input
        for part in (
            self.cache_read, self.cache_write_5m, self.cache_write_1h, self.audio_input, self.image_input,
        ):  # fmt: skip
            if part is not None:
                total = part if total is None else total + part
        return total

    @property
    def output_total(self) -> int | None:
        """All completion tokens, reasoning, audio and images included; None when nothing is known."""
        total = self.output
        for part in (self.reasoning, self.audio_output, self.image_output):
            if part is not None:
                total = part if total is None else total + part
        return total


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """A rate card in USD: tokens per million, images each, seconds and characters each. None means unknown.

    `version` names the table and its date; `tiers` are (from this many input tokens on, price) in rising order.
    `images` are (size, quality, price each), most particular first, where None stands for any; `image` is the price
    of what none of them names.
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


CostOrigin = Literal["reported", "priced", "estimated", "simulated"]


class Cost(msgspec.Struct, frozen=True):
    """Money for one request, in USD, with where it comes from."""

    usd: Decimal
    origin: CostOrigin
    price_version: str | None = None
