"""From a call to its plan, with the decision behind it as the ledger keeps it.

A plan that holds for every request of its shape has one decision, which is stored once under its digest; the ledger's row
names the digest. Any other decision is stored with its request.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

import msgspec

from polyroute.catalog.money import Amount, read_amount
from polyroute.engine.access import WHY_NOT
from polyroute.engine.admission import check_route
from polyroute.engine.envelope import invalid
from polyroute.engine.limits import estimate_tokens
from polyroute.engine.runtime import Choice, Runtime
from polyroute.ports import NO_OPTIONS, Call, Options
from polyroute.routing.breakers import Breakers
from polyroute.routing.candidates import Facts, PlanRequest
from polyroute.routing.complexity import Complexity, classify, facts_of_fields
from polyroute.routing.decision import Decision, encode_decision, record
from polyroute.routing.observations import Observations
from polyroute.routing.plan import RoutePlanner
from polyroute.routing.planners import refusal
from polyroute.routing.policies import POLICIES
from polyroute.routing.requirements import PLAIN_FIELDS, Requirements, requirements_of_fields, split_require
from polyroute.routing.retry import Restriction
from polyroute.types.chat import ChatRequest
from polyroute.types.errors import ERROR_TABLE, ErrorKind, PolyrouteError
from polyroute.types.operations import Capability, Dialect
from polyroute.types.plans import Plan, Target

_NOTHING: frozenset[Any] = frozenset()
_PARAMETERS = frozenset(ChatRequest.__struct_fields__) - frozenset(Capability)
_NO_LIMITS: Mapping[str, str] = {}
_MOST_SHARED = 4096
_CHAIN_OF: dict[ErrorKind, Restriction] = {
    ErrorKind.CONTEXT_TOO_LONG: "longer_context",
    ErrorKind.CONTENT_FILTERED: "other_filter",
}


class SharedDecision:
    """The decision behind a settled plan. `told` says that this process has written it into its journal."""

    __slots__ = ("decision", "id", "text", "told")

    def __init__(self, decision: Decision) -> None:
        encoded = encode_decision(decision)
        self.decision = decision
        self.text = encoded.decode()
        self.id = hashlib.blake2b(encoded, digest_size=8).hexdigest()
        self.told = False


class Planned(msgspec.Struct, eq=False):
    """A request's plan, the decision behind it, and its further plans for failures that have a chain of their own."""

    _planning: Planning
    _runtime: Runtime
    _choice: Choice
    _planner: RoutePlanner
    _request: PlanRequest
    plan: Plan
    decision: Decision | SharedDecision
    detours: list[Decision] = []

    @property
    def whole(self) -> Decision:
        """The decision with the detours that were made."""
        decision = self.decision.decision if isinstance(self.decision, SharedDecision) else self.decision
        return msgspec.structs.replace(decision, detours=tuple(self.detours)) if self.detours else decision

    @property
    def observations(self) -> Observations | None:
        """Where attempts are to be noted; None while nobody looks."""
        return self._planning.observations if self._planning.observing else None

    @property
    def filtered_falls_over(self) -> bool:
        """Whether a refusal by a content filter may go to another target."""
        return "other_filter" in self._choice.chains

    def reserve(self, kind: ErrorKind) -> int:
        """How many targets the route keeps for this kind of failure alone."""
        chain = _CHAIN_OF.get(kind)
        planner = None if chain is None else self._choice.chains.get(chain)
        return 0 if planner is None else len(planner.candidates)

    def detour(
        self, call: Call, to: Restriction, failed: Target, left: Iterable[Target], tried: set[Target], now: float
    ) -> list[Target]:
        """What is tried after a failure that only some targets can mend: the route's chain for it, else those of `left`
        that are not known to be as short as the one that failed."""
        planner = self._choice.chains.get(to)
        if planner is None:
            contexts = {one.target: one.context for one in self._planner.candidates}
            short = contexts.get(failed)
            return [other for other in left if short is None or (contexts.get(other) or short + 1) > short]
        facts = self._planning.facts(now, limited_targets(self._runtime, planner, call, now))
        request = msgspec.structs.replace(self._request, policy=None)
        if planner.contested or planner.sized:  # which may be more than the route itself had to know
            required = _requirements(call, planner.contested, sized=planner.sized)
            request = msgspec.structs.replace(
                request,
                needs=request.needs | required.needs,
                tokens=required.tokens,
                output_tokens=required.output_tokens,
            )
        plan = planner.plan(request, facts)
        self.detours.append(record(planner, request, facts, plan, chain=to))
        return [target for target in plan.targets if target not in tried]


