"""From a catalog to planners: what it says of each target, and why a plan came out empty."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from polyroute.catalog.model import Catalog, Level, ModelFacts, Provider, Route
from polyroute.routing.candidates import Candidate, RouteRules
from polyroute.routing.plan import RoutePlanner
from polyroute.routing.policies import Terms, terms_of_price
from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.media import OPERATION_OF_TASK
from polyroute.types.operations import MEDIA_DIALECT_OF, OPERATION_OF, Capability, Dialect, Operation, ProviderKind
from polyroute.types.plans import DropCause, Plan, Target
from polyroute.types.usage import Price

_NOTHING = ModelFacts()

PriceOf = Callable[[str, str], Price | None]
"""The price of a model at a provider, at once; None when unknown."""


def no_price(_provider: str, _model: str) -> Price | None:
    """Where no prices are at hand."""
    return None


def rules_of(route: Route) -> RouteRules:
    """How a route chooses."""
    return RouteRules(
        route=route.name,
        operation=route.operation,
        policy=route.policy,
        kinds=route.kinds,
        require=route.require - frozenset(Capability),
        needs=frozenset(Capability(name) for name in route.require & frozenset(Capability)),
        same_model=route.same_model,
        low_budget=route.low_budget,
        balance=route.balance,
        exploration=route.exploration,
    )


def route_planner(
    catalog: Catalog,
    route: Route,
    models: Mapping[Target, ModelFacts] | None = None,
    rules: RouteRules | None = None,
    *,
    price: PriceOf = no_price,
    level: Level | None = None,
) -> RoutePlanner:
    """The planner of a route; make it once for each catalog. `rules` replace those that the route implies, `models` what is
    declared of them; `level` takes the targets that the route has for requests of that complexity.

    A built-in route follows its providers' priority numbers, a configured one the order in which its targets stand.
    """
    targets = route.targets
    if level is not None and route.split is not None:
        targets = getattr(route.split, level)
    source = _Source(catalog, route.operation, models or {}, price, route.weights, asked=route.name)
    main = source.candidates(targets, by_provider_priority=route.built_in)
    chain = source.candidates(route.fallbacks, fallback=True)
    unusable = [
        Candidate(target=Target(*drop.target.partition("/")[::2]), obstacle=drop.reason) for drop in route.drops
    ]
    return RoutePlanner(rules or rules_of(route), main + chain + unusable)


def chain_planner(
    catalog: Catalog, route: Route, targets: Sequence[Target], *, price: PriceOf = no_price
) -> RoutePlanner:
    """The planner of one of a route's separate chains, which is tried in its own order."""
    rules = RouteRules(route=route.name, operation=route.operation)
    source = _Source(catalog, route.operation, {}, price, {}, asked=route.name)
    return RoutePlanner(rules, source.candidates(targets))


