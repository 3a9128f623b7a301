"""Cohere's own API, version 2."""

from __future__ import annotations

from polyroute.providers.catalog_adapter import CatalogAdapter


class CohereAdapter(CatalogAdapter):
    """A bearer token and plain server-sent events: the row says it all."""
