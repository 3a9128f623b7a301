"""Answers of the Messages API, whole or streamed → canonical events."""

from __future__ import annotations

import msgspec

from polyroute.dialects.anthropic_messages.reading import Reading, StreamEvent
from polyroute.dialects.openai_chat.failures import failed, failed_inside
from polyroute.dialects.sse import SseDecoder
from polyroute.types.chat import AnyEvent
from polyroute.types.errors import ErrorKind

_DECODER = msgspec.json.Decoder(StreamEvent)
_WHOLE = msgspec.json.Decoder()


class MessagesParser:
    """An upstream stream, in any split of its bytes."""

    def __init__(self) -> None:
        self._decoder = SseDecoder()
        self._reading = Reading()
        self._whole: list[bytes] | None = None
        self._sniffed = False
        self._done = False
        self._last = b""

    def feed(self, data: bytes) -> list[AnyEvent]:
        """Raises AttemptFailed on an error event or on an event that is not JSON."""
        if not self._sniffed:
            start = data.lstrip()
            if start:
                self._sniffed = True
                self._whole = [] if start.startswith((b"{", b"[", b"<")) else None
        if self._whole is not None:
            self._whole.append(data)
            return []
        events: list[AnyEvent] = []
        for event in self._decoder.feed(data):
            events += self._take(event.data)
        return events

    def close(self) -> list[AnyEvent]:
        """Raises AttemptFailed: `truncated` before the end of the answer, `bad_response` when there was none."""
        if self._whole is not None:
            return parse_response(b"".join(self._whole))
        events: list[AnyEvent] = []
        for event in self._decoder.close():
            self._last = event.data
            if not self._done and _is_json(event.data):  # else the stream was cut inside this event
                events += self._take(event.data)
        if self._done:
            return events
        if self._reading.reason is not None:
            self._done = True
            return events + self._reading.finish()
        if self._reading.began:
            raise failed(ErrorKind.TRUNCATED, "the stream ended before its answer did", self._last)
        raise failed(ErrorKind.BAD_RESPONSE, "empty answer: the stream held no event", self._last)

    def _take(self, data: bytes) -> list[AnyEvent]:
        try:
            event = _DECODER.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            if not data.strip() or data.strip() == b"[DONE]":
                return []
            raise failed(
                ErrorKind.BAD_RESPONSE, "the stream held an event that is not of the Messages API", data
            ) from error
        reading = self._reading
        if event.error is not None:
            raise failed_inside(event.error, data)
        if self._done:
            return []
        match event.type:
            case "content_block_delta" if event.delta is not None:
                return reading.delta(event.index or 0, event.delta)
            case "content_block_start":
                return reading.begin(event.index or 0, event.content_block or {})
            case "content_block_stop":
                return reading.end(event.index or 0)
            case "message_start":
                return [] if reading.began else reading.start(event.message or {})
            case "message_delta":
                reading.note_end(event.delta, event.usage, event.context_management)
                return []
            case "message_stop":
                self._done = True
                return reading.finish()
            case "error":
                raise failed_inside(None, data)
            case _:
                return []  # pings, and events that are not known yet


def parse_response(body: bytes) -> list[AnyEvent]:
    """A whole answer as events. Raises AttemptFailed as the stream's parser does."""
    if not body.strip():
        raise failed(ErrorKind.BAD_RESPONSE, "empty answer: the body is empty")
    try:
        message = _WHOLE.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        words = "a page instead of JSON" if body.lstrip().startswith(b"<") else "no JSON"
        raise failed(ErrorKind.BAD_RESPONSE, f"the provider answered with {words}", body) from error
    if isinstance(message, list) and message and isinstance(message[0], dict):
        message = message[0]
    if isinstance(message, dict) and (message.get("error") or message.get("type") == "error"):
        raise failed_inside(message.get("error"), body)
    if not isinstance(message, dict) or not isinstance(message.get("content"), list):
        raise failed(ErrorKind.BAD_RESPONSE, "the answer is no message", body)
    reading = Reading()
    events = reading.start(message)
    for index, block in enumerate(message["content"]):
        if isinstance(block, dict):
            events += reading.begin(index, block)
            events += reading.end(index)
    reading.note_end(message, message.get("usage"), message.get("context_management"))
    return events + reading.finish()


def _is_json(data: bytes) -> bool:
    try:
        _WHOLE.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True
