"""An Ollama server, on one's own machine or at ollama.com."""

from __future__ import annotations

from polyroute.providers.catalog_adapter import CatalogAdapter


class OllamaAdapter(CatalogAdapter):
    """A credential is needed at ollama.com only; images go as bytes."""

    refuses = frozenset({"image_url"})
