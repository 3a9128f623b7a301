"""One request of a caller and the answer to it, as the fast lane sees them: the same over ASGI and over a bare connection."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from polyroute.api.requests import (
    RUNNING,
    BegunError,
    Head,
    Receive,
    Running,
    Scope,
    Send,
    read_body,
    read_form,
    read_head,
)
from polyroute.engine.forms import Form
from polyroute.ports import Headers


class Exchange(Protocol):
    """A request whose head has arrived. Header names are in lower case."""

    path: str
    query: bytes
    head: Head

    @property
    def left(self) -> bool:
        """Whether the caller closed the connection, which cancels the task that answers."""

    def enter(self) -> None:
        """The current task answers: it is the one to cancel when the caller leaves."""

    def leave(self) -> None:
        """The task is done with the answer, whole or not."""

    def take_body(self, limit: int) -> bytes | None:
        """The whole body where it is there already, else None. Raises as `read_body` does."""

    async def read_body(self, limit: int) -> bytes:
        """The whole body. Raises PolyrouteError(too_large) beyond `limit` bytes, ClientGone."""

    async def read_form(self, limit: int) -> Form:
        """The body as a multipart form. Raises as `read_body` does, and PolyrouteError for what is no form."""

    def reply(self, status: int, headers: Headers, body: bytes) -> bool:
        """A whole answer where it can be given without waiting; False, and nothing done, where it has to be `answer`. Raises
        BegunError."""

    async def answer(self, status: int, headers: Headers, body: bytes) -> None:
        """A whole answer. Raises BegunError."""

    async def begin(self, status: int, headers: Headers) -> None:
        """An answer in pieces. Raises BegunError."""

    async def send(self, data: bytes) -> None:
        """A piece, after `begin`; waits while the caller takes them more slowly than they come."""

    async def finish(self, data: bytes) -> None:
        """The last piece, which may be empty. An answer that is left without it reaches the caller as broken off."""


class AsgiExchange:
    """An exchange over ASGI."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.path: str = scope["path"]
        self.query: bytes = scope["query_string"]
        self.head = read_head(scope["headers"])
        self._connection: Running | None = scope.get(RUNNING)
        self._receive = receive
        self._send = send

    @property
    def left(self) -> bool:
        """Whether the connection has forgotten the task, which is how it cancels."""
        return self._connection is not None and self._connection.running is None

    def enter(self) -> None:
        """Leave the task with the connection."""
        if self._connection is not None:
            self._connection.running = asyncio.current_task()

    def leave(self) -> None:
        """Take it back."""
        if self._connection is not None:
            self._connection.running = None

    def take_body(self, limit: int) -> bytes | None:
        """It has to be received."""
        return None

    async def read_body(self, limit: int) -> bytes:
        """The whole body."""
        return await read_body(self._receive, self.head, limit)

    async def read_form(self, limit: int) -> Form:
        """The body as a form, of which large parts are on disk."""
        return await read_form(self._receive, self.head, limit)

    def reply(self, status: int, headers: Headers, body: bytes) -> bool:
        """It has to be sent."""
        return False

    async def answer(self, status: int, headers: Headers, body: bytes) -> None:
        """A whole answer."""
        await self.begin(status, [*headers, (b"content-length", b"%d" % len(body))])
        await self.finish(body)

    async def begin(self, status: int, headers: Headers) -> None:
        """The head of an answer."""
        try:
            await self._send({"type": "http.response.start", "status": status, "headers": headers})
        except RuntimeError as error:  # uvicorn's word for a second start
            raise BegunError from error

    async def send(self, data: bytes) -> None:
        """A piece."""
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def finish(self, data: bytes) -> None:
        """The last piece."""
        message: dict[str, Any] = {"type": "http.response.body", "body": data}
        await self._send(message)
