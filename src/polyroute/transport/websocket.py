"""WebSockets to providers, on aiohttp."""

from __future__ import annotations

import asyncio

import aiohttp
import yarl

from polyroute.ports import Headers
from polyroute.transport import failures
from polyroute.types.errors import AttemptFailed

_LARGEST_FRAME = 64 << 20
_HEARTBEAT = 20.0
"""Seconds between pings of ours; a peer that does not answer one is gone."""


class WebSocketTransport:
    """Opens sockets in one aiohttp session; implements `ports.SocketOpener` by `open`."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def open(self, url: str, headers: Headers, connect: float, deadline: float) -> WebSocket:
        """Connect and upgrade. Raises AttemptFailed: `timeout`, or `unavailable` (not a WebSocket, refused, unreachable)."""
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        loop = asyncio.get_running_loop()
        own = loop.time() + connect
        fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
        try:
            async with asyncio.timeout_at(min(own, deadline)):
                socket = await self._session.ws_connect(
                    yarl.URL(url, encoded=True), headers=fields, heartbeat=_HEARTBEAT, max_msg_size=_LARGEST_FRAME
                )
        except TimeoutError:
            patience = connect if own < deadline else None
            raise AttemptFailed(failures.timed_out(failures.CONNECTING, patience)) from None
        except (aiohttp.ClientError, OSError) as error:
            message = "the provider's socket cannot be opened"
            raise AttemptFailed(failures.unavailable(message, failures.describe(error), unsent=True)) from None
        return WebSocket(socket)

    async def aclose(self) -> None:
        """Close all sockets."""
        if self._session is not None:
            await self._session.close()


class WebSocket:
    """Implements `ports.MediaSocket`."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket

    async def send(self, text: str) -> None:
        """Send one text frame. Raises AttemptFailed (unavailable) when the socket is closed."""
        try:
            await self._socket.send_str(text)
        except (aiohttp.ClientError, OSError) as error:
            raise AttemptFailed(failures.unavailable(_CLOSED, failures.describe(error))) from None

    async def receive(self, deadline: float) -> str:
        """The next text frame."""
        try:
            async with asyncio.timeout_at(deadline):
                message = await self._socket.receive()
        except TimeoutError:
            raise AttemptFailed(failures.timed_out("while waiting for the provider's next message")) from None
        if message.type is aiohttp.WSMsgType.TEXT:
            return str(message.data)
        if message.type is aiohttp.WSMsgType.BINARY:
            return bytes(message.data).decode("utf-8", "replace")
        raise AttemptFailed(failures.unavailable(_CLOSED, f"close code {self._socket.close_code}"))

    async def close(self) -> None:
        """Close it."""
        await self._socket.close()


_CLOSED = "the provider closed the socket"
