"""An order that may be charged is never sent again by itself, although a kept connection that closes is forgiven otherwise."""

from __future__ import annotations

import asyncio

import pytest

from polyroute.ports import Timeouts, WireRequest
from polyroute.transport.client import ClientTransport
from polyroute.transport.http1 import Http1Transport
from polyroute.types.errors import AttemptFailed


class Forgetful:
    """A server that answers the first request of the first connection and closes without an answer after that."""

    def __init__(self) -> None:
        self.requests = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        while await reader.readline():
            while (await reader.readline()).strip():
                pass
            self.requests += 1
            if self.requests > 1:
                break
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
            await writer.drain()
        writer.close()


@pytest.mark.parametrize("transport", [Http1Transport, ClientTransport])
@pytest.mark.parametrize(("once", "sent"), [(True, 2), (False, 3)])
async def test_only_what_may_be_sent_twice_is(
    transport: type[Http1Transport | ClientTransport], once: bool, sent: int
) -> None:
    forgetful = Forgetful()
    server = await asyncio.start_server(forgetful.serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/orders"
    client = transport()
    deadline = asyncio.get_running_loop().time() + 5
    first = await client.send(WireRequest("POST", url, []), Timeouts(), deadline)
    await first.read(deadline, 100)
    with pytest.raises(AttemptFailed):
        await client.send(WireRequest("POST", url, [], once=once), Timeouts(), deadline)
    assert forgetful.requests == sent
    await client.aclose()
    server.close()
    await server.wait_closed()
