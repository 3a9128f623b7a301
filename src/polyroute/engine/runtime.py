"""What one request sees from beginning to end: an immutable snapshot of catalog, adapters and planners, replaced whole on
reload."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from polyroute.catalog.model import Catalog, Persona, Provider
from polyroute.catalog.resolve import Unresolved, resolve
from polyroute.engine.access import ProviderAccess
from polyroute.ports import Adapter, Credential, Timeouts
from polyroute.routing.plan import Candidate, RoutePlanner
from polyroute.routing.planners import route_planner
from polyroute.routing.retry import RetryBudget
from polyroute.types.limits import Limits
from polyroute.types.operations import Operation
from polyroute.types.records import label_id

_MOST_PLANNERS = 4096
"""Callers can name any model of a provider, so what is kept by name has an end."""


class LiveProvider(msgspec.Struct, frozen=True):
    """A provider that is on, with what is needed to call it. `timeouts` is None where the route's or defaults hold."""

    row: Provider
    adapter: Adapter
    credentials: tuple[Credential, ...]
    retries: RetryBudget
    access: ProviderAccess


class Choice(msgspec.Struct, frozen=True):
    """What a caller's `model` stands for: its planner, what the route says of patience and persona, and the id of the
    label in the ledger's `ai_models`."""

    name: str
    planner: RoutePlanner
    timeouts: Timeouts
    retries: int
    model_id: str
    persona: Persona | None
    limits: Limits | None


class Runtime:
    """A snapshot of what exists, with what has been worked out of it so far."""

    def __init__(self, catalog: Catalog, providers: Mapping[str, LiveProvider]) -> None:
        self.catalog = catalog
        self.providers = providers
        self._choices: dict[tuple[str, Operation], Choice] = {}

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

    def candidates(self, names: tuple[str, ...], operation: Operation) -> list[Candidate]:
        """The targets of the names that a caller gave as fallbacks. Raises as `choose` does."""
        return [candidate for name in names for candidate in self.choose(name, operation).planner.candidates]

    def _make_choice(self, model: str, operation: Operation) -> Choice:
        found = resolve(self.catalog, model, operation)
        if isinstance(found, Unresolved):
            raise found.error()
        route, defaults = found.route, self.catalog.defaults
        return Choice(
            name=model,
            planner=route_planner(self.catalog, route),
            timeouts=route.timeouts or defaults.timeouts,
            retries=defaults.retries if route.retries is None else route.retries,
            model_id=label_id(operation, model),
            persona=route.persona,
            limits=route.limits,
        )
