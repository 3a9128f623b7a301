"""Polyroute: a self-hosted gateway to every AI provider."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from polyroute.types.version import __version__

if TYPE_CHECKING:
    from polyroute.library import Gateway

__all__ = ["Gateway", "__version__"]


def __getattr__(name: str) -> Any:
    if name == "Gateway":  # imported on demand: `polyroute --help` must not load the engine
        from polyroute.library import Gateway  # noqa: PLC0415

        return Gateway
    raise AttributeError(f"module 'polyroute' has no attribute {name!r}")
