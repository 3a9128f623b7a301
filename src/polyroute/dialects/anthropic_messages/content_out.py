"""Canonical parts → content blocks of a Messages request."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable
from typing import Any

from polyroute.dialects.media_types import sniff_media_type
from polyroute.dialects.tool_turns import arguments_object
from polyroute.types.chat import (
    AnyPart,
    AudioPart,
    CacheMark,
    FilePart,
    ImagePart,
    ProviderState,
    ReasoningPart,
    RefusalPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.operations import Dialect

_A = Dialect.ANTHROPIC_MESSAGES
_LEGAL_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_TEXT_TYPES = frozenset({"application/json", "application/xml", "application/yaml", "application/x-yaml"})


def legal_id(call_id: str) -> str:
    """A call id that this API accepts: the given one, or else one derived from it."""
    if _LEGAL_ID.fullmatch(call_id):
        return call_id
    return "toolu_" + hashlib.sha256(call_id.encode("utf-8", "surrogatepass")).hexdigest()[:24]


class BlockWriter:
    """Renders the blocks of one request, and keeps what it had to change: notes, and call ids that are new here."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self._used: set[str] = set()
        self._ids: dict[str, str] = {}

    def note(self, words: str) -> None:
        """Keeps a note once."""
        if words not in self.notes:
            self.notes.append(words)

    def blocks(self, parts: Iterable[AnyPart]) -> list[dict[str, Any]]:
        """The blocks of one turn; parts that this API cannot take or that are empty are left out."""
        found = []
        for part in parts:
            block = self._block(part)
            if block is not None:
                if part.cache is not None and not isinstance(part, ReasoningPart):
                    block["cache_control"] = render_cache(part.cache)
                found.append(block)
        return found

    def _block(self, part: AnyPart) -> dict[str, Any] | None:
        state = self._own_state(part.state)
        if "block" in state and isinstance(state["block"], dict):
            return {key: value for key, value in state["block"].items() if key != "cache_control"}
        match part:
            case TextPart(text=text) | RefusalPart(text=text):
                return {"type": "text", "text": text, **state} if text.strip() else None
            case ReasoningPart():
                return self._reasoning(part, state)
            case ToolCallPart():
                return {
                    "type": "tool_use", "id": self._new_id(part.id), "name": part.name, "input": arguments_object(part),
                    **state,
                }  # fmt: skip
            case ToolResultPart():
                return self._result(part)
            case ImagePart():
                return {"type": "image", "source": self._image_source(part)}
            case FilePart():
                return self._document(part, state)
            case AudioPart():
                if part.transcript:
                    self.note("audio of an earlier answer replaced by its transcript")
                    return {"type": "text", "text": part.transcript}
                raise PolyrouteError(ErrorKind.UNSUPPORTED, "The Messages API takes no audio input.", param="messages")

    def _own_state(self, state: ProviderState | None) -> dict[str, Any]:
        if state is None:
            return {}
        if state.dialect is _A:
            return state.fields
        self.note(f"reasoning state of {state.dialect} removed")
        return {}

    def _reasoning(self, part: ReasoningPart, state: dict[str, Any]) -> dict[str, Any] | None:
        if "data" in state:
            return {"type": "redacted_thinking", "data": state["data"]}
        if "signature" in state:
            return {"type": "thinking", "thinking": part.text, "signature": state["signature"]}
        if part.state is None:
            self.note("reasoning without a signature removed")
        return None

    def _new_id(self, call_id: str) -> str:
        """An id that is legal and, over the whole conversation, unique; the results that follow use it too."""
        legal = unique = legal_id(call_id)
        number = 2
        while unique in self._used:
            unique = f"{legal[:120]}_{number}"
            number += 1
        if unique != call_id:
            self.note(f"tool call id {call_id} replaced by {unique}")
        self._used.add(unique)
        self._ids[call_id] = unique
        return unique

    def _result(self, part: ToolResultPart) -> dict[str, Any]:
        block: dict[str, Any] = {
            "type": "tool_result",
            "tool_use_id": self._ids.get(part.call_id, legal_id(part.call_id)),
        }
        content = self.blocks(part.content)
        if content:
            block["content"] = plain_content(content)
        if part.is_error:
            block["is_error"] = True
        return block

    def _image_source(self, part: ImagePart) -> dict[str, Any]:
        if part.detail not in (None, "auto"):
            self.note("image detail removed")
        if part.data is not None:
            known = sniff_media_type(part.data)
            if known is not None and known != part.media_type and part.media_type is not None:
                self.note(f"media type {part.media_type} of an image corrected to {known}")
            return {"type": "base64", "media_type": known or part.media_type or "image/jpeg", "data": part.data}
        if part.file_id is not None:
            return {"type": "file", "file_id": part.file_id}
        return {"type": "url", "url": part.url or ""}

    def _document(self, part: FilePart, state: dict[str, Any]) -> dict[str, Any]:
        media_type = (part.media_type or "").partition(";")[0].strip().lower()
        if part.data is not None and not media_type:
            media_type = sniff_media_type(part.data) or "application/pdf"
        if media_type.startswith("image/"):
            picture = ImagePart(url=part.url, data=part.data, media_type=media_type, file_id=part.file_id)
            return {"type": "image", "source": self._image_source(picture)}
        block: dict[str, Any] = {"type": "document", "source": self._document_source(part, media_type)}
        if part.filename:
            block["title"] = part.filename
        return {**block, **state}

    def _document_source(self, part: FilePart, media_type: str) -> dict[str, Any]:
        if part.text is not None:
            return {"type": "text", "media_type": "text/plain", "data": part.text or "(empty)"}
        if part.url is not None:
            return {"type": "url", "url": part.url}
        if part.file_id is not None:
            return {"type": "file", "file_id": part.file_id}
        if media_type == "application/pdf":
            return {"type": "base64", "media_type": media_type, "data": part.data or ""}
        if media_type.startswith("text/") or media_type in _TEXT_TYPES:
            try:
                text = base64.b64decode(part.data or "").decode()
            except (binascii.Error, ValueError) as error:
                raise PolyrouteError(
                    ErrorKind.INVALID_REQUEST, f"The {media_type} file is not base64 of UTF-8.", param="messages"
                ) from error
            return {"type": "text", "media_type": "text/plain", "data": text or "(empty)"}
        raise PolyrouteError(
            ErrorKind.UNSUPPORTED, f"The Messages API takes no files of type {media_type}.", param="messages"
        )


def render_cache(mark: CacheMark) -> dict[str, str]:
    """A `cache_control` object."""
    return {"type": "ephemeral"} if mark.ttl is None else {"type": "ephemeral", "ttl": mark.ttl}


def plain_content(blocks: list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    """A lone text block without anything else as a string."""
    if len(blocks) == 1 and blocks[0].keys() == {"type", "text"}:
        text: str = blocks[0]["text"]
        return text
    return blocks
