"""generateContent answers, whole or streamed → canonical events."""

from __future__ import annotations

import msgspec

from polyroute.dialects.gemini.framing import ChunkDecoder
from polyroute.dialects.gemini.reading import Chunk, Reading
from polyroute.dialects.openai_chat.failures import failed, failed_inside
from polyroute.types.chat import AnyEvent
from polyroute.types.errors import AttemptFailed, ErrorKind

_DECODER = msgspec.json.Decoder(Chunk)
_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class GeminiParser:
    """An upstream stream, as events or as an array, in any split of its bytes."""

    def __init__(self) -> None:
        self._decoder = ChunkDecoder()
        self._reading = Reading()

    def feed(self, data: bytes) -> list[AnyEvent]:
        """Raises AttemptFailed on an error chunk or on a chunk that is not JSON."""
        events: list[AnyEvent] = []
        for chunk in self._decoder.feed(data):
            if chunk.strip() not in (b"", b"[DONE]"):
                events += self._reading.take(_decode(chunk))
        return events

    def close(self) -> list[AnyEvent]:
        """Raises AttemptFailed: `truncated` without a finish reason, `bad_response` when there was no chunk."""
        reading = self._reading
        events: list[AnyEvent] = []
        last = b""
        for last in self._decoder.close():
            try:
                chunk = _decode(last)
            except AttemptFailed as failure:
                if failure.failure.message != _NO_CHUNK:
                    raise
                continue  # the stream was cut inside this event
            events += reading.take(chunk)
        rest = self._decoder.rest or last
        if not reading.began:
            if self._decoder.page:
                raise failed(ErrorKind.BAD_RESPONSE, "the provider answered with a page instead of a stream", rest)
            raise failed(ErrorKind.BAD_RESPONSE, "empty answer: the stream held no chunk", rest)
        if reading.complete:
            return events + reading.finish()
        raise failed(ErrorKind.TRUNCATED, "the stream ended without a finish reason", rest)


_NO_CHUNK = "the stream held a chunk that is no generateContent answer"


def _decode(data: bytes) -> Chunk:
    """One chunk. Raises AttemptFailed for an error object and for what is no chunk."""
    try:
        chunk = _DECODER.decode(data)
    except _ERRORS as error:
        raise failed(ErrorKind.BAD_RESPONSE, _NO_CHUNK, data) from error
    if chunk.error is not None:
        raise failed_inside(chunk.error, data)
    return chunk


def parse_response(body: bytes) -> list[AnyEvent]:
    """A whole answer as events; an array of chunks counts as one answer. Raises AttemptFailed as the parser does."""
    if not body.strip():
        raise failed(ErrorKind.BAD_RESPONSE, "empty answer: the body is empty")
    try:
        value = msgspec.json.decode(body)
    except _ERRORS as error:
        words = "a page instead of JSON" if body.lstrip().startswith(b"<") else "no JSON"
        raise failed(ErrorKind.BAD_RESPONSE, f"the provider answered with {words}", body) from error
    reading = Reading()
    events: list[AnyEvent] = []
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, dict) and item.get("error"):
            raise failed_inside(item["error"], body)
        try:
            chunk = msgspec.convert(item, Chunk)
        except msgspec.ValidationError as error:
            raise failed(ErrorKind.BAD_RESPONSE, "the answer is no generateContent answer", body) from error
        events += reading.take(chunk)
    if not reading.began:
        raise failed(ErrorKind.BAD_RESPONSE, "empty answer: no candidates", body)
    end = reading.finish()
    if not reading.complete:
        raise failed(ErrorKind.TRUNCATED, "the answer has no finish reason", body)
    return events + end
