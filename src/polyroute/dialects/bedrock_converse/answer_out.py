"""Events and answers → Converse."""

from __future__ import annotations

from typing import Any

import msgspec

from polyroute.dialects.bedrock_converse.frames import event_frame, exception_frame
from polyroute.dialects.request_fields import arguments_object
from polyroute.types.chat import (
    AnyEvent,
    AnyPart,
    AudioPart,
    ChatResponse,
    Extra,
    Finish,
    Finished,
    Measured,
    PartDelta,
    PartEnded,
    PartStarted,
    ReasoningPart,
    RefusalPart,
    Started,
    TextPart,
    ToolCallPart,
)
from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.operations import Dialect
from polyroute.types.usage import Usage

_STOP = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "content_filtered"}
_KNOWN_STOPS = {
    "end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "model_context_window_exceeded": "length",
    "tool_use": "tool_calls", "guardrail_intervened": "content_filter", "content_filtered": "content_filter",
}  # fmt: skip
_EXCEPTIONS = {
    ErrorKind.RATE_LIMITED: "throttlingException",
    ErrorKind.OVER_LIMIT: "throttlingException",
    ErrorKind.UNAVAILABLE: "serviceUnavailableException",
    ErrorKind.INVALID_REQUEST: "validationException",
    ErrorKind.CONTEXT_TOO_LONG: "validationException",
    ErrorKind.CONTENT_FILTERED: "validationException",
}
_encode = msgspec.json.encode


def stop_reason(finish: Finish) -> str:
    """Bedrock's own word where it is one and means the same, else ours translated."""
    if finish.raw is not None and _KNOWN_STOPS.get(finish.raw) == finish.unified:
        return finish.raw
    return _STOP.get(finish.unified, "end_turn")


def render_usage(usage: Usage | None) -> dict[str, Any]:
    """The counts; all three of the required ones are there."""
    if usage is None:
        return {"inputTokens": 0, "outputTokens": 0, "totalTokens": 0}
    inputs = (usage.input or 0) + (usage.audio_input or 0)
    outputs = usage.output_total or 0
    rendered: dict[str, Any] = {
        "inputTokens": inputs,
        "outputTokens": outputs,
        "totalTokens": (usage.input_total or 0) + outputs,
    }
    if usage.cache_read is not None:
        rendered["cacheReadInputTokens"] = usage.cache_read
    if usage.cache_write_5m is not None or usage.cache_write_1h is not None:
        rendered["cacheWriteInputTokens"] = (usage.cache_write_5m or 0) + (usage.cache_write_1h or 0)
    if usage.cache_write_1h is not None:
        rendered["cacheDetails"] = [{"ttl": "1h", "inputTokens": usage.cache_write_1h}]
    return rendered


def render_answer(response: ChatResponse) -> bytes:
    """A whole answer: its first choice."""
    choice = response.choices[0] if response.choices else None
    content = [block for part in (choice.parts if choice else ()) if (block := _block(part)) is not None]
    answer: dict[str, Any] = {
        "output": {"message": {"role": "assistant", "content": content}},
        "stopReason": stop_reason(choice.finish if choice else Finish("stop")),
        "usage": render_usage(response.usage),
        "metrics": {"latencyMs": 0},
    }
    return _encode(answer | response.extra.get(Dialect.BEDROCK_CONVERSE, {}))


def _block(part: AnyPart) -> dict[str, Any] | None:
    match part:
        case TextPart() | RefusalPart():
            return {"text": part.text}
        case ReasoningPart():
            return {"reasoningContent": _reasoning(part)}
        case ToolCallPart():
            values = {"input": part.arguments} if part.custom else arguments_object(part.arguments)[0]
            return {"toolUse": {"toolUseId": part.id, "name": part.name, "input": values}}
        case AudioPart(transcript=str() as transcript):
            return {"text": transcript}
        case _:
            return None


def _reasoning(part: ReasoningPart) -> dict[str, Any]:
    own = part.state.fields if part.state is not None and part.state.dialect == Dialect.BEDROCK_CONVERSE else {}
    if "redactedContent" in own:
        return {"redactedContent": own["redactedContent"]}
    signature = {"signature": own["signature"]} if "signature" in own else {}
    return {"reasoningText": {"text": part.text, **signature}}


class ConverseRenderer:
    """Writes frames; blocks may interleave, as each delta carries its block's number."""

    def __init__(self) -> None:
        self._kinds: dict[int, AnyPart] = {}
        self._started = False
        self._stop: bytes | None = None
        self._usage: Usage | None = None

    def feed(self, event: AnyEvent) -> bytes:
        """The frames of an event. Only the first choice is written."""
        if event.choice != 0:
            return b""
        start = b""
        if not self._started:
            self._started = True
            start = event_frame("messageStart", b'{"role":"assistant"}')
        match event:
            case PartStarted():
                return start + self._begin(event)
            case PartDelta():
                return start + self._delta(event)
            case PartEnded():
                return start + self._end(event)
            case Finished():
                self._stop = _encode({"stopReason": stop_reason(event.finish)})
            case Measured():
                self._usage = event.usage
            case Started() | Extra():
                pass
        return start

    def _begin(self, event: PartStarted) -> bytes:
        part = event.part
        self._kinds[event.index] = part
        if not isinstance(part, ToolCallPart):
            return b""
        tool = {"toolUse": {"toolUseId": part.id, "name": part.name}}
        return event_frame("contentBlockStart", _encode({"contentBlockIndex": event.index, "start": tool}))

    def _delta(self, event: PartDelta) -> bytes:
        part = self._kinds.get(event.index)
        text = event.text or event.transcript or ""
        delta: dict[str, Any]
        if isinstance(part, ToolCallPart):
            delta = {"toolUse": {"input": text}}
        elif isinstance(part, ReasoningPart):
            delta = {"reasoningContent": {"text": text}}
        else:
            delta = {"text": text}
        return self._write(event.index, delta) if text else b""

    def _end(self, event: PartEnded) -> bytes:
        part = self._kinds.pop(event.index, None)
        frames = b""
        state = event.state
        if isinstance(part, ReasoningPart) and state is not None and state.dialect == Dialect.BEDROCK_CONVERSE:
            for name, value in state.fields.items():
                frames += self._write(event.index, {"reasoningContent": {name: value}})
        return frames + event_frame("contentBlockStop", _encode({"contentBlockIndex": event.index}))

    def _write(self, index: int, delta: dict[str, Any]) -> bytes:
        return event_frame("contentBlockDelta", _encode({"contentBlockIndex": index, "delta": delta}))

    def close(self) -> bytes:
        """The stop, then the usage."""
        stop = self._stop or b'{"stopReason":"end_turn"}'
        metadata = {"usage": render_usage(self._usage), "metrics": {"latencyMs": 0}}
        return event_frame("messageStop", stop) + event_frame("metadata", _encode(metadata))

    def error(self, error: PolyrouteError) -> bytes:
        """An exception frame."""
        return exception_frame(_EXCEPTIONS.get(error.kind, "internalServerException"), render_failure(error))


def render_failure(error: PolyrouteError) -> bytes:
    """`{"message": "…"}`."""
    return _encode({"message": error.message})
