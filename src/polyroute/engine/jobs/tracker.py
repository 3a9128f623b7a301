"""Follows one job through its attempts and writes down each step before the next one is taken."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from typing import Any, TypeVar

import msgspec

from polyroute.engine.jobs.bells import Bells
from polyroute.engine.jobs.places import Places
from polyroute.engine.settlement import Settlement
from polyroute.ports import ArtifactStore, Intake
from polyroute.ports.jobs import Claim, JobLost, JobStore
from polyroute.types.errors import AttemptFailed, ErrorKind, Failure, PolyrouteError
from polyroute.types.jobs import Job, JobAttempt
from polyroute.types.media import Handle, Produced, Progress
from polyroute.types.plans import Target
from polyroute.types.records import AttemptRecord

T = TypeVar("T")

_LONGEST_LOG = 2000


class JobTracker:
    """Implements `engine.media.tracking.Tracker` for a job that this worker has claimed."""

    def __init__(
        self, claim: Claim, store: JobStore, settlement: Settlement, artifacts: ArtifactStore, bells: Bells, *,
        places: Places, limited: dict[str, int],
    ) -> None:  # fmt: skip
        """`limited`: how many jobs may be at a provider at once, all workers together, where that is limited."""
        self.durable = True
        self.job: Job = claim.job
        self.resubmits = False
        self._store = store
        self._settlement = settlement
        self._artifacts = artifacts
        self._bells = bells
        self._places = places
        self._limited = limited
        self._place: str | None = None
        self._known = {attempt.number: attempt for attempt in claim.attempts}
        self.spent = sum(1 for one in claim.attempts if one.phase == "failed" and one.handle is not None)
        self._current: JobAttempt | None = None
        self.last: JobAttempt | None = None
        self._percent: float | None = claim.job.percent
        self._logs = 0
        self._nudge = asyncio.Event()

    @property
    def pending(self) -> JobAttempt | None:
        """The attempt that was begun by an earlier worker and has not ended."""
        last = self._known.get(max(self._known, default=0))
        return None if last is None or last.phase == "failed" else last

    @property
    def handle(self) -> Handle | None:
        """That of the attempt that is under way."""
        return None if self._current is None else self._current.handle

    def wake(self) -> None:
        """The provider reported back: look at once."""
        self._nudge.set()

    # ---------------------------------------------------------------- the steps

    async def placed(self, provider: str) -> None:
        """See Tracker. Work that the provider has already does not wait; a place is held until the job goes elsewhere or
        ends, as long as its worker lives."""
        if self._place not in (None, provider):
            await self._kept(self._places.give_back(self._place or "", self.job))
            self._place = None
        places = self._limited.get(provider)
        if places is None:
            return
        self._place = provider
        pending = self.pending
        accepted = pending is not None and pending.handle is not None and pending.provider == provider
        take = self._places.keep if accepted else self._places.take
        await self._kept(take(provider, places, self.job))

    async def submitting(self, target: Target, credential: str | None, key: str, *, resubmits: bool) -> Handle | None:
        """See Tracker."""
        record = self._settlement.record.attempts[-1]
        await self._note_failed(before=record.number)
        self.resubmits = resubmits
        earlier = self._known.get(record.number)
        if earlier is not None and earlier.provider == target.provider:
            record.started_at = earlier.started_at
            if earlier.handle is not None:
                self._current = earlier
                return earlier.handle
            if earlier.phase in ("intent", "unknown") and not resubmits:
                self._current = earlier
                raise AttemptFailed(
                    Failure(
                        kind=ErrorKind.UNKNOWN_OUTCOME,
                        message="The work was being handed over when its worker died; whether it was accepted is unknown.",
                    )
                )
        self._current = JobAttempt(
            number=record.number, provider=target.provider, model=target.model, credential=credential, phase="intent",
            started_at=record.started_at, idempotency_key=key,
        )  # fmt: skip
        await self._kept(self._store.intend(self.job, self._current))
        self._known[record.number] = self._current
        return None

    async def accepted(self, handle: Handle) -> None:
        """Keep the handle before anything else."""
        assert self._current is not None
        self._current = msgspec.structs.replace(self._current, phase="submitted", handle=handle)
        self._known[self._current.number] = self._current
        await self._kept(self._store.accept(self.job, self._current.number, handle))

    async def refused(self) -> None:
        """What the provider said of it is written down with the next step."""
        if self._current is not None:
            self._current = msgspec.structs.replace(self._current, phase="failed", ended_at=time.time())
            await self._kept(self._store.close_attempt(self.job, self._current))
            self._known[self._current.number] = self._current

    async def failed(self, failure: Failure) -> None:
        """Accepted work failed for good."""
        self.spent += 1
        if self._current is not None:
            self._current = _with_failure(self._current, failure)
            await self._kept(self._store.close_attempt(self.job, self._current))
            self._known[self._current.number] = self._current

    async def progress(self, progress: Progress) -> None:
        """Written down where something changed."""
        events: list[tuple[str, dict[str, Any]]] = []
        percent = None if progress.percent is None else round(min(max(progress.percent, 0.0), 100.0), 1)
        if percent is not None and self._percent is not None and percent <= self._percent:
            percent = None  # told once, and never backwards, whoever had the job before
        if percent is not None:
            self._percent = percent
            told: dict[str, Any] = {"state": progress.state, "percent": percent}
            if progress.queue_position is not None:
                told["queue_position"] = progress.queue_position
            events.append(("progress", told))
        events += [("log", {"message": line[:_LONGEST_LOG]}) for line in progress.logs[self._logs :]]
        self._logs = max(self._logs, len(progress.logs))
        previews = [await self._preview(preview) for preview in progress.previews]
        events += [("preview", stored) for stored in previews if stored is not None]
        if events:
            await self._kept(self._store.progress(self.job, time.time(), percent, events))
            self._bells.ring(self.job.id)

    async def woken(self, seconds: float) -> None:
        """Sleep, or less."""
        try:
            async with asyncio.timeout(seconds):
                await self._nudge.wait()
        except TimeoutError:
            if not self.durable:  # the job was cancelled in the same moment, which the timer's own cancellation hides
                raise asyncio.CancelledError from None
            return
        self._nudge.clear()

    async def _kept(self, change: Awaitable[T]) -> T:
        """A change in the store. A database that stays away is no failure of the provider's: the job is left as it is."""
        try:
            return await change
        except PolyrouteError as error:
            raise JobLost(self.job.id) from error

    # ---------------------------------------------------------------- at the end

    def served(self) -> None:
        """The attempt that is under way gave the result; `last` tells so, and is written down with the job's end."""
        if self._current is not None:
            self.last = msgspec.structs.replace(self._current, phase="succeeded", ended_at=time.time())

    async def parked(self, failure: Failure) -> None:
        """Nobody knows whether the attempt that is under way was accepted, or what became of it."""
        await self._note_failed(before=len(self._settlement.record.attempts))
        if self._current is not None:
            told = _with_failure(self._current, failure)
            told = msgspec.structs.replace(
                told, phase=self._current.phase if self._current.handle else "unknown", ended_at=None
            )
            await self._kept(self._store.close_attempt(self.job, told))

    async def ended(self) -> None:
        """The job ends: what failed and was not written down yet."""
        await self._note_failed(before=len(self._settlement.record.attempts) + 1)

    async def _note_failed(self, before: int) -> None:
        """Attempts that failed are kept with what they answered, so that the ledger has them whoever ends the job."""
        for record in self._settlement.record.attempts:
            known = self._known.get(record.number)
            if record.number >= before or record.outcome != "failed" or not record.error_kind:
                continue
            if known is None or known.phase != "failed" or known.error_kind is None:
                told = _failed_attempt(record, known)
                await self._kept(self._store.close_attempt(self.job, told))
                self._known[record.number] = told

    async def _preview(self, preview: Produced) -> dict[str, Any] | None:
        if preview.data is None:
            return None
        try:
            stored = await self._artifacts.put(
                preview.data,
                Intake(
                    origin=f"job {self.job.id}", declared=preview.media_type, retain=3600, owner=self.job.order.key_id
                ),
            )
        except PolyrouteError:
            return None  # a preview that is no picture is none
        return {"artifact": stored.id, "media_type": stored.media_type}


