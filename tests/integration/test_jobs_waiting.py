"""Many jobs that wait on a provider at once: each is asked for at the provider's pace, by one worker."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from polyroute.engine.media.making import _PACE_OF_SIMULATED, DEEPER
from polyroute.providers.media.replicate import Predictions
from support.media_gateway import MediaGateway, media_gateway

COUNT = 200
PACE = _PACE_OF_SIMULATED
EACH = 5
ORDER = {"model": "replicate/luma/ray-2-720p", "task": "text_to_video", "prompt": "a red fox"}


def allowed(age: float) -> int:
    """How many polls the pace lets until so many seconds after the work was accepted."""
    wait = at = PACE[0]
    count = 0
    while at <= age:
        count += 1
        wait = min(wait * DEEPER, PACE[1])
        at += wait
    return count


async def polled(gateway: MediaGateway, times: int) -> list[dict[str, float]]:
    """The provider's list, when it was asked for each job so often."""
    async with asyncio.timeout(60):
        while True:
            jobs = await gateway.jobs("replicate")
            if len(jobs) == COUNT and all(job["polls"] >= times for job in jobs):
                return jobs
            await asyncio.sleep(0.2)


async def test_two_hundred_waiting_jobs_are_asked_for_at_their_pace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Predictions, "pace", PACE)
    async with media_gateway(tmp_path) as gateway:
        await gateway.control("replicate", job_seconds=600)
        await asyncio.gather(*(gateway.post("/v1/jobs", 202, json=ORDER) for _ in range(COUNT)))
        jobs = await polled(gateway, EACH)
        now = time.time()
        early = [job for job in jobs if job["polls"] > allowed(now - job["submitted_at"] + 0.05)]
        assert early == []
        assert gateway.app.jobs.worker is not None
        assert gateway.app.jobs.worker.runner.running == COUNT
