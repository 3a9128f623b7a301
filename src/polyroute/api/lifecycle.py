"""uvicorn's connection, with the inference paths on a lean way of their own, and told that nobody waits for an answer any
more: the request's task is cancelled when its connection is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from polyroute.api.known_head import KnownHead, split_head
from polyroute.api.lean import LARGEST_BODY, LeanExchange
from polyroute.api.requests import RUNNING, read_head
from polyroute.types.operations import Dialect

if TYPE_CHECKING:
    from polyroute.api.exchange import Exchange


_STRANGE = 8
"""After so many requests in a row whose heads differ, a connection's heads are not remembered any more."""


class InferenceLane(Protocol):
    """What answers inference requests. `lean_paths` maps the raw paths whose bodies are JSON."""

    lean_paths: Mapping[bytes, tuple[str, Dialect]]

    async def infer(self, exchange: Exchange, dialect: Dialect) -> None:
        """Answer one request; never raises for what the request leads to."""


class ServerConfig(uvicorn.Config):
    """uvicorn's configuration, and the lane for the lean way; None where everything takes the general one."""

    lane: InferenceLane | None = None


class Connection(HttpToolsProtocol):
    """A connection that cancels what it asked for when it is lost.

    uvicorn itself only tells an application that asks with `receive`, which would cost a task for each request. A POST of
    known length to an inference path becomes a LeanExchange as soon as its body is there. Everything else, and a request
    that is sent while another one is being answered, takes uvicorn's own way.
    """

    _rendered: ClassVar[tuple[list[tuple[bytes, bytes]], bytes]] = ([], b"")
    running: asyncio.Task[Any] | None = None

    def __init__(self, config: uvicorn.Config, **arguments: Any) -> None:
        super().__init__(config, **arguments)
        self._lane: InferenceLane | None = getattr(config, "lane", None)
        self._reading: LeanExchange | None = None
        self._dialect = Dialect.OPENAI_CHAT
        self._answering: LeanExchange | None = None
        self._worker: asyncio.Task[None] | None = None
        self._idle: asyncio.Future[LeanExchange] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._resting_since: float | None = None
        self._between = True
        self._known: KnownHead | None = None
        self._strange = 0

    def data_received(self, data: bytes) -> None:
        """Bytes of requests, which the parser need not see when it knows their head already."""
        known, begins, before = self._known, self._between, self._answering
        if known is not None and begins and self.cycle.response_complete:
            body = known.body(data)
            if body is not None:
                self._resting_since = None
                self._strange = 0
                self._dialect = known.dialect
                exchange = LeanExchange(self, known.path, known.head, known.keep_alive)
                exchange.parts.append(body)
                self.cycle = exchange  # type: ignore[assignment] # as in on_headers_complete
                self._start(exchange)
                return
        super().data_received(data)
        begun = self._answering
        if begins and begun is not None and begun is not before and self._strange < _STRANGE:
            self._learn(data, begun)

    def _learn(self, data: bytes, exchange: LeanExchange) -> None:
        """Remember the head of the request that `data` was, if that was all of it."""
        parts = split_head(data)
        if parts is not None:
            self._strange += 1
            self._known = KnownHead(
                *parts, path=exchange.path, dialect=self._dialect, head=exchange.head, keep_alive=exchange.keep_alive
            )

    # ------------------------------------------------------------ called by the parser

    def on_message_begin(self) -> None:
        """A request begins."""
        self._between = False
        self._resting_since = None
        self._reading = None
        self.url = b""
        self.headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """The head stands: which way the request takes."""
        exchange = self._lean_exchange()
        if exchange is not None:
            self._reading = exchange
            self.cycle = exchange  # type: ignore[assignment] # has what uvicorn asks of it, see LeanExchange
            return
        url, headers = self.url, self.headers
        super().on_message_begin()
        self.url = url
        for name, value in headers:
            super().on_header(name, value)
        scope: MutableMapping[str, Any] = self.scope  # type: ignore[assignment] # a key of our own
        scope[RUNNING] = self
        super().on_headers_complete()

    def _lean_exchange(self) -> LeanExchange | None:
        found = self._lane.lean_paths.get(self.url) if self._lane is not None else None
        newest: Any = self.cycle  # None before the first request
        if found is None or (newest is not None and not newest.response_complete):
            return None
        parser = self.parser
        if parser.get_method() != b"POST" or parser.get_http_version() != "1.1":
            return None
        head = read_head(self.headers)
        if not head.plain or head.content_length is None or head.content_length > LARGEST_BODY:
            return None
        path, self._dialect = found
        return LeanExchange(self, path, head, parser.should_keep_alive())

    def on_body(self, body: bytes) -> None:
        """Bytes of the body."""
        if self._reading is not None:
            self._reading.parts.append(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._between = True
        exchange, self._reading = self._reading, None
        if exchange is None:
            super().on_message_complete()
        else:
            self._start(exchange)

    def _start(self, exchange: LeanExchange) -> None:
        """Have a whole request answered by the connection's task: it costs more to make one than to wake it."""
        self._answering = exchange
        task, idle = self._worker, self._idle
        if idle is None or task is None:
            task = self._worker = self.loop.create_task(self._work(exchange))
        else:
            self._idle = None
            idle.set_result(exchange)
        exchange.task = task
        self.tasks.add(task)

    async def _work(self, exchange: LeanExchange) -> None:
        """Answer one request after the other, while no younger task does."""
        lane, loop = self._lane, self.loop
        assert lane is not None
        while True:
            await lane.infer(exchange, self._dialect)
            if self._answering is not None or self._idle is not None or self.transport.is_closing():
                return
            del exchange
            self._idle = loop.create_future()
            exchange = await self._idle

    # ------------------------------------------------------------ for the exchange

    def done(self, exchange: LeanExchange) -> None:
        """The exchange's task is done with it."""
        if exchange.task is not None:
            self.tasks.discard(exchange.task)
        if self._answering is exchange:
            self._answering = None

    def default_headers(self) -> bytes:
        """The server's own headers (the date), rendered; uvicorn makes a new list each second."""
        fields = self.server_state.default_headers
        known, rendered = Connection._rendered
        if known is not fields:
            rendered = b"".join([b"%b: %b\r\n" % field for field in fields])
            Connection._rendered = (fields, rendered)
        return rendered

    # ------------------------------------------------------------ the connection's life

    def on_response_complete(self) -> None:
        """An answer is complete: go on with what was sent meanwhile, or rest."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, application = self.pipeline.pop()
            self._start_asgi_task(cycle, application)
            return
        # One timer for a connection, that looks when it fires, not one for each request.
        self._resting_since = self.loop.time()
        if self._timer is None:
            self._timer = self.loop.call_later(self.timeout_keep_alive, self._expire)

    def _unset_keepalive_if_required(self) -> None:
        """uvicorn's own timer is not used."""

    def _expire(self) -> None:
        self._timer = None
        if self._resting_since is None:
            return  # the end of the request that is under way sets it again
        rest = self._resting_since + self.timeout_keep_alive - self.loop.time()
        if rest > 0:
            self._timer = self.loop.call_later(rest, self._expire)
        elif not self.transport.is_closing():
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """The caller is gone."""
        super().connection_lost(exc)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        exchange, self._answering = self._answering, None
        if exchange is not None and exchange.task is not None:
            exchange.disconnected = True
            self.tasks.discard(exchange.task)
            exchange.task.cancel()
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if self.running is not None:
            self.running.cancel()
            self.running = None
