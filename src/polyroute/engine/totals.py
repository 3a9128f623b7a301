"""What several attempts of one request consumed together, and what one consumed that never said so."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from polyroute.ports import Observation
from polyroute.types.usage import Cost, Usage

_CHARACTERS_PER_TOKEN = 4  # a common rule of thumb for English text; only used where a stream was broken off
_SUMMED = (
    "input",
    "cache_read",
    "cache_write_5m",
    "cache_write_1h",
    "output",
    "reasoning",
    "audio_input",
    "audio_output",
    "image_input",
    "image_output",
    "images",
    "megapixels",
    "seconds",
    "video_seconds",
    "characters",
    "requests",
    "compute_seconds",
    "charged_input",
    "charged_output",
    "web_searches",
    "reported_credits",
)
_NAMED = ("image_size", "image_quality", "video_size", "hardware", "tier")  # fmt: skip


def estimate_usage(seen: Observation, prompt_tokens: int | None = None) -> Usage | None:
    """Usage of a broken answer: what the provider said so far, else a guess from the text that was delivered.

    `prompt_tokens` is our own estimate of the prompt, for the providers who tell it only at the end.
    """
    told = seen.usage
    guess = max(1, seen.characters // _CHARACTERS_PER_TOKEN) if seen.characters else None
    if told is None:
        if guess is None and prompt_tokens is None:
            return None
        return Usage(input=prompt_tokens, output=guess, estimated=True)
    if guess is not None and (told.output_total or 0) < guess:  # told at the beginning of the answer
        return msgspec.structs.replace(told, output=guess, estimated=True)
    return msgspec.structs.replace(told, estimated=True)


def add_usage(first: Usage | None, second: Usage | None) -> Usage | None:
    """Both together; a bucket that only one of them knows is that one's."""
    if first is None or second is None:
        return second if first is None else first
    total: dict[str, Any] = {}
    for name in _SUMMED:
        known = [count for count in (getattr(first, name), getattr(second, name)) if count is not None]
        total[name] = sum(known) if known else None
    for name in _NAMED:
        total[name] = getattr(second, name) or getattr(first, name)
    return Usage(**total, estimated=first.estimated or second.estimated)


def add_cost(first: Cost | None, second: Cost | None) -> Cost | None:
    """Both together; unknown when one of them is."""
    if first is None or second is None:
        return None
    usd: Decimal = first.usd + second.usd
    origin = second.origin if first.origin == second.origin else "estimated"
    return Cost(usd, origin, second.price_version)
