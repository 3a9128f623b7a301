"""What a media adapter made, as an upstream answer that the engine reads like any other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from polyroute.ports import Headers, Immediate, MediaStream, MediaWire, Observation, Streamed
from polyroute.types.errors import AttemptFailed, ErrorKind, Failure
from polyroute.types.media import Fitted, MediaRequest, Outcome, Produced


class Collected:
    """A `Streamed` maker whose answer is wanted whole."""

    def __init__(self, maker: Streamed) -> None:
        self._maker = maker

    def fit(self, request: MediaRequest, model: str) -> Fitted:
        """As the maker does."""
        return self._maker.fit(request, model)

    async def make(self, request: MediaRequest, model: str, wire: MediaWire) -> Outcome:
        """All of the stream; of a maker that can also give it whole, that."""
        if isinstance(self._maker, Immediate):
            return await self._maker.make(request, model, wire)
        stream = await self._maker.stream(request, model, wire)
        try:
            content = b"".join([block async for block in stream.chunks()])
        finally:
            stream.abort()
        return Outcome(produced=(Produced(data=content, media_type=stream.media_type),), usage=stream.usage())


class MadeAnswer:
    """A `ports.WireResponse` of what was made: whole, or while it comes."""

    def __init__(
        self, media_type: bytes, body: bytes = b"", *, stream: MediaStream | None = None,
        chunks: AsyncIterator[bytes] | None = None,
    ) -> None:  # fmt: skip
        self.status = 200
        self.headers: Headers = [(b"content-type", media_type)]
        self._body = body
        self._stream = stream
        self._chunks = stream.chunks() if stream is not None else chunks

    def rest(self) -> None:
        """It is to be received."""

    async def receive(self, deadline: float) -> bytes:
        """The next bytes; b"" at the end. Raises AttemptFailed: `timeout` at the deadline."""
        if self._chunks is None:
            body, self._body = self._body, b""
            return body
        try:
            async with asyncio.timeout_at(deadline):
                return await anext(self._chunks, b"")
        except TimeoutError:
            raise AttemptFailed(Failure(kind=ErrorKind.TIMEOUT, message="The provider stopped sending.")) from None

    async def read(self, deadline: float, limit: int) -> bytes:
        """All the rest."""
        parts = []
        while data := await self.receive(deadline):
            parts.append(data)
        return b"".join(parts)

    def abort(self) -> None:
        """Stop a stream."""
        if self._stream is not None:
            self._stream.abort()


class MadeReader:
    """Hands on what was made, and says what it consumed when it is over."""

    def __init__(self, note_usage: Callable[[Observation], None]) -> None:
        self.seen = Observation()
        self._note_usage = note_usage

    def feed(self, data: bytes) -> bytes:
        """The bytes as they are."""
        if data:
            self.seen.meaningful = True
        return data

    def end(self) -> bytes:
        """Nothing more. Raises AttemptFailed when nothing came."""
        if not self.seen.meaningful:
            raise AttemptFailed(Failure(kind=ErrorKind.BAD_RESPONSE, message="The provider gave an empty answer."))
        self.seen.complete = self.seen.ended = True
        self._note_usage(self.seen)
        return b""
