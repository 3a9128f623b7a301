"""An Ollama server, on one's own machine or at ollama.com."""

from __future__ import annotations

from polyroute.providers.catalog_adapter import CatalogAdapter


class OllamaAdapter(CatalogAdapter):
    """Streams newline-delimited JSON; a credential is needed at ollama.com only."""

    stream_media_type = b"application/x-ndjson"
    refuses = frozenset({"image_url"})
