"""Our own HTTP/1.1 client, for the inference path: `ports.Transport` on asyncio and httptools, with connections kept alive."""

from __future__ import annotations

import asyncio
import socket
import ssl

from polyroute.ports import Body, Timeouts, WireRequest
from polyroute.transport import failures
from polyroute.transport.address import Address, parse_address
from polyroute.transport.answer import Http1Answer
from polyroute.transport.connection import Connection
from polyroute.transport.fields import encode_head
from polyroute.transport.pool import Origin, Pool
from polyroute.transport.tls import client_context
from polyroute.transport.upload import LONG, upload_blocks
from polyroute.types.errors import AttemptFailed, Failure

_BODILESS = frozenset(("GET", "HEAD", "DELETE", "OPTIONS", "TRACE"))
"""Methods for which an empty body is no body, so that its length goes unsaid."""
_JOINED = 64 * 1024
"""A body up to this size is copied behind its head, a longer one goes out beside it."""
_TARGETS_MAX = 1024

_Start = tuple["Http1Transport", Origin, bytes, bool]
"""What is kept of requests that differ in nothing but their bodies: who keeps it, where they go, their head without its end,
and whether an empty body is none."""


class Http1Transport:
    """Sends requests over pooled connections: one request at a time on each, the one used last first.

    A request on a kept connection that closes before any byte of an answer is sent once more, on a new connection. The
    transport serves one event loop at a time. `ssl_context` decides whom to trust (`tls.client_context`); `idle_expiry` is
    in seconds.
    """

    def __init__(
        self,
        *,
        ssl_context: ssl.SSLContext | None = None,
        max_idle_per_origin: int = 512,
        idle_expiry: float = 55.0,
        max_header_bytes: int = 64 * 1024,
    ) -> None:
        self._ssl_context = ssl_context
        self._max_header_bytes = max_header_bytes
        self._targets: dict[tuple[str, str], tuple[Origin, bytes]] = {}
        self._pool = Pool(max_idle_per_origin, idle_expiry)
        self._loop: asyncio.AbstractEventLoop | None = None

    def bind(self, loop: asyncio.AbstractEventLoop) -> None:
        """Serve this loop alone, which then need not be looked up for every request."""
        self._loop = loop
        self._pool.enter(loop)

    async def send(self, request: WireRequest, timeouts: Timeouts, deadline: float) -> Http1Answer:
        """Send and wait for the answer's headers; see `ports.Transport.send`."""
        loop = self._loop
        if loop is None:
            loop = asyncio.get_running_loop()
            self._pool.enter(loop)
        shared, body = request.head, request.body
        kept = shared.kept if shared is not None else None
        if kept is None or kept[0] is not self:
            kept = self._start(request)
        _, origin, head, bodiless = kept
        length = len(body) if isinstance(body, bytes) else body.length
        head = b"%bcontent-length: %d\r\n\r\n" % (head, length) if length or not bodiless else head + b"\r\n"
        now = loop.time()
        if now >= deadline:
            raise AttemptFailed(failures.timed_out(failures.BEFORE))
        connection, kept_alive = None if request.once else origin.take(now), True
        while True:
            if connection is None:
                connection, kept_alive = await self._connect(origin, loop, timeouts.connect, deadline), False
                now = loop.time()
            answer = Http1Answer(connection, bodiless and request.method == "HEAD")
            connection.begin(answer)
            if not isinstance(body, bytes) or length > LONG:
                await _send_blocks(answer, head, body, timeouts.headers, deadline)
                now = loop.time()
            elif length <= _JOINED:
                connection.transport.write(head + body)
            else:
                connection.transport.writelines((head, body))
            limit = now + timeouts.headers
            patience: float | None = timeouts.headers
            if limit >= deadline:
                limit, patience = deadline, None
            while not answer.status and answer.failure is None:  # as `answer.wait`, with one coroutine less
                try:
                    await answer.expect(connection, limit, failures.HEADERS, patience)
                except asyncio.CancelledError:
                    answer.abort()
                    raise
            if answer.status:
                if answer.encoded:
                    answer.open()
                return answer
            if not (kept_alive and answer.untouched):
                answer.check()
            connection = None

    async def aclose(self) -> None:
        """Close all connections, those in use too, and refuse to open others."""
        await self._pool.aclose()

    def _start(self, request: WireRequest) -> _Start:
        """Where a request goes, and its head as far as the body has no part in it."""
        method, url = request.method, request.url
        target = self._targets.get((method, url))
        if target is None:
            address = parse_address(url)
            if len(self._targets) >= _TARGETS_MAX:
                self._targets.clear()
            target = self._targets[method, url] = self._pool.origin(address), address.start(method)
        origin, start = target
        kept = self, origin, encode_head(start, request.headers), method in _BODILESS
        if request.head is not None:
            request.head.kept = kept
        return kept

    async def _connect(
        self, origin: Origin, loop: asyncio.AbstractEventLoop, patience: float, deadline: float
    ) -> Connection:
        """A new connection, ready to be written to. Raises AttemptFailed; leaves nothing open when it does."""
        self._check_open()
        address = origin.address
        limit = loop.time() + patience
        connection = Connection(origin, loop, self._max_header_bytes)
        timer = asyncio.timeout_at(min(limit, deadline))
        context = self._context() if address.secure else None
        name = address.host if address.secure else None
        try:
            async with timer:
                await loop.create_connection(
                    lambda: connection, address.host, address.port, ssl=context, server_hostname=name
                )
        except BaseException as error:
            connection.abandon()
            if isinstance(error, TimeoutError) and timer.expired():
                failure = failures.timed_out(failures.CONNECTING, patience if limit < deadline else None)
                raise AttemptFailed(failure) from None
            if isinstance(error, OSError):
                raise AttemptFailed(_unreachable(address, error)) from None
            if isinstance(error, UnicodeError):
                raise failures.refused("the upstream URL's host is not a name") from None
            raise
        try:
            self._check_open()
        except AttemptFailed:
            connection.discard()
            raise
        if connection.lost:
            raise AttemptFailed(failures.unavailable("the provider closed the connection without an answer"))
        return connection

    def _check_open(self) -> None:
        if self._pool.closed:
            raise AttemptFailed(failures.unavailable("the transport is closed"))

    def _context(self) -> ssl.SSLContext:
        if self._ssl_context is None:
            self._ssl_context = client_context()
        return self._ssl_context


