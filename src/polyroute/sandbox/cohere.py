"""Cohere's own API: chat in version 2, whole and streamed, and embeddings."""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator
from typing import Any, Literal

from polyroute.sandbox.answers import Answer, Call, compose, pieces
from polyroute.sandbox.errors import invalid
from polyroute.sandbox.exchange import (
    Exchange,
    Frame,
    Json,
    Reply,
    Stream,
    event_frame,
    identifier,
    json_reply,
    uuid_text,
)
from polyroute.sandbox.openai_reading import check_context, check_model, checked_schema, texts
from polyroute.sandbox.prompt import Attachment, Prompt, SeenCall, SeenResult, Tool, Turn, data_attachment, tokens_of
from polyroute.sandbox.vectors import model_size, vector

_FINISH_REASONS = {
    "stop": "COMPLETE",
    "stop_sequence": "STOP_SEQUENCE",
    "length": "MAX_TOKENS",
    "tool_calls": "TOOL_CALL",
    "content_filter": "ERROR",
}
_KNOWN = {
    *(
        "model",
        "messages",
        "stream",
        "tools",
        "tool_choice",
        "strict_tools",
        "documents",
        "citation_options",
        "priority",
    ),
    *("response_format", "safety_mode", "max_tokens", "stop_sequences", "temperature", "seed", "frequency_penalty"),
    *("presence_penalty", "k", "p", "logprobs", "thinking", "raw_prompting"),
}
_BILLED_SHARE = 4


def answer_chat(exchange: Exchange) -> Reply:
    """`POST /v2/chat`."""
    prompt = _read(exchange)
    speaker = _Speaker(exchange, prompt, compose(prompt))
    if prompt.stream:
        return Stream(frames=speaker.frames(), content_type="text/event-stream")
    return json_reply(speaker.whole(), tokens=speaker.answer.usage.output)


def _read(exchange: Exchange) -> Prompt:
    body = exchange.body
    model, messages = body.get("model"), body.get("messages")
    if not isinstance(model, str) or not model:
        raise invalid("invalid request: model is required")
    check_model(model)
    if not isinstance(messages, list) or not messages:
        raise invalid("invalid request: list of messages must not be empty")
    for name in body:
        if exchange.strict and name not in _KNOWN:
            raise invalid(f"unknown field: parameter '{name}' is not a valid field")
    tools = tuple(_tool(item) for item in body.get("tools") or ())
    choice: Literal["auto", "none", "required"] = "auto"
    match body.get("tool_choice"):
        case "REQUIRED" if tools:
            choice = "required"
        case "NONE":
            choice = "none"
        case None:
            pass
        case other:
            raise invalid(f"invalid tool_choice: {other}")
    form = body.get("response_format")
    schema = form.get("json_schema", form.get("schema")) if isinstance(form, dict) else None
    if tools and schema is not None and exchange.strict:
        raise invalid("invalid request: cannot specify both response_format json schema and tools")
    turns = tuple(_turn(message, place) for place, message in enumerate(messages))
    prompt = Prompt(
        provider=exchange.profile.name,
        model=model,
        digest=exchange.digest,
        turns=turns,
        tools=tools,
        choice=choice,
        schema=schema if isinstance(schema, dict) else None,
        json_object=isinstance(form, dict) and form.get("type") == "json_object",
        reasoning=_thinks(body, model),
        stop=texts(body.get("stop_sequences")),
        limit=body.get("max_tokens") if isinstance(body.get("max_tokens"), int) else None,
        stream=body.get("stream") is True,
        instead=exchange.instead,
    )
    check_context(exchange, prompt)
    return prompt


def _thinks(body: Json, model: str) -> bool:
    thinking = body.get("thinking")
    if isinstance(thinking, dict):
        return thinking.get("type") == "enabled"
    return "reasoning" in model


