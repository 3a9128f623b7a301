"""The worker of a process: takes jobs from the queue while the process lives, and those of workers that died."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from polyroute.engine.jobs.runner import JobPace, JobRunner
from polyroute.ports.jobs import JobQueue, JobStore
from polyroute.types.errors import PolyrouteError

log = logging.getLogger("polyroute.jobs")

_LOOK = 0.5
"""Seconds between two looks at what changed in the table."""
_ANEW = 30.0
"""Seconds after which a job that was put into the queue and that nobody has is put in again."""
_EVER = 1.0
"""A moment since which every worker was heard of that has not stopped."""


class JobWorker:
    """Runs `runner` on what the queue gives. The queue (and all that it needs) is made when there is a first job."""

    def __init__(
        self, store: JobStore, runner: JobRunner, make_queue: Callable[[], JobQueue], pace: JobPace, about: str
    ) -> None:
        self._store = store
        self._runner = runner
        self._make_queue = make_queue
        self._pace = pace
        self._about = about
        self._queue: JobQueue | None = None
        self._put: dict[tuple[str, int], float] = {}
        self._task: asyncio.Task[None] | None = None
        self._nudge = asyncio.Event()
        self._beat_at = 0.0
        self._looked_at = 0.0
        self._steady_from = 0.0

    @property
    def runner(self) -> JobRunner:
        """Who does the work."""
        return self._runner

    def start(self) -> None:
        """Begin to look for jobs."""
        self._task = asyncio.create_task(self._watch())

    def nudge(self) -> None:
        """There is a new job."""
        self._nudge.set()

    async def stop(self) -> None:
        """Give everything back, for other workers or the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._runner.stop()
        if self._queue is not None:
            await self._queue.stop()
            try:
                await self._store.gone(self._runner.executor)
            except PolyrouteError as error:
                log.warning("the jobs' database did not hear that this worker stops: %s", error.message)

    async def _watch(self) -> None:
        while True:
            try:
                await self._look()
            except PolyrouteError as error:
                log.warning("jobs wait: %s", error.message)
            except Exception as error:
                if self._store.is_away(error):
                    log.warning("jobs wait: the database is away (%s)", type(error).__name__)
                else:
                    log.exception("looking for jobs failed; trying again")
            try:
                async with asyncio.timeout(_LOOK):
                    await self._nudge.wait()
            except TimeoutError:
                continue
            self._nudge.clear()

    async def _look(self) -> None:
        if self._queue is None:
            if not await self._store.any_waiting():
                return
            await self._beat()
            queue = self._make_queue()
            try:
                await queue.start(self._runner.executor, self._runner.run)
            except BaseException:
                await queue.stop()
                raise
            self._queue = queue
        await self._beat()
        now = time.time()
        if now - self._looked_at > self._pace.lost_after / 2:
            # This process, or the database, was away: the others could not tell that they live, either.
            self._steady_from = now + self._pace.lost_after
        self._looked_at = now
        alive_since = now - self._pace.lost_after if now >= self._steady_from else _EVER
        lost = await self._store.lost_workers(alive_since)
        if lost:
            await self._queue.recover(lost)
        for job in await self._store.waiting(self._runner.executor, alive_since):
            run = (job.id, job.epoch)
            if self._put.get(run, 0.0) + _ANEW < now:
                # One that was put in before, and that nobody has, is put in as another run: the first may be over.
                again = f".{int(now / _ANEW)}" if run in self._put else ""
                self._put[run] = now
                await self._queue.put(job.id, f"{job.epoch}{again}")
        if len(self._put) > 10_000:
            self._put = {run: at for run, at in self._put.items() if at + _ANEW > now}
        for job_id, cancelled in await self._store.called(self._runner.executor):
            if cancelled:
                self._runner.cancel(job_id)
            else:
                self._runner.wake(job_id)

    async def _beat(self) -> None:
        now = time.time()
        if now - self._beat_at >= self._pace.heartbeat:
            await self._store.beat(self._runner.executor, now, self._about)
            self._beat_at = now
