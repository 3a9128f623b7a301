"""The plan of one request: which targets are tried in which order, and why the others are not.

Most of it is known before the request comes: a `RoutePlanner` is made for each route when a catalog is, and keeps what it
has worked out for each shape of request (dialect, capabilities, requirements, permissions). A priority route whose breakers
are all closed then answers with a plan that exists already.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from polyroute.routing.arbitration import arbitrate
from polyroute.routing.breakers import BreakerView
from polyroute.routing.candidates import Candidate, Entry, Facts, PlanRequest, RouteRules, target_name
from polyroute.routing.filters import (
    breaker_drop,
    let_through,
    size_of,
    static_drop,
    with_room,
    within_budget,
    within_context,
)
from polyroute.routing.policies import NO_FACTS, PolicyInputs, check_policy, order_by, priority
from polyroute.types.operations import Capability
from polyroute.types.plans import Drop, Plan, Target

_MOST_SHAPES = 256
"""Callers choose capabilities and requirements, so what is kept by shape of request has an end."""
_IN_CONTENT = frozenset({Capability.VISION, Capability.AUDIO_INPUT, Capability.FILES, Capability.STREAMING})
_TYPICAL_OUTPUT = 500
"""Tokens of an answer whose request sets no limit; only relative costs and times depend on it."""
PRICED = frozenset({"cheapest", "balanced", "free_first"})
"""Policies that look at prices."""
OBSERVED = frozenset({"fastest", "balanced", "least_busy"})
"""Policies that look at what was observed."""
_MEASURED = frozenset({"cheapest", "balanced", "fastest"})
"""Policies that look at the size of a request."""
_ARBITERS = {"direct": "kind of provider", "price": "expected price", "latency": "observed speed"}


class _View:
    """What one shape of request finds: the entries that can serve it, in priority order, and the drops."""

    __slots__ = ("drops", "fallbacks", "groups", "main", "plan", "smallest_context")

    def __init__(self, main: tuple[Entry, ...], fallbacks: tuple[Entry, ...], drops: tuple[Drop, ...]) -> None:
        self.main, self.fallbacks, self.drops = main, fallbacks, drops
        self.plan: Plan | None = None
        contexts = [entry.candidate.context for entry in (*main, *fallbacks) if entry.candidate.context is not None]
        self.smallest_context = min(contexts, default=None)
        shared: dict[str, int] = {}
        for entry in main:
            shared[entry.identity] = shared.get(entry.identity, 0) + 1
        self.groups = frozenset(identity for identity, count in shared.items() if count > 1)
        """Models that several targets serve."""


class RoutePlanner:
    """Plans the requests of one route (or of one `provider/model`, or a bare model id) under one catalog."""

    __slots__ = ("_breakers", "_entries", "_views", "candidates", "contested", "names", "plain", "rules", "sized")

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
        self._entries = tuple(Entry(candidate, rules.operation) for candidate in self.candidates)
        self._breakers = frozenset(
            key for entry in self._entries for key in (entry.provider_breaker, entry.model_breaker)
        )
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

    def measures(self, policy: str | None) -> bool:
        """Whether the order depends on the size of a request that asks for this policy (None: the route's)."""
        rules = self.rules
        return (policy or rules.policy) in _MEASURED or rules.low_budget is not None or rules.same_model == "price"

    def prices_matter(self, policy: str | None) -> bool:
        """Whether the order depends on prices."""
        rules = self.rules
        return (policy or rules.policy) in PRICED or rules.low_budget is not None or rules.same_model == "price"

    def observes(self, policy: str | None) -> bool:
        """Whether the order depends on what was observed."""
        return (policy or self.rules.policy) in OBSERVED or self.rules.same_model in ("price", "latency")

    def with_fallbacks(self, candidates: Sequence[Candidate]) -> RoutePlanner:
        """The same route with the fallbacks that a caller asked for instead of its own."""
        own = [candidate for candidate in self.candidates if not candidate.fallback]
        return RoutePlanner(self.rules, own + [msgspec.structs.replace(one, fallback=True) for one in candidates])

    @property
    def prices(self) -> dict[str, tuple[float | None, float | None, float | None]]:
        """What each target charges, as (input, output, request), where anything is known."""
        return {
            entry.name: (entry.terms.input_price, entry.terms.output_price, entry.terms.request_price)
            for entry in self._entries
            if (entry.terms.input_price, entry.terms.output_price, entry.terms.request_price) != (None, None, None)
        }

    def with_prices(self, prices: Mapping[str, tuple[float | None, float | None, float | None]]) -> RoutePlanner:
        """The same route at other prices; a target that they do not name has none."""
        found = []
        for candidate in self.candidates:
            own, out, flat = prices.get(target_name(candidate.target), (None, None, None))
            terms = msgspec.structs.replace(candidate.terms, input_price=own, output_price=out, request_price=flat)
            found.append(msgspec.structs.replace(candidate, terms=terms))
        return RoutePlanner(self.rules, found)

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
        notes: tuple[str, ...] = ()
        if budget is not None and rules.low_budget is not None and budget < rules.low_budget:
            policy = "cheapest"
            notes = (
                f"the budget is below the route's low budget of {rules.low_budget:.6f} USD: the cheapest goes first",
            )
        fits = request.tokens is None or view.smallest_context is None or size_of(request) <= view.smallest_context
        calm = not facts.limited and self._breakers.isdisjoint(facts.breakers)
        if policy == "priority" and fits and budget is None and calm:
            if view.plan is not None:
                return view.plan
            if rules.same_model in ("listed", "direct") or not view.groups:
                return self._settle(view, request)
        return self._weigh(view, policy, fits, request, facts, notes)

    # ------------------------------------------------------------ once for each shape of request

    def _see(self, shape: tuple[object, ...], request: PlanRequest) -> _View:
        rules = self.rules
        main: list[Entry] = []
        fallbacks: list[Entry] = []
        drops: list[Drop] = []
        free_pass = request.allowed is None or rules.route in request.allowed
        for entry in self._entries:
            found = static_drop(entry.candidate, rules, request, free_pass)
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

    def _settle(self, view: _View, request: PlanRequest) -> Plan:
        main, scores = list(view.main), tuple([entry.terms.priority for entry in view.main])
        notes: tuple[str, ...] = ()
        if view.groups and self.rules.same_model != "listed":
            main, scores, notes = self._arbitrate(view, main, scores, request, Facts(now=0.0), PolicyInputs())
        plan = self._plan("priority", [*main, *view.fallbacks], scores, view.drops, notes=notes)
        view.plan = msgspec.structs.replace(plan, settled=True)
        return view.plan

    def _plan(
        self,
        policy: str,
        entries: Sequence[Entry],
        scores: tuple[float | None, ...],
        drops: tuple[Drop, ...],
        probe: bool = False,
        notes: tuple[str, ...] = (),
    ) -> Plan:
        targets = tuple([entry.target for entry in entries])
        padded = scores[: len(targets)] + (None,) * (len(targets) - len(scores))
        return Plan(self.rules.route, self.rules.operation, policy, targets, drops, probe, padded, notes)

    # ------------------------------------------------------------ for each request that needs it

    def _weigh(
        self, view: _View, policy: str, fits: bool, request: PlanRequest, facts: Facts, notes: tuple[str, ...]
    ) -> Plan:
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
            main, fallbacks = within_budget(main, fallbacks, request.budget, inputs, drops)
        if not fits:
            main, fallbacks = within_context(main, fallbacks, size_of(request), drops)
        if facts.breakers:
            refused: list[tuple[Entry, BreakerView]] = []
            ready = let_through(main, facts, refused)
            ready_fallbacks = let_through(fallbacks, facts, refused)
            if refused:
                if not ready and not ready_fallbacks:
                    return self._probe(policy, refused, drops, facts.now)
                drops += [breaker_drop(entry, breaker, facts.now) for entry, breaker in refused]
                main, fallbacks = ready, ready_fallbacks
        if facts.limited:
            main, fallbacks, full = with_room(main, fallbacks, facts.limited, drops)
            if full:
                notes += ("every target is at its limit: room is waited for",)
        if policy == "priority":
            scores: tuple[float | None, ...] = tuple([entry.terms.priority for entry in main])
        else:
            main, scores = self._order(policy, main, facts, inputs)
        if view.groups and rules.same_model != "listed":
            main, scores, told = self._arbitrate(view, main, scores, request, facts, inputs)
            notes += told
        return self._plan(policy, [*main, *fallbacks], scores, tuple(drops), notes=notes)

    def _order(
        self, policy: str, entries: list[Entry], facts: Facts, inputs: PolicyInputs
    ) -> tuple[list[Entry], tuple[float | None, ...]]:
        observed = facts.targets
        scores = check_policy(policy)(
            [entry.terms for entry in entries], [observed.get(entry.name, NO_FACTS) for entry in entries], inputs
        )
        order = order_by(scores)
        kinds = self.rules.kinds
        if kinds:
            order.sort(key=lambda position: kinds.index(entries[position].candidate.kind))
        return [entries[position] for position in order], tuple([scores[position] for position in order])

    def _arbitrate(
        self,
        view: _View,
        entries: list[Entry],
        scores: tuple[float | None, ...],
        request: PlanRequest,
        facts: Facts,
        inputs: PolicyInputs,
    ) -> tuple[list[Entry], tuple[float | None, ...], tuple[str, ...]]:
        """Order the targets of one model among the places that they have; and say so."""
        order, how = list(range(len(entries))), self.rules.same_model
        notes: list[str] = []
        for identity in sorted(view.groups):
            places = [place for place, entry in enumerate(entries) if entry.identity == identity]
            if len(places) < 2:
                continue
            group = [entries[place] for place in places]
            ranked = arbitrate(
                how,
                [entry.candidate.kind for entry in group],
                [request.dialect in entry.candidate.dialects for entry in group],
                [entry.terms for entry in group],
                [facts.targets.get(entry.name, NO_FACTS) for entry in group],
                inputs,
            )
            for place, number in zip(places, ranked, strict=True):
                order[place] = places[number]
            notes.append(f"the same model, by {_ARBITERS[how]}: {', '.join(group[number].name for number in ranked)}")
        return [entries[place] for place in order], tuple([scores[place] for place in order]), tuple(notes)

    def _probe(self, policy: str, refused: list[tuple[Entry, BreakerView]], drops: list[Drop], now: float) -> Plan:
        """Every breaker is open: the one that reopens first is tried, rather than nothing at all."""
        chosen, _ = min(refused, key=lambda pair: pair[1].until)
        drops += [breaker_drop(entry, breaker, now) for entry, breaker in refused if entry is not chosen]
        return self._plan(policy, [chosen], (), tuple(drops), probe=True)


def plan(request: PlanRequest, candidates: Sequence[Candidate], facts: Facts, rules: RouteRules) -> Plan:
    """The plan of one request, with nothing kept for the next one. Raises as `RoutePlanner.plan` does."""
    return RoutePlanner(rules, candidates).plan(request, facts)
