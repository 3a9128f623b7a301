"""Jobs in the database: one worker has a job at a time, what it loses it cannot change, and no handle is forgotten."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from polyroute.ports.jobs import Claim, JobEnd, JobLost
from polyroute.storage.job_work import JobTable
from polyroute.types.errors import PolyrouteError
from polyroute.types.jobs import JobAttempt, JobError, JobOrder, JobState
from polyroute.types.media import Handle, MediaRequest, Task
from support.prepared_state import new_database

LOST_AFTER = 10.0


@pytest.fixture
async def table(tmp_path: Path) -> AsyncIterator[JobTable]:
    """Jobs in a new SQLite database."""
    database = new_database(tmp_path / "jobs.db")
    table = JobTable(database, LOST_AFTER)
    yield table
    table.close()
    database.close()


def order(identifier: str = "job_1", **changes: object) -> JobOrder:
    """A film of a fox."""
    now = time.time()
    fields = {
        "id": identifier, "task": Task.TEXT_TO_VIDEO, "model": "video", "created_at": now, "deadline": now + 60,
        "request": MediaRequest(task=Task.TEXT_TO_VIDEO, prompt="a red fox"),
    }  # fmt: skip
    return JobOrder(**{**fields, **changes})  # type: ignore[arg-type] # fields of an order


def attempt(number: int = 1) -> JobAttempt:
    """About to be submitted."""
    return JobAttempt(number=number, provider="replicate", model="a/b", phase="intent", started_at=time.time())


async def claimed(table: JobTable, executor: str, at: float | None = None, job_id: str = "job_1") -> Claim:
    """A worker that lives has the job."""
    moment = time.time() if at is None else at
    await table.beat(executor, moment, "test")
    claim = await table.claim(job_id, executor, moment)
    assert claim is not None
    return claim


async def test_one_worker_has_a_job_until_it_is_silent_for_too_long(table: JobTable) -> None:
    await table.create(order())
    now = time.time()
    await claimed(table, "first", now)
    assert await table.claim("job_1", "second", now + LOST_AFTER - 1) is None
    assert await table.waiting("second", now - 1) == []
    taken = await table.claim("job_1", "second", now + LOST_AFTER + 1)
    assert taken is not None
    assert (taken.job.executor, taken.job.epoch) == ("second", 2)


async def test_who_lost_a_job_changes_nothing_any_more(table: JobTable) -> None:
    await table.create(order())
    first = await claimed(table, "first", time.time() - LOST_AFTER - 5)
    await claimed(table, "second")
    for change in (
        table.intend(first.job, attempt()),
        table.progress(first.job, 0.0, 50.0, []),
        table.finish(first.job, JobEnd(state=JobState.FAILED, at=0.0)),
    ):
        with pytest.raises(JobLost):
            await change
    job = await table.get("job_1")
    assert job is not None
    assert (job.state, job.percent, job.attempts) == (JobState.RUNNING, None, 0)


async def test_a_handle_that_comes_late_revives_the_job_that_was_parked_for_it(table: JobTable) -> None:
    await table.create(order())
    first = await claimed(table, "first", time.time() - LOST_AFTER - 5)
    await table.intend(first.job, attempt())
    second = await claimed(table, "second")
    assert second.attempts[0].phase == "intent"
    parked = JobEnd(
        state=JobState.NEEDS_ATTENTION, at=time.time(), attempts=1, blind=True,
        error=JobError(kind="unknown_outcome", message="?"),
    )  # fmt: skip
    await table.finish(second.job, parked)
    await table.accept(first.job, 1, Handle(id="p1"))
    third = await claimed(table, "third")
    assert third.attempts[0].handle == Handle(id="p1")
    assert third.job.error is None


async def test_a_job_is_not_parked_when_its_handle_has_come_meanwhile(table: JobTable) -> None:
    await table.create(order())
    first = await claimed(table, "first", time.time() - LOST_AFTER - 5)
    await table.intend(first.job, attempt())
    second = await claimed(table, "second")
    await table.accept(first.job, 1, Handle(id="p1"))
    await table.close_attempt(second.job, attempt())  # the second knows of no handle, and does not erase it
    await table.finish(second.job, JobEnd(state=JobState.NEEDS_ATTENTION, at=time.time(), attempts=1, blind=True))
    job = await table.get("job_1")
    assert job is not None
    assert job.state is JobState.QUEUED
    assert (await table.attempts("job_1"))[0].handle == Handle(id="p1")


@pytest.mark.parametrize(
    ("decision", "handle", "phase", "kept"),
    [
        ("retry", None, "failed", None),
        ("adopt", Handle(id="x"), "submitted", Handle(id="x")),
        ("abandon", None, "failed", None),
    ],
)
async def test_an_operator_decides(
    table: JobTable, decision: str, handle: Handle | None, phase: str, kept: Handle | None
) -> None:
    await table.create(order())
    claim = await claimed(table, "first")
    await table.intend(claim.job, attempt())
    assert await table.resolve("job_1", "retry", None, 0.0) is None, "it needs no attention yet"
    await table.finish(claim.job, JobEnd(state=JobState.NEEDS_ATTENTION, at=time.time(), attempts=1))
    job = await table.resolve("job_1", decision, handle, time.time())  # type: ignore[arg-type] # a decision
    assert job is not None
    assert (job.state, job.abandoned) == (JobState.QUEUED, decision == "abandon")
    (only,) = await table.attempts("job_1")
    assert (only.phase, only.handle) == (phase, kept)


async def test_an_idempotency_key_is_its_callers_and_means_one_request(table: JobTable) -> None:
    first = await table.create(order("job_1", idempotency_key="k", digest="a", key_id="key_1"))
    assert (await table.create(order("job_2", idempotency_key="k", digest="a", key_id="key_1"))).id == first.id
    assert (await table.create(order("job_3", idempotency_key="k", digest="a", key_id="key_2"))).id == "job_3"
    with pytest.raises(PolyrouteError, match="was used for another request"):
        await table.create(order("job_4", idempotency_key="k", digest="b", key_id="key_1"))


async def test_keys_see_their_own_jobs_page_by_page(table: JobTable) -> None:
    for number in range(5):
        await table.create(order(f"job_{number}", key_id="mine", created_at=1000.0 + number))
    await table.create(order("job_x", key_id="theirs"))
    first = await table.list(key_id="mine", limit=3)
    rest = await table.list(key_id="mine", limit=3, after=first[-1].id)
    assert [job.id for job in (*first, *rest)] == [f"job_{number}" for number in (4, 3, 2, 1, 0)]
    assert [job.id for job in await table.list(any_key=True, newest_first=False, limit=2)] == ["job_0", "job_1"]


async def test_places_at_local_compute_are_shared_by_all_and_free_themselves(table: JobTable) -> None:
    jobs = [await table.create(order(f"job_{number}")) for number in range(3)]
    assert await table.lease("ffmpeg", 2, jobs[0], at=0.0)
    assert await table.lease("ffmpeg", 2, jobs[1], at=0.0)
    assert not await table.lease("ffmpeg", 2, jobs[2], at=0.0)
    assert await table.lease("ffmpeg", 2, jobs[0], at=20.0), "renewed"
    assert await table.lease("ffmpeg", 2, jobs[2], at=40.0), "the second one's ran out"
    await table.give_back("ffmpeg", jobs[0])
    assert await table.lease("ffmpeg", 2, jobs[1], at=40.0)


async def test_what_others_want_of_a_worker_is_told_once(table: JobTable) -> None:
    await table.create(order())
    claim = await claimed(table, "first")
    await table.intend(claim.job, attempt())
    await table.accept(claim.job, 1, Handle(id="p1"))
    assert await table.called_back("replicate", "p1") == "job_1"
    assert await table.called_back("replicate", "p2") is None
    assert await table.called("first") == [("job_1", False)]
    assert await table.called("first") == []
    await table.request_cancel("job_1")
    assert await table.called("first") == [("job_1", True)]


async def test_jobs_that_ended_are_forgotten_in_time_and_others_are_not(table: JobTable) -> None:
    await table.create(order("job_1"))
    await table.create(order("job_2"))
    claim = await claimed(table, "first")
    await table.finish(claim.job, JobEnd(state=JobState.FAILED, at=1000.0))
    assert not await table.remove("job_2")
    assert await table.prune(2000.0) == 1
    assert [job.id for job in await table.list(any_key=True)] == ["job_2"]


async def test_a_slot_is_held_while_its_worker_lives_and_until_the_job_ends(table: JobTable) -> None:
    for identifier in ("job_1", "job_2"):
        await table.create(order(identifier))
    now = time.time()
    first = await claimed(table, "one", now)
    second = await claimed(table, "two", now, "job_2")
    assert await table.lease("ffmpeg", 1, first.job, now)
    assert await table.lease("ffmpeg", 1, first.job, now)
    assert not await table.lease("ffmpeg", 1, second.job, now + 20)
    await table.beat("one", now + 25, "test")
    assert not await table.lease("ffmpeg", 1, second.job, now + 50)  # however long the work takes
    assert await table.lease("ffmpeg", 1, second.job, now + 56)  # nobody heard of its worker since
    await table.finish(second.job, JobEnd(state=JobState.SUCCEEDED, at=now))
    assert await table.lease("ffmpeg", 1, first.job, now + 57)
    await table.give_back("ffmpeg", first.job)
    assert await table.lease("ffmpeg", 1, second.job, now + 58)
