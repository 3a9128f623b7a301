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

_GEMINI_PREFIXES = ("/v1beta/models/", "/v1/models/", "/v1alpha/models/")
_GOOGLE_KEY = b"x-goog-api-key"
_JSON: Headers = [(b"content-type", b"application/json")]
_ESTIMATED: Headers = [*_JSON, (b"x-polyroute-notes", b"estimated")]
_COUNT = {Dialect.ANTHROPIC_MESSAGES: b'{"input_tokens":%d}', Dialect.GEMINI: b'{"totalTokens":%d}'}

SmallAnswer = tuple[int, Headers, bytes]


def gemini_call(method: str, path: str) -> tuple[str, str] | None:
    """Model and method of `{version}/models/{model}:{method}`. Google's clients write `/v1beta` or, since version 3 of the
    Python one, `/v1`, whose GET paths are OpenAI's."""
    if not path.startswith(_GEMINI_PREFIXES) or (method != "POST" and path.startswith("/v1/")):
        return None
    model, colon, verb = unquote(path.partition("/models/")[2]).rpartition(":")
    return (model, verb) if colon else None


def dialect_of_small_path(path: str) -> Dialect:
    """In whose words a path refuses."""
    if path.startswith(("/v1beta/", "/v1alpha/")) or path.endswith(":countTokens"):
        return Dialect.GEMINI
    if path.startswith("/v1/messages/"):
        return Dialect.ANTHROPIC_MESSAGES
    if path.startswith("/api/"):
        return Dialect.OLLAMA
    return Dialect.OPENAI_CHAT


def _counted(path: str) -> tuple[Dialect, str | None] | None:
    """Whose tokens a path counts, and those of which model where the path names it."""
    if path == "/v1/messages/count_tokens":
        return Dialect.ANTHROPIC_MESSAGES, None
    asked = gemini_call("POST", path)
    return (Dialect.GEMINI, asked[0]) if asked is not None and asked[1] == "countTokens" else None


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
        if not path.startswith(("/v1/", "/v1beta/", "/v1alpha/", "/vapi/")) and path not in ("/api/tags", "/api/show"):
            return None
        head = read_head(scope["headers"])
        key = self._gateway.admission.admit(head.credential)
        catalog = self._gateway.runtime.catalog
        match method, path:
            case "GET", "/v1/models" | "/v1beta/models" | "/v1alpha/models":
                google = path != "/v1/models" or any(name == _GOOGLE_KEY for name, _ in scope["headers"])
                return 200, _JSON, gemini_models(catalog, key) if google else model_list(catalog, key)
            case "GET", _ if path.startswith("/v1/models/"):
                return 200, _JSON, model_row(catalog, key, unquote(path.removeprefix("/v1/models/")))
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
            case "POST", _ if (counted := _counted(path)) is not None:
                return await self._count(receive, head, request_id, *counted)
            case _:
                raise PolyrouteError(ErrorKind.NOT_FOUND, f"There is no {method} {path} here.")

    async def _count(
        self, receive: Receive, head: Head, request_id: str, dialect: Dialect, model: str | None
    ) -> SmallAnswer:
        body = await read_body(receive, head, self._max_body)
        call = json_call(body, dialect, request_id=request_id, forward=head.forward, model=model, stream=False)
        tokens, estimated = await count_tokens(self._gateway, call)
        return 200, _ESTIMATED if estimated else _JSON, _COUNT[dialect] % tokens
