"""Catalog rows for tests of adapters."""

from __future__ import annotations

from datetime import date
from typing import Any

from polyroute.catalog.model import Provider
from polyroute.ports import Endpoint
from polyroute.types.operations import OPERATION_OF, Dialect, ProviderKind


def provider_row(adapter: str, endpoints: dict[Dialect, str | Endpoint], **changes: Any) -> Provider:
    """A row that is on, with one credential; endpoints by dialect, as paths or whole."""
    built = tuple(
        endpoint if isinstance(endpoint, Endpoint) else Endpoint(dialect=dialect, path=endpoint)
        for dialect, endpoint in endpoints.items()
    )
    values: dict[str, Any] = {
        "name": "acme",
        "kind": ProviderKind.DIRECT,
        "adapter": adapter,
        "base_url": "https://api.acme.test/v1",
        "auth": "bearer",
        "endpoints": built,
        "credentials": ("sk-acme-secret-1234567890",),
        "serves": frozenset(OPERATION_OF[endpoint.dialect] for endpoint in built),
        "priority": {},
        "default_models": {},
        "models": {},
        "quirks": {},
        "headers": {},
        "capabilities": frozenset(),
        "timeouts": None,
        "enabled": True,
        "simulated": False,
        "built_in": False,
        "options": {},
        "source": None,
        "checked": date(2026, 11, 20),
    }
    return Provider(**(values | changes))
