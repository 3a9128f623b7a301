"""What the engine hands to a surface: a whole answer, or a stream that settles itself."""

from __future__ import annotations

import asyncio
from typing import Protocol

import msgspec

from polyroute.engine.attempts import Attempt
from polyroute.engine.content import Recorder
from polyroute.engine.delivered import Delivered
from polyroute.engine.translators import StreamTranslator
from polyroute.ports import Headers
from polyroute.types.errors import AttemptFailed, Failure, PolyrouteError


class WholeAnswer(msgspec.Struct, eq=False):
    """An answer that is complete and settled."""

    status: int
    headers: Headers
    body: bytes


class Course(Protocol):
    """Who decides how a stream ends, and writes it down."""

    def served(self, attempt: Attempt) -> None:
        """The answer is whole; may be called more than once."""

    def broke(self, attempt: Attempt, failure: Failure) -> PolyrouteError:
        """The answer broke off; gives the caller's error, should nobody go on with it."""

    def missing_end(self, attempt: Attempt, delivered: Delivered) -> bytes | None:
        """The rest of a stream that broke when all had been said; None when there was more to come."""

    async def rescue(self, attempt: Attempt, failure: Failure, delivered: Delivered) -> Attempt | None:
        """The attempt that goes on with a broken stream; None when nobody can."""

    def ended(self, attempt: Attempt, error: PolyrouteError | None) -> None:
        """The stream is over before its end; may be called more than once."""

    def render_error(self, error: PolyrouteError) -> bytes | None:
        """How a relayed stream says that it failed; None where its dialect has no words for that."""


class StreamAnswer:
    """An answer that has committed and goes on. Take `next` until it gives b"", and `close` it in any case."""

    __slots__ = (
        "_attempt", "_course", "_deadline", "_delivered", "_done", "_first", "_idle", "_loop", "_reader", "_recorder",
        "_response", "headers", "status",
    )  # fmt: skip

    def __init__(
        self,
        headers: Headers,
        attempt: Attempt,
        course: Course,
        *,
        deadline: float,
        delivered: Delivered | None,
        loop: asyncio.AbstractEventLoop,
        recorder: Recorder | None = None,
    ) -> None:
        """`delivered` keeps what the caller gets, where a rescue is possible; `recorder`, where the ledger wants it."""
        self.status = 200
        self.headers = headers
        self._course = course
        self._deadline = deadline
        self._delivered = delivered
        self._done = False
        self._loop = loop
        self._recorder = recorder
        self._follow(attempt)

    def _follow(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._first = attempt.out
        self._response = attempt.response
        self._reader = attempt.reader
        self._idle = attempt.timeouts.idle

    async def next(self) -> bytes:
        """More of the answer, b"" after its end.

        Raises PolyrouteError when it is broken off and the dialect has no words for that: the connection must then be
        closed, so that nobody takes the answer for whole.
        """
        if self._first:
            first, self._first = self._first, b""
            if self._recorder is not None:
                self._recorder.add(first)
            if self._reader.seen.ended:
                self._served()
            if self._delivered is not None:
                self._delivered.add(first)
            return first
        while not self._done:
            try:
                data = await self._response.receive(min(self._loop.time() + self._idle, self._deadline))
                out = self._reader.feed(data) if data else self._reader.end()
            except AttemptFailed as broken:
                out = await self._break_off(broken.failure)
                if out or self._done:
                    return out
                continue
            if self._recorder is not None:
                self._recorder.add(out)
            if not data:
                self._done = True
                self._served()
                return out + self._attempt.lane.closing(self._reader.seen)
            if self._reader.seen.ended:
                self._served()  # before the caller can take the answer for whole
            if out:
                if self._delivered is not None:
                    self._delivered.add(out)
                return out
        return b""

    def _served(self) -> None:
        self._course.served(self._attempt)

    async def _break_off(self, failure: Failure) -> bytes:
        """What follows on a break: the first bytes of another target's continuation (if it has some already), the missing
        end, or the error."""
        self._response.abort()
        attempt, delivered = self._attempt, self._delivered
        if self._reader.seen.ended:
            self._done = True
            return b""  # everything that counts had come
        if delivered is not None and (rest := self._course.missing_end(attempt, delivered)) is not None:
            self._done = True
            if self._recorder is not None:
                self._recorder.add(rest)
            self._served()
            return rest
        error = self._course.broke(attempt, failure)
        if delivered is not None:
            followed = await self._course.rescue(attempt, failure, delivered)
            if followed is not None:
                return self._go_on(followed, delivered)
        self._done = True
        self._course.ended(self._attempt, error)
        if isinstance(self._reader, StreamTranslator):
            return self._reader.error(error)
        rendered = self._course.render_error(error)
        if rendered is None:
            raise error
        return rendered

    def _go_on(self, attempt: Attempt, delivered: Delivered) -> bytes:
        """Another attempt's stream follows."""
        self._follow(attempt)
        first, self._first = self._first, b""
        if self._recorder is not None:
            self._recorder.add(first)
        if attempt.whole:
            self._done = True
            self._served()
        if first:
            delivered.add(first)
        return first

    def close(self) -> None:
        """The surface is done with the answer, whole or not; may be called any number of times."""
        self._done = True
        self._response.abort()
        self._course.ended(self._attempt, None)


Answer = WholeAnswer | StreamAnswer
