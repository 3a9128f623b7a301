"""One step of a pipeline under way: a chat, or a job of its own that is waited for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec

from polyroute.engine.answers import WholeAnswer
from polyroute.engine.envelope import invalid, json_call
from polyroute.engine.gateway import Gateway
from polyroute.engine.jobs.requests import read_media_request
from polyroute.engine.lanes import Conversation
from polyroute.ports import Call, Headers, Options
from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.jobs import Job, JobError, JobState, TargetError
from polyroute.types.media import MediaRequest
from polyroute.types.operations import Dialect
from polyroute.types.pipelines import Step, StepResult, StepState
from polyroute.types.records import KeyRecord

_STATES: dict[JobState, StepState] = {
    JobState.QUEUED: "running", JobState.RUNNING: "running", JobState.SUCCEEDED: "succeeded", JobState.FAILED: "failed",
    JobState.CANCELLED: "cancelled", JobState.EXPIRED: "failed", JobState.NEEDS_ATTENTION: "needs_attention",
}  # fmt: skip
_PASSES = frozenset({ErrorKind.RATE_LIMITED, ErrorKind.UNAVAILABLE, ErrorKind.OVER_LIMIT})
"""What a step waits for: providers that take no more for now, and the limits of the pipeline's own key."""


def options_of(step: Step) -> Options:
    """The step's `polyroute` object. Raises PolyrouteError(invalid_request)."""
    try:
        return msgspec.convert(step.options, Options)
    except msgspec.ValidationError as error:
        raise invalid(f"'polyroute': {error}.", "polyroute") from error


def media_request(step: Step, fields: Mapping[str, Any]) -> MediaRequest:
    """The request of a media step whose templates are filled. Raises PolyrouteError(invalid_request)."""
    return read_media_request({**fields, "task": step.task})


def chat_call(step: Step, fields: Mapping[str, Any], request_id: str, key: KeyRecord | None) -> Call:
    """The call of a chat step whose templates are filled. Raises PolyrouteError(invalid_request)."""
    given = dict(fields)
    messages = given.pop("messages", None)
    system, prompt, schema = given.pop("system", None), given.pop("prompt", None), given.pop("schema", None)
    if messages is None:
        messages = [{"role": "user", "content": _text(prompt, "prompt")}]
    if not isinstance(messages, list):
        raise invalid("'messages' must be a list of {role, content}.", "messages")
    if system is not None:
        messages = [{"role": "system", "content": _text(system, "system")}, *messages]
    if schema is not None:
        form = {"name": step.id, "schema": schema}
        given["response_format"] = {"type": "json_schema", "json_schema": form}
    body = {"model": step.model, "messages": messages, **given, "polyroute": step.options}
    return json_call(msgspec.json.encode(body), Dialect.OPENAI_CHAT, request_id=request_id, key=key)


def _text(value: Any, name: str) -> str:
    if isinstance(value, str) and value.strip():
        return value
    if value is None or isinstance(value, str):
        raise invalid(f"'{name}' is empty.", name)
    return msgspec.json.encode(value).decode()


async def run_chat(gateway: Gateway, call: Call) -> StepResult:
    """Ask, and wait for the whole answer; settled when this returns. Raises PolyrouteError, settled."""
    answer = await gateway.answer(Conversation(call))
    assert isinstance(answer, WholeAnswer)  # it was not asked for as a stream
    try:
        text = msgspec.json.decode(answer.body)["choices"][0]["message"]["content"]
    except (msgspec.DecodeError, LookupError, TypeError) as error:
        raise PolyrouteError(ErrorKind.BAD_RESPONSE, "The answer has no text.") from error
    if not isinstance(text, str) or not text.strip():
        raise PolyrouteError(ErrorKind.BAD_RESPONSE, "The answer is empty.")
    cost = _header(answer.headers, b"x-polyroute-cost-usd")
    return StepResult(
        state="succeeded", job=call.id, text=text, percent=100.0,
        provider=_header(answer.headers, b"x-polyroute-provider"),
        provider_model=_header(answer.headers, b"x-polyroute-model"), cost_usd=None if cost is None else Decimal(cost),
    )  # fmt: skip


def _header(headers: Headers, name: bytes) -> str | None:
    return next((value.decode("latin-1") for key, value in headers if key == name), None)


def result_of(job: Job) -> StepResult:
    """What became of the job of a step."""
    made = job.result
    text = None
    if made is not None:
        text = made.text if made.text is not None else None if made.transcript is None else made.transcript.text
    return StepResult(
        state=_STATES[job.state], job=job.id, percent=job.percent, made=made, text=text, provider=job.provider,
        provider_model=job.provider_model, cost_usd=job.cost_usd, error=job.error,
    )  # fmt: skip


def failed(error: PolyrouteError, job: str | None = None) -> StepResult:
    """A step that could not be done."""
    told = tuple(
        TargetError(provider=one.provider, model=one.model, kind=one.kind.value, message=one.message)
        for one in error.attempts
    )
    return StepResult(
        state="failed", job=job,
        error=JobError(kind=error.kind.value, message=error.message, param=error.param, attempts=told),
    )  # fmt: skip


async def wait_for_turn(error: PolyrouteError, deadline: float) -> None:
    """Wait while nobody takes a step for now; raises the error again when it is of another sort, or when the time is over."""
    wait = max(min(error.retry_after or 1.0, 10.0), 0.05)
    if error.kind not in _PASSES or error.attempts or time.time() + wait >= deadline:
        raise error
    await asyncio.sleep(wait)
