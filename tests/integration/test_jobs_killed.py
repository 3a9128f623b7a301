"""Jobs while everything around them is killed: none is lost, submitted twice, charged twice, or ends with half a file."""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from support.eventually import eventually
from support.job_processes import JobHouse
from support.postgres_server import PostgresServer
from support.simulated_providers import SimulatedProviders

FIRST, SECOND = "luma/ray-2-720p", "minimax/hailuo-02"
FAULTS = (
    {"kind": "job_failed", "probability": 0.15, "seed": 1},
    {"kind": "lost_after_acceptance", "probability": 0.04, "seed": 2},
    {"kind": "expired_url", "probability": 0.04, "seed": 3},
    {"kind": "moderation", "probability": 0.04, "seed": 4},
    {"kind": "stuck", "probability": 0.02, "seed": 5},
    {"kind": "wrong_media_type", "probability": 0.04, "seed": 6},
    {"kind": "missing_at_first", "probability": 0.05, "seed": 7},
)
UNCLEAR = ("whether the provider began the work is unknown", "whether it was accepted is unknown")


def house(folder: Path, sandbox: SimulatedProviders, database: str) -> JobHouse:
    """A gateway and two workers that take over from each other quickly."""
    config: dict[str, Any] = {
        "storage": {"database": database},
        "fetch": {"allow": ["127.0.0.1"]},
        "defaults": {
            "retries": 0,
            "breaker": {"failures": 100_000, "minimum": 100_000},
            "bench": {"rejected": 0.001, "quota": 0.001, "rate_limited": 0.001, "longest": 0.001},
        },
        "jobs": {"worker": False, "heartbeat": 0.3, "lost_after": 1.5, "patience": 8, "deadline": 90},
        "providers": {"replicate": {"base_url": f"{sandbox.url}/replicate/v1", "api_key": "r8_x"}},
        "routes": {"clip": {"operation": "video", "targets": [f"replicate/{FIRST}", f"replicate/{SECOND}"]}},
    }
    return JobHouse(folder, config, workers=2)


@pytest.fixture
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL of its own, which this test may kill."""
    with PostgresServer() as server:
        yield server


def submit(running: JobHouse, count: int) -> None:
    """So many jobs, each with a prompt of its own."""
    with running.client() as client:
        for number in range(count):
            order = {"model": "clip", "task": "text_to_video", "prompt": f"clip number {number}"}
            answer = client.post("/v1/jobs", json=order, headers={"idempotency-key": f"clip-{number}"})
            assert answer.status_code == 202, answer.text


def check(
    jobs: Sequence[dict[str, Any]], running: JobHouse, sandbox: SimulatedProviders, ledger: Callable[[], list[Any]]
) -> None:
    """Everything that must hold whatever was killed."""
    given = httpx.get(f"{sandbox.url}/_control/jobs?provider=replicate", trust_env=False).json()["jobs"]
    # Each prompt is accepted at most once by each model, whoever was killed between: nothing is charged twice.
    accepted = Counter((job["request_digest"], job["model"]) for job in given)
    assert [pair for pair, times in accepted.items() if times > 1] == []
    with running.client() as client:
        for job in jobs:
            if job["status"] == "succeeded":
                (artifact,) = job["artifacts"]
                content = client.get(artifact["url"]).content
                assert hashlib.sha256(content).hexdigest() == artifact["sha256"]
                assert (artifact["media_type"], len(content)) == ("video/mp4", artifact["size"])
            elif job["status"] == "needs_attention":
                assert any(words in job["error"]["message"] for words in UNCLEAR), job
                given_up = client.post(f"/admin/api/jobs/{job['id']}/resolve", json={"decision": "abandon"})
                assert given_up.status_code == 200, given_up.text
            else:
                assert job["status"] == "failed", job
                assert job["error"]["kind"] in (
                    "content_filtered",
                    "unavailable",
                    "bad_response",
                    "timeout",
                    "generation_failed",
                ), job
    # Settled once each, with what the caller is told; what needed attention, since an operator gave it up.
    ended = {job["id"]: job for job in running.await_ended()}
    assert len(ended) == len(jobs)
    rows = eventually(lambda: rows if len(rows := ledger()) >= len(ended) else None)
    assert Counter(row[0] for row in rows) == Counter(list(ended))
    for identifier, status, attempts in rows:
        job = ended[identifier]
        assert status == ("COMPLETED" if job["status"] == "succeeded" else "FAILED")
        assert attempts == job["attempts"], job


_LEDGER = (
    "SELECT id, status, (SELECT COUNT(*) FROM attempts WHERE request_id = requests.id) FROM requests "
    "WHERE operation = 'video'"
)


def test_ten_kills_of_worker_server_and_database_during_a_hundred_video_jobs(
    tmp_path: Path, sandbox: SimulatedProviders, postgres: PostgresServer
) -> None:
    sandbox.set("replicate", faults=list(FAULTS))
    url = postgres.empty()
    with house(tmp_path, sandbox, url) as running:
        submit(running, 100)
        for kill in range(10):
            time.sleep(0.3)  # kills are to come while jobs are at every stage, not when something is ready
            if kill % 3 == 0:
                postgres.kill()
                time.sleep(0.2)
                postgres.start()
            elif kill % 3 == 1:
                running.kill_worker(kill % 2)
            else:
                running.kill_gateway()
        jobs = running.await_jobs(100, 60)

        def ledger() -> list[Any]:
            with psycopg.connect(url) as connection:
                return connection.execute(_LEDGER.encode()).fetchall()

        assert sum(job["status"] == "succeeded" for job in jobs) >= 50
        check(jobs, running, sandbox, ledger)


def test_workers_that_are_killed_over_a_database_file(tmp_path: Path, sandbox: SimulatedProviders) -> None:
    with house(tmp_path, sandbox, "sqlite:///polyroute.db") as running:
        submit(running, 30)
        for kill in range(3):
            time.sleep(0.3)
            running.kill_worker(kill % 2)
        jobs = running.await_jobs(30, 60)

        def ledger() -> list[Any]:
            with closing(sqlite3.connect(tmp_path / "polyroute.db")) as connection:
                return connection.execute(_LEDGER).fetchall()

        check(jobs, running, sandbox, ledger)
        assert {job["status"] for job in jobs} <= {"succeeded", "needs_attention"}