class Planning:
    """Makes plans out of calls, the breakers' state and what was observed.

    `observing` is switched on by the first route or request that looks at observations: until then nobody pays for them.
    """

    def __init__(self, breakers: Breakers, observations: Observations) -> None:
        self.breakers = breakers
        self.observations = observations
        self.observing = False
        self._shared: dict[int, tuple[Plan, SharedDecision]] = {}
        self._ready: dict[tuple[RoutePlanner, Dialect], tuple[PlanRequest, Plan, SharedDecision]] = {}

    def facts(self, now: float, limited: Mapping[str, str] = _NO_LIMITS) -> Facts:
        """The state of the world at a time of the event loop."""
        return Facts(
            now=now, random=random.random(), breakers=self.breakers.restricted,  # noqa: S311 (spreads load)
            targets=self.observations.facts, limited=limited,
        )  # fmt: skip

    def plan(self, runtime: Runtime, choice: Choice, call: Call, now: float, *, allow_empty: bool = False) -> Planned:
        """The plan of a call. Raises PolyrouteError: `invalid_request` naming the option that makes no sense, or why there
        is no target, unless `allow_empty`."""
        options, planner = call.options, choice.planner
        plain = (
            options is NO_OPTIONS and planner.plain and choice.split is None and call.fields is not None
            and not self.breakers.restricted and call.fields.keys() <= PLAIN_FIELDS
        )  # fmt: skip
        if plain and (ready := self._ready.get((planner, call.dialect))) is not None and not (
            runtime.constrained and limited_targets(runtime, planner, call, now)
        ):  # fmt: skip
            return Planned(self, runtime, choice, planner, *ready)
        needs, tags = _NOTHING, _NOTHING
        amount: Amount | None = None
        if options is not NO_OPTIONS:
            needs, tags, amount = _read_options(options, runtime)
            for name in options.fallbacks:
                check_route(call, name)
        complexity: Complexity | None = None
        required: Requirements | None = None
        if choice.split is not None:
            required = _requirements(call, frozenset(Capability), sized=True)
            complexity = classify(facts_of_fields(call.fields or {}, _body(call), required), choice.split.rules)
        if complexity is not None or options.fallbacks:
            planner = _variant(runtime, choice, call, complexity)
        if required is None and (
            planner.contested or planner.sized or amount is not None or planner.measures(options.policy)
        ):
            required = _requirements(call, planner.contested, sized=planner.sized)
        request = PlanRequest(
            dialect=call.dialect,
            needs=needs if required is None else required.needs | needs,
            require=tags,
            tokens=None if required is None else required.tokens,
            output_tokens=None if required is None else required.output_tokens,
            budget=None if amount is None else amount.usd,
            policy=options.policy,
        )
        self.observing = self.observing or runtime.observes or planner.observes(options.policy)
        facts = self.facts(now, limited_targets(runtime, planner, call, now))
        plan = planner.plan(request, facts)
        if plan.settled and complexity is None:
            decision: Decision | SharedDecision = self._share(planner, request, plan, options.fallbacks)
        else:
            decision = record(
                planner, request, facts, plan, fallbacks=options.fallbacks, complexity=complexity,
                money=None if amount is None else amount.words,
            )  # fmt: skip
        if plain and plan.targets and isinstance(decision, SharedDecision):
            self._keep(planner, request, plan, decision)
        planned = Planned(self, runtime, choice, planner, request, plan, decision)
        if not plan.targets and not allow_empty:
            raise NoTarget(planned)
        return planned

    def _keep(self, planner: RoutePlanner, request: PlanRequest, plan: Plan, decision: SharedDecision) -> None:
        """Have the plan ready for the next request that asks for nothing in particular."""
        if len(self._ready) >= _MOST_SHARED:
            self._ready.clear()
        request = msgspec.structs.replace(request, tokens=None, output_tokens=None)
        self._ready[planner, request.dialect] = (request, plan, decision)

    def _share(
        self, planner: RoutePlanner, request: PlanRequest, plan: Plan, fallbacks: tuple[str, ...]
    ) -> SharedDecision:
        """The decision of a settled plan: one for all its requests, so it knows nothing of their sizes."""
        found = self._shared.get(id(plan))
        if found is not None:
            return found[1]
        shape = msgspec.structs.replace(request, tokens=None, output_tokens=None)
        shared = SharedDecision(record(planner, shape, Facts(now=0.0, random=0.0), plan, fallbacks=fallbacks))
        if len(self._shared) >= _MOST_SHARED:
            self._shared.clear()
        self._shared[id(plan)] = (plan, shared)  # the plan is held, so that its id stays its own
        return shared


