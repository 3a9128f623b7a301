"""The price book: the rate card of a target, from genai-prices for tokens and from our own dated table for units.

The token prices are loaded on first use; `warm` does it beforehand in the background.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import msgspec

from polyroute.catalog.token_prices import Row, TokenPrices, extract, price_at, read_snapshot, write_snapshot
from polyroute.types.usage import Price

logger = logging.getLogger(__name__)

_TABLE = Path(__file__).with_name("prices.toml")
_PROGRAM = """\
import json, runpy, sys
sys.path[:] = json.loads(sys.argv.pop(1))
runpy.run_module("polyroute.catalog.token_prices", run_name="__main__")
"""
_PATIENCE = 60.0
_UNIT_FIELDS = ("second", "character", "request", "image", "images")


class UnitPrice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A row of prices.toml: what these models of a provider cost by unit, in USD, read on `checked` at `source`.

    `images` rows are {size, quality, usd}; a size or quality left out stands for any. `per` says to how many units `usd`
    belongs: 1 for an image or a request, 3600 for an hour told in seconds, 1000000 for a million characters.
    """

    provider: str
    models: tuple[str, ...]
    unit: Literal["second", "character", "request", "image"]
    checked: date
    source: str
    usd: Decimal | None = None
    per: int = 1
    images: tuple[dict[str, Any], ...] = ()


class CatalogPrices:
    """Implements `ports.PriceBook`. `snapshot` is the file in which condensed token prices outlive the process; without it
    every process condenses them anew."""

    def __init__(self, snapshot: Path | None = None, clock: Callable[[], float] = time.time) -> None:
        self._snapshot = snapshot
        self._clock = clock
        self._tokens: TokenPrices | None = None
        self._units: Mapping[tuple[str, str], Price] | None = None
        self._rows: dict[tuple[str, str], Row | None] = {}
        self._cache: dict[tuple[str, str], tuple[float, Price | None]] = {}
        self._loading = threading.Lock()

    @property
    def loaded(self) -> bool:
        """Whether `price` answers at once."""
        return self._tokens is not None

    def warm(self, done: Callable[[], object] | None = None) -> threading.Thread:
        """Load in the background, and then call `done` from there. A thread that is running, for those who wait for it."""

        def run() -> None:
            self.load()
            if done is not None:
                with suppress(RuntimeError):  # the loop that waited is closed
                    done()

        thread = threading.Thread(target=run, name="polyroute-prices", daemon=True)
        thread.start()
        return thread

    def load(self) -> None:
        """Load now: milliseconds with a snapshot, about a second in another process without."""
        with self._loading:
            if self._tokens is None:
                self._units = self._units or read_unit_prices(_TABLE)
                self._tokens = _load_tokens(self._snapshot)

    def price(self, provider: str, model: str) -> Price | None:
        """The rate card that holds now; None when unknown. Another provider's price is never taken for it."""
        now = self._clock()
        cached = self._cache.get((provider, model))
        if cached is not None and now < cached[0]:
            return cached[1]
        if self._tokens is None:
            self.load()
        until, price = self._look_up(provider, model, now)
        self._cache[provider, model] = (until, price)
        return price

    def _look_up(self, provider: str, model: str, now: float) -> tuple[float, Price | None]:
        assert self._tokens is not None
        assert self._units is not None
        row = self._tokens.find(provider, model)
        tokens = None if row is None else price_at(row, datetime.fromtimestamp(now, UTC))
        changes = row is not None and len(row.periods) > 1
        # Rate cards change on the minute; one that never does is kept for good.
        until = (now // 60 + 1) * 60 if changes else float("inf")
        units = self._units.get((provider, model.lower()))
        if tokens is None or units is None:
            return until, tokens or units
        return until, msgspec.structs.replace(
            tokens,
            version=f"{tokens.version}, {units.version}",
            checked=units.checked,
            **{name: getattr(units, name) or getattr(tokens, name) for name in _UNIT_FIELDS},
        )


def read_unit_prices(path: Path) -> Mapping[tuple[str, str], Price]:
    """Our own table by (provider, model id in lower case). Raises ValueError for a row that is not well formed."""
    data = tomllib.loads(path.read_text("utf-8"), parse_float=Decimal)
    prices: dict[tuple[str, str], Price] = {}
    for index, raw in enumerate(data["price"]):
        try:
            row = msgspec.convert(raw, UnitPrice)
            price = _unit_price(row)
        except (msgspec.ValidationError, KeyError, ValueError) as error:
            raise ValueError(f"{path.name}, price {index + 1}: {error}") from error
        for model in row.models:
            if prices.setdefault((row.provider, model.lower()), price) is not price:
                raise ValueError(f"{path.name}: two prices for {row.provider}/{model}")
    return prices


def _unit_price(row: UnitPrice) -> Price:
    version = f"polyroute {row.checked.isoformat()}"
    if row.images:
        images = tuple((size.get("size"), size.get("quality"), Decimal(size["usd"])) for size in row.images)
        return Price(version=version, checked=row.checked, images=images)
    if row.usd is None or row.usd < 0:
        raise ValueError("`usd` or `images` is needed, and not below zero")
    rate = row.usd / row.per
    price = Price(version=version, checked=row.checked)
    match row.unit:
        case "second":
            return msgspec.structs.replace(price, second=rate)
        case "character":
            return msgspec.structs.replace(price, character=rate)
        case "request":
            return msgspec.structs.replace(price, request=rate)
        case "image":
            return msgspec.structs.replace(price, image=rate)


def _load_tokens(snapshot: Path | None) -> TokenPrices:
    if snapshot is not None and (known := read_snapshot(snapshot)) is not None:
        return known
    with tempfile.TemporaryDirectory(prefix="polyroute-") as folder:
        made = Path(folder) / "prices"
        try:
            subprocess.run(  # noqa: S603 - our own interpreter and module
                [sys.executable, "-c", _PROGRAM, json.dumps(sys.path), str(made)],
                check=True,
                capture_output=True,
                timeout=_PATIENCE,
            )
        except (OSError, subprocess.SubprocessError) as error:
            logger.warning("token prices are condensed in this process, which takes memory (%s)", error)
        tokens = read_snapshot(made) or extract()
    if snapshot is not None:
        try:
            write_snapshot(tokens, snapshot)
        except OSError as error:
            logger.warning(
                "token prices cannot be kept in %s (%s): every start will condense them", snapshot, error.strerror
            )
    return tokens
