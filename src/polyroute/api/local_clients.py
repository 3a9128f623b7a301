"""The small read-only paths that tools written for Ollama and for Gemini ask before they chat."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from polyroute.api.listing import names_for
from polyroute.catalog.model import Catalog
from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.operations import Operation
from polyroute.types.records import KeyRecord
from polyroute.types.version import __version__

_STARTED = datetime.now(UTC).isoformat().replace("+00:00", "Z")


def ollama_tags(catalog: Catalog, key: KeyRecord | None) -> bytes:
    """`GET /api/tags`: the names for chat, as if they were models on this machine."""
    models = [
        {
            "name": name, "model": name, "modified_at": _STARTED, "size": 0, "digest": "",
            "details": {"format": "polyroute", "family": "polyroute", "families": None, "parameter_size": "",
                        "quantization_level": ""},
        }
        for name in names_for(catalog, key, Operation.CHAT)
    ]  # fmt: skip
    return msgspec.json.encode({"models": models})


def ollama_version() -> bytes:
    """`GET /api/version`: clients compare it with what they need, so it leads with one of Ollama's."""
    return msgspec.json.encode({"version": f"0.12.0-polyroute-{__version__}"})


def ollama_show(catalog: Catalog, key: KeyRecord | None, name: str) -> bytes:
    """`POST /api/show`: what a name can do. Raises PolyrouteError(not_found)."""
    if name not in names_for(catalog, key, Operation.CHAT):
        raise PolyrouteError(ErrorKind.NOT_FOUND, f"model '{name}' not found")
    details = {"format": "polyroute", "family": "polyroute", "parameter_size": "", "quantization_level": ""}
    return msgspec.json.encode(
        {"details": details, "model_info": {}, "capabilities": ["completion", "tools", "vision"], "template": ""}
    )


def gemini_models(catalog: Catalog, key: KeyRecord | None) -> bytes:
    """`GET /v1beta/models`."""
    rows: list[dict[str, Any]] = [
        {
            "name": f"models/{name}",
            "displayName": name,
            "supportedGenerationMethods": ["generateContent", "streamGenerateContent", "countTokens"],
        }
        for name in names_for(catalog, key, Operation.CHAT)
    ]
    return msgspec.json.encode({"models": rows})