def _tool(item: Any) -> Tool:
    function = item.get("function") if isinstance(item, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise invalid("invalid request: tools must have a function with a name")
    return Tool(function["name"], checked_schema(function, "tools"))


def _turn(message: Any, place: int) -> Turn:
    role = message.get("role") if isinstance(message, dict) else None
    content = message.get("content") if isinstance(message, dict) else None
    if role == "tool":
        if not message.get("tool_call_id"):
            raise invalid(f"invalid request: message at index {place} must have a tool_call_id")
        result = SeenResult(str(message["tool_call_id"]), "", _joined(content, "\n"))
        return Turn(role="tool", results=(result,))
    if role == "assistant":
        calls = message.get("tool_calls") or ()
        seen = tuple(SeenCall(str(call.get("id")), str(call["function"]["name"])) for call in calls)
        return Turn(role="assistant", text=_joined(content, "\n"), calls=seen)
    if role not in ("user", "system", "developer"):
        raise invalid(
            f"invalid message type at index {place}: role must be one of 'user', 'assistant', 'system', 'tool'"
        )
    attachments: list[Attachment] = []
    for part in content if isinstance(content, list) else ():
        if part.get("type") == "image_url":
            value = part.get("image_url")
            found = data_attachment(
                "image", str(value.get("url") if isinstance(value, dict) else value), "image/unknown"
            )
            if found is None:
                raise invalid("invalid request: image_url must be a valid data URL")
            attachments.append(found)
    return Turn(
        role="user" if role == "user" else "system", text=_joined(content, "\n"), attachments=tuple(attachments)
    )


def _joined(content: Any, between: str) -> str:
    if isinstance(content, list):
        return between.join(_part_text(part) for part in content if isinstance(part, dict))
    return "" if content is None else str(content)


def _part_text(part: Json) -> str:
    document = part.get("document")
    if isinstance(document, dict):
        return str(document.get("data", ""))
    return str(part.get("text", ""))


class _Speaker:
    """Renders one answer."""

    def __init__(self, exchange: Exchange, prompt: Prompt, answer: Answer) -> None:
        self.exchange = exchange
        self.prompt = prompt
        self.answer = answer
        self.plan = f"I will use {', '.join(call.name for call in answer.calls)}." if answer.calls else ""

    def whole(self) -> Json:
        """The answer in one body."""
        message: Json = {"role": "assistant"}
        content: list[Json] = []
        if self.answer.reasoning:
            content.append({"type": "thinking", "thinking": self.answer.reasoning})
        if self.answer.calls:
            message |= {"tool_plan": self.plan, "tool_calls": [self._call(call) for call in self.answer.calls]}
        else:
            content.append({"type": "text", "text": self.answer.text})
        if content:
            message["content"] = content
        value: Json = {"id": uuid_text(self.exchange.digest, "chat"), "message": message}
        if self.exchange.body.get("logprobs") and self.answer.text:
            value["logprobs"] = [
                {"text": piece, "token_ids": [17], "logprobs": [-0.01]} for piece in pieces(self.answer.text)
            ]
        return value | {"finish_reason": _FINISH_REASONS[self.answer.finish], "usage": self._usage()}

    def _usage(self) -> Json:
        usage = self.answer.usage
        billed = {"input_tokens": max(1, usage.prompt - usage.prompt // _BILLED_SHARE), "output_tokens": usage.output}
        tokens = {"input_tokens": usage.prompt, "output_tokens": usage.output}
        if usage.reasoning:
            tokens["reasoning_tokens"] = usage.reasoning
        return {"billed_units": billed, "tokens": tokens, "cached_tokens": 0}

    def _call(self, call: Call) -> Json:
        name = f"{call.name}_{identifier(self.exchange.digest, f'call:{call.number}', 12).lower()}"
        return {"id": name, "type": "function", "function": {"name": call.name, "arguments": call.text}}

    def frames(self) -> Iterator[Frame]:
        """The answer as named server-sent events."""
        blank: Json = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
        start = {"id": uuid_text(self.exchange.digest, "chat"), "type": "message-start", "delta": {"message": blank}}
        yield event_frame("message-start", start)
        index = 0
        if self.answer.reasoning:
            yield from self._content(index, "thinking", self.answer.reasoning)
            index += 1
        if self.answer.calls:
            for piece in pieces(self.plan):
                yield _event("tool-plan-delta", {"tool_plan": piece}, tokens=1)
            for call in self.answer.calls:
                yield from self._call_frames(call)
        else:
            yield from self._content(index, "text", self.answer.text)
        delta = {"finish_reason": _FINISH_REASONS[self.answer.finish], "usage": self._usage()}
        yield event_frame("message-end", {"type": "message-end", "delta": delta}, last=True)

    def _content(self, index: int, kind: str, text: str) -> Iterator[Frame]:
        yield _event("content-start", {"content": {"type": kind, kind: ""}}, index)
        for piece in pieces(text):
            yield _event("content-delta", {"content": {kind: piece}}, index, tokens=1)
        yield event_frame("content-end", {"type": "content-end", "index": index})

    def _call_frames(self, call: Call) -> Iterator[Frame]:
        opening = self._call(call)
        opening["function"]["arguments"] = ""
        yield _event("tool-call-start", {"tool_calls": opening}, call.number, tokens=6)
        for piece in pieces(call.text):
            yield _event("tool-call-delta", {"tool_calls": {"function": {"arguments": piece}}}, call.number, tokens=1)
        yield event_frame("tool-call-end", {"type": "tool-call-end", "index": call.number})


def _event(name: str, message: Json, index: int | None = None, *, tokens: int = 0) -> Frame:
    value: Json = {"type": name} | ({} if index is None else {"index": index}) | {"delta": {"message": message}}
    return event_frame(name, value, tokens)


def answer_embed(exchange: Exchange) -> Reply:
    """`POST /v2/embed` and `/v1/embed`."""
    body = exchange.body
    model = str(body.get("model") or "embed-v4.0")
    check_model(model)
    inputs = list(texts(body.get("texts")))
    if not inputs:
        raise invalid("invalid request: valid texts must be provided")
    if body.get("input_type") is None and exchange.strict:
        raise invalid("invalid request: input_type is required")
    size = int(body.get("output_dimension") or model_size(model))
    vectors = [vector(text, size) for text in inputs]
    kinds = body.get("embedding_types") or ["float"]
    embeddings: Json = {}
    for kind in kinds:
        if kind == "float":
            embeddings[kind] = vectors
        elif kind == "base64":
            embeddings[kind] = [base64.b64encode(struct.pack(f"<{size}f", *values)).decode() for values in vectors]
        elif kind == "int8":
            embeddings[kind] = [[round(value * 127) for value in values] for values in vectors]
        else:
            raise invalid(f"invalid request: embedding type '{kind}' is not simulated")
    meta = {
        "api_version": {"version": "2"},
        "billed_units": {"input_tokens": sum(max(1, tokens_of(text)) for text in inputs)},
    }
    value = {"id": uuid_text(exchange.digest, "embed"), "texts": inputs, "embeddings": embeddings, "meta": meta}
    return json_reply(value | {"response_type": "embeddings_by_type"})
