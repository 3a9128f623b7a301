"""Cohere's answers → events."""

from __future__ import annotations

from typing import Any

import msgspec

from polyroute.dialects.cohere_v2.request_in import TOOL_PLAN
from polyroute.dialects.failure_words import in_band_kind
from polyroute.dialects.part_events import bad_answer, broken_off
from polyroute.dialects.request_fields import json_text
from polyroute.dialects.sse import ServerEvent, SseDecoder
from polyroute.types.chat import (
    AnyEvent,
    Extra,
    Finish,
    Finished,
    FinishKind,
    Measured,
    PartDelta,
    PartEnded,
    PartStarted,
    ProviderState,
    ReasoningPart,
    Started,
    TextPart,
    ToolCallPart,
)
from polyroute.types.errors import AttemptFailed, ErrorKind, Failure
from polyroute.types.operations import Dialect
from polyroute.types.usage import Usage

_FINISH: dict[str, FinishKind] = {
    "COMPLETE": "stop", "STOP_SEQUENCE": "stop", "MAX_TOKENS": "length", "TOOL_CALL": "tool_calls",
    "ERROR_TOXIC": "content_filter",
}  # fmt: skip
_FAILED = {"ERROR": ErrorKind.UNAVAILABLE, "TIMEOUT": ErrorKind.TIMEOUT}
_OWN = Dialect.COHERE_V2


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: Any = None


class _Call(msgspec.Struct):
    id: str | None = None
    function: _Function | None = None


class _Content(msgspec.Struct):
    type: str | None = None
    text: str | None = None
    thinking: str | None = None


class _DeltaMessage(msgspec.Struct):
    """`content` and `tool_calls` are objects in deltas, and lists at the start."""

    content: _Content | list[Any] | str | None = None
    tool_calls: _Call | list[Any] | None = None
    tool_plan: str | None = None
    citations: dict[str, Any] | list[Any] | None = None


class _Delta(msgspec.Struct):
    message: _DeltaMessage | None = None
    finish_reason: str | None = None
    usage: dict[str, Any] | None = None
    error: Any = None


class _Event(msgspec.Struct):
    type: str | None = None
    index: int | None = None
    id: str | None = None
    delta: _Delta | None = None
    logprobs: Any = None
    message: str | None = None


class _WholeMessage(msgspec.Struct):
    content: list[_Content] | str | None = None
    tool_calls: list[_Call] | None = None
    tool_plan: str | None = None
    citations: list[Any] | None = None


class _Answer(msgspec.Struct):
    id: str | None = None
    finish_reason: str | None = None
    message: _WholeMessage | str | None = None
    usage: dict[str, Any] | None = None
    logprobs: Any = None


_EVENT = msgspec.json.Decoder(_Event)
_ANSWER = msgspec.json.Decoder(_Answer)


class _Assembly:
    """Numbers the parts by the order in which they appear; both kinds of answer go through it."""

    def __init__(self) -> None:
        self._next = 0
        self._open: dict[tuple[str, int], int] = {}
        self._states: dict[int, ProviderState] = {}
        self.calls = 0
        self.citations: list[Any] = []

    def start(self, key: tuple[str, int], part: TextPart | ReasoningPart | ToolCallPart, events: list[AnyEvent]) -> int:
        """A part begins; an open one of the same place ends."""
        self.end(key, events)
        index = self._open[key] = self._next
        self._next += 1
        if isinstance(part, ToolCallPart):
            self.calls += 1
        if part.state is not None:
            self._states[index] = part.state
            part = msgspec.structs.replace(part, state=None)
        events.append(PartStarted(index=index, part=part))
        return index

    def more(self, key: tuple[str, int], text: str, events: list[AnyEvent]) -> bool:
        """More of an open part; False where none is open."""
        index = self._open.get(key)
        if index is None:
            return False
        if text:
            events.append(PartDelta(index=index, text=text))
        return True

    def end(self, key: tuple[str, int], events: list[AnyEvent]) -> None:
        """A part is complete."""
        index = self._open.pop(key, None)
        if index is not None:
            events.append(PartEnded(index=index, state=self._states.pop(index, None)))

    def content(self, number: int, content: _Content, events: list[AnyEvent]) -> None:
        """A piece of text or thinking; the first piece of a place opens the part."""
        kind = "thinking" if content.thinking is not None or content.type == "thinking" else "text"
        text = (content.thinking if kind == "thinking" else content.text) or ""
        key = (kind, number)
        if not self.more(key, text, events) and text:
            self.start(key, ReasoningPart() if kind == "thinking" else TextPart(text=""), events)
            self.more(key, text, events)

    def plan(self, text: str, events: list[AnyEvent]) -> None:
        """A piece of the plan before tool calls."""
        if text and not self.more(("plan", 0), text, events):
            self.start(("plan", 0), ReasoningPart(state=TOOL_PLAN), events)
            self.more(("plan", 0), text, events)

    def call(self, number: int, call: _Call, events: list[AnyEvent]) -> None:
        """A call begins, perhaps with arguments already."""
        function = call.function or _Function()
        self.end(("plan", 0), events)
        key = ("call", number)
        self.start(key, ToolCallPart(id=call.id or f"call_{number}", name=function.name or ""), events)
        self.more(key, _arguments(function.arguments), events)

    def finish(
        self, reason: str | None, usage: dict[str, Any] | None, events: list[AnyEvent], facts: dict[str, Any]
    ) -> None:
        """Everything ends. Raises AttemptFailed where the reason is a failure."""
        failed = _FAILED.get(reason or "")
        if failed is not None:
            message = f"the provider ended the answer with {reason}"
            raise AttemptFailed(Failure(kind=failed, message=message, code=reason))
        for key in list(self._open):
            self.end(key, events)
        unified = _FINISH.get(reason or "", "other")
        if self.calls and unified == "stop":
            unified = "tool_calls"
        events.append(Finished(finish=Finish(unified, reason)))
        if self.citations:
            facts = facts | {"citations": self.citations}
        if facts:
            events.append(Extra(dialect=_OWN, fields=facts))
        if usage is not None:
            events.append(Measured(usage=read_usage(usage)))


