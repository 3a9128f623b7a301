"""A client for a sandbox's media providers, and an address that takes their callbacks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import aiohttp
from aiohttp import web

Seen = TypeVar("Seen")


class Client:
    """Calls one sandbox with every credential that a provider may want."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.http = session

    async def call(self, method: str, path: str, body: Any = None, status: int = 200, **more: Any) -> Any:
        """The JSON answer (bytes when it is none), with its status checked."""
        kind = {"data": body} if isinstance(body, aiohttp.FormData | bytes | str) else {"json": body}
        async with self.http.request(method, path, **(kind if body is not None else {}), **more) as response:
            data = await response.read()
            assert response.status == status, (response.status, data[:600])
            return json.loads(data) if data and "json" in response.content_type else data

    async def control(self, **body: Any) -> None:
        """Set something in the sandbox."""
        await self.call("POST", "/_control", {"provider": "*", **body})

    async def jobs(self, provider: str) -> list[dict[str, Any]]:
        """What the provider was given to do."""
        value: dict[str, list[dict[str, Any]]] = await self.call("GET", f"/_control/jobs?provider={provider}")
        return value["jobs"]


async def until(look: Callable[[], Awaitable[Seen]]) -> Seen:
    """What `look` gives as soon as it is true; fails with the last thing seen after ten seconds."""
    async with asyncio.timeout(10):
        while True:
            seen = await look()
            if seen:
                return seen


class Hooks:
    """An address for callbacks, and what came to it."""

    def __init__(self) -> None:
        self.url = ""
        self.calls: asyncio.Queue[tuple[dict[str, str], bytes]] = asyncio.Queue()
        self.answers: list[int] = []

    async def take(self, request: web.Request) -> web.Response:
        await self.calls.put(({name.lower(): value for name, value in request.headers.items()}, await request.read()))
        return web.Response(status=self.answers.pop(0) if self.answers else 200)

    async def next(self) -> tuple[dict[str, str], bytes]:
        """Headers and body of the next callback."""
        return await asyncio.wait_for(self.calls.get(), 10)
