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
        method = request.method
        target = self._targets.get((method, request.url))
        origin, start = target if target is not None else self._locate(method, request.url)
        body = request.body
        length = len(body) if isinstance(body, bytes) else body.length
        head = encode_head(start, request.headers, length if length or method not in _BODILESS else None)
        loop = self._loop
        if loop is None:
            loop = asyncio.get_running_loop()
            self._pool.enter(loop)
        now = loop.time()
        if now >= deadline:
            raise AttemptFailed(failures.timed_out(failures.BEFORE))
        connection = None if request.once else origin.take(now)
        if connection is not None:
            answer = Http1Answer(connection, method == "HEAD")
            await self._exchange(answer, head, body, timeouts, deadline)
            if answer.status:
                answer.open()
                return answer
            if not answer.untouched:
                answer.check()
        if self._pool.closed:
            raise AttemptFailed(failures.unavailable("the transport is closed"))
        connection = await self._connect(origin, loop, timeouts.connect, deadline)
        answer = Http1Answer(connection, method == "HEAD")
        await self._exchange(answer, head, body, timeouts, deadline)
        if not answer.status:
            answer.check()
        answer.open()
        return answer

    async def aclose(self) -> None:
        """Close all connections, those in use too, and refuse to open others."""
        await self._pool.aclose()

    def _locate(self, method: str, url: str) -> tuple[Origin, bytes]:
        address = parse_address(url)
        target = self._pool.origin(address), address.start(method)
        if len(self._targets) >= _TARGETS_MAX:
            self._targets.clear()
        self._targets[method, url] = target
        return target

    async def _connect(
        self, origin: Origin, loop: asyncio.AbstractEventLoop, patience: float, deadline: float
    ) -> Connection:
        """A new connection, ready to be written to. Raises AttemptFailed; leaves nothing open when it does."""
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
        if self._pool.closed:
            connection.discard()
            raise AttemptFailed(failures.unavailable("the transport is closed"))
        if connection.lost:
            raise AttemptFailed(failures.unavailable("the provider closed the connection without an answer"))
        return connection

    async def _exchange(
        self, answer: Http1Answer, head: bytes, body: bytes | Body, timeouts: Timeouts, deadline: float
    ) -> None:
        """Write the request and wait until the answer has headers or has failed."""
        connection = answer.connection
        assert connection is not None
        connection.begin(answer)
        if not isinstance(body, bytes) or len(body) > LONG:
            await _send_blocks(answer, head, body, timeouts.headers, deadline)
        elif len(body) <= _JOINED:
            connection.transport.write(head + body)
        else:
            connection.transport.writelines((head, body))
        patience = timeouts.headers
        limit = connection.loop.time() + patience
        while not answer.status and answer.failure is None:
            if limit < deadline:
                await answer.wait(limit, failures.HEADERS, patience)
            else:
                await answer.wait(deadline, failures.HEADERS)

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
