"""Durable jobs: where they are kept, and the queue that outlives the process."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from typing import Any, Protocol

import msgspec

from polyroute.types.jobs import Job, JobAttempt, JobError, JobEvent, JobOrder, JobState, Resolution
from polyroute.types.media import Handle, Made


class JobLost(Exception):
    """Another worker has the job, or nobody may work on it any more: whoever raises this must stop and change nothing."""


class Claim(msgspec.Struct, frozen=True):
    """A job that this worker has: every change names its epoch, so that a worker which lost it changes nothing."""

    job: Job
    attempts: tuple[JobAttempt, ...]


class JobEnd(msgspec.Struct, frozen=True, kw_only=True):
    """How a job ends, or is parked (`needs_attention`). `attempt` is the one that gave the result: nobody may see it done and
    the job not. `blind`: parked because no handle is known."""

    state: JobState
    at: float
    result: Made | None = None
    error: JobError | None = None
    provider: str | None = None
    provider_model: str | None = None
    attempts: int | None = None
    cost_usd: Decimal | None = None
    attempt: JobAttempt | None = None
    blind: bool = False


class JobStore(Protocol):
    """The jobs and all that is known of them; used from the event loop. While the database is away, calls wait for it
    (`patience` seconds at most) and then raise PolyrouteError(unavailable)."""

    async def create(self, order: JobOrder) -> Job:
        """Keep a new job. The job that has the same idempotency key already is given instead.

        Raises PolyrouteError(invalid_request) when that key was used for something else.
        """

    async def known(self, order: JobOrder) -> Job | None:
        """The job that was made of this order's idempotency key before, None when there is none. Raises as `create` does."""

    async def get(self, job_id: str) -> Job | None:
        """None when there is none of that id."""

    async def list(
        self, *, key_id: str | None = None, any_key: bool = False, states: Sequence[JobState] = (),
        surface: str | None = None, after: str | None = None, limit: int = 20, newest_first: bool = True,
    ) -> Sequence[Job]:  # fmt: skip
        """Jobs of a key (None: those made without one), or everybody's; those that come after the job `after`."""

    async def attempts(self, job_id: str) -> tuple[JobAttempt, ...]:
        """A job's attempts, in order."""

    async def events(self, job_id: str, after: int = 0, limit: int = 1000) -> Sequence[JobEvent]:
        """What happened since event `after`."""

    async def note(self, job_id: str, at: float, name: str, data: dict[str, Any]) -> None:
        """Add an event."""

    async def request_cancel(self, job_id: str) -> Job | None:
        """Ask whoever has the job to stop; one that nobody has is `cancelled` at once. Gives the job as it stands then."""

    async def resolve(self, job_id: str, decision: Resolution, handle: Handle | None, at: float) -> Job | None:
        """Decide on a job that needs attention; None when there is none that does."""

    async def remove(self, job_id: str) -> bool:
        """Forget a job that has ended; False when there is none."""

    async def prune(self, before: float) -> int:
        """Forget jobs that ended before then; how many."""

    # ---------------------------------------------------------------- for workers

    async def claim(self, job_id: str, executor: str, at: float) -> Claim | None:
        """Take a job, unless it has ended, needs attention, or a living worker has it."""

    async def release(self, job: Job) -> None:
        """Give a job back: this worker stops."""

    async def intend(self, job: Job, attempt: JobAttempt) -> None:
        """An attempt is about to be submitted; durable when this returns. Raises JobLost."""

    async def accept(self, job: Job, number: int, handle: Handle) -> None:
        """The provider accepted an attempt; durable when this returns. Waits for the database for as long as it takes."""

    async def close_attempt(self, job: Job, attempt: JobAttempt) -> None:
        """An attempt ended as it says. Raises JobLost."""

    async def progress(
        self, job: Job, at: float, percent: float | None, events: Sequence[tuple[str, dict[str, Any]]]
    ) -> None:
        """How far it is, with what is to be told. Raises JobLost."""

    async def finish(self, job: Job, end: JobEnd) -> None:
        """End or park a job. Raises JobLost."""

    def is_away(self, error: BaseException) -> bool:
        """Whether an error of whatever storage only says that the database is away for now."""

    async def beat(self, executor: str, at: float, about: str) -> None:
        """This worker lives, and holds the places of its jobs."""

    async def gone(self, executor: str) -> None:
        """This worker has stopped in order."""

    async def lost_workers(self, before: float) -> Sequence[str]:
        """Workers that have jobs and have not been heard of since then."""

    async def waiting(self, executor: str, alive_since: float, limit: int = 500) -> Sequence[Job]:
        """Jobs that nobody living has: new ones, released ones, and those of workers not heard of since `alive_since`."""

    async def called(self, executor: str) -> Sequence[tuple[str, bool]]:
        """Jobs of this worker that somebody wants something of: True, that they stop; False, a look at their provider."""

    async def called_back(self, provider: str, handle_id: str) -> str | None:
        """A provider reports on work that it accepted; the id of the job that it is about, None when there is none."""

    async def any_waiting(self) -> bool:
        """Whether there is any job to work on at all: one cheap look."""

    async def lease(self, resource: str, slots: int, job: Job, at: float) -> bool:
        """Take one of the slots of a resource that all workers share; False when all are taken. It is held while the worker
        lives that has the job, and until the job ends."""

    async def give_back(self, resource: str, job: Job) -> None:
        """Free the slot that the job has, if any."""


JobBody = Callable[[str], Awaitable[None]]
"""Works on the job of an id until it has ended, is parked, or is another worker's."""


class JobQueue(Protocol):
    """A queue of job ids that outlives the processes which take from it; each id is worked on at least once."""

    async def start(self, executor: str, body: JobBody) -> None:
        """Begin to take jobs, in the running event loop."""

    async def put(self, job_id: str, run: str) -> None:
        """Put a job in; the same run of the same job only once, however often it is put."""

    async def recover(self, executors: Sequence[str]) -> None:
        """Put back what these workers, which are gone, had taken."""

    async def stop(self) -> None:
        """Take no more."""


def error_of(kind: str, message: str) -> JobError:
    """An error without a target."""
    return JobError(kind=kind, message=message)
