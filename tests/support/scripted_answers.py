"""One answer in each upstream dialect, whole and streamed, and ways to spoil it; built by hand, by the providers' documents."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec

USAGE_KEYS = ("usage", "usageMetadata", "prompt_eval_count", "eval_count")


class Scripted(msgspec.Struct, frozen=True):
    """What a provider says: a whole answer, and the events of the same one streamed. `named`: the events have names in the
    stream; `lines`: it is lines of JSON instead of events."""

    whole: dict[str, Any]
    events: tuple[Any, ...]
    named: bool = False
    lines: bool = False
    done: bool = False

    @property
    def media_type(self) -> str:
        """Of the stream."""
        return "application/x-ndjson" if self.lines else "text/event-stream"

    def stream(self, events: Sequence[Any] | None = None) -> bytes:
        """The stream of these events, or of its own. Text is put in as it is."""
        return b"".join(self._frame(event) for event in (self.events if events is None else events)) + self._tail()

    def _tail(self) -> bytes:
        return b"data: [DONE]\n\n" if self.done else b""

    def _frame(self, event: Any) -> bytes:
        data = event if isinstance(event, str) else json.dumps(event)
        if self.lines:
            return f"{data}\n".encode()
        name = f"event: {event['type']}\n" if self.named and isinstance(event, dict) else ""
        return f"{name}data: {data}\n\n".encode()

    def without_usage(self) -> Scripted:
        """The same answer, whose provider counts nothing."""
        return msgspec.structs.replace(self, whole=_stripped(self.whole), events=tuple(map(_stripped, self.events)))


def _stripped(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _stripped(inner) for name, inner in value.items() if name not in USAGE_KEYS}
    return [_stripped(inner) for inner in value] if isinstance(value, list) else value


def _chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "c-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice], **more}


_CHAT_USAGE = {"usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}}


def chat(arguments: str | None = None) -> Scripted:
    """Chat completions: two words, or a call of `w`."""
    message: dict[str, Any] = {"role": "assistant", "content": "two words"}
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": "two "}, {"content": "words"}]
    finish = "stop"
    if arguments is not None:
        call = {"id": "call_1", "type": "function", "function": {"name": "w", "arguments": arguments}}
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
        deltas, finish = [{"role": "assistant", "tool_calls": [{"index": 0, **call}]}], "tool_calls"
    choice = {"index": 0, "message": message, "finish_reason": finish}
    answer = {"id": "c-1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], **_CHAT_USAGE}
    return Scripted(answer, (*map(_chunk, deltas), _chunk({}, finish, **_CHAT_USAGE)), done=True)


def responses(arguments: str | None = None) -> Scripted:
    """Responses."""
    usage = {"input_tokens": 5, "output_tokens": 2, "total_tokens": 7}
    part = {"type": "output_text", "text": "two words", "annotations": []}
    item: dict[str, Any] = {
        "type": "message",
        "id": "msg_1",
        "role": "assistant",
        "status": "completed",
        "content": [part],
    }
    deltas: list[Any] = [
        {"type": "response.content_part.added", "item_id": "msg_1", "output_index": 0, "content_index": 0,
         "part": {**part, "text": ""}},
        *({"type": "response.output_text.delta", "item_id": "msg_1", "output_index": 0, "content_index": 0, "delta": text}
          for text in ("two ", "words")),
    ]  # fmt: skip
    begun = {**item, "status": "in_progress", "content": []}
    if arguments is not None:
        item = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "w", "arguments": arguments,
                "status": "completed"}  # fmt: skip
        begun = {**item, "arguments": "", "status": "in_progress"}
        deltas = [
            {"type": "response.function_call_arguments.delta", "item_id": "fc_1", "output_index": 0, "delta": arguments}
        ]
    answer = {"id": "resp_1", "object": "response", "created_at": 1, "status": "completed", "model": "m", "output": [item],
              "usage": usage}  # fmt: skip
    opened = {**answer, "status": "in_progress", "output": [], "usage": None}
    events = [
        {"type": "response.created", "response": opened},
        {"type": "response.output_item.added", "output_index": 0, "item": begun},
        *deltas,
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": answer},
    ]
    numbered = [{**event, "sequence_number": number} for number, event in enumerate(events)]
    return Scripted(answer, tuple(numbered), named=True)


def messages(arguments: str | None = None) -> Scripted:
    """Messages; arguments are an object on this wire, so only a stream can have broken ones."""
    usage = {"input_tokens": 5, "output_tokens": 2}
    block: dict[str, Any] = {"type": "text", "text": "two words"}
    begun: dict[str, Any] = {"type": "text", "text": ""}
    deltas: list[dict[str, str]] = [{"type": "text_delta", "text": text} for text in ("two ", "words")]
    finish = "end_turn"
    if arguments is not None:
        block = {"type": "tool_use", "id": "toolu_1", "name": "w", "input": arguments}
        begun, finish = {**block, "input": {}}, "tool_use"
        deltas = [{"type": "input_json_delta", "partial_json": arguments}]
    answer = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [block],
              "stop_reason": finish, "stop_sequence": None, "usage": usage}  # fmt: skip
    events = [
        {"type": "message_start", "message": {**answer, "content": [], "stop_reason": None}},
        {"type": "content_block_start", "index": 0, "content_block": begun},
        *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": finish, "stop_sequence": None}, "usage": usage},
        {"type": "message_stop"},
    ]
    return Scripted(answer, tuple(events), named=True)


def gemini(arguments: str | None = None) -> Scripted:
    """generateContent; arguments are an object on this wire."""
    usage = {"usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 2, "totalTokenCount": 7}}

    def chunk(parts: list[Any], **more: Any) -> dict[str, Any]:
        candidate = {"index": 0, "content": {"role": "model", "parts": parts}, **more}
        return {"candidates": [candidate], "modelVersion": "m", **usage}

    parts: list[Any] = [{"text": "two "}, {"text": "words"}]
    if arguments is not None:
        parts = [{"functionCall": {"name": "w", "args": arguments}}]
    events = [chunk([part], **({"finishReason": "STOP"} if part is parts[-1] else {})) for part in parts]
    return Scripted(chunk(parts, finishReason="STOP"), tuple(events))


def ollama(arguments: str | None = None) -> Scripted:
    """Ollama's chat; arguments are an object on this wire."""
    head = {"model": "m", "created_at": "2026-11-20T00:00:00Z"}
    end = {"done": True, "done_reason": "stop", "prompt_eval_count": 5, "eval_count": 2}
    said: list[dict[str, Any]] = [{"role": "assistant", "content": text} for text in ("two ", "words")]
    message: dict[str, Any] = {"role": "assistant", "content": "two words"}
    if arguments is not None:
        message = {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"function": {"name": "w", "arguments": arguments}}],
        }
        said = [message]
    lines = [{**head, "message": piece, "done": False} for piece in said]
    last = {**head, "message": {"role": "assistant", "content": ""}, **end}
    return Scripted({**head, "message": message, **end}, (*lines, last), lines=True)


