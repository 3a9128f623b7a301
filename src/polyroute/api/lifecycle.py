"""uvicorn, told that nobody waits for an answer any more: the request's task is cancelled when its connection is lost."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

RUNNING = "polyroute.running"
"""The scope's key of the connection, on which the fast lane leaves its task."""


class Connection(HttpToolsProtocol):
    """A connection that cancels what it asked for when it is lost.

    uvicorn itself only tells an application that asks with `receive`, which would cost a task for each request.
    """

    running: asyncio.Task[Any] | None = None

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        scope: MutableMapping[str, Any] = self.scope  # type: ignore[assignment] # a key of our own
        scope[RUNNING] = self

    def connection_lost(self, exc: Exception | None) -> None:
        """The caller is gone."""
        super().connection_lost(exc)
        if self.running is not None:
            self.running.cancel()
            self.running = None
