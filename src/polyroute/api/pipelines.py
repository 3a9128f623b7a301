"""`/v1/pipelines`: several steps as one durable job."""

from __future__ import annotations

import re
from contextlib import aclosing
from typing import Any
from urllib.parse import parse_qs, unquote

import msgspec

from polyroute.api.exchange import AsgiExchange
from polyroute.api.job_objects import Link, artifact_object, event_bytes, result_fields
from polyroute.api.jobs import (
    JSON,
    digest_of,
    header,
    job_headers,
    link_to,
    read_json,
    read_patience,
    read_webhook,
    read_whole,
)
from polyroute.api.requests import Head, Receive, Scope, Send, read_body, read_head
from polyroute.engine.envelope import invalid, read_options
from polyroute.engine.gateway import Gateway
from polyroute.engine.pipelines.desk import NewPipeline, PipelineDesk
from polyroute.engine.pipelines.reading import read_pipeline
from polyroute.ports import Headers
from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.jobs import Job, JobEvent, JobState
from polyroute.types.pipelines import Step, StepResult
from polyroute.types.records import KeyRecord

_PATTERN = re.compile(r"/v1/pipelines(?:/([^/]+)(?:/(events|resume))?)?")
_OURS = ("input", "polyroute", "async", "webhook")
"""Fields of the request that are not the declaration's."""


