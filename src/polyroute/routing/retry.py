"""After a failed attempt: the same target again, another credential, the next target, or the end."""

from __future__ import annotations

from typing import Literal

import msgspec

from polyroute.types.errors import ErrorKind, ErrorRule, Failure

Restriction = Literal["any", "other_model", "longer_context", "other_filter"]


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How patient a route is. Durations in seconds.

    `retries` counts further tries of the same target. The n-th waits between half and all of `backoff · 2^(n-1)`, at most
    `longest_backoff`. While other targets are left, nobody waits longer than `patience` for this one, whatever its
    Retry-After says. `filtered_falls_over`: a refusal by a provider's content filter may go to the next target.
    """

    retries: int = 1
    backoff: float = 0.25
    longest_backoff: float = 8.0
    patience: float = 1.0
    filtered_falls_over: bool = False


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """How far a request has come: tries of the present target (the failed one included), and what is left."""

    on_target: int
    targets_left: int
    credentials_left: int = 0


class SameTarget(msgspec.Struct, frozen=True):
    """Try the same target again after so many seconds."""

    after: float


class NextCredential(msgspec.Struct, frozen=True):
    """Try the same target at once with the next credential; the present one is benched."""


class NextTarget(msgspec.Struct, frozen=True):
    """Go on with the plan: to any target, to one with another model, to one with a longer context, or to those that the route
    keeps for filtered content."""

    to: Restriction = "any"


class Stop(msgspec.Struct, frozen=True):
    """Give up, and why."""

    reason: str


Step = SameTarget | NextCredential | NextTarget | Stop


class RetryBudget:
    """How many retries a provider may be sent: `ratio` of its requests, and `floor` a second besides.

    While a provider is down, retries multiply its load when it can bear it least; with a budget they add a fifth at most.
    A token bucket: requests pay in, retries take out; `reserve` is the most that can be saved up.
    """

    __slots__ = ("_balance", "_floor", "_ratio", "_reserve", "_updated")

    def __init__(self, *, ratio: float = 0.2, floor: float = 0.5, reserve: float = 10.0, now: float = 0.0) -> None:
        self._ratio, self._floor, self._reserve = ratio, floor, reserve
        self._balance, self._updated = reserve, now

    def deposit(self) -> None:
        """A request, not a retry, was sent."""
        self._balance = min(self._reserve, self._balance + self._ratio)

    def withdraw(self, now: float) -> bool:
        """Take one retry out, if there is one."""
        self._refill(now)
        if self._balance < 1.0:
            return False
        self._balance -= 1.0
        return True

    def balance(self, now: float) -> float:
        """Retries that could be made now."""
        self._refill(now)
        return self._balance

    def _refill(self, now: float) -> None:
        if now > self._updated:
            self._balance = min(self._reserve, self._balance + (now - self._updated) * self._floor)
            self._updated = now


def backoff(policy: RetryPolicy, tries: int, random: float) -> float:
    """Seconds to wait after that many failed tries; `random` is uniform in [0, 1)."""
    longest: float = min(policy.longest_backoff, policy.backoff * 2.0 ** min(tries - 1, 60))
    return longest * (0.5 + random / 2)


def next_step(
    rule: ErrorRule,
    failure: Failure,
    tried: Tried,
    policy: RetryPolicy,
    *,
    now: float,
    deadline: float,
    random: float,
    budget: RetryBudget | None = None,
) -> Step:
    """What to do after a failure that came before the attempt committed.

    `now` and `deadline` are on one clock. A retry is taken out of `budget`; nothing else changes.
    """
    if now >= deadline:
        return Stop("the request's time is up")
    match rule.then:
        case "never":
            return Stop("another target would answer the same")
        case "if_allowed" if not policy.filtered_falls_over:
            return Stop("the route does not fall over on filtered content")
        case "if_allowed":
            return _onwards(tried, "other_filter")
        case "other_model":
            return _onwards(tried, "other_model")
        case "longer_context":
            return _onwards(tried, "longer_context")
        case "next_credential" if tried.credentials_left > 0:
            return NextCredential()
        case _:
            pass
    if failure.kind is ErrorKind.RATE_LIMITED and tried.credentials_left > 0:
        return NextCredential()
    if rule.retry and tried.on_target <= policy.retries:
        wait = backoff(policy, tried.on_target, random)
        if failure.retry_after is not None:
            wait = max(wait, failure.retry_after) if failure.retry_after > 0 else wait
        worth = tried.targets_left == 0 or wait <= policy.patience
        if worth and now + wait < deadline and (budget is None or budget.withdraw(now)):
            return SameTarget(wait)
    return _onwards(tried, "any")


def _onwards(tried: Tried, to: Restriction) -> Step:
    return NextTarget(to) if tried.targets_left > 0 else Stop("no target is left")
