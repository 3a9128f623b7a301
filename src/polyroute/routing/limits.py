"""Rate limits as state machines with the clock handed in: requests and tokens a minute, and requests at once.

Nothing counts down by itself and nothing leaks: windows pass, buckets fill, and a lease that is never given back expires.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from polyroute.types.limits import Limits

LimitName = Literal["requests", "tokens", "concurrency", "credentials"]

_MINUTE = 60.0


class Minute(msgspec.Struct, frozen=True, array_like=True):
    """What a window knows, to outlive its process: when it began, what was counted in it, and in the one before."""

    start: float
    count: float
    before: float


class SlidingWindow:
    """At most `limit` within any `seconds`, by two counters: the last window's counts as if it had been even.

    An amount above the limit passes when the window is empty; otherwise it never would.
    """

    __slots__ = ("_before", "_count", "_start", "_told", "_told_until", "limit", "seconds")

    def __init__(self, limit: float, seconds: float = _MINUTE) -> None:
        if limit <= 0 or seconds <= 0:
            raise ValueError("a window's limit and length must be above 0")
        self.limit, self.seconds = limit, seconds
        self._start = self._count = self._before = 0.0
        self._told: float | None = None
        self._told_until = 0.0

    def used(self, now: float) -> float:
        """What counts against the limit now."""
        self._advance(now)
        left = 1.0 - max(now - self._start, 0.0) / self.seconds
        return self._count + self._before * left

    def remaining(self, now: float) -> float:
        """What can still be taken, by our count and by what the provider told."""
        left = max(self.limit - self.used(now), 0.0)
        return left if self._told is None else min(left, self._told)

    def wait(self, amount: float, now: float) -> float:
        """Seconds until `amount` can be taken; 0 when it can be now."""
        amount = min(amount, self.limit)
        used = self.used(now)
        if self._told is not None and amount > self._told:
            return self._told_until - now
        excess = used + amount - self.limit
        if excess <= 1e-9:
            return 0.0
        if self._count + amount <= self.limit:  # the last window's share only has to fade
            return excess / self._before * self.seconds if self._before else 0.0
        faded = (self.limit - amount) / self._count  # the share of this window that may still count in the next one
        return max(self._start + self.seconds * (2.0 - faded) - now, 0.0)

    def take(self, amount: float, now: float) -> bool:
        """Count it, if it fits."""
        if self.wait(amount, now) > 0:
            return False
        self._count += amount
        if self._told is not None:
            self._told -= amount
        return True

    def reset(self, now: float) -> float:
        """Seconds until everything can be taken again, if nothing is until then."""
        self._advance(now)
        told = self._told_until - now if self._told is not None else 0.0
        windows = 2.0 if self._count > 0 else 1.0 if self._before > 0 else 0.0
        return max(told, self._start + windows * self.seconds - now if windows else 0.0)

    def correct(self, difference: float, now: float) -> None:
        """What was taken turned out to be so much more (or less, when below 0)."""
        self._advance(now)
        self._count = max(self._count + difference, 0.0)

    def learn(self, remaining: float, reset_after: float, now: float) -> None:
        """The provider's own count (rate-limit headers): so much is left for so many seconds. It can only tighten."""
        self._told, self._told_until = max(remaining, 0.0), now + max(reset_after, 0.0)

    def kept(self, now: float) -> Minute | None:
        """What is known; None when that is nothing."""
        self._advance(now)
        return Minute(self._start, self._count, self._before) if self._count or self._before else None

    def resume(self, minute: Minute, now: float) -> None:
        """Go on from what was known."""
        self._start, self._count, self._before = min(minute.start, now), minute.count, minute.before

    def _advance(self, now: float) -> None:
        if self._told is not None and now >= self._told_until:
            self._told = None
        passed = int((now - self._start) / self.seconds)
        if passed > 0:
            self._before = self._count if passed == 1 else 0.0
            self._count = 0.0
            self._start += passed * self.seconds


class Leases:
    """At most `limit` holders at once. A lease that is never released expires after `seconds`."""

    __slots__ = ("_expiries", "limit", "seconds")

    def __init__(self, limit: int, seconds: float = 900.0) -> None:
        if limit < 1 or seconds <= 0:
            raise ValueError("leases need a limit of at least 1 and a length above 0")
        self.limit, self.seconds = limit, seconds
        self._expiries: dict[str, float] = {}

    def acquire(self, holder: str, now: float) -> bool:
        """Hold a place, or go on holding it. False when all are taken."""
        self._drop_expired(now)
        if holder not in self._expiries and len(self._expiries) >= self.limit:
            return False
        self._expiries.pop(holder, None)  # so that the oldest expiry stays first
        self._expiries[holder] = now + self.seconds
        return True

    def release(self, holder: str) -> None:
        """Give the place back; may be called any number of times."""
        self._expiries.pop(holder, None)

    def in_use(self, now: float) -> int:
        """Places that are taken."""
        self._drop_expired(now)
        return len(self._expiries)

    def wait(self, now: float) -> float:
        """Seconds until a place is surely free; 0 when one is now."""
        self._drop_expired(now)
        if len(self._expiries) < self.limit:
            return 0.0
        return max(next(iter(self._expiries.values())) - now, 0.0)

    def _drop_expired(self, now: float) -> None:
        while self._expiries:
            holder, expiry = next(iter(self._expiries.items()))
            if expiry > now:
                return
            del self._expiries[holder]


