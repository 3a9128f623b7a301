"""The output items of an upstream Responses answer → events of parts."""

from __future__ import annotations

from typing import Any

from polyroute.dialects.openai_chat.annotations import nested
from polyroute.dialects.openai_responses.state import opaque, read_call_state, read_reasoning, texts_of
from polyroute.types.chat import (
    AnyEvent,
    AnyPart,
    ImagePart,
    PartDelta,
    PartEnded,
    PartStarted,
    ProviderState,
    ReasoningPart,
    RefusalPart,
    TextPart,
    ToolCallPart,
)
from polyroute.types.operations import Dialect

_CALLS = {"function_call": "arguments", "custom_tool_call": "input"}


class _OpenPart:
    """A part that was begun: its index, how much of it was sent, and what comes with its end."""

    __slots__ = ("annotations", "block", "index", "sent")

    def __init__(self, index: int, block: tuple[str, int]) -> None:
        self.index = index
        self.block = block
        self.sent = 0
        self.annotations: tuple[dict[str, Any], ...] = ()


class _Item:
    """An output item; its parts by content index (messages), one part (calls and reasoning)."""

    __slots__ = ("done", "id", "parts", "phase")

    def __init__(self) -> None:
        self.id: str | None = None
        self.phase: str | None = None
        self.parts: dict[int, _OpenPart] = {}
        self.done = False


