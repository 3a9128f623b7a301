"""A pipeline's way through its steps. All that it needs to go on lies in the store: the jobs of its steps, and an event for
each chat that was answered; a worker that takes over begins where the last one stood."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from decimal import Decimal
from itertools import count
from typing import Any

import msgspec

from polyroute.engine.gateway import Gateway
from polyroute.engine.jobs.bells import Bells
from polyroute.engine.jobs.desk import JobDesk, NewJob
from polyroute.engine.jobs.walk import call_of
from polyroute.engine.pipelines.steps import (
    chat_call,
    failed,
    media_request,
    options_of,
    result_of,
    run_chat,
    wait_for_turn,
)
from polyroute.engine.pipelines.templates import TemplateError, fill
from polyroute.engine.pipelines.values import StepValues
from polyroute.ports.jobs import Claim, JobEnd
from polyroute.ports.pipelines import PipelineStore
from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.jobs import Job, JobError, JobEvent, JobState
from polyroute.types.media import Made
from polyroute.types.pipelines import Pipeline, Step, StepResult

EVENT = "step"
_LOOK = 0.5
"""Seconds between two looks at a step's job that another process works on."""
_OVER = frozenset({"succeeded", "skipped"})
_STOPPING = 10.0


def pipeline_of(job: Job) -> Pipeline:
    """The declaration that a pipeline's job keeps."""
    return msgspec.convert(job.order.details["pipeline"], Pipeline)


def round_of(job: Job) -> int:
    """How often a pipeline was taken up again."""
    found: int = job.order.details.get("round", 0)
    return found


def child_id(job: Job, step: Step) -> str:
    """The id of a step's job in the present round."""
    number = round_of(job)
    return f"{job.id}.{step.id}" + (f".{number}" if number else "")


def known_results(children: Sequence[Job], events: Sequence[JobEvent]) -> dict[str, StepResult]:
    """What is known of a pipeline's steps, the latest of each. What was skipped stays so, whatever its job says."""
    results: dict[str, StepResult] = {}
    skipped: dict[str, StepResult] = {}
    for event in events:
        data = event.data
        final = data.get("final")
        found = msgspec.convert(final, StepResult) if final else StepResult(state=data["state"], job=data.get("job"))
        (skipped if found.state == "skipped" else results)[data["step"]] = found
    return results | {child.id.split(".")[1]: result_of(child) for child in children} | skipped


