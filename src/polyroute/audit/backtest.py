"""What a proposed policy or configuration would have made of the requests that came.

Each request is planned again by the proposed planner, with the observations and breakers of its time, and the plan is walked
with what was observed of its targets: chances of success, seconds and prices are expectations. Nothing is random but by the
request's id, so the same ledger and configuration give the same report.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal

import msgspec

from polyroute.audit.observed import Seen, is_failure, observe
from polyroute.engine.planning import planner_of
from polyroute.engine.runtime import Runtime
from polyroute.pricing import priced_cost
from polyroute.routing.candidates import Facts, PlanRequest, target_name
from polyroute.routing.decision import BreakerFact, Decision, decode_decision
from polyroute.routing.observations import Observations
from polyroute.routing.plan import RoutePlanner
from polyroute.storage.replays import PastAttempt, PastRequest
from polyroute.types.errors import PolyrouteError
from polyroute.types.usage import Usage


class Effect(msgspec.Struct, kw_only=True):
    """Recorded and expected sums. Cost and seconds are over the requests for which both are known: `priced` and `timed`."""

    requests: int = 0
    moved: int = 0
    priced: int = 0
    cost_before: Decimal = Decimal(0)
    cost_after: Decimal = Decimal(0)
    timed: int = 0
    seconds_before: float = 0.0
    seconds_after: float = 0.0
    judged: int = 0
    failures_before: float = 0.0
    failures_after: float = 0.0


class Backtest(msgspec.Struct, frozen=True, kw_only=True):
    """The report. `passed_over` are requests that could not be replayed, by reason; `unobserved` and `unpriced` how many
    requests would have gone first to a target of which nothing, or no price, is known."""

    total: Effect
    routes: dict[str, Effect]
    before: Counter[str]
    after: Counter[str]
    passed_over: Counter[str]
    unobserved: Counter[str]
    unpriced: Counter[str]


class Expected(msgspec.Struct, frozen=True):
    """What is to be expected of a plan for one request; None is unknown."""

    cost: Decimal | None
    seconds: float | None
    failure: float | None


ASSUMPTIONS = (
    "Requests come as they came: with the same prompts, lengths of answers and times; nobody behaves otherwise.",
    "A target's success rate and time are those of its attempts in this span; time grows with the tokens of the answer.",
    "A request that goes where it went is as it was.",
    "Prices are those that hold now. At another target all tokens of the prompt are charged as uncached, at the same counts.",
    "A target without a price is charged what its requests cost on average, where that is known.",
    "Fallback goes along the proposed plan; retries, other credentials, hedging and rescue are left out.",
    "Of what a request needs, that is known which its decision noted then; capabilities that mattered to no target are not.",
    "Cost and time are compared over the requests for which both sides are known.",
)


def run_backtest(
    read: Callable[[], Iterable[PastRequest]], runtime: Runtime, *, policy: str | None = None, route: str | None = None
) -> Backtest:
    """Replay what `read` gives, twice: to observe, and to plan. `policy` takes the place of the routes' own; `route` of the
    names that callers used."""
    replay = _Replay(runtime, observe(read()), policy, route)
    for request in read():
        replay.take(request)
    return replay.report


class _Replay:
    def __init__(
        self, runtime: Runtime, seen: Mapping[tuple[str, str], Seen], policy: str | None, route: str | None
    ) -> None:
        self._runtime = runtime
        self._seen = seen
        self._policy = policy
        self._route = route
        self._observations = Observations()
        self._decisions: dict[bytes, Decision | None] = {}
        self.report = Backtest(
            total=Effect(), routes={}, before=Counter(), after=Counter(), passed_over=Counter(), unobserved=Counter(),
            unpriced=Counter(),
        )  # fmt: skip

    def take(self, request: PastRequest) -> None:
        """Plan one request again, then learn from it what was learned then."""
        reason = self._replay(request)
        if reason is not None:
            self.report.passed_over[reason] += 1
        self._learn(request)

    def _replay(self, request: PastRequest) -> str | None:
        if request.status == "CANCELLED":
            return "the caller left"
        decision = self._decision(request.decision)
        if decision is None:
            return "it was refused before it was planned"
        if request.status == "FAILED" and not (request.attempts and is_failure(request.attempts[-1].error_kind)):
            return "the caller's own mistake"
        if self._route is not None:
            decision = msgspec.structs.replace(decision, route=self._route)
        planner = planner_of(self._runtime, decision)
        if planner is None:
            return f"'{decision.route}' means nothing in the proposed configuration"
        try:
            targets = self._plan(decision, planner, request)
        except PolyrouteError as error:
            return error.message
        if not targets:
            return f"'{decision.route}' would have no target"
        self._count(request, targets)
        return None

    def _decision(self, stored: bytes | None) -> Decision | None:
        if stored is None:
            return None
        if stored not in self._decisions:
            if len(self._decisions) >= 4096:
                self._decisions.clear()
            try:
                self._decisions[stored] = decode_decision(stored)
            except msgspec.MsgspecError:
                self._decisions[stored] = None
        return self._decisions[stored]

    def _plan(self, decision: Decision, planner: RoutePlanner, request: PastRequest) -> list[str]:
        now = request.created_at.timestamp()
        breakers = {
            key: BreakerFact(fact.state, now + fact.until - decision.now, fact.cause)
            for key, fact in decision.breakers.items()
        }
        asked = PlanRequest(
            dialect=decision.dialect,
            needs=frozenset(decision.needs),
            require=frozenset(decision.require),
            allowed=None if decision.allowed is None else frozenset(decision.allowed),
            tokens=decision.tokens if decision.tokens is not None else request.usage.input_total,
            output_tokens=decision.output_tokens,
            budget=decision.budget,
            policy=self._policy or decision.asked_policy,
        )
        facts = Facts(now=now, random=_drawn(request.id), breakers=breakers, targets=self._observations.facts)
        return [target_name(target) for target in planner.plan(asked, facts).targets]

    def _count(self, request: PastRequest, targets: list[str]) -> None:
        recorded = [attempt.target for attempt in request.attempts]
        tried = list(dict.fromkeys(recorded))
        same = targets[: len(tried)] == tried
        failed = request.status != "COMPLETED"
        expected = self._expect(request, targets)
        if same:
            expected = Expected(request.cost_usd, request.seconds, 1.0 if failed else 0.0)
        route = self.report.routes.setdefault(request.route or "(no route)", Effect())
        before, after = recorded[0] if recorded else "(none)", targets[0]
        self.report.before[before] += 1
        self.report.after[after] += 1
        for effect in (self.report.total, route):
            effect.requests += 1
            effect.moved += before != after
            if not failed and request.cost_usd is not None and expected.cost is not None:
                effect.priced += 1
                effect.cost_before += request.cost_usd
                effect.cost_after += expected.cost
            if not failed and expected.seconds is not None:
                effect.timed += 1
                effect.seconds_before += request.seconds
                effect.seconds_after += expected.seconds
            if expected.failure is not None:
                effect.judged += 1
                effect.failures_before += failed
                effect.failures_after += expected.failure

    def _expect(self, request: PastRequest, targets: list[str]) -> Expected:
        """Walk a plan; a target of which nothing was ever seen is taken to answer, at unknown speed."""
        tried: dict[str, PastAttempt] = {attempt.target: attempt for attempt in request.attempts}
        reach, cost, seconds = 1.0, Decimal(0), 0.0
        priced = timed = judged = True
        for number, target in enumerate(targets):
            attempt = tried.get(target)
            if attempt is not None and attempt.outcome == "served" and request.cost_usd is not None:
                cost += Decimal(repr(reach)) * request.cost_usd
                seconds += reach * attempt.seconds
                reach = 0.0
                break
            if attempt is not None and is_failure(attempt.error_kind):
                seconds += reach * attempt.seconds
                continue
            seen = self._seen.get((target, request.operation))
            success = 1.0 if seen is None else seen.success
            usd, took = self._cost(target, request, seen), None
            if seen is None:
                judged = timed = False
                if number == 0:
                    self.report.unobserved[target] += 1
            else:
                took = seen.answering_seconds(request.usage.output_total)
                seconds += reach * (1 - success) * seen.failing_seconds
            if usd is None:
                priced = priced and success == 0
                if number == 0:
                    self.report.unpriced[target] += 1
            else:
                cost += Decimal(repr(reach * success)) * usd
            if took is not None:
                seconds += reach * success * took
            reach *= 1 - success
            if reach < 1e-9:
                break
        return Expected(cost if priced else None, seconds if timed else None, reach if judged else None)

    def _cost(self, target: str, request: PastRequest, seen: Seen | None) -> Decimal | None:
        usage = request.usage if target == request.served else _uncached(request.usage)
        provider, _, model = target.partition("/")
        cost = priced_cost(usage, self._runtime.prices.price(provider, model))
        if cost is not None:
            return cost.usd
        counts = [count for count in (usage.input_total, usage.output_total) if count is not None]
        return None if seen is None else seen.cost_of_tokens(sum(counts) if counts else None)

    def _learn(self, request: PastRequest) -> None:
        """Observe the attempts as the gateway did, at the time when they came."""
        now = request.created_at.timestamp()
        for attempt in request.attempts:
            served = attempt.outcome == "served"
            if not served and not is_failure(attempt.error_kind):
                continue
            ttft = request.ttft if served and request.stream else None
            pace = None
            if served and attempt.output_tokens and attempt.seconds > (ttft or 0.0):
                pace = attempt.output_tokens / (attempt.seconds - (ttft or 0.0))
            self._observations.begin(attempt.target)
            self._observations.end(attempt.target, now, success=served, ttft=ttft, tokens_per_second=pace)


def _uncached(usage: Usage) -> Usage:
    """The same prompt at a target that has nothing of it in its cache."""
    cached = [count for count in (usage.cache_read, usage.cache_write_5m, usage.cache_write_1h) if count is not None]
    if not cached:
        return usage
    whole = (usage.input or 0) + sum(cached)
    return msgspec.structs.replace(usage, input=whole, cache_read=None, cache_write_5m=None, cache_write_1h=None)


def _drawn(identifier: str) -> float:
    """A number in [0, 1) that depends on the request alone."""
    return int.from_bytes(hashlib.blake2b(identifier.encode(), digest_size=6).digest(), "big") / 2**48
