"""From a catalog to planners: what it says of each target, and why a plan came out empty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from polyroute.catalog.model import Catalog, Provider, Route
from polyroute.routing.plan import Candidate, RoutePlanner, RouteRules
from polyroute.routing.policies import Terms, terms_of_price
from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.operations import OPERATION_OF, Capability, Operation, ProviderKind
from polyroute.types.plans import DropCause, Plan, Target
from polyroute.types.usage import Price


class ModelFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one model at one provider beyond its provider's row. `context` in tokens; None is unknown, and
    unknown `capabilities` are the provider's."""

    capabilities: frozenset[Capability] | None = None
    context: int | None = None
    tags: frozenset[str] = frozenset()
    price: Price | None = None
    weight: float = 1.0


_NOTHING = ModelFacts()


def route_planner(
    catalog: Catalog, route: Route, models: Mapping[Target, ModelFacts] | None = None, rules: RouteRules | None = None
) -> RoutePlanner:
    """The planner of a route; make it once for each catalog. `rules` replace those that the route implies.

    A built-in route follows its providers' priority numbers, a configured one the order in which its targets stand.
    """
    chosen = rules or RouteRules(route=route.name, operation=route.operation, policy=route.policy)
    main = candidates(catalog, route.operation, route.targets, models, by_provider_priority=route.built_in)
    chain = candidates(catalog, route.operation, route.fallbacks, models, fallback=True)
    unusable = [
        Candidate(target=Target(*drop.target.partition("/")[::2]), obstacle=drop.reason) for drop in route.drops
    ]
    return RoutePlanner(chosen, main + chain + unusable)


def candidates(
    catalog: Catalog,
    operation: Operation,
    targets: Sequence[Target],
    models: Mapping[Target, ModelFacts] | None = None,
    *,
    fallback: bool = False,
    by_provider_priority: bool = False,
) -> list[Candidate]:
    """Targets with everything the catalog says of them. Their priority is their position, or their provider's number."""
    known = models or {}
    skipped = {provider.name: provider.reason for provider in catalog.skipped}
    found: list[Candidate] = []
    for position, target in enumerate(targets, 1):
        facts, provider = known.get(target, _NOTHING), catalog.providers.get(target.provider)
        if provider is None:
            why = skipped.get(target.provider, "it is not configured")
            found.append(
                Candidate(target=target, obstacle=f"provider {target.provider} is not on: {why}", fallback=fallback)
            )
            continue
        number: float | None = provider.priority.get(operation) if by_provider_priority else position
        found.append(_candidate(target, provider, operation, facts, priority=number, fallback=fallback))
    return found


def _candidate(
    target: Target,
    provider: Provider,
    operation: Operation,
    facts: ModelFacts,
    *,
    priority: float | None,
    fallback: bool,
) -> Candidate:
    per_input, per_output, per_request = terms_of_price(facts.price)
    return Candidate(
        target=target,
        kind=provider.kind,
        enabled=provider.enabled,
        operations=provider.serves,
        dialects=frozenset(
            endpoint.dialect for endpoint in provider.endpoints if OPERATION_OF[endpoint.dialect] is operation
        ),
        capabilities=facts.capabilities or provider.capabilities or None,
        context=facts.context,
        tags=facts.tags,
        terms=Terms(
            priority=priority,
            weight=facts.weight,
            input_price=per_input,
            output_price=per_output,
            request_price=per_request,
            free=provider.kind is ProviderKind.LOCAL or target.model.endswith(":free"),
        ),
        fallback=fallback,
    )


_REFUSALS: tuple[tuple[DropCause, ErrorKind, str], ...] = (
    ("breaker", ErrorKind.UNAVAILABLE, "no target is available at the moment"),
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
