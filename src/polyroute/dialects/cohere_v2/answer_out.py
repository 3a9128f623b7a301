"""Events and answers → Cohere's."""

from __future__ import annotations

from typing import Any

import msgspec

from polyroute.dialects.request_fields import json_text
from polyroute.dialects.sse import render_event
from polyroute.types.chat import (
    AnyEvent,
    AudioPart,
    ChatResponse,
    Extra,
    Finish,
    Finished,
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
from polyroute.types.errors import PolyrouteError
from polyroute.types.operations import Dialect
from polyroute.types.usage import Usage

_OWN = Dialect.COHERE_V2
_REASONS = {"stop": "COMPLETE", "length": "MAX_TOKENS", "tool_calls": "TOOL_CALL", "content_filter": "ERROR_TOXIC"}
_encode = msgspec.json.encode


def finish_reason(finish: Finish) -> str:
    """Cohere's word."""
    if finish.unified == "stop" and finish.raw == "STOP_SEQUENCE":
        return "STOP_SEQUENCE"
    return _REASONS.get(finish.unified, "COMPLETE")


def render_usage(usage: Usage | None) -> dict[str, Any]:
    """Both counts; what is billed is only known where Cohere itself answered."""
    if usage is None:
        return {}
    inputs, outputs = usage.input_total, usage.output_total
    tokens: dict[str, Any] = {}
    if inputs is not None:
        tokens["input_tokens"] = inputs
    if outputs is not None:
        tokens["output_tokens"] = outputs
    if usage.reasoning is not None:
        tokens["reasoning_tokens"] = usage.reasoning
    billed = (usage.raw or {}).get("billed_units")
    rendered: dict[str, Any] = {"tokens": tokens, "billed_units": billed if isinstance(billed, dict) else tokens}
    if usage.cache_read is not None:
        rendered["cached_tokens"] = usage.cache_read
    return rendered


def _is_plan(state: ProviderState | None) -> bool:
    return state is not None and state.dialect == _OWN and "tool_plan" in state.fields


def render_answer(response: ChatResponse) -> bytes:
    """A whole answer: its first choice."""
    choice = response.choices[0] if response.choices else None
    message: dict[str, Any] = {"role": "assistant"}
    content: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    for part in choice.parts if choice else ():
        match part:
            case ReasoningPart() if _is_plan(part.state):
                message["tool_plan"] = part.text
            case ReasoningPart():
                content.append({"type": "thinking", "thinking": part.text})
            case ToolCallPart():
                calls.append(_call(part, part.arguments))
            case AudioPart():
                content.append({"type": "text", "text": part.transcript or ""})
            case _:
                content.append({"type": "text", "text": getattr(part, "text", None) or ""})
    if content:
        message["content"] = content
    if calls:
        message["tool_calls"] = calls
    own = dict(response.extra.get(_OWN, {}))
    if "citations" in own:
        message["citations"] = own.pop("citations")
    answer: dict[str, Any] = {
        "id": response.id or "",
        "finish_reason": finish_reason(choice.finish if choice else Finish("stop")),
        "message": message,
        "usage": render_usage(response.usage),
    }
    return _encode(answer | own)


def _call(part: ToolCallPart, arguments: str) -> dict[str, Any]:
    text = json_text({"input": arguments}) if part.custom else arguments
    return {"id": part.id, "type": "function", "function": {"name": part.name, "arguments": text}}


class CohereRenderer:
    """Writes named events. Content and calls are numbered apart; free-form calls are held back until they are whole."""

    def __init__(self, response_id: str) -> None:
        self._id = response_id
        self._started = False
        self._contents = 0
        self._calls = 0
        self._numbers: dict[int, int] = {}
        self._parts: dict[int, TextPart | ReasoningPart | ToolCallPart] = {}
        self._held: dict[int, list[str]] = {}
        self._finish = Finish("stop")
        self._usage: Usage | None = None

    def feed(self, event: AnyEvent) -> bytes:
        """The events of an event. Only the first choice is written."""
        if event.choice != 0:
            return b""
        start = b"" if self._started else self._start()
        match event:
            case PartStarted():
                return start + self._begin(event)
            case PartDelta():
                return start + self._delta(event)
            case PartEnded():
                return start + self._end(event)
            case Finished():
                self._finish = event.finish
            case Measured():
                self._usage = event.usage
            case Extra():
                return start + self._citations(event)
            case Started():
                pass
        return start

    def _start(self) -> bytes:
        self._started = True
        message = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
        return _event("message-start", {"id": self._id, "delta": {"message": message}})

    def _begin(self, event: PartStarted) -> bytes:
        part = event.part
        if isinstance(part, ToolCallPart):
            self._parts[event.index], self._numbers[event.index] = part, self._calls
            self._calls += 1
            if part.custom:
                self._held[event.index] = []
            return _message_event("tool-call-start", self._numbers[event.index], {"tool_calls": _call_start(part)})
        shown: TextPart | ReasoningPart = part if isinstance(part, ReasoningPart) else TextPart(text="")
        self._parts[event.index], self._numbers[event.index] = shown, self._contents
        self._contents += 1
        kind = "thinking" if isinstance(shown, ReasoningPart) else "text"
        return _message_event("content-start", self._numbers[event.index], {"content": {"type": kind, kind: ""}})

    def _delta(self, event: PartDelta) -> bytes:
        part, text = self._parts.get(event.index), event.text or event.transcript or ""
        if not text or part is None:
            return b""
        number = self._numbers[event.index]
        if event.index in self._held:
            self._held[event.index].append(text)
            return b""
        if isinstance(part, ToolCallPart):
            return _message_event("tool-call-delta", number, {"tool_calls": {"function": {"arguments": text}}})
        kind = "thinking" if isinstance(part, ReasoningPart) else "text"
        return _message_event("content-delta", number, {"content": {kind: text}})

    def _end(self, event: PartEnded) -> bytes:
        part = self._parts.pop(event.index, None)
        number = self._numbers.get(event.index, 0)
        if isinstance(part, ToolCallPart):
            held = self._held.pop(event.index, None)
            last = b""
            if held is not None:
                function = {"function": {"arguments": json_text({"input": "".join(held)})}}
                last = _message_event("tool-call-delta", number, {"tool_calls": function})
            return last + _event("tool-call-end", {"index": number})
        return _event("content-end", {"index": number})

    def _citations(self, event: Extra) -> bytes:
        if event.dialect is not _OWN:
            return b""
        citations = event.fields.get("citations") or []
        return b"".join(
            _message_event("citation-start", index, {"citations": citation}) + _event("citation-end", {"index": index})
            for index, citation in enumerate(citations)
        )

    def close(self) -> bytes:
        """The end, with reason and counts."""
        return _event(
            "message-end",
            {"delta": {"finish_reason": finish_reason(self._finish), "usage": render_usage(self._usage)}},
        )

    def error(self, error: PolyrouteError) -> bytes:
        """An end that says why."""
        return _event("message-end", {"delta": {"finish_reason": "ERROR", "error": error.message}})


def _call_start(part: ToolCallPart) -> dict[str, Any]:
    return {"id": part.id, "type": "function", "function": {"name": part.name, "arguments": ""}}


def _event(kind: str, fields: dict[str, Any]) -> bytes:
    return render_event(_encode({"type": kind, **fields}), kind)


def _message_event(kind: str, number: int, message: dict[str, Any]) -> bytes:
    return _event(kind, {"index": number, "delta": {"message": message}})


def render_failure(error: PolyrouteError) -> bytes:
    """`{"message": "…"}`, with the request's id where there is one."""
    return _encode({"message": error.message} | ({"id": error.request_id} if error.request_id else {}))
