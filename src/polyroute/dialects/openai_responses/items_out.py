"""Canonical messages → input items of an upstream Responses request."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from polyroute.dialects.openai_chat.annotations import flatten
from polyroute.dialects.openai_chat.content_in import media_type_of
from polyroute.dialects.openai_chat.messages_out import sniff_image
from polyroute.types.chat import (
    AnyPart,
    AudioPart,
    FilePart,
    ImagePart,
    Message,
    ReasoningPart,
    RefusalPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from polyroute.types.operations import Dialect

_ID_LIMIT = 64


class ItemRenderer:
    """Renders the items of one request; `stored` says that the provider keeps items, so that their ids mean something."""

    def __init__(self, *, stored: bool) -> None:
        self.notes: list[str] = []
        self.dropped: list[str] = []
        self._stored = stored

    def render(self, messages: Sequence[Message]) -> tuple[str | None, list[dict[str, Any]]]:
        """Instructions and items. A leading system message of one text becomes the instructions; every other one stays in
        its place."""
        instructions: str | None = None
        items: list[dict[str, Any]] = []
        custom_ids: set[str] = set()
        for position, message in enumerate(messages):
            if message.name is not None:
                self.note("names of messages removed")
            match message.role:
                case "system" if position == 0 and _is_plain(message):
                    instructions = "".join(part.text for part in message.parts if isinstance(part, TextPart))
                case "system":
                    items.append({"type": "message", "role": "developer", "content": self._content(message.parts)})
                case "user":
                    items.append({"type": "message", "role": "user", "content": self._content(message.parts)})
                case "assistant":
                    custom_ids |= {part.id for part in message.parts if isinstance(part, ToolCallPart) and part.custom}
                    items += self._assistant(message.parts)
                case _:
                    items += self._results(message.parts, custom_ids)
        return instructions, items

    def note(self, text: str) -> None:
        """Remembers a change once."""
        if text not in self.notes:
            self.notes.append(text)

    # ------------------------------------------------------------ assistant turns

    def _assistant(self, parts: Sequence[AnyPart]) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        for part in parts:
            match part:
                case TextPart() | RefusalPart():
                    self._add_said(items, part)
                case ReasoningPart():
                    self._add_reasoning(items, part)
                case ToolCallPart():
                    items.append(self._call(part))
                case _:
                    self.note(f"{part.__struct_config__.tag} of an assistant turn removed")
        return items

    def _add_said(self, items: list[dict[str, Any]], part: TextPart | RefusalPart) -> None:
        state = part.state
        fields = state.fields if state is not None and state.dialect is Dialect.OPENAI_RESPONSES else {}
        if state is not None and not fields:
            self.note(f"state of {state.dialect.value} removed")
        if isinstance(part, TextPart):
            annotations = [flatten(annotation) for annotation in part.annotations]
            piece = {"type": "output_text", "text": part.text, "annotations": annotations}
        else:
            piece = {"type": "refusal", "refusal": part.text}
        last = items[-1] if items else {}
        if last.get("type") == "message" and {k: v for k, v in last.items() if k in ("id", "phase")} == fields:
            last["content"].append(piece)
            return
        record: dict[str, Any] = {"type": "message", "role": "assistant", "content": [piece], **fields}
        if "id" in fields:
            record["status"] = "completed"
        items.append(record)

    def _add_reasoning(self, items: list[dict[str, Any]], part: ReasoningPart) -> None:
        state = part.state
        if state is None:
            self.note("reasoning without its provider's state removed")
        elif state.dialect is not Dialect.OPENAI_RESPONSES:
            self.note(f"reasoning state of {state.dialect.value} removed")
        elif isinstance(item := state.fields.get("item"), dict):
            items.append(item)
        elif "encrypted_content" in state.fields or self._stored:
            items.append({"type": "reasoning", "summary": [], **state.fields})
        else:
            self.note("reasoning without encrypted content removed")

    def _call(self, part: ToolCallPart) -> dict[str, Any]:
        kind, name = ("custom_tool_call", "input") if part.custom else ("function_call", "arguments")
        arguments = part.arguments if part.custom else part.arguments or "{}"
        record = {"type": kind, "call_id": self.call_id(part.id), "name": part.name, name: arguments}
        state = part.state
        if state is not None and state.dialect is Dialect.OPENAI_RESPONSES:
            record.update(state.fields)
        elif state is not None:
            self.note(f"state of {state.dialect.value} removed")
        return record

    def call_id(self, call_id: str) -> str:
        """The id as the API accepts it; the same for a call and its output."""
        if len(call_id) > _ID_LIMIT:
            return "call_" + hashlib.sha256(call_id.encode()).hexdigest()[:32]
        return call_id

    # ------------------------------------------------------------ tool turns and content

    def _results(self, parts: Sequence[AnyPart], custom_ids: set[str]) -> list[dict[str, Any]]:
        items = []
        for part in parts:
            if not isinstance(part, ToolResultPart):
                self.note("a part of a tool turn that is no result removed")
                continue
            if part.is_error:
                self.note("the error mark of a tool result is not expressible")
            output: Any = self._content(part.content)
            if len(part.content) == 1 and isinstance(part.content[0], TextPart):
                output = part.content[0].text
            elif not output:
                output = ""
            kind = "custom_tool_call_output" if part.call_id in custom_ids else "function_call_output"
            items.append({"type": kind, "call_id": self.call_id(part.call_id), "output": output})
        return items

    def _content(self, parts: Sequence[AnyPart]) -> list[dict[str, Any]]:
        return [rendered for part in parts if (rendered := self._part(part)) is not None]

    def _part(self, part: AnyPart) -> dict[str, Any] | None:
        if part.cache is not None:
            self.note("cache marks removed")
        match part:
            case TextPart():
                return {"type": "input_text", "text": part.text}
            case ImagePart():
                record: dict[str, Any] = {"type": "input_image", "detail": part.detail or "auto"}
                if part.file_id is not None:
                    return {**record, "file_id": part.file_id}
                data_url = f"data:{part.media_type or sniff_image(part.data or '')};base64,{part.data}"
                return {**record, "image_url": part.url or data_url}
            case AudioPart() if part.data is not None:
                return {"type": "input_audio", "input_audio": {"data": part.data, "format": part.format or "wav"}}
            case FilePart():
                return self._file(part)
            case _:
                self.note(f"{part.__struct_config__.tag} of a message removed")
                self.dropped.append(f"messages.{part.__struct_config__.tag}")
                return None

    def _file(self, part: FilePart) -> dict[str, Any]:
        if part.text is not None:
            self.note("a text document was sent as text")
            return {"type": "input_text", "text": f"{part.filename}:\n{part.text}" if part.filename else part.text}
        record: dict[str, Any] = {"type": "input_file"}
        if part.filename is not None:
            record["filename"] = part.filename
        if part.file_id is not None:
            return {**record, "file_id": part.file_id}
        if part.url is not None:
            return {"type": "input_file", "file_url": part.url}
        media_type = part.media_type or media_type_of(part.filename, part.data or "") or "application/octet-stream"
        record.setdefault("filename", "document.pdf")
        return {**record, "file_data": f"data:{media_type};base64,{part.data}"}


def _is_plain(message: Message) -> bool:
    return len(message.parts) == 1 and isinstance(message.parts[0], TextPart)
