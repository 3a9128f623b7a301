"""Canonical answers → Responses for callers, whole or streamed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from polyroute.dialects.fold import unfold
from polyroute.dialects.openai_chat.answer_out import SERVICE_TIERS
from polyroute.dialects.openai_chat.errors_out import error_object
from polyroute.dialects.openai_chat.unwrap import CustomCalls
from polyroute.dialects.openai_responses.output_out import CallOut, ItemOut, MessageOut, ReasoningOut, WholeOut
from polyroute.dialects.openai_responses.response_object import echo_request
from polyroute.dialects.openai_responses.usage import render_usage
from polyroute.types.chat import (
    AnyEvent,
    AudioPart,
    ChatRequest,
    ChatResponse,
    Extra,
    Finish,
    Finished,
    ImagePart,
    Measured,
    PartDelta,
    PartEnded,
    PartStarted,
    ReasoningPart,
    RefusalPart,
    TextPart,
    ToolCallPart,
)
from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.usage import Usage

_encode = msgspec.json.encode
_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
_CODES = {
    ErrorKind.RATE_LIMITED: "rate_limit_exceeded",
    ErrorKind.OVER_LIMIT: "rate_limit_exceeded",
    ErrorKind.INVALID_REQUEST: "invalid_prompt",
    ErrorKind.UNSUPPORTED: "invalid_prompt",
    ErrorKind.CONTENT_FILTERED: "invalid_prompt",
    ErrorKind.CONTEXT_TOO_LONG: "invalid_prompt",
}


def render_response(response: ChatResponse, request: ChatRequest) -> bytes:
    """A whole response: the last object of the stream that it would have been."""
    identity = response.id or "resp_" + hashlib.sha256(repr(response.choices).encode()).hexdigest()[:24]
    renderer = ResponsesRenderer(request, identity, response.created or 0)
    for event in unfold(response):
        renderer.feed(event)
    return _encode(renderer.final())


class ResponsesRenderer:
    """An EventRenderer: created, in_progress, the items one by one, and one terminal event, which waits for the stream's end
    because usage may come after the finish. Other choices than the first have no place here."""

    def __init__(self, request: ChatRequest, response_id: str, created: int) -> None:
        self._request = request
        self._customs = CustomCalls(request)
        self._shows_summary = request.reasoning is not None and request.reasoning.summary is not None
        self._base: dict[str, Any] = {
            "id": response_id,
            "object": "response",
            "created_at": created,
            "model": request.model,
            **echo_request(request),
        }
        self._suffix = response_id.removeprefix("resp_")
        self._given_ids: Mapping[int, str] = {}
        self._sequence = 0
        self._begun = False
        self._items: list[ItemOut] = []
        self._parts: dict[int, ItemOut] = {}
        self._message: MessageOut | None = None
        self._usage: Usage | None = None
        self._finish: Finish | None = None
        self._tier: str | None = None

    def feed(self, event: AnyEvent) -> bytes:
        """The events that one becomes."""
        if event.choice:
            return b""
        match event:
            case PartDelta():
                return self._delta(event)
            case PartStarted():
                return self._begin() + self._start(event)
            case PartEnded():
                return self._end(event)
            case Finished():
                self._finish = event.finish
            case Measured():
                self._usage = event.usage
            case Extra():
                tier = event.fields.get("service_tier")
                self._tier = tier if tier in SERVICE_TIERS else self._tier
            case _:
                pass
        return self._begin()

    def name_items(self, identities: Mapping[int, str]) -> None:
        """The ids of the output items by their place, where another stream has given them already."""
        self._given_ids = identities

    def number_on(self, following: int) -> None:
        """The next event has this number."""
        self._sequence = following

    def close(self) -> bytes:
        """The ends of what is still open, and the terminal event."""
        out = self._begin() + self._seal()
        out += b"".join(item.close(self) for item in self._items)
        response = self.final()
        return out + self.emit(f"response.{response['status']}", {"response": response})

    def error(self, error: PolyrouteError) -> bytes:
        """The terminal event of a stream that fails; of one that this renderer did not begin (a relayed one) an `error`
        event, because clients refuse a `response.failed` whose response is not the one that was created."""
        if not self._begun:
            described = error_object(error)
            flat = {name: described[name] for name in ("code", "message", "param")}
            return self.emit("error", {**flat, "error": described})
        failure = {"code": _CODES.get(error.kind, "server_error"), "message": error.message}
        output = [item.render() for item in self._items]
        response = self._response("failed", output) | {"error": failure, "polyroute": {"kind": error.kind.value}}
        if error.request_id is not None:
            response["polyroute"]["request_id"] = error.request_id
        return self.emit("response.failed", {"response": response})

    def final(self) -> dict[str, Any]:
        """The response object at the end."""
        reason = _INCOMPLETE.get(self._finish.unified) if self._finish is not None else None
        response = self._response("incomplete" if reason else "completed", [item.render() for item in self._items])
        if reason:
            response["incomplete_details"] = {"reason": reason}
        if self._usage is not None:
            response["usage"] = render_usage(self._usage)
        if self._tier is not None:
            response["service_tier"] = self._tier
        return response

    def emit(self, kind: str, fields: dict[str, Any]) -> bytes:
        """One event with the next sequence number."""
        number, self._sequence = self._sequence, self._sequence + 1
        data = _encode({"type": kind, "sequence_number": number, **fields})
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), data)

    def emit_delta(self, head: bytes, tail: bytes, text: str) -> bytes:
        """A text delta from prepared bytes: `head` up to the sequence number, `tail` from after it to the text."""
        number, self._sequence = self._sequence, self._sequence + 1
        return b"%b%d%b%b}\n\n" % (head, number, tail, _encode(text))

    def _begin(self) -> bytes:
        if self._begun:
            return b""
        self._begun = True
        response = self._response("in_progress", [])
        return self.emit("response.created", {"response": response}) + self.emit(
            "response.in_progress", {"response": response}
        )

    def _response(self, status: str, output: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            **self._base, "status": status, "output": output, "error": None, "incomplete_details": None, "usage": None,
        }  # fmt: skip

    def _new_id(self, prefix: str) -> str:
        place = len(self._items)
        return self._given_ids.get(place) or f"{prefix}_{self._suffix}_{place}"

    def _add(self, item: ItemOut, index: int) -> None:
        self._items.append(item)
        self._parts[index] = item

    def _seal(self) -> bytes:
        """The message item takes no further parts."""
        message, self._message = self._message, None
        return b"" if message is None else message.seal(self)

    def _start(self, event: PartStarted) -> bytes:
        part, index = event.part, event.index
        place = len(self._items)
        late = self._items[-1].begin(self) if self._items and isinstance(self._items[-1], ReasoningOut) else b""
        if isinstance(part, TextPart | RefusalPart | AudioPart):
            out = late
            if self._message is None:
                self._message = MessageOut(self._new_id("msg"), place)
                self._items.append(self._message)
                out += self._message.begin(self)
            self._parts[index] = self._message
            return out + self._message.start_part(self, index, refusal=isinstance(part, RefusalPart))
        out = late + self._seal()
        match part:
            case ReasoningPart():
                self._add(ReasoningOut(self._new_id("rs"), place, part, self._shows_summary), index)
            case ToolCallPart():
                custom = part.custom or self._customs.wraps(part)
                identity = self._new_id("ctc" if custom else "fc")
                self._add(CallOut(identity, place, part, self._customs if self._customs.wraps(part) else None), index)
            case ImagePart():
                item = {"type": "image_generation_call", "id": self._new_id("ig"), "status": "completed"}
                self._add(WholeOut(place, item | {"result": part.data or part.url}), index)
            case _:
                return out
        return out if isinstance(part, ReasoningPart) else out + self._items[-1].begin(self)

    def _delta(self, event: PartDelta) -> bytes:
        item = self._parts.get(event.index)
        text = event.text
        if isinstance(item, MessageOut):
            if event.transcript is not None:
                text = event.transcript
            return item.delta(self, event.index, text, event.logprobs)
        return b"" if item is None or not text else item.add(self, text)

    def _end(self, event: PartEnded) -> bytes:
        item = self._parts.pop(event.index, None)
        if isinstance(item, MessageOut):
            return item.end_part(self, event.index, event.annotations)
        return b"" if item is None else item.end(self, event.state)
