"""An HTTP server that does exactly what a test tells it to, byte by byte, however wrong."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress


class Peer:
    """The server's side of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def request(self) -> tuple[bytes, dict[bytes, bytes], bytes]:
        """The next request: its line, headers (lower case) and body. Raises IncompleteReadError when none comes."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        line, *fields = head[:-4].split(b"\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (field.partition(b":") for field in fields)}
        body = await self.reader.readexactly(int(headers.get(b"content-length", 0)))
        return line, headers, body

    async def send(self, *pieces: bytes) -> None:
        """Each piece in a segment of its own as far as the kernel lets us say so."""
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            if len(pieces) > 1:
                await asyncio.sleep(0)

    async def gone(self) -> None:
        """Returns when the client has closed or reset the connection."""
        try:
            while await self.reader.read(65536):
                pass
        except ConnectionError:
            pass

    def reset(self) -> None:
        """Close with a RST."""
        peer = self.writer.get_extra_info("socket")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def close(self) -> None:
        """Close with a FIN."""
        self.writer.close()
        with suppress(ConnectionError, ssl.SSLError):
            await self.writer.wait_closed()


Behaviour = Callable[[Peer], Awaitable[None]]


class HostileServer:
    """Where it listens, and how many connections it has seen."""

    def __init__(self, port: int, scheme: str) -> None:
        self.port = port
        self.url = f"{scheme}://127.0.0.1:{port}"
        self.connections = 0


@asynccontextmanager
async def hostile_server(
    behaviour: Behaviour, *, context: ssl.SSLContext | None = None, receive_buffer: int | None = None
) -> AsyncIterator[HostileServer]:
    """Serve with one behaviour until the block is left; a connection whose behaviour returns is closed.

    An assertion that fails in the behaviour fails the test. `receive_buffer` shrinks the kernel's, in bytes.
    """
    tasks: list[asyncio.Task[None]] = []

    async def serve(peer: Peer) -> None:
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await behaviour(peer)
        finally:
            await peer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        tasks.append(asyncio.create_task(serve(Peer(reader, writer))))

    listener = socket.socket()
    if receive_buffer is not None:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    listener.bind(("127.0.0.1", 0))
    limit = 1024 if receive_buffer is not None else 2**20
    listening = await asyncio.start_server(accept, sock=listener, ssl=context, limit=limit)
    server = HostileServer(listener.getsockname()[1], "http" if context is None else "https")
    try:
        yield server
    finally:
        listening.close()
        outcomes: list[object] = []
        while tasks:  # a connection that was accepted just now comes in during the first round
            ending, tasks[:] = list(tasks), []
            for task in ending:
                task.cancel()
            outcomes += await asyncio.gather(*ending, return_exceptions=True)
            await asyncio.sleep(0)
        await listening.wait_closed()
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome


def answering(*pieces: bytes, then: Callable[[Peer], Awaitable[None]] | None = None) -> Behaviour:
    """Answer the first request of each connection with these bytes, then do `then`, or close."""

    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.send(*pieces)
        if then is not None:
            await then(peer)

    return behave


def repeating(*pieces: bytes) -> Behaviour:
    """Answer each request with these bytes."""

    async def behave(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(*pieces)

    return behave
