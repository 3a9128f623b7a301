"""Ollama's answers, of chat and generate alike, → events."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any

import msgspec

from polyroute.dialects.failure_words import in_band_kind
from polyroute.dialects.part_events import PartEvents, bad_answer, broken_off
from polyroute.dialects.request_fields import json_text
from polyroute.dialects.sse import LineDecoder
from polyroute.types.chat import AnyEvent, Extra, Finish, Finished, FinishKind, Measured, Started, ToolCallPart
from polyroute.types.errors import AttemptFailed, Failure
from polyroute.types.operations import Dialect
from polyroute.types.usage import Usage

_FINISH: dict[str, FinishKind] = {"stop": "stop", "length": "length", "content_filter": "content_filter"}
_COUNTS = (
    "total_duration", "load_duration", "prompt_eval_count", "prompt_eval_duration", "eval_count", "eval_duration",
)  # fmt: skip


class _Function(msgspec.Struct):
    name: str = ""
    arguments: msgspec.Raw = msgspec.Raw(b"null")


class _Call(msgspec.Struct):
    function: _Function = msgspec.field(default_factory=_Function)
    id: str | None = None


class _Message(msgspec.Struct):
    content: str | None = None
    thinking: str | None = None
    tool_calls: list[_Call] | None = None


class _Line(msgspec.Struct):
    """One line of a stream, or a whole answer."""

    model: str | None = None
    created_at: str | None = None
    message: _Message | None = None
    response: str | None = None
    thinking: str | None = None
    tool_calls: list[_Call] | None = None
    done: bool | None = None
    done_reason: str | None = None
    error: Any = None
    logprobs: list[dict[str, Any]] | None = None
    context: list[int] | None = None


_DECODER = msgspec.json.Decoder(_Line)


class OllamaParser:
    """Reads newline-delimited JSON until the line that says `done`."""

    def __init__(self) -> None:
        self._lines = LineDecoder()
        self._parts = PartEvents()
        self._started = False
        self._done = False
        self._seed = ""

    def feed(self, data: bytes) -> list[AnyEvent]:
        """The events of the lines that are complete now."""
        events: list[AnyEvent] = []
        for line in self._lines.feed(data):
            self._line(line, events)
        return events

    def close(self) -> list[AnyEvent]:
        """The last line may lack its newline."""
        events: list[AnyEvent] = []
        for line in self._lines.close():
            self._line(line, events)
        if not self._done:
            raise broken_off(self._started)
        return events

    def _line(self, raw: bytes, events: list[AnyEvent]) -> None:
        if self._done:
            return
        try:
            line = _DECODER.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise bad_answer("the answer is not what Ollama sends", raw) from None
        if line.error:
            raise _failure(line.error, raw)
        if line.message is None and line.response is None and not line.done:
            if not self._started:
                raise bad_answer("the answer is not what Ollama sends", raw)
            return
        if not self._started:
            self._started = True
            self._seed = line.created_at or ""
            events.append(Started(model=line.model, created=_seconds(line.created_at)))
        self._content(line, events)
        if line.done:
            self._done = True
            self._end(line, raw, events)

    def _content(self, line: _Line, events: list[AnyEvent]) -> None:
        message = line.message or _Message(line.response, line.thinking, line.tool_calls)
        parts = self._parts
        logprobs = tuple(line.logprobs) if line.logprobs else None
        if message.thinking:
            parts.prose(events, "reasoning", message.thinking)
        if message.content or (logprobs and not message.thinking and not message.tool_calls):
            parts.prose(events, "text", message.content or "", logprobs=logprobs)
        for call in message.tool_calls or ():
            parts.call(events, self._call(call))

    def _call(self, call: _Call) -> ToolCallPart:
        arguments = bytes(call.function.arguments)
        text = "" if arguments == b"null" else arguments.decode()
        if text.startswith('"'):
            text = msgspec.json.decode(arguments, type=str)
        elif text:
            text = msgspec.json.format(arguments, indent=-1).decode()
        call_id = call.id or self._new_id(call.function.name, text)
        return ToolCallPart(id=call_id, name=call.function.name, arguments=text)

    def _new_id(self, name: str, arguments: str) -> str:
        """Ollama gives ids only lately; this one differs between calls and between answers, and is always the same."""
        seed = f"{self._seed}\n{self._parts.calls}\n{name}\n{arguments}"
        return f"call_{hashlib.sha256(seed.encode()).hexdigest()[:24]}"

    def _end(self, line: _Line, raw: bytes, events: list[AnyEvent]) -> None:
        self._parts.close(events)
        reason = line.done_reason
        unified = _FINISH.get(reason or "stop", "other")
        if unified == "stop" and self._parts.calls:
            unified = "tool_calls"
        events.append(Finished(finish=Finish(unified, reason)))
        if line.context:
            events.append(Extra(dialect=Dialect.OLLAMA_GENERATE, fields={"context": line.context}))
        usage = _usage(raw)
        if usage is not None:
            events.append(Measured(usage=usage))


def parse_answer(body: bytes) -> list[AnyEvent]:
    """A whole answer, pretty-printed or not."""
    parser = OllamaParser()
    try:
        line = msgspec.json.format(body, indent=-1)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        line = body.strip()
    return parser.feed(line + b"\n") + parser.close()


def _usage(raw: bytes) -> Usage | None:
    """Counts of tokens; the durations (nanoseconds) stay in the raw record."""
    values = msgspec.json.decode(raw)
    record = {name: values[name] for name in _COUNTS if isinstance(values.get(name), (int, float))}
    if not record:
        return None
    return Usage(input=_count(record.get("prompt_eval_count")), output=_count(record.get("eval_count")), raw=record)


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _seconds(created_at: str | None) -> int | None:
    """RFC 3339 with up to nine fractional digits as seconds since the epoch."""
    try:
        return int(datetime.fromisoformat(created_at).timestamp()) if created_at else None
    except (ValueError, OverflowError, OSError):
        return None


def _failure(error: Any, raw: bytes) -> AttemptFailed:
    message = error if isinstance(error, str) else None
    if isinstance(error, dict) and isinstance(error.get("message"), str):
        message = error["message"]
    message = message or json_text(error)
    return AttemptFailed(
        Failure(kind=in_band_kind((), message), message=message[:500], detail=raw.decode("utf-8", "replace")[:2000])
    )
