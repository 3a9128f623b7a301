"""Both transports on both event loops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import pytest
import uvloop

from polyroute.ports import Transport
from polyroute.transport.client import ClientTransport
from polyroute.transport.http1 import Http1Transport


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Production runs on uvloop; the library may run on any loop."""
    return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}


@pytest.fixture(params=[Http1Transport, ClientTransport], ids=["http1", "client"])
async def transport(request: pytest.FixtureRequest) -> AsyncIterator[Transport]:
    """Each implementation of the port."""
    made = request.param()
    yield made
    await made.aclose()


@pytest.fixture
async def http1() -> AsyncIterator[Http1Transport]:
    """Our own client alone."""
    made = Http1Transport()
    yield made
    await made.aclose()
