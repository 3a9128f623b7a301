"""Canonical messages → `system` and `messages` of a Messages request, in an order that the API accepts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from polyroute.dialects.anthropic_messages.content_out import BlockWriter, plain_content
from polyroute.dialects.anthropic_messages.models import Behaviour
from polyroute.dialects.tool_turns import settle_tool_turns
from polyroute.types.chat import Message

_CONTINUE = "Continue."
_EMPTY = "(empty)"
_MOST_MARKS = 4


class _Turn(msgspec.Struct):
    role: str
    blocks: list[dict[str, Any]]
    results: bool = False


class RenderedTurns(msgspec.Struct, frozen=True):
    """`system` is a list of text blocks. `called` are the names of tools that the conversation called, in order;
    `loop_thinks` is False where a tool loop is under way whose assistant turn begins with no thinking block."""

    system: list[dict[str, Any]]
    messages: list[dict[str, Any]]
    called: tuple[str, ...]
    loop_thinks: bool
    dropped: tuple[str, ...]


def render_turns(
    messages: Sequence[Message], behaviour: Behaviour, writer: BlockWriter, *, prefill: bool
) -> RenderedTurns:
    """All turns. `prefill` says whether a conversation may end with an assistant turn."""
    leading = 0
    while leading < len(messages) and messages[leading].role == "system":
        leading += 1
    system = [
        block for message in messages[:leading] for block in writer.blocks(message.parts) if block["type"] == "text"
    ]
    dropped: list[str] = []
    if any(message.name for message in messages):
        dropped.append("messages.name")
    settled, notes = settle_tool_turns(messages[leading:])
    for words in notes:
        writer.note(words)
    turns = _place_system(_turns(settled, writer), behaviour, writer)
    if not turns and system:
        turns, system = [_Turn("user", system)], []
        writer.note("the system prompt was sent as a user turn: there was no other")
    if not turns or turns[0].role != "user":
        turns.insert(0, _Turn("user", [_text(_CONTINUE if turns else _EMPTY)]))
        writer.note("a user turn was added in front")
    if turns[-1].role == "assistant" and not _end(turns, writer, prefill=prefill):
        dropped.append("prefill")
    _limit_marks(system, turns, writer)
    called = dict.fromkeys(b["name"] for t in turns for b in t.blocks if b["type"] == "tool_use")
    return RenderedTurns(
        system=system,
        messages=[{"role": turn.role, "content": plain_content(turn.blocks)} for turn in turns],
        called=tuple(called),
        loop_thinks=_loop_thinks(turns),
        dropped=tuple(dropped),
    )


def _turns(messages: list[Message], writer: BlockWriter) -> list[_Turn]:
    turns: list[_Turn] = []
    for message in messages:
        blocks = writer.blocks(message.parts)
        last = turns[-1] if turns else None
        match message.role:
            case "tool":
                turns.append(_Turn("user", blocks, results=True))
            case "user" if last is not None and last.results:
                last.blocks += blocks  # results and what the user adds are one turn
                last.results = False
            case "user":
                if not blocks:
                    blocks = [_text(_EMPTY)]
                    writer.note("an empty user turn got a placeholder")
                turns.append(_Turn("user", blocks))
            case role:
                if blocks:
                    turns.append(_Turn(role, blocks))
    return turns


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _place_system(turns: list[_Turn], behaviour: Behaviour, writer: BlockWriter) -> list[_Turn]:
    """System turns inside the conversation stay where they are, under the API's rules of placement, or else become user
    turns at their place."""
    joined: list[_Turn] = []
    for turn in turns:
        if turn.role == "system" and joined and joined[-1].role == "system":
            joined[-1].blocks += turn.blocks
        else:
            joined.append(turn)
    for number, turn in enumerate(joined):
        if turn.role != "system":
            continue
        after_user = number > 0 and joined[number - 1].role == "user"
        before_assistant = number == len(joined) - 1 or joined[number + 1].role == "assistant"
        if behaviour.system_turns and after_user and before_assistant:
            continue
        turn.role = "user"
        for block in turn.blocks:
            block["text"] = f"<system>\n{block['text']}\n</system>"
        writer.note("a system message inside the conversation was sent as a marked user turn")
    return joined


def _end(turns: list[_Turn], writer: BlockWriter, *, prefill: bool) -> bool:
    """Brings the end of a conversation that ends with an assistant turn into order; False where the model cannot continue
    that turn."""
    last = turns[-1].blocks[-1]
    if prefill and last["type"] == "text":
        last["text"] = last["text"].rstrip()
        return True
    turns.append(_Turn("user", [_text(_CONTINUE)]))
    writer.note("a user turn was added at the end: the model does not continue an assistant turn")
    return False


def _limit_marks(system: list[dict[str, Any]], turns: list[_Turn], writer: BlockWriter) -> None:
    """The API takes four cache marks: those of the system prompt and the latest ones stay."""
    marked = [block for turn in turns for block in turn.blocks if "cache_control" in block]
    room = _MOST_MARKS - sum("cache_control" in block for block in system)
    for block in marked[: max(0, len(marked) - max(0, room))]:
        del block["cache_control"]
        writer.note("more than four cache marks: the earliest were removed")


def _loop_thinks(turns: list[_Turn]) -> bool:
    """False when the conversation ends with tool results and the turn that called begins without thinking."""
    if len(turns) < 2 or not any(block["type"] == "tool_result" for block in turns[-1].blocks):
        return True
    return turns[-2].role != "assistant" or turns[-2].blocks[0]["type"] in ("thinking", "redacted_thinking")