async def _send_blocks(answer: Http1Answer, head: bytes, body: bytes | Body, patience: float, deadline: float) -> None:
    """Write a long body no faster than it leaves, until an early answer refuses the rest of it."""
    connection = answer.connection
    assert connection is not None
    answer.sent = False
    transport = connection.transport
    transport.write(head)
    try:
        for block in upload_blocks(body):
            transport.write(block)
            await asyncio.sleep(0)  # lets an early answer be read before the next write fails
            while not connection.writable and _wanted(answer):
                limit = connection.loop.time() + patience
                if limit < deadline:
                    await answer.wait(limit, failures.SENDING, patience)
                else:
                    await answer.wait(deadline, failures.SENDING)
            if not _wanted(answer):
                return
    except BaseException:
        answer.abort()
        raise
    answer.sent = True


def _wanted(answer: Http1Answer) -> bool:
    """Whether the rest of the request's body is still of use."""
    return answer.connection is not None and answer.failure is None and answer.status < 300


def _unreachable(address: Address, error: OSError) -> Failure:
    """What a failed connect means. The address goes to the record only."""
    if isinstance(error, ssl.SSLError):
        message = "the provider's TLS handshake failed"
    elif isinstance(error, socket.gaierror):
        message = "the provider's host name cannot be resolved"
    elif isinstance(error, ConnectionRefusedError):
        message = "the provider refused the connection"
    else:
        message = "the provider cannot be reached"
    return failures.unavailable(message, f"{address.authority}: {failures.describe(error)}", unsent=True)
