"""`GET /v1/models`: routes and targets, in a shape that OpenAI's and Anthropic's SDKs both read."""

from __future__ import annotations

from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any

import msgspec

from polyroute.catalog.model import Catalog, Persona, Provider
from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.operations import Operation
from polyroute.types.records import KeyRecord


def model_list(catalog: Catalog, key: KeyRecord | None) -> bytes:
    """Everything that this key may ask for."""
    rows = list(_rows(catalog, key).values())
    return msgspec.json.encode(
        {
            "object": "list",
            "data": rows,
            "has_more": False,
            "first_id": rows[0]["id"] if rows else None,
            "last_id": rows[-1]["id"] if rows else None,
        }
    )


def model_row(catalog: Catalog, key: KeyRecord | None, name: str) -> bytes:
    """One row. Raises PolyrouteError(model_not_found) with the nearest names."""
    rows = _rows(catalog, key)
    if name not in rows:
        near = get_close_matches(name, rows, n=3)
        hint = f" Did you mean {', '.join(near)}?" if near else ""
        raise PolyrouteError(ErrorKind.MODEL_NOT_FOUND, f"There is no model '{name}'.{hint}", code="model_not_found")
    return msgspec.json.encode(rows[name])


def names_for(catalog: Catalog, key: KeyRecord | None, operation: Operation) -> list[str]:
    """The names that this key may ask for an operation, routes first."""
    return [name for name, row in _rows(catalog, key).items() if operation in row["polyroute"]["operations"]]


def _rows(catalog: Catalog, key: KeyRecord | None) -> dict[str, dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    for route in catalog.routes.values():
        targets = [str(target) for target in (*route.targets, *route.fallbacks)]
        rows[route.name] = _row(route.name, "polyroute", [route.operation], targets=targets, persona=route.persona)
    for provider in catalog.providers.values():
        for model, operations in _models_of(provider).items():
            name = f"{provider.name}/{model}"
            rows[name] = _row(name, provider.name, operations, provider=provider)
    if key is not None and key.routes is not None:
        rows = {name: row for name, row in rows.items() if name in key.routes}
    return rows


def _models_of(provider: Provider) -> dict[str, list[Operation]]:
    found: dict[str, list[Operation]] = {}
    if provider.enabled:
        for operation, model in provider.default_models.items():
            found.setdefault(model, []).append(operation)
        for operation, models in provider.models.items():
            for model in models:
                known = found.setdefault(model, [])
                if operation not in known:
                    known.append(operation)
    return found


def _row(
    name: str,
    owner: str,
    operations: list[Operation],
    *,
    targets: list[str] | None = None,
    persona: Persona | None = None,
    provider: Provider | None = None,
) -> dict[str, Any]:
    checked = provider.checked if provider is not None else None
    created = (
        datetime(checked.year, checked.month, checked.day, tzinfo=UTC) if checked else datetime(2026, 1, 1, tzinfo=UTC)
    )
    facts: dict[str, Any] = {"operations": sorted(operations)}
    if targets is not None:
        facts["targets"] = targets
    if persona is not None:
        facts["persona"] = {
            key: value for key, value in msgspec.to_builtins(persona).items() if value not in (None, [])
        }
    if provider is not None:
        facts |= {
            "kind": provider.kind,
            "capabilities": sorted(provider.capabilities),
            "simulated": provider.simulated,
        }
    return {
        "id": name,
        "object": "model",
        "created": int(created.timestamp()),
        "owned_by": owner,
        "type": "model",
        "display_name": name,
        "created_at": created.isoformat().replace("+00:00", "Z"),
        "polyroute": facts,
    }
