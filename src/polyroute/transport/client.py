"""The same port on aiohttp: for calls through an HTTP proxy, and for everything that is not the inference path."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from types import SimpleNamespace

import aiohttp
import yarl
from aiohttp.abc import AbstractResolver
from aiohttp.http_exceptions import TransferEncodingError

from polyroute.ports import Body, Headers, Timeouts, WireRequest
from polyroute.transport import failures
from polyroute.transport.address import parse_address
from polyroute.transport.content import ContentDecoder, open_decoder
from polyroute.transport.fields import encode_head
from polyroute.transport.tls import client_context
from polyroute.transport.upload import LONG, upload_blocks
from polyroute.types.errors import AttemptFailed, ErrorKind, Failure

_NOT_OURS = ("accept", "accept-encoding", "content-type", "user-agent")
"""What aiohttp would add by itself."""


class _Watch:
    """Which phase a request is in, and the timer that guards it."""

    def __init__(self, timeouts: Timeouts, deadline: float) -> None:
        self.reused = False
        self._timeouts = timeouts
        self._deadline = deadline
        self._phase = failures.CONNECTING
        self._patience: float | None = None
        self.timer = asyncio.timeout_at(self._limit(timeouts.connect))

    def advance(self, phase: str) -> None:
        """The request made progress: its next wait begins."""
        self._phase = phase
        if not self.timer.expired():
            self.timer.reschedule(self._limit(self._timeouts.headers))

    def failure(self) -> Failure:
        """The timer fired."""
        return failures.timed_out(self._phase, self._patience)

    def _limit(self, patience: float) -> float:
        limit = asyncio.get_running_loop().time() + patience
        self._patience = patience if limit < self._deadline else None
        return min(limit, self._deadline)


class ClientTransport:
    """`ports.Transport` on an aiohttp session, optionally through the HTTP proxy at the URL `proxy`. `resolver` tells the
    addresses of names instead of the system.

    Does not follow redirects, keeps no cookies and asks for uncompressed answers, as `Http1Transport`.
    """

    def __init__(
        self,
        *,
        proxy: str | None = None,
        ssl_context: ssl.SSLContext | None = None,
        max_idle: int = 512,
        idle_expiry: float = 55.0,
        max_header_bytes: int = 64 * 1024,
        resolver: AbstractResolver | None = None,
    ) -> None:
        self._proxy = proxy
        self._resolver = resolver
        self._ssl_context = ssl_context
        self._max_idle = max_idle
        self._idle_expiry = idle_expiry
        self._max_header_bytes = max_header_bytes
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sessions: dict[bool, aiohttp.ClientSession] = {}
        self._closed = False

    async def send(self, request: WireRequest, timeouts: Timeouts, deadline: float) -> ClientAnswer:
        """Send and wait for the answer's headers; see `ports.Transport.send`."""
        address = parse_address(request.url)
        encode_head(address.start(request.method), request.headers)  # refuses what must not be sent
        if self._closed:
            raise AttemptFailed(failures.unavailable("the transport is closed"))
        if asyncio.get_running_loop().time() >= deadline:
            raise AttemptFailed(failures.timed_out(failures.BEFORE))
        watch = _Watch(timeouts, deadline)
        try:
            response = await self._request(request, watch, fresh=request.once)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            if not watch.reused or not _unanswered(error):
                raise AttemptFailed(_send_failure(error)) from None
            response = await self._again(request, _Watch(timeouts, deadline))
        return ClientAnswer(response)

    async def aclose(self) -> None:
        """Close all connections, those in use too, and refuse to open others."""
        self._closed = True
        for session in self._sessions.values():
            await session.close()
        self._sessions.clear()

    async def _again(self, request: WireRequest, watch: _Watch) -> aiohttp.ClientResponse:
        try:
            return await self._request(request, watch, fresh=True)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            raise AttemptFailed(_send_failure(error)) from None

    async def _request(self, request: WireRequest, watch: _Watch, *, fresh: bool) -> aiohttp.ClientResponse:
        """One exchange. Lets the errors of a closed connection through, which a kept connection may be forgiven."""
        session = self._session(fresh)
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers]
        if not any(name.lower() == "accept-encoding" for name, _ in headers):
            headers.append(("accept-encoding", "identity"))
        body = request.body
        data: bytes | AsyncIterator[bytes | memoryview] | None = None
        if not isinstance(body, bytes) or len(body) > LONG:
            length = len(body) if isinstance(body, bytes) else body.length
            headers.append(("content-length", str(length)))
            data = _watched(body, watch)
        elif body:
            data = body
        try:
            async with watch.timer:
                return await session.request(
                    request.method,
                    yarl.URL(request.url, encoded=True),
                    headers=headers,
                    data=data,
                    allow_redirects=False,
                    proxy=self._proxy,
                    trace_request_ctx=watch,
                )
        except TimeoutError as error:
            if watch.timer.expired():
                raise AttemptFailed(watch.failure()) from None
            raise AttemptFailed(_send_failure(error)) from None
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            raise
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise AttemptFailed(_send_failure(error)) from None

    def _session(self, fresh: bool) -> aiohttp.ClientSession:
        """The session of the running loop; a fresh one uses each connection once."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop = loop
            self._sessions = {}
        session = self._sessions.get(fresh)
        if session is None:
            session = self._sessions[fresh] = self._open_session(fresh)
        return session

    def _open_session(self, fresh: bool) -> aiohttp.ClientSession:
        if self._ssl_context is None:
            self._ssl_context = client_context()
        connector = aiohttp.TCPConnector(
            limit=0,
            ssl=self._ssl_context,
            resolver=self._resolver,
            use_dns_cache=self._resolver is None,
            force_close=fresh,
            keepalive_timeout=None if fresh else self._idle_expiry,
        )
        trace = aiohttp.TraceConfig()
        trace.on_connection_create_end.append(_connected)
        trace.on_connection_reuseconn.append(_reused)
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
            skip_auto_headers=_NOT_OURS,
            auto_decompress=False,
            max_line_size=self._max_header_bytes,
            max_field_size=self._max_header_bytes,
            trace_configs=[trace],
        )


class ClientAnswer:
    """An aiohttp answer whose headers have arrived: `ports.WireResponse`."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self._decoder: ContentDecoder | None = None
        self.status = response.status
        if self.status < 200:
            self.abort()
            raise AttemptFailed(failures.bad_response("the answer is not valid HTTP", f"status {self.status}"))
        self.headers: Headers = [(name.lower(), value) for name, value in response.raw_headers]
        if response.method != "HEAD":
            try:
                self._decoder, self.headers = open_decoder(self.headers)
            except AttemptFailed:
                self.abort()
                raise

    def rest(self) -> None:
        """It has to be received: what has arrived is aiohttp's to know."""

    async def receive(self, deadline: float) -> bytes:
        """Everything that has arrived, waiting until there is something; b"" at the end."""
        decoder = self._decoder
        if decoder is None:
            return await self._receive(deadline)
        try:
            while True:
                if decoder.pending:
                    data = decoder.decode(b"")
                elif received := await self._receive(deadline):
                    data = decoder.decode(received)
                else:
                    decoder.finish()
                    return b""
                if data:
                    return data
        except AttemptFailed:
            self.abort()
            raise

    async def read(self, deadline: float, limit: int) -> bytes:
        """The whole remaining body."""
        parts: list[bytes] = []
        size = 0
        while data := await self.receive(deadline):
            parts.append(data)
            size += len(data)
            if size > limit:
                self.abort()
                raise AttemptFailed(failures.too_long(limit))
        return b"".join(parts)

    def abort(self) -> None:
        """Close the connection unless the answer has ended."""
        self._response.close()

    async def _receive(self, deadline: float) -> bytes:
        timer = asyncio.timeout_at(deadline)
        try:
            async with timer:
                return await self._response.content.readany()
        except TimeoutError as error:
            self.abort()
            if timer.expired():
                raise AttemptFailed(failures.timed_out(failures.BODY)) from None
            raise AttemptFailed(failures.truncated(failures.describe(error))) from None
        except (aiohttp.ClientError, OSError) as error:
            self.abort()
            raise AttemptFailed(_body_failure(error)) from None
        except asyncio.CancelledError:
            self.abort()
            raise


