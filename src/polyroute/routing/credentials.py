"""Which of a provider's credentials is used next, and which are benched for a while; pure.

A credential is benched when the provider rejects it, when its account has nothing left, or when its rate limit is reached
(then for the one model only: rate limits are counted by model nearly everywhere). What is benched comes back by itself.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import msgspec

from polyroute.ports import Credential
from polyroute.routing.limits import Limiter
from polyroute.types.errors import ErrorKind, Failure
from polyroute.types.limits import Limits, Quota

_BENCHING = frozenset({ErrorKind.CREDENTIAL_REJECTED, ErrorKind.QUOTA_EXHAUSTED, ErrorKind.RATE_LIMITED})
_LONGEST = 86_400.0
"""Seconds; a clock that was set back, or a provider that names a date far off, benches nothing for longer."""
_MOST_MODELS = 256
"""Callers can name any model, so what is remembered by model has an end."""


class BenchSettings(msgspec.Struct, frozen=True, kw_only=True):
    """For how many seconds a credential is benched: at first, and doubling up to `longest` while it goes on being refused.
    What the provider itself says (`rate_limited`: Retry-After; `quota`: the reset) comes before."""

    rejected: float = 300.0
    quota: float = 900.0
    rate_limited: float = 15.0
    longest: float = 3600.0


class Bench(msgspec.Struct, frozen=True, array_like=True):
    """Why a credential is not used, since when, and until when. `times`: in a row, for this reason."""

    reason: str
    since: float
    until: float
    times: int = 1


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """What a credential is good for: its weight in the rotation and its own limits."""

    weight: float = 1.0
    limits: Limits | None = None


class CredentialState:
    """One credential's state. `benches` are by model; "" stands for all of them."""

    __slots__ = ("benches", "credential", "left", "limiter", "share")

    def __init__(self, credential: Credential, share: Share) -> None:
        self.credential = credential
        self.share = share
        self.limiter = None if share.limits is None else Limiter(share.limits)
        self.benches: dict[str, Bench] = {}
        self.left: tuple[float, float] | None = None  # requests that the provider says are left, until when

    @property
    def key(self) -> str:
        """Its name for other processes: the same wherever it stands in the configuration, and no secret."""
        return self.credential.label.rpartition("-")[2]

    def bench(self, model: str, now: float) -> Bench | None:
        """Why it is not to be used for a model now."""
        for name in ("", model):
            found = self.benches.get(name)
            if found is not None and now < found.until:
                return found
        return None


