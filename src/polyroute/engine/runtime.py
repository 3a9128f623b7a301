"""What one request sees from beginning to end: an immutable snapshot of catalog, adapters and planners, replaced whole on
reload."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import msgspec

from polyroute.catalog.model import Catalog, Level, Persona, Provider, RescueMode, Split
from polyroute.catalog.resolve import Unresolved, resolve
from polyroute.engine.access import ProviderAccess
from polyroute.engine.hedging import Hedging
from polyroute.ports import Adapter, Credential, MediaAdapter, PriceBook, Timeouts
from polyroute.routing.plan import OBSERVED, RoutePlanner
from polyroute.routing.planners import chain_planner, route_planner
from polyroute.routing.retry import Restriction, RetryBudget
from polyroute.types.limits import Limits
from polyroute.types.operations import Operation
from polyroute.types.plans import Target
from polyroute.types.records import label_id
from polyroute.types.usage import Price, scaled

_MOST_PLANNERS = 4096
"""Callers can name any model of a provider, so what is kept by name has an end."""


class LiveProvider(msgspec.Struct, frozen=True):
    """A provider that is on, with what is needed to call it. `timeouts` is None where the route's or defaults hold."""

    row: Provider
    adapter: Adapter
    credentials: tuple[Credential, ...]
    retries: RetryBudget
    access: ProviderAccess
    media: MediaAdapter | None = None


class Choice(msgspec.Struct, frozen=True):
    """What a caller's `model` stands for: its planner, what the route says of patience and persona, and the id of the
    label in the ledger's `ai_models`. `levels` are the planners by complexity where the route has a split, `chains` those
    of its separate chains."""

    name: str
    planner: RoutePlanner
    levels: Mapping[Level, RoutePlanner]
    split: Split | None
    chains: Mapping[Restriction, RoutePlanner]
    timeouts: Timeouts
    retries: int
    model_id: str
    persona: Persona | None
    limits: Limits | None
    rescue: RescueMode
    hedging: Hedging | None
    log_content: bool | None = None


class SnapshotPrices:
    """Implements `ports.PriceBook`: the configuration's own prices before those of the tables."""

    def __init__(self, catalog: Catalog, tables: PriceBook) -> None:
        self._own = {
            (provider.name, model): facts.price
            for provider in catalog.providers.values()
            for model, facts in provider.model_facts.items()
            if facts.price is not None
        }
        self._mark_ups = {
            row.name: (
                Decimal(str(row.mark_up)),
                "" if row.mark_up_date is None else f" of {row.mark_up_date.isoformat()}",
            )
            for row in catalog.providers.values()
            if row.mark_up != 1
        }
        self._marked: dict[tuple[str, str], tuple[Price, Price]] = {}
        self._tables = tables

    @property
    def loaded(self) -> bool:
        """Whether the tables answer at once."""
        return self._tables.loaded

    def price(self, provider: str, model: str) -> Price | None:
        """None when unknown."""
        if self._own:
            own = self._own.get((provider, model))
            if own is not None:
                return own
        price = self._tables.price(provider, model)
        if self._mark_ups and price is not None and provider in self._mark_ups:
            return self._mark_up(provider, model, price)
        return price

    def bare_price(self, provider: str, model: str) -> Price | None:
        """Without the provider's mark-up, which whoever compares prices puts on."""
        own = self._own.get((provider, model))
        return self._tables.price(provider, model) if own is None else own

    def _mark_up(self, provider: str, model: str, price: Price) -> Price:
        known = self._marked.get((provider, model))
        if known is None or known[0] is not price:
            factor, since = self._mark_ups[provider]
            marked = scaled(price, factor, f"{price.version}, x {factor}{since}")
            if len(self._marked) >= _MOST_PLANNERS:
                self._marked.clear()
            known = self._marked[provider, model] = (price, marked)
        return known[1]


