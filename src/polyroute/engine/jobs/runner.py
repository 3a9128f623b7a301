"""Working on jobs: each is claimed, walked to its end, and ended once."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec

from polyroute.engine.gateway import Gateway
from polyroute.engine.jobs.bells import Bells
from polyroute.engine.jobs.places import Places
from polyroute.engine.jobs.walk import JobWalk, Parked
from polyroute.engine.media.lane import MediaFloor
from polyroute.ports.jobs import Claim, JobEnd, JobLost, JobStore
from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.jobs import Job, JobError, JobState, TargetError
from polyroute.types.media import Made

log = logging.getLogger("polyroute.jobs")

_STOPPING = 10.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 5.0
"""Seconds before work that the database interrupted is taken up again."""

Ended = Callable[[Job, JobEnd], Awaitable[None]]
"""Told of a job that has ended, before it is said to have: durable when it returns."""


class Composite(Protocol):
    """Works on jobs that consist of other jobs."""

    async def run(self, claim: Claim) -> JobEnd:
        """Work on one until it has ended or is parked; leaves the other jobs as they are when it is cancelled."""

    async def cancelled(self, claim: Claim) -> JobEnd:
        """Stop the other jobs, for good."""


class JobPace(msgspec.Struct, frozen=True, kw_only=True):
    """How jobs are worked on; times in seconds. `patience`: for one provider. `heartbeat`: between two signs of life of a
    worker; one that was silent for `lost_after` has lost its jobs. `slots`: jobs at one local provider at once."""

    patience: float = 1200.0
    heartbeat: float = 2.0
    lost_after: float = 10.0
    slots: int = 1


class JobRunner:
    """The jobs that this process works on."""

    def __init__(
        self, gateway: Gateway, floor: MediaFloor, store: JobStore, executor: str, pace: JobPace, bells: Bells,
        ended: Ended | None = None,
    ) -> None:  # fmt: skip
        self.executor = executor
        self._gateway = gateway
        self._floor = floor
        self._store = store
        self._pace = pace
        self._bells = bells
        self._ended = ended
        self._walks: dict[str, JobWalk] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._composites: set[str] = set()
        self._places = Places(store)
        self._stopped = False
        self.pipelines: Composite | None = None
        self._given_back = asyncio.Event()

    @property
    def running(self) -> int:
        """How many jobs are under way here."""
        return len(self._walks)

    async def run(self, job_id: str) -> None:
        """Work on a job until it has ended, is parked, is another worker's, or this worker stops. Never raises for what
        becomes of the job."""
        if job_id in self._tasks or self._stopped:
            return
        task = asyncio.current_task()
        assert task is not None
        self._tasks[job_id] = task
        pause = _FIRST_PAUSE
        try:
            while not await self._try(job_id):
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
        finally:
            self._tasks.pop(job_id, None)
            self._given_back.set()

    async def _try(self, job_id: str) -> bool:
        """Work on a job from where it stands; False when that has to be tried again, because the database was away."""
        try:
            claim = await self._store.claim(job_id, self.executor, time.time())
            if claim is not None:
                await self._work(claim)
        except JobLost:
            log.warning("job %s went to another worker, or the database stayed away", job_id)
            return False  # the next claim tells which of the two
        except PolyrouteError as error:
            log.warning("job %s waits: %s", job_id, error.message)
            return False
        except Exception as error:
            if not self._store.is_away(error):
                raise
            log.warning("job %s waits: the database is away (%s)", job_id, type(error).__name__)
            return False
        finally:
            self._walks.pop(job_id, None)
        return True

    async def _work(self, claim: Claim) -> None:
        job = claim.job
        if job.order.surface == "pipelines":
            await self._work_composite(claim)
            return
        try:
            walk = JobWalk(
                claim, self._gateway, self._floor, self._store, self._bells, self._places,
                patience=self._pace.patience, slots=self._pace.slots,
            )  # fmt: skip
        except Exception:
            log.exception("job %s cannot be begun", job.id)
            await self._finish(job, JobEnd(state=JobState.FAILED, at=time.time(), error=_ours(job.id)))
            return
        self._walks[job.id] = walk
        try:
            await self._end(walk, job)
        except BaseException:
            walk.settlement.suspend()  # nothing, when it was settled before
            raise

    async def _work_composite(self, claim: Claim) -> None:
        """A job that consists of others, each of which has its own place here."""
        job = claim.job
        assert self.pipelines is not None
        self._composites.add(job.id)
        try:
            end = await self.pipelines.run(claim)
        except asyncio.CancelledError:
            if self._stopped:
                await asyncio.shield(self._store.release(job))
                raise
            end = await self.pipelines.cancelled(claim)
        except JobLost:
            raise
        except Exception as fault:
            if self._store.is_away(fault) or isinstance(fault, PolyrouteError):
                raise
            log.exception("job %s failed by a fault of ours", job.id)
            end = JobEnd(state=JobState.FAILED, at=time.time(), error=_ours(job.id))
        finally:
            self._composites.discard(job.id)
        await self._finish(job, end)

    async def _end(self, walk: JobWalk, job: Job) -> None:
        settlement = walk.settlement
        if job.abandoned:
            given_up = PolyrouteError(
                ErrorKind.UNKNOWN_OUTCOME, "Whether the provider accepted this work stayed unknown; it was given up."
            )
            settlement.refused(given_up)
            await self._finish(job, self._failed(walk, given_up, JobState.FAILED))
            return
        if job.cancel_requested and walk.tracker.pending is None:
            settlement.broken_off(None, None, None, simulated=False)
            await self._finish(job, self._failed(walk, _cancelled(), JobState.CANCELLED))
            return
        try:
            if job.cancel_requested:
                self.cancel(job.id)
            made = await walk.run()
        except Parked as parked:
            settlement.suspend()
            end = self._failed(walk, _of(parked), JobState.NEEDS_ATTENTION)
            await self._finish(job, msgspec.structs.replace(end, blind=walk.tracker.handle is None))
            log.warning("job %s needs attention: %s (`polyroute jobs show` says more)", job.id, parked.failure.message)
        except PolyrouteError as error:
            late = error.kind is ErrorKind.TIMEOUT and time.time() >= job.order.deadline - 1.0
            await self._finish(job, self._failed(walk, error, JobState.EXPIRED if late else JobState.FAILED))
        except asyncio.CancelledError:
            if self._stopped:
                settlement.suspend()
                await asyncio.shield(self._store.release(job))
                raise
            settlement.broken_off(None, None, None, simulated=False)
            await self._finish(job, self._failed(walk, _cancelled(), JobState.CANCELLED))
        except JobLost:
            raise
        except Exception as fault:
            if self._store.is_away(fault):
                raise
            log.exception("job %s failed by a fault of ours", job.id)
            ours = PolyrouteError(ErrorKind.INTERNAL, f"Polyroute failed; its log names job {job.id}.")
            settlement.refused(ours)
            await self._finish(job, self._failed(walk, ours, JobState.FAILED))
        else:
            await self._finish(job, self._succeeded(walk, made))

    async def _finish(self, job: Job, end: JobEnd) -> None:
        if self._ended is not None and end.state is not JobState.NEEDS_ATTENTION:
            await self._ended(job, end)
        await self._store.finish(job, end)
        self._bells.ring(job.id)

    def _succeeded(self, walk: JobWalk, made: Made) -> JobEnd:
        record, cost = walk.settlement.record, walk.settlement.cost
        return JobEnd(
            state=JobState.SUCCEEDED, at=time.time(), result=made, provider=record.actual_provider,
            provider_model=record.actual_model, attempts=len(record.attempts),
            cost_usd=None if cost is None else cost.usd, attempt=walk.tracker.last,
        )  # fmt: skip

    def _failed(self, walk: JobWalk, error: PolyrouteError, state: JobState) -> JobEnd:
        settlement = walk.settlement
        told = tuple(
            TargetError(provider=one.provider, model=one.model, kind=one.kind.value, message=one.message)
            for one, _ in settlement.failures
        )
        return JobEnd(
            state=state, at=time.time(), attempts=len(settlement.record.attempts),
            error=JobError(kind=error.kind.value, message=error.message, param=error.param, attempts=told),
            cost_usd=None if settlement.cost is None else settlement.cost.usd,
        )  # fmt: skip

    # ---------------------------------------------------------------- from outside

    def cancel(self, job_id: str) -> None:
        """Stop a job for good, at the provider too."""
        walk, task = self._walks.get(job_id), self._tasks.get(job_id)
        if job_id in self._composites and task is not None:
            self._composites.discard(job_id)
            task.cancel()
        if walk is not None and task is not None and walk.tracker.durable:
            walk.tracker.durable = False  # so that its provider is told
            task.cancel()

    def wake(self, job_id: str) -> None:
        """The provider of a job reported back."""
        walk = self._walks.get(job_id)
        if walk is not None:
            walk.tracker.wake()

    async def stop(self) -> None:
        """Give all jobs back; what providers accepted goes on there."""
        self._stopped = True
        for task in self._tasks.values():
            task.cancel()
        try:
            async with asyncio.timeout(_STOPPING):
                while self._tasks:  # the tasks themselves go on to wait, so that their workflows do not end
                    self._given_back.clear()
                    await self._given_back.wait()
        except TimeoutError:
            log.warning("%d jobs could not be given back; others take them over in a while", len(self._tasks))


def _cancelled() -> PolyrouteError:
    return PolyrouteError(ErrorKind.CANCELLED, "The job was cancelled.")


def _of(parked: Parked) -> PolyrouteError:
    return PolyrouteError(parked.failure.kind, parked.failure.message)


def _ours(job_id: str) -> JobError:
    return JobError(kind=ErrorKind.INTERNAL.value, message=f"Polyroute failed; its log names job {job_id}.")
