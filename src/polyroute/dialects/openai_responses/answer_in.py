"""Upstream Responses answers, whole or streamed → canonical events."""

from __future__ import annotations

from typing import Any

import msgspec

from polyroute.dialects.openai_chat.failures import failed, failed_inside
from polyroute.dialects.openai_chat.wire import NOT_JSON
from polyroute.dialects.openai_responses.output_in import OutputReading
from polyroute.dialects.openai_responses.usage import observe_usage
from polyroute.dialects.service_tiers import with_tier
from polyroute.dialects.sse import SseDecoder
from polyroute.types.chat import AnyEvent, Extra, Finish, Finished, FinishKind, Measured, Started
from polyroute.types.errors import AttemptFailed, ErrorKind
from polyroute.types.operations import Dialect

_INCOMPLETE: dict[str, FinishKind] = {"max_output_tokens": "length", "max_tokens": "length", "max_messages": "length",
                                      "content_filter": "content_filter", "steered": "stop"}  # fmt: skip
_DELTAS = {
    "response.output_text.delta": "text",
    "response.refusal.delta": "refusal",
    "response.function_call_arguments.delta": "call",
    "response.custom_tool_call_input.delta": "call",
    "response.mcp_call_arguments.delta": "",
    "response.reasoning_summary_text.delta": "summary",
    "response.reasoning_text.delta": "content",
}
_DONES = {
    "response.output_text.done": ("text", "text"),
    "response.refusal.done": ("refusal", "refusal"),
    "response.function_call_arguments.done": ("call", "arguments"),
    "response.custom_tool_call_input.done": ("call", "input"),
}


class WireEvent(msgspec.Struct):
    """The fields of stream events that are read."""

    type: str = ""
    delta: Any = None
    output_index: int | None = None
    content_index: int | None = None
    summary_index: int | None = None
    item_id: str | None = None
    item: dict[str, Any] | None = None
    response: dict[str, Any] | None = None
    annotation: Any = None
    logprobs: Any = None
    text: Any = None
    refusal: Any = None
    arguments: Any = None
    input: Any = None
    error: Any = None
    message: Any = None
    code: Any = None
    param: Any = None


_decode = msgspec.json.Decoder(WireEvent).decode


def parse_response(body: bytes) -> list[AnyEvent]:
    """The events of a whole answer. Raises AttemptFailed for an error, a failed or unfinished answer, and an empty one."""
    if not body.strip():
        raise failed(ErrorKind.BAD_RESPONSE, "empty answer: the body is empty")
    try:
        value = msgspec.json.decode(body)
    except NOT_JSON as error:
        page = body.lstrip().startswith(b"<")
        message = "the provider answered with a page instead of JSON" if page else "the answer is not JSON"
        raise failed(ErrorKind.BAD_RESPONSE, message, body) from error
    if isinstance(value, list) and value and isinstance(value[0], dict) and value[0].get("error"):
        value = value[0]
    if not isinstance(value, dict):
        raise failed(ErrorKind.BAD_RESPONSE, "the answer is no response object", body)
    if "output" not in value and not value.get("error") and value.get("status") != "failed":
        raise failed(ErrorKind.BAD_RESPONSE, "the answer is no response object", body)
    reading = _ResponseReading()
    events: list[AnyEvent] = []
    reading.start(value, events)
    reading.finish(value, events, body)
    return events


class ResponsesParser:
    """An EventParser. Everything that deltas left out is taken from the `.done` events and the final response."""

    def __init__(self) -> None:
        self._decoder = SseDecoder()
        self._reading = _ResponseReading()
        self._body: list[bytes] | None = None
        self._head: bytes | None = b""

    def feed(self, data: bytes) -> list[AnyEvent]:
        """Raises AttemptFailed on `error`, on `response.failed`, and on bytes that are no such stream."""
        if self._body is not None:
            self._body.append(data)
            return []
        if self._head is not None and self._holds_body(data):
            return []
        events: list[AnyEvent] = []
        for event in self._decoder.feed(data):
            self._read(event.data, event.name, events)
        return events

    def close(self) -> list[AnyEvent]:
        """Raises AttemptFailed: `truncated` without a terminal event, `bad_response` when there was no event at all."""
        if self._body is not None:
            return parse_response(b"".join(self._body))
        events: list[AnyEvent] = []
        try:
            for event in self._decoder.close():
                self._read(event.data, event.name, events)
        except AttemptFailed as failure:
            if self._reading.started and failure.failure.kind is ErrorKind.BAD_RESPONSE:
                raise failed(ErrorKind.TRUNCATED, "the stream broke off inside an event") from failure
            raise
        if not self._reading.finished:
            if self._reading.started:
                raise failed(ErrorKind.TRUNCATED, "the stream ended before its answer did")
            raise failed(ErrorKind.BAD_RESPONSE, "empty answer: the stream held no event")
        return events

    def _holds_body(self, data: bytes) -> bool:
        head = self._head = (self._head or b"") + data
        start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
        if start.startswith(b"<"):
            raise failed(ErrorKind.BAD_RESPONSE, "the provider answered with a page instead of a stream", head)
        if start.startswith((b"{", b"[")):
            self._body = [head]
            return True
        if start:
            self._head = None
        return False

    def _read(self, data: bytes, name: str, events: list[AnyEvent]) -> None:
        if self._reading.finished:
            return
        try:
            event = _decode(data)
        except msgspec.ValidationError as error:
            if data.strip() == b"[DONE]":
                return
            event = _read_leniently(data, error)
        except NOT_JSON as error:
            if not data.strip():
                return
            raise failed(ErrorKind.BAD_RESPONSE, "the stream held an event that is not JSON", data) from error
        self._reading.add(event, event.type or name, events, data)


