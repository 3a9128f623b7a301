"""What an answer shows of itself while it passes: the relay lane's readers, and the same notes for translated answers."""

from __future__ import annotations

from polyroute.dialects import media
from polyroute.dialects.openai_chat.observer import observe_chat
from polyroute.dialects.registry import codec, is_chat
from polyroute.ports import EventParser, Observation
from polyroute.types.chat import (
    AnyEvent,
    AudioPart,
    Finished,
    ImagePart,
    Measured,
    PartDelta,
    PartEnded,
    PartStarted,
    ReasoningPart,
    Started,
    ToolCallPart,
)
from polyroute.types.errors import AttemptFailed, ErrorKind, Failure
from polyroute.types.operations import Dialect

_EVENT_ENDS = (b"\n\n", b"\r\n\r\n", b"\r\r")
_LINE_ENDS = (b"\n",)
_BY_LINES = frozenset({Dialect.OLLAMA, Dialect.OLLAMA_GENERATE})
STREAM_ENDS = {
    Dialect.OPENAI_CHAT: b"data: [DONE]\n\n",
    Dialect.ANTHROPIC_MESSAGES: b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
}
"""What follows the finish reason, in the dialects where something does."""
WAITED_FOR = frozenset({Dialect.ANTHROPIC_MESSAGES})
"""Dialects whose clients take a stream for broken without its end; a missing `[DONE]` is passed on as it is, missing."""

_OPENAI_CHAT = Dialect.OPENAI_CHAT  # looking a member up costs more than comparing it


def note_event(seen: Observation, event: AnyEvent) -> None:
    """Write down what one canonical event tells."""
    match event:
        case PartDelta():
            if event.text or event.transcript:
                seen.meaningful = True
                seen.characters += len(event.text)
        case PartStarted():
            if isinstance(event.part, ToolCallPart | ImagePart | AudioPart) or (
                isinstance(event.part, ReasoningPart) and event.part.redacted
            ):
                seen.meaningful = True
        case PartEnded():
            if event.state is not None:
                seen.meaningful = True
        case Started():
            seen.model = event.model or seen.model
            seen.upstream_id = event.id or seen.upstream_id
        case Finished():
            seen.finish = event.finish.unified
            seen.complete = True
            if event.finish.unified == "content_filter":
                seen.meaningful = True
        case Measured():
            seen.usage = event.usage
        case _:
            pass


def empty_answer() -> AttemptFailed:
    """The provider answered without content."""
    return AttemptFailed(Failure(kind=ErrorKind.BAD_RESPONSE, message="The provider gave an empty answer."))


class ParserObserver:
    """Relays a stream of any chat dialect as it is, watching it through the dialect's own parser. Bytes leave in whole events,
    so that something else can follow on them when the stream breaks."""

    def __init__(self, parser: EventParser, seen: Observation, dialect: Dialect) -> None:
        self.seen = seen
        self._end_mark = b"message_stop" if dialect is Dialect.ANTHROPIC_MESSAGES else None
        self._parser = parser
        self._boundaries = _LINE_ENDS if dialect in _BY_LINES else _EVENT_ENDS
        self._pieces: list[bytes] = []
        self._tail = b""

    def feed(self, data: bytes) -> bytes:
        """The same bytes, up to the last event that is complete."""
        probe = self._tail + data
        end = max(probe.rfind(boundary) + len(boundary) if boundary in probe else 0 for boundary in self._boundaries)
        if not end:
            self._pieces.append(data)
            self._tail = probe[-3:]
            return b""
        cut = end - len(self._tail)
        self._pieces.append(data[:cut])
        whole = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        rest = data[cut:]
        self._pieces = [rest] if rest else []
        self._tail = rest[-3:]
        for event in self._parser.feed(whole):
            note_event(self.seen, event)
        if self.seen.complete and self._end_mark is not None and self._end_mark in whole:
            self.seen.ended = True
        return whole

    def end(self) -> bytes:
        """What has no end of its own; raises when the stream was broken off or empty."""
        rest = b"".join(self._pieces)
        self._pieces = []
        for event in (*self._parser.feed(rest), *self._parser.close()):
            note_event(self.seen, event)
        if not self.seen.meaningful:
            raise empty_answer()
        return rest


class BytesObserver:
    """Relays binary or text content; anything but an empty body, an HTML page or a JSON error counts as content."""

    def __init__(
        self, seen: Observation, content_type: bytes, asked: media.Asked = media.NOTHING_ASKED,
        dialect: Dialect | None = None,
    ) -> None:  # fmt: skip
        self.seen = seen
        self._refused = content_type.startswith((b"text/html", b"application/json", b"application/problem+json"))
        self._content_type = content_type
        self._asked = asked
        self._dialect = dialect if content_type.startswith(b"text/event-stream") else None
        self._line = b""

    def feed(self, data: bytes) -> bytes:
        """The same bytes."""
        if self._refused:
            raise AttemptFailed(
                Failure(
                    kind=ErrorKind.BAD_RESPONSE,
                    message=f"The provider answered {self._content_type.decode('latin-1')} where media was due.",
                    detail=data[:2000].decode("utf-8", "replace"),
                )
            )
        if data:
            if not self.seen.meaningful:
                self.seen.meaningful = True
                media.observe_spoken(self._asked, self.seen)
            if self._dialect is not None:
                self._read_events(data, self._dialect)
        return data

    def _read_events(self, data: bytes, dialect: Dialect) -> None:
        """Look for the usage, which one of the last events tells."""
        *lines, self._line = (self._line + data).split(b"\n")
        for line in lines:
            if line.startswith(b"data:") and b'"usage"' in line:
                media.observe_event(dialect, line[5:], self._asked, self.seen)

    def end(self) -> bytes:
        """Nothing more; raises when nothing came."""
        if not self.seen.meaningful:
            raise empty_answer()
        if self._dialect is not None and self._line:
            self._read_events(b"\n", self._dialect)
        self.seen.complete = True
        return b""


class WholeObserver:
    """Relays a whole answer after a look at it."""

    def __init__(self, dialect: Dialect, seen: Observation, asked: media.Asked = media.NOTHING_ASKED) -> None:
        self.seen = seen
        self._dialect = dialect
        self._asked = asked
        self._parts: list[bytes] = []

    def feed(self, data: bytes) -> bytes:
        """Nothing yet: the answer counts when it is whole."""
        self._parts.append(data)
        return b""

    def end(self) -> bytes:
        """The answer as it came."""
        body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        if self._dialect is _OPENAI_CHAT:
            self.seen = observe_chat(body)
        elif is_chat(self._dialect):
            note_whole(codec(self._dialect).parse_response(body), self.seen)
        else:
            media.observe_json(self._dialect, body, self.seen, self._asked)
        return body


def note_whole(events: list[AnyEvent], seen: Observation) -> None:
    for event in events:
        note_event(seen, event)
    if not seen.meaningful:
        raise empty_answer()