class Refused(msgspec.Struct, frozen=True):
    """A limit that is reached, and the seconds until it makes sense to ask again."""

    limit: LimitName
    retry_after: float


class Remaining(msgspec.Struct, frozen=True, kw_only=True):
    """What is left, for `x-ratelimit-*` headers; None is without limit."""

    requests: int | None
    tokens: int | None
    concurrency: int | None


class Spent(msgspec.Struct, frozen=True, array_like=True):
    """What one process has let through so far, and what it has under way: for the other workers of the machine."""

    requests: int = 0
    tokens: int = 0
    under_way: int = 0


Minutes = tuple[Minute | None, Minute | None]
"""Of requests and of tokens."""


class Limiter:
    """The limits of one key, route, provider or credential. A refusal takes nothing from any of them."""

    __slots__ = ("_elsewhere", "_leases", "_requests", "_spent_requests", "_spent_tokens", "_tokens", "limits")

    def __init__(self, limits: Limits, *, lease: float = 900.0) -> None:
        """`lease`: seconds after which a request that never ended no longer counts as under way."""
        self.limits = limits
        requests, tokens, concurrency = limits.requests_per_minute, limits.tokens_per_minute, limits.concurrency
        self._requests = None if requests is None else SlidingWindow(requests)
        self._tokens = None if tokens is None else SlidingWindow(tokens)
        self._leases = None if concurrency is None else Leases(concurrency, lease)
        self._spent_requests = self._spent_tokens = self._elsewhere = 0

    def admit(self, holder: str, tokens: int, now: float) -> Refused | None:
        """Count a request of about so many tokens; None when it may go on."""
        refused = self.check(tokens, now)
        if refused is not None:
            return refused
        if self._leases is not None:
            self._leases.acquire(holder, now)
        if self._requests is not None:
            self._requests.take(1, now)
        if self._tokens is not None:
            self._tokens.take(tokens, now)
        self._spent_requests += 1
        self._spent_tokens += tokens
        return None

    def check(self, tokens: int, now: float) -> Refused | None:
        """What stands in the way of one more request of about so many tokens; None when it may go on."""
        windows, wanted, leases = self._requests, self._tokens, self._leases
        if windows is not None and (seconds := windows.wait(1, now)) > 0:
            return Refused("requests", seconds)
        if wanted is not None and (seconds := wanted.wait(tokens, now)) > 0:
            return Refused("tokens", seconds)
        if leases is not None and leases.in_use(now) + self._elsewhere >= leases.limit:
            return Refused("concurrency", min(leases.wait(now), 1.0) or 1.0)
        return None

    def settle(self, holder: str, now: float, *, estimated: int = 0, actual: int | None = None) -> None:
        """An admitted request ended; its true tokens replace the estimate where they are known."""
        if self._leases is not None:
            self._leases.release(holder)
        if actual is not None:
            self._spent_tokens += actual - estimated
            if self._tokens is not None:
                self._tokens.correct(actual - estimated, now)

    def learn(self, limit: Literal["requests", "tokens"], remaining: float, reset_after: float, now: float) -> None:
        """A provider's own count of what is left; without a configured limit there is nothing to tighten."""
        window = self._requests if limit == "requests" else self._tokens
        if window is not None:
            window.learn(remaining, reset_after, now)

    def spent(self, now: float) -> Spent:
        """What went through here, for other workers."""
        under_way = 0 if self._leases is None else self._leases.in_use(now)
        return Spent(self._spent_requests, self._spent_tokens, under_way)

    def kept(self, now: float) -> Minutes:
        """What the running minute knows, to outlive this process."""
        requests, tokens = self._requests, self._tokens
        return (None if requests is None else requests.kept(now), None if tokens is None else tokens.kept(now))

    def resume(self, minutes: Minutes, now: float) -> None:
        """Go on from what an earlier process knew."""
        for window, minute in zip((self._requests, self._tokens), minutes, strict=True):
            if window is not None and minute is not None:
                window.resume(minute, now)

    def count_elsewhere(self, requests: int, tokens: int, under_way: int, now: float) -> None:
        """Other workers let so much more through since the last time, and have so many requests under way now."""
        self._elsewhere = under_way
        if self._requests is not None and requests:
            self._requests.correct(requests, now)
        if self._tokens is not None and tokens:
            self._tokens.correct(tokens, now)

    def reset(self, limit: Literal["requests", "tokens"], now: float) -> float:
        """Seconds until a limit is whole again, if nothing is used until then."""
        window = self._requests if limit == "requests" else self._tokens
        return 0.0 if window is None else window.reset(now)

    def remaining(self, now: float) -> Remaining:
        """What is left now."""
        leases = self._leases
        return Remaining(
            requests=None if self._requests is None else int(self._requests.remaining(now)),
            tokens=None if self._tokens is None else int(self._tokens.remaining(now)),
            concurrency=None if leases is None else max(leases.limit - leases.in_use(now) - self._elsewhere, 0),
        )
