"""What was said, for the ledger: the caller's text and the answer's, redacted and bounded, where logging it is switched on.

The answer is read from the bytes that the caller gets, in the caller's own dialect, so that it does not matter which way it
came. Text is redacted before it is cut, so that no half of a secret is kept.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Sequence

import msgspec

from polyroute.dialects.registry import codec, is_chat
from polyroute.engine.lanes import Conversation
from polyroute.ports import EventParser
from polyroute.types.chat import (
    AnyEvent,
    AnyPart,
    AudioPart,
    FilePart,
    Message,
    PartDelta,
    PartStarted,
    ReasoningPart,
    RefusalPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from polyroute.types.errors import PolyrouteError
from polyroute.types.operations import Dialect
from polyroute.types.records import RequestRecord

logger = logging.getLogger(__name__)

REDACTED = "[redacted]"
_SLACK = 4096
"""Characters beyond the limit that are looked at, so that a secret at the limit is seen whole."""
_CUT = " … [cut]"
_LARGEST_EVENT = 4 << 20
"""Bytes without an end of a line that are looked at in answers of other operations."""

_TEXT_FIELDS = ("input", "prompt", "instructions")
_TRANSCRIPTS = frozenset({Dialect.OPENAI_TRANSCRIPTIONS, Dialect.OPENAI_TRANSLATIONS})

_API_KEY = (
    r"\b(?:sk|pk|rk|pr|gsk|xai|r8|hf|ghp|gho|ghs|github_pat|glpat|xox[abprs])[-_][A-Za-z0-9_-]{12,}"
    r"|\bAIza[A-Za-z0-9_-]{20,}|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\beyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{5,}"
    r"|\b[Bb]earer\s+[A-Za-z0-9._~+/-]{16,}"
)
_EMAIL = r"\b[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}\b"
_CARD = re.compile(r"\b\d(?:[ -]?\d){12,18}\b")

Redaction = Callable[[str], str]


class ContentLog:
    """Decides what is logged, and how much of it. `everywhere` is the choice for routes without one of their own."""

    def __init__(self, *, everywhere: bool, limit: int, redact: Sequence[str] = (), known: Sequence[str] = ()) -> None:
        """`limit` in bytes for each text; `redact` are regular expressions, `known` names of built-in ones: api_keys,
        emails, credit_cards."""
        self._everywhere = everywhere
        self._limit = limit
        self._redactions = tuple(_redactions(redact, known))

    def recorder(self, conversation: Conversation, choice: bool | None) -> Recorder | None:
        """For one request; None when it is not to be logged. `choice` is the route's own."""
        wanted = self._everywhere if choice is None else choice
        return Recorder(self, conversation) if wanted else None

    @property
    def most(self) -> int:
        """Characters of a text that are looked at."""
        return self._limit + _SLACK

    def keep(self, text: str) -> str | None:
        """The text as it is kept; None for an empty one."""
        if not text:
            return None
        whole = len(text) < self.most
        text = text[: self.most]
        for redaction in self._redactions:
            text = redaction(text)
        if not whole:
            text = text[:-_SLACK]  # whose end was not seen
        data = text.encode("utf-8", "replace")
        if len(data) > self._limit or not whole:
            return data[: self._limit].decode("utf-8", "ignore") + _CUT
        return text


