"""Converse answers → events."""

from __future__ import annotations

from typing import Any

import msgspec

from polyroute.dialects.bedrock_converse.frames import BrokenFrame, Frame, FrameDecoder
from polyroute.dialects.failure_words import in_band_kind
from polyroute.dialects.part_events import bad_answer, broken_off
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
    "end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "model_context_window_exceeded": "length",
    "tool_use": "tool_calls", "guardrail_intervened": "content_filter", "content_filtered": "content_filter",
    "malformed_model_output": "error", "malformed_tool_use": "error",
}  # fmt: skip
_OWN = Dialect.BEDROCK_CONVERSE
_decode = msgspec.json.decode


class _ToolUse(msgspec.Struct, rename="camel"):
    tool_use_id: str = ""
    name: str = ""
    input: msgspec.Raw = msgspec.Raw(b"null")


class _ReasoningText(msgspec.Struct, rename="camel"):
    text: str | None = None
    signature: str | None = None


class _Reasoning(msgspec.Struct, rename="camel"):
    """In a whole answer `reasoningText`; in deltas its fields stand here."""

    reasoning_text: _ReasoningText | None = None
    text: str | None = None
    signature: str | None = None
    redacted_content: str | None = None


class _Block(msgspec.Struct, rename="camel"):
    """A content block, a block's start or a delta."""

    text: str | None = None
    tool_use: _ToolUse | None = None
    reasoning_content: _Reasoning | None = None
    citations_content: Any = None


class _Payload(msgspec.Struct, rename="camel"):
    """The fields of all stream events."""

    content_block_index: int = 0
    start: _Block | None = None
    delta: _Block | None = None
    stop_reason: str | None = None
    usage: dict[str, Any] | None = None
    message: str | None = None
    original_message: str | None = None


class _Message(msgspec.Struct, rename="camel"):
    content: list[_Block] | None = None


class _Output(msgspec.Struct, rename="camel"):
    message: _Message | None = None


class _Answer(msgspec.Struct, rename="camel"):
    output: _Output | None = None
    stop_reason: str | None = None
    usage: dict[str, Any] | None = None
    trace: Any = None
    additional_model_response_fields: Any = None


_PAYLOAD = msgspec.json.Decoder(_Payload)
_ANSWER = msgspec.json.Decoder(_Answer)


class _OpenBlock:
    """A block of a stream: its part, and the state that builds up."""

    __slots__ = ("index", "reasoning", "state")

    def __init__(self, index: int, *, reasoning: bool) -> None:
        self.index = index
        self.reasoning = reasoning
        self.state: dict[str, Any] = {}

    def end(self) -> PartEnded:
        """Reasoning that has no signature is marked as Bedrock's too, so that it is replayed here only."""
        state = ProviderState(_OWN, self.state) if self.reasoning or self.state else None
        return PartEnded(index=self.index, state=state)


