"""Canonical messages → the messages of an upstream chat request."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any

import msgspec

from polyroute.dialects.openai_chat.content_in import media_type_of
from polyroute.dialects.openai_chat.families import (
    OPENAI_ITSELF,
    REASONING_FIELD,
    has_no_system_role,
    is_reasoning_family,
)
from polyroute.types.chat import (
    AnyPart,
    AudioPart,
    FilePart,
    ImagePart,
    Message,
    ModelProfile,
    ReasoningPart,
    RefusalPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from polyroute.types.operations import Dialect

_MISTRAL_ID = re.compile(r"[A-Za-z0-9]{9}")
_TAKES_CACHE_MARKS = frozenset({"openrouter", "aihubmix"})
_ALTERNATES = frozenset({"perplexity"})
_TAKES_URLS = {"openrouter": "file", "mistral": "document_url", "perplexity": "file_url"}
_NO_TOOL_NAME = frozenset({"groq"})  # "property 'name' is unsupported" in a tool message, 400
_ID_LIMIT = 40


class MessageRenderer:
    """Renders the messages of one request; `notes` says what was changed, `dropped` what could not be said."""

    def __init__(self, profile: ModelProfile) -> None:
        self.notes: list[str] = []
        self.dropped: list[str] = []
        self._profile = profile
        self._itself = profile.provider in OPENAI_ITSELF
        if has_no_system_role(profile.model):
            self._system = "user"
        else:
            self._system = "developer" if self._itself and is_reasoning_family(profile.model) else "system"

    def render(self, messages: Sequence[Message]) -> list[dict[str, Any]]:
        """All messages; tool results one by one, what they cannot hold in a user message after them."""
        rendered: list[dict[str, Any]] = []
        for position, message in enumerate(messages):
            match message.role:
                case "tool":
                    rendered += self._render_results(message, messages[position + 1 :])
                case "assistant":
                    rendered.append(self._render_assistant(message))
                case role:
                    if role == "system" and self._system == "user":
                        self.note("system prompt sent as a user message")
                    record: dict[str, Any] = {"role": self._system if role == "system" else "user"}
                    record["content"] = self._content(message.parts, role)
                    rendered.append(self._named(record, message.name))
        rendered += self._pending_images
        if self._profile.provider in _ALTERNATES:
            rendered = self._alternating(rendered)
        if rendered and rendered[-1]["role"] == "assistant":
            self._end_with_assistant(rendered)
        return rendered

    _pending_images: tuple[dict[str, Any], ...] = ()

    def note(self, text: str) -> None:
        """Remembers a change once."""
        if text not in self.notes:
            self.notes.append(text)

    def _named(self, record: dict[str, Any], name: str | None) -> dict[str, Any]:
        if name is not None:
            record["name"] = name
        return record

    def _end_with_assistant(self, rendered: list[dict[str, Any]]) -> None:
        if "prefill" in self._profile.refuses:
            rendered.append({"role": "user", "content": "Continue."})
            self.note("a user message was added after the last assistant message")
        elif self._profile.provider == "mistral" and not rendered[-1].get("tool_calls"):
            rendered[-1]["prefix"] = True

    def _alternating(self, rendered: list[dict[str, Any]]) -> list[dict[str, Any]]:
        merged: list[dict[str, Any]] = []
        for record in rendered:
            last = merged[-1] if merged else None
            if last is not None and last["role"] == record["role"] != "tool" and not last.get("tool_calls"):
                both = (last["content"], record["content"])
                if all(isinstance(content, str) for content in both):
                    last["content"] = "\n\n".join(both)
                else:
                    last["content"] = [part for content in both for part in _as_list(content)]
                self.note("consecutive messages of one role were merged")
            else:
                merged.append(record)
        return merged

    # ------------------------------------------------------------ assistant turns

    def _render_assistant(self, message: Message) -> dict[str, Any]:
        record: dict[str, Any] = {"role": "assistant"}
        content: list[AnyPart] = []
        calls: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for part in message.parts:
            match part:
                case ReasoningPart() if self._profile.provider == "mistral" and part.text:
                    self._drop_foreign(part)
                    content.append(part)
                case ReasoningPart():
                    self._add_reasoning(record, part)
                case ToolCallPart():
                    calls.append(self._call(part))
                case RefusalPart():
                    self._add_refusal(record, content, part)
                case AudioPart() if part.id is not None:
                    record["audio"] = {"id": part.id}
                case TextPart():
                    self._drop_foreign(part)
                    content.append(part)
                    annotations += part.annotations
                case _:
                    self.note(f"{part.__struct_config__.tag} of an assistant turn removed")
        if calls:
            content = [part for part in content if not isinstance(part, TextPart) or part.text]
        record["content"] = self._content(tuple(content), "assistant") if content else None
        if not content and not calls and not {"refusal", "audio"} & set(record):
            record["content"] = ""
        if annotations and not self._itself:
            record["annotations"] = annotations
        if calls:
            record["tool_calls"] = calls
        return self._named(record, message.name)

    def _add_refusal(self, record: dict[str, Any], content: list[AnyPart], part: RefusalPart) -> None:
        if self._itself:
            record["refusal"] = (record.get("refusal") or "") + part.text
        else:
            content.append(TextPart(text=part.text))
            self.note("refusal replayed as text")

    def _add_reasoning(self, record: dict[str, Any], part: ReasoningPart) -> None:
        state = part.state
        if state is not None and state.dialect is not Dialect.OPENAI_CHAT:
            self.note(f"reasoning state of {state.dialect.value} removed")
            if not part.text:
                return
        name = REASONING_FIELD.get(self._profile.provider, "reasoning_content")
        if name is None:
            self.note("reasoning removed: the provider takes none back")
            return
        if part.text:
            record[name] = "\n\n".join(filter(None, (record.get(name), part.text)))
        if state is not None and state.dialect is Dialect.OPENAI_CHAT:
            record.update(state.fields)

    def _drop_foreign(self, part: AnyPart) -> None:
        if part.state is not None and part.state.dialect is not Dialect.OPENAI_CHAT:
            self.note(f"state of {part.state.dialect.value} removed")

    def _call(self, part: ToolCallPart) -> dict[str, Any]:
        record: dict[str, Any] = {"id": self.call_id(part.id), "type": "function"}
        if part.custom and self._itself:
            record |= {"type": "custom", "custom": {"name": part.name, "input": part.arguments}}
        elif part.custom:
            wrapped = msgspec.json.encode({"input": part.arguments}).decode()
            record["function"] = {"name": part.name, "arguments": wrapped}
        else:
            record["function"] = {"name": part.name, "arguments": part.arguments or "{}"}
        self._drop_foreign(part)
        if part.state is not None and part.state.dialect is Dialect.OPENAI_CHAT and not self._itself:
            record.update(part.state.fields)
        return record

    def call_id(self, call_id: str) -> str:
        """The id as the provider accepts it; the same for a call and its result."""
        if self._profile.provider == "mistral" and not _MISTRAL_ID.fullmatch(call_id):
            return hashlib.sha256(call_id.encode()).hexdigest()[:9]
        if self._itself and len(call_id) > _ID_LIMIT:
            return "call_" + hashlib.sha256(call_id.encode()).hexdigest()[:32]
        return call_id

    # ------------------------------------------------------------ tool turns

    def _render_results(self, message: Message, rest: Sequence[Message]) -> list[dict[str, Any]]:
        rendered: list[dict[str, Any]] = []
        shown: list[AnyPart] = []
        for part in message.parts:
            if not isinstance(part, ToolResultPart):
                self.note("a part of a tool turn that is no result removed")
                continue
            texts: list[AnyPart] = [piece for piece in part.content if isinstance(piece, TextPart)]
            others: list[AnyPart] = [piece for piece in part.content if not isinstance(piece, TextPart)]
            if others:
                texts.append(TextPart(text="(attached in the next message)"))
                shown += [TextPart(text=f"Attachment of tool result {part.call_id}:"), *others]
                self.note("attachments of tool results moved to a user message")
            if part.is_error:
                self.note("the error mark of a tool result is not expressible")
            content = self._content(tuple(texts), "tool") if texts else ""
            record = {"role": "tool", "tool_call_id": self.call_id(part.call_id), "content": content}
            rendered.append(self._named(record, None if self._profile.provider in _NO_TOOL_NAME else part.name))
        if shown:
            user = {"role": "user", "content": self._content(tuple(shown), "user")}
            if rest and rest[0].role == "tool":
                self._pending_images = (*self._pending_images, user)
            else:
                rendered += [*self._pending_images, user]
                self._pending_images = ()
        elif self._pending_images and not (rest and rest[0].role == "tool"):
            rendered += self._pending_images
            self._pending_images = ()
        return rendered

    # ------------------------------------------------------------ content

    def _content(self, parts: Sequence[AnyPart], role: str) -> str | list[dict[str, Any]]:
        if len(parts) == 1 and isinstance(parts[0], TextPart) and parts[0].cache is None:
            return parts[0].text
        return [rendered for part in parts if (rendered := self._part(part, role)) is not None]

    def _part(self, part: AnyPart, role: str) -> dict[str, Any] | None:
        match part:
            case TextPart():
                record: dict[str, Any] | None = {"type": "text", "text": part.text}
            case ImagePart():
                record = self._image(part)
            case AudioPart():
                record = self._audio(part)
            case FilePart():
                record = self._file(part)
            case ReasoningPart():
                record = {"type": "thinking", "thinking": [{"type": "text", "text": part.text}]}
            case _:
                self.note(f"{part.__struct_config__.tag} of a {role} message removed")
                record = None
        if record is not None and part.cache is not None:
            if self._profile.provider in _TAKES_CACHE_MARKS:
                ttl = {"ttl": part.cache.ttl} if part.cache.ttl else {}
                record["cache_control"] = {"type": "ephemeral", **ttl}
            else:
                self.note("cache marks removed")
        return record

    def _image(self, part: ImagePart) -> dict[str, Any] | None:
        if part.url is None and part.data is None:
            self.note("an image by file id removed")
            self.dropped.append("messages.image")
            return None
        url = part.url or f"data:{part.media_type or sniff_image(part.data or '')};base64,{part.data}"
        image = {"url": url} if part.detail is None else {"url": url, "detail": part.detail}
        return {"type": "image_url", "image_url": image}

    def _audio(self, part: AudioPart) -> dict[str, Any] | None:
        if part.data is None:
            self.note("an audio part without data removed")
            self.dropped.append("messages.audio")
            return None
        if self._profile.provider == "mistral":
            return {"type": "input_audio", "input_audio": part.data}
        return {"type": "input_audio", "input_audio": {"data": part.data, "format": part.format or "wav"}}

    def _file(self, part: FilePart) -> dict[str, Any] | None:
        if part.text is not None:
            title = f"{part.filename}:\n" if part.filename else ""
            self.note("a text document was sent as text")
            return {"type": "text", "text": title + part.text}
        named = {} if part.filename is None else {"filename": part.filename}
        if part.file_id is not None:
            return {"type": "file", "file": {"file_id": part.file_id, **named}}
        takes = _TAKES_URLS.get(self._profile.provider)
        if part.data is not None and takes == "file_url":
            return {"type": "file_url", "file_url": {"url": part.data}}
        if part.data is not None:
            media_type = part.media_type or media_type_of(part.filename, part.data) or "application/octet-stream"
            named = named or ({"filename": "document.pdf"} if self._itself else {})
            url = f"data:{media_type};base64,{part.data}"
            if takes == "document_url":
                return {"type": "document_url", "document_url": url}
            return {"type": "file", "file": {"file_data": url, **named}}
        match takes:
            case "file":
                return {"type": "file", "file": {"file_data": part.url, **named}}
            case "document_url":
                return {"type": "document_url", "document_url": part.url}
            case "file_url":
                return {"type": "file_url", "file_url": {"url": part.url}}
            case _:
                self.note("a file by URL removed: chat completions take no file URLs")
                self.dropped.append("messages.file")
                return None


def sniff_image(data: str) -> str:
    """The media type of base64 image data by its first bytes."""
    for start, media_type in (
        ("iVBOR", "image/png"),
        ("/9j/", "image/jpeg"),
        ("R0lGO", "image/gif"),
        ("UklGR", "image/webp"),
    ):
        if data.startswith(start):
            return media_type
    return "image/png"


def _as_list(content: Any) -> list[Any]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content or ())
