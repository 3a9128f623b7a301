"""Durable jobs under these settings, put together. Shared by gateway, worker and command line."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
import time

import msgspec

from polyroute.api.job_objects import job_object
from polyroute.api.jobs import link_to
from polyroute.engine.gateway import Gateway
from polyroute.engine.jobs.bells import Bells
from polyroute.engine.jobs.desk import JobDesk
from polyroute.engine.jobs.runner import JobPace, JobRunner
from polyroute.engine.jobs.worker import JobWorker
from polyroute.engine.media.lane import MediaFloor
from polyroute.engine.pipelines.desk import PipelineDesk
from polyroute.engine.pipelines.walk import Pipelines
from polyroute.ports.budgets import Outbox
from polyroute.ports.jobs import JobEnd
from polyroute.settings import Settings
from polyroute.storage.database import Database
from polyroute.storage.job_pipelines import PipelineTable
from polyroute.storage.job_queue import DbosQueue
from polyroute.types.jobs import Job

log = logging.getLogger("polyroute.jobs")

_SECONDS_A_DAY = 86_400.0
_PRUNE_EVERY = 3600.0


class Jobs:
    """The table, the desk and (with `working`) the worker of one process. Nothing is opened before it is first used."""

    def __init__(
        self, settings: Settings, database: Database, gateway: Gateway, floor: MediaFloor, *, working: bool,
        outbox: Outbox,
    ) -> None:  # fmt: skip
        own = settings.jobs
        self.table = PipelineTable(database, own.lost_after)
        self._outbox = outbox
        self._retention = own.retention_days * _SECONDS_A_DAY
        self._pruning: asyncio.Task[None] | None = None
        bells = Bells()
        pace = JobPace(patience=own.patience, heartbeat=own.heartbeat, lost_after=own.lost_after, slots=own.local_slots)
        self.worker: JobWorker | None = None
        if working:
            executor = f"{socket.gethostname()[:40]}-{os.getpid()}-{secrets.token_hex(4)}"
            runner = JobRunner(gateway, floor, self.table, executor, pace, bells, self._report)
            self.worker = JobWorker(
                self.table, runner, lambda: DbosQueue(database), pace, f"{socket.gethostname()} {os.getpid()}"
            )
        self.desk = JobDesk(gateway, floor, self.table, bells, self.worker, deadline=own.deadline)
        self.pipelines = PipelineDesk(gateway, self.desk, self.table)
        if self.worker is not None:
            self.worker.runner.pipelines = Pipelines(gateway, self.desk, self.table, bells)

    def start(self) -> None:
        """Begin to work, in the running loop."""
        if self.worker is not None:
            self.worker.start()
            if self._retention:
                self._pruning = asyncio.create_task(self._prune())

    async def stop(self) -> None:
        """Give jobs back and close."""
        if self._pruning is not None:
            self._pruning.cancel()
        if self.worker is not None:
            await self.worker.stop()
        await asyncio.to_thread(self.table.close)

    async def _report(self, job: Job, end: JobEnd) -> None:
        """Tell the job's webhook how it ended; the same job is told once, whoever ends it, a pipeline once for each round."""
        webhook = job.order.webhook
        if webhook is None:
            return
        ended = msgspec.structs.replace(
            job, state=end.state, result=end.result, error=end.error, cost_usd=end.cost_usd, ended_at=end.at,
            provider=end.provider or job.provider, provider_model=end.provider_model or job.provider_model,
            attempts=job.attempts if end.attempts is None else end.attempts, percent=None,
        )  # fmt: skip
        again = job.order.details.get("round")
        told = job_object(ended, lambda identifier: link_to(self.desk, identifier))
        await asyncio.to_thread(
            self._outbox.deliver, webhook.url, f"job.{end.state}", told, secret=webhook.secret,
            identifier=f"msg_{job.id}" + (f".{again}" if again else ""),
        )  # fmt: skip

    async def _prune(self) -> None:
        while True:
            await asyncio.sleep(_PRUNE_EVERY)
            try:
                count = await self.table.prune(time.time() - self._retention)
            except Exception:
                log.exception("old jobs could not be forgotten; the next try is in an hour")
            else:
                if count:
                    log.info("%d old jobs were forgotten", count)
