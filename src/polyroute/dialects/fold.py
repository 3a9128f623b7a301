"""A whole answer is the fold of its events; and back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from polyroute.types.chat import (
    AnyEvent,
    AnyPart,
    AudioPart,
    ChatResponse,
    Choice,
    Extra,
    Finish,
    Finished,
    Measured,
    PartDelta,
    PartEnded,
    PartStarted,
    ReasoningPart,
    RefusalPart,
    Started,
    TextPart,
    ToolCallPart,
)
from polyroute.types.operations import Dialect
from polyroute.types.usage import Usage


class _OpenPart:
    """A part while its deltas arrive."""

    __slots__ = ("ended", "part", "text", "transcript")

    def __init__(self, part: AnyPart) -> None:
        self.part = part
        self.text: list[str] = []
        self.transcript: list[str] = []
        self.ended: PartEnded | None = None

    def build(self) -> AnyPart:
        """The part with everything that came."""
        part, text = self.part, "".join(self.text)
        changes: dict[str, Any] = {}
        if self.ended is not None and self.ended.state is not None:
            changes["state"] = self.ended.state
        match part:
            case TextPart():
                annotations = part.annotations + (self.ended.annotations if self.ended else ())
                changes |= {"text": part.text + text, "annotations": annotations}
            case ReasoningPart() | RefusalPart():
                changes["text"] = part.text + text
            case ToolCallPart():
                changes["arguments"] = part.arguments + text
            case AudioPart():
                changes["data"] = (part.data or "") + text or None
                changes["transcript"] = (part.transcript or "") + "".join(self.transcript) or None
            case _:
                pass
        return msgspec.structs.replace(part, **changes)


class _OpenChoice:
    __slots__ = ("finish", "logprobs", "parts")

    def __init__(self) -> None:
        self.parts: dict[int, _OpenPart] = {}
        self.finish: Finish | None = None
        self.logprobs: list[dict[str, Any]] | None = None


class ResponseFold:
    """Collects events into one ChatResponse."""

    def __init__(self) -> None:
        self._started: Started | None = None
        self._choices: dict[int, _OpenChoice] = {}
        self._usage: Usage | None = None
        self._extra: dict[str, dict[str, Any]] = {}

    def add(self, event: AnyEvent) -> None:
        """Take one event, in order."""
        match event:
            case Started():
                self._started = self._started or event
            case PartStarted():
                self._choice(event.choice).parts[event.index] = _OpenPart(event.part)
            case PartDelta():
                choice = self._choice(event.choice)
                part = choice.parts[event.index]
                part.text.append(event.text)
                if event.transcript is not None:
                    part.transcript.append(event.transcript)
                if event.logprobs is not None:
                    choice.logprobs = [*(choice.logprobs or ()), *event.logprobs]
            case PartEnded():
                self._choice(event.choice).parts[event.index].ended = event
            case Finished():
                self._choice(event.choice).finish = event.finish
            case Measured():
                self._usage = event.usage
            case Extra():
                self._extra.setdefault(event.dialect, {}).update(event.fields)

    def _choice(self, number: int) -> _OpenChoice:
        return self._choices.setdefault(number, _OpenChoice())

    def result(self) -> ChatResponse:
        """What the events add up to; a choice that never finished has `other`."""
        started = self._started or Started()
        choices = tuple(
            Choice(
                parts=tuple(choice.parts[index].build() for index in sorted(choice.parts)),
                finish=choice.finish or Finish("other"),
                logprobs=None if choice.logprobs is None else tuple(choice.logprobs),
            )
            for _, choice in sorted(self._choices.items())
        )
        return ChatResponse(
            id=started.id, model=started.model, created=started.created, choices=choices, usage=self._usage,
            extra=self._extra,
        )  # fmt: skip


def fold(events: Iterable[AnyEvent]) -> ChatResponse:
    """Events of a whole answer → the answer."""
    folding = ResponseFold()
    for event in events:
        folding.add(event)
    return folding.result()


def unfold(response: ChatResponse) -> list[AnyEvent]:
    """A whole answer as the shortest stream of events that folds back to it."""
    events: list[AnyEvent] = [Started(id=response.id, model=response.model, created=response.created)]
    for number, choice in enumerate(response.choices):
        logprobs = choice.logprobs
        for index, part in enumerate(choice.parts):
            events += _unfold_part(number, index, part, logprobs if isinstance(part, TextPart) else None)
            logprobs = None if isinstance(part, TextPart) else logprobs
        events.append(Finished(choice=number, finish=choice.finish))
    events += [Extra(dialect=Dialect(name), fields=fields) for name, fields in response.extra.items()]
    if response.usage is not None:
        events.append(Measured(usage=response.usage))
    return events


def _unfold_part(choice: int, index: int, part: AnyPart, logprobs: tuple[dict[str, Any], ...] | None) -> list[AnyEvent]:
    text, transcript, changes = "", None, dict[str, Any]()
    annotations: tuple[dict[str, Any], ...] = ()
    match part:
        case TextPart():
            text, annotations = part.text, part.annotations
            changes = {"text": "", "annotations": ()}
        case ReasoningPart() | RefusalPart():
            text, changes = part.text, {"text": ""}
        case ToolCallPart():
            text, changes = part.arguments, {"arguments": ""}
        case AudioPart():
            text, transcript = part.data or "", part.transcript
            changes = {"data": None, "transcript": None}
        case _:
            pass
    events: list[AnyEvent] = [
        PartStarted(choice=choice, index=index, part=msgspec.structs.replace(part, state=None, **changes))
    ]
    if text or transcript or logprobs:
        events.append(PartDelta(choice=choice, index=index, text=text, transcript=transcript, logprobs=logprobs))
    events.append(PartEnded(choice=choice, index=index, state=part.state, annotations=annotations))
    return events
