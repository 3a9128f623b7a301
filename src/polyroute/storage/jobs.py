"""Jobs as callers and operators see them: made, looked up, cancelled, decided on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from polyroute.storage.database import Database, Driver
from polyroute.storage.job_connection import JobConnection
from polyroute.storage.job_rows import (
    EVENT_COLUMNS,
    JOB_ATTEMPT_COLUMNS,
    JOB_COLUMNS,
    encode,
    idempotency_of,
    new_job_values,
    read_attempt,
    read_event,
    read_job,
)
from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.jobs import TERMINAL, Job, JobAttempt, JobEvent, JobOrder, JobState, Resolution
from polyroute.types.media import Handle

T = TypeVar("T")

_CALLER_WAITS = 5.0
"""Seconds for which a caller's request waits for a database that is away."""
SELECT_JOB = f"SELECT {','.join(JOB_COLUMNS)} FROM jobs"  # noqa: S608
SELECT_ATTEMPTS = f"SELECT {','.join(JOB_ATTEMPT_COLUMNS)} FROM job_attempts WHERE job_id = ? ORDER BY number"  # noqa: S608
_INSERT_JOB = (
    f"INSERT INTO jobs ({','.join(JOB_COLUMNS)}) VALUES ({','.join('?' * len(JOB_COLUMNS))}) ON CONFLICT DO NOTHING"  # noqa: S608
)
_ENDED = tuple(sorted(state.value for state in TERMINAL))


def add_event(driver: Driver, job_id: str, at: float, name: str, data: dict[str, Any]) -> None:
    """Add an event of a job, within a transaction."""
    driver.execute(
        driver.sql(
            "INSERT INTO job_events (job_id, number, at, name, data) "
            "SELECT ?, COALESCE(MAX(number), 0) + 1, ?, ?, ? FROM job_events WHERE job_id = ?"
        ),
        (job_id, driver.timestamp(at), name, encode(data), job_id),
    )


def one_job(driver: Driver, job_id: str) -> Job | None:
    """A job by its id, within a transaction."""
    row = driver.execute(driver.sql(f"{SELECT_JOB} WHERE id = ?"), (job_id,)).fetchone()
    return None if row is None else read_job(row)


def _same_key(driver: Driver, order: JobOrder) -> Job | None:
    """The job of an order's idempotency key. Raises PolyrouteError when that was made of something else."""
    row = driver.execute(driver.sql(f"{SELECT_JOB} WHERE idempotency = ?"), (idempotency_of(order),)).fetchone()
    if row is None:
        return None
    job = read_job(row)
    if job.order.digest != order.digest:
        raise PolyrouteError(
            ErrorKind.INVALID_REQUEST,
            f"The Idempotency-Key {order.idempotency_key!r} was used for another request; that is job {job.id}.",
            param="Idempotency-Key", code="idempotency_key_reused",
        )  # fmt: skip
    return job


