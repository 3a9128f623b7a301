"""Why a plan came out as it did, as a compact value that can be stored and replayed."""

from __future__ import annotations

import msgspec

from polyroute.routing.breaker import State
from polyroute.routing.breakers import breaker_key
from polyroute.routing.candidates import Facts, PlanRequest, target_name
from polyroute.routing.complexity import Complexity
from polyroute.routing.plan import RoutePlanner
from polyroute.routing.policies import TargetFacts
from polyroute.routing.retry import Restriction
from polyroute.types.operations import Capability, Dialect, Operation
from polyroute.types.plans import Drop, Plan, Target


class BreakerFact(msgspec.Struct, frozen=True, array_like=True):
    """A breaker as planning saw it."""

    state: State
    until: float
    cause: str | None = None

    def allows(self, now: float) -> bool:
        """Whether a request might be sent then."""
        return now >= self.until


class Decision(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One plan and everything it was made from, besides the catalog. Fields are only ever appended, with a default.

    Candidates are `provider/model` in configured order. Observations are kept only where the policy looked at them, and
    breakers only those of candidates; `prices` likewise, as (input, output, request) of `Terms`. `random` and `now` are the
    numbers that the planner was given; a `settled` plan needed neither. `fallbacks` are those that the caller asked for,
    `complexity` is what a route with a split found, `money` the budget in words. `detours` are further plans, for the chain
    that each names, made when an attempt had failed. `limited` are the candidates for which there was no room, and why.
    """

    route: str
    operation: Operation
    policy: str
    dialect: Dialect
    needs: tuple[Capability, ...]
    require: tuple[str, ...]
    allowed: tuple[str, ...] | None
    tokens: int | None
    output_tokens: int | None
    budget: float | None
    asked_policy: str | None
    now: float
    random: float
    candidates: tuple[str, ...]
    breakers: dict[str, BreakerFact]
    observed: dict[str, TargetFacts]
    targets: tuple[str, ...]
    scores: tuple[float | None, ...]
    drops: tuple[Drop, ...]
    probe: bool = False
    notes: tuple[str, ...] = ()
    settled: bool = False
    fallbacks: tuple[str, ...] = ()
    complexity: Complexity | None = None
    money: str | None = None
    prices: dict[str, tuple[float | None, float | None, float | None]] = {}
    chain: Restriction | None = None
    detours: tuple[Decision, ...] = ()
    limited: dict[str, str] = {}


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Decision)


def record(
    planner: RoutePlanner,
    request: PlanRequest,
    facts: Facts,
    plan: Plan,
    *,
    fallbacks: tuple[str, ...] = (),
    complexity: Complexity | None = None,
    money: str | None = None,
    chain: Restriction | None = None,
) -> Decision:
    """The decision behind a plan that `planner` made of `request` and `facts`."""
    breakers: dict[str, BreakerFact] = {}
    if facts.breakers:
        for candidate in planner.candidates:
            target = candidate.target
            for key in (
                breaker_key(target.provider, plan.operation),
                breaker_key(target.provider, plan.operation, target.model),
            ):
                seen = facts.breakers.get(key)
                if seen is not None:
                    breakers[key] = BreakerFact(seen.state, seen.until, seen.cause)
    names = planner.names
    looked = planner.observes(plan.policy)
    priced = request.budget is not None or planner.prices_matter(plan.policy)
    return Decision(
        route=plan.route,
        operation=plan.operation,
        policy=plan.policy,
        dialect=request.dialect,
        needs=tuple(sorted(request.needs)),
        require=tuple(sorted(request.require)),
        allowed=None if request.allowed is None else tuple(sorted(request.allowed)),
        tokens=request.tokens,
        output_tokens=request.output_tokens,
        budget=request.budget,
        asked_policy=request.policy,
        now=facts.now,
        random=facts.random,
        candidates=names,
        breakers=breakers,
        observed={name: facts.targets[name] for name in names if name in facts.targets} if looked else {},
        targets=tuple([target_name(target) for target in plan.targets]),
        scores=plan.scores,
        drops=plan.drops,
        probe=plan.probe,
        notes=plan.notes,
        settled=plan.settled,
        fallbacks=fallbacks,
        complexity=complexity,
        money=money,
        prices=planner.prices if priced else {},
        chain=chain,
        limited={name: facts.limited[name] for name in names if name in facts.limited} if facts.limited else {},
    )


def replay(decision: Decision, planner: RoutePlanner) -> Plan:
    """Plan again from what was recorded, at the prices of that time. Under the catalog of that time the outcome is
    `recorded_plan` exactly; under another one it shows what the change of configuration would have done.

    `planner` is the route's for the decision's complexity, fallbacks or chain.
    """
    if decision.prices and decision.prices != planner.prices:
        planner = planner.with_prices(decision.prices)
    request = PlanRequest(
        dialect=decision.dialect,
        needs=frozenset(decision.needs),
        require=frozenset(decision.require),
        allowed=None if decision.allowed is None else frozenset(decision.allowed),
        tokens=decision.tokens,
        output_tokens=decision.output_tokens,
        budget=decision.budget,
        policy=decision.asked_policy,
    )
    facts = Facts(
        now=decision.now,
        random=decision.random,
        breakers=decision.breakers,
        targets=decision.observed,
        limited=decision.limited,
    )
    return planner.plan(request, facts)


def recorded_plan(decision: Decision) -> Plan:
    """The plan as it was made."""
    return Plan(
        decision.route,
        decision.operation,
        decision.policy,
        tuple(Target(*name.partition("/")[::2]) for name in decision.targets),
        decision.drops,
        decision.probe,
        decision.scores,
        decision.notes,
        decision.settled,
    )


def encode_decision(decision: Decision) -> bytes:
    """For storage: a JSON array, a few hundred bytes."""
    return _ENCODER.encode(decision)


def decode_decision(stored: bytes) -> Decision:
    """From storage. Raises msgspec.MsgspecError when it is none."""
    return _DECODER.decode(stored)
