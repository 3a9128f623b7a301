"""Content blocks of a Messages request → canonical parts."""

from __future__ import annotations

from typing import Any

import msgspec

from polyroute.dialects.anthropic_messages.refusals import invalid, optional, required, typed
from polyroute.dialects.foreign_state import unpack_state
from polyroute.dialects.media_bytes import is_base64
from polyroute.types.chat import (
    AnyPart,
    AudioPart,
    CacheMark,
    FilePart,
    ImagePart,
    ProviderState,
    ReasoningPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from polyroute.types.operations import Dialect

_A = Dialect.ANTHROPIC_MESSAGES
_IMAGE_TYPES = ("image/jpeg", "image/png", "image/gif", "image/webp")
_LARGEST_IMAGE = 5 << 20
_USER_TAGS = "'document', 'image', 'search_result', 'text', 'tool_result'"


def parse_block(block: Any, role: str, place: str) -> AnyPart:
    """One content block of a turn."""
    fields = typed(block, dict, place)
    kind = required(fields, "type", str, place)
    where = f"{place}.{kind}"
    cache = parse_cache(fields.get("cache_control"), f"{place}.cache_control")
    match kind:
        case "text":
            return _text(fields, cache, where)
        case "image" if role != "assistant":
            return _image(fields, cache, where)
        case "document" if role != "assistant":
            return _document(fields, cache, where)
        case "search_result" if role != "assistant":
            return FilePart(
                text=_inner_text(fields.get("content")), filename=optional(fields, "title", str, where),
                state=ProviderState(_A, {"block": fields}), cache=cache,
            )  # fmt: skip
        case "tool_result" if role == "user":
            return _tool_result(fields, cache, where)
        case "tool_use" if role == "assistant":
            arguments = msgspec.json.encode(required(fields, "input", dict, where)).decode()
            others = _others(fields, "type", "id", "name", "input", "cache_control")
            return ToolCallPart(
                id=required(fields, "id", str, where), name=required(fields, "name", str, where),
                arguments=arguments, state=ProviderState(_A, others) if others else None, cache=cache,
            )  # fmt: skip
        case "thinking" if role == "assistant":
            return _thinking(fields, where)
        case "redacted_thinking" if role == "assistant":
            data = required(fields, "data", str, where)
            return ReasoningPart(redacted=True, state=ProviderState(_A, {"data": data}))
        case "container_upload" if role == "user":
            file_id = required(fields, "file_id", str, where)
            return FilePart(file_id=file_id, state=ProviderState(_A, {"block": fields}), cache=cache)
        case _ if role == "assistant":
            return opaque_part(fields)
        case _:
            raise invalid(
                place,
                f"Input tag '{kind}' found using 'type' does not match any of the expected tags: {_USER_TAGS}",
            )


def opaque_part(block: dict[str, Any]) -> ReasoningPart:
    """A block that only this dialect has (steps of tools that the provider runs): replayed as it is, seen by no other."""
    return ReasoningPart(redacted=True, state=ProviderState(_A, {"block": block}))


def parse_cache(mark: Any, place: str) -> CacheMark | None:
    """A `cache_control` object."""
    if mark is None:
        return None
    fields = typed(mark, dict, place)
    if fields.get("type") != "ephemeral":
        raise invalid(place, "Input tag found using 'type' does not match any of the expected tags: 'ephemeral'")
    ttl = optional(fields, "ttl", str, place)
    if ttl not in (None, "5m", "1h"):
        raise invalid(f"{place}.ephemeral.ttl", "Input should be '5m' or '1h'")
    return CacheMark(ttl)


def _text(fields: dict[str, Any], cache: CacheMark | None, place: str) -> TextPart:
    text = required(fields, "text", str, place)
    if not text:
        raise invalid("messages", "text content blocks must be non-empty")
    if not text.strip():
        raise invalid("messages", "text content blocks must contain non-whitespace text")
    citations = fields.get("citations")
    return TextPart(text=text, state=ProviderState(_A, {"citations": citations}) if citations else None, cache=cache)


def _thinking(fields: dict[str, Any], place: str) -> ReasoningPart:
    signature = optional(fields, "signature", str, place)
    return reasoning_part(required(fields, "thinking", str, place), signature)


def reasoning_part(text: str, signature: str | None) -> ReasoningPart:
    """A thinking block; a signature of ours yields the state that it carries."""
    if not signature:
        return ReasoningPart(text=text)
    packed = unpack_state(signature)
    if packed is None:
        return ReasoningPart(text=text, state=ProviderState(_A, {"signature": signature}))
    return ReasoningPart(text=text, state=packed.state, redacted=packed.attached)


def _source(fields: dict[str, Any], place: str) -> tuple[str, dict[str, Any]]:
    source = required(fields, "source", dict, place)
    return required(source, "type", str, f"{place}.source"), source


def _base64(source: dict[str, Any], place: str) -> str:
    data = required(source, "data", str, place)
    if not is_base64("".join(data.split())):
        raise invalid(f"{place}.data", "invalid base64 data")
    return data


def _image(fields: dict[str, Any], cache: CacheMark | None, place: str) -> ImagePart:
    kind, source = _source(fields, place)
    inside = f"{place}.source.{kind}"
    match kind:
        case "base64":
            media_type = required(source, "media_type", str, inside)
            if media_type not in _IMAGE_TYPES:
                wanted = "'image/jpeg', 'image/png', 'image/gif' or 'image/webp'"
                raise invalid(f"{inside}.media_type", f"Input should be {wanted}")
            data = _base64(source, inside)
            if (size := len(data) * 3 // 4) > _LARGEST_IMAGE:
                raise invalid(inside, f"image exceeds 5 MB maximum: {size} bytes > {_LARGEST_IMAGE} bytes")
            return ImagePart(data=data, media_type=media_type, cache=cache)
        case "url":
            return ImagePart(url=_web_url(source, inside), cache=cache)
        case "file":
            return ImagePart(file_id=required(source, "file_id", str, inside), cache=cache)
        case _:
            raise invalid(f"{place}.source", _no_tag(kind, "'base64', 'file', 'url'"))


def _document(fields: dict[str, Any], cache: CacheMark | None, place: str) -> FilePart:
    kind, source = _source(fields, place)
    inside = f"{place}.source.{kind}"
    others = _others(fields, "type", "source", "title", "cache_control")
    part = FilePart(filename=optional(fields, "title", str, place), cache=cache)
    changes: dict[str, Any]
    match kind:
        case "base64":
            media_type = required(source, "media_type", str, inside)
            changes = {"data": _base64(source, inside), "media_type": media_type}
        case "text":
            changes = {"text": required(source, "data", str, inside)}
        case "url":
            changes = {"url": _web_url(source, inside)}
        case "file":
            changes = {"file_id": required(source, "file_id", str, inside)}
        case "content":
            others["source"] = source
            changes = {"text": _inner_text(source.get("content"))}
        case _:
            raise invalid(f"{place}.source", _no_tag(kind, "'base64', 'content', 'file', 'text', 'url'"))
    return msgspec.structs.replace(part, state=ProviderState(_A, others) if others else None, **changes)


def _web_url(source: dict[str, Any], place: str) -> str:
    url = required(source, "url", str, place)
    if not url.startswith(("https://", "http://")):
        raise invalid(f"{place}.url", "Only HTTP and HTTPS URLs are supported.")
    return url


def _no_tag(kind: str, wanted: str) -> str:
    return f"Input tag '{kind}' found using 'type' does not match any of the expected tags: {wanted}"


def _tool_result(fields: dict[str, Any], cache: CacheMark | None, place: str) -> ToolResultPart:
    content = fields.get("content")
    parts: list[TextPart | ImagePart | FilePart | AudioPart] = []
    if isinstance(content, str):
        parts = [TextPart(text=content)] if content else []
    elif content is not None:
        for number, block in enumerate(typed(content, list, f"{place}.content")):
            part = parse_result_block(block, f"{place}.content.{number}")
            parts.append(part)
    return ToolResultPart(
        call_id=required(fields, "tool_use_id", str, place), content=tuple(parts),
        is_error=bool(optional(fields, "is_error", bool, place)), cache=cache,
    )  # fmt: skip


def parse_result_block(block: Any, place: str) -> TextPart | ImagePart | FilePart:
    """A block inside a tool result; `tool_reference` and later kinds are kept verbatim."""
    if isinstance(block, dict) and block.get("type") not in ("text", "image", "document", "search_result", None):
        return FilePart(text=_inner_text(block.get("content")), state=ProviderState(_A, {"block": block}))
    part = parse_block(block, "tool", place)
    assert isinstance(part, TextPart | ImagePart | FilePart)
    return part


def _inner_text(content: Any) -> str:
    """The text inside a string or a list of blocks."""
    if isinstance(content, str):
        return content
    blocks = content if isinstance(content, list) else []
    return "\n".join(b["text"] for b in blocks if isinstance(b, dict) and isinstance(b.get("text"), str))


def _others(fields: dict[str, Any], *known: str) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in known and value is not None}
