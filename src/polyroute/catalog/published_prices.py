"""Prices that providers publish in their lists of models, as rate cards; pure.

Each reader takes what its provider writes: units differ (a token, a million tokens, a tick), and so does what 0 means. A model
with a charge that no bucket of ours measures, or whose price varies, is left out: unknown, not half known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from polyroute.types.usage import RATES, Price

_MILLION = Decimal(1_000_000)
_TICKS_PER_MILLION = Decimal("0.0001")  # 1e10 ticks are a dollar
_TEXT_TYPES = frozenset({"chat", "language", "code", "embedding", "moderation", "rerank"})

Reader = Callable[[Any, str], Iterator[tuple[str, Price]]]


class PriceList(msgspec.Struct, frozen=True):
    """Where a provider publishes its prices, below its base URL, and how they are read."""

    path: str
    read: Reader


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One rate that a published list has otherwise than the price book: None where there is none."""

    model: str
    rate: str
    now: Decimal | None
    then: Decimal | None


def read_price_list(provider: str, body: bytes, day: date) -> dict[str, Price]:
    """The rate cards by model id. Raises ValueError when it is no such list, LookupError when the provider has none."""
    reader = PRICE_LISTS[provider].read
    try:
        document = msgspec.json.decode(body)
        found = dict(reader(document, f"{provider} list of {day.isoformat()}"))
    except (msgspec.DecodeError, TypeError, AttributeError, KeyError, InvalidOperation) as error:
        raise ValueError(f"{provider} answered with something that is no list of models: {error}") from error
    if not found:
        raise ValueError(f"{provider} answered with a list of models in which no price can be read")
    return {model: msgspec.structs.replace(price, checked=day) for model, price in found.items()}


def changes_of(model: str, now: Price | None, then: Price) -> Iterator[Change]:
    """What would change for a model, rate by rate; tiers and sizes as their text."""
    for name in RATES:
        before, after = None if now is None else getattr(now, name), getattr(then, name)
        if before != after and after is not None:
            yield Change(model=model, rate=name, now=before, then=after)
    tiers = dict(now.tiers) if now is not None else {}
    for start, tier in then.tiers:
        before_tier = tiers.get(start)
        for change in changes_of(model, before_tier, tier):
            yield msgspec.structs.replace(change, rate=f"{change.rate} from {start}")


# ---------------------------------------------------------------- readers


def _openrouter(document: Any, version: str) -> Iterator[tuple[str, Price]]:
    """USD a token, as decimal strings; below 0 the price varies."""
    for row in document["data"]:
        told = row.get("pricing")
        price = _openrouter_price(told, version) if isinstance(told, dict) else None
        if price is None:
            continue
        tiers = []
        for override in told.get("overrides") or ():
            tier = _openrouter_price({**told, **override}, version)
            if tier is None or "min_prompt_tokens" not in override:
                break
            tiers.append((int(override["min_prompt_tokens"]), tier))
        else:
            yield row["id"], msgspec.structs.replace(price, tiers=tuple(sorted(tiers, key=lambda tier: tier[0])))


_OPENROUTER = {
    "prompt": "input", "completion": "output", "input_cache_read": "cache_read", "input_cache_write": "cache_write_5m",
    "input_cache_write_1h": "cache_write_1h", "audio": "audio_input", "audio_output": "audio_output",
    "image_token": "image_input", "image_output": "image_output",
}  # fmt: skip


