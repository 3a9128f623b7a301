"""What a caller has of a stream, kept so that another target can go on from there.

While a stream is well nothing is looked at: its bytes are put aside. They are parsed in the caller's own dialect when they
become many, or when the stream breaks.
"""

from __future__ import annotations

import msgspec

from polyroute.dialects.openai_responses.resume import ResponsesPlace
from polyroute.dialects.registry import codec
from polyroute.ports import EventParser
from polyroute.types.chat import AnyEvent, Finished, PartDelta, PartEnded, PartStarted, ReasoningPart, Started, TextPart
from polyroute.types.operations import Dialect

_MOST_UNREAD = 128 << 10
"""Bytes that are kept unparsed: about 400 tokens of chat completions."""


class Sent(msgspec.Struct, frozen=True):
    """What the caller has. `text` is the answer without reasoning; `plain` says that there is nothing but text and reasoning
    of one choice; `open_text` is the number of the text part that goes on, `open_part` that of any part without an end,
    `next_part` the first free number; `finished` that only the dialect's end marker is missing. `place` is where a Responses
    stream stands."""

    started: Started
    events: tuple[AnyEvent, ...]
    text: str
    plain: bool
    finished: bool
    open_text: int | None
    open_part: int | None
    next_part: int
    place: ResponsesPlace | None


class Delivered:
    """Collects a stream's bytes on their way to the caller."""

    __slots__ = ("_dialect", "_events", "_parser", "_pieces", "_place", "_run", "_unread")

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._pieces: list[bytes] = []
        self._unread = 0
        self._parser: EventParser | None = None
        self._events: list[AnyEvent] = []
        self._run: list[str] = []
        self._place = ResponsesPlace() if dialect is Dialect.OPENAI_RESPONSES else None

    def add(self, data: bytes) -> None:
        """The caller gets these bytes."""
        self._pieces.append(data)
        self._unread += len(data)
        if self._unread > _MOST_UNREAD:
            self._parse()

    def read(self) -> Sent:
        """What the caller has by now. Raises AttemptFailed when it cannot be told."""
        self._parse()
        self._end_run()
        started = next((event for event in self._events if isinstance(event, Started)), Started())
        parts: dict[int, PartStarted] = {}
        ended: set[int] = set()
        texts: list[str] = []
        plain, finished = True, False
        for event in self._events:
            plain = plain and event.choice == 0
            match event:
                case PartStarted():
                    parts[event.index] = event
                    plain = plain and isinstance(event.part, TextPart | ReasoningPart)
                case PartDelta(index=index) if index in parts and isinstance(parts[index].part, TextPart):
                    texts.append(event.text)
                case PartEnded():
                    ended.add(event.index)
                case Finished():
                    finished = True
                case _:
                    pass
        last = max(parts, default=None)
        is_open = last is not None and last not in ended
        is_text = last is not None and isinstance(parts[last].part, TextPart)
        return Sent(
            started=started, events=tuple(self._events), text="".join(texts), plain=plain, finished=finished,
            open_text=last if is_open and is_text else None, open_part=last if is_open else None,
            next_part=0 if last is None else last + 1, place=self._place,
        )  # fmt: skip

    def _parse(self) -> None:
        data = b"".join(self._pieces)
        self._pieces.clear()
        self._unread = 0
        if self._parser is None:
            self._parser = codec(self._dialect).parser()
        if self._place is not None:
            self._place.read(data)
        for event in self._parser.feed(data):
            self._take(event)

    def _take(self, event: AnyEvent) -> None:
        """Keeps an event; the pieces of one part's text become one event."""
        last = self._events[-1] if self._events else None
        if isinstance(event, PartDelta):
            if isinstance(last, PartDelta) and (last.index, last.choice) == (event.index, event.choice):
                self._run.append(event.text)
                return
            self._end_run()
            self._run.append(event.text)
            event = msgspec.structs.replace(event, text="", logprobs=None)
        else:
            self._end_run()
        self._events.append(event)

    def _end_run(self) -> None:
        if self._run:
            last = self._events[-1]
            assert isinstance(last, PartDelta)
            self._events[-1] = msgspec.structs.replace(last, text=last.text + "".join(self._run))
            self._run.clear()
