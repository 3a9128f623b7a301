"""The plan of one request: which targets are tried in which order, and why the others are not.

Most of it is known before the request comes: a `RoutePlanner` is made for each route when a catalog is, and keeps what it
has worked out for each shape of request (dialect, capabilities, requirements, permissions). A priority route whose breakers
are all closed then answers with a plan that exists already.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from polyroute.routing.breakers import BreakerView, breaker_key
from polyroute.routing.policies import (
    NO_FACTS,
    BalanceWeights,
    PolicyInputs,
    TargetFacts,
    Terms,
    check_policy,
    expected_cost,
    order_by,
    priority,
)
from polyroute.types.operations import OPERATION_OF, Capability, Dialect, Operation, ProviderKind
from polyroute.types.plans import Drop, DropCause, Plan, Target

_MOST_SHAPES = 256
"""Callers choose capabilities and requirements, so what is kept by shape of request has an end."""
_NOTHING: frozenset[object] = frozenset()
_IN_CONTENT = frozenset({Capability.VISION, Capability.AUDIO_INPUT, Capability.FILES, Capability.STREAMING})
_TYPICAL_OUTPUT = 500
"""Tokens of an answer whose request sets no limit; only relative costs and times depend on it."""


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A target that a route names, with everything declared of it.

    `obstacle` is why it can never be used (not configured, no credential). `dialects` are those its provider speaks for
    the operation. `capabilities` and `context` (tokens) are None when unknown: then the provider decides. `tags` are
    regions and data policies (`eu`, `no-training` …).
    """

    target: Target
    kind: ProviderKind = ProviderKind.DIRECT
    enabled: bool = True
    obstacle: str | None = None
    operations: frozenset[Operation] = frozenset()
    dialects: frozenset[Dialect] = frozenset()
    capabilities: frozenset[Capability] | None = None
    context: int | None = None
    tags: frozenset[str] = frozenset()
    terms: Terms = Terms()
    fallback: bool = False


class RouteRules(msgspec.Struct, frozen=True, kw_only=True):
    """How a route chooses. `kinds`, when not empty, are the only kinds of provider it uses, in this order. `require` are
    tags that every target must have. A request whose budget is below `low_budget` (USD) goes to the cheapest."""

    route: str
    operation: Operation
    policy: str = "priority"
    kinds: tuple[ProviderKind, ...] = ()
    require: frozenset[str] = frozenset()
    low_budget: float | None = None
    balance: BalanceWeights = BalanceWeights()
    exploration: float = 0.05
    half_life: float = 300.0


