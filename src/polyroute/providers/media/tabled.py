"""What makers have in common whose models are in a table."""

from __future__ import annotations

from typing import Any

from polyroute.ports import MediaWire
from polyroute.providers.media import fields
from polyroute.providers.media.tables import ModelSpec
from polyroute.types.media import Fitted, MediaRequest


class Tabled:
    """A maker for one entry of a table."""

    def __init__(self, spec: ModelSpec, provider: str) -> None:
        self._spec = spec
        self._provider = provider

    def fit(self, request: MediaRequest, model: str) -> Fitted:
        """By the model's table."""
        return fields.fit(self._spec, request, self._provider)

    async def body(self, request: MediaRequest, model: str, wire: MediaWire) -> dict[str, Any]:
        """The fields of the call, the model and the caller's inputs among them."""
        filled = fields.fill(self._spec, request, self._provider)
        return {"model": model, **await fields.place(filled, wire)}
