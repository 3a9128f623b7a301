"""Provider state in Responses items: its own in the items' fields, that of other dialects inside `encrypted_content`, which
every client of this API sends back without looking."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import msgspec

from polyroute.dialects.openai_chat.state import dialect_of
from polyroute.types.chat import ProviderState, ReasoningPart
from polyroute.types.operations import Dialect

_OURS = "polyroute."
_OWN_FIELDS = ("id", "encrypted_content", "summary", "content")
STATE_FIELD = "polyroute_state"
"""The field of a call item that carries the state of another dialect."""


def read_reasoning(item: dict[str, Any]) -> ReasoningPart:
    """A `reasoning` item. Its state keeps the fields that have to go back as they came."""
    summary, content = texts_of(item.get("summary")), texts_of(item.get("content"))
    text = "\n\n".join(summary) if summary else "".join(content)
    part = ReasoningPart(text=text, summary=bool(summary))
    encrypted = item.get("encrypted_content")
    if isinstance(encrypted, str) and encrypted.startswith(_OURS):
        record = _unpack(encrypted)
        if record is None:
            return part
        state = ProviderState(Dialect(record["dialect"]), record["state"])
        text = record["text"] if isinstance(record.get("text"), str) else text
        redacted = record.get("redacted") is True
        return ReasoningPart(text=text, summary=record.get("summary") is True, redacted=redacted, state=state)
    fields = {name: item[name] for name in _OWN_FIELDS if item.get(name) is not None}
    if not fields.get("id") and not fields.get("encrypted_content"):
        return part
    return msgspec.structs.replace(part, state=ProviderState(Dialect.OPENAI_RESPONSES, fields))


def texts_of(parts: Any) -> list[str]:
    """The texts in a `summary` or `content` list."""
    if not isinstance(parts, list):
        return []
    found = (part.get("text") for part in parts if isinstance(part, dict))
    return [text for text in found if isinstance(text, str) and text]


def opaque(item: dict[str, Any]) -> ReasoningPart:
    """An item that has no canonical form (hosted tools and the like), kept whole."""
    return ReasoningPart(state=ProviderState(Dialect.OPENAI_RESPONSES, {"item": item}))


def pack(part: ReasoningPart, shown: str) -> str | None:
    """The `encrypted_content` that carries another dialect's state, or that of an item which got another id here; the text
    goes along where the item shows another one."""
    state = part.state
    if state is None:
        return None
    record: dict[str, Any] = {"dialect": state.dialect.value, "state": state.fields}
    if part.text != shown:
        record["text"] = part.text
    if part.summary:
        record["summary"] = True
    if part.redacted:
        record["redacted"] = True
    return _OURS + base64.b64encode(msgspec.json.encode(record)).decode()


def pack_call(state: ProviderState | None) -> dict[str, Any]:
    """The fields that carry a call's foreign state."""
    if state is None or state.dialect is Dialect.OPENAI_RESPONSES:
        return {}
    return {STATE_FIELD: {"dialect": state.dialect.value, "state": state.fields}}


def read_call_state(item: dict[str, Any]) -> ProviderState | None:
    """The state of a call item: its own id, or another dialect's state."""
    ours = item.get(STATE_FIELD)
    if isinstance(ours, dict) and dialect_of(ours.get("dialect")) and isinstance(ours.get("state"), dict):
        return ProviderState(Dialect(ours["dialect"]), ours["state"])
    identity = item.get("id")
    return ProviderState(Dialect.OPENAI_RESPONSES, {"id": identity}) if isinstance(identity, str) and identity else None


def _unpack(encrypted: str) -> dict[str, Any] | None:
    try:
        record = msgspec.json.decode(base64.b64decode(encrypted.removeprefix(_OURS), validate=True))
    except (binascii.Error, ValueError, RecursionError, msgspec.DecodeError):
        return None
    if not isinstance(record, dict) or not isinstance(record.get("state"), dict):
        return None
    return record if dialect_of(record.get("dialect")) else None
