"""The Responses API: answers whole and streamed, and what is stored of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from polyroute.sandbox.answers import Answer, Call, compose, pieces
from polyroute.sandbox.errors import Refused
from polyroute.sandbox.exchange import (
    CREATED,
    Exchange,
    Frame,
    Json,
    Reply,
    Stream,
    event_frame,
    hexadecimal,
    identifier,
    json_reply,
    uuid_text,
)
from polyroute.sandbox.openai_usage import reply_headers
from polyroute.sandbox.prompt import Prompt, SeenCall, Turn, prompt_tokens
from polyroute.sandbox.responses_reading import SHELF, Kept, input_items, read_responses
from polyroute.sandbox.signatures import sign

_ECHOED: Json = {
    "instructions": None,
    "frequency_penalty": 0.0,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "presence_penalty": 0.0,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "safety_identifier": None,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}, "verbosity": "medium"},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}


def answer_responses(exchange: Exchange) -> Reply:
    """`POST /responses`."""
    prompt = read_responses(exchange)
    speaker = _Speaker(exchange, prompt, compose(prompt))
    final = speaker.final()
    if speaker.stores:
        turns = (*(turn for turn in prompt.turns if turn.role != "system"), *speaker.said())
        exchange.memory.keep(SHELF, speaker.id, Kept(final, turns, input_items(exchange.body)))
    if prompt.stream:
        return Stream(frames=speaker.frames(final), headers=reply_headers(exchange))
    return json_reply(final, tokens=speaker.answer.usage.output, headers=reply_headers(exchange))


def answer_token_count(exchange: Exchange) -> Reply:
    """`POST /responses/input_tokens`."""
    return json_reply({"object": "response.input_tokens", "input_tokens": prompt_tokens(read_responses(exchange))})


def answer_stored(exchange: Exchange) -> Reply:
    """`GET` and `DELETE /responses/{id}`, its input items, and `POST …/cancel`."""
    name = exchange.groups["response"]
    kept = exchange.memory.find(SHELF, name)
    if not isinstance(kept, Kept):
        raise Refused("invalid_request", f"Response with id '{name}' not found.", status=404)
    if exchange.method == "DELETE":
        exchange.memory.drop(SHELF, name)
        return json_reply({"id": name, "object": "response", "deleted": True})
    if exchange.path.endswith("/input_items"):
        items = [{"id": f"msg_{place}", **item} for place, item in enumerate(kept.items)]
        return json_reply({"object": "list", "data": items, "has_more": False, "first_id": None, "last_id": None})
    if exchange.method == "POST":
        raise Refused("invalid_request", "Cannot cancel a synchronous response.")
    return json_reply(kept.value)


class _Speaker:
    """Renders one answer."""

    def __init__(self, exchange: Exchange, prompt: Prompt, answer: Answer) -> None:
        self.exchange = exchange
        self.prompt = prompt
        self.answer = answer
        self.stores = exchange.body.get("store") is not False
        digest = exchange.digest
        self.id = (
            uuid_text(digest, "response")
            if exchange.profile.name == "xai"
            else f"resp_{hexadecimal(digest, 'response', 50)}"
        )

    def said(self) -> tuple[Turn, ...]:
        """The answer as part of a conversation that goes on."""
        calls = tuple(SeenCall(self._call_id(call), call.name) for call in self.answer.calls)
        return (Turn(role="assistant", text=self.answer.text, calls=calls),)

    def _around(self, status: str) -> Json:
        body = self.exchange.body
        echoed = {name: body[name] if body.get(name) is not None else plain for name, plain in _ECHOED.items()}
        value: Json = {
            "id": self.id,
            "object": "response",
            "created_at": CREATED,
            "status": status,
            "background": False,
        }
        value |= {
            "completed_at": None,
            "error": None,
            "incomplete_details": None,
            "model": self.prompt.model,
            "output": [],
        }
        reasoning = body.get("reasoning") or {}
        value["reasoning"] = {"effort": reasoning.get("effort"), "summary": reasoning.get("summary")}
        return value | {"service_tier": "default", "store": self.stores, "usage": None} | echoed

    def final(self) -> Json:
        """The whole response."""
        cut = self.answer.finish == "length"
        value = self._around("incomplete" if cut else "completed")
        value["completed_at"] = None if cut else CREATED
        value["incomplete_details"] = {"reason": "max_output_tokens"} if cut else None
        value["output"] = [item for item, _ in self._items()]
        usage = self.answer.usage
        value["usage"] = {
            "input_tokens": usage.prompt,
            "input_tokens_details": {"cached_tokens": usage.cached, "cache_write_tokens": 0},
            "output_tokens": usage.output,
            "output_tokens_details": {"reasoning_tokens": usage.reasoning},
            "total_tokens": usage.prompt + usage.output,
        }
        match self.exchange.profile.name:
            case "xai":
                value["usage"] |= {
                    "cost_in_usd_ticks": usage.prompt * 2000 + usage.output * 5000,
                    "num_sources_used": 0,
                }
                value["usage"]["context_details"] = {"input_tokens": usage.prompt, "output_tokens": usage.output}
            case "openrouter":
                cost = round(usage.prompt * 0.000001 + usage.output * 0.000005, 9)
                value["usage"] |= {"cost": cost, "is_byok": False, "cost_details": {"upstream_inference_cost": cost}}
        return value

    def _items(self) -> Iterator[tuple[Json, Call | None]]:
        digest = self.exchange.digest
        if self.answer.reasoning:
            yield self._reasoning(), None
        if self.answer.text or not self.answer.calls:
            part = {"type": "output_text", "text": self.answer.text, "annotations": [], "logprobs": self._logprobs()}
            item: Json = {
                "id": f"msg_{hexadecimal(digest, 'message', 50)}",
                "type": "message",
                "status": self._status(),
            }
            yield item | {"role": "assistant", "content": [part]}, None
        for call in self.answer.calls:
            kind, field, mark = (
                ("custom_tool_call", "input", "ctc") if call.free_form else ("function_call", "arguments", "fc")
            )
            name = f"{mark}_{hexadecimal(digest, f'item:{call.number}', 50)}"
            item = {
                "id": name,
                "type": kind,
                "status": self._status(),
                "call_id": self._call_id(call),
                "name": call.name,
            }
            yield item | {field: call.text}, call

    def _status(self) -> str:
        return "incomplete" if self.answer.finish == "length" else "completed"

    def _call_id(self, call: Call) -> str:
        return "call_" + identifier(self.exchange.digest, f"call:{call.number}", 24)

    def _reasoning(self) -> Json:
        body = self.exchange.body
        item: Json = {
            "id": f"rs_{hexadecimal(self.exchange.digest, 'reasoning', 50)}",
            "type": "reasoning",
            "summary": [],
        }
        if (body.get("reasoning") or {}).get("summary") or self.exchange.profile.name == "xai":
            item["summary"] = [{"type": "summary_text", "text": self.answer.reasoning}]
        elif self.exchange.profile.name not in ("openai", "azure"):
            item["content"] = [{"type": "reasoning_text", "text": self.answer.reasoning}]
        if "reasoning.encrypted_content" in (body.get("include") or ()):
            item["encrypted_content"] = "gAAAAA" + sign(self.exchange.profile.name, self.exchange.digest)
        return item

    def _logprobs(self) -> list[Any]:
        if self.prompt.logprobs is None:
            return []
        return [_logprob(piece, self.prompt.logprobs) for piece in pieces(self.answer.text)]

    def frames(self, final: Json) -> Iterator[Frame]:
        """The response as named, numbered server-sent events."""
        for number, (name, payload, tokens, last) in enumerate(self._events(final)):
            yield event_frame(name, {"type": name, "sequence_number": number, **payload}, tokens, last=last)

    def _events(self, final: Json) -> Iterator[tuple[str, Json, int, bool]]:
        opening = self._around("in_progress")
        yield "response.created", {"response": opening}, 0, False
        yield "response.in_progress", {"response": opening}, 0, False
        for index, (item, call) in enumerate(self._items()):
            where = {"output_index": index, "item_id": item["id"]}
            match item["type"]:
                case "reasoning":
                    blank = {**item, "summary": []} | ({"content": []} if "content" in item else {})
                    inner = self._reasoning_events(item, where)
                case "message":
                    blank = {**item, "status": "in_progress", "content": []}
                    inner = self._message_events(item, where)
                case _:
                    field = "input" if "input" in item else "arguments"
                    blank = {**item, "status": "in_progress", field: ""}
                    inner = _call_events(call, where) if call is not None else iter(())
            yield "response.output_item.added", {"output_index": index, "item": blank}, 0, False
            for name, payload, tokens in inner:
                yield name, payload, tokens, False
            yield "response.output_item.done", {"output_index": index, "item": item}, 0, False
        yield f"response.{final['status']}", {"response": final}, 0, True

    def _message_events(self, item: Json, where: Json) -> Iterator[tuple[str, Json, int]]:
        where = where | {"content_index": 0}
        part = item["content"][0]
        yield "response.content_part.added", where | {"part": part | {"text": "", "logprobs": []}}, 0
        for piece in pieces(part["text"]):
            logprobs = [] if self.prompt.logprobs is None else [_logprob(piece, self.prompt.logprobs)]
            yield "response.output_text.delta", where | {"delta": piece, "logprobs": logprobs}, 1
        yield "response.output_text.done", where | {"text": part["text"], "logprobs": part["logprobs"]}, 0
        yield "response.content_part.done", where | {"part": part}, 0

    def _reasoning_events(self, item: Json, where: Json) -> Iterator[tuple[str, Json, int]]:
        for part in item["summary"]:
            where = where | {"summary_index": 0}
            yield "response.reasoning_summary_part.added", where | {"part": part | {"text": ""}}, 0
            for piece in pieces(part["text"]):
                yield "response.reasoning_summary_text.delta", where | {"delta": piece}, 1
            yield "response.reasoning_summary_text.done", where | {"text": part["text"]}, 0
            yield "response.reasoning_summary_part.done", where | {"part": part}, 0
        for part in item.get("content") or ():
            where = where | {"content_index": 0}
            for piece in pieces(part["text"]):
                yield "response.reasoning_text.delta", where | {"delta": piece}, 1
            yield "response.reasoning_text.done", where | {"text": part["text"]}, 0


def _call_events(call: Call, where: Json) -> Iterator[tuple[str, Json, int]]:
    stem = "response.custom_tool_call_input" if call.free_form else "response.function_call_arguments"
    for piece in pieces(call.text):
        yield f"{stem}.delta", where | {"delta": piece}, 1
    done = {"input": call.text} if call.free_form else {"name": call.name, "arguments": call.text}
    yield f"{stem}.done", where | done, 0


def _logprob(token: str, tops: int) -> Json:
    entry: Json = {"token": token, "logprob": -0.01, "bytes": list(token.encode())}
    return entry | {"top_logprobs": [dict(entry)][:tops]}
