"""What the ledger has seen of each target: how often it answered, how long that took, and what it cost."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import msgspec

from polyroute.storage.replays import PastRequest
from polyroute.types.errors import ERROR_TABLE

_ENOUGH = 20
"""Answers from which on time is told by length; below, it is their mean."""
_COUNTED = frozenset(str(kind) for kind, rule in ERROR_TABLE.items() if rule.fault in ("provider", "operator"))


def is_failure(error_kind: str | None) -> bool:
    """Whether a failure tells of the target, and not of what a caller did."""
    return error_kind is not None and error_kind in _COUNTED


class Seen(msgspec.Struct):
    """One target in one operation. Seconds of answers, with what is needed to fit them to their tokens."""

    served: int = 0
    failed: int = 0
    seconds: float = 0.0
    failed_seconds: float = 0.0
    fitted: int = 0
    tokens: float = 0.0
    tokens_squared: float = 0.0
    fitted_seconds: float = 0.0
    product: float = 0.0
    priced: int = 0
    cost: Decimal = Decimal(0)
    priced_tokens: int = 0

    @property
    def success(self) -> float:
        """The share of attempts that were answered."""
        return self.served / (self.served + self.failed)

    @property
    def failing_seconds(self) -> float:
        """How long an attempt takes that fails."""
        return self.failed_seconds / self.failed if self.failed else 0.0

    def answering_seconds(self, tokens: int | None) -> float | None:
        """How long an answer of so many tokens takes: by a straight line through what was seen, where that was enough."""
        if not self.served:
            return None
        mean = self.seconds / self.served
        if tokens is None or self.fitted < _ENOUGH:
            return mean
        count = self.fitted
        spread = self.tokens_squared - self.tokens * self.tokens / count
        if spread <= 0:
            return mean
        slope = max(0.0, (self.product - self.tokens * self.fitted_seconds / count) / spread)
        start = max(0.0, (self.fitted_seconds - slope * self.tokens) / count)
        return start + slope * tokens

    def cost_of_tokens(self, tokens: int | None) -> Decimal | None:
        """What so many tokens (or one request, where it has none) cost on average."""
        if not self.priced:
            return None
        if tokens is None or not self.priced_tokens:
            return self.cost / self.priced
        return self.cost / self.priced_tokens * tokens


def observe(requests: Iterable[PastRequest]) -> dict[tuple[str, str], Seen]:
    """What was seen of each (target, operation) in some requests."""
    found: dict[tuple[str, str], Seen] = {}
    for request in requests:
        for attempt in request.attempts:
            if attempt.outcome == "served":
                seen = found.setdefault((attempt.target, request.operation), Seen())
                _note_answer(seen, request, attempt.seconds)
            elif is_failure(attempt.error_kind):
                seen = found.setdefault((attempt.target, request.operation), Seen())
                seen.failed += 1
                seen.failed_seconds += attempt.seconds
    return found


def _note_answer(seen: Seen, request: PastRequest, seconds: float) -> None:
    seen.served += 1
    seen.seconds += seconds
    answered = request.usage.output_total
    if answered is not None:
        seen.fitted += 1
        seen.tokens += answered
        seen.tokens_squared += answered * answered
        seen.fitted_seconds += seconds
        seen.product += answered * seconds
    if request.cost_usd is not None:
        seen.priced += 1
        seen.cost += request.cost_usd
        seen.priced_tokens += (request.usage.input_total or 0) + (answered or 0)
