"""A sandbox on a free port for each test, and a plain client for it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from polyroute.sandbox.control import SandboxOptions
from polyroute.sandbox.server import Running, start


@pytest.fixture
async def sandbox() -> AsyncIterator[Running]:
    """As fast as it goes, with a small context so that an overflow is a short text."""
    running = await start(options=SandboxOptions(tokens_per_second=0, context_limit=4000, requests_kept=5))
    yield running
    await running.stop()


@pytest.fixture
async def http(sandbox: Running) -> AsyncIterator[aiohttp.ClientSession]:
    """A client whose relative addresses are the sandbox's, with every credential that a provider may want."""
    headers = {
        "authorization": "Bearer sk-test",
        "x-api-key": "sk-test",
        "x-goog-api-key": "sk-test",
        "api-key": "sk-test",
        "anthropic-version": "2023-06-01",
    }
    async with aiohttp.ClientSession(base_url=sandbox.url, headers=headers) as session:
        yield session
