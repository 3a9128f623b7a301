"""The paths beside inference: health, lists, counts, and kept answers. None of them needs a plan to be walked."""

from __future__ import annotations

from urllib.parse import unquote

from polyroute.api import responses as kept
from polyroute.api.listing import model_list, model_row
from polyroute.api.local_clients import gemini_models, ollama_show, ollama_tags, ollama_version
from polyroute.api.requests import Head, Receive, Scope, read_body, read_head
from polyroute.engine.counting import count_tokens
from polyroute.engine.envelope import json_call, read_fields, read_string
from polyroute.engine.gateway import Gateway
from polyroute.ports import Headers, ResponseStore
from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.operations import Dialect

GEMINI_PREFIX = "/v1beta/models/"
_JSON: Headers = [(b"content-type", b"application/json")]
_ESTIMATED: Headers = [*_JSON, (b"x-polyroute-notes", b"estimated")]
_COUNT = {Dialect.ANTHROPIC_MESSAGES: b'{"input_tokens":%d}', Dialect.GEMINI: b'{"totalTokens":%d}'}

SmallAnswer = tuple[int, Headers, bytes]


def dialect_of_small_path(path: str) -> Dialect:
    """In whose words a path refuses."""
    if path.startswith("/v1beta/"):
        return Dialect.GEMINI
    if path.startswith("/v1/messages/"):
        return Dialect.ANTHROPIC_MESSAGES
    if path.startswith("/api/"):
        return Dialect.OLLAMA
    return Dialect.OPENAI_CHAT


class SmallPaths:
    """Answers what needs no attempt."""

    def __init__(self, gateway: Gateway, responses: ResponseStore, *, max_body: int) -> None:
        self._gateway = gateway
        self._responses = responses
        self._max_body = max_body

    async def answer(self, scope: Scope, receive: Receive, request_id: str) -> SmallAnswer | None:
        """Status, headers and body; None for a path that is none of these. Raises PolyrouteError, ClientGone."""
        method, path = scope["method"], scope["path"]
        match method, path:
            case "GET", "/health":
                status, body = self._gateway.health()
                return status, _JSON, body
            case "GET", "/ready":
                status, body = self._gateway.readiness()
                return status, _JSON, body
            case "GET", "/api/version":
                return 200, _JSON, ollama_version()
        if not path.startswith(("/v1/", "/v1beta/", "/vapi/")) and path not in ("/api/tags", "/api/show"):
            return None
        head = read_head(scope["headers"])
        key = self._gateway.admission.admit(head.credential)
        catalog = self._gateway.runtime.catalog
        match method, path:
            case "GET", "/v1/models":
                return 200, _JSON, model_list(catalog, key)
            case "GET", _ if path.startswith("/v1/models/"):
                return 200, _JSON, model_row(catalog, key, unquote(path.removeprefix("/v1/models/")))
            case "GET", "/v1beta/models":
                return 200, _JSON, gemini_models(catalog, key)
            case "GET", "/api/tags":
                return 200, _JSON, ollama_tags(catalog, key)
            case "POST", "/api/show":
                fields = read_fields(await read_body(receive, head, self._max_body))
                name = read_string(fields, "model") or read_string(fields, "name") or ""
                return 200, _JSON, ollama_show(catalog, key, name)
            case "GET", _ if path.startswith("/v1/responses/"):
                return 200, _JSON, await kept.retrieve(self._responses, path.removeprefix("/v1/responses/"), key)
            case "DELETE", _ if path.startswith("/v1/responses/"):
                return 200, _JSON, await kept.delete(self._responses, path.removeprefix("/v1/responses/"), key)
            case "POST", "/v1/messages/count_tokens":
                return await self._count(receive, head, request_id, Dialect.ANTHROPIC_MESSAGES, None)
            case "POST", _ if path.startswith(GEMINI_PREFIX) and path.endswith(":countTokens"):
                model = unquote(path.removeprefix(GEMINI_PREFIX).removesuffix(":countTokens"))
                return await self._count(receive, head, request_id, Dialect.GEMINI, model)
            case _:
                raise PolyrouteError(ErrorKind.NOT_FOUND, f"There is no {method} {path} here.")

    async def _count(
        self, receive: Receive, head: Head, request_id: str, dialect: Dialect, model: str | None
    ) -> SmallAnswer:
        body = await read_body(receive, head, self._max_body)
        call = json_call(body, dialect, request_id=request_id, forward=head.forward, model=model, stream=False)
        tokens, estimated = await count_tokens(self._gateway, call)
        return 200, _ESTIMATED if estimated else _JSON, _COUNT[dialect] % tokens
