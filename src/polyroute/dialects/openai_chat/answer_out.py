"""Canonical answers → chat completions for callers, whole or streamed."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from polyroute.dialects.openai_chat.errors_out import error_object
from polyroute.dialects.openai_chat.state import render_state, render_tool_state
from polyroute.dialects.openai_chat.unwrap import CustomCalls
from polyroute.dialects.openai_chat.usage import render_usage
from polyroute.types.chat import (
    AnyEvent,
    AnyPart,
    AudioPart,
    ChatRequest,
    ChatResponse,
    Choice,
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
from polyroute.types.errors import PolyrouteError
from polyroute.types.operations import Dialect
from polyroute.types.usage import Usage

_encode = msgspec.json.encode
SERVICE_TIERS = ("auto", "default", "flex", "scale", "priority", "fast")
"""The tiers that OpenAI's types know."""
_FINISHES = {"stop": "stop", "length": "length", "tool_calls": "tool_calls", "content_filter": "content_filter"}


# ---------------------------------------------------------------- whole answers


def render_response(response: ChatResponse, request: ChatRequest) -> bytes:
    """A whole completion. Facts of other dialects are left out; an answer without an id gets one made of its content."""
    customs = CustomCalls(request)
    extra = _official(response.extra.get(Dialect.OPENAI_CHAT, {}))
    body: dict[str, Any] = {
        "id": response.id or "chatcmpl-" + hashlib.sha256(repr(response.choices).encode()).hexdigest()[:24],
        "object": "chat.completion",
        "created": response.created or 0,
        "model": request.model,
        "choices": [_render_choice(number, choice, customs) for number, choice in enumerate(response.choices)],
    }
    if response.usage is not None:
        body["usage"] = render_usage(response.usage)
    return _encode({**extra, **body})


def _render_choice(number: int, choice: Choice, customs: CustomCalls) -> dict[str, Any]:
    message = _render_message(choice.parts, customs)
    logprobs = None if choice.logprobs is None else {"content": list(choice.logprobs), "refusal": None}
    rendered = {"index": number, "message": message, "logprobs": logprobs, "finish_reason": _finish(choice.finish)}
    if choice.finish.stop_sequence is not None:
        rendered["stop_reason"] = choice.finish.stop_sequence
    return rendered


def _render_message(parts: tuple[AnyPart, ...], customs: CustomCalls) -> dict[str, Any]:
    texts: list[str] = []
    refusals: list[str] = []
    reasoning: list[str] = []
    message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None}
    for part in parts:
        match part:
            case TextPart():
                texts.append(part.text)
                if part.annotations:
                    message["annotations"] = [*message.get("annotations", ()), *part.annotations]
            case RefusalPart():
                refusals.append(part.text)
            case ReasoningPart():
                reasoning.append(part.text)
                for name, value in render_state(part).items():
                    message[name] = [*message.get(name, ()), *value] if isinstance(value, list) else value
            case ToolCallPart():
                message.setdefault("tool_calls", []).append(_render_call(customs.restore(part)))
            case AudioPart():
                message["audio"] = {"id": part.id or "", "data": part.data or "", "expires_at": 0}
                message["audio"]["transcript"] = part.transcript or ""
            case ImagePart():
                message.setdefault("images", []).append(_render_image(part))
            case _:
                pass
    if texts:
        message["content"] = "".join(texts)
    if refusals:
        message["refusal"] = "".join(refusals)
    if any(reasoning):
        message["reasoning_content"] = "\n\n".join(filter(None, reasoning))
    return message


def _render_call(part: ToolCallPart) -> dict[str, Any]:
    if part.custom:
        call: dict[str, Any] = {"id": part.id, "type": "custom", "custom": {"name": part.name, "input": part.arguments}}
    else:
        function = {"name": part.name, "arguments": part.arguments or "{}"}
        call = {"id": part.id, "type": "function", "function": function}
    if (content := render_tool_state(part.state)) is not None:
        call["extra_content"] = content
    return call


def _render_image(part: ImagePart) -> dict[str, Any]:
    url = part.url or f"data:{part.media_type or 'image/png'};base64,{part.data}"
    return {"type": "image_url", "image_url": {"url": url}}


def _official(fields: dict[str, Any]) -> dict[str, Any]:
    """Without a service tier that OpenAI's types do not know."""
    return {name: value for name, value in fields.items() if name != "service_tier" or value in SERVICE_TIERS}