class OutputReading:
    """The items of one answer, in the order in which they appear. Parts end with their item."""

    def __init__(self) -> None:
        self.meaningful = False
        self.called = False
        self._items: dict[int, _Item] = {}
        self._by_id: dict[str, _Item] = {}
        self._next_index = 0

    def item_added(self, output_index: int | None, wire: dict[str, Any], events: list[AnyEvent]) -> None:
        """An item begins. Calls begin at once; messages and reasoning with their first text."""
        item = self._item(output_index, wire.get("id"))
        item.phase = wire["phase"] if isinstance(wire.get("phase"), str) else None
        if wire.get("type") in tuple(_CALLS):
            self._begin_call(item, wire, events)

    def delta(
        self,
        output_index: int | None,
        item_id: str | None,
        kind: str,
        number: int,
        text: str,
        logprobs: Any,
        events: list[AnyEvent],
    ) -> None:
        """More of a part. `number` is the content or summary index."""
        item = self._item(output_index, item_id)
        if not text or (kind == "call" and 0 not in item.parts):
            return
        part = item.parts.get(number if kind in ("text", "refusal") else 0)
        if part is None:
            part = self._begin(item, kind, number, events)
        if kind in ("summary", "content") and part.block != (kind, number):
            if part.block[0] != kind:
                return  # summary and content say the same; the first to come is taken
            part.block = (kind, number)
            if kind == "summary" and part.sent:
                text = "\n\n" + text
        part.sent += len(text)
        found = tuple(entry for entry in logprobs if isinstance(entry, dict)) if isinstance(logprobs, list) else ()
        events.append(PartDelta(index=part.index, text=text, logprobs=found or None))

    def complete(
        self, output_index: int | None, item_id: str | None, kind: str, number: int, full: str, events: list[AnyEvent]
    ) -> None:
        """The whole text of a part: what its deltas left out follows."""
        item = self._item(output_index, item_id)
        part = item.parts.get(number if kind in ("text", "refusal") else 0)
        sent = part.sent if part is not None else 0
        if not item.done and len(full) > sent:
            self.delta(output_index, item_id, kind, number, full[sent:], None, events)

    def annotate(self, output_index: int | None, item_id: str | None, number: int, annotation: dict[str, Any]) -> None:
        """A citation of a text."""
        part = self._item(output_index, item_id).parts.get(number)
        if part is not None:
            part.annotations = (*part.annotations, *nested([annotation]))

    def item_done(self, output_index: int | None, wire: dict[str, Any], events: list[AnyEvent]) -> None:
        """An item as a whole: what was not streamed of it, then the ends of its parts. Once for each item."""
        item = self._item(output_index, wire.get("id"))
        if item.done:
            return
        item.done = True
        match wire.get("type"):
            case "message":
                self._end_message(item, wire, events)
            case "reasoning":
                self._end_reasoning(item, wire, events)
            case "function_call" | "custom_tool_call" as kind:
                self._end_call(item, wire, wire.get(_CALLS[kind]), events)
            case "image_generation_call" if isinstance(wire.get("result"), str) and wire["result"]:
                self.meaningful = True
                media_type = f"image/{wire.get('output_format') or 'png'}"
                self._whole(ImagePart(data=wire["result"], media_type=media_type), None, events)
            case str():
                self.meaningful = True
                part = opaque(wire)
                self._whole(ReasoningPart(), part.state, events)
            case _:
                pass

    def end(self, events: list[AnyEvent]) -> None:
        """The answer is over: ends the parts of items whose end was not told."""
        for item in self._items.values():
            if not item.done:
                item.done = True
                self._end_parts(item, self._said_state(item), events)

    # ------------------------------------------------------------ kinds of items

    def _end_message(self, item: _Item, wire: dict[str, Any], events: list[AnyEvent]) -> None:
        phase = wire.get("phase")
        item.phase = phase if isinstance(phase, str) else item.phase
        content = wire.get("content")
        for number, piece in enumerate(content if isinstance(content, list) else ()):
            if not isinstance(piece, dict):
                continue
            kind, name = ("refusal", "refusal") if piece.get("type") == "refusal" else ("text", "text")
            full = piece.get(name)
            part = item.parts.get(number)
            if not isinstance(full, str) or (not full and part is None):
                continue
            if part is None:
                part = self._begin(item, kind, number, events)
            logprobs = piece.get("logprobs") if not part.sent else None
            if len(full) > part.sent:
                found = tuple(e for e in logprobs if isinstance(e, dict)) if isinstance(logprobs, list) else ()
                events.append(PartDelta(index=part.index, text=full[part.sent :], logprobs=found or None))
                part.sent = len(full)
            if isinstance(told := piece.get("annotations"), list) and told:
                part.annotations = nested(told)
        self._end_parts(item, self._said_state(item), events)

    def _end_reasoning(self, item: _Item, wire: dict[str, Any], events: list[AnyEvent]) -> None:
        read = read_reasoning(wire)
        part = item.parts.get(0)
        if part is None:
            if not read.text and "encrypted_content" not in (read.state.fields if read.state else ()):
                return
            summary = bool(texts_of(wire.get("summary")))
            part = self._begin(item, "summary" if summary else "content", 0, events)
        if len(read.text) > part.sent:
            events.append(PartDelta(index=part.index, text=read.text[part.sent :]))
        self._end_parts(item, read.state, events)

    def _begin_call(self, item: _Item, wire: dict[str, Any], events: list[AnyEvent]) -> None:
        call_id = wire.get("call_id") or wire.get("id")
        name = wire.get("name")
        if 0 in item.parts or not isinstance(call_id, str) or not isinstance(name, str) or not name:
            return
        custom = wire.get("type") == "custom_tool_call"
        self._start(item, 0, ("call", 0), ToolCallPart(id=call_id, name=name, custom=custom), events)
        self.called = True

    def _end_call(self, item: _Item, wire: dict[str, Any], full: Any, events: list[AnyEvent]) -> None:
        self._begin_call(item, wire, events)
        part = item.parts.get(0)
        if part is None:
            return
        if isinstance(full, str) and len(full) > part.sent:
            events.append(PartDelta(index=part.index, text=full[part.sent :]))
        self._end_parts(item, read_call_state(wire), events)

    # ------------------------------------------------------------ parts

    def _item(self, output_index: int | None, item_id: Any) -> _Item:
        """The item of an event: by its id, else by its place."""
        known = isinstance(item_id, str) and bool(item_id)
        item = self._by_id.get(item_id) if known else None
        if item is None and output_index is not None:
            item = self._items.get(output_index)
            if item is not None and known and item.id is not None and item.id != item_id:
                item = None  # places were counted anew
        if item is None:
            item = _Item()
            place = output_index if output_index is not None and output_index not in self._items else len(self._items)
            while place in self._items:
                place += 1
            self._items[place] = item
        if known and item.id is None:
            item.id = item_id
            self._by_id[item_id] = item
        return item

    def _begin(self, item: _Item, kind: str, number: int, events: list[AnyEvent]) -> _OpenPart:
        part: AnyPart = TextPart(text="")
        if kind == "refusal":
            part = RefusalPart(text="")
        elif kind in ("summary", "content"):
            part = ReasoningPart(summary=kind == "summary")
        place = number if kind in ("text", "refusal") else 0
        return self._start(item, place, (kind, number), part, events)

    def _start(
        self, item: _Item, place: int, block: tuple[str, int], part: AnyPart, events: list[AnyEvent]
    ) -> _OpenPart:
        self.meaningful = True
        opened = item.parts[place] = _OpenPart(self._next_index, block)
        self._next_index += 1
        events.append(PartStarted(index=opened.index, part=part))
        return opened

    def _whole(self, part: AnyPart, state: ProviderState | None, events: list[AnyEvent]) -> None:
        events.append(PartStarted(index=self._next_index, part=part))
        events.append(PartEnded(index=self._next_index, state=state))
        self._next_index += 1

    def _end_parts(self, item: _Item, state: ProviderState | None, events: list[AnyEvent]) -> None:
        for _, part in sorted(item.parts.items()):
            events.append(PartEnded(index=part.index, state=state, annotations=part.annotations))

    def _said_state(self, item: _Item) -> ProviderState | None:
        fields = {name: value for name, value in (("id", item.id), ("phase", item.phase)) if value is not None}
        return ProviderState(Dialect.OPENAI_RESPONSES, fields) if fields else None