def _openrouter_price(told: dict[str, Any], version: str) -> Price | None:
    amounts = {
        name: Decimal(str(value))
        for name, value in told.items()
        if isinstance(value, str | int | float)
        and not isinstance(value, bool)
        and name not in ("discount", "min_prompt_tokens")
    }
    if "prompt" not in amounts or "completion" not in amounts or min(amounts.values()) < 0:
        return None
    if amounts.get("internal_reasoning", 0) not in (0, amounts["completion"]):
        return None
    rates: dict[str, Any] = {
        ours: amounts[theirs] * _MILLION for theirs, ours in _OPENROUTER.items() if theirs in amounts
    }
    for theirs, ours in (("request", "request"), ("web_search", "web_search")):
        if amounts.get(theirs):
            rates[ours] = amounts[theirs]
    # What has no rate of its own is charged as ordinary input.
    for name in ("cache_read", "cache_write_5m"):
        rates.setdefault(name, rates["input"])
    return Price(version=version, **rates)


def _together(document: Any, version: str) -> Iterator[tuple[str, Price]]:
    """USD a million tokens. 0 is a price only where the id says so: models without a public price show it too."""
    for row in document if isinstance(document, list) else document["data"]:
        told = row.get("pricing")
        if not isinstance(told, dict) or row.get("type") not in _TEXT_TYPES:
            continue
        into, out = _amount(told.get("input")), _amount(told.get("output"))
        if into is None or out is None or (into == out == 0 and not row["id"].endswith("-Free")) or told.get("base"):
            continue
        yield row["id"], Price(version=version, input=into, output=out, cache_read=into, cache_write_5m=into)


_AIML_TOKENS = {
    "input_tokens": "input", "output_tokens": "output", "cached_input_tokens": "cache_read", "cache_read_tokens": "cache_read",
    "cache_write_tokens": "cache_write_5m", "cache_creation_tokens": "cache_write_5m", "audio_input_tokens": "audio_input",
    "audio_output_tokens": "audio_output", "image_output_tokens": "image_output",
}  # fmt: skip
_AIML_UNITS = {
    "image": "image", "second": "second", "character": "character", "request": "request", "megapixel": "megapixel",
    "video_second": "video_second",
}  # fmt: skip


def _aimlapi(document: Any, version: str) -> Iterator[tuple[str, Price]]:
    """Units with their own quantity; only fixed prices."""
    for row in document["data"]:
        told = row.get("pricing")
        if not isinstance(told, dict) or told.get("kind") != "fixed" or told.get("currency", "USD") != "USD":
            continue
        rates: dict[str, Any] = {}
        for unit in told.get("units") or ():
            price, per = _amount(unit.get("price")), _amount(unit.get("per") or 1)
            ours = _AIML_TOKENS.get(unit.get("name")) or _AIML_UNITS.get(unit.get("measure"))
            if ours is None or price is None or not per:
                break
            rates[ours] = price / per * (_MILLION if unit.get("name") in _AIML_TOKENS else 1)
        else:
            if rates:
                if "input" in rates:
                    rates.setdefault("cache_read", rates["input"])
                yield row["id"], Price(version=version, **rates)


def _xai(document: Any, version: str) -> Iterator[tuple[str, Price]]:
    """Ticks a token, for the model and each of its aliases."""
    for row in document["models"]:
        into, out = _amount(row.get("prompt_text_token_price")), _amount(row.get("completion_text_token_price"))
        if into is None or out is None:
            continue
        cached = _amount(row.get("cached_prompt_text_token_price"))
        price = Price(
            version=version,
            input=into * _TICKS_PER_MILLION,
            output=out * _TICKS_PER_MILLION,
            cache_read=(into if cached is None else cached) * _TICKS_PER_MILLION,
        )
        for name in (row["id"], *(row.get("aliases") or ())):
            yield name, price


def _amount(value: Any) -> Decimal | None:
    """An amount that is not below zero; None for everything else."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    amount = Decimal(str(value))
    return amount if amount.is_finite() and amount >= 0 else None


PRICE_LISTS: dict[str, PriceList] = {
    "openrouter": PriceList("/models", _openrouter),
    "together": PriceList("/models", _together),
    "aimlapi": PriceList("/models?include=pricing", _aimlapi),
    "xai": PriceList("/language-models", _xai),
}
"""The providers that publish prices for programs."""
