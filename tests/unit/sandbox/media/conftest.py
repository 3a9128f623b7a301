"""A sandbox whose clock the tests put forward, a client for it, and an address that takes callbacks."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from polyroute.sandbox.control import SandboxOptions
from polyroute.sandbox.server import Running, start
from support.media_sandbox import Client, Hooks

_RECORDINGS = next(
    (found for parent in Path(__file__).resolve().parents if (found := parent / "shared/recordings").is_dir()),
    None,
)


@pytest.fixture
async def sandbox() -> AsyncIterator[Running]:
    """As fast as it goes."""
    running = await start(options=SandboxOptions(tokens_per_second=0))
    yield running
    await running.stop()


@pytest.fixture
async def client(sandbox: Running) -> AsyncIterator[Client]:
    """A client whose relative addresses are the sandbox's; jobs take 100 seconds of its clock."""
    headers = {"authorization": "Bearer sk-test", "x-api-key": "sk-test", "x-goog-api-key": "sk-test"}
    headers |= {"xi-api-key": "sk-test", "x-key": "sk-test", "x-runway-version": "2024-11-06"}
    async with aiohttp.ClientSession(base_url=sandbox.url, headers=headers) as session:
        made = Client(session)
        await made.control(job_seconds=100)
        yield made


@pytest.fixture
async def hooks() -> AsyncIterator[Hooks]:
    """Takes callbacks."""
    made = Hooks()
    app = web.Application()
    app.router.add_post("/hook", made.take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    yield made
    await runner.cleanup()


@pytest.fixture
def probe(tmp_path: Path) -> Callable[[bytes], Awaitable[dict[str, Any]]]:
    """What ffprobe says of a file; the test is skipped where there is no ffprobe."""
    import shutil  # noqa: PLC0415

    if shutil.which("ffprobe") is None:
        pytest.skip("ffprobe is not installed")

    async def look(data: bytes) -> dict[str, Any]:
        file = tmp_path / "probed"
        file.write_bytes(data)
        command = ["ffprobe", "-v", "error", "-of", "json", "-show_format", "-show_streams", str(file)]
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        out, complaints = await process.communicate()
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        assert process.returncode == 0, complaints
        value: dict[str, Any] = json.loads(out)
        return value

    return look


@pytest.fixture
def recording() -> Callable[[str], dict[str, Any]]:
    """A recorded exchange by its id; the test is skipped where the recordings are not at hand."""

    def read(name: str) -> dict[str, Any]:
        if _RECORDINGS is None or not (file := _RECORDINGS / f"{name}.json").exists():
            pytest.skip("the recorded exchanges are not beside the project")
        value: dict[str, Any] = json.loads(file.read_text())
        return value

    return read