class _Source:
    """Where what is known of a target comes from."""

    def __init__(
        self,
        catalog: Catalog,
        operation: Operation,
        models: Mapping[Target, ModelFacts],
        price: PriceOf,
        weights: Mapping[Target, float],
        *,
        asked: str,
    ) -> None:
        self._providers = catalog.providers
        self._skipped = {provider.name: provider.reason for provider in catalog.skipped}
        self._operation = operation
        self._models = models
        self._price = price
        self._weights = weights
        self._asked = asked
        self._tasks = [task for task, made in OPERATION_OF_TASK.items() if made is operation]

    def candidates(
        self, targets: Sequence[Target], *, fallback: bool = False, by_provider_priority: bool = False
    ) -> list[Candidate]:
        """Targets with everything known of them. Their priority is their position, or their provider's number."""
        found: list[Candidate] = []
        for position, target in enumerate(targets, 1):
            provider = self._providers.get(target.provider)
            if provider is None:
                why = self._skipped.get(target.provider, "it is not configured")
                found.append(
                    Candidate(target=target, obstacle=f"provider {target.provider} is not on: {why}", fallback=fallback)
                )
                continue
            number: float | None = provider.priority.get(self._operation) if by_provider_priority else position
            found.append(self._candidate(target, provider, priority=number, fallback=fallback))
        return found

    def _dialects(self, provider: Provider) -> frozenset[Dialect]:
        """What it speaks for the operation; one with a media adapter takes any media request."""
        spoken = {one.dialect for one in provider.endpoints if OPERATION_OF[one.dialect] is self._operation}
        if spoken and provider.media_adapter is not None and self._operation in MEDIA_DIALECT_OF:
            spoken.add(MEDIA_DIALECT_OF[self._operation])
        return frozenset(spoken)

    def _others(self, target: Target, provider: Provider) -> dict[Capability, tuple[str, ...]]:
        """What a media model is not for, and the provider's models that are."""
        named = self._asked in (str(target), target.model)
        return {
            Capability(task.value): provider.media[task]
            for task in self._tasks
            if task in provider.media and provider.model_for(task, target.model, named=named) is None
        }

    def _candidate(self, target: Target, provider: Provider, *, priority: float | None, fallback: bool) -> Candidate:
        facts = self._models.get(target) or provider.model_facts.get(target.model, _NOTHING)
        price, mark_up = facts.price, 1.0
        if price is None:
            price, mark_up = self._price(target.provider, target.model), provider.mark_up
        capabilities = (provider.capabilities or None) if facts.capabilities is None else facts.capabilities
        others = self._others(target, provider) if provider.media and self._tasks else {}
        if others and capabilities is not None:
            capabilities = frozenset(capabilities - others.keys())
        per_input, per_output, per_request = terms_of_price(price, mark_up=mark_up)
        return Candidate(
            target=target,
            kind=provider.kind,
            enabled=provider.enabled,
            operations=provider.serves,
            dialects=self._dialects(provider),
            capabilities=capabilities,
            others=others,
            context=facts.context,
            tags=provider.tags | facts.tags,
            terms=Terms(
                priority=priority,
                weight=self._weights.get(target, 1.0),
                input_price=per_input,
                output_price=per_output,
                request_price=per_request,
                free=provider.kind is ProviderKind.LOCAL or target.model.endswith(":free"),
            ),
            fallback=fallback,
        )


_REFUSALS: tuple[tuple[DropCause, ErrorKind, str], ...] = (
    ("breaker", ErrorKind.UNAVAILABLE, "no target is available at the moment"),
    ("limit", ErrorKind.RATE_LIMITED, "no target has room at the moment"),
    ("context", ErrorKind.CONTEXT_TOO_LONG, "the request is too long for every target"),
    ("budget", ErrorKind.OVER_BUDGET, "every target costs more than the budget"),
    ("capability", ErrorKind.UNSUPPORTED, "no target can do what the request needs"),
    ("requirement", ErrorKind.UNSUPPORTED, "no target meets the requirements"),
    ("permission", ErrorKind.FORBIDDEN, "the key allows no target"),
    ("operation", ErrorKind.UNSUPPORTED, "no target serves this operation in this dialect"),
    ("kind", ErrorKind.UNAVAILABLE, "no target is of a kind that the route uses"),
    ("disabled", ErrorKind.UNAVAILABLE, "no provider of the route is on"),
)


def refusal(plan: Plan) -> PolyrouteError:
    """The error for a plan without targets: its kind is that of the drops that came closest to being usable, and every
    drop is named."""
    causes = {drop.cause for drop in plan.drops}
    kind, words = next(
        ((kind, words) for cause, kind, words in _REFUSALS if cause in causes),
        (ErrorKind.UNAVAILABLE, "the route has no targets"),
    )
    listed = "; ".join(f"{drop.target}: {drop.reason}" for drop in plan.drops)
    return PolyrouteError(kind, f"`{plan.route}`: {words}" + (f" ({listed})" if listed else ""))
