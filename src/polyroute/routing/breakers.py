"""All breakers of one process, and which of them a failure belongs to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from polyroute.routing.breaker import Breaker, BreakerSettings, BreakerSnapshot, State
from polyroute.types.errors import ERROR_TABLE, ErrorKind, Failure
from polyroute.types.operations import Operation, ProviderKind
from polyroute.types.plans import Target

_MOST = 4096
"""Callers can name any model of a provider, so the number of breakers has an end."""


class BreakerView(Protocol):
    """What planning asks of a breaker."""

    @property
    def state(self) -> State:
        """closed, open or half_open."""

    @property
    def until(self) -> float:
        """When it next lets a request through."""

    @property
    def cause(self) -> str | None:
        """What opened it, or made it rest."""

    def allows(self, now: float) -> bool:
        """Whether a request may be sent now."""


def breaker_key(provider: str, operation: Operation, model: str | None = None) -> str:
    """The name of a breaker in storage and in decisions: `openai chat` or `openai chat gpt-4o`."""
    return f"{provider} {operation}" if model is None else f"{provider} {operation} {model}"


def belongs_to_model(failure: Failure, kind: ProviderKind) -> bool:
    """Whether a failure says something of the one model rather than of the whole provider.

    Rate limits are counted by model nearly everywhere. A gateway that itself answered an error passes on the trouble of
    the one upstream behind that model; when it cannot be reached at all, all its models are gone.
    """
    if failure.kind is ErrorKind.RATE_LIMITED:
        return True
    return kind is ProviderKind.GATEWAY and failure.http_status is not None


class Breakers:
    """Breakers by key. `restricted` holds those that are not closed and at ease; planning looks at nothing else, so while
    all is well a plan costs nothing here."""

    __slots__ = ("_all", "_pairs", "_settings", "default", "restricted")

    def __init__(
        self, default: BreakerSettings | None = None, settings: Mapping[str, BreakerSettings] | None = None
    ) -> None:
        """`settings` are those of single providers, by name."""
        self.default = default or BreakerSettings()
        self.restricted: dict[str, Breaker] = {}
        self._settings = dict(settings or {})
        self._all: dict[str, Breaker] = {}
        self._pairs: dict[tuple[Target, Operation], tuple[tuple[str, Breaker], ...]] = {}

    def begin(self, target: Target, operation: Operation, now: float, *, probe: bool = False) -> bool:
        """An attempt is about to start. False when it must not: the breaker opened, or its probe's place went to another
        request, since the plan was made. With `probe` (`Plan.probe`) it may in any case: nothing better is left."""
        if not self.restricted:
            return True
        provider = self.restricted.get(breaker_key(target.provider, operation))
        model = self.restricted.get(breaker_key(target.provider, operation, target.model))
        if (provider is not None and not provider.allows(now)) or (model is not None and not model.allows(now)):
            return probe
        for breaker in (provider, model):
            if breaker is not None:
                breaker.begin(now)
        return True

    def succeed(self, target: Target, operation: Operation, now: float, started: float | None = None) -> None:
        """An attempt that was `started` then has succeeded."""
        pair = self._pairs.get((target, operation))
        for key, breaker in pair if pair is not None else self._pair(target, operation):
            breaker.succeed(now, started)
            if self.restricted and key in self.restricted and not breaker.restricts(now):
                del self.restricted[key]

    def fail(
        self,
        target: Target,
        operation: Operation,
        failure: Failure,
        now: float,
        *,
        kind: ProviderKind = ProviderKind.DIRECT,
        started: float | None = None,
        credentials_left: int = 0,
    ) -> None:
        """An attempt failed. What is not the provider's fault is no failure here; a refusal of the caller's request even
        shows that the provider is alive. A rate limit is the credential's while others are left to try."""
        rule = ERROR_TABLE[failure.kind]
        if failure.kind is ErrorKind.RATE_LIMITED and credentials_left > 0:
            self.release(target, operation, now)
            return
        if not rule.counts:
            if rule.fault == "caller" and failure.http_status is not None:
                self.succeed(target, operation, now, started)
            else:
                self.release(target, operation, now)
            return
        of_model = belongs_to_model(failure, kind)
        key = breaker_key(target.provider, operation, target.model if of_model else None)
        breaker = self._all.get(key) or self._add(key, target.provider)
        breaker.fail(now, started, failure.retry_after, failure.kind.value)
        if failure.kind is ErrorKind.RATE_LIMITED and failure.retry_after is not None:
            breaker.rest(now, failure.retry_after, failure.kind.value)
        if breaker.restricts(now):
            self.restricted[key] = breaker
        if of_model and self.restricted:  # the provider itself answered: it is not what is broken
            provider = self.restricted.get(breaker_key(target.provider, operation))
            if provider is not None:
                provider.release(now)

    def release(self, target: Target, operation: Operation, now: float) -> None:
        """An attempt ended without saying anything about the provider: the caller left, or we failed."""
        if not self.restricted:
            return
        for key in (breaker_key(target.provider, operation), breaker_key(target.provider, operation, target.model)):
            breaker = self.restricted.get(key)
            if breaker is not None:
                breaker.release(now)

    def rest(
        self, provider: str, operation: Operation, now: float, seconds: float, cause: str, model: str | None = None
    ) -> None:
        """Send nothing for so long, because a limit of ours or of the provider's is used up; nothing failed."""
        key = breaker_key(provider, operation, model)
        breaker = self._all.get(key) or self._add(key, provider)
        breaker.rest(now, seconds, cause)
        if breaker.restricts(now):
            self.restricted[key] = breaker

    def state(self, key: str) -> State:
        """The state of one breaker; one that never heard of anything is closed."""
        breaker = self._all.get(key)
        return "closed" if breaker is None else breaker.state

    def reset(self, key: str, now: float) -> bool:
        """An operator's order: close it. False when there is no such breaker."""
        breaker = self._all.get(key)
        if breaker is None:
            return False
        breaker.reset(now)
        self.restricted.pop(key, None)
        return True

    def snapshots(self) -> dict[str, BreakerSnapshot]:
        """All breakers that are or ever were open or resting, for storage, sharing and operators."""
        return {key: breaker.snapshot() for key, breaker in self._all.items() if breaker.changed_at or breaker.until}

    def adopt(self, snapshots: Mapping[str, BreakerSnapshot], now: float) -> None:
        """Take over what other workers, or an earlier run, came to know later than this one."""
        for key, snapshot in snapshots.items():
            breaker = self._all.get(key) or self._add(key, key.split(" ", 1)[0])
            if breaker.adopt(snapshot, now):
                if breaker.restricts(now):
                    self.restricted[key] = breaker
                else:
                    self.restricted.pop(key, None)

    def sweep(self, now: float) -> None:
        """Forget rests that are over; worth calling every few seconds, never necessary."""
        for key in [key for key, breaker in self.restricted.items() if not breaker.restricts(now)]:
            del self.restricted[key]

    def _pair(self, target: Target, operation: Operation) -> tuple[tuple[str, Breaker], ...]:
        """The breakers of a target's provider and of its model, with their keys; kept, because every success needs them."""
        keys = (breaker_key(target.provider, operation), breaker_key(target.provider, operation, target.model))
        pair = tuple([(key, self._all.get(key) or self._add(key, target.provider)) for key in keys])
        self._pairs[target, operation] = pair
        return pair

    def _add(self, key: str, provider: str) -> Breaker:
        if len(self._all) >= _MOST:
            self._make_room()
        breaker = self._all[key] = Breaker(self._settings.get(provider, self.default))
        return breaker

    def _make_room(self) -> None:
        """Drop the half of the breakers that was made first, except those that restrict something."""
        oldest: Iterable[str] = list(self._all)[: _MOST // 2]
        for key in oldest:
            if key not in self.restricted:
                del self._all[key]
        self._pairs.clear()
