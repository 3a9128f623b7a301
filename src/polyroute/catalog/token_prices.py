"""Token prices of the genai-prices package, condensed.

Importing that package costs 0.5 s and, at its peak, 90 MB. So a process of its own does it, once for each version of the
package, and leaves a file of some hundred kilobytes that a start reads in milliseconds. Run as a program, this module
writes that file: `python -m polyroute.catalog.token_prices FILE`.
"""

from __future__ import annotations

import os
import re
import sys
from datetime import UTC, date, datetime, time
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from polyroute.types.usage import Price

PACKAGE = "genai-prices"
_FORMAT = 2
"""Of the condensed file; one of an earlier format is made anew."""

PROVIDERS: dict[str, str] = {
    "anthropic": "anthropic",
    "azure": "azure",
    "bedrock": "aws",
    "cerebras": "cerebras",
    "cohere": "cohere",
    "deepseek": "deepseek",
    "fireworks": "fireworks",
    "google": "google",
    "groq": "groq",
    "mistral": "mistral",
    "moonshot": "moonshotai",
    "novita": "novita",
    "openai": "openai",
    "openrouter": "openrouter",
    "perplexity": "perplexity",
    "together": "together",
    "voyage": "voyageai",
    "xai": "x-ai",
    "zai": "zai",
}
"""Our names → the package's. Who is not here has no table there; nobody is given another provider's prices."""

_UNMEASURED = ("output_reasoning_mtok", "output_citation_mtok")
"""Charges for what no bucket of ours measures: a model that has one is unpriced, not half priced."""

Clause = list[Any]
"""[operator, text] or ["or" | "and", [clause, …]]: whether a row is meant by a model id."""


class Period(msgspec.Struct, frozen=True, array_like=True):
    """A rate card and when it holds: from a date on, or daily between two times of day (UTC); always when all are None."""

    price: Price
    since: date | None = None
    daily_from: time | None = None
    daily_until: time | None = None

    def holds(self, moment: datetime) -> bool:
        """Whether the rate card is in force at a moment in UTC."""
        if self.since is not None and moment.date() < self.since:
            return False
        if self.daily_from is None or self.daily_until is None:
            return True
        now = moment.time()
        if self.daily_until < self.daily_from:
            return now >= self.daily_from or now < self.daily_until
        return self.daily_from <= now < self.daily_until


class Row(msgspec.Struct, frozen=True, array_like=True):
    """One model of one provider. Of several periods the last that holds decides, of none the first."""

    clause: Clause
    periods: tuple[Period, ...]


class TokenPrices(msgspec.Struct, frozen=True):
    """The condensed tables, by our provider names."""

    version: str
    providers: dict[str, tuple[Row, ...]]
    format: int = 0

    def find(self, provider: str, model: str) -> Row | None:
        """The row that a provider's model id means."""
        rows = self.providers.get(provider, ())
        wanted = model.lower()
        found = next((row for row in rows if _means(row.clause, wanted)), None)
        if found is None:
            dashed = _COMPACT_DATE.sub(r"-\1-\2-\3", wanted)
            if dashed != wanted:
                found = next((row for row in rows if _means(row.clause, dashed)), None)
        return found


_COMPACT_DATE = re.compile(r"-(20\d{2})(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?=-|:|$)")


def price_at(row: Row, moment: datetime) -> Price | None:
    """The rate card in force at a moment in UTC."""
    if not row.periods:
        return None
    price = next((period.price for period in reversed(row.periods) if period.holds(moment)), row.periods[0].price)
    return price if _is_priced(price) else None


def installed_version() -> str:
    """The version that a snapshot must have to be used, e.g. `genai-prices 0.2.3`."""
    return f"{PACKAGE} {version(PACKAGE)}"


def read_snapshot(path: Path) -> TokenPrices | None:
    """The snapshot in a file; None when it is absent, unreadable or of another version."""
    try:
        snapshot = msgspec.msgpack.decode(path.read_bytes(), type=TokenPrices)
    except (OSError, msgspec.DecodeError):
        return None
    return snapshot if (snapshot.version, snapshot.format) == (installed_version(), _FORMAT) else None


def write_snapshot(snapshot: TokenPrices, path: Path) -> None:
    """Write a snapshot so that a reader sees all of it or nothing. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{path.name}.{os.getpid()}")
    aside.write_bytes(msgspec.msgpack.encode(snapshot))
    aside.replace(path)


def extract() -> TokenPrices:
    """Condense the installed package. Slow and large: see the module's words."""
    from genai_prices.data import providers  # noqa: PLC0415 - that is what this module keeps out of other processes

    tables = {provider.id: provider for provider in providers}
    label = installed_version()
    return TokenPrices(
        version=label,
        format=_FORMAT,
        providers={
            ours: tuple(_row(model, label) for name in _told_by(tables, theirs) for model in tables[name].models)
            for ours, theirs in PROVIDERS.items()
            if theirs in tables
        },
    )


