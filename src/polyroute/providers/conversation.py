"""Changes of a conversation that some vendors insist on; pure, on the canonical form, each with a note on what was done."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable

import msgspec

from polyroute.types.chat import AnyPart, ChatRequest, Message, TextPart, ToolCallPart, ToolResultPart

Fitted = tuple[ChatRequest, tuple[str, ...]]

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def short_id(call_id: str, length: int) -> str:
    """A stable id of letters and digits for another one: the same in every request, so that calls and results stay paired."""
    number = int.from_bytes(hashlib.sha256(call_id.encode()).digest(), "big")
    digits = []
    for _ in range(length):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(digits)


def shorten_call_ids(request: ChatRequest, allowed: str, length: int) -> Fitted:
    """Call ids that do not match `allowed` become `length` letters and digits, in calls and results alike."""
    pattern = re.compile(allowed, re.DOTALL)
    changed = False

    def fit(part: AnyPart) -> AnyPart:
        nonlocal changed
        match part:
            case ToolCallPart() if not pattern.fullmatch(part.id):
                changed = True
                return msgspec.structs.replace(part, id=short_id(part.id, length))
            case ToolResultPart() if not pattern.fullmatch(part.call_id):
                changed = True
                return msgspec.structs.replace(part, call_id=short_id(part.call_id, length))
            case _:
                return part

    fitted = _map_parts(request, fit)
    return (fitted, ("tool call ids shortened",)) if changed else (request, ())


def _map_parts(request: ChatRequest, change: Callable[[AnyPart], AnyPart]) -> ChatRequest:
    messages = tuple(
        msgspec.structs.replace(message, parts=tuple(change(part) for part in message.parts))
        if message.role in {"assistant", "tool"}
        else message
        for message in request.messages
    )
    return msgspec.structs.replace(request, messages=messages)


def bridge_tool_turns(request: ChatRequest) -> Fitted:
    """An assistant turn between a tool's answer and the user's next words, for vendors that refuse the direct sequence."""
    messages: list[Message] = []
    for message in request.messages:
        if message.role == "user" and messages and messages[-1].role == "tool":
            messages.append(Message(role="assistant", parts=(TextPart(text="OK."),)))
        messages.append(message)
    if len(messages) == len(request.messages):
        return request, ()
    return msgspec.structs.replace(request, messages=tuple(messages)), ("assistant turn added after tool results",)


def alternate_roles(request: ChatRequest) -> Fitted:
    """User and assistant by turns, as vendors with strict templates want it: neighbours of one role are merged, a first
    assistant turn gets a user turn before it."""
    messages: list[Message] = []
    for message in request.messages:
        previous = messages[-1] if messages else None
        if previous is not None and previous.role == message.role and message.role in {"user", "assistant"}:
            messages[-1] = msgspec.structs.replace(previous, parts=_joined(previous.parts, message.parts))
            continue
        if message.role == "assistant" and (previous is None or previous.role == "system"):
            messages.append(Message(role="user", parts=(TextPart(text="Continue."),)))
        messages.append(message)
    if messages == list(request.messages):
        return request, ()
    return msgspec.structs.replace(request, messages=tuple(messages)), (
        "turns merged so that user and assistant alternate",
    )


def _joined(first: tuple[AnyPart, ...], second: tuple[AnyPart, ...]) -> tuple[AnyPart, ...]:
    """Two turns' parts; where text meets text, with a blank line between."""
    if first and second and isinstance(first[-1], TextPart) and isinstance(second[0], TextPart):
        met = msgspec.structs.replace(first[-1], text=f"{first[-1].text}\n\n{second[0].text}")
        return (*first[:-1], met, *second[1:])
    return first + second
