"""One HTTP/1.1 connection to a provider: bytes in, an answer's parts out."""

from __future__ import annotations

import asyncio
import socket
from typing import Protocol, cast

import httptools

from polyroute.transport.answer import ENCODINGS, Http1Answer
from polyroute.transport.failures import bad_response, describe, timed_out, truncated, unavailable
from polyroute.types.errors import Failure

_NEVER = float("inf")
_KEEP_ALIVE_AFTER = 60
"""Seconds of silence after which the kernel probes whether the peer is still there: models may think for minutes, and
address translators forget connections that say nothing."""


class Owner(Protocol):
    """Who keeps connections between requests."""

    def opened(self, connection: Connection) -> None:
        """The connection was made."""

    def take_back(self, connection: Connection) -> None:
        """The connection is free for another request."""

    def forget(self, connection: Connection) -> None:
        """The connection is closing."""

    def lost(self, connection: Connection) -> None:
        """The connection is gone."""


class _SurplusError(Exception):
    """Bytes after the end of an answer."""


class Connection(asyncio.Protocol):
    """Carries one request at a time; between requests it belongs to its owner's pool.

    It has one timer, armed for the earliest deadline that was asked for and re-armed when it fires too soon: a request
    that is answered in time costs no timer of its own.
    """

    __slots__ = (
        "_feed",
        "_fields",
        "_maximum",
        "_owner",
        "_parser",
        "_reusable",
        "_timer",
        "_writable",
        "answer",
        "armed",
        "chunks",
        "idle_since",
        "loop",
        "lost",
        "transport",
    )

    def __init__(self, owner: Owner, loop: asyncio.AbstractEventLoop, max_header_bytes: int) -> None:
        self.loop = loop
        self.idle_since = 0.0
        self.lost = False
        self.answer: Http1Answer | None = None
        self.chunks: list[bytes] = []
        self.transport = cast("asyncio.Transport", None)  # until connection_made
        self._owner = owner
        self._maximum = max_header_bytes
        self._fields: list[tuple[bytes, bytes]] = []
        self._parser = httptools.HttpResponseParser(self)
        self._feed = self._parser.feed_data
        self._timer: asyncio.TimerHandle | None = None
        self.armed = _NEVER
        self._writable = True
        self._reusable = False

    # ------------------------------------------------------------ for the answer that it carries

    def begin(self, answer: Http1Answer) -> None:
        """Carry the answer to the request that is about to be written."""
        self.answer = answer
        self.chunks = answer.chunks

    @property
    def writable(self) -> bool:
        """False while more is waiting to be sent than should be."""
        return self._writable

    def arm(self, deadline: float) -> None:
        """Wake the answer's reader at its deadline."""
        if deadline < self.armed:
            if self._timer is not None:
                self._timer.cancel()
            self.armed = deadline
            self._timer = self.loop.call_at(deadline, self._tick)

    def discard(self) -> None:
        """Close at once: what is on its way in either direction is not wanted."""
        self.answer = None
        self.lost = True
        self._owner.forget(self)
        if self.transport is not None:
            self.transport.abort()

    def abandon(self) -> None:
        """Give up while connecting: an event loop whose connect failed or was cancelled need not report the loss."""
        self.discard()
        self._owner.lost(self)

    def shut(self) -> None:
        """Close at once, and tell whoever waits for an answer."""
        if self.answer is not None:
            self._fail(self.answer, unavailable("the transport was closed"))
        else:
            self.discard()

    def _tick(self) -> None:
        self._timer = None
        self.armed = _NEVER
        answer = self.answer
        if answer is None or answer.waiter is None or answer.waiter.done():
            return
        if answer.deadline - self.loop.time() > 0.001:
            self.arm(answer.deadline)
            return
        answer.fail(timed_out(answer.phase, answer.patience))

    # ------------------------------------------------------------ asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        self.transport = cast("asyncio.Transport", transport)
        self._owner.opened(self)
        peer = transport.get_extra_info("socket")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_KEEPIDLE"):
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEP_ALIVE_AFTER)

    def data_received(self, data: bytes) -> None:
        """Parse, wake the reader, and stop reading when the reader is far behind."""
        answer = self.answer
        if answer is None:
            self.discard()  # an idle connection has nothing to say
            return
        held = len(self.chunks)
        if not answer.status:
            answer.head_bytes += len(data)
        try:
            self._feed(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._reject(answer, error)
            return
        if answer.ended:
            self._release(answer, self._reusable and not answer.bodiless)
        elif not answer.status:
            if answer.head_bytes > self._maximum:
                self._overlong(answer)
            return
        elif len(self.chunks) > held:
            answer.stray_bytes = 0
            answer.buffered += len(data)
            if answer.buffered > answer.high_water:
                answer.paused = True
                self.transport.pause_reading()
            elif answer.whole:
                return
        else:
            answer.stray_bytes += len(data)
            if answer.stray_bytes > self._maximum:
                self._overlong(answer)
                return
        waiter = answer.waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def eof_received(self) -> None:
        """The peer sends no more; asyncio closes the connection when this returns None."""
        self._owner.forget(self)
        self.lost = True
        self._end(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self.lost = True
        self._owner.lost(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._end(exc)

    def pause_writing(self) -> None:
        """More is waiting to be sent than should be."""
        self._writable = False

    def resume_writing(self) -> None:
        """There is room to send again."""
        self._writable = True
        if self.answer is not None:
            self.answer.wake()

    # ------------------------------------------------------------ called by the parser

    def on_message_begin(self) -> None:
        """A status line begins: of the answer, of an interim one before it, or of something that nobody asked for."""
        if self.answer is None or self.answer.ended:
            raise _SurplusError
        self._fields = []

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header, or trailer, which go where nobody looks."""
        name = name.lower()
        self._fields.append((name, value))
        if name in ENCODINGS and self.answer is not None:
            self.answer.encoded = True

    def on_headers_complete(self) -> None:
        """The head of an answer stands: 1xx ones announce another."""
        answer = self.answer
        assert answer is not None
        if answer.head_bytes > self._maximum and self._head_size() > self._maximum:
            raise OverflowError
        status = self._parser.get_status_code()
        if status >= 200:
            answer.status = status
            answer.headers = self._fields
            self._fields = []
            if answer.bodiless:
                answer.ended = True
                self.chunks = []

    def on_body(self, data: bytes) -> None:
        """Bytes of the body."""
        self.chunks.append(data)

    def on_message_complete(self) -> None:
        """The answer ended by its own count."""
        answer = self.answer
        if answer is not None and answer.status:
            answer.ended = True
            self._reusable = self._parser.should_keep_alive()  # known at this moment only

    # ------------------------------------------------------------ ends

    def _head_size(self) -> int:
        return sum(len(name) + len(value) + 4 for name, value in self._fields)

    def _release(self, answer: Http1Answer, reusable: bool) -> None:
        """The answer is complete: the connection is free, or done for."""
        self.answer = None
        self.chunks = []
        answer.connection = None
        if reusable and self._writable and answer.sent and not self.lost:
            if answer.paused:
                self.transport.resume_reading()
            self._owner.take_back(self)
        else:
            self._owner.forget(self)
            self.transport.abort()

    def _reject(self, answer: Http1Answer, error: Exception) -> None:
        if answer.ended:  # garbage after the answer harms only the connection
            self._release(answer, reusable=False)
            answer.wake()
        elif isinstance(error.__context__, OverflowError):
            self._overlong(answer)
        else:
            self._fail(answer, bad_response("the answer is not valid HTTP", describe(error)))

    def _overlong(self, answer: Http1Answer) -> None:
        self._fail(answer, bad_response(f"the answer's headers are longer than {self._maximum} bytes"))

    def _fail(self, answer: Http1Answer, failure: Failure) -> None:
        answer.connection = None
        self.discard()
        answer.fail(failure)

    def _end(self, error: Exception | None) -> None:
        """No more will arrive."""
        answer = self.answer
        if answer is None:
            return
        if answer.status and error is None and answer.delimited_by_close():
            answer.ended = True
            self._release(answer, reusable=False)
            answer.wake()
        elif answer.status:
            self._fail(answer, truncated(describe(error)))
        else:
            answer.untouched = answer.head_bytes == 0
            self._fail(answer, unavailable("the provider closed the connection without an answer", describe(error)))