def _told_by(tables: dict[str, Any], provider: str) -> list[str]:
    """The tables that hold for a provider: its own, then those that the package says it takes over (Azure: OpenAI's)."""
    others = tables[provider].fallback_model_providers or ()
    return [provider, *(name for name in others if name in tables)]


def _means(clause: Clause, model: str) -> bool:
    operator, operand = clause
    match operator:
        case "equals":
            return bool(model == operand)
        case "starts_with":
            return model.startswith(operand)
        case "ends_with":
            return model.endswith(operand)
        case "contains":
            return operand in model
        case "regex":
            return re.search(operand, model) is not None
        case "or":
            return any(_means(part, model) for part in operand)
        case "and":
            return all(_means(part, model) for part in operand)
        case _:
            return False


def _row(model: Any, label: str) -> Row:
    prices = model.prices
    if not isinstance(prices, list):
        periods = [Period(_price(prices, label))]
    else:
        periods = [_period(conditional, label) for conditional in prices]
    return Row(_clause(model.match), tuple(periods))


def _is_priced(price: Price) -> bool:
    """Whether the rate card has a rate for anything that an answer consumes."""
    rates = (price.input, price.output, price.audio_input, price.image_output, price.second, price.character)
    return any(rate is not None for rate in rates) or price.request is not None


def _period(conditional: Any, label: str) -> Period:
    price, constraint = _price(conditional.prices, label), conditional.constraint
    if constraint is None:
        return Period(price)
    if hasattr(constraint, "start_date"):
        return Period(price, since=constraint.start_date)
    return Period(price, daily_from=_utc(constraint.start_time), daily_until=_utc(constraint.end_time))


def _utc(moment: time) -> time:
    if moment.tzinfo is None:
        return moment
    return datetime.combine(date(2000, 1, 1), moment).astimezone(UTC).time()


def _clause(match: Any) -> Clause:
    for name in ("equals", "starts_with", "ends_with", "contains"):
        if hasattr(match, name):
            return [name, getattr(match, name).lower()]
    if hasattr(match, "regex"):
        return ["regex", match.regex]
    for name, attribute in (("or", "or_"), ("and", "and_")):
        if hasattr(match, attribute):
            return [name, [_clause(part) for part in getattr(match, attribute)]]
    raise TypeError(f"{PACKAGE} has a new kind of clause: {type(match).__name__}")


def _price(rates: Any, label: str) -> Price:
    values = {key: value for key, value in vars(rates).items() if value is not None}
    starts = sorted({tier.start for value in values.values() for tier in getattr(value, "tiers", ())})
    # The package charges a tier above its start, we from a number of tokens on.
    tiers = tuple((start + 1, _flat(_at(values, start + 1), label)) for start in starts)
    return msgspec.structs.replace(_flat(_at(values, 0), label), tiers=tiers)


def _at(values: dict[str, Any], tokens: int) -> dict[str, Decimal]:
    """Each rate for a prompt of this many tokens."""
    flat: dict[str, Decimal] = {}
    for key, value in values.items():
        rate = getattr(value, "base", value)
        for tier in getattr(value, "tiers", ()):
            if tokens > tier.start:
                rate = tier.price
        flat[key] = rate
    return flat


def _flat(rates: dict[str, Decimal], label: str) -> Price:
    """Our rate card. The package's rule holds for the cache: no rate of its own means that of ordinary input; but a write
    that lasts an hour is not taken for one of five minutes, nor audio for text."""
    if any(key in rates for key in _UNMEASURED):
        return Price(version=label)
    plain = rates.get("input_mtok", rates.get("input_text_mtok"))
    write = rates.get("cache_write_5m_mtok", rates.get("cache_write_mtok"))
    hour = rates.get("cache_write_1h_mtok", plain if write is None else None)
    per_hour = rates.get("audio_hours", rates.get("input_audio_hours"))
    requests, characters = rates.get("requests_kcount"), rates.get("input_mchars")
    searches = rates.get("web_searches_kcount")
    return Price(
        version=label,
        input=plain,
        cache_read=rates.get("cache_read_mtok", plain),
        cache_write_5m=plain if write is None else write,
        cache_write_1h=hour,
        output=rates.get("output_mtok", rates.get("output_text_mtok")),
        audio_input=rates.get("input_audio_mtok"),
        audio_output=rates.get("output_audio_mtok"),
        image_input=rates.get("input_image_mtok"),
        image_output=rates.get("output_image_mtok"),
        request=None if requests is None else requests / 1000,
        web_search=None if searches is None else searches / 1000,
        second=None if per_hour is None else per_hour / 3600,
        character=None if characters is None else characters / 1_000_000,
    )


if __name__ == "__main__":
    write_snapshot(extract(), Path(sys.argv[1]))
