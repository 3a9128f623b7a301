"""The sandbox's HTTP handlers: the simulated providers, and what controls and shows them."""

from __future__ import annotations

import asyncio
import inspect
import ipaddress
import re
from collections.abc import Mapping
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from aiohttp import web

from polyroute.sandbox.control import BadControl, Control, Fault, SandboxOptions
from polyroute.sandbox.delivery import (
    SIMULATED,
    hang,
    reset_connection,
    send_error,
    send_spoiled,
    send_stream,
    send_whole,
)
from polyroute.sandbox.error_bodies import Reason
from polyroute.sandbox.errors import ErrorAnswer, Refused, invalid, reason_of_status, render_error
from polyroute.sandbox.exchange import Answered, Direct, Exchange, Memory, Reply, Spoken, Stream, content_digest
from polyroute.sandbox.images import answer_file
from polyroute.sandbox.intake import check_credential, read_form, read_json
from polyroute.sandbox.media.files import serve_file
from polyroute.sandbox.media.jobs import AnswerLost, Desk
from polyroute.sandbox.observed import Observed, body_note
from polyroute.sandbox.openai_usage import rate_headers, request_id_header
from polyroute.sandbox.profiles import built_in_profiles, profile_of
from polyroute.sandbox.route import Route
from polyroute.sandbox.routes import find_route
from polyroute.sandbox.served import KEPT, keep_record

_REFUSING_FAULTS: Mapping[str, Reason] = {
    "context_too_long": "context_too_long",
    "content_filter": "content_filter",
    "reject_prefill": "prefill",
    "invalid_key": "credential",
    "quota": "quota",
}
# These dialects say in a good answer that content was not allowed.
_FILTERS_IN_ANSWERS = ("anthropic_messages", "gemini", "bedrock_converse")
_DOCKER_ROOT = re.compile(r"^(v1\.\d+|containers)$")
_SPOILING_FAULTS = ("garbage", "empty", "html")