class JobRecords:
    """The callers' half of `ports.JobStore`."""

    def __init__(self, database: Database) -> None:
        self._connection = JobConnection(database)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    async def _run(self, change: Callable[[Driver], T], patience: float = _CALLER_WAITS) -> T:
        return await self._connection.run(change, patience=patience)

    async def create(self, order: JobOrder) -> Job:
        """Keep a new job, or give the one that has its idempotency key."""

        def change(driver: Driver) -> Job:
            new = driver.execute(driver.sql(_INSERT_JOB), new_job_values(order, driver)).rowcount > 0
            if new:
                add_event(driver, order.id, order.created_at, "state", {"state": JobState.QUEUED.value})
            job = one_job(driver, order.id) or _same_key(driver, order)
            assert job is not None  # nothing else keeps a job from being made
            return job

        return await self._run(change)

    async def known(self, order: JobOrder) -> Job | None:
        """The job that was made of this order's idempotency key before."""
        return await self._run(lambda driver: _same_key(driver, order))

    async def get(self, job_id: str) -> Job | None:
        """None when there is none of that id."""
        return await self._run(lambda driver: one_job(driver, job_id))

    async def list(
        self, *, key_id: str | None = None, any_key: bool = False, states: Sequence[JobState] = (),
        surface: str | None = None, after: str | None = None, limit: int = 20, newest_first: bool = True,
    ) -> Sequence[Job]:  # fmt: skip
        """Jobs of a key, or everybody's. Ids sort by the time of their making."""
        conditions, values = ["1 = 1"], []
        if not any_key:
            conditions.append("key_id IS NULL" if key_id is None else "key_id = ?")
            values += [] if key_id is None else [key_id]
        if states:
            conditions.append(f"state IN ({','.join('?' * len(states))})")
            values += [state.value for state in states]
        if surface is not None:
            conditions.append("surface = ?")
            values.append(surface)
        order = "DESC" if newest_first else "ASC"
        mark = "<" if newest_first else ">"

        def change(driver: Driver) -> Sequence[Job]:
            where, given = list(conditions), list[Any](values)
            if after is not None:
                row = driver.execute(driver.sql("SELECT created_at FROM jobs WHERE id = ?"), (after,)).fetchone()
                if row is not None:
                    where.append(f"(created_at {mark} ? OR (created_at = ? AND id {mark} ?))")
                    given += [row[0], row[0], after]
            rows = driver.execute(
                driver.sql(f"{SELECT_JOB} WHERE {' AND '.join(where)} ORDER BY created_at {order}, id {order} LIMIT ?"),
                (*given, limit),
            ).fetchall()
            return [read_job(row) for row in rows]

        return await self._run(change)

    async def attempts(self, job_id: str) -> tuple[JobAttempt, ...]:
        """A job's attempts, in order."""

        def change(driver: Driver) -> tuple[JobAttempt, ...]:
            rows = driver.execute(driver.sql(SELECT_ATTEMPTS), (job_id,)).fetchall()
            return tuple(read_attempt(row) for row in rows)

        return await self._run(change)

    async def events(self, job_id: str, after: int = 0, limit: int = 1000) -> Sequence[JobEvent]:
        """What happened since event `after`."""
        statement = (
            f"SELECT {','.join(EVENT_COLUMNS)} FROM job_events WHERE job_id = ? AND number > ? ORDER BY number LIMIT ?"  # noqa: S608
        )

        def change(driver: Driver) -> Sequence[JobEvent]:
            rows = driver.execute(driver.sql(statement), (job_id, after, limit)).fetchall()
            return [read_event(row) for row in rows]

        return await self._run(change)

    async def note(self, job_id: str, at: float, name: str, data: dict[str, Any]) -> None:
        """Add an event; twice where the database broke off just then."""
        await self._run(lambda driver: add_event(driver, job_id, at, name, data))

    async def request_cancel(self, job_id: str) -> Job | None:
        """Ask for a job to be stopped; one that needs attention is given up and stopped."""

        def change(driver: Driver) -> Job | None:
            driver.execute(
                driver.sql(
                    "UPDATE jobs SET cancel_requested = ?, state = CASE WHEN state = 'needs_attention' THEN 'queued' "  # noqa: S608
                    f"ELSE state END WHERE id = ? AND state NOT IN ({','.join('?' * len(_ENDED))})"
                ),
                (True, job_id, *_ENDED),
            )
            return one_job(driver, job_id)

        return await self._run(change)

    async def resolve(self, job_id: str, decision: Resolution, handle: Handle | None, at: float) -> Job | None:
        """Decide on a job that needs attention: its last attempt failed, was accepted under this handle, or is given up."""

        def change(driver: Driver) -> Job | None:
            changed = driver.execute(
                driver.sql(
                    "UPDATE jobs SET state = 'queued', executor = NULL, epoch = epoch + 1, error = NULL, abandoned = ? "
                    "WHERE id = ? AND state = 'needs_attention'"
                ),
                (decision == "abandon", job_id),
            ).rowcount
            if not changed:
                return None
            moment: Any = driver.timestamp(at)
            if decision == "adopt" and handle is not None:
                change = "phase = 'submitted', handle = ?, handle_id = ?, error_kind = NULL"
                given = [encode(handle), handle.id]
            else:
                change = "phase = 'failed', ended_at = ?, error_kind = COALESCE(error_kind, 'unknown_outcome')"
                given = [moment]
            # Work whose handle is known is looked after again by `retry`; only `abandon` gives it up.
            which = "('intent', 'unknown')" if decision == "retry" else "('intent', 'unknown', 'submitted')"
            driver.execute(
                driver.sql(f"UPDATE job_attempts SET {change} WHERE job_id = ? AND phase IN {which}"),  # noqa: S608
                (*given, job_id),
            )
            add_event(driver, job_id, at, "state", {"state": JobState.QUEUED.value, "decision": decision})
            return one_job(driver, job_id)

        return await self._run(change)

    async def remove(self, job_id: str) -> bool:
        """Forget a job that has ended."""
        return await self._run(lambda driver: self._delete(driver, "id = ?", job_id) > 0)

    async def prune(self, before: float) -> int:
        """Forget jobs that ended before then."""
        return await self._run(lambda driver: self._delete(driver, "ended_at < ?", driver.timestamp(before)))

    def _delete(self, driver: Driver, condition: str, value: Any) -> int:
        statement = f"DELETE FROM jobs WHERE {condition} AND state IN ({','.join('?' * len(_ENDED))})"  # noqa: S608
        return driver.execute(driver.sql(statement), (value, *_ENDED)).rowcount
