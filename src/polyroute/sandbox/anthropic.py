"""Anthropic Messages, whole and streamed, and its token count."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from polyroute.sandbox.answers import Answer, Call, compose, pieces
from polyroute.sandbox.anthropic_reading import read_messages, uses_long_cache
from polyroute.sandbox.exchange import Exchange, Frame, Json, Reply, Stream, event_frame, identifier, json_reply
from polyroute.sandbox.prompt import Prompt, prompt_tokens
from polyroute.sandbox.signatures import sign

_STOP_REASONS = {
    "stop": "end_turn",
    "stop_sequence": "stop_sequence",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}


def answer_messages(exchange: Exchange) -> Reply:
    """Answer one Messages request."""
    prompt = read_messages(exchange)
    speaker = _Speaker(exchange, prompt, compose(prompt))
    headers = {"anthropic-organization-id": "00000000-0000-0000-0000-000000000000"}
    if prompt.stream:
        return Stream(frames=speaker.frames(), headers=headers)
    return json_reply(speaker.whole(), tokens=speaker.answer.usage.output, headers=headers)


def answer_count(exchange: Exchange) -> Reply:
    """`POST /messages/count_tokens`."""
    return json_reply({"input_tokens": prompt_tokens(read_messages(exchange, counting=True))})


class _Speaker:
    """Renders one answer."""

    def __init__(self, exchange: Exchange, prompt: Prompt, answer: Answer) -> None:
        self.exchange = exchange
        self.prompt = prompt
        self.answer = answer

    def whole(self) -> Json:
        """The message in one body."""
        message = self._message()
        message["content"] = [block for block, _ in self._blocks()]
        return message | self._ending() | {"usage": self._usage(self.answer.usage.output)}

    def _message(self) -> Json:
        message: Json = {"id": "msg_01" + identifier(self.exchange.digest, "message", 22), "type": "message"}
        message |= {"role": "assistant", "model": self.prompt.model, "content": []}
        return message | {"stop_reason": None, "stop_sequence": None, "stop_details": None}

    def _ending(self) -> Json:
        ending: Json = {"stop_reason": _STOP_REASONS[self.answer.finish], "stop_sequence": self.answer.stop_sequence}
        refused = self.answer.finish == "content_filter"
        return ending | {
            "stop_details": {"type": "refusal", "category": None, "explanation": None} if refused else None
        }

    def _usage(self, output: int) -> Json:
        usage = self.answer.usage
        long = uses_long_cache(self.exchange.body)
        value: Json = {
            "input_tokens": usage.uncached,
            "cache_creation_input_tokens": usage.cache_written,
            "cache_read_input_tokens": usage.cached,
            "cache_creation": {
                "ephemeral_5m_input_tokens": 0 if long else usage.cache_written,
                "ephemeral_1h_input_tokens": usage.cache_written if long else 0,
            },
            "output_tokens": output,
        }
        if usage.reasoning and output > 1:
            value["output_tokens_details"] = {"thinking_tokens": usage.reasoning}
        return value | {"service_tier": "standard"}

    def _blocks(self) -> Iterator[tuple[Json, Call | None]]:
        if self.answer.reasoning:
            thinking = self.exchange.body.get("thinking")
            omitted = isinstance(thinking, dict) and thinking.get("display") == "omitted"
            text = "" if omitted else self.answer.reasoning
            signature = sign("anthropic", self.exchange.digest)
            yield {"type": "thinking", "thinking": text, "signature": signature}, None
        if self.answer.text:
            yield {"type": "text", "text": self.answer.text, "citations": None}, None
        for call in self.answer.calls:
            name = "toolu_01" + identifier(self.exchange.digest, f"call:{call.number}", 22)
            yield {"type": "tool_use", "id": name, "name": call.name, "input": call.arguments}, call

    def frames(self) -> Iterator[Frame]:
        """The message as server-sent events."""
        start = self._message() | {"usage": self._usage(1)}
        yield event_frame("message_start", {"type": "message_start", "message": start})
        for index, (block, call) in enumerate(self._blocks()):
            yield from self._block_frames(index, block, call)
        usage = self._usage(self.answer.usage.output)
        usage = {name: usage[name] for name in usage if name not in ("cache_creation", "service_tier")}
        yield event_frame("message_delta", {"type": "message_delta", "delta": self._ending(), "usage": usage})
        yield event_frame("message_stop", {"type": "message_stop"}, last=True)

    def _block_frames(self, index: int, block: Json, call: Call | None) -> Iterator[Frame]:
        kind = block["type"]
        blanks: dict[str, Json] = {
            "thinking": {"thinking": "", "signature": ""},
            "text": {"text": ""},
            "tool_use": {"input": {}},
        }
        yield event_frame(
            "content_block_start",
            {"type": "content_block_start", "index": index, "content_block": block | blanks[kind]},
        )
        if index == 0:
            yield event_frame("ping", {"type": "ping"})
        if call is not None:
            deltas = [] if call.text == "{}" else [{"type": "input_json_delta", "partial_json": ""}]
            text = "" if call.text == "{}" else call.text
            deltas += [{"type": "input_json_delta", "partial_json": piece} for piece in pieces(text)]
        elif kind == "thinking":
            deltas = [{"type": "thinking_delta", "thinking": piece} for piece in pieces(block["thinking"])]
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
        else:
            deltas = [{"type": "text_delta", "text": piece} for piece in pieces(block["text"])]
        for delta in deltas:
            yield event_frame("content_block_delta", {"type": "content_block_delta", "index": index, "delta": delta}, 1)
        yield event_frame("content_block_stop", {"type": "content_block_stop", "index": index})


def answer_invoke(exchange: Exchange) -> Reply:
    """Bedrock's `POST /model/{id}/invoke` for Claude: the same body without `model` and `stream`."""
    body = {name: value for name, value in exchange.body.items() if name != "stream"}
    return answer_messages(msgspec.structs.replace(exchange, body=body))
