"""A worker's slice of one budget's window: what it may still admit without asking the database."""

from __future__ import annotations

import asyncio

from polyroute.ports import Headers
from polyroute.routing.windows import iso_moment
from polyroute.types.budgets import Budget, Grant, WindowState

_SHARE = 8
"""A slice takes at most this part of what is free: those that follow get smaller, so that little lies idle at the end."""
_REQUESTS = 1000
"""For how many requests a slice is made."""
_SCARCE = 20
"""When less than this part of the budget is free, nothing is leased ahead and what lies idle is given back."""


class Slice:
    """Counts in units; belongs to the event loop. What the worker holds is `available`, `reserved` by requests under way, and
    charges on their way into the database."""

    __slots__ = (
        "_recent", "_taken", "alive_until", "available", "budget", "end", "idle", "known", "labels", "leasing", "reserved",
        "start", "state", "told", "waiting",
    )  # fmt: skip

    def __init__(self, budget: Budget, start: int, end: int | None) -> None:
        self.budget = budget
        self.start = start
        self.end = float("inf") if end is None else float(end)
        self.available = 0
        self.reserved = 0
        self.labels: Headers = [(b"x-polyroute-budget", budget.id.encode("ascii", "backslashreplace"))]
        """The headers that stay the same for as long as the window lasts."""
        if end is not None:
            self.labels.append((b"x-polyroute-budget-renews", iso_moment(end, budget.time_zone).encode()))
        self.waiting = 0
        """Units that requests wait for."""
        self.state = WindowState()
        """The window when the database was last asked."""
        self.known = False
        """Whether the database was ever asked."""
        self.alive_until = 0.0
        """Monotonic time until which nobody can have ended the lease."""
        self.leasing: asyncio.Task[Grant | None] | None = None
        self.told = False
        self.idle = 0
        """Rounds in which nothing was taken."""
        self._taken = False
        self._recent = (0, 0)  # charges of this round and the one before, which the state may lack

    @property
    def key(self) -> tuple[str, int]:
        """What the database knows it by."""
        return self.budget.id, self.start

    @property
    def free(self) -> int:
        """Units that nobody held or had spent when the database was last asked."""
        return max(0, self.budget.limit - self.state.spent - self.state.leased)

    @property
    def spent(self) -> int:
        """About what the window has spent: never less than the database knew, and what this worker charged since."""
        return self.state.spent + sum(self._recent)

    @property
    def remaining(self) -> int:
        """Units that this worker knows it could still admit."""
        if not self.budget.hard:
            return max(0, self.budget.limit - self.spent)
        return self.free + max(0, self.available)

    @property
    def scarce(self) -> bool:
        """Whether little is left, so that it must not lie idle with one worker."""
        return self.free < self.budget.limit // _SCARCE

    def is_soft(self) -> bool:
        """Whether the soft limit is reached."""
        budget = self.budget
        return budget.soft_limit is not None and self.spent >= budget.soft_limit * budget.limit

    def take(self, units: int, now: float) -> bool:
        """Reserve, if the slice has that much; `now` is monotonic."""
        if units > self.available or now >= self.alive_until:
            return False
        self.available -= units
        self.reserved += units
        self._taken = True
        return True

    def settle(self, held: int, spent: int) -> int:
        """A request ends that reserved `held` and spent so much; gives what of its reservation is spent."""
        self.reserved -= held
        used = min(held, spent)
        self.available += held - used
        if spent:
            self._recent = (self._recent[0] + spent, self._recent[1])
        return used

    def wish(self, needed: int) -> int:
        """How much to lease for a request that needs so much more, with those that wait and some that will come."""
        ahead = 0 if self.scarce else min(self.free // _SHARE, _REQUESTS * needed)
        return max(needed, self.waiting - self.available, needed + ahead)

    def receive(self, grant: Grant, alive_until: float) -> None:
        """What the database granted; what was there before is gone if somebody ended the lease."""
        self.available = min(self.available + grant.granted, grant.state.own)
        self.state = grant.state
        self.known = True
        self.alive_until = max(self.alive_until, alive_until)

    def look(self, state: WindowState, alive_until: float) -> None:
        """What the database says in a round. A lease that somebody ended is no longer there to take from."""
        self.state = state
        self.known = True
        self.alive_until = alive_until
        self.available = min(self.available, state.own)
        self._recent = (0, self._recent[0])
        self.idle = 0 if self._taken else self.idle + 1
        self._taken = False

    def surplus(self, now: float, *, longest_idle: int) -> int:
        """Units to give back: of a window that is over, of a budget that is nearly used up, or that nobody used lately."""
        if self.available <= 0 or self.leasing is not None or self.waiting:
            return 0
        over = now >= self.end or not self.budget.hard
        return self.available if over or self.idle >= longest_idle or (self.scarce and self.idle) else 0