class Recorder:
    """Listens to one request."""

    __slots__ = ("_conversation", "_dialect", "_failed", "_log", "_parser", "_pieces", "_raw", "_size", "_texts")

    def __init__(self, log: ContentLog, conversation: Conversation) -> None:
        self._log = log
        self._conversation = conversation
        self._dialect = conversation.call.dialect
        self._parser: EventParser | None = None
        self._texts: set[int] = set()
        self._pieces: list[str] = []
        self._raw = bytearray()
        self._size = 0
        self._failed = False

    def whole(self, body: bytes) -> None:
        """The caller gets this whole answer."""
        if is_chat(self._dialect):
            try:
                self._take(codec(self._dialect).parse_response(body))
            except Exception:  # noqa: BLE001 - whatever is wrong with it, the caller gets it
                self._failed = True
        elif self._dialect in _TRANSCRIPTS:
            self._put(_transcript(body))

    def add(self, data: bytes) -> None:
        """The caller gets these bytes of a stream."""
        if self._failed or self._size > self._log.most or not data:
            return
        if is_chat(self._dialect):
            if self._parser is None:
                self._parser = codec(self._dialect).parser()
            try:
                self._take(self._parser.feed(data))
            except Exception:  # noqa: BLE001 - whatever is wrong with it, the caller's stream goes on
                self._failed = True
        elif self._dialect in _TRANSCRIPTS and not self._conversation.call.stream:
            self._put(data.decode("utf-8", "replace"))  # plain text, handed on as it comes
        elif self._dialect in _TRANSCRIPTS:
            self._raw += data
            *lines, rest = bytes(self._raw).split(b"\n")
            self._raw = bytearray(rest[:_LARGEST_EVENT])
            for line in lines:
                self._put(_delta(line))

    def fill(self, record: RequestRecord) -> None:
        """The request is over: what was said goes into its record. Raises nothing: the record matters more."""
        try:
            record.input_text = self._log.keep("\n".join(_input(self._conversation, self._log.most)))
            record.output_text = self._log.keep("".join(self._pieces))
        except Exception as error:  # noqa: BLE001
            record.input_text = record.output_text = None
            logger.warning("the content of request %s is not in the ledger (%s)", record.id, type(error).__name__)

    def _take(self, events: Sequence[AnyEvent]) -> None:
        for event in events:
            if isinstance(event, PartStarted):
                part = event.part
                if isinstance(part, ReasoningPart):
                    continue
                self._texts.add(self._place(event))
                text = _part_text(part)
                self._put(f"\n{text}" if isinstance(part, ToolCallPart) and self._pieces else text)
            elif isinstance(event, PartDelta) and self._place(event) in self._texts:
                self._put(event.transcript if event.transcript is not None else event.text)

    @staticmethod
    def _place(event: PartStarted | PartDelta) -> int:
        return event.choice << 32 | event.index

    def _put(self, text: str) -> None:
        if text and self._size <= self._log.most:
            self._pieces.append(text)
            self._size += len(text)


def _input(conversation: Conversation, most: int) -> Iterator[str]:
    """The caller's text, a piece at a time, until there is enough of it."""
    call, size = conversation.call, 0
    if is_chat(call.dialect):
        try:
            messages: Sequence[Message] = conversation.request.messages
        except PolyrouteError:
            messages = ()  # what was refused, or only its provider understands
        for message in messages:
            text = f"{message.role}: {''.join(filter(None, map(_part_text, message.parts)))}"
            yield text
            size += len(text)
            if size > most:
                return
        return
    for name in _TEXT_FIELDS:
        found = (call.fields or {}).get(name)
        if found is not None:
            yield from _texts(msgspec.json.decode(found))
        elif conversation.form is not None and (value := conversation.form.get(name)) is not None:
            yield value


def _texts(value: object) -> Iterator[str]:
    """The texts of an `input`: one, a list, or parts with a `text`; numbers (tokens) are none."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, dict):
        yield from _texts(value.get("text"))


def _part_text(part: AnyPart) -> str:
    """A part in words; media are only named."""
    match part:
        case TextPart(text=text) | RefusalPart(text=text):
            return text
        case ToolCallPart():
            return f"{part.name}({part.arguments}" + (")" if part.arguments else "")
        case ToolResultPart():
            return "".join(map(_part_text, part.content))
        case AudioPart():
            return part.transcript or ""
        case FilePart():
            return part.text or f"[file {part.filename or part.file_id or ''}]"
        case ReasoningPart():
            return ""
        case _:
            return "[image]"


def _transcript(body: bytes) -> str:
    """The text of a whole transcription: JSON with a `text`, or text itself."""
    if not body.startswith(b"{"):
        return body.decode("utf-8", "replace")
    try:
        found = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return ""
    return str(found.get("text") or "")


def _delta(line: bytes) -> str:
    """The text that one line of a streamed transcription adds."""
    if not line.startswith(b"data:"):
        return ""
    try:
        event = msgspec.json.decode(line[5:].strip())
    except msgspec.DecodeError:
        return ""
    return str(event.get("delta") or "") if isinstance(event, dict) else ""


def _redactions(patterns: Sequence[str], known: Sequence[str]) -> Iterator[Redaction]:
    built_in = {"api_keys": _API_KEY, "emails": _EMAIL}
    for pattern in (*(built_in[name] for name in known if name in built_in), *patterns):
        yield _replacing(re.compile(pattern))
    if "credit_cards" in known:
        yield lambda text: _CARD.sub(_card, text)


def _replacing(pattern: re.Pattern[str]) -> Redaction:
    return lambda text: pattern.sub(REDACTED, text)


def _card(found: re.Match[str]) -> str:
    """Numbers of cards have a check digit (Luhn); others stay."""
    digits = [int(char) for char in found[0] if char.isdigit()]
    doubled = [digit if at % 2 == 0 else digit * 2 - 9 * (digit > 4) for at, digit in enumerate(reversed(digits))]
    return REDACTED if sum(doubled) % 10 == 0 else found[0]