def _arguments(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json_text(value)


class CohereParser:
    """Reads the events of a stream until `message-end`."""

    def __init__(self) -> None:
        self._sse = SseDecoder()
        self._assembly = _Assembly()
        self._started = False
        self._ended = False

    def feed(self, data: bytes) -> list[AnyEvent]:
        """The events that are complete now."""
        events: list[AnyEvent] = []
        for event in self._sse.feed(data):
            self._take(event, events)
        return events

    def close(self) -> list[AnyEvent]:
        """What is left, where the last blank line is missing."""
        events: list[AnyEvent] = []
        for event in self._sse.close():
            self._take(event, events)
        if not self._ended:
            raise broken_off(self._started)
        return events

    def _take(self, received: ServerEvent, events: list[AnyEvent]) -> None:
        data = received.data.strip()
        if self._ended or not data or data == b"[DONE]":
            return
        try:
            event = _EVENT.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise bad_answer("an event is not what Cohere sends", data) from None
        if event.type is None:
            if event.message is not None:
                raise _failure(event.message, data)
            if not self._started:
                raise bad_answer("an event is not what Cohere sends", data)
            return
        if not self._started:
            self._started = True
            events.append(Started(id=event.id))
        self._event(event, data, events)

    def _event(self, event: _Event, data: bytes, events: list[AnyEvent]) -> None:
        delta = event.delta or _Delta()
        message = delta.message or _DeltaMessage()
        assembly, number = self._assembly, event.index or 0
        match event.type:
            case "content-start" | "content-delta":
                if isinstance(message.content, _Content):
                    assembly.content(number, message.content, events)
            case "content-end":
                assembly.end(("text", number), events)
                assembly.end(("thinking", number), events)
            case "tool-plan-delta":
                assembly.plan(message.tool_plan or "", events)
            case "tool-call-start":
                if isinstance(message.tool_calls, _Call):
                    assembly.call(number, message.tool_calls, events)
            case "tool-call-delta":
                if isinstance(message.tool_calls, _Call) and message.tool_calls.function is not None:
                    assembly.more(("call", number), _arguments(message.tool_calls.function.arguments), events)
            case "tool-call-end":
                assembly.end(("call", number), events)
            case "citation-start":
                if isinstance(message.citations, dict):
                    assembly.citations.append(message.citations)
            case "message-end":
                self._ended = True
                if delta.error:
                    raise _failure(delta.error, data)
                assembly.finish(delta.finish_reason, delta.usage, events, {})
            case _:
                pass


def _failure(error: Any, data: bytes) -> AttemptFailed:
    message = error if isinstance(error, str) else json_text(error)
    return AttemptFailed(
        Failure(kind=in_band_kind((), message), message=message[:500], detail=data.decode("utf-8", "replace")[:2000])
    )


def parse_answer(body: bytes) -> list[AnyEvent]:
    """A whole answer."""
    try:
        answer = _ANSWER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise bad_answer("the answer is not what Cohere sends", body) from None
    if isinstance(answer.message, str):
        raise _failure(answer.message, body)
    if answer.message is None and answer.finish_reason is None:
        raise bad_answer("the answer is not what Cohere sends", body)
    message = answer.message or _WholeMessage()
    events: list[AnyEvent] = [Started(id=answer.id)]
    assembly = _Assembly()
    assembly.plan(message.tool_plan or "", events)
    assembly.end(("plan", 0), events)
    content = [_Content("text", message.content)] if isinstance(message.content, str) else message.content or []
    for number, block in enumerate(content):
        assembly.content(number, block, events)
        assembly.end(("text", number), events)
        assembly.end(("thinking", number), events)
    for number, call in enumerate(message.tool_calls or ()):
        assembly.call(number, call, events)
        assembly.end(("call", number), events)
    assembly.citations = message.citations or []
    assembly.finish(
        answer.finish_reason, answer.usage, events, {"logprobs": answer.logprobs} if answer.logprobs else {}
    )
    return events


def read_usage(raw: dict[str, Any]) -> Usage:
    """True counts where they are told, else the billed ones, which are fewer: the system's own tokens are not charged. Cached
    tokens are inside the input, reasoning in the output."""
    tokens, billed = raw.get("tokens") or {}, raw.get("billed_units") or {}
    cached, reasoning = _count(raw.get("cached_tokens")), _count(tokens.get("reasoning_tokens"))
    inputs, outputs = (
        _count(tokens.get(name)) if _count(tokens.get(name)) is not None else _count(billed.get(name))
        for name in ("input_tokens", "output_tokens")
    )
    charged = (_count(billed.get("input_tokens")), _count(billed.get("output_tokens")))
    if outputs is None or (reasoning or 0) > outputs:
        reasoning = None
    return Usage(
        input=inputs if inputs is None or cached is None else max(inputs - cached, 0),
        cache_read=cached,
        output=outputs if outputs is None or reasoning is None else outputs - reasoning,
        reasoning=reasoning,
        charged_input=None if charged == (inputs, outputs) else charged[0],
        charged_output=None if charged == (inputs, outputs) else charged[1],
        raw=raw,
    )


def _count(value: Any) -> int | None:
    """Cohere writes counts as floats at times."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
        return None
    return int(value)
