"""Running totals of attempts, added up beside the rows that they count."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from polyroute.storage.rows import cost_of
from polyroute.storage.values import day_text, money_text
from polyroute.types.records import RequestRecord

TOTALS_KEY = ("day", "operation", "provider", "outcome", "error_kind", "simulated")
"""What attempts are counted by. `error_kind` is empty where there was no error."""

TOTALS_SUMS = ("attempts", "priced", "cost_usd", "duration_ms")
"""What is added up; `priced` counts those whose cost is known."""

UPSERT = (
    f"INSERT INTO attempt_totals ({','.join(TOTALS_KEY + TOTALS_SUMS)}) "  # noqa: S608 - names of our own
    f"VALUES ({','.join('?' * len(TOTALS_KEY + TOTALS_SUMS))}) ON CONFLICT ({','.join(TOTALS_KEY)}) DO UPDATE SET "
    + ", ".join(f"{name} = attempt_totals.{name} + excluded.{name}" for name in TOTALS_SUMS)
)
"""Adds to a total, or begins it."""


class Totals:
    """The sums of one transaction."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str, str, str, str, str, bool], tuple[int, int, Decimal, float]] = {}

    def add(self, records: Iterable[RequestRecord]) -> None:
        """Count the attempts of requests that the database did not have."""
        sums = self._sums
        for record in records:
            for attempt in record.attempts:
                key = (
                    day_text(attempt.started_at),
                    record.operation,
                    attempt.provider,
                    attempt.outcome,
                    attempt.error_kind or "",
                    record.simulated,
                )
                count, priced, money, duration = sums.get(key) or (0, 0, Decimal(0), 0.0)
                cost = cost_of(record, attempt)
                if cost is not None:
                    priced, money = priced + 1, money + cost
                sums[key] = (count + 1, priced, money, duration + attempt.duration_ms)

    def rows(self) -> list[tuple[str | int | float, ...]]:
        """The parameters of UPSERT, in one order for all writers, so that two of them cannot wait for each other."""
        return [
            (*key, count, priced, money_text(money), duration)
            for key, (count, priced, money, duration) in sorted(self._sums.items())
        ]
