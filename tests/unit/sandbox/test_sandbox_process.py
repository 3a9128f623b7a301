"""The sandbox as a process of its own, and its limits as a server."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import get_args

import aiohttp
import pytest

from polyroute.sandbox.control import FAULT_MEANINGS, Fault, FaultKind, ProviderOptions, SandboxOptions
from polyroute.sandbox.server import start

PROGRAM = """
from polyroute.sandbox.server import run
run("127.0.0.1", 0, None, {exit_with_stdin}, on_ready=lambda url: print(url, flush=True))
"""


async def launch(*, exit_with_stdin: bool) -> tuple[asyncio.subprocess.Process, str]:
    source = Path(__file__).parents[3] / "src"
    environment = {**os.environ, "PYTHONPATH": str(source)}
    program = PROGRAM.format(exit_with_stdin=exit_with_stdin)
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdin=pipe, stdout=pipe, env=environment
    )
    assert process.stdout is not None
    return process, (await process.stdout.readline()).decode().strip()


async def test_it_ends_with_its_parents_pipe_even_while_a_request_hangs() -> None:
    process, url = await launch(exit_with_stdin=True)
    async with aiohttp.ClientSession(url) as client:
        async with client.post("/_control", json={"provider": "*", "faults": {"kind": "hang"}}) as response:
            assert response.status == 200
        hanging = asyncio.create_task(client.post("/ollama/api/chat", json={"model": "m", "messages": []}))
        while True:
            async with client.get("/_control") as response:
                if (await response.json())["requests"]:
                    break
        assert process.stdin is not None
        process.stdin.close()
        with pytest.raises(aiohttp.ClientError):
            await hanging
    assert await asyncio.wait_for(process.wait(), 10) == 0


async def test_it_ends_on_sigterm_and_not_with_stdin() -> None:
    process, url = await launch(exit_with_stdin=False)
    assert process.stdin is not None
    process.stdin.close()
    async with aiohttp.ClientSession(url) as client, client.get("/_health") as response:
        assert (await response.json()) == {"status": "ok"}
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 10) == 0


async def test_a_taken_port_is_an_error() -> None:
    running = await start()
    port = int(running.url.rpartition(":")[2])
    with pytest.raises(OSError, match="in use"):
        await start(port=port)
    await running.stop()


async def test_options_of_one_provider_hold_from_the_start() -> None:
    broken = ProviderOptions(faults=(Fault(kind="status", status=500, times=1),))
    options = SandboxOptions(tokens_per_second=0, providers={"my_vllm": broken}, require_credentials=False)
    running = await start(options=options)
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
    seen = []
    async with aiohttp.ClientSession(running.url) as client:
        for _ in range(2):
            async with client.post("/my_vllm/v1/chat/completions", json=body) as response:
                seen.append(response.status)
        async with client.get("/") as response:
            index = await response.json()
    await running.stop()
    assert seen == [500, 200]
    assert index["providers"]["openai"] == f"{running.url}/openai"


async def test_the_same_request_has_the_same_bytes_after_a_restart() -> None:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "x"}]}
    seen = []
    for _ in range(2):
        running = await start(options=SandboxOptions(tokens_per_second=0))
        headers = {"authorization": "Bearer k"}
        client = aiohttp.ClientSession(running.url, headers=headers)
        async with client, client.post("/openai/v1/chat/completions", json=body) as response:
            seen.append(await response.read())
        await running.stop()
    assert seen[0] == seen[1]


def test_the_guide_tells_of_every_fault_in_the_same_words() -> None:
    guide = (Path(__file__).parents[3] / "docs" / "sandbox.md").read_text(encoding="utf-8")
    for kind, meaning in FAULT_MEANINGS.items():
        assert f"| `{kind}` | {meaning} |" in guide
    assert set(FAULT_MEANINGS) == set(get_args(FaultKind))
