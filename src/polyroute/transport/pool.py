"""Connections between requests, by origin."""

from __future__ import annotations

import asyncio

from polyroute.transport.address import Address
from polyroute.transport.connection import Connection


class Origin:
    """One scheme, host and port, and its idle connections in the order of their last use.

    Lends them out last in, first out, so that those in excess grow old and expire.
    """

    __slots__ = ("_pool", "address", "idle")

    def __init__(self, address: Address, pool: Pool) -> None:
        self.address = address
        self.idle: dict[Connection, None] = {}
        self._pool = pool

    def take(self, now: float) -> Connection | None:
        """The idle connection that was used last, unless it has expired."""
        if not self.idle:
            return None
        connection = self.idle.popitem()[0]
        if now - connection.idle_since < self._pool.expiry:
            return connection
        connection.discard()
        return None

    def opened(self, connection: Connection) -> None:
        """A connection was made."""
        self._pool.open.add(connection)

    def take_back(self, connection: Connection) -> None:
        """Keep a connection for the next request."""
        pool = self._pool
        if pool.closed or len(self.idle) >= pool.max_idle:
            connection.discard()
            return
        connection.idle_since = connection.loop.time()
        self.idle[connection] = None
        if pool.sweeper is None:
            pool.sweeper = connection.loop.call_later(pool.expiry, pool.sweep)

    def forget(self, connection: Connection) -> None:
        """The connection is closing: nobody gets it any more."""
        self.idle.pop(connection, None)

    def lost(self, connection: Connection) -> None:
        """The connection is gone."""
        self.idle.pop(connection, None)
        self._pool.lost(connection)


class Pool:
    """All connections of a transport. `expiry` is in seconds, `max_idle` counts per origin."""

    def __init__(self, max_idle: int, expiry: float) -> None:
        self.max_idle = max_idle
        self.expiry = expiry
        self.closed = False
        self.open: set[Connection] = set()
        self.sweeper: asyncio.TimerHandle | None = None
        self._origins: dict[tuple[str, int, bool], Origin] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._emptied: asyncio.Future[None] | None = None

    def origin(self, address: Address) -> Origin:
        """Where the connections to an address wait."""
        key = (address.host, address.port, address.secure)
        origin = self._origins.get(key)
        if origin is None:
            origin = self._origins[key] = Origin(address, self)
        return origin

    def enter(self, loop: asyncio.AbstractEventLoop) -> None:
        """Serve this loop from now on; connections of one that was left behind are dropped with it."""
        if loop is not self._loop:
            self._loop = loop
            self.sweeper = None
            self.open.clear()
            for origin in self._origins.values():
                origin.idle.clear()

    def sweep(self) -> None:
        """Close what has been idle for too long, and come back when the next one will have been."""
        self.sweeper = None
        loop = self._loop
        if loop is None:
            return
        now = loop.time()
        oldest = now
        for origin in self._origins.values():
            for connection in list(origin.idle):
                if now - connection.idle_since < self.expiry:
                    oldest = min(oldest, connection.idle_since)
                    break
                connection.discard()
        if any(origin.idle for origin in self._origins.values()):
            self.sweeper = loop.call_at(oldest + self.expiry, self.sweep)

    def lost(self, connection: Connection) -> None:
        """A connection is gone."""
        self.open.discard(connection)
        if not self.open and self._emptied is not None and not self._emptied.done():
            self._emptied.set_result(None)

    async def aclose(self) -> None:
        """Close every connection, and return when they are gone."""
        self.closed = True
        if self.sweeper is not None:
            self.sweeper.cancel()
            self.sweeper = None
        loop = asyncio.get_running_loop()
        self.enter(loop)
        for connection in list(self.open):
            connection.shut()
        if self.open:
            self._emptied = loop.create_future()
            await self._emptied