async def _connected(session: aiohttp.ClientSession, context: SimpleNamespace, parameters: object) -> None:
    context.trace_request_ctx.advance(failures.HEADERS)


async def _reused(session: aiohttp.ClientSession, context: SimpleNamespace, parameters: object) -> None:
    context.trace_request_ctx.reused = True
    context.trace_request_ctx.advance(failures.HEADERS)


async def _watched(body: bytes | Body, watch: _Watch) -> AsyncIterator[bytes | memoryview]:
    """A long body block by block; each block that leaves is progress."""
    for block in upload_blocks(body):
        watch.advance(failures.SENDING)
        yield block
    watch.advance(failures.HEADERS)


def _unanswered(error: Exception) -> bool:
    """Whether a closed connection had brought no part of an answer."""
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return isinstance(error.message, str)
    return not isinstance(error, aiohttp.ClientConnectorError)


def _send_failure(error: Exception) -> Failure:
    """What an error before the answer's headers means. Addresses go to the record only."""
    detail = failures.describe(error)
    if isinstance(error.__cause__, AttemptFailed):  # from the request's body
        return error.__cause__.failure
    match error:
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientSSLError():
            return failures.unavailable("the provider's TLS handshake failed", detail, unsent=True)
        case aiohttp.ClientConnectorDNSError():
            return failures.unavailable("the provider's host name cannot be resolved", detail, unsent=True)
        case aiohttp.ClientProxyConnectionError() | aiohttp.ClientHttpProxyError():
            return failures.unavailable("the HTTP proxy cannot be used", detail, unsent=True)
        case aiohttp.ClientConnectorError():
            return failures.unavailable("the provider cannot be reached", detail, unsent=True)
        case aiohttp.ClientResponseError():
            return failures.bad_response("the answer is not valid HTTP", detail)
        case aiohttp.InvalidURL() | ValueError():
            return Failure(kind=ErrorKind.INVALID_REQUEST, message="the request cannot be sent", detail=detail)
        case _:
            return failures.unavailable("the provider closed the connection without an answer", detail)


def _body_failure(error: Exception) -> Failure:
    """What an error after the answer's headers means."""
    cause = error.__cause__
    if isinstance(cause, TransferEncodingError) and "Not enough data" not in cause.message:
        return failures.bad_response("the answer is not valid HTTP", failures.describe(cause))
    return failures.truncated(failures.describe(error))
