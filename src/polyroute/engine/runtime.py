"""What one request sees from beginning to end: an immutable snapshot of catalog, adapters and planners, replaced whole on
reload."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from polyroute.catalog.model import Catalog, Provider, Route
from polyroute.catalog.resolve import resolve
from polyroute.engine.envelope import invalid
from polyroute.ports import Adapter, Credential, Timeouts
from polyroute.routing.plan import Candidate, RoutePlanner, RouteRules
from polyroute.routing.policies import Terms
from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.operations import Operation
from polyroute.types.plans import Target

_MOST_PLANNERS = 4096
"""Callers can name any model of a provider, so what is kept by name has an end."""
_LAST = 1_000_000
"""The priority of a provider that has no number: after all that have one."""


class LiveProvider(msgspec.Struct, frozen=True):
    """A provider that is on, with what is needed to call it. `timeouts` is None where the route's or defaults hold."""

    row: Provider
    adapter: Adapter
    credentials: tuple[Credential, ...]


class Choice(msgspec.Struct, frozen=True):
    """What a caller's `model` stands for: its planner, and what the route says of patience."""

    name: str
    planner: RoutePlanner
    timeouts: Timeouts
    retries: int
    model_id: str | None


class Runtime:
    """A snapshot. `model_ids` maps what a caller names to the id of its label in the ledger's `ai_models`."""

    def __init__(self, catalog: Catalog, providers: Mapping[str, LiveProvider], model_ids: Mapping[str, str]) -> None:
        self.catalog = catalog
        self.providers = providers
        self._model_ids = model_ids
        self._choices: dict[tuple[str, Operation], Choice] = {}

    def choose(self, model: str, operation: Operation) -> Choice:
        """What a name means for an operation. Raises PolyrouteError: `model_not_found` with the nearest names,
        `invalid_request` when the route is for another operation."""
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
        defaults = self.catalog.defaults
        route = found.route
        if route is not None and route.operation is not operation:
            raise invalid(f"The route '{model}' is for {route.operation}, not for {operation}.", "model")
        if route is None and not found.targets:
            hint = f" Did you mean {', '.join(found.nearest)}?" if found.nearest else ""
            raise PolyrouteError(
                ErrorKind.MODEL_NOT_FOUND,
                f"'{model}' is no route, no provider/model and no model that is known here for {operation}.{hint}"
                " GET /v1/models lists them.",
                param="model", code="model_not_found",
            )  # fmt: skip
        return Choice(
            name=model,
            planner=self._planner(model, operation, route, found.targets),
            timeouts=(route.timeouts if route is not None else None) or defaults.timeouts,
            retries=route.retries if route is not None and route.retries is not None else defaults.retries,
            model_id=self._model_ids.get(model),
        )

    def _planner(
        self, name: str, operation: Operation, route: Route | None, targets: tuple[Target, ...]
    ) -> RoutePlanner:
        policy = route.policy if route is not None else self.catalog.defaults.policy
        main = [self._candidate(target, operation) for target in (route.targets if route is not None else targets)]
        chain = () if route is None else route.fallbacks
        return RoutePlanner(
            RouteRules(route=name, operation=operation, policy=policy),
            [*main, *(self._candidate(target, operation, fallback=True) for target in chain)],
        )

    def _candidate(self, target: Target, operation: Operation, *, fallback: bool = False) -> Candidate:
        live = self.providers.get(target.provider)
        if live is None:
            reasons = {skipped.name: skipped.reason for skipped in self.catalog.skipped}
            reason = reasons.get(target.provider, "it is not configured")
            return Candidate(target=target, obstacle=f"provider {target.provider} is off: {reason}", fallback=fallback)
        row = live.row
        return Candidate(
            target=target,
            kind=row.kind,
            enabled=row.enabled,
            operations=row.serves,
            dialects=frozenset(endpoint.dialect for endpoint in row.endpoints),
            capabilities=None,
            terms=Terms(priority=row.priority.get(operation, _LAST)),
            fallback=fallback,
        )