def _read_leniently(data: bytes, error: Exception) -> WireEvent:
    """An event whose types are not the usual ones: only its type and what is an object are read."""
    try:
        value = msgspec.json.decode(data)
    except NOT_JSON:
        value = None
    if not isinstance(value, dict) or not isinstance(value.get("type"), str):
        raise failed(ErrorKind.BAD_RESPONSE, "the stream held an event that is no Responses event", data) from error
    event = WireEvent(
        type=value["type"], error=value.get("error"), message=value.get("message"), code=value.get("code")
    )
    for name in ("item", "response"):
        if isinstance(value.get(name), dict):
            setattr(event, name, value[name])
    for name in ("output_index", "content_index", "summary_index"):
        if isinstance(value.get(name), int):
            setattr(event, name, value[name])
    event.delta = value.get("delta")
    return event


class _ResponseReading:
    """Events of the wire → canonical events."""

    def __init__(self) -> None:
        self.started = False
        self.finished = False
        self._output = OutputReading()

    def start(self, response: dict[str, Any], events: list[AnyEvent]) -> None:
        """The answer begins, once."""
        if self.started:
            return
        self.started = True
        created = response.get("created_at")
        events.append(
            Started(
                id=_text(response.get("id")),
                model=_text(response.get("model")),
                created=int(created) if isinstance(created, int | float) and not isinstance(created, bool) else None,
            )
        )

    def add(self, event: WireEvent, kind: str, events: list[AnyEvent], raw: bytes) -> None:
        """One event of the stream; unknown ones mean nothing to us."""
        output = self._output
        if (delta_kind := _DELTAS.get(kind)) is not None:
            if delta_kind and isinstance(event.delta, str):
                self.start({}, events)
                index = event.content_index if delta_kind != "summary" else event.summary_index
                output.delta(
                    event.output_index, event.item_id, delta_kind, index or 0, event.delta, event.logprobs, events
                )
        elif kind == "response.output_item.added" and event.item is not None:
            self.start({}, events)
            output.item_added(event.output_index, event.item, events)
        elif kind == "response.output_item.done" and event.item is not None:
            self.start({}, events)
            output.item_done(event.output_index, event.item, events)
        elif (done := _DONES.get(kind)) is not None:
            delta_kind, field = done
            if isinstance(full := getattr(event, field), str):
                self.start({}, events)
                output.complete(event.output_index, event.item_id, delta_kind, event.content_index or 0, full, events)
        elif kind == "response.output_text.annotation.added" and isinstance(event.annotation, dict):
            output.annotate(event.output_index, event.item_id, event.content_index or 0, event.annotation)
        elif kind in ("response.completed", "response.incomplete", "response.failed", "response.cancelled"):
            response = event.response or {}
            self.start(response, events)
            self.finish({"status": kind.removeprefix("response."), **response}, events, raw)
        elif kind == "error" or event.error:
            record = event.error or {"message": event.message, "code": event.code, "param": event.param}
            raise failed_inside(record, raw)
        elif event.response is not None:
            self.start(event.response, events)

    def finish(self, response: dict[str, Any], events: list[AnyEvent], raw: bytes) -> None:
        """The final response object: what was not streamed, usage, the finish. Raises AttemptFailed when it failed."""
        status, error = response.get("status"), response.get("error")
        if error or status == "failed":
            raise failed_inside(error or {"message": "the provider reported a failed response"}, raw)
        if status in ("queued", "in_progress", "cancelled"):
            raise failed(ErrorKind.BAD_RESPONSE, f"the answer is not complete: its status is {status}", raw)
        output = response.get("output")
        for index, item in enumerate(output if isinstance(output, list) else ()):
            if isinstance(item, dict):
                self._output.item_done(index, item, events)
        self._output.end(events)
        details = response.get("incomplete_details")
        reason = _text(details.get("reason")) if isinstance(details, dict) else None
        unified: FinishKind = "tool_calls" if self._output.called else "stop"
        if status == "incomplete":
            unified = _INCOMPLETE.get(reason or "", "length")
        if not self._output.meaningful and status != "incomplete":
            raise failed(ErrorKind.BAD_RESPONSE, "empty answer: the output holds no item", raw)
        if _text(response.get("service_tier")):
            events.append(Extra(dialect=Dialect.OPENAI_RESPONSES, fields={"service_tier": response["service_tier"]}))
        if isinstance(usage := response.get("usage"), dict):
            events.append(Measured(usage=with_tier(observe_usage(usage), response.get("service_tier"))))
        events.append(Finished(finish=Finish(unified, reason or _text(status))))
        self.finished = True


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
