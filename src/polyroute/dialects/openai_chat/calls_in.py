"""Tool-call deltas → parts: by index where there is one, by id and name where there is none or it is stuck at 0."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec

from polyroute.dialects.openai_chat.state import read_tool_state
from polyroute.dialects.openai_chat.wire import WireFunction, WireToolCall
from polyroute.types.chat import AnyEvent, PartDelta, PartEnded, PartStarted, ToolCallPart


class _Slot:
    """One call while its pieces arrive. `part` is its part's index once it has begun."""

    __slots__ = ("custom", "extra_content", "held", "id", "name", "number", "part")

    def __init__(self, number: int) -> None:
        self.number = number
        self.id = ""
        self.name = ""
        self.custom = False
        self.held = ""
        self.part: int | None = None
        self.extra_content: dict[str, object] = {}


class CallAssembly:
    """The calls of one choice, in the order in which they appeared."""

    def __init__(self, choice: int, salt: str) -> None:
        self._choice = choice
        self._salt = salt
        self._slots: list[_Slot] = []
        self._by_index: dict[int, _Slot] = {}
        self._by_id: dict[str, _Slot] = {}
        self._last: _Slot | None = None
        self._next_index = 0

    @property
    def found(self) -> bool:
        """Whether there is any call that could be called."""
        return any(slot.part is not None for slot in self._slots)

    def add(
        self, calls: Sequence[WireToolCall], legacy: WireFunction | None, next_index: int, events: list[AnyEvent]
    ) -> int:
        """Adds the events of one delta's calls; the next free part index. A call begins as soon as its name is known and
        its id is, or its arguments come."""
        self._next_index = next_index
        if legacy is not None:
            calls = (*calls, WireToolCall(index=-1, function=legacy))
        for call in calls:
            slot = self._slot_of(call)
            function, custom = call.function, call.custom
            text = ""
            if custom is not None:
                slot.custom = True
                slot.name = slot.name or custom.name or ""
                text = custom.input or ""
            elif function is not None:
                slot.name = slot.name or function.name or ""
                text = _arguments(function.arguments)
            if call.id and not slot.id:
                slot.id = call.id
                self._by_id[call.id] = slot
            if isinstance(call.extra_content, dict):
                slot.extra_content |= call.extra_content
            self._deliver(slot, text, events)
        return self._next_index

    def end(self, next_index: int, events: list[AnyEvent]) -> int:
        """Adds what is left: calls that still waited for their id, and every call's end; the next free part index."""
        self._next_index = next_index
        for slot in self._slots:
            if slot.part is None and slot.name:
                self._begin(slot, events)
            if slot.part is not None:
                state = read_tool_state(slot.extra_content)
                events.append(PartEnded(choice=self._choice, index=slot.part, state=state))
        return self._next_index

    def _slot_of(self, call: WireToolCall) -> _Slot:
        name = call.function.name if call.function else call.custom.name if call.custom else None
        if call.index is None:
            known = self._by_id.get(call.id) if call.id else None
            if known is None and (call.id or name or self._last is None):
                known = self._new()
            slot = known or self._last or self._new()
        else:
            found = self._by_index.get(call.index)
            if found is None or (call.id and found.id and call.id != found.id and name):
                found = self._by_index[call.index] = self._new()
            slot = found
        self._last = slot
        return slot

    def _new(self) -> _Slot:
        slot = _Slot(len(self._slots))
        self._slots.append(slot)
        return slot

    def _deliver(self, slot: _Slot, text: str, events: list[AnyEvent]) -> None:
        if slot.part is None:
            slot.held += text
            if not slot.name or not (slot.id or slot.held):
                return
            self._begin(slot, events)
        elif text:
            events.append(PartDelta(choice=self._choice, index=slot.part, text=text))

    def _begin(self, slot: _Slot, events: list[AnyEvent]) -> None:
        if not slot.id:
            slot.id = "call_" + hashlib.sha256(f"{self._salt}/{self._choice}/{slot.number}".encode()).hexdigest()[:24]
        slot.part = self._next_index
        self._next_index += 1
        part = ToolCallPart(id=slot.id, name=slot.name, custom=slot.custom)
        events.append(PartStarted(choice=self._choice, index=slot.part, part=part))
        if slot.held:
            events.append(PartDelta(choice=self._choice, index=slot.part, text=slot.held))
            slot.held = ""


def _arguments(arguments: object) -> str:
    if arguments is None or isinstance(arguments, str):
        return arguments or ""
    return msgspec.json.encode(arguments).decode()
