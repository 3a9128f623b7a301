"""Our own dated and sourced price table: what token tables lack. See prices.toml for the rows."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import msgspec

from polyroute.types.usage import RATES, Price

ANY_MODEL = "*"
"""A row's model that means every model of the provider: what its credits, its hardware or its batches cost."""

_TOKENS = tuple(
    name
    for name in RATES
    if name.startswith(("input", "output", "cache", "audio", "image_")) and name not in ("image", "megapixel")
)
_NAMED: dict[str, str] = {
    "second": "second", "character": "character", "request": "request", "image": "image", "megapixel": "megapixel",
    "video_second": "video_second", "credit": "credit",
}  # fmt: skip
Unit = Literal[
    "second",
    "character",
    "request",
    "image",
    "megapixel",
    "video_second",
    "compute_second",
    "credit",
    "tokens",
    "factor",
]


class UnitPrice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A row of prices.toml: what these models of a provider cost by unit, in USD, read on `checked` at `source`.

    `usd` is the price of `per` units: 1 for an image, 3600 for an hour told in seconds, 1000000 for a million characters.
    `images` and `videos` are {size, quality, usd}; a size or quality left out stands for any. `hardware` are {name, usd}
    for a second. `tokens` are rates per million by bucket, and `tiers` the same from `above` so many input tokens on.
    `factors` multiply everything in a service tier. A row holds from `since` on, before `until`, and daily between two
    times of day (UTC) where they are given; of several that hold, the last one decides.
    """

    provider: str
    models: tuple[str, ...]
    unit: Unit
    checked: date
    source: str
    usd: Decimal | None = None
    per: int = 1
    images: tuple[dict[str, Any], ...] = ()
    videos: tuple[dict[str, Any], ...] = ()
    hardware: tuple[dict[str, Any], ...] = ()
    tokens: dict[str, Decimal] = {}
    tiers: tuple[dict[str, Decimal], ...] = ()
    factors: dict[str, Decimal] = {}
    since: date | None = None
    until: date | None = None
    daily_from: time | None = None
    daily_until: time | None = None

    @property
    def changes(self) -> bool:
        """Whether it depends on the time."""
        return self.since is not None or self.until is not None or self.daily_from is not None

    def holds(self, moment: datetime) -> bool:
        """Whether it is in force at a moment in UTC."""
        today = moment.date()
        if (self.since is not None and today < self.since) or (self.until is not None and today >= self.until):
            return False
        if self.daily_from is None or self.daily_until is None:
            return True
        now = moment.time()
        if self.daily_until < self.daily_from:
            return now >= self.daily_from or now < self.daily_until
        return self.daily_from <= now < self.daily_until


class UnitRow(msgspec.Struct, frozen=True):
    """What the table says of one model, rows in their order, each with the rate card that it makes."""

    parts: tuple[tuple[UnitPrice, Price], ...]

    @property
    def changes(self) -> bool:
        """Whether it depends on the time."""
        return any(row.changes for row, _ in self.parts)

    def price_at(self, moment: datetime) -> Price | None:
        """The rate card in force at a moment in UTC; None when no row is."""
        holding = [(row, price) for row, price in self.parts if row.holds(moment)]
        if not holding:
            return None
        charged = [row for row, _ in holding if row.unit not in ("factor", "credit")] or [row for row, _ in holding]
        checked = max(row.checked for row in charged)
        whole = Price(version=f"polyroute {checked.isoformat()}", checked=checked)
        for _, price in holding:
            whole = _over(price, whole)
        return whole


class UnitPrices:
    """The whole table."""

    def __init__(self, rows: Mapping[tuple[str, str], UnitRow]) -> None:
        self._rows = rows

    def find(self, provider: str, model: str) -> UnitRow | None:
        """What is said of a model, or of every model of its provider."""
        return self._rows.get((provider, model.lower())) or self._rows.get((provider, ANY_MODEL))

    @property
    def targets(self) -> tuple[tuple[str, str], ...]:
        """Every (provider, model) that it names."""
        return tuple(self._rows)


def complete(price: Price, units: Price) -> Price:
    """A token table's rate card with what ours adds: rates of its own for units, and tokens where that table has none."""
    changes: dict[str, Any] = {name: mine for name in RATES if (mine := getattr(units, name)) is not None}
    changes = {name: mine for name, mine in changes.items() if name not in _TOKENS or getattr(price, name) is None}
    for name in ("images", "videos", "compute", "factors", "checked"):
        changes[name] = getattr(units, name) or getattr(price, name)
    missing = {name: rate for name, rate in changes.items() if name in _TOKENS}
    changes["tiers"] = (
        tuple(
            (
                start,
                msgspec.structs.replace(tier, **{n: rate for n, rate in missing.items() if getattr(tier, n) is None}),
            )
            for start, tier in price.tiers
        )
        or units.tiers
    )
    # What credits and batches are worth is no part of an ordinary price.
    adds = units.measures or units.request is not None
    return msgspec.structs.replace(
        price, version=f"{price.version}, {units.version}" if adds else price.version, **changes
    )


