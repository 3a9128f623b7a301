"""The targets that a catalog will be charged for; pure."""

from __future__ import annotations

from polyroute.catalog.model import Catalog


def charged_targets(catalog: Catalog) -> list[tuple[str, str]]:
    """Every (provider, model) that a route or a default names, of providers that are on and not one's own machines."""
    named = {
        (target.provider, target.model)
        for route in catalog.routes.values()
        for chain in (route.targets, route.fallbacks, route.longer_context, route.other_filter)
        for target in chain
    }
    for row in catalog.providers.values():
        named |= {(row.name, model) for operation, model in row.default_models.items() if operation in row.serves}
    on = {row.name for row in catalog.providers.values() if row.enabled and row.kind != "local"}
    return sorted(target for target in named if target[0] in on and target[1])
