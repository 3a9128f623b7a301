"""Addresses that callers name for webhooks: private ones are not connected to, however they are written."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from polyroute.ports import Timeouts, WireRequest
from polyroute.transport.guard import AllowList, read_allow_list
from polyroute.transport.guarded import GuardedTransport
from polyroute.types.errors import AttemptFailed

NOTHING = AllowList()


async def post(transport: GuardedTransport, url: str) -> int:
    """The status of a POST."""
    try:
        deadline = asyncio.get_running_loop().time() + 5
        answer = await transport.send(WireRequest("POST", url, [], b"{}"), Timeouts(connect=2), deadline)
        await answer.read(deadline, 1000)
        answer.abort()
        return answer.status
    finally:
        await transport.aclose()


@pytest.fixture
async def port():
    """Of a server on this machine that takes everything."""

    async def take(_: web.Request) -> web.Response:
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/{tail:.*}", take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield runner.addresses[0][1]
    await runner.cleanup()


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254", "10.0.0.1"]
)
async def test_a_private_address_is_refused(port: int, host: str) -> None:
    with pytest.raises(AttemptFailed):
        await post(GuardedTransport(NOTHING, lambda _: False), f"http://{host}:{port}/hook")


async def test_what_the_operator_allows_or_configured_is_reached(port: int) -> None:
    allowed = GuardedTransport(read_allow_list(["127.0.0.1"]), lambda _: False)
    assert await post(allowed, f"http://127.0.0.1:{port}/hook") == 204
    configured = GuardedTransport(NOTHING, lambda host: host == "localhost")
    assert await post(configured, f"http://localhost:{port}/hook") == 204
