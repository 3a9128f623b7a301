"""Jobs that wait on a provider: what a worker has resident, and whether it asks at the provider's pace.

A sandbox is given jobs that do not end. Its own list says how often each was polled and since when it has it; the pace of the
adapter says how often that may be, and has to be.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path

import aiohttp
import msgspec

from benchmarks.contenders import environment
from benchmarks.machine import Process, answers, cores, free_port, listens
from polyroute.engine.media.making import DEEPER
from polyroute.providers.media.replicate import Predictions

PACE = Predictions.pace
_ORDER = {"model": "replicate/luma/ray-2-720p", "task": "text_to_video", "prompt": "a red fox"}
_AT_ONCE = 16
_FOREVER = 36_000
_PATIENCE = 300.0


class Waiting(msgspec.Struct, frozen=True):
    """What was measured. `first` and `resident` in megabytes: the worker with one job, and at most with all. `growth`:
    megabytes that it grew while all waited. `polls` a second, `due`: what the pace asks for. `early`: jobs that were polled
    more often than the pace lets; `cpu`: its share of a core while all waited."""

    count: int
    first: float
    resident: float
    growth: float
    polls: float
    due: float
    early: int
    cpu: float


def polls_by(age: float) -> int:
    """How many polls the pace allows until so many seconds after the work was accepted."""
    first, longest = PACE
    wait, at, count = first, first, 0
    while at <= age:
        count += 1
        wait = min(max(wait, first) * DEEPER, longest)
        at += wait
    return count


def measure_waiting(folder: Path, count: int, seconds: float) -> Waiting:
    """So many jobs at one worker process, looked at for so many seconds."""
    ours, load_core = cores()
    sandbox_port, port = free_port(), free_port()
    config = {
        "jobs": {"worker": False, "deadline": _FOREVER, "patience": _FOREVER},
        "providers": {"replicate": {"base_url": f"http://127.0.0.1:{sandbox_port}/replicate/v1", "api_key": "r8_x"}},
    }
    (folder / "polyroute.yaml").write_text(json.dumps(config))
    polyroute = [sys.executable, "-m", "polyroute"]
    started: list[Process] = []
    try:
        for arguments, core in (
            (["sandbox", "--port", str(sandbox_port)], load_core),
            (["serve", "--port", str(port)], load_core),
            (["worker"], ours),
        ):
            started.append(Process([*polyroute, *arguments], core, folder=folder, environment=environment()))
            if arguments[0] == "sandbox":
                started[0].wait_for(listens(sandbox_port))
            elif arguments[0] == "serve":
                started[1].wait_for(answers(port, b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"))
        sandbox, gateway = f"http://127.0.0.1:{sandbox_port}", f"http://127.0.0.1:{port}"
        return asyncio.run(_measure(sandbox, gateway, started[-1], count, seconds))
    finally:
        for process in reversed(started):
            process.stop()


async def _measure(sandbox: str, gateway: str, worker: Process, count: int, seconds: float) -> Waiting:
    async with aiohttp.ClientSession() as http:

        async def accepted() -> list[dict[str, float]]:
            async with http.get(f"{sandbox}/_control/jobs?provider=replicate") as answer:
                jobs: list[dict[str, float]] = (await answer.json())["jobs"]
                return jobs

        async def until(number: int) -> None:
            began = time.monotonic()
            while len(await accepted()) < number:
                if time.monotonic() - began > _PATIENCE:
                    raise RuntimeError(f"only {len(await accepted())} of {number} jobs were handed over")
                await asyncio.sleep(0.5)

        async with http.post(f"{sandbox}/_control", json={"provider": "*", "job_seconds": _FOREVER}) as answer:
            answer.raise_for_status()
        room = asyncio.Semaphore(_AT_ONCE)

        async def order() -> None:
            async with room, http.post(f"{gateway}/v1/jobs", json=_ORDER) as answer:
                if answer.status != 202:
                    raise RuntimeError(await answer.text())

        await order()
        await until(1)
        first = worker.memory()
        await asyncio.gather(*(order() for _ in range(count - 1)))
        await until(count)
        await asyncio.sleep(3 * PACE[1])  # until each is polled at its longest pace
        before, spent, rested, began = await accepted(), worker.cpu(), worker.memory(), time.monotonic()
        await asyncio.sleep(seconds)
        after, took = await accepted(), time.monotonic() - began
        polls = sum(job["polls"] for job in after) - sum(job["polls"] for job in before)
        now = time.time()  # the sandbox's clock, on this machine
        early = sum(job["polls"] > polls_by(now - job["submitted_at"]) for job in after)
        return Waiting(
            count=count, first=first, resident=worker.memory("VmHWM"), growth=worker.memory() - rested,
            polls=polls / took, due=count / PACE[1], early=early, cpu=(worker.cpu() - spent) / took,
        )  # fmt: skip


def main() -> None:
    """Measure by itself: `python -m benchmarks.jobs`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=20)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="polyroute-bench-") as folder:
        print(measure_waiting(Path(folder), given.count, given.seconds))


if __name__ == "__main__":
    main()
