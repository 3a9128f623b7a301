"""What the engine hands to a surface: a whole answer, or a stream that settles itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from polyroute.engine.settlement import Settlement
from polyroute.engine.translators import StreamTranslator
from polyroute.ports import AnswerReader, Headers, Timeouts, WireResponse
from polyroute.types.errors import AttemptFailed, Failure, PolyrouteError


class WholeAnswer:
    """An answer that is complete and settled."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: Headers, body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body


class StreamAnswer:
    """An answer that has committed and goes on. Take `next` until it gives b"", and `close` it in any case."""

    __slots__ = (
        "_deadline", "_done", "_failed", "_first", "_idle", "_loop", "_on_served", "_reader", "_render_error",
        "_response", "_settlement", "_simulated", "headers", "status",
    )  # fmt: skip

    def __init__(
        self, headers: Headers, first: bytes, response: WireResponse, reader: AnswerReader, settlement: Settlement,
        *, timeouts: Timeouts, deadline: float, on_served: Callable[[], None],
        on_failed: Callable[[Failure], PolyrouteError], render_error: Callable[[PolyrouteError], bytes | None],
        simulated: bool, loop: asyncio.AbstractEventLoop,
    ) -> None:  # fmt: skip
        self.status = 200
        self.headers = headers
        self._first = first
        self._response = response
        self._reader = reader
        self._settlement = settlement
        self._idle = timeouts.idle
        self._deadline = deadline
        self._on_served = on_served
        self._failed = on_failed
        self._render_error = render_error
        self._simulated = simulated
        self._done = False
        self._loop = loop

    async def next(self) -> bytes:
        """More of the answer, b"" after its end.

        Raises PolyrouteError when it is broken off and the dialect has no words for that: the connection must then be
        closed, so that nobody takes the answer for whole.
        """
        if self._first:
            first, self._first = self._first, b""
            if self._reader.seen.ended:
                self._served()
            return first
        while not self._done:
            try:
                data = await self._response.receive(min(self._loop.time() + self._idle, self._deadline))
                out = self._reader.feed(data) if data else self._reader.end()
            except AttemptFailed as broken:
                return self._break_off(broken.failure)
            if not data:
                self._done = True
                self._served()
                return out
            if self._reader.seen.ended:
                self._served()  # before the caller can take the answer for whole
            if out:
                return out
        return b""

    def _served(self) -> None:
        self._on_served()

    def _break_off(self, failure: Failure) -> bytes:
        self._done = True
        self._response.abort()
        if self._reader.seen.ended:
            return b""  # everything that counts had come
        error = self._failed(failure)
        self._settlement.broken_off(self._reader.seen, error, simulated=self._simulated)
        if isinstance(self._reader, StreamTranslator):
            return self._reader.error(error)
        rendered = self._render_error(error)
        if rendered is None:
            raise error
        return rendered

    def close(self) -> None:
        """The surface is done with the answer, whole or not; may be called any number of times."""
        self._done = True
        self._response.abort()
        self._settlement.broken_off(self._reader.seen, None, simulated=self._simulated)


Answer = WholeAnswer | StreamAnswer
