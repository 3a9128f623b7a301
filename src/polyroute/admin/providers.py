"""What operators are told of each provider: the ledger's figures beside the catalog's settings."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from polyroute.catalog.model import Catalog, Provider
from polyroute.ports import ProviderStats
from polyroute.types.operations import CATEGORY_OF, Category

RELIABLE = 80.0
"""A recommended provider's success rate is above this, in percent."""


class ProviderReport(BaseModel):
    """One provider in one category. Money in USD, `avgTime` in milliseconds, `successRate` in percent; null is unknown.

    `requests` counts attempts that tell of the provider: served ones and its failures. `totalCost` sums what is known;
    `avgCost` is that per request whose cost is known, a failed one counting as free unless it was charged.
    """

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)

    category: Category
    provider: str
    priority: int | None
    enabled: bool
    requests: int
    successes: int
    failures: int
    success_rate: float | None
    total_cost: float | None
    avg_cost: float | None
    avg_time: int | None


class Recommendation(BaseModel):
    """The provider to prefer, or null and why."""

    model_config = ConfigDict(frozen=True)

    recommended: str | None
    reason: str | None = None


def report(stats: Sequence[ProviderStats], catalog: Catalog) -> list[ProviderReport]:
    """Every provider of the catalog in every category that it serves, and every one that the ledger remembers: by category,
    then priority."""
    figures = {(Category(row.category), row.provider): row for row in stats}
    pairs = dict.fromkeys(
        (category, provider.name) for provider in catalog.providers.values() for category in categories_of(provider)
    )
    pairs.update(dict.fromkeys(figures))
    rows = [
        _report(category, name, catalog.providers.get(name), figures.get((category, name))) for category, name in pairs
    ]
    order = list(Category)
    return sorted(
        rows,
        key=lambda row: (
            order.index(row.category),
            not row.enabled,
            row.priority is None,
            row.priority or 0,
            row.provider,
        ),
    )


def categories_of(provider: Provider) -> set[Category]:
    """The categories in which a provider serves anything."""
    return {CATEGORY_OF[operation] for operation in provider.serves}


def cheapest_first(rows: Sequence[ProviderReport]) -> list[ProviderReport]:
    """By average cost; those whose cost is unknown come last, in their former order."""
    return sorted(rows, key=lambda row: (row.avg_cost is None, row.avg_cost or 0.0))


def recommend(rows: Sequence[ProviderReport]) -> Recommendation:
    """The cheapest of the enabled providers whose success rate is above RELIABLE."""
    used = [row for row in rows if row.enabled and row.success_rate is not None]
    if not used:
        return Recommendation(recommended=None, reason="no enabled provider has served a request yet")
    reliable = [row for row in used if row.success_rate is not None and row.success_rate > RELIABLE]
    if not reliable:
        return Recommendation(recommended=None, reason=f"no enabled provider has a success rate above {RELIABLE:g} %")
    priced = [row for row in cheapest_first(reliable) if row.avg_cost is not None]
    if not priced:
        return Recommendation(recommended=None, reason="the cost of every reliable provider is unknown")
    return Recommendation(recommended=priced[0].provider)


def _report(category: Category, name: str, provider: Provider | None, figures: ProviderStats | None) -> ProviderReport:
    requests = figures.requests if figures else 0
    total = figures.total_cost if figures else 0.0
    known = requests - figures.unpriced if figures else 0
    return ProviderReport(
        category=category,
        provider=name,
        priority=_priority(provider, category),
        enabled=provider is not None and provider.enabled,
        requests=requests,
        successes=figures.successes if figures else 0,
        failures=figures.failures if figures else 0,
        success_rate=round(100 * figures.successes / requests, 2) if figures and requests else None,
        total_cost=None if total is None else round(total, 10),
        avg_cost=round(total / known, 10) if total is not None and known else None,
        avg_time=round(figures.avg_time) if figures and figures.avg_time is not None else None,
    )


def _priority(provider: Provider | None, category: Category) -> int | None:
    """The best of the provider's priorities in a category; None for one that comes after all numbered ones."""
    if provider is None:
        return None
    numbers = [number for operation, number in provider.priority.items() if CATEGORY_OF[operation] is category]
    return min(numbers, default=None)
