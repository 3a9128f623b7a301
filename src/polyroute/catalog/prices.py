"""The price book: the rate card of a target, from published prices that were adopted, else from genai-prices for tokens,
and from our own dated table for units.

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
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from polyroute.catalog.token_prices import TokenPrices, extract, price_at, read_snapshot, write_snapshot
from polyroute.catalog.unit_prices import UnitPrices, complete, read_unit_prices
from polyroute.types.usage import Price

logger = logging.getLogger(__name__)

_TABLE = Path(__file__).with_name("prices.toml")
_PROGRAM = """\
import json, runpy, sys
sys.path[:] = json.loads(sys.argv.pop(1))
runpy.run_module("polyroute.catalog.token_prices", run_name="__main__")
"""
_PATIENCE = 60.0

AdoptedPrices = Mapping[tuple[str, str], Price]
"""Published prices that an operator took over, by (provider, model)."""


class CatalogPrices:
    """Implements `ports.PriceBook`. `snapshot` is the file in which condensed token prices outlive the process; without it
    every process condenses them anew."""

    def __init__(
        self,
        snapshot: Path | None = None,
        clock: Callable[[], float] = time.time,
        adopted: Callable[[], AdoptedPrices] | None = None,
    ) -> None:
        self._snapshot = snapshot
        self._clock = clock
        self._read_adopted = adopted
        self._adopted: AdoptedPrices = {}
        self._tokens: TokenPrices | None = None
        self._units: UnitPrices | None = None
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
                self._adopted = self._adopted_or_none()
                self._tokens = _load_tokens(self._snapshot)

    def _adopted_or_none(self) -> AdoptedPrices:
        """Without the database there are prices all the same; `refresh` makes up for it."""
        if self._read_adopted is None:
            return {}
        try:
            return self._read_adopted()
        except Exception as error:  # noqa: BLE001 - whatever a driver raises
            logger.warning("adopted prices cannot be read (%s): those of the tables hold until they can", error)
            return {}

    def refresh(self) -> bool:
        """Look again which published prices were adopted; whether that changed anything. Raises what the database does."""
        adopted = {} if self._read_adopted is None else self._read_adopted()
        if adopted == self._adopted:
            return False
        self._adopted = adopted
        self._cache = {}
        return True

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
        moment = datetime.fromtimestamp(now, UTC)
        changes = False
        tokens = self._adopted.get((provider, model))
        if tokens is None and (row := self._tokens.find(provider, model)) is not None:
            changes = len(row.periods) > 1
            tokens = price_at(row, moment)
        units = None
        if (unit_row := self._units.find(provider, model)) is not None:
            changes = changes or unit_row.changes
            units = unit_row.price_at(moment)
        # Rate cards change on the minute; one that never does is kept for good.
        until = (now // 60 + 1) * 60 if changes else float("inf")
        if tokens is not None and units is not None:
            return until, complete(tokens, units)
        if units is not None and not units.is_known:
            units = None  # what batches are worth says nothing without a price
        return until, tokens or units


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
