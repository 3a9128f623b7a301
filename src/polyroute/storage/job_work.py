"""Jobs as workers see them: claimed, carried on, ended; every change is refused when another worker has the job."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from polyroute.ports.jobs import Claim, JobEnd, JobLost
from polyroute.storage.database import Database, Driver
from polyroute.storage.job_connection import is_away
from polyroute.storage.job_rows import (
    JOB_ATTEMPT_COLUMNS,
    attempt_values,
    encode,
    encode_or_none,
    money_value,
    read_attempt,
    read_job,
)
from polyroute.storage.jobs import SELECT_ATTEMPTS, SELECT_JOB, JobRecords, add_event, one_job
from polyroute.types.jobs import TERMINAL, Job, JobAttempt, JobState
from polyroute.types.media import Handle

_WORKER_WAITS = 60.0
_ACCEPTED_WAITS = 3600.0
"""Seconds for which the handle of accepted work is held on to while the database is away."""
_UPSERT_ATTEMPT = (
    f"INSERT INTO job_attempts ({','.join(JOB_ATTEMPT_COLUMNS)}) VALUES ({','.join('?' * len(JOB_ATTEMPT_COLUMNS))}) "  # noqa: S608
    "ON CONFLICT (job_id, number) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in JOB_ATTEMPT_COLUMNS[2:] if not name.startswith("handle"))
    + ", handle = COALESCE(excluded.handle, job_attempts.handle)"
    + ", handle_id = COALESCE(excluded.handle_id, job_attempts.handle_id)"
)
"""A handle that is known is never forgotten: the worker that got it may write it down after another one took over."""
_NOBODY = (
    "(executor IS NULL OR NOT EXISTS (SELECT 1 FROM job_workers WHERE job_workers.id = jobs.executor AND heard_at > ?))"
)
_LOCK_JOB = "SELECT executor, epoch, state FROM jobs WHERE id = ?"
"""SQLite transactions have the write lock from their start."""
_TO_DO = "state IN ('queued', 'running')"
_LEASE_LASTS = 30.0
"""Seconds for which a slot is held without a sign of life, at least: a job that goes on elsewhere still has its slot."""
_RENEW_LEASES = "UPDATE job_leases SET until = ? WHERE job_id IN (SELECT id FROM jobs WHERE executor = ?)"


class JobTable(JobRecords):
    """Implements `ports.JobStore`. A worker that was not heard of for `lost_after` seconds has lost its jobs."""

    def __init__(self, database: Database, lost_after: float) -> None:
        super().__init__(database)
        self._lost_after = lost_after
        self._lease_lasts = max(_LEASE_LASTS, 2 * lost_after)

    async def claim(self, job_id: str, executor: str, at: float) -> Claim | None:
        """Take a job, unless it has ended, needs attention, or a living worker has it."""

        def change(driver: Driver) -> Claim | None:
            row = driver.execute(
                driver.sql(_LOCK_JOB if driver.kind == "sqlite" else _LOCK_JOB + " FOR UPDATE"),
                (job_id,),
            ).fetchone()
            if row is None:
                return None
            moment = driver.timestamp(at)
            changed = driver.execute(
                driver.sql(
                    "UPDATE jobs SET executor = ?, epoch = epoch + 1, state = 'running', "  # noqa: S608
                    f"started_at = COALESCE(started_at, ?) WHERE id = ? AND {_TO_DO} AND (executor = ? OR {_NOBODY})"
                ),
                (executor, moment, job_id, executor, driver.timestamp(at - self._lost_after)),
            ).rowcount
            if not changed:
                return None
            if row[2] == JobState.QUEUED:
                add_event(driver, job_id, at, "state", {"state": JobState.RUNNING.value})
            job = one_job(driver, job_id)
            assert job is not None
            rows = driver.execute(driver.sql(SELECT_ATTEMPTS), (job_id,)).fetchall()
            return Claim(job, tuple(read_attempt(one) for one in rows))

        return await self._run(change, _WORKER_WAITS)

    async def release(self, job: Job) -> None:
        """Give a job back, if it is still this worker's."""

        def change(driver: Driver) -> None:
            driver.execute(
                driver.sql(
                    "UPDATE jobs SET executor = NULL, epoch = epoch + 1 WHERE id = ? AND executor = ? AND epoch = ?"
                ),
                (job.id, job.executor, job.epoch),
            )

        await self._run(change, 5.0)

    def _hold(self, driver: Driver, job: Job, changes: str = "epoch = epoch", values: Sequence[Any] = ()) -> None:
        """Change the job's row, which must be this worker's. Raises JobLost."""
        changed = driver.execute(
            driver.sql(f"UPDATE jobs SET {changes} WHERE id = ? AND executor = ? AND epoch = ? AND {_TO_DO}"),  # noqa: S608
            (*values, job.id, job.executor, job.epoch),
        ).rowcount
        if not changed:
            raise JobLost(job.id)

    async def intend(self, job: Job, attempt: JobAttempt) -> None:
        """An attempt is about to be submitted."""

        def change(driver: Driver) -> None:
            self._hold(
                driver, job, "provider = ?, provider_model = ?, attempts = ?",
                (attempt.provider, attempt.model, attempt.number),
            )  # fmt: skip
            driver.execute(driver.sql(_UPSERT_ATTEMPT), attempt_values(job.id, attempt, driver))
            told = {"number": attempt.number, "provider": attempt.provider, "model": attempt.model}
            add_event(driver, job.id, attempt.started_at, "attempt", told)

        await self._run(change, _WORKER_WAITS)

    async def accept(self, job: Job, number: int, handle: Handle) -> None:
        """The provider accepted an attempt. Kept whoever has the job by now: one that was parked meanwhile goes on."""

        def change(driver: Driver) -> None:
            driver.execute(
                driver.sql(
                    "UPDATE job_attempts SET phase = 'submitted', handle = ?, handle_id = ? WHERE job_id = ? AND number = ?"
                ),
                (encode(handle), handle.id, job.id, number),
            )
            driver.execute(
                driver.sql(
                    "UPDATE jobs SET state = 'queued', executor = NULL, epoch = epoch + 1, error = NULL "
                    "WHERE id = ? AND state = 'needs_attention' AND attempts = ?"
                ),
                (job.id, number),
            )

        await self._run(change, _ACCEPTED_WAITS)

    async def close_attempt(self, job: Job, attempt: JobAttempt) -> None:
        """An attempt ended as it says."""

        def change(driver: Driver) -> None:
            self._hold(driver, job)
            driver.execute(driver.sql(_UPSERT_ATTEMPT), attempt_values(job.id, attempt, driver))
            if attempt.phase == "failed":
                told = {"number": attempt.number, "failed": attempt.error_kind, "message": attempt.error_message}
                add_event(driver, job.id, attempt.ended_at or attempt.started_at, "attempt", told)

        await self._run(change, _WORKER_WAITS)

    async def progress(
        self, job: Job, at: float, percent: float | None, events: Sequence[tuple[str, dict[str, Any]]]
    ) -> None:
        """How far it is."""

        def change(driver: Driver) -> None:
            self._hold(driver, job, "percent = COALESCE(?, percent)", (percent,))
            for name, data in events:
                add_event(driver, job.id, at, name, data)

        await self._run(change, _WORKER_WAITS)

    async def finish(self, job: Job, end: JobEnd) -> None:
        """End or park a job; it is nobody's then."""

        def change(driver: Driver) -> None:
            ended = end.state in TERMINAL
            if end.state is JobState.NEEDS_ATTENTION and self._was_accepted(driver, job, end):
                return
            self._hold(
                driver, job,
                "state = ?, ended_at = ?, result = ?, error = ?, provider = COALESCE(?, provider), "
                "provider_model = COALESCE(?, provider_model), attempts = COALESCE(?, attempts), cost_usd = ?, "
                "percent = CASE WHEN ? THEN 100 ELSE percent END",
                (
                    end.state.value, driver.timestamp(end.at) if ended else None, encode_or_none(end.result),
                    encode_or_none(end.error), end.provider, end.provider_model, end.attempts, money_value(end.cost_usd),
                    end.state is JobState.SUCCEEDED,
                ),
            )  # fmt: skip
            if end.attempt is not None:
                driver.execute(driver.sql(_UPSERT_ATTEMPT), attempt_values(job.id, end.attempt, driver))
            driver.execute(driver.sql("UPDATE jobs SET executor = NULL WHERE id = ?"), (job.id,))
            driver.execute(driver.sql("DELETE FROM job_leases WHERE job_id = ?"), (job.id,))
            told: dict[str, Any] = {"state": end.state.value}
            if end.error is not None:
                told["error"] = {"kind": end.error.kind, "message": end.error.message}
            add_event(driver, job.id, end.at, "state", told)

        await self._run(change, _WORKER_WAITS)

    def _was_accepted(self, driver: Driver, job: Job, end: JobEnd) -> bool:
        """Whether the handle came to light while the job was about to be parked for want of it: then it goes on."""
        if not end.blind:
            return False
        found = driver.execute(
            driver.sql(
                "UPDATE job_attempts SET phase = 'submitted', error_kind = NULL, ended_at = NULL "
                "WHERE job_id = ? AND number = ? AND handle IS NOT NULL"
            ),
            (job.id, end.attempts),
        ).rowcount
        if found:
            self._hold(driver, job, "state = 'queued', epoch = epoch + 1")
            driver.execute(driver.sql("UPDATE jobs SET executor = NULL WHERE id = ?"), (job.id,))
        return found > 0

    # ---------------------------------------------------------------- the workers themselves

    def is_away(self, error: BaseException) -> bool:
        """Whether the database is away for now."""
        return is_away(error)

    async def beat(self, executor: str, at: float, about: str) -> None:
        """This worker lives."""
        statement = (
            "INSERT INTO job_workers (id, about, heard_at) VALUES (?, ?, ?) "
            "ON CONFLICT (id) DO UPDATE SET heard_at = excluded.heard_at"
        )

        def change(driver: Driver) -> None:
            driver.execute(driver.sql(statement), (executor, about, driver.timestamp(at)))
            driver.execute(driver.sql(_RENEW_LEASES), (driver.timestamp(at + self._lease_lasts), executor))

        await self._run(change, self._lost_after)

    async def gone(self, executor: str) -> None:
        """This worker has stopped: its row stays until its jobs are taken over."""

        def change(driver: Driver) -> None:
            driver.execute(
                driver.sql("UPDATE job_workers SET heard_at = ? WHERE id = ?"), (driver.timestamp(0), executor)
            )

        await self._run(change, 5.0)

    async def lost_workers(self, before: float) -> Sequence[str]:
        """Workers that have not been heard of since then; they are forgotten when they have no job any more."""

        def change(driver: Driver) -> Sequence[str]:
            moment = driver.timestamp(before)
            rows = driver.execute(driver.sql("SELECT id FROM job_workers WHERE heard_at <= ?"), (moment,)).fetchall()
            driver.execute(
                driver.sql(
                    "DELETE FROM job_workers WHERE heard_at <= ? AND NOT EXISTS (SELECT 1 FROM jobs WHERE "  # noqa: S608
                    f"jobs.executor = job_workers.id AND {_TO_DO})"
                ),
                (moment,),
            )
            return [row[0] for row in rows]

        return await self._run(change, _WORKER_WAITS)

    async def waiting(self, executor: str, alive_since: float, limit: int = 500) -> Sequence[Job]:
        """Jobs that nobody living has."""

        def change(driver: Driver) -> Sequence[Job]:
            rows = driver.execute(
                driver.sql(f"{SELECT_JOB} WHERE {_TO_DO} AND {_NOBODY} ORDER BY created_at LIMIT ?"),
                (driver.timestamp(alive_since), limit),
            ).fetchall()
            return [read_job(row) for row in rows]

        return await self._run(change, _WORKER_WAITS)

    async def called(self, executor: str) -> Sequence[tuple[str, bool]]:
        """Jobs of this worker that somebody wants something of: True, that they stop; False, a look at their provider."""

        def change(driver: Driver) -> Sequence[tuple[str, bool]]:
            rows = driver.execute(
                driver.sql(
                    "SELECT id, cancel_requested FROM jobs WHERE executor = ? AND (cancel_requested = ? OR nudged = ?) "  # noqa: S608
                    f"AND {_TO_DO}"
                ),
                (executor, True, True),
            ).fetchall()
            if rows:
                driver.execute(driver.sql("UPDATE jobs SET nudged = ? WHERE executor = ?"), (False, executor))
            return [(row[0], bool(row[1])) for row in rows]

        return await self._run(change, _WORKER_WAITS)

    async def called_back(self, provider: str, handle_id: str) -> str | None:
        """A provider reports on work that it accepted; the id of the job that it is about."""

        def change(driver: Driver) -> str | None:
            row = driver.execute(
                driver.sql(
                    "SELECT job_id FROM job_attempts WHERE handle_id = ? AND provider = ? AND phase = 'submitted'"
                ),
                (handle_id, provider),
            ).fetchone()
            if row is not None:
                driver.execute(driver.sql("UPDATE jobs SET nudged = ? WHERE id = ?"), (True, row[0]))
            return None if row is None else row[0]

        return await self._run(change)

    async def any_waiting(self) -> bool:
        """Whether there is any job to work on."""
        statement = f"SELECT 1 FROM jobs WHERE {_TO_DO} LIMIT 1"  # noqa: S608
        return await self._run(lambda driver: driver.execute(driver.sql(statement)).fetchone() is not None)

    async def lease(self, resource: str, slots: int, job: Job, at: float) -> bool:
        """Take a slot, or keep the one that the job has."""

        def change(driver: Driver) -> bool:
            end, moment = driver.timestamp(at + self._lease_lasts), driver.timestamp(at)
            renewed = driver.execute(
                driver.sql("UPDATE job_leases SET until = ? WHERE resource = ? AND job_id = ?"), (end, resource, job.id)
            ).rowcount
            if renewed:
                return True
            driver.execute(driver.sql("DELETE FROM job_leases WHERE resource = ? AND until <= ?"), (resource, moment))
            for slot in range(slots):
                taken = driver.execute(
                    driver.sql(
                        "INSERT INTO job_leases (resource, slot, job_id, until) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
                    ),
                    (resource, slot, job.id, end),
                ).rowcount
                if taken:
                    return True
            return False

        return await self._run(change, _WORKER_WAITS)

    async def give_back(self, resource: str, job: Job) -> None:
        """Free the slot."""

        def change(driver: Driver) -> None:
            driver.execute(driver.sql("DELETE FROM job_leases WHERE resource = ? AND job_id = ?"), (resource, job.id))

        await self._run(change, _WORKER_WAITS)
