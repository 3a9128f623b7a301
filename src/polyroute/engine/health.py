"""Watching what becomes of attempts: a ledger in front of the ledger, which counts what passes through.

On a request's way one reference is kept; the counting is done by the block, and what was counted is in a form that other
workers can read.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from polyroute.ports import Ledger
from polyroute.routing.health import FAILED, OTHER, SERVED, ProviderWindows, bucket_of
from polyroute.types.errors import ERROR_TABLE, ErrorKind
from polyroute.types.health import AttemptTotals, LastError, Totals
from polyroute.types.records import AttemptRecord, RequestRecord

_BLOCK = 32
"""Requests that are counted at once. Larger blocks take longer: their records have left the processor's caches by then."""
_MOST_KEYS = 4096

_MEANING = {
    kind.value: FAILED if rule.counts or kind in (ErrorKind.CREDENTIAL_REJECTED, ErrorKind.QUOTA_EXHAUSTED) else OTHER
    for kind, rule in ERROR_TABLE.items()
}


_QUICK_MS = 1024
_QUICK = [bucket_of(quarter / 4 + 0.125) for quarter in range(_QUICK_MS * 4)]
"""Buckets by quarters of a millisecond: the logarithm of nearly every latency."""


class _Sums:
    """What attempts that ended alike add up to."""

    __slots__ = ("cost", "count", "given", "milliseconds", "taken")

    def __init__(self) -> None:
        self.count = self.taken = self.given = 0
        self.milliseconds = self.cost = 0.0


class HealthRecorder:
    """Implements `ports.Ledger`. `windows` are by provider."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._fresh: list[RequestRecord] = []
        self.windows: dict[str, ProviderWindows] = {}
        self.totals = Totals()

    def record(self, entry: RequestRecord) -> None:
        """Hand it on, and remember it until the next block is counted."""
        self._ledger.record(entry)
        fresh = self._fresh
        fresh.append(entry)
        if len(fresh) >= _BLOCK:
            self.count()

    def note_unmetered(self) -> None:
        """A request was not written down, because the journal was full."""
        self.totals.unmetered += 1

    def count(self) -> None:
        """Count what has come since the last time."""
        fresh, self._fresh = self._fresh, []
        now = time.time()
        requests: dict[tuple[str, str], int] = {}
        ends: dict[tuple[str, str, str, int, int | None], _Sums] = {}
        kind: str
        ttft: int | None
        for entry in fresh:
            operation, streamed = entry.operation, entry.stream
            settled = (operation, entry.status)
            requests[settled] = requests.get(settled, 0) + 1
            for attempt in entry.attempts:
                took = attempt.duration_ms
                latency = _QUICK[int(took * 4)] if 0.0 <= took < _QUICK_MS else bucket_of(took)
                if attempt.outcome != "served":
                    kind, ttft = attempt.error_kind or attempt.outcome, None
                    if _MEANING.get(kind) == FAILED:
                        self._note_error(attempt, kind)
                else:
                    kind, ttft = "", _ttft(entry, attempt) if streamed else None
                end = (attempt.provider, operation, kind, latency, ttft)
                sums = ends.get(end)
                if sums is None:
                    sums = ends[end] = _Sums()
                sums.count += 1
                sums.milliseconds += took
                if not kind:
                    sums.taken += attempt.input_tokens or 0
                    sums.given += attempt.output_tokens or 0
                    if entry.cost_usd is not None:
                        sums.cost += float(entry.cost_usd)
        totals = self.totals
        for (operation, status), count in requests.items():
            key = f"{operation}\t{status}"
            totals.requests[key] = totals.requests.get(key, 0) + count
        for (provider, operation, kind, latency, ttft), sums in ends.items():
            self._add(now, provider, operation, kind, latency, ttft, sums.count, sums.milliseconds / 1000.0)
            key = f"{provider}\t{operation}"
            totals.tokens_in[key] = totals.tokens_in.get(key, 0) + sums.taken
            totals.tokens_out[key] = totals.tokens_out.get(key, 0) + sums.given
            totals.cost_usd[key] = totals.cost_usd.get(key, 0.0) + sums.cost

    def _add(
        self, now: float, provider: str, operation: str, kind: str, latency: int, ttft: int | None, count: int,
        seconds: float,
    ) -> None:  # fmt: skip
        windows = self._windows(provider)
        windows.add(now, SERVED if not kind else _MEANING.get(kind, OTHER), latency=latency, ttft=ttft, count=count)
        key = f"{provider}\t{operation}\t{'served' if not kind else 'failed'}\t{kind}"
        attempts = self.totals.attempts.setdefault(key, AttemptTotals())
        attempts.count += count
        attempts.seconds += seconds
        attempts.latency[latency] = attempts.latency.get(latency, 0) + count
        if ttft is not None:
            first = self.totals.ttft.setdefault(f"{provider}\t{operation}", AttemptTotals())
            first.count += count
            first.latency[ttft] = first.latency.get(ttft, 0) + count

    def _windows(self, provider: str) -> ProviderWindows:
        found = self.windows.get(provider)
        if found is None:
            if len(self.windows) >= _MOST_KEYS:
                self.windows.clear()
            found = self.windows[provider] = ProviderWindows()
        return found

    def _note_error(self, attempt: AttemptRecord, kind: str) -> None:
        at = attempt.started_at + attempt.duration_ms / 1000.0
        self._windows(attempt.provider).last_error = LastError(
            at=at, kind=kind, message=attempt.error_message or "", http_status=attempt.http_status
        )

    def resume(self, windows: Mapping[str, ProviderWindows], totals: Totals) -> None:
        """Go on from what an earlier run of this worker had counted."""
        self.windows = dict(windows)
        self.totals = totals


def _ttft(entry: RequestRecord, attempt: AttemptRecord) -> int | None:
    """The bucket of the time from the attempt's beginning to its first content."""
    if entry.ttft_ms is None:
        return None
    return bucket_of(entry.ttft_ms - (attempt.started_at - entry.created_at) * 1000.0)