class PipelinePaths:
    """The paths of pipelines. `wait`: seconds for which a call waits that says only that it wants to."""

    def __init__(self, gateway: Gateway, desk: PipelineDesk, *, wait: float, max_body: int) -> None:
        self._gateway = gateway
        self._desk = desk
        self._wait = wait
        self._max_body = max_body
        self._link: Link = lambda identifier: link_to(desk.jobs, identifier)

    @staticmethod
    def serves(path: str) -> bool:
        """Whether a path is one of these."""
        return path == "/v1/pipelines" or path.startswith("/v1/pipelines/")

    async def answer(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        """One request. Raises PolyrouteError (before the answer begins), ClientGone."""
        head = read_head(scope["headers"])
        key = self._gateway.admission.admit(head.credential)
        exchange = AsgiExchange(scope, receive, send)
        method, path = scope["method"], scope["path"].rstrip("/")
        found = _PATTERN.fullmatch(path)
        identifier = unquote(found[1]) if found is not None and found[1] else ""
        match method, bool(identifier), found[2] if found is not None else "":
            case "POST", False, None:
                await self._create(scope, receive, exchange, head, key)
            case "GET", False, None:
                await exchange.answer(200, JSON, await self._list(scope["query_string"], key))
            case "GET", True, None:
                job = await self._desk.get(identifier, key)
                patience = read_patience(scope["headers"], None, self._wait)
                if patience.wait:
                    job = await self._desk.jobs.wait(job.id, patience.wait)
                await self._tell(exchange, job, 200, JSON)
            case "DELETE", True, None:
                await self._desk.get(identifier, key)
                await self._tell(exchange, await self._desk.jobs.cancel(identifier, key), 200, JSON)
            case "POST", True, "resume":
                job = await self._desk.resume(identifier, key)
                await self._tell(exchange, job, 202, _headers(job))
            case "GET", True, "events":
                await self._follow(scope, exchange, identifier, key)
            case _:
                raise PolyrouteError(ErrorKind.NOT_FOUND, f"There is no {method} {path} here.")

    async def _create(
        self, scope: Scope, receive: Receive, exchange: AsgiExchange, head: Head, key: KeyRecord | None
    ) -> None:
        body = await read_body(receive, head, self._max_body)
        values = read_json(body)
        given, options, waits, webhook = (values.pop(name, None) for name in _OURS)
        patience = read_patience(scope["headers"], waits, self._wait)
        new = NewPipeline(
            pipeline=read_pipeline(values), given=given, webhook=read_webhook(webhook),
            options=read_options(None if options is None else msgspec.Raw(msgspec.json.encode(options)), head.options),
            idempotency_key=header(scope["headers"], b"idempotency-key"), digest=digest_of(b"pipelines", body),
        )  # fmt: skip
        job = await self._desk.submit(new, key)
        if patience.wait:
            job = await self._desk.jobs.wait(job.id, patience.wait)
        await self._tell(exchange, job, 200 if job.ended else 202, _headers(job))

    async def _tell(self, exchange: AsgiExchange, job: Job, status: int, headers: Headers) -> None:
        await exchange.answer(status, headers, msgspec.json.encode(await self._object(job)))

    async def _object(self, job: Job) -> dict[str, Any]:
        return pipeline_object(job, await self._desk.steps(job), self._link)

    async def _list(self, query: bytes, key: KeyRecord | None) -> bytes:
        asked = parse_qs(query.decode("latin-1"), keep_blank_values=True)
        limit = read_whole(asked, "limit", 20, 100)
        found = await self._desk.jobs.list(
            key, surface="pipelines", after=asked.get("after", [None])[-1], limit=limit + 1
        )
        shown = found[:limit]
        return msgspec.json.encode(
            {
                "object": "list",
                "data": [pipeline_object(job, None, self._link) for job in shown],
                "first_id": shown[0].id if shown else None,
                "last_id": shown[-1].id if shown else None,
                "has_more": len(found) > limit,
            }
        )

    async def _follow(self, scope: Scope, exchange: AsgiExchange, identifier: str, key: KeyRecord | None) -> None:
        """Server-sent events until the pipeline has ended, and at the end the pipeline itself."""
        await self._desk.get(identifier, key)
        last = header(scope["headers"], b"last-event-id") or "0"
        if not last.isdecimal():
            raise invalid(f"'Last-Event-ID' is '{last[:20]}'; it must be the id of an event.", "Last-Event-ID")
        exchange.enter()
        try:
            await exchange.begin(200, [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")])
            async with aclosing(self._desk.jobs.follow(identifier, int(last[:12]))) as events:
                async for event in events:
                    await exchange.send(
                        b": waiting\n\n" if event is None else event_bytes(_for_callers(event), self._link)
                    )
            job = await self._desk.get(identifier, key)
            told = msgspec.json.encode(await self._object(job))
            await exchange.finish(b"event: pipeline\ndata: %s\n\n" % told)
        finally:
            exchange.leave()


def _for_callers(event: JobEvent) -> JobEvent:
    """An event without what only the next worker needs."""
    if "final" not in event.data:
        return event
    return msgspec.structs.replace(event, data={name: one for name, one in event.data.items() if name != "final"})


def _headers(job: Job) -> Headers:
    return [
        (name, b"/v1/pipelines/" + job.id.encode()) if name == b"location" else (name, value)
        for name, value in job_headers(job)
    ]


def pipeline_object(job: Job, steps: list[tuple[Step, StepResult]] | None, link: Link) -> dict[str, Any]:
    """A pipeline as callers see it. Unknown is left out."""
    order = job.order
    told: dict[str, Any] = {
        "id": job.id, "object": "pipeline", "name": order.model, "status": job.state, "created_at": order.created_at,
        "started_at": job.started_at, "ended_at": job.ended_at, "deadline": order.deadline, "percent": job.percent,
        "cost_usd": None if job.cost_usd is None else f"{job.cost_usd.normalize():f}", "input": order.details["input"],
        "round": order.details.get("round"),
    }  # fmt: skip
    if steps is not None:
        told["steps"] = [_step_object(step, result, link) for step, result in steps]
    if job.result is not None:
        told |= result_fields(job.result, link)
    if job.error is not None:
        told["error"] = msgspec.to_builtins(job.error)
    if job.state is JobState.NEEDS_ATTENTION:
        told["note"] = "A provider may have accepted the work of a step; an operator has to decide how it goes on."
    return {name: value for name, value in told.items() if value is not None}


def _step_object(step: Step, result: StepResult, link: Link) -> dict[str, Any]:
    told: dict[str, Any] = {
        "id": step.id, "task": step.task or "chat", "model": step.model, "status": result.state, "job": result.job,
        "percent": result.percent, "provider": result.provider, "provider_model": result.provider_model,
        "cost_usd": None if result.cost_usd is None else f"{result.cost_usd.normalize():f}", "text": result.text,
        "artifacts": [artifact_object(one, link) for one in result.artifacts] or None,
        "error": None if result.error is None else msgspec.to_builtins(result.error),
    }  # fmt: skip
    return {name: value for name, value in told.items() if value is not None}
