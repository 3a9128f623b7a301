"""The translate lane's readers: answers of one dialect become answers of another."""

from __future__ import annotations

import msgspec

from polyroute.dialects.fold import fold, unfold
from polyroute.engine.observe import empty_answer, note_event, note_whole
from polyroute.ports import Call, ChatCodec, EventParser, EventRenderer, Observation
from polyroute.types.chat import AnyEvent, ChatRequest
from polyroute.types.errors import AttemptFailed, ErrorKind, Failure, PolyrouteError


def make_renderer(caller: ChatCodec, request: ChatRequest, call: Call) -> EventRenderer:
    return caller.renderer(request, call.id.removeprefix("req_"), created_at(call))


def created_at(call: Call) -> int:
    """Seconds since the epoch: a call's id begins with its milliseconds (see envelope.new_request_id)."""
    return int(call.id[4:15], 16) // 1000


class WholeTranslator:
    """A whole answer of one dialect becomes one of another: the fold of its events."""

    def __init__(
        self, upstream: ChatCodec, caller: ChatCodec, request: ChatRequest, call: Call, seen: Observation
    ) -> None:
        self.seen = seen
        self._upstream, self._caller, self._request, self._call = upstream, caller, request, call
        self._parts: list[bytes] = []

    def feed(self, data: bytes) -> bytes:
        """Nothing yet."""
        self._parts.append(data)
        return b""

    def end(self) -> bytes:
        """The answer in the caller's dialect."""
        events = self._upstream.parse_response(b"".join(self._parts))
        note_whole(events, self.seen)
        response = fold(events)
        if response.created is None or response.id is None:  # Cohere and Gemini tell no time, Ollama no id
            response = msgspec.structs.replace(
                response, created=response.created or created_at(self._call), id=response.id or self._call.id[4:]
            )
        return self._caller.render_response(response, self._request)


class StreamTranslator:
    """A stream of one dialect becomes one of another, event by event."""

    def __init__(self, parser: EventParser, renderer: EventRenderer, seen: Observation) -> None:
        self.seen = seen
        self._parser, self._renderer = parser, renderer

    def feed(self, data: bytes) -> bytes:
        """The bytes that these events become."""
        return self._render(self._parser.feed(data))

    def end(self) -> bytes:
        """The end of the caller's stream."""
        tail = self._render(self._parser.close())
        if not self.seen.meaningful:
            raise empty_answer()
        return tail + self._renderer.close()

    def finish(self) -> bytes:
        """The end of the caller's stream, where the upstream's own end did not come after all had been said."""
        return self._renderer.close()

    def error(self, error: PolyrouteError) -> bytes:
        """The caller's stream, failed."""
        return self._renderer.error(error)

    def _render(self, events: list[AnyEvent]) -> bytes:
        out = []
        for event in events:
            note_event(self.seen, event)
            out.append(self._renderer.feed(event))
        return b"".join(out)


class UnstreamedReader:
    """A provider that answered whole although a stream was asked for: the caller gets its stream all the same."""

    def __init__(self, upstream: ChatCodec, renderer: EventRenderer, seen: Observation) -> None:
        self.seen = seen
        self._upstream = upstream
        self._renderer = renderer
        self._parts: list[bytes] = []

    def feed(self, data: bytes) -> bytes:
        """Nothing yet."""
        self._parts.append(data)
        return b""

    def end(self) -> bytes:
        """The whole stream at once."""
        body = b"".join(self._parts)
        if body.lstrip()[:1] not in (b"{", b"["):
            raise AttemptFailed(
                Failure(
                    kind=ErrorKind.BAD_RESPONSE,
                    message="The provider's answer is neither a stream nor JSON.",
                    detail=body[:2000].decode("utf-8", "replace"),
                )
            )
        events = unfold(fold(self._upstream.parse_response(body)))
        note_whole(events, self.seen)
        return b"".join(self._renderer.feed(event) for event in events) + self._renderer.close()