class ConverseParser:
    """Reads the frames of ConverseStream; usage comes after the stop."""

    def __init__(self) -> None:
        self._frames = FrameDecoder()
        self._blocks: dict[int, _OpenBlock] = {}
        self._next = 0
        self._calls = 0
        self._started = False
        self._stopped = False

    def feed(self, data: bytes) -> list[AnyEvent]:
        """The events of the frames that are complete now."""
        events: list[AnyEvent] = []
        try:
            frames = self._frames.feed(data)
        except BrokenFrame as error:
            raise bad_answer(f"the event stream is broken: {error}", data) from None
        for frame in frames:
            self._frame(frame, events)
        return events

    def close(self) -> list[AnyEvent]:
        """Nothing may be left; a stream without its usage is complete all the same."""
        if not self._stopped:
            raise broken_off(self._started)
        return []

    def _frame(self, frame: Frame, events: list[AnyEvent]) -> None:
        headers = frame.headers
        kind = headers.get(":message-type")
        if kind in {"exception", "error"}:
            raise _exception(headers, frame.payload)
        try:
            payload = _PAYLOAD.decode(frame.payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise bad_answer("an event is not what Converse sends", frame.payload) from None
        if not self._started:
            self._started = True
            events.append(Started())
        event = headers.get(":event-type")
        if self._stopped and event != "metadata":
            return
        match event:
            case "contentBlockDelta":
                if payload.delta is not None:
                    self._delta(payload.content_block_index, payload.delta, events)
            case "contentBlockStart":
                if payload.start is not None and payload.start.tool_use is not None:
                    self._call(payload.content_block_index, payload.start.tool_use, events)
            case "contentBlockStop":
                block = self._blocks.pop(payload.content_block_index, None)
                if block is not None:
                    events.append(block.end())
            case "messageStop":
                self._stop(payload.stop_reason, events)
            case "metadata":
                if payload.usage is not None:
                    events.append(Measured(usage=read_usage(payload.usage)))
            case _:
                pass

    def _call(self, block: int, tool: _ToolUse, events: list[AnyEvent]) -> None:
        self._end_block(block, events)
        self._calls += 1
        call = ToolCallPart(id=tool.tool_use_id or f"tooluse_{self._calls}", name=tool.name)
        self._open(block, events, call)

    def _open(self, block: int, events: list[AnyEvent], part: TextPart | ReasoningPart | ToolCallPart) -> _OpenBlock:
        opened = self._blocks[block] = _OpenBlock(self._next, reasoning=isinstance(part, ReasoningPart))
        self._next += 1
        events.append(PartStarted(index=opened.index, part=part))
        return opened

    def _end_block(self, block: int, events: list[AnyEvent]) -> None:
        opened = self._blocks.pop(block, None)
        if opened is not None:
            events.append(opened.end())

    def _delta(self, block: int, delta: _Block, events: list[AnyEvent]) -> None:
        opened = self._blocks.get(block)
        if delta.text is not None:
            opened = opened or self._open(block, events, TextPart(text=""))
            if delta.text:
                events.append(PartDelta(index=opened.index, text=delta.text))
        elif delta.tool_use is not None:
            if opened is None:
                raise bad_answer("a tool call's input came before the call")
            text = _input_text(delta.tool_use.input)
            if text:
                events.append(PartDelta(index=opened.index, text=text))
        elif delta.reasoning_content is not None:
            reasoning = delta.reasoning_content
            redacted = reasoning.redacted_content is not None
            opened = opened or self._open(block, events, ReasoningPart(redacted=redacted))
            if reasoning.signature:
                opened.state["signature"] = opened.state.get("signature", "") + reasoning.signature
            if reasoning.redacted_content is not None:
                opened.state["redactedContent"] = opened.state.get("redactedContent", "") + reasoning.redacted_content
            if reasoning.text:
                events.append(PartDelta(index=opened.index, text=reasoning.text))

    def _stop(self, reason: str | None, events: list[AnyEvent]) -> None:
        for block in sorted(self._blocks):
            self._end_block(block, events)
        self._stopped = True
        events.append(Finished(finish=_finish(reason, self._calls)))


def _finish(reason: str | None, calls: int) -> Finish:
    unified = _FINISH.get(reason or "", "other")
    if unified == "error":
        raise AttemptFailed(
            Failure(kind=ErrorKind.BAD_RESPONSE, message=f"the model's output is malformed ({reason})", code=reason)
        )
    if calls and unified == "stop":
        unified = "tool_calls"
    return Finish(unified, reason)


def _input_text(raw: msgspec.Raw) -> str:
    """Tool input: text in deltas, an object in whole answers."""
    value = bytes(raw)
    if value == b"null":
        return ""
    if value.startswith(b'"'):
        return _decode(value, type=str)
    return msgspec.json.format(value, indent=-1).decode()


def _exception(headers: dict[str, str], payload: bytes) -> AttemptFailed:
    code = headers.get(":exception-type") or headers.get(":error-code") or "exception"
    try:
        value = _PAYLOAD.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        value = _Payload()
    message = value.message or value.original_message or headers.get(":error-message") or code
    return AttemptFailed(
        Failure(
            kind=in_band_kind((code,), message),
            message=message[:500],
            code=code,
            detail=payload.decode("utf-8", "replace")[:2000],
        )
    )


def parse_answer(body: bytes) -> list[AnyEvent]:
    """A whole answer."""
    try:
        answer = _ANSWER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise bad_answer("the answer is not what Converse sends", body) from None
    if answer.output is None and answer.stop_reason is None:
        raise bad_answer("the answer is not what Converse sends", body)
    events: list[AnyEvent] = [Started()]
    calls = 0
    message = answer.output.message if answer.output else None
    for block in (message.content if message else None) or ():
        index = len([event for event in events if isinstance(event, PartStarted)])
        calls += block.tool_use is not None
        events += _whole_block(index, block, calls)
    events.append(Finished(finish=_finish(answer.stop_reason, calls)))
    facts = {
        name: value
        for name, value in (
            ("trace", answer.trace),
            ("additionalModelResponseFields", answer.additional_model_response_fields),
        )
        if value is not None
    }
    if facts:
        events.append(Extra(dialect=_OWN, fields=facts))
    if answer.usage is not None:
        events.append(Measured(usage=read_usage(answer.usage)))
    return events


def _whole_block(index: int, block: _Block, calls: int) -> list[AnyEvent]:
    state: ProviderState | None = None
    part: TextPart | ReasoningPart | ToolCallPart
    if block.tool_use is not None:
        tool = block.tool_use
        part, text = ToolCallPart(id=tool.tool_use_id or f"tooluse_{calls}", name=tool.name), _input_text(tool.input)
    elif block.reasoning_content is not None:
        reasoning = block.reasoning_content
        shown = reasoning.reasoning_text or _ReasoningText()
        fields = {"signature": shown.signature, "redactedContent": reasoning.redacted_content}
        state = ProviderState(_OWN, {name: value for name, value in fields.items() if value is not None})
        part, text = ReasoningPart(redacted=reasoning.redacted_content is not None), shown.text or ""
    elif block.text is not None:
        part, text = TextPart(text=""), block.text
    elif isinstance(block.citations_content, dict):
        pieces = block.citations_content.get("content") or ()
        text = "".join(str(piece.get("text") or "") for piece in pieces if isinstance(piece, dict))
        part = TextPart(text="")
    else:
        return []
    events: list[AnyEvent] = [PartStarted(index=index, part=part)]
    if text:
        events.append(PartDelta(index=index, text=text))
    events.append(PartEnded(index=index, state=state))
    return events


def read_usage(raw: dict[str, Any]) -> Usage:
    """`inputTokens` leaves the cache out, as Anthropic does; writes by time to live where `cacheDetails` tells it."""
    written = _count(raw.get("cacheWriteInputTokens"))
    hour: int | None = None
    for detail in raw.get("cacheDetails") or ():
        if isinstance(detail, dict) and detail.get("ttl") == "1h":
            hour = (hour or 0) + (_count(detail.get("inputTokens")) or 0)
    return Usage(
        input=_count(raw.get("inputTokens")),
        cache_read=_count(raw.get("cacheReadInputTokens")),
        cache_write_5m=written if hour is None or written is None else max(written - hour, 0),
        cache_write_1h=hour,
        output=_count(raw.get("outputTokens")),
        raw=raw,
    )


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
