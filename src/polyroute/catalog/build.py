"""Everything that exists at one moment, as one immutable Catalog: built-in rows, configuration and environment together;
pure.

    catalog = build_catalog(load_rows(), read_input(settings.catalog_values()), settings.environment)
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from polyroute.catalog.assemble import assemble_provider
from polyroute.catalog.budgets import Surroundings, read_budgets, read_credits
from polyroute.catalog.inputs import CatalogInput, CatalogProblem, DefaultsEntry
from polyroute.catalog.model import Catalog, Defaults, Provider, SkippedProvider
from polyroute.catalog.money import read_currencies
from polyroute.catalog.problems import CatalogError, Problems
from polyroute.catalog.routes import RouteReader, built_in_routes, read_policy
from polyroute.catalog.rows import Row
from polyroute.ports import Timeouts


def build_catalog(
    rows: Mapping[str, Row],
    given: CatalogInput,
    environment: Mapping[str, str],
    *,
    sandbox_url: str | None = None,
) -> Catalog:
    """The catalog of one configuration. `environment` is where credentials and addresses are looked up.

    With `sandbox_url`, every built-in provider is on and is asked at `{sandbox_url}/{provider}` plus its real path.
    Raises CatalogError with everything that is wrong.
    """
    catalog, problems = _build(rows, given, environment, sandbox_url)
    if problems:
        raise CatalogError(problems)
    return catalog


def check_input(
    rows: Mapping[str, Row], given: CatalogInput, environment: Mapping[str, str]
) -> tuple[CatalogProblem, ...]:
    """Everything that `build_catalog` would refuse."""
    return tuple(_build(rows, given, environment, None)[1])


def _build(
    rows: Mapping[str, Row], given: CatalogInput, environment: Mapping[str, str], sandbox_url: str | None
) -> tuple[Catalog, list[CatalogProblem]]:
    problems = Problems()
    defaults = _defaults(given.defaults, problems)
    providers: dict[str, Provider] = {}
    skipped: dict[str, SkippedProvider] = {}
    serves = {name: row.serves for name, row in rows.items()}
    currencies = read_currencies(given.currencies, problems)
    for name in dict.fromkeys((*rows, *given.providers)):
        row, entry = rows.get(name), given.providers.get(name)
        if row is None and "/" in name:
            problems.add(("providers", name), "a provider's name may not contain a slash: targets are provider/model")
        found = assemble_provider(
            name,
            row,
            entry,
            environment,
            timeouts=defaults.timeouts,
            sandbox_url=sandbox_url,
            built_in=rows,
            currencies=currencies,
            problems=problems,
        )
        if isinstance(found, Provider):
            providers[name] = found
            serves[name] = found.serves
        else:
            skipped[name] = found
    reader = RouteReader(
        given, providers, skipped, serves=serves, defaults=defaults, currencies=currencies, problems=problems
    )
    routes = built_in_routes(providers, defaults) | reader.read_all()
    budgets = read_budgets(given.budgets, Surroundings(currencies, routes.keys()), problems)
    prices = read_credits(given.credits, problems)
    warnings = [
        f"provider {name} has no default model, so no built-in route uses it: set providers.{name}.default_models"
        for name in given.providers
        if name in providers and not providers[name].default_models
    ]
    for route in routes.values():
        if not route.built_in:
            warnings += [f"route {route.name}: {drop.target} is left out: {drop.reason}" for drop in route.drops]
        if not route.targets and not route.fallbacks:
            warnings.append(f"route {route.name} has no target left")
    catalog = Catalog(
        providers=MappingProxyType(providers),
        routes=MappingProxyType(routes),
        skipped=tuple(skipped.values()),
        defaults=defaults,
        warnings=tuple(warnings),
        currencies=MappingProxyType(currencies),
        budgets=MappingProxyType(budgets),
        credits=MappingProxyType(prices),
    )
    return catalog, problems.found


def _defaults(entry: DefaultsEntry, problems: Problems) -> Defaults:
    policy = read_policy(entry.policy, ("defaults", "policy"), problems)
    timeouts = msgspec.structs.replace(Timeouts(), **entry.timeouts)
    return Defaults(policy=policy, retries=entry.retries, timeouts=timeouts, output_tokens=entry.output_tokens)
