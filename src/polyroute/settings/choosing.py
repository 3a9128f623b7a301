"""The keys that say how a route chooses among its targets, and what is known of models."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from polyroute.settings.sections import Number, Section, Whole, refuse_bool

Rate = Annotated[float, BeforeValidator(refuse_bool), Field(gt=0, allow_inf_nan=False)]


class CurrencySettings(Section):
    """A currency in which budgets may be given."""

    per_usd: Rate
    """What one US dollar buys: 26000 for VND."""
    date: dt.date
    """The day of that rate, as `2026-11-20`; explanations name it."""


class PriceSettings(Section):
    """A rate card in place of the price table's; what is left out is unknown."""

    date: dt.date | None = None
    """The day on which these prices were read or agreed, as `2026-11-20`; needed, because the ledger names it."""
    currency: str = "USD"
    """What the rates are in: USD, or one of `currencies`, at the rate given there."""
    input: Number | None = None
    """A million prompt tokens."""
    output: Number | None = None
    """A million completion tokens."""
    cache_read: Number | None = None
    """A million prompt tokens that were read from a cache."""
    cache_write: Number | None = None
    """A million prompt tokens that were written to a cache."""
    request: Number | None = None
    """Each request."""
    image: Number | None = None
    """Each image."""
    second: Number | None = None
    """Each second of audio."""
    character: Number | None = None
    """Each character of speech."""
    audio_input: Number | None = None
    """A million audio tokens of the prompt."""
    audio_output: Number | None = None
    """A million audio tokens of the answer."""
    image_input: Number | None = None
    """A million image tokens of the prompt, where they are counted apart."""
    image_output: Number | None = None
    """A million image tokens of the answer."""
    megapixel: Number | None = None
    """Each megapixel of images."""
    video_second: Number | None = None
    """Each second of video."""
    credit: Number | None = None
    """Each unit of the provider's own, where it reports what it charged in credits or points."""

    @model_validator(mode="after")
    def _is_dated(self) -> Self:
        if self.date is None:
            raise ValueError("a price needs the day on which it was read: add date: 2026-11-20")
        return self


class ModelSettings(Section):
    """What is known of one model of a provider."""

    context: Whole | None = Field(default=None, ge=1)
    """Tokens that fit into it, prompt and answer together; unknown, and then the provider decides, unless said."""
    capabilities: list[str] | None = None
    """What it can do at most; the provider's unless said otherwise."""
    tags: list[str] = []
    """Further tags, besides its provider's."""
    price: PriceSettings | None = None


class BalanceSettings(Section):
    """What the policy `balanced` weighs; only the proportions count."""

    cost: Number = 1.0
    """Expected cost."""
    latency: Number = 1.0
    """Expected seconds."""
    success: Number = 1.0
    """Rate of failures."""

    @model_validator(mode="after")
    def _weighs_something(self) -> Self:
        if not self.cost + self.latency + self.success:
            raise ValueError("at least one weight above 0")
        return self


class ComplexitySettings(Section):
    """Other targets for simple, or for complex requests, in place of `targets`; the first rule that fires makes a request
    complex."""

    simple: list[str] | None = Field(default=None, min_length=1)
    """Targets of simple requests."""
    complex: list[str] | None = Field(default=None, min_length=1)
    """Targets of complex requests."""
    tokens: Whole = Field(default=2000, ge=0)
    """Estimated tokens of the prompt from which on a request is complex; 0 is never."""
    turns: Whole = Field(default=10, ge=0)
    """Turns of the conversation from which on it is complex; 0 is never."""
    tools: bool = True
    """Whether tools make it complex."""
    structured_output: bool = True
    """Whether a wish for JSON does."""
    reasoning: bool = True
    """Whether a wish for reasoning does."""
    code: bool = True
    """Whether a fenced block of code does."""
    media: bool = True
    """Whether images, audio or files do."""
