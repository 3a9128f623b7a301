"""AWS Bedrock's Converse, whole and as an event stream."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from polyroute.sandbox.answers import Answer, compose, pieces
from polyroute.sandbox.bedrock_reading import read_converse
from polyroute.sandbox.errors import invalid
from polyroute.sandbox.eventstream import event_stream_frame
from polyroute.sandbox.exchange import Exchange, Frame, Json, Reply, Stream, identifier, json_reply
from polyroute.sandbox.prompt import Prompt, prompt_tokens
from polyroute.sandbox.signatures import sign

_STOP_REASONS = {
    "stop": "end_turn",
    "stop_sequence": "stop_sequence",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "guardrail_intervened",
}
_BLOCKED = "Sorry, the model cannot answer this question."


def answer_converse(exchange: Exchange) -> Reply:
    """`POST /model/{id}/converse` and `/converse-stream`."""
    prompt = read_converse(exchange)
    speaker = _Speaker(exchange, prompt, compose(prompt))
    if prompt.stream:
        return Stream(frames=speaker.frames(), content_type="application/vnd.amazon.eventstream")
    return json_reply(speaker.whole(), tokens=speaker.answer.usage.output)


def answer_count(exchange: Exchange) -> Reply:
    """`POST /model/{id}/count-tokens`, for the Converse form of input."""
    given = exchange.body.get("input")
    converse = given.get("converse") if isinstance(given, dict) else None
    if not isinstance(converse, dict):
        raise invalid("The input field must set one of the following keys: invokeModel, converse.")
    return json_reply({"inputTokens": prompt_tokens(read_converse(msgspec.structs.replace(exchange, body=converse)))})


class _Speaker:
    """Renders one answer."""

    def __init__(self, exchange: Exchange, prompt: Prompt, answer: Answer) -> None:
        self.exchange = exchange
        self.prompt = prompt
        self.answer = answer

    def _blocks(self) -> Iterator[Json]:
        if self.answer.reasoning:
            text = {"text": self.answer.reasoning, "signature": sign("anthropic", self.exchange.digest)}
            yield {"reasoningContent": {"reasoningText": text}}
        said = _BLOCKED if self.prompt.instead == "filtered" else self.answer.text
        if said:
            yield {"text": said}
        for call in self.answer.calls:
            name = "tooluse_" + identifier(self.exchange.digest, f"call:{call.number}", 22)
            yield {"toolUse": {"toolUseId": name, "name": call.name, "input": call.arguments}}

    def whole(self) -> Json:
        """The answer in one body."""
        message = {"role": "assistant", "content": list(self._blocks())}
        ending = {"stopReason": _STOP_REASONS[self.answer.finish], "usage": self._usage()}
        return {"output": {"message": message}, **ending, "metrics": {"latencyMs": 812}}

    def _usage(self) -> Json:
        usage = self.answer.usage
        value = {
            "inputTokens": usage.uncached,
            "outputTokens": usage.output,
            "totalTokens": usage.prompt + usage.output,
        }
        return value | {"cacheReadInputTokens": usage.cached, "cacheWriteInputTokens": usage.cache_written}

    def frames(self) -> Iterator[Frame]:
        """The answer as binary event frames; `metadata` comes after `messageStop`."""
        yield _frame("messageStart", {"role": "assistant"})
        calls = iter(self.answer.calls)
        for index, block in enumerate(self._blocks()):
            where = {"contentBlockIndex": index}
            deltas: list[Json] = []
            match block:
                case {"reasoningContent": {"reasoningText": {"text": text, "signature": signature}}}:
                    deltas = [{"reasoningContent": {"text": piece}} for piece in pieces(text)]
                    deltas.append({"reasoningContent": {"signature": signature}})
                case {"text": text}:
                    deltas = [{"text": piece} for piece in pieces(text)]
                case {"toolUse": use}:
                    start = {"toolUseId": use["toolUseId"], "name": use["name"]}
                    yield _frame("contentBlockStart", where | {"start": {"toolUse": start}}, 6)
                    deltas = [{"toolUse": {"input": piece}} for piece in pieces(next(calls).text)]
            for delta in deltas:
                yield _frame("contentBlockDelta", where | {"delta": delta}, 1)
            yield _frame("contentBlockStop", where)
        yield _frame("messageStop", {"stopReason": _STOP_REASONS[self.answer.finish]}, last=True)
        yield _frame("metadata", {"usage": self._usage(), "metrics": {"latencyMs": 812}}, last=True)


def _frame(name: str, payload: Json, tokens: int = 0, *, last: bool = False) -> Frame:
    return Frame(event_stream_frame("event", name, payload), tokens, last)
