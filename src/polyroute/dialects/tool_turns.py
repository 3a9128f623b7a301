"""Tool calls and their results in the order that strict dialects want: all results of a turn right after its calls."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence
from typing import Any

import msgspec

from polyroute.types.chat import Message, TextPart, ToolCallPart, ToolResultPart

INTERRUPTED = "The call was interrupted: there is no result."


def settle_tool_turns(messages: Sequence[Message]) -> tuple[list[Message], list[str]]:
    """Each assistant turn with calls is followed by one `tool` turn with a result for every call, in the order of the calls.

    A missing result becomes an error result, a result without a call is removed; the notes say so. Results get the name of
    their call. Other turns keep their place.
    """
    notes: list[str] = []
    results: dict[str, deque[ToolResultPart]] = defaultdict(deque)
    for message in messages:
        for part in message.parts:
            if isinstance(part, ToolResultPart):
                results[part.call_id].append(part)
    settled: list[Message] = []
    for message in _join_calls(messages):
        if message.role == "tool":
            continue
        settled.append(message)
        calls = [part for part in message.parts if isinstance(part, ToolCallPart)]
        if calls and message.role == "assistant":
            settled.append(Message(role="tool", parts=tuple(_take(call, results, notes) for call in calls)))
    notes += [f"tool result {call_id} without a call removed" for call_id, left in results.items() for _ in left]
    return settled, notes


def _join_calls(messages: Sequence[Message]) -> list[Message]:
    """Assistant turns that follow a turn with calls directly are part of it."""
    joined: list[Message] = []
    for message in messages:
        last = joined[-1] if joined else None
        if (
            last is not None
            and last.role == message.role == "assistant"
            and any(isinstance(part, ToolCallPart) for part in last.parts)
        ):
            joined[-1] = msgspec.structs.replace(last, parts=last.parts + message.parts)
        else:
            joined.append(message)
    return joined


def _take(call: ToolCallPart, results: dict[str, deque[ToolResultPart]], notes: list[str]) -> ToolResultPart:
    waiting = results.get(call.id)
    if waiting:
        return msgspec.structs.replace(waiting.popleft(), name=call.name)
    notes.append(f"tool call {call.id} had no result: an error result was added")
    return ToolResultPart(call_id=call.id, name=call.name, content=(TextPart(text=INTERRUPTED),), is_error=True)


def arguments_object(call: ToolCallPart) -> dict[str, Any]:
    """A call's arguments as an object, for dialects that have no JSON text there: free text and text that is no JSON object
    are wrapped (`input`, `_raw`)."""
    if call.custom:
        return {"input": call.arguments}
    if not call.arguments.strip():
        return {}
    try:
        value = msgspec.json.decode(call.arguments)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return {"_raw": call.arguments}
    return value if isinstance(value, dict) else {"_raw": call.arguments}
