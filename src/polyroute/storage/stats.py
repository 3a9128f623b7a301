"""What the ledger says of each provider, by category."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from polyroute.ports import ProviderStats
from polyroute.storage.database import Database, Driver
from polyroute.storage.values import MONEY_SCALE
from polyroute.types.errors import ERROR_TABLE
from polyroute.types.operations import CATEGORY_OF, Category

_EXCUSES = frozenset(str(kind) for kind, rule in ERROR_TABLE.items() if rule.fault not in ("provider", "operator"))
"""Kinds of failure that do not tell of the provider or of our account with it: what a caller did wrong or gave up."""

_CATEGORIES: dict[str, Category] = {str(operation): category for operation, category in CATEGORY_OF.items()}


class _Tally(msgspec.Struct):
    successes: int = 0
    failures: int = 0
    cost: float = 0.0
    priced: int = 0
    unpriced: int = 0
    duration: float = 0.0


class LedgerStats:
    """Implements `ports.LedgerReader`. Attempts count, not requests: one that failed at a provider and was served by the
    next is a failure of the first and a success of the second.

    Simulated attempts are left out unless `simulated`, which is for a gateway whose providers are all simulated.
    """

    def __init__(self, database: Database, *, simulated: bool = False) -> None:
        self._database = database
        self._simulated = simulated

    def provider_stats(self) -> Sequence[ProviderStats]:
        """Requests and cost by category and provider over the whole ledger."""
        driver = self._database.connect()
        try:
            rows = driver.execute(*_query(driver, self._simulated)).fetchall()
        finally:
            driver.close()
        tallies: dict[tuple[Category, str], _Tally] = {}
        for operation, provider, outcome, error_kind, count, cost, priced, duration in rows:
            category = _CATEGORIES.get(operation)
            if category is None:
                continue  # written by a version that knows more operations
            tally = tallies.setdefault((category, provider), _Tally())
            tally.priced += priced
            tally.cost += float(cost or 0)
            if outcome == "served":
                tally.successes += count
                tally.unpriced += count - priced
                tally.duration += duration
            elif outcome == "failed" and error_kind not in _EXCUSES:
                tally.failures += count
        return [_stats(category, provider, tally) for (category, provider), tally in sorted(tallies.items())]


def _stats(category: Category, provider: str, tally: _Tally) -> ProviderStats:
    nothing_known = tally.priced == 0 and tally.unpriced > 0
    return ProviderStats(
        category=category,
        provider=provider,
        requests=tally.successes + tally.failures,
        successes=tally.successes,
        failures=tally.failures,
        total_cost=None if nothing_known else round(tally.cost, MONEY_SCALE),
        unpriced=tally.unpriced,
        avg_time=tally.duration / tally.successes if tally.successes else None,
    )


_SELECT = """
SELECT operation, provider, outcome, error_kind,
CAST(SUM(attempts) AS BIGINT), SUM(cost_usd), CAST(SUM(priced) AS BIGINT), SUM(duration_ms)
FROM attempt_totals {where} GROUP BY operation, provider, outcome, error_kind
"""


def _query(driver: Driver, simulated: bool) -> tuple[str, list[bool]]:
    """Answered from the running totals, whose rows are a few for each day."""
    if simulated:
        return _SELECT.format(where=""), []
    return driver.sql(_SELECT.format(where="WHERE simulated = ?")), [False]
