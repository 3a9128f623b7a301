"""Calls of `/v1/images` and `/v1/audio` that become jobs: because their provider works in its own time, or because the
caller wants that. They are waited for, and answered in OpenAI's words when they are done in time."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import msgspec

from polyroute.api.exchange import Exchange
from polyroute.api.job_objects import Link, job_object
from polyroute.api.jobs import Patience, digest_of, header, job_headers, link_to, read_patience
from polyroute.dialects.openai_media.words import in_words, words_of
from polyroute.engine.envelope import read_flag
from polyroute.engine.gateway import Gateway
from polyroute.engine.jobs.desk import JobDesk, NewJob
from polyroute.engine.lanes import Conversation
from polyroute.engine.media.rendering import Form, render_made
from polyroute.engine.media.work import OURS, MediaWork
from polyroute.ports import Call, Headers, Queued
from polyroute.types.errors import ErrorKind, FailedAttempt, PolyrouteError
from polyroute.types.jobs import Job, JobState, Surface
from polyroute.types.media import TASKS_OF_DIALECT, MediaRequest
from polyroute.types.operations import Dialect

log = logging.getLogger("polyroute.api")

SURFACES: dict[Dialect, Surface] = {
    Dialect.OPENAI_IMAGES: "images",
    Dialect.OPENAI_IMAGE_EDITS: "images",
    Dialect.OPENAI_IMAGE_VARIATIONS: "images",
    Dialect.OPENAI_SPEECH: "audio",
    Dialect.OPENAI_TRANSCRIPTIONS: "audio",
    Dialect.OPENAI_TRANSLATIONS: "audio",
}
_READ_UNTIL = 86_400.0


class SlowCalls:
    """Turns calls into jobs. `wait`: seconds for which one is waited for, unless its caller says otherwise."""

    def __init__(self, gateway: Gateway, desk: JobDesk, wait: float) -> None:
        self._gateway = gateway
        self._desk = desk
        self._wait = wait
        self._left: set[asyncio.Task[Any]] = set()
        self._link: Link = lambda identifier: link_to(desk, identifier)

    async def take(self, conversation: Conversation, exchange: Exchange) -> bool:
        """Answer the call, if it has to be a job; False leaves it to the usual way. Raises PolyrouteError."""
        call = conversation.call
        try:
            return await self._take(conversation, exchange)
        except PolyrouteError as error:
            error.param, error.message = in_words(words_of(call.dialect), error.param, error.message)
            raise

    async def _take(self, conversation: Conversation, exchange: Exchange) -> bool:
        call = conversation.call
        surface = SURFACES.get(call.dialect)
        if surface is None:
            return False
        patience = _patience(conversation, exchange.head.wishes or [], self._wait)
        wants_stream = call.stream and surface == "images"
        if patience.wait != 0 and (wants_stream or not self._is_slow(call)):
            return False
        work = MediaWork(call, conversation.form, self._desk.floor.storage)
        try:
            request = await work.request()
            job = await self._order(call, work, request, exchange.head.wishes or [], surface)
        except PolyrouteError as error:
            self._gateway.refused(call.id, call.dialect, call.key, error)
            raise
        wait = self._wait if patience.wait is None else patience.wait
        if wait:
            keep = header(exchange.head.wishes or [], b"idempotency-key") is not None
            job = await self._await(job, wait, exchange, keep=keep)
        await self._answer(job, exchange)
        return True

    async def _order(
        self, call: Call, work: MediaWork, request: MediaRequest, wishes: Headers,
        surface: Surface,
    ) -> Job:  # fmt: skip
        body = call.body if isinstance(call.body, bytes) else b""
        new = NewJob(
            model=call.model, request=request, surface=surface, options=call.options,
            details={
                "dialect": call.dialect.value, "addresses": work.wants_addresses, "events": work.wants_events,
            },
            idempotency_key=header(wishes, b"idempotency-key"),
            digest=digest_of(call.dialect.encode(), body, b"" if body else msgspec.json.encode(request)),
        )  # fmt: skip
        return await self._desk.submit(new, call.key)

    def _is_slow(self, call: Call) -> bool:
        """Whether the first that would be asked works in its own time. What is wrong with the call shows elsewhere."""
        runtime = self._gateway.runtime
        try:
            choice = runtime.choose(call.model, call.operation)
            now = asyncio.get_running_loop().time()
            planned = self._gateway.planning.plan(runtime, choice, call, now)
        except PolyrouteError:
            return False
        target = planned.plan.targets[0]
        provider = runtime.providers[target.provider]
        endpoint = provider.adapter.endpoint(call.operation, call.dialect)
        if provider.media is None or endpoint is None or endpoint.dialect not in OURS:
            return False
        named = call.model in (str(target), target.model)
        models = (
            (task, provider.row.model_for(task, target.model, named=named)) for task in TASKS_OF_DIALECT[call.dialect]
        )
        makers = (provider.media.maker(task, model) for task, model in models if model is not None)
        return any(isinstance(maker, Queued) for maker in makers)

    async def _await(self, job: Job, seconds: float, exchange: Exchange, *, keep: bool) -> Job:
        """The job when it has ended, or when patience is over. One that nobody can ask for is stopped when its caller
        leaves; with an Idempotency-Key it can be asked for again."""
        try:
            return await self._desk.wait(job.id, seconds)
        except asyncio.CancelledError:
            if exchange.left and not keep:
                stopping = asyncio.ensure_future(self._desk.store.request_cancel(job.id))
                self._left.add(stopping)
                stopping.add_done_callback(self._left.discard)
            raise

    async def _answer(self, job: Job, exchange: Exchange) -> None:
        headers = job_headers(job)
        if job.state is JobState.SUCCEEDED and job.result is not None:
            details = job.order.details
            events, addresses = bool(details.get("events")), bool(details.get("addresses"))
            form = Form(Dialect(details["dialect"]), events, addresses)
            made = job.result
            answer = await render_made(made, job.order.request, form, self._desk.floor.storage)
            headers = [*answer.headers, *headers[1:]]
            if made.dropped:
                headers.append((b"x-polyroute-dropped", _header_text(", ".join(made.dropped))))
            if made.notes:
                headers.append((b"x-polyroute-notes", _header_text("; ".join(made.notes))))
            await exchange.begin(200, headers)
            until = asyncio.get_running_loop().time() + _READ_UNTIL
            while data := await answer.receive(until):
                await exchange.send(data)
            await exchange.finish(b"")
        elif job.ended:
            raise error_of(job)
        else:
            await exchange.answer(202, headers, msgspec.json.encode(job_object(job, self._link)))


def _header_text(text: str) -> bytes:
    return text.encode("ascii", "backslashreplace").replace(b"\r", b" ").replace(b"\n", b" ")


def error_of(job: Job) -> PolyrouteError:
    """Why a job failed, as an error of the call."""
    told = job.error
    if told is None:
        return PolyrouteError(ErrorKind.UNAVAILABLE, f"The job {job.id} is {job.state}.", request_id=job.id)
    attempts = tuple(FailedAttempt(one.provider, one.model, ErrorKind(one.kind), one.message) for one in told.attempts)
    return PolyrouteError(ErrorKind(told.kind), told.message, param=told.param, attempts=attempts, request_id=job.id)


def _patience(conversation: Conversation, wishes: Headers, usual: float) -> Patience:
    call, given = conversation.call, None
    if conversation.form is not None:
        text = conversation.form.get("async")
        given = None if text is None else text.lower() in ("true", "1")
    elif call.fields is not None and "async" in call.fields:
        given = read_flag(call.fields, "async")
        del call.fields["async"]
    return read_patience(wishes, given, usual)
