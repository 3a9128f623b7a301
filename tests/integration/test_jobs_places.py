"""Several workers share the places at a provider: those of local compute, and those of a limit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.eventually import eventually
from support.ffmpeg_runs import runs_below
from support.film_clips import FFMPEG, make
from support.job_processes import JobHouse
from support.simulated_providers import SimulatedProviders

CLIP = {"model": "replicate/luma/ray-2-720p", "task": "text_to_video", "prompt": "a red fox"}


@pytest.fixture(scope="module")
def house(simulated: SimulatedProviders, tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobHouse]:
    """A gateway and two workers; one provider takes two jobs at once, and ffmpeg one."""
    folder = tmp_path_factory.mktemp("places")
    (folder / "scratch").mkdir()
    replicate = {"base_url": f"{simulated.url}/replicate/v1", "api_key": "r8_x", "limits": {"concurrency": 2}}
    config = {
        "storage": {"database": "sqlite:///polyroute.db"},
        "fetch": {"allow": ["127.0.0.1"]},
        "jobs": {"worker": False, "heartbeat": 0.3, "lost_after": 1.5, "local_slots": 1},
        "providers": {"replicate": replicate, "ffmpeg": {}},
    }
    with JobHouse(folder, config, workers=2, extra={"TMPDIR": str(folder / "scratch")}) as running:
        yield running


def at_work(sandbox: SimulatedProviders) -> list[dict[str, Any]]:
    """What the provider works on."""
    jobs = httpx.get(f"{sandbox.url}/_control/jobs?provider=replicate", trust_env=False).json()["jobs"]
    return [job for job in jobs if job["state"] not in ("succeeded", "failed", "canceled")]


def claimed(house: JobHouse) -> int:
    """How many jobs some worker has."""
    return int(house.gateway.sql("SELECT COUNT(*) AS n FROM jobs WHERE state = 'running'")[0]["n"])


def test_a_providers_limit_holds_for_all_workers_together(house: JobHouse, sandbox: SimulatedProviders) -> None:
    sandbox.set("replicate", job_seconds=600)
    with house.client() as caller:
        jobs = [caller.post("/v1/jobs", json=CLIP).json()["id"] for _ in range(6)]
        eventually(lambda: claimed(house) == 6 and len(at_work(sandbox)) == 2)
        for _ in range(3):
            assert len(at_work(sandbox)) == 2
            first, second = house.gateway.sql("SELECT job_id FROM job_leases")
            for row in (first, second):
                assert caller.delete(f"/v1/jobs/{row['job_id']}").json()["status"] == "cancelled"
            left = [job for job in jobs if caller.get(f"/v1/jobs/{job}").json()["status"] != "cancelled"]
            eventually(lambda left=left: len(at_work(sandbox)) == min(2, len(left)))  # type: ignore[misc] # mypy does not infer defaults of lambdas
    assert house.gateway.sql("SELECT job_id FROM job_leases") == []


@pytest.mark.skipif(FFMPEG is None, reason="ffmpeg is not installed")
def test_local_compute_works_on_one_job_at_a_time_whoever_has_it(house: JobHouse, tmp_path: Path) -> None:
    scratch = house.folder / "scratch"
    picture = make(tmp_path / "green.png", "-f", "lavfi", "-i", "color=c=0x00ff00:s=64x36", "-frames:v", "1")
    with house.client() as caller:
        form = {"file": (picture.name, picture.read_bytes(), "application/octet-stream")}
        source = caller.post("/v1/files", files=form, data={"purpose": "user_data"}).json()["id"]
        timeline = {"clips": [{"source": source, "duration": 3000}], "width": 1280, "height": 720}
        jobs = [caller.post("/v1/compose", json={"timeline": timeline}).json()["id"] for _ in range(3)]
        for left in (3, 2, 1):
            eventually(lambda left=left: claimed(house) == left and len(runs_below(scratch)) == 1)  # type: ignore[misc] # mypy does not infer defaults of lambdas
            (working,) = house.gateway.sql("SELECT job_id FROM job_leases")
            assert working["job_id"] in jobs
            assert caller.delete(f"/v1/jobs/{working['job_id']}").json()["status"] == "cancelled"
        assert runs_below(scratch) == []