class Sandbox:
    """The handlers, and what they share."""

    def __init__(self, options: SandboxOptions) -> None:
        self.options = options
        self.control = Control(options)
        self.observed = Observed(options.requests_kept)
        self.desk = Desk(self.control)
        self._memories: dict[str, Memory] = {}

    async def index(self, request: web.Request) -> web.StreamResponse:
        """What is here, for somebody who opens the address in a browser."""
        origin = f"{request.scheme}://{request.host}"
        names = sorted(built_in_profiles())
        value = {"simulated": True, "providers": {name: f"{origin}/{name}" for name in names}}
        return _json(value | {"control": f"{origin}/_control", "requests": f"{origin}/_requests"})

    async def health(self, request: web.Request) -> web.StreamResponse:
        """Ready as soon as it answers."""
        return _json({"status": "ok"})

    async def control_get(self, request: web.Request) -> web.StreamResponse:
        """Settings and counters."""
        return _json(self.control.state()) if _is_local(request) else _not_local()

    async def control_post(self, request: web.Request) -> web.StreamResponse:
        """Change settings."""
        if not _is_local(request):
            return _not_local()
        try:
            self.control.obey(await request.read())
        except BadControl as error:
            return _json({"error": str(error), "possible": self.control.possible()}, 400)
        self.desk.notify()
        return _json(self.control.state())

    async def control_delete(self, request: web.Request) -> web.StreamResponse:
        """Back to the start."""
        if not _is_local(request):
            return _not_local()
        self.control.reset()
        self.observed.clear()
        self.desk.clear()
        for memory in self._memories.values():
            memory.clear()
        return _json(self.control.state())

    async def jobs(self, request: web.Request) -> web.StreamResponse:
        """Everything that providers of media were given to do, oldest first."""
        if not _is_local(request):
            return _not_local()
        return _json({"jobs": [job.row() for job in self.desk.jobs(request.query.get("provider"))]})

    async def media(self, request: web.Request) -> web.StreamResponse:
        """A result of a job, or a file that a client gave."""
        return await serve_file(self.desk, request)

    async def close(self, app: web.Application) -> None:
        """Stop what runs in the background."""
        await self.desk.close()

    async def requests(self, request: web.Request) -> web.StreamResponse:
        """The last requests seen, oldest first."""
        if not _is_local(request):
            return _not_local()
        return _json({"requests": self.observed.rows(request.query.get("provider"))})

    async def file(self, request: web.Request) -> web.StreamResponse:
        """A picture that an image answer pointed to."""
        data = answer_file(request.match_info["name"])
        if data is None:
            return _json({"error": "No such file."}, 404)
        return web.Response(body=data, content_type="image/png", headers=SIMULATED)

    async def provide(self, request: web.Request) -> web.StreamResponse:
        """Any request to a simulated provider."""
        provider = request.match_info.setdefault("provider", "docker")
        raw_path = request.rel_url.raw_path.removeprefix(f"/{provider}")
        if _DOCKER_ROOT.match(provider):
            # Docker's clients know a host and no path in front of it.
            provider = request.match_info["provider"] = "docker"
            raw_path = request.rel_url.raw_path
        found = find_route(provider, request.method, raw_path)
        operation = found[0].operation if found is not None else "other"
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.control.requests[provider] += 1
        row = self.observed.note(
            request.method, raw_path, query=request.query, headers=headers, provider=provider, operation=operation
        )
        try:
            response = await self._respond(request, raw_path, headers, found, row)
        except (asyncio.CancelledError, ConnectionError):
            self.control.aborted[provider] += 1
            row["outcome"] = "aborted by client"
            raise
        row["outcome"] = response.status
        return response

    async def _respond(
        self,
        request: web.Request,
        path: str,
        headers: dict[str, str],
        found: tuple[Route, Mapping[str, str]] | None,
        row: dict[str, Any],
    ) -> web.StreamResponse:
        provider = request.match_info["provider"]
        exchange = Exchange(
            profile=profile_of(provider),
            method=request.method,
            path=path,
            query=dict(request.query),
            headers=headers,
            groups=found[1] if found is not None else {},
            body={},
            raw=b"",
            origin=f"{request.scheme}://{request.host}",
            context_limit=self.options.context_limit,
            strict=self.options.strict,
            memory=self._memories.setdefault(provider, Memory()),
            desk=self.desk,
        )
        if found is None:
            return await self._refuse(request, exchange, "openai_chat", Refused("not_found", status=404))
        route = found[0]
        try:
            exchange = await _with_body(request, exchange, raw=route.raw)
            exchange = msgspec.structs.replace(exchange, digest=content_digest(exchange))
            if route.sort is not None:
                route = msgspec.structs.replace(route, operation=route.sort(exchange))
                row["operation"] = route.operation
        except Refused as refused:
            return await self._refuse(request, exchange, route.dialect, refused)
        row.update(body_note(exchange.body, len(exchange.raw), exchange.uploads))
        fault = self.control.strike(provider, route.operation, prefilled=_is_prefilled(exchange))
        return await self._serve(request, exchange, route, fault)

    async def _serve(
        self, request: web.Request, exchange: Exchange, route: Route, fault: Fault | None
    ) -> web.StreamResponse:
        paced = partial(self.control.pacing, exchange.profile.name, route.operation)
        pacing = paced()
        if fault is not None and fault.kind == "reset":
            reset_connection(request)
            return web.Response()
        if fault is not None and fault.kind == "hang":
            await hang(fault)
        if pacing.latency:
            await asyncio.sleep(pacing.latency)
        around = {**request_id_header(exchange), **rate_headers(exchange)}
        try:
            reply, error = await self._answer(exchange, route, fault)
        except Refused as refused:
            return await self._refuse(request, exchange, route.dialect, refused)
        except AnswerLost:
            reset_connection(request)
            return web.Response()
        if isinstance(reply, Direct):
            return await reply.send(request)
        streams = isinstance(reply, Stream)
        spoils = fault is not None and (
            fault.kind in _SPOILING_FAULTS or (fault.kind == "no_content" and route.operation != "chat")
        )
        if fault is not None and spoils:
            return await send_spoiled(request, fault, reply.content_type, around)
        if fault is not None and error is not None and fault.kind == "in_band_error" and not streams:
            return web.Response(body=error.body, headers={**around, **SIMULATED}, content_type="application/json")
        if route.operation in KEPT:
            reply = keep_record(exchange, reply)
        if not isinstance(reply, Stream):
            return await send_whole(request, reply, pacing, fault, around)
        self.control.open_streams[exchange.profile.name] += 1
        try:
            return await send_stream(request, reply, paced, fault, around, error=error)
        finally:
            self.control.open_streams[exchange.profile.name] -= 1

    async def _answer(self, exchange: Exchange, route: Route, fault: Fault | None) -> tuple[Reply, ErrorAnswer | None]:
        """The reply, and the error that a fault puts into it."""
        error = None
        if fault is not None and fault.kind == "content_filter" and route.dialect in _FILTERS_IN_ANSWERS:
            exchange = msgspec.structs.replace(exchange, instead="filtered")
        elif fault is not None and fault.kind == "no_content":
            exchange = msgspec.structs.replace(exchange, instead="silent")
        elif fault is not None:
            error = _fault_error(exchange, route, fault)
        if self.options.require_credentials and exchange.profile.name not in route.free:
            check_credential(exchange.profile, exchange.headers, exchange.query)
        try:
            answer = route.answer(exchange)
            return (await answer if inspect.isawaitable(answer) else answer), error
        except Answered as answered:
            return answered.reply, error
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as unread:
            # Readers trust inner shapes; what breaks one is a body that no provider would accept either.
            raise invalid(f"The request is malformed ({type(unread).__name__}: {unread}).") from unread

    async def _refuse(
        self, request: web.Request, exchange: Exchange, dialect: Spoken, refused: Refused
    ) -> web.StreamResponse:
        headers = {**request_id_header(exchange), **rate_headers(exchange)}
        return await send_error(request, render_error(exchange, dialect, refused), headers)


