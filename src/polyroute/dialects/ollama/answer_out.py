"""Events and answers → Ollama's lines, in the shape of chat or of generate."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from polyroute.dialects.request_fields import arguments_object
from polyroute.types.chat import (
    AnyEvent,
    AudioPart,
    ChatRequest,
    ChatResponse,
    Extra,
    Finish,
    Finished,
    Measured,
    PartDelta,
    PartEnded,
    PartStarted,
    ReasoningPart,
    Started,
    ToolCallPart,
)
from polyroute.types.errors import PolyrouteError
from polyroute.types.operations import Dialect
from polyroute.types.usage import Usage

_RAW_DURATIONS = ("total_duration", "load_duration", "prompt_eval_duration", "eval_duration")
_encode = msgspec.json.encode


class Shape(msgspec.Struct, frozen=True):
    """What differs between chat and generate: where text, thinking and tool calls stand in a line."""

    opening: bytes
    thinking: bytes
    closing: bytes
    content: Callable[[str, str, list[dict[str, Any]]], dict[str, Any]]


def _chat_content(text: str, thinking: str, calls: list[dict[str, Any]]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if thinking:
        message["thinking"] = thinking
    if calls:
        message["tool_calls"] = calls
    return {"message": message}


def _generate_content(text: str, thinking: str, calls: list[dict[str, Any]]) -> dict[str, Any]:
    content: dict[str, Any] = {"response": text}
    if thinking:
        content["thinking"] = thinking
    if calls:
        content["tool_calls"] = calls
    return content


CHAT_SHAPE = Shape(
    b'"message":{"role":"assistant","content":',
    b'"message":{"role":"assistant","content":"","thinking":',
    b"}",
    _chat_content,
)
GENERATE_SHAPE = Shape(b'"response":', b'"response":"","thinking":', b"", _generate_content)


def timestamp(created: int | None) -> str:
    """Seconds since the epoch as RFC 3339."""
    return datetime.fromtimestamp(created or 0, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class OllamaRenderer:
    """Writes one line for each piece of text and each call, and the last line when the answer is complete."""

    def __init__(self, model: str, created: int, shape: Shape) -> None:
        self._head: dict[str, Any] = {"model": model, "created_at": timestamp(created)}
        self._shape = shape
        head = _encode(self._head)[:-1] + b","
        self._before_text = head + shape.opening
        self._before_thinking = head + shape.thinking
        self._after = shape.closing + b',"done":false}\n'
        self._thinking: set[int] = set()
        self._calls: dict[int, _OpenCall] = {}
        self._call_count = 0
        self._finish = Finish("stop")
        self._usage: Usage | None = None
        self._context: Any = None

    def feed(self, event: AnyEvent) -> bytes:
        """The line of an event; calls are held back until they are whole. Only the first choice is written."""
        if event.choice != 0:
            return b""
        match event:
            case PartDelta():
                return self._delta(event)
            case PartStarted():
                self._start(event)
            case PartEnded():
                call = self._calls.pop(event.index, None)
                if call is not None:
                    return self._call(call)
            case Finished():
                self._finish = event.finish
            case Measured():
                self._usage = event.usage
            case Extra():
                if event.dialect is Dialect.OLLAMA_GENERATE:
                    self._context = event.fields.get("context")
            case Started():
                pass
        return b""

    def _start(self, event: PartStarted) -> None:
        match event.part:
            case ToolCallPart() as part:
                self._calls[event.index] = _OpenCall(part)
            case ReasoningPart():
                self._thinking.add(event.index)
            case _:
                pass

    def _delta(self, event: PartDelta) -> bytes:
        call = self._calls.get(event.index)
        if call is not None:
            call.pieces.append(event.text)
            return b""
        if event.index in self._thinking:
            return self._before_thinking + _encode(event.text) + self._after if event.text else b""
        if event.transcript:
            return self._before_text + _encode(event.transcript) + self._after
        if event.logprobs is not None:
            line = self._head | self._shape.content(event.text, "", []) | {"done": False, "logprobs": event.logprobs}
            return _encode(line) + b"\n"
        return self._before_text + _encode(event.text) + self._after if event.text else b""

    def _call(self, call: _OpenCall) -> bytes:
        rendered = render_call(call.part, "".join(call.pieces), self._call_count)
        self._call_count += 1
        return _encode(self._head | self._shape.content("", "", [rendered]) | {"done": False}) + b"\n"

    def close(self) -> bytes:
        """The last line, with the reason and the counts."""
        line = self._head | self._shape.content("", "", []) | ending(self._finish, self._usage)
        if self._context is not None:
            line["context"] = self._context
        return _encode(line) + b"\n"

    def error(self, error: PolyrouteError) -> bytes:
        """A line with the error, after which the stream ends."""
        return render_failure(error) + b"\n"


class _OpenCall:
    """A tool call while its arguments arrive."""

    __slots__ = ("part", "pieces")

    def __init__(self, part: ToolCallPart) -> None:
        self.part = part
        self.pieces: list[str] = [part.arguments]


def render_call(part: ToolCallPart, arguments: str, index: int) -> dict[str, Any]:
    """A call, its arguments an object."""
    values = {"input": arguments} if part.custom else arguments_object(arguments)[0]
    return {"id": part.id, "function": {"index": index, "name": part.name, "arguments": values}}


def ending(finish: Finish, usage: Usage | None) -> dict[str, Any]:
    """The fields of a last line. Calls end with `stop` here."""
    match finish.unified:
        case "stop" | "tool_calls":
            reason = "stop"
        case "length" | "content_filter":
            reason = finish.unified
        case _:
            reason = finish.raw or "stop"
    last: dict[str, Any] = {"done": True, "done_reason": reason}
    if usage is not None:
        raw = usage.raw or {}
        last |= {name: raw[name] for name in _RAW_DURATIONS if isinstance(raw.get(name), int)}
        if usage.input_total is not None:
            last["prompt_eval_count"] = usage.input_total
        if usage.output_total is not None:
            last["eval_count"] = usage.output_total
    return last


def render_answer(response: ChatResponse, request: ChatRequest, shape: Shape) -> bytes:
    """A whole answer: its first choice."""
    texts: list[str] = []
    thinking: list[str] = []
    calls: list[dict[str, Any]] = []
    choice = response.choices[0] if response.choices else None
    for part in choice.parts if choice else ():
        match part:
            case ReasoningPart():
                thinking.append(part.text)
            case ToolCallPart():
                calls.append(render_call(part, part.arguments, len(calls)))
            case AudioPart():
                texts.append(part.transcript or "")
            case _:
                texts.append(getattr(part, "text", None) or "")
    answer: dict[str, Any] = {"model": request.model, "created_at": timestamp(response.created)}
    answer |= shape.content("".join(texts), "".join(thinking), calls)
    answer |= ending(choice.finish if choice else Finish("stop"), response.usage)
    if choice is not None and choice.logprobs:
        answer["logprobs"] = choice.logprobs
    context = response.extra.get(Dialect.OLLAMA_GENERATE, {}).get("context")
    if context is not None:
        answer["context"] = context
    return _encode(answer)


def render_failure(error: PolyrouteError) -> bytes:
    """`{"error": "…"}`, which is all that Ollama says."""
    return _encode({"error": error.message})
