"""What the configuration says of single models of a provider; pure."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from polyroute.catalog.inputs import ModelEntry, PriceEntry, ProviderEntry
from polyroute.catalog.model import Currency, ModelFacts
from polyroute.catalog.problems import Problems, find_nearest
from polyroute.types.operations import Capability
from polyroute.types.usage import Price, scaled

PRICE_VERSION = "configuration"
"""What the ledger names as the price table of a price that the configuration gives, with its date behind it."""
_UNITS = (
    "input", "output", "cache_read", "request", "image", "second", "character", "audio_input", "audio_output",
    "image_input", "image_output", "megapixel", "video_second", "credit",
)  # fmt: skip


def read_model_facts(
    provider: str, entry: ProviderEntry, currencies: Mapping[str, Currency], problems: Problems
) -> dict[str, ModelFacts]:
    """The facts by model id, with every wrong name noted."""
    return {
        model: ModelFacts(
            capabilities=_capabilities(("providers", provider, "model_facts", model), told, problems),
            context=told.context,
            tags=frozenset(told.tags),
            price=_price(("providers", provider, "model_facts", model, "price"), told.price, currencies, problems),
        )
        for model, told in entry.model_facts.items()
    }


def _capabilities(path: tuple[str, ...], told: ModelEntry, problems: Problems) -> frozenset[Capability] | None:
    if told.capabilities is None:
        return None
    named = [
        problems.name(Capability, text, (*path, "capabilities", index), "capability")
        for index, text in enumerate(told.capabilities)
    ]
    return frozenset(found for found in named if found is not None)


def _price(
    path: tuple[str, ...], entry: PriceEntry | None, currencies: Mapping[str, Currency], problems: Problems
) -> Price | None:
    if entry is None:
        return None
    rates = {name: rate for name in _UNITS if (rate := getattr(entry, name)) is not None}
    if entry.cache_write is not None:
        rates |= {"cache_write_5m": entry.cache_write, "cache_write_1h": entry.cache_write}
    if entry.date is None:
        problems.note(path, "a price needs the day on which it was read", expected="date: 2026-11-20")
        return None
    if not rates:
        return None
    version = f"{PRICE_VERSION} {entry.date.isoformat()}"
    price = Price(version=version, checked=entry.date, **rates)
    code = entry.currency.upper()
    if code == "USD":
        return price
    currency = currencies.get(code)
    if currency is None:
        known = ["USD", *currencies]
        problems.note(
            (*path, "currency"), f"there is no exchange rate for {code}", given=entry.currency,
            expected=f"currencies.{code}: {{per_usd: …, date: …}}, or one of {', '.join(known)}",
            nearest=find_nearest(code, known),
        )  # fmt: skip
        return None
    per_usd = Decimal(str(currency.per_usd))
    told = f"{version}, {per_usd} {code} a dollar on {currency.date.isoformat()}"
    return scaled(price, 1 / per_usd, told)