def _with_failure(attempt: JobAttempt, failure: Failure) -> JobAttempt:
    return msgspec.structs.replace(
        attempt, phase="failed", ended_at=time.time(), http_status=failure.http_status, error_kind=failure.kind.value,
        error_message=failure.message, error_detail=failure.detail,
    )  # fmt: skip


def _failed_attempt(record: AttemptRecord, known: JobAttempt | None) -> JobAttempt:
    return JobAttempt(
        number=record.number, provider=record.provider, model=record.model if known is None else known.model,
        phase="failed", started_at=record.started_at, credential=record.credential,
        idempotency_key=None if known is None else known.idempotency_key,
        handle=None if known is None else known.handle, ended_at=record.started_at + record.duration_ms / 1000,
        http_status=record.http_status, error_kind=record.error_kind, error_message=record.error_message,
        error_detail=record.error_detail,
    )  # fmt: skip


def attempt_record(attempt: JobAttempt) -> AttemptRecord:
    """A failed attempt of a job as the ledger has it."""
    ended = attempt.ended_at if attempt.ended_at is not None else attempt.started_at
    return AttemptRecord(
        number=attempt.number, provider=attempt.provider, model=attempt.model, started_at=attempt.started_at,
        duration_ms=(ended - attempt.started_at) * 1000, credential=attempt.credential, http_status=attempt.http_status,
        error_kind=attempt.error_kind or ErrorKind.UNAVAILABLE.value, error_message=attempt.error_message,
        error_detail=attempt.error_detail,
    )  # fmt: skip
