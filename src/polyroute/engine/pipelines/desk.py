"""Where pipelines are ordered, looked at and taken up again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from polyroute.engine.admission import check_route
from polyroute.engine.envelope import invalid, new_request_id
from polyroute.engine.gateway import Gateway
from polyroute.engine.jobs.desk import JobDesk
from polyroute.engine.jobs.walk import call_of
from polyroute.engine.pipelines.reading import in_step, read_input
from polyroute.engine.pipelines.steps import chat_call, media_request, options_of
from polyroute.engine.pipelines.templates import TemplateError, fill, templates_in
from polyroute.engine.pipelines.values import StandIns
from polyroute.engine.pipelines.walk import EVENT, known_results, pipeline_of
from polyroute.ports import NO_OPTIONS, Call, Options
from polyroute.ports.pipelines import PipelineStore
from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.jobs import Job, JobOrder, JobState, JobWebhook
from polyroute.types.media import MediaRequest, Task
from polyroute.types.pipelines import Pipeline, Step, StepResult
from polyroute.types.records import KeyRecord

_NOBODY = frozenset({ErrorKind.NOT_FOUND, ErrorKind.MODEL_NOT_FOUND, ErrorKind.UNSUPPORTED})
_PASSING = frozenset({ErrorKind.RATE_LIMITED, ErrorKind.UNAVAILABLE})


class NewPipeline(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller asks for. `given` is the input."""

    pipeline: Pipeline
    given: Any = None
    options: Options = NO_OPTIONS
    webhook: JobWebhook | None = None
    idempotency_key: str | None = None
    digest: str | None = None


class PipelineDesk:
    """Takes pipelines, beside the desk of jobs that looks after them."""

    def __init__(self, gateway: Gateway, jobs: JobDesk, store: PipelineStore) -> None:
        self.jobs = jobs
        self._gateway = gateway
        self._store = store

    async def submit(self, new: NewPipeline, key: KeyRecord | None) -> Job:
        """Take a pipeline: every step is checked as far as it can be before any is begun, then it is durable.

        Raises PolyrouteError naming the step and the field.
        """
        pipeline = new.pipeline
        given = read_input(pipeline, new.given)
        steps = self.check(pipeline, given, key)
        if new.webhook is not None:
            await self.jobs.floor.storage.fetcher.check(new.webhook.url, "webhook")
        for number, call in steps.items():
            try:
                await self.jobs.afford(call)
            except PolyrouteError as error:
                raise in_step(error, number, pipeline.steps[number]) from error
        now = time.time()
        order = JobOrder(
            id=new_request_id().replace("req_", "pipe_", 1), task=Task.COMPOSE, model=pipeline.name,
            request=MediaRequest(task=Task.COMPOSE), created_at=now,
            deadline=now + (new.options.timeout or self.jobs.deadline), surface="pipelines",
            options=b"{}" if new.options is NO_OPTIONS else msgspec.json.encode(new.options),
            key_id=None if key is None else key.id, user_id=(None if key is None else key.user_id) or new.options.user,
            details={"pipeline": msgspec.to_builtins(pipeline), "input": given}, webhook=new.webhook,
            idempotency_key=new.idempotency_key, digest=new.digest,
        )  # fmt: skip
        job = await self._store.create(order)
        self._nudge()
        return job

    def check(self, pipeline: Pipeline, given: Mapping[str, Any], key: KeyRecord | None) -> Mapping[int, Call]:
        """Whether somebody could do each step: about the calls of those that somebody can, by number. Raises PolyrouteError."""
        stand_ins = StandIns(pipeline, given)
        calls: dict[int, Call] = {}
        for number, step in enumerate(pipeline.steps):
            try:
                calls[number] = self._check_step(step, _known_fields(step), stand_ins, key)
            except TemplateError as error:
                raise invalid(f"'steps[{number}]': {error}.", f"steps[{number}]") from error
            except PolyrouteError as error:
                if (step.optional and error.kind in _NOBODY) or error.kind in _PASSING:
                    continue
                raise in_step(error, number, step) from error

        return calls

    def _check_step(self, step: Step, fields: dict[str, Any], stand_ins: StandIns, key: KeyRecord | None) -> Call:
        options = options_of(step)
        filled = fill(fields, stand_ins)
        if step.task is None:
            call = chat_call(step, filled, "check", key)
            choice = self._gateway.runtime.choose(call.model, call.operation)
            check_route(call, choice.name)
            self._gateway.planning.plan(self._gateway.runtime, choice, call, asyncio.get_running_loop().time())
            return call
        request = media_request(step, filled)
        order = JobOrder(
            id="check", task=step.task, model=step.model, request=request, created_at=0.0, deadline=0.0,
            options=msgspec.json.encode(options), key_id=None if key is None else key.id,
        )  # fmt: skip
        call = msgspec.structs.replace(call_of(order), key=key)
        self.jobs.check(call, request)
        return call

    # ---------------------------------------------------------------- what there is

    async def get(self, pipeline_id: str, key: KeyRecord | None) -> Job:
        """A pipeline of this key. Raises PolyrouteError(not_found)."""
        refusal = PolyrouteError(ErrorKind.NOT_FOUND, f"There is no pipeline {pipeline_id[:80]!r}.", param="id")
        try:
            job = await self.jobs.get(pipeline_id, key)
        except PolyrouteError as error:
            raise (refusal if error.kind is ErrorKind.NOT_FOUND else error) from error
        if job.order.surface != "pipelines":
            raise refusal
        return job

    async def steps(self, job: Job) -> list[tuple[Step, StepResult]]:
        """A pipeline's steps in the order of their writing, as they stand."""
        children = await self._store.children(job.id)
        results = known_results(children, await self._store.named_events(job.id, EVENT))
        waiting = StepResult(state="waiting")
        return [(step, results.get(step.id, waiting)) for step in pipeline_of(job).steps]

    async def resume(self, pipeline_id: str, key: KeyRecord | None) -> Job:
        """Take a pipeline up again that failed, expired or was cancelled: what is done is kept, what failed is done anew.

        Raises PolyrouteError (invalid_request, with status 409) for one that is under way, waits for an operator or is done.
        """
        job = await self.get(pipeline_id, key)
        now = time.time()
        again = await self._store.reopen(job.id, now, now + job.order.deadline - job.order.created_at)
        if again is None:
            raise PolyrouteError(
                ErrorKind.INVALID_REQUEST,
                f"The pipeline {job.id} is {job.state}; one that is {JobState.FAILED}, {JobState.EXPIRED} or "
                f"{JobState.CANCELLED} can be taken up again.", param="id", status=409,
            )  # fmt: skip
        self._nudge()
        return again

    def _nudge(self) -> None:
        if self.jobs.worker is not None:
            self.jobs.worker.nudge()


def _known_fields(step: Step) -> dict[str, Any]:
    """The fields whose sort is known beforehand: JSON that a chat will write may be anything."""
    if step.task is None:
        return step.fields
    return {
        name: value
        for name, value in step.fields.items()
        if name in ("prompt", "text", "input", "timeline")
        or not any(one.path[:1] == ("json",) for alternatives in templates_in(value) for one in alternatives)
    }
