"""Turns of a Messages request → canonical messages, refused where the API refuses their order."""

from __future__ import annotations

from typing import Any

import msgspec

from polyroute.dialects.anthropic_messages.content_in import parse_block
from polyroute.dialects.anthropic_messages.refusals import invalid, required, typed
from polyroute.types.chat import AnyPart, Message, ReasoningPart, Role, TextPart, ToolCallPart, ToolResultPart
from polyroute.types.errors import PolyrouteError
from polyroute.types.operations import Dialect

_ROLES: dict[str, Role] = {"user": "user", "assistant": "assistant", "system": "system"}


def parse_system(system: Any) -> list[Message]:
    """The `system` field: one system message a block."""
    if system is None:
        return []
    if isinstance(system, str):
        return [Message(role="system", parts=(TextPart(text=system),))] if system.strip() else []
    messages = []
    for number, block in enumerate(typed(system, list, "system")):
        part = parse_block(block, "system", f"system.{number}")
        if not isinstance(part, TextPart):
            raise invalid(f"system.{number}.type", "Input should be 'text'")
        messages.append(Message(role="system", parts=(part,)))
    return messages


def parse_turns(turns: list[Any]) -> list[Message]:
    """The `messages` field. A user turn with tool results becomes a `tool` turn and, where there is more, a user turn."""
    if not turns:
        raise invalid("messages", "at least one message is required")
    messages: list[Message] = []
    owed: tuple[str, ...] = ()
    known: set[str] = set()
    previous = ""
    for number, turn in enumerate(turns):
        place = f"messages.{number}"
        fields = typed(turn, dict, place)
        role = required(fields, "role", str, place)
        if role not in _ROLES:
            raise invalid(f"{place}.role", "Input should be 'user' or 'assistant'")
        _check_order(role, previous, number)
        parts = _parts(fields, role, place, final=number == len(turns) - 1)
        results = _check_results(parts, role, owed, number)
        calls = [part for part in parts if isinstance(part, ToolCallPart)]
        for call in calls:
            if call.id in known:
                raise invalid(place, "`tool_use` ids must be unique")
            known.add(call.id)
        owed = tuple(call.id for call in calls)
        previous = role
        if results:
            messages.append(Message(role="tool", parts=results))
        if (rest := parts[len(results) :]) or not results:
            messages.append(Message(role=_ROLES[role], parts=rest))
    if owed:
        raise _unanswered(len(turns) - 1, owed)
    return messages


def _check_order(role: str, previous: str, number: int) -> None:
    if not previous and role != "user":
        raise invalid("messages", 'first message must use the "user" role')
    if role == "system" and previous != "user":
        raise invalid(f"messages.{number}.role", "a system message must follow a user message")
    if previous == "system" and role != "assistant":
        raise invalid(f"messages.{number}.role", "a system message must be last or be followed by an assistant message")


def _parts(fields: dict[str, Any], role: str, place: str, *, final: bool) -> tuple[AnyPart, ...]:
    content = fields.get("content")
    if content is None:
        raise invalid(f"{place}.content", "Field required")
    if isinstance(content, str):
        if not content.strip() and not (role == "assistant" and final):
            raise invalid("messages", f"{place}: {role} messages must have non-empty content")
        return (TextPart(text=content),) if content else ()
    blocks = typed(content, list, f"{place}.content")
    if not blocks and not (role == "assistant" and final):
        raise invalid("messages", f"{place}: {role} messages must have non-empty content")
    parts = [parse_block(block, role, f"{place}.content.{at}") for at, block in enumerate(blocks)]
    if role == "system" and not all(isinstance(part, TextPart) for part in parts):
        raise invalid(f"{place}.content", "a system message holds only text")
    return _attach_states(parts) if role == "assistant" else tuple(parts)


def _attach_states(parts: list[AnyPart]) -> tuple[AnyPart, ...]:
    """Gives calls back the state of another dialect that an empty thinking block of ours carried in front of them."""
    attached: list[AnyPart] = []
    waiting: ReasoningPart | None = None
    for part in parts:
        if isinstance(part, ReasoningPart) and part.redacted and not part.text and _is_foreign(part):
            waiting = part
        elif waiting is not None and isinstance(part, ToolCallPart):
            attached.append(msgspec.structs.replace(part, state=waiting.state))
            waiting = None
        else:
            attached.append(part)
    return tuple(attached)


def _is_foreign(part: ReasoningPart) -> bool:
    return part.state is not None and part.state.dialect is not Dialect.ANTHROPIC_MESSAGES


def _check_results(parts: tuple[AnyPart, ...], role: str, owed: tuple[str, ...], number: int) -> tuple[AnyPart, ...]:
    """The results that lead a turn. Every call of the turn before must be answered there, and nothing else."""
    count = 0
    while count < len(parts) and isinstance(parts[count], ToolResultPart):
        count += 1
    results = parts[:count]
    answered = {part.call_id for part in results if isinstance(part, ToolResultPart)}
    if role == "system" and owed:
        raise _unanswered(number - 1, owed)
    if missing := tuple(call_id for call_id in owed if call_id not in answered):
        raise _unanswered(number - 1, missing)
    for at, part in enumerate(parts):
        if isinstance(part, ToolResultPart) and (at >= count or part.call_id not in owed):
            raise invalid(
                f"messages.{number}.content.{at}",
                f"unexpected `tool_use_id` found in `tool_result` blocks: {part.call_id}. Each `tool_result` block must have"
                " a corresponding `tool_use` block in the previous message.",
            )
    return results


def _unanswered(number: int, ids: tuple[str, ...]) -> PolyrouteError:
    return invalid(
        f"messages.{number}",
        f"`tool_use` ids were found without `tool_result` blocks immediately after: {', '.join(ids)}. Each `tool_use` block"
        " must have a corresponding `tool_result` block in the next message.",
    )
