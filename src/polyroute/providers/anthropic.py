"""Anthropic's own API, and whoever else serves Messages."""

from __future__ import annotations

from polyroute.ports import Endpoint, Headers
from polyroute.providers.catalog_adapter import CatalogAdapter

API_VERSION = b"2023-06-01"
"""Sent unless the caller forwards a version; newer ones differ in details that Polyroute does not need."""


class AnthropicAdapter(CatalogAdapter):
    """Adds the mandatory `anthropic-version`."""

    def fixed_headers(self, endpoint: Endpoint, secret: str, content_type: bytes, *, stream: bool) -> Headers:
        """With a version, unless the row has its own."""
        headers = super().fixed_headers(endpoint, secret, content_type, stream=stream)
        if all(name != b"anthropic-version" for name, _ in headers):
            headers.append((b"anthropic-version", API_VERSION))
        return headers