def limited_targets(runtime: Runtime, planner: RoutePlanner, call: Call, now: float) -> Mapping[str, str]:
    """The planner's targets that may not be asked just now, and why: limits that are reached, benched credentials."""
    if not runtime.constrained:
        return _NO_LIMITS
    found: dict[str, str] = {}
    for name, candidate in zip(planner.names, planner.candidates, strict=True):
        target = candidate.target
        if target.provider not in runtime.constrained:
            continue
        refused = runtime.providers[target.provider].access.refusal(target.model, estimate_tokens(call), now)
        if refused is not None:
            wait = f", for another {refused.retry_after:.1f} s" if refused.limit != "concurrency" else ""
            found[name] = f"{WHY_NOT[refused.limit]}{wait}"
    return found


def planner_of(runtime: Runtime, decision: Decision) -> RoutePlanner | None:
    """The planner that the runtime has for a recorded decision, to replay it; None when its names mean nothing now."""
    try:
        choice = runtime.choose(decision.route, decision.operation)
        if decision.chain is not None:
            return choice.chains.get(decision.chain)
        level = None if decision.complexity is None else decision.complexity.level
        return runtime.planner(choice, decision.operation, decision.fallbacks, level)
    except PolyrouteError:
        return None


class NoTarget(PolyrouteError):
    """No target can serve the request; the plan says why."""

    def __init__(self, planned: Planned) -> None:
        found = refusal(planned.plan)
        super().__init__(found.kind, found.message)
        self.planned = planned


def _body(call: Call) -> bytes:
    return call.body if isinstance(call.body, bytes) else b""


def _requirements(call: Call, contested: frozenset[Capability], *, sized: bool) -> Requirements:
    return requirements_of_fields(
        call.dialect, call.fields or {}, _body(call), stream=call.stream, contested=contested, sized=sized
    )


def _variant(runtime: Runtime, choice: Choice, call: Call, complexity: Complexity | None) -> RoutePlanner:
    try:
        level = None if complexity is None else complexity.level
        return runtime.planner(choice, call.operation, call.options.fallbacks, level)
    except PolyrouteError as error:
        if ERROR_TABLE[error.kind].fault != "caller":
            raise
        raise invalid(f"'polyroute.fallbacks': {error.message}", "polyroute.fallbacks") from error


def _read_options(options: Options, runtime: Runtime) -> tuple[frozenset[Capability], frozenset[str], Amount | None]:
    """What a caller requires, as capabilities and tags, and its budget. Raises PolyrouteError(invalid_request)."""
    if options.policy is not None and options.policy not in POLICIES:
        raise _unknown("policy", options.policy, POLICIES)
    amount: Amount | None = None
    if options.budget is not None:
        try:
            amount = read_amount(options.budget, runtime.catalog.currencies)
        except ValueError as error:
            raise invalid(f"'polyroute.budget': {error}.", "polyroute.budget") from error
    if not options.require:
        return _NOTHING, _NOTHING, amount
    # Parameters are looked at when the request is rendered for a target.
    needs, tags = split_require(name for name in options.require if name not in _PARAMETERS)
    for tag in tags - runtime.tags:
        raise _unknown("require", tag, [*Capability, *sorted(runtime.tags), *sorted(_PARAMETERS)])
    return needs, tags, amount


def _unknown(field: str, given: str, names: Iterable[str]) -> PolyrouteError:
    listed = list(names)
    near = get_close_matches(given.lower(), listed, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(listed)}."
    return invalid(f"'polyroute.{field}': unknown {given[:80]!r}; {hint}", f"polyroute.{field}")
