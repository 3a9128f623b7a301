"""How often a route hedges: the speed of its targets, and how many second requests it may still send."""

from __future__ import annotations

from collections import deque

from polyroute.catalog.model import Hedge
from polyroute.routing.retry import RetryBudget
from polyroute.types.plans import Target

_SAMPLES = 200
_ENOUGH = 20
"""Observed answers before their 95th percentile means something."""
_RESERVE = 10.0
"""Hedges that a quiet route can save up."""


class Hedging:
    """One route's hedging."""

    def __init__(self, hedge: Hedge) -> None:
        self._after = hedge.after
        self._budget = RetryBudget(ratio=hedge.share, floor=0.0, reserve=max(1.0, _RESERVE * hedge.share))
        self._seconds: dict[Target, deque[float]] = {}

    def patience(self, target: Target) -> float | None:
        """Seconds after which a second target is asked; None while the first one's usual time is not known. Counts a
        request of the route."""
        self._budget.deposit()
        if self._after is not None:
            return self._after
        seen = self._seconds.get(target)
        if seen is None or len(seen) < _ENOUGH:
            return None
        return sorted(seen)[int(len(seen) * 0.95)]

    def observe(self, target: Target, seconds: float) -> None:
        """A target gave a whole answer."""
        if self._after is None:
            self._seconds.setdefault(target, deque(maxlen=_SAMPLES)).append(seconds)

    def withdraw(self) -> bool:
        """Whether one more second request may be sent."""
        return self._budget.withdraw(0.0)
