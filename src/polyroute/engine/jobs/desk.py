"""Where surfaces order jobs, look after them and wait for them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import msgspec

from polyroute.engine.admission import check_route
from polyroute.engine.envelope import new_request_id
from polyroute.engine.gateway import Gateway
from polyroute.engine.jobs.bells import Bells
from polyroute.engine.jobs.taking import Fit, look, take_inputs
from polyroute.engine.jobs.walk import call_of
from polyroute.engine.jobs.worker import JobWorker
from polyroute.engine.lanes import Conversation
from polyroute.engine.media.lane import MediaFloor, chosen_model
from polyroute.engine.settlement import Settlement
from polyroute.ports import NO_OPTIONS, Call, Options
from polyroute.ports.jobs import JobStore
from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.jobs import Job, JobEvent, JobOrder, JobState, JobWebhook, Surface
from polyroute.types.media import MediaRequest
from polyroute.types.records import KeyRecord

_LOOK = 0.5
"""Seconds between two looks at a job that another process works on."""
_LONGEST_KEY = 256


class NewJob(msgspec.Struct, frozen=True, kw_only=True):
    """What a surface asks for. `digest` tells one body from another for the caller's `idempotency_key`. A job of the same `id`
    is the same job; None gives it a new one."""

    model: str
    id: str | None = None
    request: MediaRequest
    surface: Surface = "jobs"
    options: Options = NO_OPTIONS
    details: dict[str, Any] = {}
    webhook: JobWebhook | None = None
    idempotency_key: str | None = None
    digest: str | None = None


class JobDesk:
    """Takes orders. `deadline`: seconds that a job has unless its caller says otherwise."""

    def __init__(
        self, gateway: Gateway, floor: MediaFloor, store: JobStore, bells: Bells, worker: JobWorker | None, *,
        deadline: float,
    ) -> None:  # fmt: skip
        self.store = store
        self._gateway = gateway
        self._floor = floor
        self._bells = bells
        self.worker = worker
        self.deadline = deadline

    @property
    def floor(self) -> MediaFloor:
        """Where media lies."""
        return self._floor

    async def submit(self, new: NewJob, key: KeyRecord | None) -> Job:
        """Take an order: checked as far as it can be before anybody is asked, then durable. Raises PolyrouteError. An order
        that was taken under the same idempotency key before is not checked again."""
        if new.idempotency_key is not None and not 0 < len(new.idempotency_key) <= _LONGEST_KEY:
            raise PolyrouteError(
                ErrorKind.INVALID_REQUEST, f"'Idempotency-Key' must have 1 to {_LONGEST_KEY} characters.",
                param="Idempotency-Key",
            )  # fmt: skip
        now = time.time()
        order = JobOrder(
            id=new.id or new_request_id().replace("req_", "video_" if new.surface == "videos" else "job_", 1),
            task=new.request.task, model=new.model, request=new.request, created_at=now,
            deadline=now + (new.options.timeout or self.deadline), surface=new.surface,
            options=b"{}" if new.options is NO_OPTIONS else msgspec.json.encode(new.options),
            key_id=None if key is None else key.id, user_id=(None if key is None else key.user_id) or new.options.user,
            details=new.details, webhook=new.webhook, idempotency_key=new.idempotency_key, digest=new.digest,
        )  # fmt: skip
        if order.idempotency_key is not None and (known := await self.store.known(order)) is not None:
            return known
        call = msgspec.structs.replace(call_of(order), key=key)
        fit = self.check(call, new.request)
        if new.webhook is not None:
            await self._floor.storage.fetcher.check(new.webhook.url, "webhook")
        await self.afford(call)
        self._admit(call)
        request = await take_inputs(new.request, order, self._floor, anything=key is not None and key.operator)
        await look(fit, request, order, self._gateway, self._floor)
        job = await self.store.create(msgspec.structs.replace(order, request=request))
        if self.worker is not None:
            self.worker.nudge()
        return job

    def check(self, call: Call, request: MediaRequest) -> Fit:
        """The first who could be asked this. Raises PolyrouteError."""
        gateway, runtime = self._gateway, self._gateway.runtime
        choice = runtime.choose(call.model, call.operation)
        check_route(call, choice.name)
        now = asyncio.get_running_loop().time()
        planned = gateway.planning.plan(runtime, choice, call, now)
        refusals: list[PolyrouteError] = []
        for target in planned.plan.targets:
            provider = runtime.providers[target.provider]
            try:
                model = chosen_model(provider.row, request.task, target, call.model)
            except PolyrouteError as refusal:
                refusals.append(refusal)
                continue
            maker = None if provider.media is None else provider.media.maker(request.task, model)
            if maker is None:
                refusals.append(
                    PolyrouteError(ErrorKind.UNSUPPORTED, f"{target} cannot do {request.task}.", param="task")
                )
                continue
            try:
                maker.fit(request, model)
            except PolyrouteError as refusal:
                refusals.append(refusal)
            else:
                return Fit(target, provider, model, maker, request, len(planned.plan.targets) == 1)
        raise next((one for one in refusals if one.param not in (None, "task")), refusals[0])

    async def afford(self, call: Call) -> None:
        """Whether the budgets have what this may cost at some target. Nothing stays held: who works on it holds what it
        costs by then. Raises PolyrouteError(over_budget)."""
        gateway, runtime = self._gateway, self._gateway.runtime
        if gateway.budgets is None:
            return
        asked = msgspec.structs.replace(call)  # a soft limit changes the wishes of a call
        settlement = Settlement(asked, gateway.ledger, runtime.prices, gateway.teams)
        choice = await gateway.account(
            Conversation(asked), runtime.choose(call.model, call.operation), runtime, settlement
        )
        if settlement.hold is None:
            return
        planned = gateway.planning.plan(runtime, choice, asked, asyncio.get_running_loop().time())
        refusal = await settlement.hold.lacks(
            [(runtime.providers[target.provider], target) for target in planned.plan.targets]
        )
        if refusal is not None:
            refusal.headers = tuple(settlement.hold.headers())
            raise refusal

    def _admit(self, call: Call) -> None:
        gateway = self._gateway
        choice, now = gateway.runtime.choose(call.model, call.operation), asyncio.get_running_loop().time()
        if choice.limits is not None or (call.key is not None and call.key.limits is not None):
            # Limits are those of requests: a job counts when it is made, not while it waits at a provider.
            admitted = gateway.limits.admit(call, choice.name, choice.limits, now)
            for limiter in admitted.limiters:
                limiter.settle(call.id, now)

    # ---------------------------------------------------------------- what there is

    async def get(self, job_id: str, key: KeyRecord | None) -> Job:
        """A job of this key. Raises PolyrouteError(not_found)."""
        job = await self.store.get(job_id)
        if job is None or not _owns(job, key):
            raise PolyrouteError(ErrorKind.NOT_FOUND, f"There is no job {job_id[:80]!r}.", param="id")
        return job

    async def list(
        self, key: KeyRecord | None, *, states: Sequence[JobState] = (), surface: Surface | None = None,
        after: str | None = None, limit: int = 20, newest_first: bool = True,
    ) -> Sequence[Job]:  # fmt: skip
        """Jobs of this key."""
        return await self.store.list(
            key_id=None if key is None else key.id, states=states, surface=surface, after=after, limit=limit,
            newest_first=newest_first,
        )  # fmt: skip

    async def cancel(self, job_id: str, key: KeyRecord | None, *, patience: float = 5.0) -> Job:
        """Ask for a job to be stopped, at its provider too; gives the job as it stands, ended as a rule."""
        await self.get(job_id, key)
        await self.store.request_cancel(job_id)
        if self.worker is not None:
            self.worker.runner.cancel(job_id)
            self.worker.nudge()
        return await self.wait(job_id, patience)

    async def remove(self, job_id: str, key: KeyRecord | None) -> None:
        """Forget a job: it is stopped first when it is under way. Raises PolyrouteError."""
        job = await self.cancel(job_id, key)
        if not await self.store.remove(job_id) and not job.ended:
            raise PolyrouteError(
                ErrorKind.UNAVAILABLE,
                f"The job {job_id} is being stopped; it can be deleted in a moment.",
                retry_after=2,
            )

    async def called_back(self, provider: str, handle_id: str) -> None:
        """A provider reported on accepted work: whoever waits for it looks at once. Nothing for work that is not ours."""
        job_id = await self.store.called_back(provider, handle_id)
        if job_id is not None and self.worker is not None:
            self.worker.runner.wake(job_id)

    async def wait(self, job_id: str, seconds: float) -> Job:
        """The job when it has ended (or is parked), or as it stands after so many seconds."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while True:
            job = await self.store.get(job_id)
            if job is None:
                raise PolyrouteError(ErrorKind.NOT_FOUND, f"There is no job {job_id[:80]!r}.", param="id")
            left = until - loop.time()
            if job.ended or job.state is JobState.NEEDS_ATTENTION or left <= 0:
                return job
            await self._bells.wait(job_id, min(left, _LOOK))

    async def follow(self, job_id: str, after: int, heartbeat: float = 15.0) -> AsyncGenerator[JobEvent | None]:
        """What happened to a job since event `after`, and what happens; None from time to time while nothing does. Ends
        with the job."""
        loop = asyncio.get_running_loop()
        told_at = loop.time()
        while True:
            job = await self.store.get(job_id)
            events = await self.store.events(job_id, after)
            for event in events:
                after = event.number
                yield event
            if events:
                told_at = loop.time()
            elif job is None or job.ended:
                return
            elif loop.time() - told_at >= heartbeat:
                told_at = loop.time()
                yield None
            if not events:
                await self._bells.wait(job_id, _LOOK)


def _owns(job: Job, key: KeyRecord | None) -> bool:
    return job.order.key_id == (None if key is None else key.id)
