"""Running the fast lane under uvicorn."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import uvicorn

from polyroute.api.lifecycle import Connection, InferenceLane, ServerConfig

log = logging.getLogger("polyroute.api")


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one. Raises OSError, whose message names the address."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise OSError(error.errno, f"cannot listen on {host}:{port}: {error.strerror}") from error
    listener.listen(2048)
    listener.set_inheritable(True)
    return listener


class Server(uvicorn.Server):
    """uvicorn's server, which leaves the signals to whoever runs it, and stops as soon as it is told to."""

    def __init__(self, config: uvicorn.Config) -> None:
        self._told = asyncio.Event()
        super().__init__(config)

    @property
    def should_exit(self) -> bool:
        """Whether it was told to stop. Set it in the loop that serves."""
        return self._told.is_set()

    @should_exit.setter
    def should_exit(self, wanted: bool) -> None:
        if wanted:
            self._told.set()

    async def main_loop(self) -> None:
        """Look at the clock once a second, for the date that answers carry, in place of every tenth."""
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._told.wait(), 1.0)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """uvicorn would raise the signal again when it is done, and so end the process before the ledger is closed."""
        yield


def make_server(application: Any, *, lane: InferenceLane | None = None, patience: float = 30.0) -> Server:
    """A server for a bound socket: no access log, no lifespan, HTTP only. `lane` answers inference requests without ASGI.
    `patience` is how long, in seconds, requests in flight may take to finish when the server is told to stop."""
    config = ServerConfig(
        application,
        loop="uvloop",
        http=Connection,
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,  # a middleware on every request; nothing here asks for the caller's address
        timeout_keep_alive=75,
        timeout_graceful_shutdown=int(patience),
    )
    config.lane = lane
    return Server(config)
