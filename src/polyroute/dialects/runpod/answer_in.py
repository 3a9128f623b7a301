"""The outputs of RunPod jobs → events: chat completions, pieces of their streams, or whatever text a handler gives."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec

from polyroute.dialects.failure_words import in_band_kind
from polyroute.dialects.part_events import PartEvents, bad_answer, broken_off
from polyroute.dialects.registry import codec
from polyroute.dialects.request_fields import json_text
from polyroute.dialects.sse import LineDecoder, render_event
from polyroute.ports import EventParser
from polyroute.types.chat import AnyEvent, Finish, Finished, FinishKind, Measured, Started
from polyroute.types.errors import AttemptFailed, ErrorKind, Failure
from polyroute.types.operations import Dialect
from polyroute.types.usage import Usage

_TEXT_FIELDS = ("text", "generated_text", "response", "content", "output", "result")
_FAILED = {"FAILED": ErrorKind.UNAVAILABLE, "CANCELLED": ErrorKind.UNAVAILABLE, "TIMED_OUT": ErrorKind.TIMEOUT}
_FINISH: dict[str, FinishKind] = {"length": "length"}


class _Item(msgspec.Struct):
    output: Any = None


class _Job(msgspec.Struct):
    """A job, or one poll of its stream."""

    id: str | None = None
    status: str | None = None
    output: Any = None
    error: Any = None
    stream: list[_Item] | None = None


_JOB = msgspec.json.Decoder(_Job)


def _decode(data: bytes) -> _Job:
    try:
        return _JOB.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise bad_answer("the queue's answer is no job", data) from None


def _failure(kind: ErrorKind | None, error: Any) -> AttemptFailed:
    """The handler's error: text, JSON in text, or an object."""
    if isinstance(error, str) and error.startswith("{"):
        with contextlib.suppress(msgspec.DecodeError, RecursionError):
            error = msgspec.json.decode(error)
    if isinstance(error, dict):
        error = error.get("error_message") or error.get("message") or error.get("error") or error
    message = error if isinstance(error, str) else json_text(error)
    meant = in_band_kind((), message)
    if kind is ErrorKind.TIMEOUT or (kind is not None and meant is ErrorKind.UNAVAILABLE):
        meant = kind
    return AttemptFailed(Failure(kind=meant, message=message[:500], detail=message[:2000]))


def _check(job: _Job) -> None:
    """Raises AttemptFailed for a job that failed; one that completed can hold a handler's error too."""
    failed = _FAILED.get(job.status or "")
    if failed is not None or job.error:
        raise _failure(failed, job.error or f"the job ended as {job.status}")
    output = job.output
    if isinstance(output, dict) and output.get("error") and "choices" not in output:
        raise _failure(None, output["error"])


def parse_job(body: bytes) -> list[AnyEvent]:
    """A job that has ended."""
    job = _decode(body)
    _check(job)
    if job.status in {"IN_QUEUE", "IN_PROGRESS", "RUNNING"}:
        raise AttemptFailed(Failure(kind=ErrorKind.TIMEOUT, message=f"the job is still {job.status}"))
    if job.output is None:
        raise bad_answer("the job gave no output", body)
    output = job.output
    if isinstance(output, list) and len(output) == 1:
        output = output[0]
    if isinstance(output, dict) and _is_completion(output):
        return codec(Dialect.OPENAI_CHAT).parse_response(msgspec.json.encode(output))
    outputs = _Outputs(job.id)
    events: list[AnyEvent] = []
    for piece in output if isinstance(output, list) else [output]:
        events += outputs.take(piece)
    return events + outputs.close()


def _is_completion(output: dict[str, Any]) -> bool:
    choices = output.get("choices")
    return isinstance(choices, list) and bool(choices) and isinstance(choices[0], dict) and "message" in choices[0]


class _Outputs:
    """Reads output items one after another: event-stream text, chunks of chat completions, or plain text."""

    def __init__(self, job_id: str | None) -> None:
        self._job_id = job_id
        self._chunks: EventParser | None = None
        self._parts = PartEvents()
        self._started = False
        self._finish: str | None = None
        self._usage: Usage | None = None

    def take(self, output: Any) -> list[AnyEvent]:
        """The events of one item."""
        match output:
            case str():
                if self._chunks is not None or output.lstrip().startswith((":", "data:", "event:")):
                    return self._feed(output.encode())
                return self._text(output)
            case {"error": error} if error:
                raise _failure(None, error)
            case {"choices": [{"delta": _}, *_]}:
                return self._feed(render_event(msgspec.json.encode(output)))
            case {"choices": list() as choices}:
                return self._worker_output(choices, output.get("usage"))
            case dict():
                found = next((output[name] for name in _TEXT_FIELDS if isinstance(output.get(name), str)), None)
                return self._text(json_text(output) if found is None else found)
            case list():
                return [event for item in output for event in self.take(item)]
            case None:
                return []
            case _:
                return self._text(json_text(output))

    def _feed(self, data: bytes) -> list[AnyEvent]:
        if self._chunks is None:
            self._chunks = codec(Dialect.OPENAI_CHAT).parser()
        return self._chunks.feed(data)

    def _text(self, text: str) -> list[AnyEvent]:
        events: list[AnyEvent] = []
        if not self._started:
            self._started = True
            events.append(Started(id=self._job_id))
        if text:
            self._parts.prose(events, "text", text)
        return events

    def _worker_output(self, choices: list[Any], usage: Any) -> list[AnyEvent]:
        """The vLLM worker's own form: `choices[].tokens` are pieces of text, `usage` has `input` and `output`."""
        events: list[AnyEvent] = []
        first = choices[0] if choices and isinstance(choices[0], dict) else {}
        tokens = first.get("tokens")
        pieces = tokens if isinstance(tokens, list) else [first.get("text") or ""]
        for piece in pieces:
            events += self._text(str(piece))
        reason = first.get("finish_reason")
        self._finish = reason if isinstance(reason, str) else self._finish
        if isinstance(usage, dict):
            self._usage = Usage(input=_count(usage.get("input")), output=_count(usage.get("output")), raw=usage)
        return events

    def close(self) -> list[AnyEvent]:
        """The job completed."""
        if self._chunks is not None:
            return self._chunks.close()
        if not self._started:
            raise broken_off(started=False)
        events: list[AnyEvent] = []
        self._parts.close(events)
        events.append(Finished(finish=Finish(_FINISH.get(self._finish or "stop", "stop"), self._finish or "COMPLETED")))
        if self._usage is not None:
            events.append(Measured(usage=self._usage))
        return events


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


class JobParser:
    """Reads the polls of a streamed job, one line each, until the job has ended."""

    def __init__(self) -> None:
        self._lines = LineDecoder()
        self._outputs = _Outputs(None)
        self._completed = False
        self._started = False

    def feed(self, data: bytes) -> list[AnyEvent]:
        """The events of the polls that are complete now."""
        return [event for line in self._lines.feed(data) for event in self._poll(line)]

    def close(self) -> list[AnyEvent]:
        """The job's own end may come without a last poll."""
        events = [event for line in self._lines.close() for event in self._poll(line)]
        if not self._completed and not self._started:
            raise broken_off(started=False)
        return events + self._outputs.close()

    def _poll(self, line: bytes) -> list[AnyEvent]:
        job = _decode(line)
        _check(job)
        self._completed = self._completed or job.status == "COMPLETED"
        events: list[AnyEvent] = []
        for item in job.stream or ():
            self._started = True
            events += self._outputs.take(item.output)
        return events
