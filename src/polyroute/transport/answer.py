"""The answer to one request on our own HTTP/1.1 connection: what `ports.WireResponse` promises."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from polyroute.ports import Headers
from polyroute.transport import failures
from polyroute.transport.content import ContentDecoder, open_decoder
from polyroute.types.errors import AttemptFailed, Failure

if TYPE_CHECKING:
    from polyroute.transport.connection import Connection

ENCODINGS = frozenset({b"content-encoding", b"transfer-encoding"})
HIGH_WATER = 128 * 1024
"""Bytes that may wait for a slow reader before the connection stops reading."""


class Http1Answer(msgspec.Struct, eq=False):
    """Filled by its connection, emptied by its reader. The connection moves on when the answer has ended."""

    connection: Connection | None
    bodiless: bool
    status: int = 0
    headers: Headers = []
    chunks: list[bytes] = []
    sent: bool = True
    encoded: bool = False
    ended: bool = False
    untouched: bool = False
    whole: bool = False
    paused: bool = False
    head_bytes: int = 0
    stray_bytes: int = 0
    buffered: int = 0
    high_water: int = HIGH_WATER
    waiter: asyncio.Future[None] | None = None
    deadline: float = 0.0
    phase: str = ""
    patience: float | None = None
    failure: Failure | None = None
    """Why the answer will not be completed."""
    _decoder: ContentDecoder | None = None

    # ------------------------------------------------------------ for the connection

    def fail(self, failure: Failure) -> None:
        """The answer will not be completed; what has arrived of it can still be read."""
        if self.failure is None and not self.ended:
            self.failure = failure
        self.wake()

    def wake(self) -> None:
        """Let the reader look."""
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    def delimited_by_close(self) -> bool:
        """Whether the body, by its headers, lasts until the connection closes."""
        return not any(name in {b"content-length", b"transfer-encoding"} for name, _ in self.headers)

    # ------------------------------------------------------------ for the sender

    async def wait(self, deadline: float, phase: str, patience: float | None = None) -> None:
        """Until something happened. A timeout is a failure, a cancellation aborts the request."""
        if self.connection is None:
            return
        try:
            await self.expect(self.connection, deadline, phase, patience)
        except asyncio.CancelledError:
            self.abort()
            raise

    def expect(
        self, connection: Connection, deadline: float, phase: str, patience: float | None = None
    ) -> asyncio.Future[None]:
        """What is done when something happened. Whoever waits for it aborts the answer when cancelled."""
        self.deadline = deadline
        self.phase = phase
        self.patience = patience
        waiter = self.waiter = connection.loop.create_future()
        if deadline < connection.armed:
            connection.arm(deadline)
        return waiter

    def check(self) -> None:
        """Raises AttemptFailed when the answer failed, and leaves no connection behind."""
        if self.failure is not None:
            self.abort()
            raise AttemptFailed(self.failure)

    def open(self) -> None:
        """The headers stand, and tell of encodings. Raises AttemptFailed (`bad_response`) when the body cannot be
        understood."""
        for name, value in self.headers:
            if name == b"transfer-encoding" and value.lower() not in {b"chunked", b"identity"}:
                self.abort()
                raise AttemptFailed(failures.bad_response("the answer has an unknown transfer encoding"))
        if not self.bodiless:
            self._decode_with_headers()

    def _decode_with_headers(self) -> None:
        try:
            self._decoder, self.headers = open_decoder(self.headers)
        except AttemptFailed:
            self.abort()
            raise

    # ------------------------------------------------------------ for the reader

    def rest(self) -> bytes | None:
        """The whole body where it is there and need not be decoded; else None."""
        if not self.ended or self._decoder is not None or self.failure is not None:
            return None
        chunks = self.chunks
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        return data

    async def receive(self, deadline: float) -> bytes:
        """Everything that has arrived, waiting until there is something; b"" at the end."""
        while True:
            chunks = self.chunks
            if self._decoder is not None:
                data = self._decoded(self._decoder)
                if data:
                    return data
            elif chunks:
                data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
                chunks.clear()
                self._drained()
                return data
            self.check()
            if self.ended:
                return b""
            await self.wait(deadline, failures.BODY)

    async def read(self, deadline: float, limit: int) -> bytes:
        """The whole remaining body."""
        if self._decoder is not None:
            return await self._read_decoded(deadline, limit)
        chunks = self.chunks
        self.whole = True
        self.high_water = limit
        while not self.ended and self.failure is None:
            if self.buffered > limit:
                self.buffered = sum(map(len, chunks))
                if self.buffered > limit:
                    break
            if self.paused:
                self._resume()
            await self.wait(deadline, failures.BODY)
        self.check()
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        if len(data) > limit:
            self.abort()
            raise AttemptFailed(failures.too_long(limit))
        return data

    def abort(self) -> None:
        """Close the connection unless the answer has ended."""
        connection = self.connection
        if connection is not None:
            self.connection = None
            connection.discard()
            self.fail(failures.unavailable("the answer was abandoned"))

    async def _read_decoded(self, deadline: float, limit: int) -> bytes:
        parts: list[bytes] = []
        size = 0
        while data := await self.receive(deadline):
            parts.append(data)
            size += len(data)
            if size > limit:
                self.abort()
                raise AttemptFailed(failures.too_long(limit))
        return b"".join(parts)

    def _decoded(self, decoder: ContentDecoder) -> bytes:
        try:
            while self.chunks or decoder.pending:
                if decoder.pending:
                    data = decoder.decode(b"")
                else:
                    data = decoder.decode(b"".join(self.chunks))
                    self.chunks.clear()
                    self._drained()
                if data:
                    return data
            if self.ended:
                decoder.finish()
        except AttemptFailed:
            self.abort()
            raise
        return b""

    def _drained(self) -> None:
        self.buffered = 0
        if self.paused:
            self._resume()

    def _resume(self) -> None:
        self.paused = False
        if self.connection is not None:
            self.connection.transport.resume_reading()