class PlanRequest(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a request asks of its targets.

    `tokens` is the estimated size of the prompt, `output_tokens` the most it may produce, `budget` in USD. `allowed` are
    the names that the caller's key may use: the route's own, or `provider`, or `provider/model`; None is all of them.
    `policy` overrides the route's.
    """

    dialect: Dialect
    needs: frozenset[Capability] = frozenset()
    require: frozenset[str] = frozenset()
    allowed: frozenset[str] | None = None
    tokens: int | None = None
    output_tokens: int | None = None
    budget: float | None = None
    policy: str | None = None


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """The state of the world for one plan. `random` is uniform in [0, 1). `breakers` are those that are not closed and at
    ease (`Breakers.restricted`); `targets` are observations by `provider/model` (`Observations.facts`)."""

    now: float
    random: float = 0.5
    breakers: Mapping[str, BreakerView] = msgspec.field(default_factory=dict)
    targets: Mapping[str, TargetFacts] = msgspec.field(default_factory=dict)


def target_name(target: Target) -> str:
    """`provider/model`, or the provider alone where no model is known (a target that can never be used)."""
    return f"{target.provider}/{target.model}" if target.model else target.provider


class _Entry:
    """A candidate with what planning reads of it every time."""

    __slots__ = ("candidate", "model_breaker", "name", "provider_breaker", "target", "terms")

    def __init__(self, candidate: Candidate, operation: Operation) -> None:
        self.candidate = candidate
        self.target = candidate.target
        self.name = target_name(candidate.target)
        self.terms = candidate.terms
        self.provider_breaker = breaker_key(candidate.target.provider, operation)
        self.model_breaker = breaker_key(candidate.target.provider, operation, candidate.target.model)


class _View:
    """What one shape of request finds: the entries that can serve it, in priority order, and the drops."""

    __slots__ = ("drops", "fallbacks", "main", "plan", "smallest_context")

    def __init__(self, main: tuple[_Entry, ...], fallbacks: tuple[_Entry, ...], drops: tuple[Drop, ...]) -> None:
        self.main, self.fallbacks, self.drops = main, fallbacks, drops
        self.plan: Plan | None = None
        contexts = [entry.candidate.context for entry in (*main, *fallbacks) if entry.candidate.context is not None]
        self.smallest_context = min(contexts, default=None)


class RoutePlanner:
    """Plans the requests of one route (or of one `provider/model`, or a bare model id) under one catalog."""

    __slots__ = ("_entries", "_views", "candidates", "contested", "names", "plain", "rules", "sized")

    def __init__(self, rules: RouteRules, candidates: Sequence[Candidate]) -> None:
        """`candidates` in configured order, the fallbacks marked; a target that comes twice counts once.

        Raises PolyrouteError(invalid_request) for an unknown policy.
        """
        check_policy(rules.policy)
        self.rules = rules
        main = [candidate for candidate in candidates if not candidate.fallback]
        chain = [candidate for candidate in candidates if candidate.fallback]
        seen: dict[Target, Candidate] = {}
        for candidate in main + chain:
            seen.setdefault(candidate.target, candidate)
        self.candidates = tuple(seen.values())
        self.names = tuple(target_name(candidate.target) for candidate in self.candidates)
        self._entries = tuple(_Entry(candidate, rules.operation) for candidate in self.candidates)
        known = [candidate.capabilities for candidate in self.candidates if candidate.capabilities is not None]
        self.contested: frozenset[Capability] = (
            frozenset(Capability).difference(frozenset[Capability].intersection(*known)) if known else frozenset()
        )
        """Capabilities that some candidate lacks: no others of a request's matter to this route."""
        self.sized = any(candidate.context is not None for candidate in self.candidates)
        """Whether some candidate's context is known: else a request's length does not matter to this route."""
        self.plain = not self.sized and self.contested.isdisjoint(_IN_CONTENT)
        """Whether a request's messages, and whether it streams, do not matter to this route."""
        self._views: dict[tuple[object, ...], _View] = {}

    def with_fallbacks(self, candidates: Sequence[Candidate]) -> RoutePlanner:
        """The same route with the fallbacks that a caller asked for instead of its own."""
        own = [candidate for candidate in self.candidates if not candidate.fallback]
        return RoutePlanner(self.rules, own + [msgspec.structs.replace(one, fallback=True) for one in candidates])

    def plan(self, request: PlanRequest, facts: Facts) -> Plan:
        """Which targets to try, in order. Without any the drops say why: see `refusal`.

        Raises PolyrouteError(invalid_request) when the request names an unknown policy.
        """
        shape = (request.dialect, request.needs, request.require, request.allowed)
        view = self._views.get(shape) or self._see(shape, request)
        rules = self.rules
        policy = rules.policy
        if request.policy is not None:
            check_policy(policy := request.policy)
        budget = request.budget
        if budget is not None and rules.low_budget is not None and budget < rules.low_budget:
            policy = "cheapest"
        fits = request.tokens is None or view.smallest_context is None or _size(request) <= view.smallest_context
        if policy == "priority" and fits and budget is None and not facts.breakers:
            return view.plan or self._settled(view)
        return self._weigh(view, policy, fits, request, facts)

    def settled(self, dialect: Dialect) -> Plan | None:
        """The plan of a request that asks for nothing in particular while no breaker restricts anything; None when requests
        are weighed one by one, or no such request has been planned yet."""
        view = self._views.get((dialect, _NOTHING, _NOTHING, None))
        return view.plan if view is not None and self.rules.policy == "priority" else None

    # ------------------------------------------------------------ once for each shape of request

    def _see(self, shape: tuple[object, ...], request: PlanRequest) -> _View:
        rules = self.rules
        main: list[_Entry] = []
        fallbacks: list[_Entry] = []
        drops: list[Drop] = []
        free_pass = request.allowed is None or rules.route in request.allowed
        for entry in self._entries:
            found = _static_drop(entry.candidate, rules, request, free_pass)
            if found is not None:
                drops.append(Drop(entry.name, found[1], found[0]))
            elif entry.candidate.fallback:
                fallbacks.append(entry)
            else:
                main.append(entry)
        numbers = order_by(priority([entry.terms for entry in main], (), PolicyInputs()))
        main = [main[number] for number in numbers]
        if rules.kinds:
            main.sort(key=lambda entry: rules.kinds.index(entry.candidate.kind))
        view = _View(tuple(main), tuple(fallbacks), tuple(drops))
        if len(self._views) >= _MOST_SHAPES:
            self._views.clear()
        self._views[shape] = view
        return view

    def _settled(self, view: _View) -> Plan:
        scores = tuple(entry.terms.priority for entry in view.main)
        view.plan = self._plan("priority", [*view.main, *view.fallbacks], scores, view.drops)
        return view.plan

    def _plan(
        self,
        policy: str,
        entries: Sequence[_Entry],
        scores: tuple[float | None, ...],
        drops: tuple[Drop, ...],
        probe: bool = False,
    ) -> Plan:
        targets = tuple([entry.target for entry in entries])
        padded = scores[: len(targets)] + (None,) * (len(targets) - len(scores))
        return Plan(self.rules.route, self.rules.operation, policy, targets, drops, probe, padded)

    # ------------------------------------------------------------ for each request that needs it

    def _weigh(self, view: _View, policy: str, fits: bool, request: PlanRequest, facts: Facts) -> Plan:
        rules = self.rules
        inputs = PolicyInputs(
            now=facts.now,
            random=facts.random,
            input_tokens=request.tokens if request.tokens is not None else 1000,
            output_tokens=request.output_tokens if request.output_tokens is not None else _TYPICAL_OUTPUT,
            exploration=rules.exploration,
            half_life=rules.half_life,
            balance=rules.balance,
        )
        main, fallbacks, drops = list(view.main), list(view.fallbacks), list(view.drops)
        if request.budget is not None:
            main, fallbacks = _within_budget(main, fallbacks, request.budget, inputs, drops)
        if not fits:
            main, fallbacks = _within_context(main, fallbacks, _size(request), drops)
        if facts.breakers:
            refused: list[tuple[_Entry, BreakerView]] = []
            ready = _let_through(main, facts, refused)
            ready_fallbacks = _let_through(fallbacks, facts, refused)
            if refused:
                if not ready and not ready_fallbacks:
                    return self._probe(policy, refused, drops, facts.now)
                drops += [_breaker_drop(entry, breaker, facts.now) for entry, breaker in refused]
                main, fallbacks = ready, ready_fallbacks
        if policy == "priority":
            scores: tuple[float | None, ...] = tuple([entry.terms.priority for entry in main])
        else:
            main, scores = self._order(policy, main, facts, inputs)
        return self._plan(policy, [*main, *fallbacks], scores, tuple(drops))

    def _order(
        self, policy: str, entries: list[_Entry], facts: Facts, inputs: PolicyInputs
    ) -> tuple[list[_Entry], tuple[float | None, ...]]:
        observed = facts.targets
        scores = check_policy(policy)(
            [entry.terms for entry in entries], [observed.get(entry.name, NO_FACTS) for entry in entries], inputs
        )
        order = order_by(scores)
        kinds = self.rules.kinds
        if kinds:
            order.sort(key=lambda position: kinds.index(entries[position].candidate.kind))
        return [entries[position] for position in order], tuple([scores[position] for position in order])

    def _probe(self, policy: str, refused: list[tuple[_Entry, BreakerView]], drops: list[Drop], now: float) -> Plan:
        """Every breaker is open: the one that reopens first is tried, rather than nothing at all."""
        chosen, _ = min(refused, key=lambda pair: pair[1].until)
        drops += [_breaker_drop(entry, breaker, now) for entry, breaker in refused if entry is not chosen]
        return self._plan(policy, [chosen], (), tuple(drops), probe=True)


def plan(request: PlanRequest, candidates: Sequence[Candidate], facts: Facts, rules: RouteRules) -> Plan:
    """The plan of one request, with nothing kept for the next one. Raises as `RoutePlanner.plan` does."""
    return RoutePlanner(rules, candidates).plan(request, facts)


# ---------------------------------------------------------------- filters


def _static_drop(
    candidate: Candidate, rules: RouteRules, request: PlanRequest, free_pass: bool
) -> tuple[DropCause, str] | None:
    """Why a candidate cannot serve this shape of request, whatever happens; None when it can."""
    target = candidate.target
    if candidate.obstacle is not None:
        return "disabled", candidate.obstacle
    if not candidate.enabled:
        return "disabled", f"provider {target.provider} is switched off"
    if rules.operation not in candidate.operations:
        return "operation", f"provider {target.provider} does not serve {rules.operation}"
    if not any(_reaches(request.dialect, spoken) for spoken in candidate.dialects):
        return (
            "operation",
            f"provider {target.provider} does not speak {request.dialect}, nor a dialect it translates to",
        )
    if not free_pass and not _is_allowed(target, request.allowed):
        return "permission", "the caller's key does not allow it"
    if rules.kinds and candidate.kind not in rules.kinds:
        return "kind", f"the route uses no {candidate.kind} providers"
    lacking = sorted((rules.require | request.require) - candidate.tags)
    if lacking:
        return "requirement", f"lacks required {', '.join(lacking)}"
    if candidate.capabilities is not None and not request.needs <= candidate.capabilities:
        return "capability", f"cannot do {', '.join(sorted(request.needs - candidate.capabilities))}"
    return None


def _reaches(asked: Dialect, spoken: Dialect) -> bool:
    """Whether a request in one dialect can be sent in another: chat translates, everything else is relayed as it is."""
    return asked is spoken or (OPERATION_OF[asked] is Operation.CHAT and OPERATION_OF[spoken] is Operation.CHAT)


def _is_allowed(target: Target, allowed: frozenset[str] | None) -> bool:
    return allowed is None or target.provider in allowed or str(target) in allowed


def _size(request: PlanRequest) -> int:
    """Tokens that must fit into the context: the prompt, and the answer where its limit is said."""
    return (request.tokens or 0) + (request.output_tokens or 0)


def _within_budget(
    main: list[_Entry], fallbacks: list[_Entry], budget: float, inputs: PolicyInputs, drops: list[Drop]
) -> tuple[list[_Entry], list[_Entry]]:
    """Drop what would probably cost more than the budget; an unknown price is not held against a target."""

    def affordable(entry: _Entry) -> bool:
        cost = expected_cost(entry.terms, inputs)
        if cost is None or cost <= budget:
            return True
        drops.append(Drop(entry.name, f"about {cost:.6f} USD, over the budget of {budget:.6f} USD", "budget"))
        return False

    return [entry for entry in main if affordable(entry)], [entry for entry in fallbacks if affordable(entry)]


def _within_context(
    main: list[_Entry], fallbacks: list[_Entry], size: int, drops: list[Drop]
) -> tuple[list[_Entry], list[_Entry]]:
    """Drop what is probably too small. An estimate must not refuse a request: of all too small, the largest stays."""

    def fits(entry: _Entry) -> bool:
        return entry.candidate.context is None or size <= entry.candidate.context

    kept_main, kept_fallbacks = [entry for entry in main if fits(entry)], [entry for entry in fallbacks if fits(entry)]
    if not kept_main and not kept_fallbacks and (main or fallbacks):
        kept_main = [max([*main, *fallbacks], key=lambda entry: entry.candidate.context or 0)]
    kept = {id(entry) for entry in (*kept_main, *kept_fallbacks)}
    for entry in (*main, *fallbacks):
        if id(entry) not in kept:
            context = entry.candidate.context
            drops.append(Drop(entry.name, f"context of {context} tokens is too small for about {size}", "context"))
    return kept_main, kept_fallbacks


def _let_through(entries: list[_Entry], facts: Facts, refused: list[tuple[_Entry, BreakerView]]) -> list[_Entry]:
    """The entries whose breakers allow a request now; the others go to `refused` with the breaker that refuses longest."""
    breakers, now = facts.breakers, facts.now
    ready: list[_Entry] = []
    for entry in entries:
        provider, model = breakers.get(entry.provider_breaker), breakers.get(entry.model_breaker)
        if provider is not None and not provider.allows(now):
            if model is not None and model.until > provider.until:
                provider = model
            refused.append((entry, provider))
        elif model is not None and not model.allows(now):
            refused.append((entry, model))
        else:
            ready.append(entry)
    return ready


def _breaker_drop(entry: _Entry, breaker: BreakerView, now: float) -> Drop:
    wait = breaker.until - now
    cause = f" after {breaker.cause}" if breaker.cause else ""
    match breaker.state:
        case "open":
            words = f"breaker open for another {wait:.1f} s{cause}"
        case "half_open":
            words = f"breaker half open, its probe is under way{cause}"
        case _:
            words = f"rests for another {wait:.1f} s{cause}"
    return Drop(entry.name, words, "breaker")
