"""Google's Gemini API, native."""

from __future__ import annotations

from urllib.parse import quote

from polyroute.ports import Endpoint
from polyroute.providers.catalog_adapter import MODEL_MARK, CatalogAdapter
from polyroute.types.operations import Dialect
from polyroute.types.plans import Target


class GeminiAdapter(CatalogAdapter):
    """The model and the method are in the path: `/models/{model}:generateContent`, or `:streamGenerateContent?alt=sse`."""

    refuses = frozenset({"image_url"})

    def url(self, endpoint: Endpoint, target: Target, *, stream: bool) -> str:
        """The address; a model may be written with or without its `models/`."""
        if endpoint.dialect is not Dialect.GEMINI:
            return super().url(endpoint, target, stream=stream)
        model = quote(target.model.removeprefix("models/"), safe="")
        method = "streamGenerateContent?alt=sse" if stream else "generateContent"
        return f"{self._folder(endpoint)}/{model}:{method}"

    def _folder(self, endpoint: Endpoint) -> str:
        folder = self._addresses.get(endpoint)
        if folder is None:
            folder = self.address(endpoint).partition(MODEL_MARK)[0].rstrip("/")
            if not folder.endswith("/models"):
                folder += "/models"
            self._addresses[endpoint] = folder
        return folder
