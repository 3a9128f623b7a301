"""The network as the engine sees it: requests out, answers in, and how long to wait for them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Protocol

import msgspec

Headers = list[tuple[bytes, bytes]]
"""Header fields in order, names in lower case."""


class Body(Protocol):
    """A request body that can be sent more than once without being held in memory twice."""

    @property
    def length(self) -> int:
        """Size in bytes."""

    def chunks(self) -> Iterator[bytes]:
        """The bytes from the start, in blocks; may be called again for the next attempt."""


class SharedHead:
    """Stands for the method, URL and headers of many requests, where those are all the same: a place for what a transport
    makes of them."""

    __slots__ = ("kept",)

    def __init__(self) -> None:
        self.kept: Any = None


class WireRequest(msgspec.Struct, frozen=True):
    """One HTTP request as it goes out. `url` is absolute; `headers` lack Host, Content-Length and Connection, which the
    transport writes. `head` is the same for requests that differ in nothing but their bodies. `once`: it goes out on a new
    connection, because what a kept connection that is closed meanwhile does not answer is sent again, and this must not
    be."""

    method: str
    url: str
    headers: Headers
    body: bytes | Body = b""
    head: SharedHead | None = None
    once: bool = False


class Timeouts(msgspec.Struct, frozen=True, kw_only=True):
    """Patience in seconds: to connect, until the answer's headers (`result`: where the answer is a finished picture, piece
    of sound or transcript), until its first meaningful event, between events, and for the request as a whole, all attempts
    together."""

    connect: float = 3.0
    headers: float = 60.0
    result: float = 300.0
    first_token: float = 30.0
    idle: float = 30.0
    total: float = 600.0


class WireResponse(Protocol):
    """An answer whose headers have arrived. It must be read to its end or aborted."""

    status: int
    headers: Headers

    async def read(self, deadline: float, limit: int) -> bytes:
        """The whole remaining body. Deadlines are event-loop times.

        Raises AttemptFailed: `timeout` at the deadline, `truncated` when the connection breaks off, `bad_response` over
        `limit` bytes.
        """

    def rest(self) -> bytes | None:
        """All that is left of the body, where the whole of it has arrived and nothing of it was received; else None."""

    async def receive(self, deadline: float) -> bytes:
        """The next bytes of the body as soon as there are any, b"" at its end. Raises as `read` does."""

    def abort(self) -> None:
        """Close the connection unless the answer was read to its end; may be called at any time, any number of times."""


class Transport(Protocol):
    """The network client of the inference path."""

    async def send(self, request: WireRequest, timeouts: Timeouts, deadline: float) -> WireResponse:
        """Send and wait for the answer's headers, at most until `deadline` (event-loop time).

        Raises AttemptFailed: `timeout` (connect, headers or deadline; the message says which) or `unavailable`. A
        cancelled call leaves no request running upstream.
        """

    async def aclose(self) -> None:
        """Close all connections."""


Exchange = Callable[[Transport, WireRequest, Timeouts, float], Awaitable[WireResponse]]
"""Several HTTP requests that make one answer; called as `Transport.send` is, with the transport first, and raises the same.
A cancelled exchange leaves nothing running upstream."""
