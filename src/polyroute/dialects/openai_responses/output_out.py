"""Output items for callers: what each sends while it grows, and what it is in the end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Protocol

import msgspec

from polyroute.dialects.openai_chat.annotations import flatten
from polyroute.dialects.openai_chat.unwrap import CustomCalls
from polyroute.dialects.openai_responses.state import pack, pack_call
from polyroute.types.chat import ProviderState, ReasoningPart, ToolCallPart
from polyroute.types.operations import Dialect


class Stream(Protocol):
    """Where items write their events."""

    def emit(self, kind: str, fields: dict[str, Any]) -> bytes:
        """One event with the next sequence number."""

    def emit_delta(self, head: bytes, tail: bytes, text: str) -> bytes:
        """A text delta from prepared bytes."""


class ItemOut(ABC):
    """One output item at its place."""

    def __init__(self, identity: str, place: int) -> None:
        self.id = identity
        self.place = place
        self.done = False

    @abstractmethod
    def render(self) -> dict[str, Any]:
        """The item as it is now."""

    @abstractmethod
    def close(self, stream: Stream) -> bytes:
        """The answer is over: ends what is still open."""

    def add(self, stream: Stream, text: str) -> bytes:
        """More of its text; items without any take none."""
        return b""

    def end(self, stream: Stream, state: ProviderState | None) -> bytes:
        """Its part is complete."""
        return self.close(stream)

    def begin(self, stream: Stream) -> bytes:
        """The item is announced."""
        return stream.emit("response.output_item.added", {"output_index": self.place, "item": self.render()})

    def finish(self, stream: Stream) -> bytes:
        """The item is complete."""
        self.done = True
        return stream.emit("response.output_item.done", {"output_index": self.place, "item": self.render()})

    def prepare(self, kind: str, fields: dict[str, Any]) -> tuple[bytes, bytes]:
        """The bytes of a delta event before its sequence number, and those after it up to the delta itself."""
        rest = msgspec.json.encode({"item_id": self.id, "output_index": self.place, **fields})[1:-1]
        return b'event: %b\ndata: {"type":"%b","sequence_number":' % (
            kind.encode(),
            kind.encode(),
        ), b',%b,"delta":' % rest

    def at(self, **fields: Any) -> dict[str, Any]:
        """The fields that say where an event belongs."""
        return {"item_id": self.id, "output_index": self.place, **fields}


# ---------------------------------------------------------------- messages


class _Piece:
    """One content part of a message."""

    __slots__ = ("annotations", "ended", "head", "logprobs", "refusal", "tail", "text")

    def __init__(self, refusal: bool, prepared: tuple[bytes, bytes]) -> None:
        self.refusal = refusal
        self.head, self.tail = prepared
        self.text: list[str] = []
        self.annotations: list[dict[str, Any]] = []
        self.logprobs: list[dict[str, Any]] = []
        self.ended = False

    def render(self) -> dict[str, Any]:
        """The content part as it is now."""
        if self.refusal:
            return {"type": "refusal", "refusal": "".join(self.text)}
        return {
            "type": "output_text",
            "text": "".join(self.text),
            "annotations": list(self.annotations),
            "logprobs": list(self.logprobs),
        }


class MessageOut(ItemOut):
    """A message item, which takes texts and refusals until an item of another kind begins."""

    def __init__(self, identity: str, place: int) -> None:
        super().__init__(identity, place)
        self._pieces: list[_Piece] = []
        self._numbers: dict[int, int] = {}
        self._sealed = False

    def render(self) -> dict[str, Any]:
        """The item as it is now."""
        content = [piece.render() for piece in self._pieces]
        status = "completed" if self.done else "in_progress"
        return {"type": "message", "id": self.id, "role": "assistant", "status": status, "content": content}

    def start_part(self, stream: Stream, index: int, *, refusal: bool) -> bytes:
        """A part begins as the next content part."""
        number = self._numbers[index] = len(self._pieces)
        fields: dict[str, Any] = {"content_index": number}
        kind = "response.refusal.delta"
        if not refusal:
            kind, fields["logprobs"] = "response.output_text.delta", []
        piece = _Piece(refusal, self.prepare(kind, fields))
        self._pieces.append(piece)
        return stream.emit("response.content_part.added", self.at(content_index=number, part=piece.render()))

    def delta(self, stream: Stream, index: int, text: str, logprobs: tuple[dict[str, Any], ...] | None) -> bytes:
        """More of a part."""
        number = self._numbers[index]
        piece = self._pieces[number]
        if not text and not logprobs:
            return b""
        piece.text.append(text)
        if not logprobs:
            return stream.emit_delta(piece.head, piece.tail, text)
        piece.logprobs += logprobs
        fields = self.at(content_index=number, delta=text, logprobs=list(logprobs))
        return stream.emit("response.output_text.delta", fields)

    def end_part(self, stream: Stream, index: int, annotations: tuple[dict[str, Any], ...]) -> bytes:
        """A part is complete; so is the item when it is sealed and this was the last open part."""
        number = self._numbers[index]
        piece = self._pieces[number]
        piece.ended = True
        out = b""
        for annotation in annotations:
            piece.annotations.append(flatten(annotation))
            place = len(piece.annotations) - 1
            fields = self.at(content_index=number, annotation_index=place, annotation=piece.annotations[-1])
            out += stream.emit("response.output_text.annotation.added", fields)
        rendered = piece.render()
        if piece.refusal:
            out += stream.emit("response.refusal.done", self.at(content_index=number, refusal=rendered["refusal"]))
        else:
            fields = self.at(content_index=number, text=rendered["text"], logprobs=rendered["logprobs"])
            out += stream.emit("response.output_text.done", fields)
        out += stream.emit("response.content_part.done", self.at(content_index=number, part=rendered))
        return out + (self._finish_if_over(stream) if self._sealed else b"")

    def seal(self, stream: Stream) -> bytes:
        """No further parts come."""
        self._sealed = True
        return self._finish_if_over(stream)

    def close(self, stream: Stream) -> bytes:
        """Ends the parts that are still open, and the item."""
        self._sealed = True
        out = b""
        for index, number in self._numbers.items():
            if not self._pieces[number].ended:
                out += self.end_part(stream, index, ())
        return out + self._finish_if_over(stream)

    def _finish_if_over(self, stream: Stream) -> bytes:
        over = not self.done and all(piece.ended for piece in self._pieces)
        return self.finish(stream) if over else b""


# ---------------------------------------------------------------- reasoning


class ReasoningOut(ItemOut):
    """A reasoning item: its text as a summary where it is one or the caller asked for one, else as content. State of other
    dialects travels in `encrypted_content`. It is announced with its first text or at its end, because a part without
    text may turn out to be an item of another type."""

    def __init__(self, identity: str, place: int, part: ReasoningPart, as_summary: bool) -> None:
        super().__init__(identity, place)
        self._part = part
        self._as_summary = part.summary or as_summary
        self._text: list[str] = []
        self._item: dict[str, Any] | None = None
        self._open = False
        self._announced = False
        kind = "response.reasoning_summary_text.delta" if self._as_summary else "response.reasoning_text.delta"
        self._prepared = self.prepare(kind, {self._counter: 0})

    @property
    def _counter(self) -> str:
        return "summary_index" if self._as_summary else "content_index"

    def render(self) -> dict[str, Any]:
        """The item as it is now."""
        if self._item is not None:
            return self._item
        text = "".join(self._text)
        record: dict[str, Any] = {"type": "reasoning", "id": self.id, "summary": []}
        if text and self._as_summary:
            record["summary"] = [{"type": "summary_text", "text": text}]
        elif text:
            record["content"] = [{"type": "reasoning_text", "text": text}]
        state = self._part.state
        if state is not None and state.dialect is Dialect.OPENAI_RESPONSES and state.fields.get("id") == self.id:
            return record | state.fields
        encrypted = pack(msgspec.structs.replace(self._part, text=text), text)
        return record if encrypted is None else record | {"encrypted_content": encrypted}

    def begin(self, stream: Stream) -> bytes:
        """The item is announced, once."""
        if self._announced:
            return b""
        self._announced = True
        return super().begin(stream)

    def add(self, stream: Stream, text: str) -> bytes:
        """More of its text."""
        out = self.begin(stream)
        if not self._open:
            self._open = True
            if self._as_summary:
                part = {"type": "summary_text", "text": ""}
                out += stream.emit("response.reasoning_summary_part.added", self.at(summary_index=0, part=part))
        self._text.append(text)
        return out + stream.emit_delta(*self._prepared, text)

    def end(self, stream: Stream, state: ProviderState | None) -> bytes:
        """Its text and state are complete."""
        if self.done:
            return b""
        self._part = msgspec.structs.replace(self._part, state=state)
        if state is not None and isinstance(item := state.fields.get("item"), dict):
            self._item = item
        elif state is not None and state.dialect is Dialect.OPENAI_RESPONSES and not self._announced:
            identity = state.fields.get("id")
            self.id = identity if isinstance(identity, str) else self.id
        out, text = self.begin(stream), "".join(self._text)
        if self._open and self._as_summary:
            part = {"type": "summary_text", "text": text}
            out += stream.emit("response.reasoning_summary_text.done", self.at(summary_index=0, text=text))
            out += stream.emit("response.reasoning_summary_part.done", self.at(summary_index=0, part=part))
        elif self._open:
            out += stream.emit("response.reasoning_text.done", self.at(content_index=0, text=text))
        return out + self.finish(stream)

    def close(self, stream: Stream) -> bytes:
        """Ends the item unless it has ended."""
        return b"" if self.done else self.end(stream, None)


# ---------------------------------------------------------------- calls and whole items


class CallOut(ItemOut):
    """A call of a function or a free-form tool. With `customs` it is a function that stands for a free-form tool, whose
    input is held back until it can be unwrapped."""

    def __init__(self, identity: str, place: int, part: ToolCallPart, customs: CustomCalls | None) -> None:
        super().__init__(identity, place)
        self._part = part
        self._customs = customs
        self._custom = part.custom or customs is not None
        self._text: list[str] = []
        self._state: ProviderState | None = None
        kind = "custom_tool_call_input" if self._custom else "function_call_arguments"
        self._events = f"response.{kind}"
        self._prepared = self.prepare(f"{self._events}.delta", {})

    def render(self) -> dict[str, Any]:
        """The item as it is now."""
        text = "".join(self._text)
        if self._custom:
            record = {"type": "custom_tool_call", "id": self.id, "call_id": self._part.id, "name": self._part.name}
            return record | {"input": text, "status": self._status} | pack_call(self._state)
        record = {"type": "function_call", "id": self.id, "call_id": self._part.id, "name": self._part.name}
        return record | {"arguments": text, "status": self._status} | pack_call(self._state)

    @property
    def _status(self) -> str:
        return "completed" if self.done else "in_progress"

    def add(self, stream: Stream, text: str) -> bytes:
        """More of its arguments."""
        self._text.append(text)
        return b"" if self._customs is not None else stream.emit_delta(*self._prepared, text)

    def end(self, stream: Stream, state: ProviderState | None) -> bytes:
        """Its arguments are complete; none at all are `{}`."""
        if self.done:
            return b""
        self._state = state
        out, customs = b"", self._customs
        if customs is not None:
            part = msgspec.structs.replace(self._part, arguments="".join(self._text))
            self._customs, self._text = None, []
            if unwrapped := customs.restore(part).arguments:
                out = self.add(stream, unwrapped)
        elif not self._text and not self._custom:
            out = self.add(stream, "{}")
        text = "".join(self._text)
        if self._custom:
            out += stream.emit(f"{self._events}.done", self.at(input=text))
        else:
            out += stream.emit(f"{self._events}.done", self.at(name=self._part.name, arguments=text))
        return out + self.finish(stream)

    def close(self, stream: Stream) -> bytes:
        """Ends the item unless it has ended."""
        return b"" if self.done else self.end(stream, None)


class WholeOut(ItemOut):
    """An item that comes in one piece."""

    def __init__(self, place: int, item: dict[str, Any]) -> None:
        super().__init__(str(item.get("id") or ""), place)
        self._item = item

    def render(self) -> dict[str, Any]:
        """The item."""
        return self._item

    def close(self, stream: Stream) -> bytes:
        """Ends the item unless it has ended."""
        return b"" if self.done else self.finish(stream)
