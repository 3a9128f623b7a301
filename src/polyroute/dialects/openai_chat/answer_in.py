"""Upstream chat completions, whole or streamed → canonical events."""

from __future__ import annotations

from typing import Any

import msgspec

from polyroute.dialects.openai_chat.choice_in import ChoiceReading
from polyroute.dialects.openai_chat.failures import failed, failed_inside
from polyroute.dialects.openai_chat.observer import error_in, read_whole
from polyroute.dialects.openai_chat.usage import observe_usage
from polyroute.dialects.openai_chat.wire import (
    EXTRA_FIELDS,
    FINISH_KINDS,
    NOT_JSON,
    WireAnswer,
    WireChoice,
    decode_answer,
)
from polyroute.dialects.service_tiers import with_tier
from polyroute.dialects.sse import SseDecoder
from polyroute.types.chat import AnyEvent, Extra, Measured, Started
from polyroute.types.errors import AttemptFailed, ErrorKind
from polyroute.types.operations import Dialect


def parse_response(body: bytes) -> list[AnyEvent]:
    """The events of a whole answer, which is read as a stream of one chunk. Raises AttemptFailed as the parser does."""
    answer = read_whole(body)
    reading = _AnswerReading(whole=True)
    events = reading.add(answer, body)
    return events + reading.end(complete=True)


class ChatParser:
    """An EventParser. Finish reasons and the ends of calls come out at the stream's end, because some providers send a
    reason on every chunk or go on after it."""

    def __init__(self) -> None:
        self._decoder = SseDecoder()
        self._reading = _AnswerReading()
        self._body: list[bytes] | None = None
        self._head = b""
        self._done = False

    def feed(self, data: bytes) -> list[AnyEvent]:
        """Raises AttemptFailed on an in-band error or on bytes that are no such stream."""
        if self._body is not None:
            self._body.append(data)
            return []
        if not self._reading.touched and self._holds_body(data):
            return []
        events: list[AnyEvent] = []
        for event in self._decoder.feed(data):
            self._read(event.data, event.name, events)
        return events

    def close(self) -> list[AnyEvent]:
        """Raises AttemptFailed: `truncated` without a finish reason, `bad_response` when there was no answer at all."""
        if self._body is not None:
            return parse_response(b"".join(self._body))
        events: list[AnyEvent] = []
        try:
            for event in self._decoder.close():
                self._read(event.data, event.name, events)
        except AttemptFailed as failure:
            if self._reading.touched and failure.failure.kind is ErrorKind.BAD_RESPONSE:
                raise failed(ErrorKind.TRUNCATED, "the stream broke off inside an event") from failure
            raise
        if self._done:
            return events
        return events + self._reading.end(complete=False)

    def _holds_body(self, data: bytes) -> bool:
        """Whether the bytes so far begin a body that is no event stream, which is kept whole."""
        self._head += data
        start = self._head.removeprefix(b"\xef\xbb\xbf").lstrip()
        if start.startswith(b"<"):
            raise failed(ErrorKind.BAD_RESPONSE, "the provider answered with a page instead of a stream", self._head)
        if start.startswith((b"{", b"[")):
            self._body = [self._head]
            return True
        if start:
            self._reading.touched = True
            self._head = b""
        return False

    def _read(self, data: bytes, name: str, events: list[AnyEvent]) -> None:
        if self._done:
            return
        try:
            answer = decode_answer(data)
        except msgspec.ValidationError as error:
            if data.strip() == b"[DONE]":
                events += self._reading.end(complete=True)
                self._done = True
                return
            answer = _read_leniently(data, error)
        except NOT_JSON as error:
            if not data.strip():
                return
            raise failed(ErrorKind.BAD_RESPONSE, "the stream held an event that is not JSON", data) from error
        if answer.error or answer.object == "error" or name == "error":
            raise failed_inside(answer.error or {"message": answer.message, "code": answer.code}, data)
        events += self._reading.add(answer, data)


