"""Provider state in chat messages: `reasoning_details` and `extra_content`, where those who invented them keep theirs
(OpenRouter, Gemini's layer), carry the state of any dialect through callers that send back what they got."""

from __future__ import annotations

from typing import Any

from polyroute.types.chat import AnyPart, ProviderState, ReasoningPart
from polyroute.types.operations import Dialect

_OURS = "polyroute-v1"


def read_details(text: str, details: Any, extra_content: Any) -> list[AnyPart]:
    """Reasoning parts of an assistant message: those that we wrote into `reasoning_details` one by one, else the text, and
    at last a hidden part with the fields that a chat provider wants back."""
    items = [item for item in details if isinstance(item, dict)] if isinstance(details, list) else []
    ours = [part for item in items if item.get("format") == _OURS and (part := _read_item(item)) is not None]
    foreign = [item for item in items if item.get("format") != _OURS]
    if ours:
        return list(ours)
    parts: list[AnyPart] = []
    text = text or details_text(foreign)
    if text:
        parts.append(ReasoningPart(text=text))
    fields: dict[str, Any] = {}
    if foreign:
        fields["reasoning_details"] = foreign
    if isinstance(extra_content, dict) and extra_content:
        fields["extra_content"] = extra_content
    if fields:
        parts.append(ReasoningPart(state=ProviderState(Dialect.OPENAI_CHAT, fields)))
    return parts


def details_text(details: list[Any]) -> str:
    """The text in a list of `reasoning_details`."""
    found = (item.get("text") or item.get("summary") for item in details if isinstance(item, dict))
    return "".join(text for text in found if isinstance(text, str))


def merge_details(details: list[dict[str, Any]], more: list[Any]) -> None:
    """Adds fragments of `reasoning_details` from a stream: those of the same type and index are one item."""
    for item in more:
        if not isinstance(item, dict):
            continue
        last = next(
            (old for old in details if old.get("type") == item.get("type") and old.get("index") == item.get("index")),
            None,
        )
        if last is None or item.get("index") is None:
            details.append(dict(item))
            continue
        for name, value in item.items():
            if name in ("text", "summary", "data") and isinstance(value, str) and isinstance(last.get(name), str):
                last[name] += value
            elif value is not None:
                last[name] = value


def render_state(part: ReasoningPart) -> dict[str, Any]:
    """The message fields that carry a reasoning part's state to a chat caller; its text goes along so that the part can be
    restored on its own."""
    state = part.state
    if state is None:
        return {}
    if state.dialect is Dialect.OPENAI_CHAT:
        return {name: value for name, value in state.fields.items() if name in ("reasoning_details", "extra_content")}
    item: dict[str, Any] = {"type": "reasoning.text", "format": _OURS, "text": part.text}
    if part.summary:
        item["summarized"] = True
    if part.redacted:
        item["redacted"] = True
    return {"reasoning_details": [item | {"dialect": state.dialect.value, "state": state.fields}]}


def render_tool_state(state: ProviderState | None) -> dict[str, Any] | None:
    """The `extra_content` that carries a tool call's state to a chat caller."""
    if state is None:
        return None
    if state.dialect is Dialect.OPENAI_CHAT:
        content = state.fields.get("extra_content")
        return content if isinstance(content, dict) else None
    return {"polyroute": {"dialect": state.dialect.value, "state": state.fields}}


def read_tool_state(extra_content: Any) -> ProviderState | None:
    """The state of a tool call that a caller sends back."""
    if not isinstance(extra_content, dict) or not extra_content:
        return None
    ours = extra_content.get("polyroute")
    if isinstance(ours, dict):
        return _read_state(ours)
    return ProviderState(Dialect.OPENAI_CHAT, {"extra_content": extra_content})


def _read_item(item: dict[str, Any]) -> ReasoningPart | None:
    state = _read_state(item)
    if state is None:
        return None
    text = item.get("text")
    return ReasoningPart(
        text=text if isinstance(text, str) else "",
        summary=item.get("summarized") is True,
        redacted=item.get("redacted") is True,
        state=state,
    )


def _read_state(record: dict[str, Any]) -> ProviderState | None:
    dialect, fields = record.get("dialect"), record.get("state")
    known = dialect_of(dialect)
    return ProviderState(known, fields) if known is not None and isinstance(fields, dict) else None


def dialect_of(name: Any) -> Dialect | None:
    """The dialect of that name, if there is one."""
    return Dialect(name) if isinstance(name, str) and name in set(Dialect) else None
