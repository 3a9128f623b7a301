"""Google's Gemini API, native."""

from __future__ import annotations

from polyroute.providers.catalog_adapter import CatalogAdapter


class GeminiAdapter(CatalogAdapter):
    """The model and the method are in the URL, as the dialect has it; images go as bytes."""

    refuses = frozenset({"image_url"})
