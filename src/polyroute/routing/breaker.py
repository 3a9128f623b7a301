"""One circuit breaker: closed → open → half_open, with the clock handed in.

A breaker opens in one of three ways:

- **low traffic**: `failures` in a row while the window holds fewer than `minimum` samples;
- **failure rate**: at least `failure_rate` of at least `minimum` samples within `window` seconds failed;
- **outage under load**: `minimum` failures in a row, however many successes the window still remembers.

A bare "three in a row" rule would not do: with 5 % random failures a run of three comes once in 8,000 requests, so a busy,
healthy provider would be switched off several times an hour. The run therefore only counts where there is no rate to judge.

All times are seconds on one clock that the caller chooses; states that are stored or shared need the epoch clock.
"""

from __future__ import annotations

from typing import Literal

import msgspec

State = Literal["closed", "open", "half_open"]

_BUCKETS = 10
_LONGEST_RETRY_AFTER = 3600.0
"""A provider's Retry-After beyond this is not believed: seconds."""


class BreakerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a breaker opens and for how long. Durations in seconds.

    `cooldown` doubles with every opening that follows soon after the last one, up to `longest_cooldown`. While half open,
    one request at a time is let through; when nothing was heard of it after `probe_lease`, the next one is.
    """

    failures: int = 3
    failure_rate: float = 0.5
    minimum: int = 20
    window: float = 60.0
    cooldown: float = 60.0
    longest_cooldown: float = 900.0
    probe_lease: float = 10.0

    def __post_init__(self) -> None:
        if self.failures < 1 or self.minimum < 1:
            raise ValueError("a breaker's `failures` and `minimum` must be at least 1")
        if not 0 < self.failure_rate <= 1:
            raise ValueError("a breaker's `failure_rate` must be above 0 and at most 1")
        if self.window <= 0 or self.cooldown <= 0 or self.probe_lease <= 0:
            raise ValueError("a breaker's `window`, `cooldown` and `probe_lease` must be above 0 seconds")
        if self.longest_cooldown < self.cooldown:
            raise ValueError("a breaker's `longest_cooldown` must not be shorter than its `cooldown`")


class BreakerSnapshot(msgspec.Struct, frozen=True, array_like=True):
    """A breaker's state for storage, for other workers and for operators. `until` is when it next lets a request through,
    `changed_at` when `state` began, `cause` what opened it or made it rest."""

    state: State
    until: float
    changed_at: float
    openings: int = 0
    cooldown: float = 0.0
    consecutive: int = 0
    cause: str | None = None


class Breaker:
    """The state machine for one (provider, operation) or (provider, operation, model).

    Whatever the state, requests are refused exactly until `until`: the end of a cooldown when open, of the running
    probe's lease when half open, of a rest that a rate limit asked for when closed.
    """

    __slots__ = (
        "_bad",
        "_bucket_ends",
        "_current",
        "_failed",
        "_fresh",
        "_good",
        "_samples",
        "_scale",
        "cause",
        "changed_at",
        "consecutive",
        "cooldown",
        "openings",
        "settings",
        "state",
        "until",
    )

    def __init__(self, settings: BreakerSettings) -> None:
        self.settings = settings
        self.state: State = "closed"
        self.until = 0.0
        self.changed_at = 0.0
        self.openings = 0
        self.cooldown = 0.0
        self.consecutive = 0
        self.cause: str | None = None
        self._scale = _BUCKETS / settings.window
        self._forget()

    # ------------------------------------------------------------ questions

    def allows(self, now: float) -> bool:
        """Whether a request may be sent now; changes nothing."""
        return now >= self.until

    def restricts(self, now: float) -> bool:
        """Whether this breaker is anything but closed and at ease."""
        return self.state != "closed" or now < self.until

    @property
    def samples(self) -> int:
        """How many outcomes the window holds, as of the last event."""
        return self._samples + self._fresh

    @property
    def failure_rate(self) -> float | None:
        """The share of failures in the window, as of the last event; None when it is empty."""
        return self._failed / self.samples if self.samples else None

    # ------------------------------------------------------------ events

    def begin(self, now: float) -> bool:
        """A request is about to be sent. False when it must not be: another one took the half-open place."""
        if now < self.until:
            return False
        if self.state != "closed":
            if self.state == "open":
                self.state, self.changed_at = "half_open", now
            self.until = now + self.settings.probe_lease
        return True

    def release(self, now: float) -> None:
        """A request ended without saying anything about the provider (the caller left): its probe's place is free."""
        if self.state == "half_open":
            self.until = now

    def succeed(self, now: float, started: float | None = None) -> None:
        """A request that was `started` then has succeeded. One that began before the state changed is old news."""
        if started is not None and started < self.changed_at:
            return
        if self.state != "closed":
            self._close(now)
        self.consecutive = 0
        if now >= self._bucket_ends:
            self._advance(int(now * self._scale))
        self._fresh += 1

    def fail(
        self, now: float, started: float | None = None, retry_after: float | None = None, cause: str | None = None
    ) -> None:
        """A request that was `started` then has failed, and the provider is to blame."""
        if started is not None and started < self.changed_at:
            return
        if self.state == "open" and now < self.until:  # a forced probe: it neither reopens nor lengthens, save as asked
            if retry_after is not None:
                self.until = max(self.until, now + min(retry_after, _LONGEST_RETRY_AFTER))
            return
        self.consecutive += 1
        if now >= self._bucket_ends:
            self._advance(int(now * self._scale))
        self._bad[self._current % _BUCKETS] += 1
        self._samples += 1
        self._failed += 1
        if self.state != "closed" or self._is_enough():
            self._open(now, retry_after, cause)

    def rest(self, now: float, seconds: float, cause: str | None = None) -> None:
        """The provider asked for a pause (Retry-After): send nothing for so long, without opening."""
        until = now + min(seconds, _LONGEST_RETRY_AFTER)
        if until > self.until:
            self.until, self.cause = until, cause

    def reset(self, now: float) -> None:
        """An operator's order: closed, with a clean slate."""
        self._close(now)
        self.openings, self.cooldown = 0, 0.0

    # ------------------------------------------------------------ storage and sharing

    def snapshot(self) -> BreakerSnapshot:
        """The state as a value. The window's counts stay behind: they are stale by the time anyone reads them."""
        return BreakerSnapshot(
            self.state, self.until, self.changed_at, self.openings, self.cooldown, self.consecutive, self.cause
        )

    def adopt(self, snapshot: BreakerSnapshot, now: float) -> bool:
        """Take over a state that another worker, or an earlier run, came to later than this one. True when taken over.

        A clock that was set back cannot lock a provider out: no wait is longer than the longest that exists.
        """
        if snapshot.changed_at < self.changed_at or (
            snapshot.changed_at == self.changed_at and snapshot.until <= self.until
        ):
            return False
        longest = max(self.settings.longest_cooldown, _LONGEST_RETRY_AFTER)
        self.state = snapshot.state
        self.until = min(snapshot.until, now + longest)
        self.changed_at = min(snapshot.changed_at, now)
        self.openings, self.cooldown = snapshot.openings, snapshot.cooldown
        self.consecutive, self.cause = snapshot.consecutive, snapshot.cause
        self._forget()
        return True

    # ------------------------------------------------------------ inside

    def _is_enough(self) -> bool:
        settings = self.settings
        samples = self.samples
        if samples < settings.minimum:
            return self.consecutive >= settings.failures
        return self._failed >= settings.failure_rate * samples or self.consecutive >= settings.minimum

    def _open(self, now: float, retry_after: float | None, cause: str | None) -> None:
        settings = self.settings
        if self.state == "closed" and now - self.changed_at >= max(settings.window, self.cooldown):
            self.openings = 0
        self.openings += 1
        # The exponent is bounded: past it the cooldown is at its longest anyway, and floats overflow.
        grown: float = settings.cooldown * 2.0 ** min(self.openings - 1, 60)
        self.cooldown = min(grown, settings.longest_cooldown)
        wait = max(self.cooldown, min(retry_after or 0.0, _LONGEST_RETRY_AFTER))
        rest = self.until if self.state == "closed" else 0.0
        self.state, self.changed_at, self.cause = "open", now, cause
        self.until = max(rest, now + wait)
        self._forget()

    def _close(self, now: float) -> None:
        self.state, self.until, self.changed_at, self.cause, self.consecutive = "closed", now, now, None, 0
        self._forget()

    def _forget(self) -> None:
        self._good = [0] * _BUCKETS
        self._bad = [0] * _BUCKETS
        self._samples = self._failed = 0
        self._fresh = 0
        self._current = 0
        self._bucket_ends = 0.0

    def _advance(self, number: int) -> None:
        """Move the window on to bucket `number`. A clock that runs backwards never gets here: it stays in its bucket."""
        if number - self._current >= _BUCKETS:
            self._forget()
        else:
            self._good[self._current % _BUCKETS] += self._fresh
            self._samples += self._fresh
            self._fresh = 0
            for passed in range(self._current + 1, number + 1):
                slot = passed % _BUCKETS
                self._samples -= self._good[slot] + self._bad[slot]
                self._failed -= self._bad[slot]
                self._good[slot] = self._bad[slot] = 0
        self._current = number
        self._bucket_ends = (number + 1) / self._scale