class PipelineWalk:
    """A claimed pipeline under way."""

    def __init__(self, claim: Claim, gateway: Gateway, desk: JobDesk, store: PipelineStore, bells: Bells) -> None:
        self.job = claim.job
        self.pipeline = pipeline_of(claim.job)
        self.results: dict[str, StepResult] = {}
        self._gateway = gateway
        self._desk = desk
        self._store = store
        self._bells = bells
        self._key = call_of(claim.job.order, gateway.admission).key
        self._told: float = claim.job.percent or 0.0
        self._percents: dict[str, float] = {}

    async def run(self) -> None:
        """Do what is left to do. `results` tell what became of it. Raises JobLost."""
        self.results = await self._load()
        under_way: dict[asyncio.Task[StepResult], Step] = {}
        try:
            while True:
                if not self._is_stuck():
                    for step in self._ready({one.id for one in under_way.values()}):
                        under_way[asyncio.create_task(self._do(step))] = step
                if not under_way:
                    return
                over, _ = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
                for task in over:
                    step = under_way.pop(task)
                    await self._keep(step, task.result())
        finally:
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

    async def _load(self) -> dict[str, StepResult]:
        """The steps that are over, in whatever round. A job that failed in this one is found again by its step."""
        children = await self._store.children(self.job.id)
        results = known_results(children, await self._store.named_events(self.job.id, EVENT))
        return {name: one for name, one in results.items() if one.state in _OVER}

    def _is_stuck(self) -> bool:
        return any(one.state not in _OVER for one in self.results.values())

    def _ready(self, under_way: set[str]) -> list[Step]:
        return [
            step
            for step in self.pipeline.steps
            if step.id not in self.results and step.id not in under_way and self.results.keys() >= set(step.needs)
        ]

    async def _keep(self, step: Step, result: StepResult) -> None:
        """A step is over: written down before anything else is begun."""
        if result.state == "failed" and step.optional:
            result = msgspec.structs.replace(result, state="skipped")
        self.results[step.id] = result
        told: dict[str, Any] = {"step": step.id, "state": result.state}
        for name in ("job", "provider", "provider_model"):
            if getattr(result, name) is not None:
                told[name] = getattr(result, name)
        if result.error is not None:
            told["error"] = {"kind": result.error.kind, "message": result.error.message}
        if result.text is not None:
            told["text"] = result.text
        if step.task is None or result.made is None:  # a job tells the rest by itself
            told["final"] = msgspec.to_builtins(result)
        await self._tell(told)

    async def _tell(self, event: dict[str, Any] | None = None) -> None:
        """How far the whole is; told when it changed by a hundredth, and with every event."""
        whole = sum(step.weight for step in self.pipeline.steps)
        done = sum(step.weight * self._share(step) for step in self.pipeline.steps)
        percent = round(100.0 * done / whole, 1)
        moved = percent >= self._told + 1.0
        if event is None and not moved:
            return
        events = [] if event is None else [(EVENT, event)]
        if moved:
            self._told = percent
            events.append(("progress", {"state": "running", "percent": percent}))
        await self._store.progress(self.job, time.time(), max(percent, self._told), events)
        self._bells.ring(self.job.id)

    def _share(self, step: Step) -> float:
        found = self.results.get(step.id)
        if found is not None:
            return 1.0 if found.state in _OVER else 0.0
        return self._percents.get(step.id, 0.0) / 100.0

    # ---------------------------------------------------------------- one step

    async def _do(self, step: Step) -> StepResult:
        """A step from where it stands. Raises JobLost."""
        try:
            if step.task is None:
                return await self._chat(step)
            child = await self._store.get(child_id(self.job, step)) or await self._earlier(step)
            if child is None:
                child = await self._submit(step)
            return await self._await(step, child)
        except PolyrouteError as error:
            if self._store.is_away(error):
                raise
            return failed(error)

    def _fill(self, step: Step) -> dict[str, Any]:
        try:
            return fill(step.fields, StepValues(self.job.order.details["input"], self.results))
        except TemplateError as error:
            raise PolyrouteError(ErrorKind.INVALID_REQUEST, f"Step '{step.id}': {error}.") from error

    async def _chat(self, step: Step) -> StepResult:
        await self._tell({"step": step.id, "state": "running"})
        fields = self._fill(step)
        for number in count():
            again = f".{number}" if number else ""  # what was refused has a row of its own in the ledger
            call = chat_call(step, fields, f"{child_id(self.job, step)}-{self.job.epoch}{again}", self._key)
            try:
                async with asyncio.timeout(self._left()):
                    return await run_chat(self._gateway, call)
            except TimeoutError:
                raise PolyrouteError(ErrorKind.TIMEOUT, "The pipeline's time is over.") from None
            except PolyrouteError as error:
                await wait_for_turn(error, self.job.order.deadline)
        raise AssertionError("unreachable: the numbers do not end")

    async def _earlier(self, step: Step) -> Job | None:
        """The step's job of an earlier round, where that is still under way or was parked."""
        children = [one for one in await self._store.children(self.job.id) if one.id.split(".")[1] == step.id]
        return children[-1] if children and not children[-1].ended else None

    async def _submit(self, step: Step) -> Job:
        request = media_request(step, self._fill(step))
        options = options_of(step)
        options = msgspec.structs.replace(options, timeout=min(options.timeout or self._left(), self._left()))
        new = NewJob(
            model=step.model, request=request, id=child_id(self.job, step), options=options,
            details={"pipeline": self.job.id, "step": step.id},
        )  # fmt: skip
        while True:
            try:
                return await self._desk.submit(new, self._key)
            except PolyrouteError as error:
                await wait_for_turn(error, self.job.order.deadline)

    async def _await(self, step: Step, child: Job) -> StepResult:
        await self._tell({"step": step.id, "state": "running", "job": child.id})
        while True:
            if child.ended or child.state is JobState.NEEDS_ATTENTION:
                return result_of(child)
            if child.percent is not None:
                self._percents[step.id] = child.percent
                await self._tell()
            await self._bells.wait(child.id, _LOOK)
            found = await self._store.get(child.id)
            if found is None:
                raise PolyrouteError(ErrorKind.NOT_FOUND, f"The job {child.id} was deleted.")
            child = found

    def _left(self) -> float:
        return max(self.job.order.deadline - time.time(), 0.001)