def _read_leniently(data: bytes, error: Exception) -> WireAnswer:
    """An event whose types are not the usual ones. Raises AttemptFailed when it is none that can be read."""
    if (told := error_in(data)) is not None:
        raise failed_inside(told, data) from error
    try:
        value = msgspec.json.decode(data)
    except NOT_JSON:
        value = None
    if isinstance(value, dict):
        for name in ("id", "model", "created", "object", "x_groq", "meta", "usage"):
            value.pop(name, None)
        for choice in value.get("choices") or () if isinstance(value.get("choices"), list) else ():
            if isinstance(choice, dict) and not isinstance(choice.get("finish_reason"), str):
                choice.pop("finish_reason", None)
        try:
            return msgspec.convert(value, WireAnswer)
        except msgspec.ValidationError:
            pass
    raise failed(ErrorKind.BAD_RESPONSE, "the stream held an event that is no chat completion chunk", data) from error


class _AnswerReading:
    """Chunks → events; a whole answer is one chunk whose delta is the message."""

    def __init__(self, *, whole: bool = False) -> None:
        self._whole = whole
        self.touched = False
        self._started = False
        self._choices: dict[int, ChoiceReading] = {}
        self._salt = ""
        self._extra: dict[str, Any] = {}
        self._usage: dict[str, Any] | None = None
        self._meta: dict[str, Any] | None = None

    def add(self, answer: WireAnswer, raw: bytes) -> list[AnyEvent]:
        """The events of one chunk. Raises AttemptFailed for errors that hide in `x_groq` or in a finish reason."""
        events: list[AnyEvent] = []
        choices = answer.choices
        if not self._started and choices:
            self._started = True
            self._salt = f"{answer.id}/{answer.created}"
            created = None if answer.created is None else int(answer.created)
            events.append(Started(id=answer.id or None, model=answer.model or None, created=created))
        if answer.has_extra:
            self._keep_extra(answer)
        if choices:
            for choice in choices:
                self._add_choice(choice, events, raw)
        if answer.usage or answer.x_groq or answer.meta:
            self._add_usage(answer, events, raw)
        return events

    def _keep_extra(self, answer: WireAnswer) -> None:
        for name in EXTRA_FIELDS:
            if (value := getattr(answer, name)) is not None:
                self._extra[name] = value

    def _add_usage(self, answer: WireAnswer, events: list[AnyEvent], raw: bytes) -> None:
        usage = answer.usage
        if answer.x_groq is not None:
            if answer.x_groq.get("error"):
                raise failed_inside(answer.x_groq["error"], raw)
            told = answer.x_groq.get("usage")
            usage = usage or (told if isinstance(told, dict) else None)
        self._meta = answer.meta or self._meta
        self._usage = usage or self._usage
        if usage or (answer.meta and self._usage):
            counted = observe_usage(self._usage or {}, self._meta)
            events.append(Measured(usage=with_tier(counted, answer.service_tier)))

    def _add_choice(self, wire: WireChoice, events: list[AnyEvent], raw: bytes) -> None:
        number = wire.index or 0
        choice = self._choices.get(number)
        if choice is None:
            choice = self._choices[number] = ChoiceReading(number, self._salt)
        message = wire.delta  # Perplexity sends both, in streams and in whole answers
        if wire.message is not None and (self._whole or (message is None and choice.empty)):
            message = wire.message
        if message is not None:
            choice.add(message, events)
        if wire.logprobs:
            choice.add_logprobs(wire.logprobs, events)
        if wire.finish_reason:
            if FINISH_KINDS.get(wire.finish_reason) == "error":
                raise failed(ErrorKind.UNAVAILABLE, f"the provider broke off its answer: {wire.finish_reason}", raw)
            choice.finish_raw = wire.finish_reason
        if wire.stop_reason and isinstance(wire.stop_reason, str):
            choice.stop_sequence = wire.stop_reason

    def end(self, *, complete: bool) -> list[AnyEvent]:
        """The last events. Raises AttemptFailed when the answer did not come to its end, or held nothing."""
        choices = [choice for _, choice in sorted(self._choices.items())]
        kinds = {FINISH_KINDS.get(choice.finish_raw, "other") for choice in choices if choice.finish_raw}
        if not complete and not kinds:
            if choices:
                raise failed(ErrorKind.TRUNCATED, "the stream ended before its answer did")
            raise failed(ErrorKind.BAD_RESPONSE, "empty answer: the stream held no event")
        if not any(choice.meaningful for choice in choices) and not kinds & {"length", "content_filter"}:
            raise failed(ErrorKind.BAD_RESPONSE, "empty answer: the provider finished without content")
        events: list[AnyEvent] = []
        for choice in choices:
            choice.end(events)
        if self._extra:
            events.append(Extra(dialect=Dialect.OPENAI_CHAT, fields=self._extra))
        return events