def cohere(arguments: str | None = None) -> Scripted:
    """Cohere's second chat API."""
    usage = {"usage": {"tokens": {"input_tokens": 5, "output_tokens": 2}}}
    call = {"id": "w_1", "type": "function", "function": {"name": "w", "arguments": arguments or ""}}
    message: dict[str, Any] = {"role": "assistant", "content": [{"type": "text", "text": "two words"}]}
    finish = "COMPLETE"
    pieces = [{"message": {"content": {"text": text}}} for text in ("two ", "words")]
    events: list[Any] = [
        {"type": "content-start", "index": 0, "delta": {"message": {"content": {"type": "text", "text": ""}}}},
        *({"type": "content-delta", "index": 0, "delta": piece} for piece in pieces),
        {"type": "content-end", "index": 0},
    ]
    if arguments is not None:
        message, finish = {"role": "assistant", "tool_calls": [call]}, "TOOL_CALL"
        events = [
            {"type": "tool-call-start", "index": 0, "delta": {"message": {"tool_calls": call}}},
            {"type": "tool-call-end", "index": 0},
        ]
    begun = {"type": "message-start", "id": "c-1", "delta": {"message": {"role": "assistant", "content": []}}}
    ended = {"type": "message-end", "id": "c-1", "delta": {"finish_reason": finish, **usage}}
    return Scripted(
        {"id": "c-1", "finish_reason": finish, "message": message, **usage}, (begun, *events, ended), named=True
    )


SCRIPTED = {
    "openai_compatible": chat, "openai_responses": responses, "anthropic": messages, "gemini": gemini, "ollama": ollama,
    "cohere": cohere,
}  # fmt: skip
"""By adapter."""