class Pipelines:
    """Works on pipelines that this process has claimed: `engine.jobs.runner.Composite`."""

    def __init__(self, gateway: Gateway, desk: JobDesk, store: PipelineStore, bells: Bells) -> None:
        self._gateway = gateway
        self._desk = desk
        self._store = store
        self._bells = bells

    async def run(self, claim: Claim) -> JobEnd:
        """Work on one until it has ended or is parked."""
        if claim.job.cancel_requested:
            return await self.cancelled(claim)
        if claim.job.abandoned:
            end = await self.cancelled(claim)
            error = JobError(kind=ErrorKind.UNKNOWN_OUTCOME.value, message="An operator gave up on this pipeline.")
            return msgspec.structs.replace(end, state=JobState.FAILED, error=error)
        walk = PipelineWalk(claim, self._gateway, self._desk, self._store, self._bells)
        await walk.run()
        return end_of(walk.job, walk.pipeline, walk.results)

    async def cancelled(self, claim: Claim) -> JobEnd:
        """Stop the jobs of its steps."""
        job = claim.job
        children = [child for child in await self._store.children(job.id) if not child.ended]
        for child in children:
            await self._store.request_cancel(child.id)
            if self._desk.worker is not None:
                self._desk.worker.runner.cancel(child.id)
        await asyncio.gather(*(self._desk.wait(child.id, _STOPPING) for child in children), return_exceptions=True)
        found = await self._store.children(job.id)
        results = known_results(found, await self._store.named_events(job.id, EVENT))
        return JobEnd(
            state=JobState.CANCELLED, at=time.time(), cost_usd=_cost(results),
            error=JobError(kind=ErrorKind.CANCELLED.value, message="The pipeline was cancelled."),
        )  # fmt: skip


def end_of(job: Job, pipeline: Pipeline, results: dict[str, StepResult]) -> JobEnd:
    """How a pipeline ends with these results."""
    cost = _cost(results)
    now = time.time()
    for step in pipeline.steps:
        result = results.get(step.id)
        if result is None or result.state in _OVER:
            continue
        told = result.error or JobError(
            kind=ErrorKind.CANCELLED.value, message=f"The job {result.job} was {result.state}."
        )
        state = JobState.FAILED
        if result.state == "needs_attention":
            state = JobState.NEEDS_ATTENTION
        elif now >= job.order.deadline - 1.0 and told.kind == ErrorKind.TIMEOUT:
            state = JobState.EXPIRED
        message = told.message if told.message.startswith("Step ") else f"Step '{step.id}': {told.message}"
        return JobEnd(state=state, at=now, error=msgspec.structs.replace(told, message=message), cost_usd=cost)
    output = results[pipeline.output]
    made = output.made or Made()
    return JobEnd(
        state=JobState.SUCCEEDED, at=now, result=msgspec.structs.replace(made, text=output.text), cost_usd=cost,
        provider=output.provider, provider_model=output.provider_model,
    )  # fmt: skip


def _cost(results: dict[str, StepResult]) -> Decimal | None:
    known = [one.cost_usd for one in results.values() if one.cost_usd is not None]
    return sum(known, Decimal(0)) if known else None
