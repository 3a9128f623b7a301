"""An exchange straight on the connection, for JSON requests of known length: no scope, no events, one write for an answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from polyroute.api.requests import BegunError, ClientGone, Head, too_large
from polyroute.engine.forms import Form
from polyroute.ports import Headers

if TYPE_CHECKING:
    from polyroute.api.lifecycle import Connection

LARGEST_BODY = 1 << 20
"""Bytes. A longer body is taken in with flow control, after its sender has been admitted."""

_CLOSE = (b"connection", b"close")
_CHUNKED = b"transfer-encoding: chunked\r\n"
_FIELD = b": ".join
_END, _CLOSING_END = b"\r\n", b"connection: close\r\n\r\n"
_JOINED = 64 * 1024
"""A body up to this size is copied behind its head, a longer one goes out beside it."""


class _NobodyWaits:
    """What uvicorn wakes when a connection is lost; here the task is cancelled instead."""

    def set(self) -> None:
        """Nobody is there to be woken."""


class LeanExchange:
    """Implements `exchange.Exchange`. It stands in for uvicorn's RequestResponseCycle while it is the connection's newest
    one: `response_complete`, `keep_alive`, `disconnected` and `message_event` are what uvicorn reads or sets then."""

    __slots__ = (
        "_begun", "_connection", "_held", "disconnected", "head", "keep_alive", "parts", "path", "response_complete", "task",
    )  # fmt: skip
    query = b""
    message_event = _NobodyWaits()

    def __init__(self, connection: Connection, path: str, head: Head, keep_alive: bool) -> None:
        self.path = path
        self.head = head
        self.keep_alive = keep_alive
        self.parts: list[bytes] = []
        self.response_complete = False
        self.disconnected = False
        self.task: asyncio.Task[Any] | None = None
        self._connection = connection
        self._begun = False
        self._held = b""

    @property
    def left(self) -> bool:
        """Whether the caller closed the connection."""
        return self.disconnected

    def enter(self) -> None:
        """The connection knows the task already: it made it."""

    def leave(self) -> None:
        """An answer that is not complete by now never will be: the closed connection says so."""
        connection = self._connection
        connection.done(self)
        if not self.response_complete:
            self.response_complete = True
            if not self.disconnected:
                connection.transport.close()

    def take_body(self, limit: int) -> bytes:
        """The body, which was there before the task began."""
        if self.disconnected:
            raise ClientGone
        parts = self.parts
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        if len(body) > limit:
            raise too_large(limit)
        self.parts = []
        return body

    async def read_body(self, limit: int) -> bytes:
        """The body."""
        return self.take_body(limit)

    async def read_form(self, limit: int) -> Form:
        """Forms take the general way: see Connection."""
        raise ClientGone

    def reply(self, status: int, headers: Headers, body: bytes) -> bool:
        """A whole answer in one write."""
        connection = self._connection
        if connection.flow.write_paused or self.disconnected:
            return False
        head = self._start(status, headers, b"content-length: %d\r\n" % len(body))
        if len(body) <= _JOINED:
            connection.transport.write(head + body)
        else:
            connection.transport.writelines((head, body))
        self._complete()
        return True

    async def answer(self, status: int, headers: Headers, body: bytes) -> None:
        """A whole answer, as soon as there is room for it."""
        if not self.disconnected and self._connection.flow.write_paused:
            await self._drain()
        if not self.reply(status, headers, body):
            self._start(status, headers, b"")  # nobody is left to read it

    async def begin(self, status: int, headers: Headers) -> None:
        """The head is held until the first piece, and goes out with it."""
        self._held = self._start(status, headers, _CHUNKED)

    async def send(self, data: bytes) -> None:
        """A chunk."""
        if not data:
            return
        connection = self._connection
        if connection.flow.write_paused or self.disconnected:
            await self._drain()
            if self.disconnected:
                return
        connection.transport.write(b"%b%x\r\n%b\r\n" % (self._held, len(data), data))
        self._held = b""

    async def finish(self, data: bytes) -> None:
        """The last chunk and the end."""
        if self._connection.flow.write_paused or self.disconnected:
            await self._drain()
            if self.disconnected:
                return
        chunk = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
        self._connection.transport.write(b"%b%b0\r\n\r\n" % (self._held, chunk))
        self._held = b""
        self._complete()

    def _start(self, status: int, headers: Headers, framing: bytes) -> bytes:
        """The head of the answer. Raises BegunError for a second one, ValueError when a header would break out of its
        line. There is one header at least."""
        if self._begun:
            raise BegunError
        if status != 200 and _CLOSE in headers:
            self.keep_alive = False
            headers = [field for field in headers if field != _CLOSE]
        given = b"\r\n".join(map(_FIELD, headers))
        breaks = len(headers) - 1
        if given.count(b"\n") != breaks or given.count(b"\r") != breaks or 0 in given:
            raise ValueError("a header of the answer contains a line break or NUL")
        self._begun = True
        end = _END if self.keep_alive else _CLOSING_END
        return b"%b%b%b\r\n%b%b" % (STATUS_LINE[status], self._connection.default_headers(), given, framing, end)

    async def _drain(self) -> None:
        """Wait until more can be written, or nobody is left to read it."""
        if not self.disconnected:
            await self._connection.flow.drain()

    def _complete(self) -> None:
        self.response_complete = True
        connection = self._connection
        if not self.keep_alive:
            connection.transport.close()
        connection.on_response_complete()