class Runtime:
    """A snapshot of what exists, with what has been worked out of it so far. `tags` are those that some target has;
    `observes` says that some route looks at what was observed."""

    def __init__(self, catalog: Catalog, providers: Mapping[str, LiveProvider], prices: PriceBook) -> None:
        self.catalog = catalog
        self.providers = providers
        self.prices = SnapshotPrices(catalog, prices)
        told = catalog.providers.values()
        self.tags = frozenset(tag for row in told for tag in row.tags).union(
            *(facts.tags for row in told for facts in row.model_facts.values())
        )
        self.observes = catalog.defaults.policy in OBSERVED or any(
            route.policy in OBSERVED or route.same_model in ("price", "latency") for route in catalog.routes.values()
        )
        self.constrained: set[str] = set()
        """Providers with limits, several credentials or a benched one: all others can be asked at any time."""
        for name, provider in providers.items():
            provider.access.watch(self.constrained, name)
        self._choices: dict[tuple[str, Operation], Choice] = {}
        self._variants: dict[tuple[str, Operation, tuple[str, ...], Level | None], RoutePlanner] = {}

    def forget_prices(self) -> None:
        """Work out everything anew when it is next asked for: prices were read, or may have changed."""
        self._choices, self._variants = {}, {}

    def inherit(self, earlier: Runtime) -> None:
        """Take over what was learned of providers before the configuration was read again."""
        for name, provider in self.providers.items():
            before = earlier.providers.get(name)
            if before is not None:
                provider.access.inherit(before.access)

    def choose(self, model: str, operation: Operation) -> Choice:
        """What a name means for an operation. Raises PolyrouteError: `not_found` with the nearest names, `invalid_request`
        when the route is for another operation."""
        choice = self._choices.get((model, operation))
        if choice is None:
            choice = self._make_choice(model, operation)
            if len(self._choices) >= _MOST_PLANNERS:
                self._choices.clear()
            self._choices[model, operation] = choice
        return choice

    def planner(
        self, choice: Choice, operation: Operation, fallbacks: tuple[str, ...] = (), level: Level | None = None
    ) -> RoutePlanner:
        """The choice's planner for requests of this complexity, with the fallbacks that a caller asked for. Raises as
        `choose` does for a fallback that means nothing."""
        own = choice.planner if level is None else choice.levels.get(level, choice.planner)
        if not fallbacks:
            return own
        key = (choice.name, operation, fallbacks, level)
        found = self._variants.get(key)
        if found is None:
            listed = [one for name in fallbacks for one in self.choose(name, operation).planner.candidates]
            found = own.with_fallbacks(listed)
            if len(self._variants) >= _MOST_PLANNERS:
                self._variants.clear()
            self._variants[key] = found
        return found

    def _price(self, provider: str, model: str) -> Price | None:
        """For planning, which must not wait: unknown until the tables are read."""
        return self.prices.bare_price(provider, model) if self.prices.loaded else None

    def _make_choice(self, model: str, operation: Operation) -> Choice:
        found = resolve(self.catalog, model, operation)
        if isinstance(found, Unresolved):
            raise found.error()
        route, defaults = found.route, self.catalog.defaults
        levels: tuple[Level, ...] = () if route.split is None else ("simple", "complex")
        chains: dict[Restriction, tuple[Target, ...]] = {
            "longer_context": route.longer_context, "other_filter": route.other_filter,
        }  # fmt: skip
        return Choice(
            name=model,
            planner=route_planner(self.catalog, route, price=self._price),
            levels={level: route_planner(self.catalog, route, price=self._price, level=level) for level in levels},
            split=route.split,
            chains={
                to: chain_planner(self.catalog, route, targets, price=self._price)
                for to, targets in chains.items()
                if targets
            },
            timeouts=route.timeouts or defaults.timeouts,
            retries=defaults.retries if route.retries is None else route.retries,
            model_id=label_id(operation, model),
            persona=route.persona,
            limits=route.limits,
            rescue=route.rescue,
            hedging=None if route.hedge is None else Hedging(route.hedge),
            log_content=route.log_content,
        )
