"""Jobs of which some are pipelines: the jobs of their steps, and taking them up again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from polyroute.storage.database import Driver
from polyroute.storage.job_rows import EVENT_COLUMNS, encode, read_event, read_job
from polyroute.storage.job_work import JobTable
from polyroute.storage.jobs import SELECT_JOB, add_event, one_job
from polyroute.types.jobs import Job, JobEvent, JobState, Resolution
from polyroute.types.media import Handle

_EVENTS = f"SELECT {','.join(EVENT_COLUMNS)} FROM job_events WHERE job_id = ? AND name = ? ORDER BY number"  # noqa: S608
_AGAIN = ("failed", "cancelled", "expired")


class PipelineTable(JobTable):
    """Implements `ports.PipelineStore`."""

    async def children(self, pipeline_id: str) -> Sequence[Job]:
        """The jobs of a pipeline's steps."""
        pattern = pipeline_id.replace("\\", "\\\\").replace("_", "\\_").replace("%", "\\%") + ".%"

        def change(driver: Driver) -> Sequence[Job]:
            statement = driver.sql(f"{SELECT_JOB} WHERE id LIKE ? ESCAPE '\\' ORDER BY created_at, id")
            return [read_job(row) for row in driver.execute(statement, (pattern,)).fetchall()]

        return await self._run(change)

    async def named_events(self, job_id: str, name: str) -> Sequence[JobEvent]:
        """A job's events of one name."""
        return await self._run(
            lambda driver: [read_event(row) for row in driver.execute(driver.sql(_EVENTS), (job_id, name)).fetchall()]
        )

    async def reopen(self, pipeline_id: str, at: float, deadline: float) -> Job | None:
        """Take a pipeline up again."""

        def change(driver: Driver) -> Job | None:
            found = one_job(driver, pipeline_id)
            if found is None or found.order.surface != "pipelines":
                return None
            details: dict[str, Any] = {**found.order.details, "round": found.order.details.get("round", 0) + 1}
            changed = driver.execute(
                driver.sql(
                    "UPDATE jobs SET state = 'queued', executor = NULL, epoch = epoch + 1, error = NULL, result = NULL, "  # noqa: S608
                    "ended_at = NULL, cancel_requested = ?, abandoned = ?, details = ?, deadline = ? "
                    f"WHERE id = ? AND epoch = ? AND state IN ({','.join('?' * len(_AGAIN))})"
                ),
                (False, False, encode(details), driver.timestamp(deadline), pipeline_id, found.epoch, *_AGAIN),
            ).rowcount
            if not changed:
                return None
            add_event(driver, pipeline_id, at, "state", {"state": JobState.QUEUED.value, "round": details["round"]})
            return one_job(driver, pipeline_id)

        return await self._run(change)

    # ---------------------------------------------------------------- a step that needed attention does so no more

    async def accept(self, job: Job, number: int, handle: Handle) -> None:
        """See JobTable.accept."""
        await super().accept(job, number, handle)
        await self._wake(job.id)

    async def resolve(self, job_id: str, decision: Resolution, handle: Handle | None, at: float) -> Job | None:
        """See JobRecords.resolve."""
        found = await super().resolve(job_id, decision, handle, at)
        if found is not None:
            await self._wake(job_id)
        return found

    async def _wake(self, job_id: str) -> None:
        pipeline_id, dot, _ = job_id.partition(".")
        if not dot:
            return

        def change(driver: Driver) -> None:
            driver.execute(
                driver.sql(
                    "UPDATE jobs SET state = 'queued', executor = NULL, epoch = epoch + 1, error = NULL "
                    "WHERE id = ? AND state = 'needs_attention' AND surface = 'pipelines'"
                ),
                (pipeline_id,),
            )

        await self._run(change)
