"""Canonical messages → `systemInstruction` and `contents`, in an order that the API accepts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from polyroute.dialects.gemini.families import Family
from polyroute.dialects.media_types import audio_media_type, media_type_of_url, sniff_media_type
from polyroute.dialects.tool_turns import arguments_object, settle_tool_turns
from polyroute.types.chat import (
    AnyPart,
    AudioPart,
    FilePart,
    ImagePart,
    Message,
    ProviderState,
    ReasoningPart,
    RefusalPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from polyroute.types.operations import Dialect

_G = Dialect.GEMINI
NO_SIGNATURE = "skip_thought_signature_validator"
"""Google's documented placeholder for calls whose signature is lost or was made by another provider's model."""
_CONTINUE = "Continue."
_EMPTY = "(empty)"


class ContentWriter:
    """Renders the turns of one request, and keeps notes of what was changed."""

    def __init__(self, family: Family) -> None:
        self.notes: list[str] = []
        self._family = family

    def note(self, words: str) -> None:
        """Keeps a note once."""
        if words not in self.notes:
            self.notes.append(words)

    def contents(self, messages: Sequence[Message]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """The system parts and the contents."""
        leading = 0
        while leading < len(messages) and messages[leading].role == "system":
            leading += 1
        system = [{"text": text} for message in messages[:leading] for text in _texts(message)]
        settled, notes = settle_tool_turns(messages[leading:])
        for words in notes:
            self.note(words)
        contents: list[dict[str, Any]] = []
        for message in settled:
            role = "model" if message.role == "assistant" else "user"
            parts = self._turn(message)
            if not parts and role == "user":
                parts = [{"text": _EMPTY}]
                self.note("an empty user turn got a placeholder")
            if contents and contents[-1]["role"] == role:
                contents[-1]["parts"] += parts
            elif parts:
                contents.append({"role": role, "parts": parts})
        if not contents and system:
            contents, system = [{"role": "user", "parts": system}], []
            self.note("the system prompt was sent as a user turn: there was no other")
        if not contents or contents[0]["role"] != "user":
            contents.insert(0, {"role": "user", "parts": [{"text": _CONTINUE if contents else _EMPTY}]})
            self.note("a user turn was added in front")
        return system, contents

    def _turn(self, message: Message) -> list[dict[str, Any]]:
        if message.role == "system":
            self.note("a system message inside the conversation was sent as a marked user turn")
            return [{"text": f"<system>\n{text}\n</system>"} for text in _texts(message)]
        if message.role == "tool":
            return self._results(part for part in message.parts if isinstance(part, ToolResultPart))
        parts: list[dict[str, Any]] = []
        first_call = True
        for part in message.parts:
            rendered = self._part(part)
            if rendered is None:
                continue
            if isinstance(part, ToolCallPart):
                if first_call and self._family.signatures and "thoughtSignature" not in rendered:
                    rendered["thoughtSignature"] = NO_SIGNATURE
                    self.note("a call without a thought signature got Google's placeholder for it")
                first_call = False
            parts.append(rendered)
        return parts

    def _part(self, part: AnyPart) -> dict[str, Any] | None:
        own = self._own_state(part.state)
        if isinstance(own.get("part"), dict):
            return dict(own["part"])
        match part:
            case TextPart(text=text) | RefusalPart(text=text):
                return {"text": text, **own} if text else None
            case ReasoningPart():
                if part.state is not None and not own:
                    return None
                return {"text": part.text, "thought": True, **own} if part.text or own else None
            case ToolCallPart():
                call = {"id": part.id, "name": part.name, "args": arguments_object(part)}
                return {"functionCall": call, **own}
            case ImagePart() | AudioPart() | FilePart():
                rendered = self._media(part)
                return None if rendered is None else {**rendered, **own}
            case ToolResultPart():
                return None  # results are only in `tool` turns

    def _own_state(self, state: ProviderState | None) -> dict[str, Any]:
        if state is None:
            return {}
        if state.dialect is _G:
            return state.fields
        self.note(f"reasoning state of {state.dialect} removed")
        return {}

    def _media(self, part: ImagePart | AudioPart | FilePart) -> dict[str, Any] | None:
        match part:
            case ImagePart():
                if part.detail not in (None, "auto"):
                    self.note("image detail removed")
                return self._image(part)
            case AudioPart():
                if part.data is not None:
                    return {"inlineData": {"mimeType": audio_media_type(part.format), "data": part.data}}
                if part.url is not None:
                    return self._by_url(part.url, audio_media_type(part.format) if part.format else None)
                return {"text": part.transcript} if part.transcript else None
            case FilePart():
                return self._file(part)

    def _image(self, part: ImagePart) -> dict[str, Any]:
        if part.data is not None:
            known = sniff_media_type(part.data)
            if known is not None and part.media_type not in (None, known):
                self.note(f"media type {part.media_type} of an image corrected to {known}")
            return {"inlineData": {"mimeType": known or part.media_type or "image/jpeg", "data": part.data}}
        if part.file_id is not None:
            return {"fileData": _without_none(mimeType=part.media_type, fileUri=part.file_id)}
        return self._by_url(part.url or "", part.media_type)

    def _file(self, part: FilePart) -> dict[str, Any] | None:
        if part.filename:
            self.note("file names removed: only the Vertex form of this API takes them")
        if part.text is not None:
            return {"text": part.text} if part.text else None
        if part.data is not None:
            media_type = part.media_type or sniff_media_type(part.data) or "application/pdf"
            return {"inlineData": {"mimeType": media_type, "data": part.data}}
        if part.file_id is not None:
            return {"fileData": _without_none(mimeType=part.media_type, fileUri=part.file_id)}
        return self._by_url(part.url or "", part.media_type)

    def _by_url(self, url: str, media_type: str | None) -> dict[str, Any]:
        self.note("media sent by its URL, which not every Gemini model fetches")
        guessed = media_type or media_type_of_url(url)
        return {"fileData": _without_none(mimeType=guessed, fileUri=url)}

    def _results(self, results: Iterable[ToolResultPart]) -> list[dict[str, Any]]:
        """Function responses first, then the pictures of results where the model takes none inside them."""
        responses: list[dict[str, Any]] = []
        behind: list[dict[str, Any]] = []
        for result in results:
            text = "\n".join(part.text for part in result.content if isinstance(part, TextPart))
            media = [
                rendered
                for part in result.content
                if not isinstance(part, TextPart) and (rendered := self._media(part)) is not None
            ]
            own = self._own_state(result.state).get("response")
            response = own if isinstance(own, dict) else {"error" if result.is_error else "output": text}
            function: dict[str, Any] = {"id": result.call_id, "name": result.name or "unknown", "response": response}
            if media and self._family.results_with_media:
                function["parts"] = media
            elif media:
                behind += [{"text": f"Media in the result of {function['name']} ({result.call_id}):"}, *media]
                self.note("pictures of a tool result were put behind the results")
            responses.append({"functionResponse": function})
        return responses + behind


def _texts(message: Message) -> list[str]:
    return [part.text for part in message.parts if isinstance(part, TextPart) and part.text]


def _without_none(**fields: str | None) -> dict[str, str]:
    return {name: value for name, value in fields.items() if value is not None}
