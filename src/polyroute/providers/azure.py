"""Azure OpenAI: the v1 routes, and the classic ones with a deployment in the path and an api-version."""

from __future__ import annotations

from urllib.parse import quote, urlencode

from polyroute.ports import Endpoint, Headers
from polyroute.providers.catalog_adapter import MODEL_MARK, CatalogAdapter
from polyroute.types.operations import Dialect

# Classic routes that are not below a deployment.
_WITHOUT_DEPLOYMENT = frozenset({Dialect.OPENAI_RESPONSES})


class AzureAdapter(CatalogAdapter):
    """Option `api_version` chooses the classic routes, where a target's model is the deployment's name; without it the v1
    routes are used, where `model` in the body is. A secret that is an Entra token (a JSON web token) goes as a bearer."""

    def address(self, endpoint: Endpoint) -> str:
        """`{resource}/openai/deployments/{model}/…?api-version=…`, or `{resource}/openai/v1/…`."""
        base = (endpoint.base_url or self.row.base_url).rstrip("/")
        version = self.row.options.get("api_version")
        if not version:
            return f"{base if '/openai/' in base + '/' else base + '/openai/v1'}{endpoint.path}"
        resource = f"{base}/".partition("/openai/")[0].rstrip("/") if "/openai/deployments" not in base else base
        if "/openai/deployments/" in base or endpoint.dialect in _WITHOUT_DEPLOYMENT:
            path = endpoint.path if "/openai/deployments/" in base else f"/openai{endpoint.path}"
        else:
            path = f"/openai/deployments/{MODEL_MARK}{endpoint.path}"
        query = urlencode({"api-version": str(version)}, quote_via=quote)
        return f"{resource}{path}?{query}"

    def fixed_headers(self, endpoint: Endpoint, secret: str, content_type: bytes, *, stream: bool) -> Headers:
        """A key as `api-key`, an Entra token as a bearer."""
        style = "bearer" if secret.startswith("eyJ") else "api-key"
        signed = Endpoint(dialect=endpoint.dialect, path=endpoint.path, auth=style)
        return super().fixed_headers(signed, secret, content_type, stream=stream)
