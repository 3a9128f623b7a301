"""Gemini's own API: generateContent, its two streamed forms, token counts and embeddings."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

from polyroute.sandbox.answers import Answer, compose, pieces
from polyroute.sandbox.errors import invalid
from polyroute.sandbox.exchange import Exchange, Frame, Json, Reply, Stream, data_frame, identifier, json_reply
from polyroute.sandbox.gemini_reading import fields, read_contents, read_gemini
from polyroute.sandbox.openai_reading import check_model
from polyroute.sandbox.pictures import picture
from polyroute.sandbox.prompt import Prompt, prompt_tokens
from polyroute.sandbox.signatures import sign
from polyroute.sandbox.sound import speech_pcm
from polyroute.sandbox.vectors import vector

_FINISH_REASONS = {"stop": "STOP", "stop_sequence": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP"}


def answer_gemini(exchange: Exchange) -> Reply:
    """Answer one generateContent or streamGenerateContent request."""
    prompt = read_gemini(exchange)
    speaker = _Speaker(exchange, prompt, [compose(prompt, choice) for choice in range(prompt.count)])
    if not prompt.stream:
        return json_reply(speaker.whole(), tokens=sum(answer.usage.output for answer in speaker.answers))
    if exchange.query.get("alt") == "sse":
        return Stream(frames=speaker.frames(), content_type="text/event-stream")
    return Stream(frames=_as_array(speaker.frames()), content_type="application/json; charset=UTF-8")


def answer_count(exchange: Exchange) -> Reply:
    """`:countTokens`."""
    body = fields(exchange.body)
    request = fields(body.get("generateContentRequest")) or body
    blank = Prompt(provider="", model="", digest="", turns=read_contents(request))
    tokens = prompt_tokens(blank)
    return json_reply({"totalTokens": tokens, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": tokens}]})


def answer_embeddings(exchange: Exchange) -> Reply:
    """`:embedContent` and `:batchEmbedContents`."""
    check_model(exchange.groups["model"])
    body = fields(exchange.body)
    if exchange.groups["verb"] == "embedContent":
        return json_reply({"embedding": _embedding(body)})
    requests = body.get("requests")
    if not isinstance(requests, list) or not requests:
        raise invalid("* BatchEmbedContentsRequest.requests: requests is not specified\n")
    return json_reply({"embeddings": [_embedding(fields(request)) for request in requests]})


def _embedding(request: Json) -> Json:
    content = request.get("content")
    turns = read_contents({"contents": [content] if content is not None else []})
    size = (
        fields(request.get("embedContentConfig")).get("outputDimensionality")
        or request.get("outputDimensionality")
        or 3072
    )
    return {"values": vector(turns[-1].text, int(size))}


def _as_array(frames: Iterator[Frame]) -> Iterator[Frame]:
    """The same chunks as one growing JSON array."""
    opening = b"["
    for frame in frames:
        yield Frame(opening + frame.data.removeprefix(b"data: ").rstrip(), frame.tokens)
        opening = b",\r\n"
    yield Frame(b"]", last=True)


class _Speaker:
    """Renders one conversation's answers."""

    def __init__(self, exchange: Exchange, prompt: Prompt, answers: list[Answer]) -> None:
        self.exchange = exchange
        self.prompt = prompt
        self.answers = answers
        config = fields(fields(exchange.body).get("generationConfig"))
        self.shows_thoughts = bool(fields(config.get("thinkingConfig")).get("includeThoughts"))
        self.modalities = {str(item).upper() for item in config.get("responseModalities") or ()}

    def whole(self) -> Json:
        """The answer in one body."""
        if self.prompt.instead == "filtered":
            return self._blocked()
        candidates = []
        for place, answer in enumerate(self.answers):
            parts = self._parts(answer)
            candidate: Json = {
                "content": {"parts": parts, "role": "model"},
                "finishReason": _FINISH_REASONS[answer.finish],
            }
            candidate["index"] = place
            if answer.calls:
                candidate["finishMessage"] = "Model generated function call(s)."
            if self.prompt.logprobs is not None:
                candidate |= {"avgLogprobs": -0.01, "logprobsResult": _logprobs(answer.text, self.prompt.logprobs)}
            candidates.append(candidate)
        return self._around(candidates, self._usage())

    def _blocked(self) -> Json:
        usage = {"promptTokenCount": self.answers[0].usage.prompt, "totalTokenCount": self.answers[0].usage.prompt}
        value = self._around([], usage)
        del value["candidates"]
        return value | {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}

    def _around(self, candidates: list[Json], usage: Json) -> Json:
        ids = {"modelVersion": self.prompt.model, "responseId": identifier(self.exchange.digest, "response", 22)}
        return {"candidates": candidates, "usageMetadata": usage, **ids}

    def _usage(self) -> Json:
        usage = self.answers[0].usage
        output = sum(answer.usage.output for answer in self.answers)
        thoughts = sum(answer.usage.reasoning for answer in self.answers)
        value: Json = {"promptTokenCount": usage.prompt, "candidatesTokenCount": output - thoughts}
        value["totalTokenCount"] = usage.prompt + output
        if usage.cached:
            value["cachedContentTokenCount"] = usage.cached
        value["promptTokensDetails"] = [{"modality": "TEXT", "tokenCount": usage.prompt}]
        if thoughts:
            value["thoughtsTokenCount"] = thoughts
        return value

    def _parts(self, answer: Answer) -> list[Json]:
        parts: list[Json] = []
        if answer.reasoning and self.shows_thoughts:
            parts.append({"text": answer.reasoning, "thought": True})
        parts += self._media(answer)
        if answer.text and self.modalities != {"AUDIO"}:
            parts.append({"text": answer.text})
        parts += self._calls(answer)
        if answer.reasoning and not answer.calls and parts and "text" in parts[-1]:
            parts[-1]["thoughtSignature"] = self._signature()
        return parts or [{"text": ""}]

    def _media(self, answer: Answer) -> list[Json]:
        if "IMAGE" in self.modalities:
            data = picture(self.exchange.digest[:16], 1024, 1024)
            return [{"inlineData": {"mimeType": "image/png", "data": base64.b64encode(data).decode()}}]
        if "AUDIO" in self.modalities:
            data = speech_pcm(answer.text)
            return [
                {"inlineData": {"mimeType": "audio/L16;codec=pcm;rate=24000", "data": base64.b64encode(data).decode()}}
            ]
        return []

    def _calls(self, answer: Answer) -> list[Json]:
        parts: list[Json] = []
        for call in answer.calls:
            name = identifier(self.exchange.digest, f"call:{call.number}", 8).lower()
            part: Json = {"functionCall": {"id": name, "name": call.name, "args": call.arguments}}
            if call.number == 0:
                part["thoughtSignature"] = self._signature()
            parts.append(part)
        return parts

    def _signature(self) -> str:
        return sign("google", self.exchange.digest)

    def frames(self) -> Iterator[Frame]:
        """The answer as server-sent events without names. The call's chunk has no finish reason; an empty one after it has."""
        if self.prompt.instead == "filtered":
            yield data_frame(self._blocked(), last=True)
            return
        for place, answer in enumerate(self.answers):
            if self.shows_thoughts:
                for piece in pieces(answer.reasoning):
                    yield self._chunk(place, {"text": piece, "thought": True}, 1)
            for part in self._media(answer):
                yield self._chunk(place, part, 16)
            if self.modalities != {"AUDIO"}:
                for piece in pieces(answer.text):
                    yield self._chunk(place, {"text": piece}, 1)
            for part in self._calls(answer):
                yield self._chunk(place, part, 8)
            end: Json = {"text": ""}
            if answer.reasoning and not answer.calls:
                end["thoughtSignature"] = self._signature()
            last = place == len(self.answers) - 1
            yield self._chunk(place, end, 0, finish=_FINISH_REASONS[answer.finish], last=last)

    def _chunk(self, place: int, part: Json, tokens: int, *, finish: str | None = None, last: bool = False) -> Frame:
        candidate: Json = {"content": {"parts": [part], "role": "model"}, "index": place}
        prompt = self.answers[0].usage.prompt
        usage: Json = {"promptTokenCount": prompt, "totalTokenCount": prompt}
        if finish is not None:
            candidate["finishReason"] = finish
            usage = self._usage()
        return data_frame(self._around([candidate], usage), tokens, last=last)


def _logprobs(text: str, tops: int) -> Any:
    chosen = [{"token": piece, "tokenId": 17, "logProbability": -0.01} for piece in pieces(text)]
    return {"chosenCandidates": chosen, "topCandidates": [{"candidates": [item][:tops]} for item in chosen]}
