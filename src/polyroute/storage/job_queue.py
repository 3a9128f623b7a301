"""The durable queue of jobs, on DBOS: each job is a workflow whose steps are written down in our own tables.

DBOS (with SQLAlchemy about 0.5 s of CPU and 45 MB) is imported when a worker has its first job, not before. Its own tables
lie beside an SQLite database, or in the schema `dbos` of a PostgreSQL one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from polyroute.ports.jobs import JobBody
from polyroute.storage.database import Database

log = logging.getLogger("polyroute.jobs")

_QUEUE = "polyroute-jobs"
_VERSION = "1"
"""The version of the workflow's shape: workers of other releases go on with each other's jobs while it stays."""
_LOOKS = 0.2
"""Seconds between two looks into the queue."""

_bodies: dict[str, tuple[asyncio.AbstractEventLoop, JobBody]] = {}
"""Who works on jobs in this process, and in which event loop; at most one."""


class DbosQueue:
    """Implements `ports.JobQueue`. DBOS is one to a process, so this is, too."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._workflow: Any = None

    async def start(self, executor: str, body: JobBody) -> None:
        """Begin to take jobs."""
        loop = asyncio.get_running_loop()
        _bodies["worker"] = (loop, body)
        await asyncio.to_thread(self._launch, executor)

    def _launch(self, executor: str) -> None:
        from dbos import DBOS  # noqa: PLC0415 - see above

        logging.getLogger("dbos").setLevel(logging.CRITICAL)
        DBOS(
            config={
                "name": "polyroute",
                "system_database_url": self._url(),
                "executor_id": executor,
                "application_version": _VERSION,
                "use_listen_notify": False,
                "log_level": "CRITICAL",
                "sys_db_pool_size": 5,
                "notification_listener_polling_interval_sec": 1.0,
                "scheduler_polling_interval_sec": 3600.0,
            }
        )

        @DBOS.workflow(name="polyroute.job", max_recovery_attempts=None)
        async def job(job_id: str) -> None:
            """Hands the job to the engine's event loop, which claims it in our tables. When this process stops, the
            workflow stays as it is, for whoever takes over."""
            at_work = _bodies.get("worker")
            if at_work is None:
                await asyncio.Event().wait()
                return
            engine_loop, work = at_work
            await asyncio.shield(asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_run(work, job_id), engine_loop)))

        self._workflow = job
        DBOS.launch()
        DBOS.register_queue(_QUEUE, polling_interval_sec=_LOOKS, on_conflict="always_update")

    def _url(self) -> str:
        if self._database.path is not None:
            beside = self._database.path.with_name(f"{self._database.path.stem}.jobs.db")
            return f"sqlite:///{beside.absolute()}"
        return self._database.url.replace("postgresql://", "postgresql+psycopg://", 1)

    async def put(self, job_id: str, run: str) -> None:
        """Put a job in; the same run only once."""
        await asyncio.to_thread(self._put, f"{job_id}-{run}", job_id)

    def _put(self, workflow_id: str, job_id: str) -> None:
        from dbos import DBOS, SetWorkflowID  # noqa: PLC0415

        with SetWorkflowID(workflow_id):
            DBOS.enqueue_workflow(_QUEUE, self._workflow, job_id)

    async def recover(self, executors: Sequence[str]) -> None:
        """Put back what workers had taken that are gone."""
        await asyncio.to_thread(self._recover, list(executors))

    def _recover(self, executors: list[str]) -> None:
        from dbos import DBOS  # noqa: PLC0415

        # A workflow that two workers put back at once runs twice, and the second finds that the job is claimed.
        found = DBOS.list_workflows(status="PENDING", executor_id=executors, load_input=False, load_output=False)
        if found:
            DBOS.resume_workflows([workflow.workflow_id for workflow in found], queue_name=_QUEUE)

    async def stop(self) -> None:
        """Take no more."""
        _bodies.clear()
        await asyncio.to_thread(self._destroy)

    def _destroy(self) -> None:
        from dbos import DBOS  # noqa: PLC0415

        DBOS.destroy(destroy_registry=True)


async def _run(body: JobBody, job_id: str) -> None:
    try:
        await body(job_id)
    except asyncio.CancelledError:
        await asyncio.Event().wait()  # the worker stops: the workflow must not end, since the job has not
