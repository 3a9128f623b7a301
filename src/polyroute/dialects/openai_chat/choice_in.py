"""One choice of an upstream chat answer: its deltas → events of its parts."""

from __future__ import annotations

from typing import Any

import msgspec

from polyroute.dialects.openai_chat.annotations import nested
from polyroute.dialects.openai_chat.calls_in import CallAssembly
from polyroute.dialects.openai_chat.content_in import thinking_text
from polyroute.dialects.openai_chat.state import details_text, merge_details
from polyroute.dialects.openai_chat.wire import FINISH_KINDS, WireMessage
from polyroute.types.chat import (
    AnyEvent,
    AnyPart,
    AudioPart,
    Finish,
    Finished,
    FinishKind,
    ImagePart,
    PartDelta,
    PartEnded,
    PartStarted,
    ProviderState,
    ReasoningPart,
    RefusalPart,
    TextPart,
)
from polyroute.types.operations import Dialect


class ChoiceReading:
    """The open parts of one choice. Text, reasoning and refusal end when another kind begins; calls end with the choice."""

    def __init__(self, number: int, salt: str) -> None:
        self.number = number
        self.meaningful = False
        self.finish_raw: str | None = None
        self.stop_sequence: str | None = None
        self._next_index = 0
        self._current = 0
        self._current_kind = ""
        self._calls = CallAssembly(number, salt)
        self._details: list[dict[str, Any]] = []
        self._extra_content: dict[str, Any] = {}
        self._annotations: tuple[dict[str, Any], ...] = ()
        self._audio: int | None = None

    def add(self, message: WireMessage, events: list[AnyEvent]) -> None:
        """Takes a delta (or a whole message) and adds its events."""
        content = message.content
        self._add_reasoning(message, events)
        if isinstance(content, str):
            if content:
                self._text("text", content, events)
        elif content:
            self._add_parts(content, events)
        if message.annotations:
            self._annotations = (*self._annotations, *nested(message.annotations))
        if message.refusal:
            self._text("refusal", message.refusal, events)
        if message.audio:
            self._add_audio(message.audio, events)
        if message.images:
            for image in message.images:
                self._add_image(image, events)
        if message.tool_calls or message.function_call:
            self.meaningful = True
            self._leave(events)
            self._next_index = self._calls.add(
                message.tool_calls or (), message.function_call, self._next_index, events
            )

    def add_logprobs(self, logprobs: Any, events: list[AnyEvent]) -> None:
        """Puts a token list on the delta that it belongs to."""
        tokens = logprobs.get("content") if isinstance(logprobs, dict) else None
        found = tuple(token for token in tokens if isinstance(token, dict)) if isinstance(tokens, list) else ()
        if not found:
            return
        for position in range(len(events) - 1, -1, -1):
            last = events[position]
            if isinstance(last, PartDelta) and last.choice == self.number and last.logprobs is None:
                events[position] = msgspec.structs.replace(last, logprobs=found)
                return
        if not self._current_kind:
            self._open("text", events)
        events.append(PartDelta(choice=self.number, index=self._current, logprobs=found))

    @property
    def empty(self) -> bool:
        """Whether no part has begun."""
        return self._next_index == 0

    def end(self, events: list[AnyEvent]) -> None:
        """Ends all parts and the choice. State that chat providers want back comes as a hidden reasoning part at the end,
        because in streams it can come after the text."""
        if self._annotations and self._current_kind != "text":
            self._open("text", events)
        self._leave(events)
        if self._audio is not None:
            events.append(PartEnded(choice=self.number, index=self._audio))
        self._next_index = self._calls.end(self._next_index, events)
        fields: dict[str, Any] = {}
        if self._details:
            fields["reasoning_details"] = self._details
        if self._extra_content:
            fields["extra_content"] = self._extra_content
        if fields:
            events.append(PartStarted(choice=self.number, index=self._next_index, part=ReasoningPart()))
            state = ProviderState(Dialect.OPENAI_CHAT, fields)
            events.append(PartEnded(choice=self.number, index=self._next_index, state=state))
        raw = self.finish_raw
        unified: FinishKind = FINISH_KINDS.get(raw or "", "other")
        if self._calls.found and unified in ("stop", "other"):
            unified = "tool_calls"
        events.append(Finished(choice=self.number, finish=Finish(unified, raw, self.stop_sequence)))

    def _add_reasoning(self, message: WireMessage, events: list[AnyEvent]) -> None:
        text = message.reasoning_content or message.reasoning
        details = message.reasoning_details
        if isinstance(details, list) and details:
            self.meaningful = True
            merge_details(self._details, details)
            text = text or details_text(details)
        if isinstance(text, str) and text:
            self._text("reasoning", text, events)
        if isinstance(message.extra_content, dict):
            self._extra_content |= message.extra_content

    def _text(self, kind: str, text: str, events: list[AnyEvent]) -> None:
        """Text of a kind: more of the open part, or a new part after that one's end."""
        if self._current_kind != kind:
            self._open(kind, events)
        events.append(PartDelta(choice=self.number, index=self._current, text=text))

    def _open(self, kind: str, events: list[AnyEvent]) -> None:
        self._leave(events)
        self.meaningful = True
        part: AnyPart = ReasoningPart()
        if kind != "reasoning":
            part = TextPart(text="") if kind == "text" else RefusalPart(text="")
        self._current, self._current_kind = self._next_index, kind
        self._next_index += 1
        events.append(PartStarted(choice=self.number, index=self._current, part=part))

    def _leave(self, events: list[AnyEvent]) -> None:
        """Ends the open text, reasoning or refusal."""
        if not self._current_kind:
            return
        annotations: tuple[dict[str, Any], ...] = ()
        if self._current_kind == "text":
            annotations, self._annotations = self._annotations, ()
        events.append(PartEnded(choice=self.number, index=self._current, annotations=annotations))
        self._current_kind = ""

    def _add_parts(self, parts: list[Any], events: list[AnyEvent]) -> None:
        """Mistral's content lists; unknown kinds of parts are left out."""
        for part in parts:
            if isinstance(part, str) and part:
                self._text("text", part, events)
            elif not isinstance(part, dict):
                continue
            elif part.get("type") == "thinking" and (text := thinking_text(part)):
                self._text("reasoning", text, events)
            elif part.get("type") in ("text", "output_text") and (said := _string(part.get("text"))):
                self._text("text", said, events)
            elif part.get("type") == "refusal" and (said := _string(part.get("refusal"))):
                self._text("refusal", said, events)

    def _add_audio(self, audio: dict[str, Any], events: list[AnyEvent]) -> None:
        identity, data, transcript = (_string(audio.get(name)) for name in ("id", "data", "transcript"))
        if not (identity or data or transcript):
            return
        self.meaningful = True
        if self._audio is None:
            self._leave(events)
            self._audio = self._next_index
            self._next_index += 1
            events.append(PartStarted(choice=self.number, index=self._audio, part=AudioPart(id=identity)))
        if data or transcript:
            events.append(PartDelta(choice=self.number, index=self._audio, text=data or "", transcript=transcript))

    def _add_image(self, image: Any, events: list[AnyEvent]) -> None:
        """An image that the model made (OpenRouter)."""
        inner = image.get("image_url") if isinstance(image, dict) else None
        url = inner.get("url") if isinstance(inner, dict) else inner
        if not isinstance(url, str) or not url:
            return
        self.meaningful = True
        self._leave(events)
        head, _, data = url.partition(";base64,")
        part = ImagePart(data=data, media_type=head[5:]) if head.startswith("data:") and data else ImagePart(url=url)
        events.append(PartStarted(choice=self.number, index=self._next_index, part=part))
        events.append(PartEnded(choice=self.number, index=self._next_index))
        self._next_index += 1


def _string(value: Any) -> str | None:
    return value if isinstance(value, str) else None
