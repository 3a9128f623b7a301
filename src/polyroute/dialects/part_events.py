"""Numbers the parts of an answer and opens and closes them as text, reasoning and calls arrive."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from polyroute.types.chat import (
    AnyEvent,
    PartDelta,
    PartEnded,
    PartStarted,
    ProviderState,
    ReasoningPart,
    TextPart,
    ToolCallPart,
)
from polyroute.types.errors import AttemptFailed, ErrorKind, Failure

Prose = Literal["text", "reasoning"]

_EMPTY: dict[str, TextPart | ReasoningPart] = {"text": TextPart(text=""), "reasoning": ReasoningPart()}


class PartEvents:
    """For dialects whose answers are a flow of prose with whole calls in between: one part is open at a time."""

    __slots__ = ("_next", "_open", "_open_kind", "_state", "calls")

    def __init__(self) -> None:
        self._next = 0
        self._open = -1
        self._open_kind: str | None = None
        self._state: ProviderState | None = None
        self.calls = 0

    def prose(
        self,
        events: list[AnyEvent],
        kind: Prose,
        text: str,
        *,
        logprobs: tuple[dict[str, Any], ...] | None = None,
        state: ProviderState | None = None,
    ) -> None:
        """More text or reasoning; `state` goes with a part that begins here, and another state begins another part."""
        if self._open_kind != kind or (state is not None and state != self._state):
            self.close(events)
            self._open, self._open_kind, self._state = self._next, kind, state
            self._next += 1
            events.append(PartStarted(index=self._open, part=_EMPTY[kind]))
        events.append(PartDelta(index=self._open, text=text, logprobs=logprobs))

    def close(self, events: list[AnyEvent]) -> None:
        """The open part is complete."""
        if self._open_kind is not None:
            events.append(PartEnded(index=self._open, state=self._state))
            self._open_kind, self._state = None, None

    def call(self, events: list[AnyEvent], part: ToolCallPart) -> None:
        """A whole tool call."""
        self.close(events)
        index = self._next
        self._next += 1
        self.calls += 1
        events.append(PartStarted(index=index, part=msgspec.structs.replace(part, arguments="", state=None)))
        if part.arguments:
            events.append(PartDelta(index=index, text=part.arguments))
        events.append(PartEnded(index=index, state=part.state))


def bad_answer(message: str, detail: bytes | str = b"") -> AttemptFailed:
    """The failure of an answer that is none."""
    text = detail.decode("utf-8", "replace") if isinstance(detail, bytes) else detail
    return AttemptFailed(Failure(kind=ErrorKind.BAD_RESPONSE, message=message, detail=text[:2000] or None))


def broken_off(started: bool) -> AttemptFailed:
    """The failure of a stream that ended too early, or brought nothing at all."""
    if started:
        return AttemptFailed(Failure(kind=ErrorKind.TRUNCATED, message="the stream ended before the answer did"))
    return AttemptFailed(Failure(kind=ErrorKind.BAD_RESPONSE, message="empty answer"))
