"""What a caller's `model` means: a route, a target, or a bare model id; pure."""

from __future__ import annotations

import difflib

import msgspec

from polyroute.catalog.model import Catalog, Route
from polyroute.catalog.problems import find_nearest
from polyroute.catalog.routes import targets_listing
from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.operations import Operation
from polyroute.types.plans import Target


class Resolved(msgspec.Struct, frozen=True):
    """A name that exists. For a target or a bare model id the route is made up for this request, under the caller's own
    name."""

    route: Route


class Unresolved(msgspec.Struct, frozen=True, kw_only=True):
    """A name that means nothing here, or cannot do what is asked; `nearest` are names that can."""

    kind: ErrorKind
    message: str
    nearest: tuple[str, ...] = ()

    def error(self) -> PolyrouteError:
        """What the caller is told."""
        return PolyrouteError(self.kind, self.message, param="model", code="model_not_found")


Resolution = Resolved | Unresolved

_SHOWN = 200
"""Characters of a caller's name that are looked at and shown: it is their input, of any length."""


def resolve(catalog: Catalog, model: str, operation: Operation) -> Resolution:
    """A caller's `model` → what is to be tried, in this order: a route; `provider/model`, split at the first slash; a bare
    model id, which means every provider that is on and lists it."""
    route = catalog.routes.get(model)
    if route is not None:
        if route.operation is operation:
            return Resolved(route)
        return _refuse(catalog, operation, f"route {model} is for {route.operation}, not for {operation}", model)
    name, slash, own_id = model.partition("/")
    if slash and own_id and name in catalog.providers:
        if operation in catalog.providers[name].serves:
            return Resolved(_one_off(catalog, model, operation, [Target(name, own_id)]))
        return _refuse(catalog, operation, f"{name} does not serve {operation}", model)
    if slash:
        reason = next((skipped.reason for skipped in catalog.skipped if skipped.name == name), None)
        if reason is not None:
            return _unknown(
                catalog, operation, f"model {model} is not available: provider {name} is off: {reason}", model
            )
    listed = targets_listing(catalog.providers, model, operation)
    if listed:
        return Resolved(_one_off(catalog, model, operation, listed))
    meant = find_nearest(name, catalog.providers) if slash and own_id else None
    return _unknown(
        catalog, operation, f"unknown model {model!r}", model, () if meant is None else (f"{meant}/{own_id}",)
    )


def known_names(catalog: Catalog, operation: Operation) -> list[str]:
    """Everything that a caller can name for an operation: routes, then targets, then bare model ids."""
    routes = [name for name, route in catalog.routes.items() if route.operation is operation]
    listed = [
        (provider.name, model)
        for provider in catalog.providers.values()
        if operation in provider.serves
        for model in provider.models.get(operation, ())
    ]
    return [*routes, *(f"{name}/{model}" for name, model in listed), *dict.fromkeys(model for _, model in listed)]


def _one_off(catalog: Catalog, name: str, operation: Operation, targets: list[Target]) -> Route:
    return Route(name=name, operation=operation, policy=catalog.defaults.policy, targets=tuple(targets))


def _refuse(catalog: Catalog, operation: Operation, message: str, model: str) -> Unresolved:
    nearest = _nearest(catalog, operation, model)
    return _answer(ErrorKind.INVALID_REQUEST, catalog, operation, message, nearest)


def _unknown(
    catalog: Catalog, operation: Operation, message: str, model: str, meant: tuple[str, ...] = ()
) -> Unresolved:
    return _answer(ErrorKind.NOT_FOUND, catalog, operation, message, meant or _nearest(catalog, operation, model))


def _nearest(catalog: Catalog, operation: Operation, model: str) -> tuple[str, ...]:
    folded = {name.lower(): name for name in reversed(known_names(catalog, operation))}
    close = difflib.get_close_matches(model[:_SHOWN].lower(), folded, n=3, cutoff=0.6)
    return tuple(folded[name] for name in close)


def _answer(
    kind: ErrorKind, catalog: Catalog, operation: Operation, message: str, nearest: tuple[str, ...]
) -> Unresolved:
    shown = message if len(message) <= 2 * _SHOWN else message[: 2 * _SHOWN] + "…"
    if nearest:
        return Unresolved(kind=kind, message=f"{shown}; did you mean {', '.join(nearest)}?", nearest=nearest)
    names = known_names(catalog, operation)[:3]
    hint = f"; known are for example {', '.join(names)}" if names else f"; nothing here serves {operation}"
    return Unresolved(kind=kind, message=shown + hint)