def read_unit_prices(path: Path) -> UnitPrices:
    """The table in a file. Raises ValueError for a row that is not well formed, which says how to mend it."""
    data = tomllib.loads(path.read_text("utf-8"), parse_float=Decimal)
    found: dict[tuple[str, str], list[tuple[UnitPrice, Price]]] = {}
    for index, raw in enumerate(data["price"]):
        try:
            row = msgspec.convert(raw, UnitPrice)
            price = _unit_price(row)
        except (msgspec.ValidationError, KeyError, ValueError, ArithmeticError) as error:
            raise ValueError(f"{path.name}, price {index + 1}: {_mended(raw, error)}") from error
        for model in dict.fromkeys(model.lower() for model in row.models):
            parts = found.setdefault((row.provider, model), [])
            if not row.changes and any(other.unit == row.unit and not other.changes for other, _ in parts):
                raise ValueError(f"{path.name}: two prices for {row.provider}/{model} by {row.unit}")
            parts.append((row, price))
    return UnitPrices({
        (provider, model): UnitRow((*found.get((provider, ANY_MODEL), ()), *parts) if model != ANY_MODEL else tuple(parts))
        for (provider, model), parts in found.items()
    })  # fmt: skip


def _mended(raw: Mapping[str, Any], error: Exception) -> str:
    """The error, with what to write where the date or the source is missing."""
    if not isinstance(raw.get("checked"), date):
        return "a price needs the day on which it was read: write checked = 2026-11-21, without quotes"
    if not raw.get("source"):
        return 'a price needs the place where it was read: write source = "https://…"'
    return str(error)


def _unit_price(row: UnitPrice) -> Price:
    version = f"polyroute {row.checked.isoformat()}"
    price = Price(version=version, checked=row.checked)
    _check(row)
    if row.unit == "tokens":
        tiers = tuple(
            (int(tier["above"]) + 1, _token_price(version, {k: v for k, v in tier.items() if k != "above"}, row.tokens))
            for tier in row.tiers
        )
        return msgspec.structs.replace(_token_price(version, row.tokens), checked=row.checked, tiers=tiers)
    if row.unit == "factor":
        return msgspec.structs.replace(price, factors=tuple(row.factors.items()))
    if row.unit == "compute_second":
        rates: list[tuple[str | None, Decimal]] = [(given["name"], Decimal(given["usd"])) for given in row.hardware]
        if row.usd is not None:
            rates.append((None, row.usd / row.per))
        return msgspec.structs.replace(price, compute=tuple(rates))
    flat = {} if row.usd is None else {_NAMED[row.unit]: row.usd / row.per}
    return msgspec.structs.replace(
        price, images=_sized(row.images, row.per), videos=_sized(row.videos, row.per), **flat
    )


def _check(row: UnitPrice) -> None:
    amounts = [row.usd, *row.tokens.values(), *row.factors.values()]
    amounts += [Decimal(given["usd"]) for given in (*row.images, *row.videos, *row.hardware)]
    given = [amount for amount in amounts if amount is not None]
    if not given or min(given) < 0 or row.per < 1:
        raise ValueError("`usd`, `images`, `videos`, `hardware`, `tokens` or `factors` is needed, and not below zero")
    if not row.models or not row.source:
        raise ValueError("`models` and `source` must not be empty")
    if (row.daily_from is None) is not (row.daily_until is None):
        raise ValueError("`daily_from` and `daily_until` belong together")
    if wrong := sorted(set(row.tokens) - set(_TOKENS)):
        raise ValueError(f"no such bucket of tokens: {', '.join(wrong)}; there are {', '.join(_TOKENS)}")


def _token_price(version: str, rates: Mapping[str, Decimal], below: Mapping[str, Decimal] | None = None) -> Price:
    changes: dict[str, Any] = {name: Decimal(rate) for name, rate in {**(below or {}), **rates}.items()}
    return Price(version=version, **changes)


def _sized(rows: Iterable[Mapping[str, Any]], per: int) -> tuple[tuple[str | None, str | None, Decimal], ...]:
    return tuple((row.get("size"), row.get("quality"), Decimal(row["usd"]) / per) for row in rows)


def _over(price: Price, below: Price) -> Price:
    """The first rate card where it says something, else the second."""
    names = (*RATES, "images", "videos", "compute", "factors", "tiers")
    said = {name: told for name in names if (told := getattr(price, name)) is not None and told != ()}
    return msgspec.structs.replace(below, **said)
