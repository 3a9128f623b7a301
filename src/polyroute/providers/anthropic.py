"""Anthropic's own API, and whoever else serves Messages under its name."""

from __future__ import annotations

from polyroute.providers.catalog_adapter import CatalogAdapter


class AnthropicAdapter(CatalogAdapter):
    """`x-api-key` from the row and `anthropic-version` with the dialect: nothing else is particular."""