def _finish(finish: Finish) -> str:
    """Every reason that OpenAI does not know is a natural end for its clients."""
    return _FINISHES.get(finish.unified, "stop")


# ---------------------------------------------------------------- streams


class _OpenCall:
    """A call that is being sent. The input of a free-form tool that went out as a function is held back to its end."""

    __slots__ = ("held", "index", "part", "sent")

    def __init__(self, index: int, part: ToolCallPart, held: bool) -> None:
        self.index = index
        self.part = part
        self.held: list[str] | None = [] if held else None
        self.sent = False


class _OpenChoice:
    __slots__ = ("calls", "reasoned", "role_sent", "separate")

    def __init__(self) -> None:
        self.role_sent = False
        self.calls = 0
        self.reasoned = False
        self.separate = False


class ChatRenderer:
    """An EventRenderer: chunks, then the usage chunk where the caller asked for it, then [DONE]."""

    def __init__(self, request: ChatRequest, response_id: str, created: int) -> None:
        self._include_usage = bool(request.include_usage)
        self._customs = CustomCalls(request)
        head = {"id": response_id, "object": "chat.completion.chunk", "created": created, "model": request.model}
        self._head = _encode(head)[:-1]
        self._prefix = b"data: " + self._head + b',"choices":[{"index":'
        usage = b',"usage":null' if self._include_usage else b""
        self._suffix = b',"logprobs":null,"finish_reason":null}]' + usage + b"}\n\n"
        self._open_suffix = b"}]" + usage + b"}\n\n"
        self._text_prefix = self._prefix + b'0,"delta":{"content":'
        self._choices: dict[int, _OpenChoice] = {}
        self._parts: dict[tuple[int, int], AnyPart] = {}
        self._calls: dict[tuple[int, int], _OpenCall] = {}
        self._reasoning: dict[tuple[int, int], list[str]] = {}
        self._usage: Usage | None = None
        self._extra: dict[str, Any] = {}

    def feed(self, event: AnyEvent) -> bytes:
        """The chunks that an event becomes."""
        match event:
            case PartDelta():
                return self._render_delta(event)
            case PartStarted():
                return self._start(event)
            case PartEnded():
                return self._end(event)
            case Finished():
                return self._role(event.choice) + self._render_finish(event)
            case Measured():
                self._usage = event.usage
            case Extra() if event.dialect is Dialect.OPENAI_CHAT:
                self._extra |= _official(event.fields)
            case _:
                pass
        return b""

    def close(self) -> bytes:
        """The end of a successful stream."""
        if not self._include_usage:
            return b"data: [DONE]\n\n"
        usage = _encode(None if self._usage is None else render_usage(self._usage))
        extra = b"," + _encode(self._extra)[1:-1] if self._extra else b""
        return b"data: " + self._head + extra + b',"choices":[],"usage":' + usage + b"}\n\ndata: [DONE]\n\n"

    def error(self, error: PolyrouteError) -> bytes:
        """An error chunk; [DONE] never follows it."""
        return b"data: " + _encode({"error": error_object(error)}) + b"\n\n"

    def _choice(self, number: int) -> _OpenChoice:
        choice = self._choices.get(number)
        if choice is None:
            choice = self._choices[number] = _OpenChoice()
        return choice

    def _role(self, number: int) -> bytes:
        """The first chunk of a choice, once."""
        choice = self._choice(number)
        if choice.role_sent:
            return b""
        choice.role_sent = True
        return self._chunk(number, b'{"role":"assistant","content":"","refusal":null}')

    def _chunk(self, number: int, delta: bytes) -> bytes:
        return self._prefix + b'%d,"delta":' % number + delta + self._suffix

    def _start(self, event: PartStarted) -> bytes:
        number, part = event.choice, event.part
        out = self._role(number)
        choice = self._choice(number)
        if isinstance(part, ToolCallPart):
            call = _OpenCall(choice.calls, part, self._customs.wraps(part))
            choice.calls += 1
            self._calls[number, event.index] = call
            if call.held is None:
                return out + self._call_chunk(
                    number, call, {"id": part.id, "type": "custom" if part.custom else "function"}
                )
            return out
        self._parts[number, event.index] = part
        if isinstance(part, ReasoningPart):
            choice.separate = choice.reasoned
        if isinstance(part, ImagePart):
            return out + self._chunk(number, _encode({"images": [_render_image(part)]}))
        if isinstance(part, AudioPart) and part.id is not None:
            return out + self._chunk(number, _encode({"audio": {"id": part.id}}))
        return out

    def _render_delta(self, event: PartDelta) -> bytes:
        number = event.choice
        part = self._parts.get((number, event.index))
        match part:
            case TextPart():
                if event.logprobs is not None:
                    return self._render_logprobs(event)
                if number == 0:
                    return self._text_prefix + _encode(event.text) + b"}" + self._suffix
                return self._chunk(number, b'{"content":' + _encode(event.text) + b"}")
            case ReasoningPart():
                choice, text = self._choices[number], event.text
                self._reasoning.setdefault((number, event.index), []).append(text)
                if choice.separate and text:
                    choice.separate, text = False, "\n\n" + text
                choice.reasoned = choice.reasoned or bool(text)
                return self._chunk(number, b'{"reasoning_content":' + _encode(text) + b"}")
            case RefusalPart():
                return self._chunk(number, b'{"refusal":' + _encode(event.text) + b"}")
            case AudioPart():
                audio = {"data": event.text} if event.text else {}
                if event.transcript is not None:
                    audio["transcript"] = event.transcript
                return self._chunk(number, _encode({"audio": audio}))
            case None:
                return self._call_delta(number, self._calls[number, event.index], event.text)
            case _:
                return b""

    def _render_logprobs(self, event: PartDelta) -> bytes:
        rendered = {"index": event.choice, "delta": {"content": event.text}, "finish_reason": None}
        rendered["logprobs"] = {"content": list(event.logprobs or ()), "refusal": None}
        return b"data: " + self._head + b',"choices":[' + _encode(rendered)[:-1] + self._open_suffix

    def _call_delta(self, number: int, call: _OpenCall, text: str) -> bytes:
        if call.held is not None:
            call.held.append(text)
            return b""
        if not text:
            return b""
        call.sent = True
        kind, name = (b"custom", b"input") if call.part.custom else (b"function", b"arguments")
        delta = b'{"tool_calls":[{"index":%d,"%b":{"%b":%b}}]}' % (call.index, kind, name, _encode(text))
        return self._chunk(number, delta)

    def _call_chunk(self, number: int, call: _OpenCall, fields: dict[str, Any]) -> bytes:
        part = call.part
        if part.custom:
            fields["custom"] = {"name": part.name, "input": part.arguments}
        else:
            fields["function"] = {"name": part.name, "arguments": part.arguments}
        call.sent = bool(part.arguments)
        return self._chunk(number, _encode({"tool_calls": [{"index": call.index, **fields}]}))

    def _end(self, event: PartEnded) -> bytes:
        number = event.choice
        part = self._parts.get((number, event.index))
        if part is None:
            return self._end_call(number, self._calls[number, event.index], event)
        if event.annotations:
            return self._chunk(number, _encode({"annotations": list(event.annotations)}))
        if isinstance(part, ReasoningPart) and event.state is not None:
            text = "".join(self._reasoning.pop((number, event.index), ()))
            fields = render_state(msgspec.structs.replace(part, state=event.state, text=text))
            return self._chunk(number, _encode(fields)) if fields else b""
        return b""

    def _end_call(self, number: int, call: _OpenCall, event: PartEnded) -> bytes:
        out = b""
        if call.held is not None:
            part = msgspec.structs.replace(call.part, arguments="".join(call.held))
            call.part, call.held = self._customs.restore(part), None
            out = self._call_chunk(number, call, {"id": part.id, "type": "custom"})
        elif not call.sent and not call.part.custom:
            out = self._call_delta(number, call, "{}")
        if (content := render_tool_state(event.state)) is not None:
            kind = {"custom": {"input": ""}} if call.part.custom else {"function": {"arguments": ""}}
            delta = {
                "index": call.index,
                **kind,
                "extra_content": content,
            }  # OpenAI's client wants the function each time
            out += self._chunk(number, _encode({"tool_calls": [delta]}))
        return out

    def _render_finish(self, event: Finished) -> bytes:
        rendered: dict[str, Any] = {"index": event.choice, "delta": {}, "logprobs": None}
        rendered["finish_reason"] = _finish(event.finish)
        if event.finish.stop_sequence is not None:
            rendered["stop_reason"] = event.finish.stop_sequence
        return b"data: " + self._head + b',"choices":[' + _encode(rendered)[:-1] + self._open_suffix
