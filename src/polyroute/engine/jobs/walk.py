"""One job's way through its plan: the same execution as any request's, begun anew or gone on with where it stood."""

from __future__ import annotations

import asyncio
import time

import msgspec

from polyroute.engine.admission import Admission
from polyroute.engine.answers import WholeAnswer
from polyroute.engine.envelope import read_fields
from polyroute.engine.execute import Accepted, Execution, LongWork
from polyroute.engine.gateway import Gateway
from polyroute.engine.jobs.bells import Bells
from polyroute.engine.jobs.places import Places, places_of
from polyroute.engine.jobs.tracker import JobTracker, attempt_record
from polyroute.engine.lanes import Conversation
from polyroute.engine.media.lane import MediaFloor, media_opener
from polyroute.engine.media.work import MediaWork
from polyroute.engine.planning import NoTarget
from polyroute.engine.runtime import Runtime
from polyroute.engine.settlement import Settlement
from polyroute.ports import NO_OPTIONS, Call, Options
from polyroute.ports.jobs import Claim, JobStore
from polyroute.types.errors import ErrorKind, Failure, PolyrouteError
from polyroute.types.jobs import JobAttempt, JobOrder
from polyroute.types.media import OPERATION_OF_TASK, Made
from polyroute.types.operations import MEDIA_DIALECT_OF
from polyroute.types.plans import Target
from polyroute.types.records import KeyRecord

_MOST_RESUBMITS = 3
_FULL_PAUSE = 1.0
"""Seconds between two looks at providers that take no more for now."""


class Parked(Exception):
    """Only an operator can say how this job goes on."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


def call_of(order: JobOrder, admission: Admission | None = None) -> Call:
    """The call that a job is. `admission` knows its key's name and limits; without it the key is known by its id alone."""
    operation = OPERATION_OF_TASK[order.task]
    body = msgspec.json.encode(order.request)
    key = None
    if order.key_id is not None:
        key = KeyRecord(
            id=order.key_id, name=order.key_id, digest=b"", prefix="", created_at=0.0, user_id=order.user_id
        )
        if admission is not None and (known := admission.known(order.key_id)) is not None:
            key = msgspec.structs.replace(known, user_id=order.user_id)
    options = NO_OPTIONS if order.options == b"{}" else msgspec.json.decode(order.options, type=Options)
    return Call(
        id=order.id, operation=operation, dialect=MEDIA_DIALECT_OF[operation], model=order.model, stream=False, body=body,
        content_type=b"application/json", fields=read_fields(body), options=options, key=key,
    )  # fmt: skip


class JobWalk:
    """A claimed job under way."""

    def __init__(
        self, claim: Claim, gateway: Gateway, floor: MediaFloor, store: JobStore, bells: Bells, places: Places, *,
        patience: float, slots: int,
    ) -> None:  # fmt: skip
        """`patience`: seconds that one provider gets, where others are left; `slots`: jobs at a local provider at once."""
        self._gateway = gateway
        self._floor = floor
        self._patience = patience
        self._job = claim.job
        self._runtime: Runtime = gateway.runtime
        self.call = call_of(claim.job.order, gateway.admission)
        self._conversation = Conversation(self.call)
        self.settlement = Settlement(self.call, gateway.ledger, self._runtime.prices, gateway.teams)
        failed = [attempt_record(one) for one in claim.attempts if one.phase == "failed"]
        self.settlement.resume(claim.job.order.created_at, failed)
        self.tracker = JobTracker(
            claim, store, self.settlement, floor.storage.artifacts, bells, places=places,
            limited=places_of(self._runtime.providers, slots),
        )  # fmt: skip
        # What nobody knew the outcome of is tried again: an operator decided so, or the job would not be here.
        self._failed_before = {
            Target(one.provider, one.model)
            for one in claim.attempts
            if one.phase == "failed" and one.error_kind != ErrorKind.UNKNOWN_OUTCOME
        }

    async def run(self) -> Made:
        """What was made, settled. Raises PolyrouteError, settled; Parked and CancelledError, not settled."""
        work = MediaWork(self.call, None, self._floor.storage, self.tracker)
        try:
            return await self._walk(work)
        except PolyrouteError as error:
            error.request_id = self.call.id
            if isinstance(error, NoTarget):
                self.settlement.planned(error.planned)
            await self.tracker.ended()
            self.settlement.refused(error)
            raise
        finally:
            await work.aclose()

    async def _walk(self, work: MediaWork) -> Made:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._job.order.deadline - time.time()
        accepted = self._accepted()
        resubmitted = 0
        while True:
            try:
                execution = await self._execution(work, accepted, loop, deadline)
                answer = await execution.run()
            except PolyrouteError as error:
                begun = self.settlement.failures
                last = begun[-1][1] if begun else None
                pending = self.tracker.pending
                if last is not None and last.kind is ErrorKind.UNKNOWN_OUTCOME and pending is not None:
                    resubmitted += 1
                    if not self.tracker.resubmits or resubmitted > _MOST_RESUBMITS or pending.handle is not None:
                        await self.tracker.parked(last)
                        raise Parked(last) from error
                    accepted = _accepted_of(pending)
                    continue
                if begun or error.kind not in (ErrorKind.RATE_LIMITED, ErrorKind.UNAVAILABLE):
                    raise
                wait = max(min(error.retry_after or _FULL_PAUSE, 10.0), 0.05)
                if loop.time() + wait >= deadline:
                    raise
                await asyncio.sleep(wait)  # nobody takes it for now, and it was asked of nobody
                continue
            assert isinstance(answer, WholeAnswer)
            self.tracker.served()
            return msgspec.json.decode(answer.body, type=Made)

    async def _execution(
        self, work: MediaWork, accepted: Accepted | None, loop: asyncio.AbstractEventLoop, deadline: float
    ) -> Execution:
        gateway, runtime, call, conversation = self._gateway, self._runtime, self.call, self._conversation
        choice = runtime.choose(call.model, call.operation)
        self.settlement.record.model_id = choice.model_id
        if self.settlement.hold is None and (gateway.budgets is not None or runtime.catalog.credits):
            choice = await gateway.account(conversation, choice, runtime, self.settlement)
        planned = gateway.planning.plan(runtime, choice, call, loop.time(), allow_empty=accepted is not None)
        if self._failed_before:
            left = tuple(one for one in planned.plan.targets if one not in self._failed_before)
            planned.plan = msgspec.structs.replace(planned.plan, targets=left)
        self.settlement.planned(planned)
        return Execution(
            conversation, msgspec.structs.replace(choice, hedging=None), planned, runtime, self.settlement, gateway, loop,
            loop.time(), media_opener(work, runtime.providers, self._floor.sockets), self.settlement.hold,
            LongWork(deadline=deadline, patience=self._patience, accepted=accepted),
        )  # fmt: skip

    def _accepted(self) -> Accepted | None:
        """Where an earlier worker got to. Raises Parked when its provider or credential is not there any more."""
        pending = self.tracker.pending
        if pending is None:
            return None
        provider = self._runtime.providers.get(pending.provider)
        what = None
        if provider is None:
            what = f"the provider {pending.provider}"
        elif not provider.access.holds(pending.credential):
            what = f"the credential {pending.credential} of {pending.provider}"
        if what is not None:
            message = f"This work was begun with {what}, which is not in the configuration any more."
            raise Parked(Failure(kind=ErrorKind.UNKNOWN_OUTCOME, message=message))
        return _accepted_of(pending)


def _accepted_of(attempt: JobAttempt) -> Accepted:
    return Accepted(Target(attempt.provider, attempt.model), attempt.credential)
