"""Short ways to send a request through a transport and to look at how it failed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from polyroute.ports import Body, Headers, Timeouts, Transport, WireRequest, WireResponse
from polyroute.types.errors import AttemptFailed, Failure

PATIENCE = 5.0
OK = b"HTTP/1.1 200 OK\r\n"
SIZED = OK + b"Content-Length: 5\r\n\r\nhello"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
JSON: Headers = [(b"content-type", b"application/json")]


class Upload:
    """A request body of `count` blocks that can be sent again."""

    def __init__(self, block: bytes = b"x" * 65536, count: int = 40) -> None:
        self._block = block
        self._count = count
        self.given = 0

    @property
    def length(self) -> int:
        """In bytes."""
        return len(self._block) * self._count

    def chunks(self) -> Iterator[bytes]:
        """The bytes."""
        for _ in range(self._count):
            self.given += 1
            yield self._block


def soon(seconds: float = PATIENCE) -> float:
    """A deadline in event-loop time."""
    return asyncio.get_running_loop().time() + seconds


async def post(
    transport: Transport,
    url: str,
    body: bytes | Body = b'{"a":1}',
    *,
    method: str = "POST",
    headers: Headers = JSON,
    timeouts: Timeouts | None = None,
    within: float = PATIENCE,
) -> WireResponse:
    """Send, and wait for the headers."""
    request = WireRequest(method, url, headers, body)
    return await transport.send(request, timeouts or Timeouts(), soon(within))


async def whole(transport: Transport, url: str, body: bytes | Body = b"{}", **more: object) -> bytes:
    """Send, and read the answer to its end."""
    answer = await post(transport, url, body, **more)  # type: ignore[arg-type]  # passed on as they are
    return await answer.read(soon(), 2**26)


async def drain(answer: WireResponse) -> bytes:
    """The body, piece by piece."""
    pieces = []
    while piece := await answer.receive(soon()):
        pieces.append(piece)
    return b"".join(pieces)


async def failure_of(awaitable: object) -> Failure:
    """The failure that this raises."""
    with pytest.raises(AttemptFailed) as caught:
        await awaitable  # type: ignore[misc]  # any awaitable
    return caught.value.failure
