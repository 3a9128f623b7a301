"""`GET /v1/voices`, `GET /v1/media/models`, `GET /v1/openapi.json`, and `POST /v1/callbacks/{provider}` where providers report
on work that they accepted."""

from __future__ import annotations

from urllib.parse import parse_qs, unquote

import msgspec

from polyroute.api.described import described
from polyroute.api.exchange import AsgiExchange
from polyroute.api.jobs import JSON
from polyroute.api.requests import Receive, Scope, Send, read_body, read_head
from polyroute.engine.gateway import Gateway
from polyroute.engine.jobs.desk import JobDesk
from polyroute.engine.media.errands import CALLBACKS, Errands
from polyroute.ports import CALLBACK_TOKEN
from polyroute.types.errors import ErrorKind, PolyrouteError

DESCRIPTION = "/v1/openapi.json"
_LARGEST_REPORT = 8 << 20
_MODELS = "/v1/media/models"


class ErrandPaths:
    """The paths of voices, of media models and of providers' reports."""

    def __init__(self, gateway: Gateway, desk: JobDesk) -> None:
        self._gateway = gateway
        self._desk = desk
        self._errands = Errands(gateway.transport, desk.floor)

    @staticmethod
    def serves(path: str) -> bool:
        """Whether a path is one of these."""
        return path in ("/v1/voices", _MODELS, DESCRIPTION) or path.startswith(CALLBACKS)

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request. Raises PolyrouteError, ClientGone."""
        exchange = AsgiExchange(scope, receive, send)
        head = read_head(scope["headers"])
        method, path = scope["method"], scope["path"]
        if method == "GET" and path == DESCRIPTION:  # needs no key: it is the same everywhere
            await exchange.answer(200, JSON, msgspec.json.encode(described()))
        elif method == "GET" and path == "/v1/voices":
            self._gateway.admission.admit(head.credential)
            only = parse_qs(scope["query_string"].decode("latin-1")).get("provider", [None])[-1]
            found = await self._errands.voices(self._gateway.runtime, only)
            told = {"object": "list", "data": found.voices, "missing": dict(found.missing)}
            await exchange.answer(200, JSON, msgspec.json.encode(told))
        elif method == "GET" and path == _MODELS:
            self._gateway.admission.admit(head.credential)
            provider = parse_qs(scope["query_string"].decode("latin-1")).get("provider", [""])[-1]
            listed = await self._errands.models(self._gateway.runtime, provider)
            rows = [{"id": f"{provider}/{model}", "object": "model", "tasks": tasks} for model, tasks in listed]
            await exchange.answer(200, JSON, msgspec.json.encode({"object": "list", "data": rows}))
        elif method == "POST" and path.startswith(CALLBACKS):
            # No key: a report is believed for its signature, and then only as a hint to ask the provider.
            provider, _, token = unquote(path.removeprefix(CALLBACKS)).partition("/")
            body = await read_body(receive, head, _LARGEST_REPORT)
            headers = [*scope["headers"], (CALLBACK_TOKEN, token.encode())] if token else scope["headers"]
            handle_id = await self._errands.handle_of(self._gateway.runtime, provider, headers, body)
            await self._desk.called_back(provider, handle_id)
            await exchange.answer(200, JSON, b'{"received":true}')
        else:
            raise PolyrouteError(ErrorKind.NOT_FOUND, f"There is no {method} {path} here.")