class CredentialPool:
    """All credentials of one provider. `eased` says that there is nothing to decide: one credential at most, not benched
    and without limits of its own."""

    __slots__ = ("_settings", "_watched", "eased", "sole", "states")

    def __init__(
        self,
        credentials: Sequence[Credential],
        shares: Mapping[str, Share] | None = None,
        settings: BenchSettings | None = None,
    ) -> None:
        """`shares` are by label."""
        shares = shares or {}
        self.states = [CredentialState(one, shares.get(one.label) or Share()) for one in credentials]
        self._settings = settings or BenchSettings()
        self.sole = credentials[0] if len(credentials) == 1 else None
        self._watched: tuple[set[str], str] | None = None
        self._ease()

    def watch(self, names: set[str], name: str) -> None:
        """From now on `name` is among `names` while there is something to decide."""
        self._watched = (names, name)
        self._ease()

    def inherit(self, earlier: CredentialPool) -> None:
        """Take over what was known of the same credentials before the configuration was read again."""
        known = {state.credential.secret: state for state in earlier.states}
        for state in self.states:
            before = known.get(state.credential.secret)
            if before is None:
                continue
            state.benches, state.left = before.benches, before.left
            if before.limiter is not None and before.share.limits == state.share.limits:
                state.limiter = before.limiter
        self._ease()

    def choose(
        self, model: str, tokens: int, now: float, random: float, used: Collection[str] = ()
    ) -> CredentialState | None:
        """The credential for the next attempt, among those that were not `used` (labels) for this request: at random, each
        in proportion to its weight and to the share of its own limit that is left. None when none may be used now."""
        open_now = [
            state
            for state in self.states
            if state.credential.label not in used
            and state.bench(model, now) is None
            and (state.limiter is None or state.limiter.check(tokens, now) is None)
        ]
        if not open_now:
            return None
        weights = [_weight(state, now) for state in open_now]
        total = sum(weights)
        if total <= 0:  # those of weight 0 are a last resort
            return open_now[int(random * len(open_now)) % len(open_now)]
        point = random * total
        for state, weight in zip(open_now, weights, strict=True):
            point -= weight
            if point < 0:
                return state
        return open_now[-1]

    def has_free(self, model: str, tokens: int, now: float) -> bool:
        """Whether some credential may be used now."""
        return any(
            state.bench(model, now) is None and (state.limiter is None or state.limiter.check(tokens, now) is None)
            for state in self.states
        )

    def least_bad(self, model: str, now: float, used: Collection[str] = ()) -> CredentialState | None:
        """When all are benched: the one that comes back first."""
        benched = [
            (bench.until, number, state)
            for number, state in enumerate(self.states)
            if state.credential.label not in used and (bench := state.bench(model, now)) is not None
        ]
        return min(benched)[2] if benched else None

    def others_left(self, model: str, now: float, used: Collection[str]) -> int:
        """How many that were not `used` could be tried now."""
        if len(self.states) < 2:
            return 0
        return sum(state.credential.label not in used and state.bench(model, now) is None for state in self.states)

    def fail(self, label: str, model: str, failure: Failure, now: float) -> None:
        """An attempt with a credential failed: bench it where that is the credential's doing. A sole credential's rate
        limit is left to the breaker of the model."""
        state = self._state(label)
        if failure.kind not in _BENCHING or state is None:
            return
        if failure.kind is ErrorKind.RATE_LIMITED:
            if self.sole is not None:
                return
        else:
            model = ""
        before = state.benches.get(model)
        again = before is not None and before.reason == failure.kind and now <= _memory(before)
        times = before.times + 1 if again and before is not None else 1
        seconds = self._seconds(failure, times)
        if len(state.benches) >= _MOST_MODELS:
            state.benches.clear()
        state.benches[model] = Bench(failure.kind.value, now, now + seconds, times)
        self._set_eased(False)

    def succeed(self, label: str, model: str, now: float, started: float) -> None:
        """An attempt with a credential that was `started` then was answered: what had benched it before is over."""
        state = self._state(label)
        if state is None:
            return
        for name in ("", model):
            bench = state.benches.get(name)
            if bench is not None and bench.reason and bench.since < started:
                state.benches[name] = _lifted(now)

    def learn(self, label: str, model: str, quota: Quota, now: float) -> None:
        """What the provider says is left for a credential. Nothing left benches it until the reset, where another could
        take its place."""
        state = self._state(label)
        if state is None:
            return
        spent = 0.0
        for name, left, reset in (
            ("requests", quota.requests_left, quota.requests_reset),
            ("tokens", quota.tokens_left, quota.tokens_reset),
        ):
            if left is None or reset is None:
                continue
            if state.limiter is not None:
                state.limiter.learn("requests" if name == "requests" else "tokens", left, reset, now)
            if left <= 0:
                spent = max(spent, reset)
        if quota.requests_left is not None and quota.requests_reset is not None:
            state.left = (float(quota.requests_left), now + quota.requests_reset)
        if spent > 0 and self.sole is None:
            state.benches[model] = Bench(ErrorKind.RATE_LIMITED.value, now, now + min(spent, 3600.0))
            self._set_eased(False)

    def benches(self, now: float) -> dict[str, Bench]:
        """All benches that are remembered, lifted ones (whose reason is empty) included, by `key model`: for storage and
        for other workers."""
        return {
            f"{state.key} {model}": bench
            for state in self.states
            for model, bench in state.benches.items()
            if now <= _memory(bench)
        }

    def adopt(self, benches: Mapping[str, Bench], now: float, slack: float = 0.05) -> None:
        """Take over what other workers, or an earlier run, came to know later than this one. `slack` is how far the clocks
        of two processes may be apart: seconds."""
        for state in self.states:
            for name, bench in benches.items():
                key, _, model = name.partition(" ")
                if key != state.key or now > _memory(bench):
                    continue
                own = state.benches.get(model)
                if own is None or bench.since > own.since + slack:
                    state.benches[model] = Bench(
                        bench.reason, min(bench.since, now), min(bench.until, now + _LONGEST), bench.times
                    )
                    self._set_eased(False)

    def release(self, now: float) -> None:
        """An operator's order: bench nobody."""
        for state in self.states:
            for model in state.benches:
                state.benches[model] = _lifted(now)

    def sweep(self, now: float) -> None:
        """Forget benches that are long over, and lifted ones that every worker has heard of."""
        for state in self.states:
            for model in [name for name, bench in state.benches.items() if now > _memory(bench)]:
                del state.benches[model]
        self._ease()

    def _state(self, label: str) -> CredentialState | None:
        return next((state for state in self.states if state.credential.label == label), None)

    def _seconds(self, failure: Failure, times: int) -> float:
        settings = self._settings
        if failure.retry_after is not None:
            return min(failure.retry_after, _LONGEST)
        first = {
            ErrorKind.CREDENTIAL_REJECTED: settings.rejected,
            ErrorKind.QUOTA_EXHAUSTED: settings.quota,
        }.get(failure.kind, settings.rate_limited)
        grown: float = first * 2.0 ** min(times - 1, 30)
        return min(grown, max(settings.longest, first))

    def _ease(self) -> None:
        plain = len(self.states) <= 1
        self._set_eased(plain and all(state.limiter is None and not state.benches for state in self.states))

    def _set_eased(self, eased: bool) -> None:
        self.eased = eased
        if self._watched is not None:
            names, name = self._watched
            (names.discard if eased else names.add)(name)


def _lifted(now: float) -> Bench:
    return Bench("", now, now, 0)


def _memory(bench: Bench) -> float:
    """Until when a bench is remembered after it is over: so that the next one is longer, and so that all workers hear of
    its being lifted."""
    return bench.until + max(bench.until - bench.since, 30.0)


def _weight(state: CredentialState, now: float) -> float:
    """Its weight, less what is used up of its own requests a minute, and hardly anything when the provider says that next
    to nothing is left."""
    weight = state.share.weight
    if state.limiter is not None and state.limiter.limits.requests_per_minute is not None:
        left = state.limiter.remaining(now).requests or 0
        weight *= max(left / state.limiter.limits.requests_per_minute, 0.01)
    if state.left is not None and now < state.left[1]:
        weight *= min(max(state.left[0] / 10.0, 0.05), 1.0)
    return weight