def _fault_error(exchange: Exchange, route: Route, fault: Fault) -> ErrorAnswer | None:
    """Raise what the fault refuses with; return the error that it puts into a good answer."""
    values = {"tokens": exchange.context_limit + 1, "limit": exchange.context_limit}
    if fault.kind in _REFUSING_FAULTS:
        raise Refused(_REFUSING_FAULTS[fault.kind], fault.message or "", values=values, retry_after=fault.retry_after)
    if fault.kind not in ("status", "in_band_error"):
        return None
    status = fault.status or 503
    refused = Refused(
        reason_of_status(status),
        fault.message or "The sandbox was asked to fail.",
        status=status,
        values=values,
        retry_after=fault.retry_after,
    )
    if fault.kind == "status":
        raise refused
    return render_error(exchange, route.dialect, refused)


async def _with_body(request: web.Request, exchange: Exchange, *, raw: bool = False) -> Exchange:
    if request.content_type == "multipart/form-data":
        try:
            body, uploads = await read_form(request)
        except ValueError as error:
            raise invalid("Could not parse multipart form") from error
        return msgspec.structs.replace(exchange, body=body, uploads=uploads)
    try:
        data = await request.read()
    except web.HTTPRequestEntityTooLarge as error:
        raise Refused("too_large") from error
    if request.content_type == "application/x-www-form-urlencoded" and data and not raw:
        return msgspec.structs.replace(exchange, body=dict(parse_qsl(data.decode("utf-8", "replace"))), raw=data)
    return msgspec.structs.replace(exchange, body={} if raw else read_json(data), raw=data)


def _is_prefilled(exchange: Exchange) -> bool:
    for field, role in (("messages", "assistant"), ("contents", "model"), ("input", "assistant")):
        turns = exchange.body.get(field)
        if isinstance(turns, list) and turns and isinstance(turns[-1], dict) and turns[-1].get("role") == role:
            return True
    return False


def _json(value: Any, status: int = 200) -> web.Response:
    body = msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"
    return web.Response(body=body, status=status, content_type="application/json", headers=SIMULATED)


def _is_local(request: web.Request) -> bool:
    """Whether the request came from this machine; over a socket without an address it did."""
    if not request.remote:
        return True
    try:
        return ipaddress.ip_address(request.remote.split("%")[0]).is_loopback
    except ValueError:
        return False


def _not_local() -> web.Response:
    return _json({"error": "The sandbox is controlled from its own machine only."}, 403)
