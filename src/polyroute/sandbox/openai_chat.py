"""Chat completions, whole and streamed, with each provider's own way of showing reasoning, usage and endings."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

from polyroute.sandbox.answers import Answer, Call, compose, pieces
from polyroute.sandbox.exchange import (
    CREATED,
    Exchange,
    Frame,
    Json,
    Reply,
    Stream,
    data_frame,
    hexadecimal,
    identifier,
    json_reply,
    uuid_text,
)
from polyroute.sandbox.openai_reading import read_chat
from polyroute.sandbox.openai_rules import check_provider_rules
from polyroute.sandbox.openai_usage import chat_usage, reply_headers
from polyroute.sandbox.profiles import Profile
from polyroute.sandbox.prompt import Prompt
from polyroute.sandbox.signatures import sign
from polyroute.sandbox.sound import speech_wav

_WITHOUT_LOGPROBS = ("fireworks", "google", "mistral", "ollama", "perplexity")
_SAFE = {name: {"filtered": False, "severity": "safe"} for name in ("hate", "self_harm", "sexual", "violence")}
_PERPLEXITY_SOURCES = [
    {
        "title": "Simulated source",
        "url": "https://example.com/simulated",
        "date": "2026-11-20",
        "snippet": "…",
        "source": "web",
    }
]


def answer_chat(exchange: Exchange) -> Reply:
    """Answer one chat completion request."""
    prompt = read_chat(exchange)
    check_provider_rules(exchange)
    answers = [compose(prompt, choice) for choice in range(prompt.count)]
    speaker = _Speaker(exchange, prompt, answers)
    if prompt.stream:
        return Stream(frames=speaker.frames(), headers=reply_headers(exchange, answers))
    tokens = sum(answer.usage.output for answer in answers)
    return json_reply(speaker.whole(), tokens=tokens, headers=reply_headers(exchange, answers))


class _Speaker:
    """Renders one conversation's answers."""

    def __init__(self, exchange: Exchange, prompt: Prompt, answers: list[Answer]) -> None:
        self.exchange = exchange
        self.profile: Profile = exchange.profile
        self.prompt = prompt
        self.answers = answers
        self.id = _chat_id(self.profile, exchange.digest)
        self.usage = chat_usage(exchange, answers)

    def whole(self) -> Json:
        """The answer in one body."""
        value: Json = {"id": self.id, "object": "chat.completion", "created": CREATED, "model": self._model()}
        value["choices"] = [self._choice(place, answer) for place, answer in enumerate(self.answers)]
        value["usage"] = self.usage
        return value | self._extras(stream=False)

    def _choice(self, place: int, answer: Answer) -> Json:
        message: Json = {"role": "assistant", "content": self._content(answer)}
        if self.profile.name in ("openai", "azure"):
            message |= {"refusal": None, "annotations": []}
        elif self.profile.name == "openrouter":
            message["refusal"] = None
        message |= self._reasoning(answer.reasoning, whole=True)
        if answer.calls:
            calls = [self._call(call, place, whole=True) for call in answer.calls]
            message["tool_calls"] = calls
            if not answer.text:
                message["content"] = "" if self.profile.name in ("ollama", "mistral", "deepseek") else None
        elif self._speaks():
            message |= {"content": None, "audio": self._audio(answer.text)}
        choice: Json = {"index": place, "message": message} | self._with_logprobs(answer.text)
        choice["finish_reason"] = self._finish(answer)
        if self.profile.name == "perplexity":
            choice["delta"] = {"role": "assistant", "content": ""}
        return choice | self._choice_extras(answer, final=True)

    def frames(self) -> Iterator[Frame]:
        """The answer as server-sent events."""
        yield from self._opening()
        for place, answer in enumerate(self.answers):
            yield from self._choice_frames(place, answer)
        if self.profile.stream_usage == "own_chunk" or (self._asked_usage() and self.profile.stream_usage == "asked"):
            yield data_frame(self._chunk([], usage=self.usage))
        if self.profile.done:
            yield Frame(b"data: [DONE]\n\n", last=True)

    def _opening(self) -> Iterator[Frame]:
        if self.profile.comment is not None:
            yield Frame(f": {self.profile.comment}\n\n".encode())
        if self.profile.name == "azure":
            results = {"prompt_index": 0, "content_filter_results": _SAFE}
            yield data_frame(
                {"choices": [], "created": 0, "id": "", "model": "", "object": "", "prompt_filter_results": [results]}
            )

    def _choice_frames(self, place: int, answer: Answer) -> Iterator[Frame]:
        first: Json = {"role": "assistant", "content": ""}
        if self.profile.name == "fireworks":
            del first["content"]
        if self.profile.name in ("openai", "azure"):
            first["refusal"] = None
        yield self._delta(place, first)
        if self.profile.reasoning == "think_tags" and answer.reasoning:
            for piece in pieces(f"<think>\n{answer.reasoning}\n</think>\n\n"):
                yield self._delta(place, {"content": piece}, tokens=1)
        else:
            for piece in pieces(answer.reasoning):
                delta = self._reasoning(piece, whole=False)
                if delta:
                    yield self._delta(place, delta, tokens=1)
            if answer.reasoning and self.profile.reasoning == "details":
                detail: Json = {"type": "reasoning.text", "signature": sign("anthropic", self.id)}
                detail |= {"format": "anthropic-claude-v1", "index": 0}
                yield self._delta(place, {"content": "", "reasoning": None, "reasoning_details": [detail]})
        if self._speaks() and not answer.calls:
            yield self._delta(place, {"audio": self._audio(answer.text)}, tokens=answer.usage.output)
        else:
            for piece in pieces(answer.text):
                yield self._delta(place, self._text_delta(piece), tokens=1, logprobs=self._with_logprobs(piece))
        for call in answer.calls:
            yield from self._call_frames(place, call)
        yield from self._closing(place, answer)

    def _call_frames(self, place: int, call: Call) -> Iterator[Frame]:
        if self.profile.whole_calls:
            yield self._delta(place, {"tool_calls": [self._call(call, place)]}, tokens=6 + len(call.text) // 4)
            return
        opening = self._call(call, place)
        kind = opening["type"]
        field = "input" if kind == "custom" else "arguments"
        opening[kind] = {**opening[kind], field: ""}
        yield self._delta(place, {"tool_calls": [opening]}, tokens=6)
        for piece in pieces(call.text):
            yield self._delta(place, {"tool_calls": [{"index": call.number, kind: {field: piece}}]}, tokens=1)

    def _closing(self, place: int, answer: Answer) -> Iterator[Frame]:
        finish = self._finish(answer)
        last_choice = place == len(self.answers) - 1
        if self.profile.stream_usage == "finish_chunk" and last_choice:
            yield self._delta(place, self._end_delta(), finish=finish, answer=answer, usage=self.usage)
        elif self.profile.stream_usage == "x_groq" and last_choice:
            yield self._delta(
                place, {}, finish=finish, answer=answer, x_groq={"id": self._groq_id(), "usage": self.usage}
            )
            if self._asked_usage():
                yield data_frame(self._chunk([], usage=self.usage))
        else:
            yield self._delta(place, self._end_delta(), finish=finish, answer=answer)

    def _end_delta(self) -> Json:
        return {"content": ""} if self.profile.name in ("deepseek", "mistral", "together", "openrouter") else {}

    def _delta(
        self,
        place: int,
        delta: Json,
        *,
        tokens: int = 0,
        finish: str | None = None,
        answer: Answer | None = None,
        logprobs: Json | None = None,
        **extra: Any,
    ) -> Frame:
        choice: Json = (
            {"index": place, "delta": delta} | (logprobs or self._with_logprobs("")) | {"finish_reason": finish}
        )
        if answer is not None:
            choice |= self._choice_extras(answer, final=True)
        elif self.profile.name == "openrouter":
            choice["native_finish_reason"] = None
        if self.profile.name == "together":
            choice |= {"text": delta.get("content") or "", "seed": None}
        if self.profile.name == "perplexity":
            choice["message"] = {
                "role": "assistant",
                "content": self.answers[place].text if finish else delta.get("content", ""),
            }
        chunk = self._chunk([choice], **extra)
        if self.profile.stream_usage == "every_chunk":
            chunk["usage"] = self.usage
            chunk["object"] = "chat.completion.done" if finish else "chat.completion.chunk"
        if self.profile.name == "groq" and "role" in delta:
            chunk["x_groq"] = {"id": self._groq_id()}
        return data_frame(chunk, tokens, last=finish is not None and not self.profile.done)

    def _chunk(self, choices: list[Json], **extra: Any) -> Json:
        chunk: Json = {"id": self.id, "object": "chat.completion.chunk", "created": CREATED, "model": self._model()}
        chunk["choices"] = choices
        if self._asked_usage() and self.profile.stream_usage == "asked":
            chunk["usage"] = None
        return chunk | self._extras(stream=True) | extra

    def _extras(self, *, stream: bool) -> Json:
        extras: Json = {}
        if self.profile.fingerprint is not None:
            extras["system_fingerprint"] = self.profile.fingerprint
        match self.profile.name:
            case "openai" | "azure":
                extras["service_tier"] = "default"
            case "openrouter":
                extras |= {"provider": "Sandbox", "system_fingerprint": None}
            case "perplexity":
                extras["citations"] = [source["url"] for source in _PERPLEXITY_SOURCES]
                extras["search_results"] = _PERPLEXITY_SOURCES
        if stream:
            return extras
        match self.profile.name:
            case "azure":
                extras["prompt_filter_results"] = [{"prompt_index": 0, "content_filter_results": _SAFE}]
            case "groq":
                extras["x_groq"] = {"id": self._groq_id()}
            case "together":
                extras["prompt"] = []
            case "aimlapi":
                extras["meta"] = {"usage": {"credits_used": 21, "usd_spent": 0.0000105}}
            case "llamacpp":
                extras["timings"] = {
                    "prompt_n": self.usage["prompt_tokens"],
                    "predicted_n": self.usage["completion_tokens"],
                }
        return extras

    def _choice_extras(self, answer: Answer, *, final: bool) -> Json:
        match self.profile.name:
            case "azure":
                return {"content_filter_results": _SAFE} if final else {}
            case "openrouter":
                native = {"stop": "end_turn", "tool_calls": "tool_use", "length": "max_tokens"}
                return {"native_finish_reason": native.get(self._finish(answer), self._finish(answer))}
            case "vllm" | "runpod":
                return {"stop_reason": answer.stop_sequence}
            case _:
                return {}

    def _finish(self, answer: Answer) -> str:
        finish = "stop" if answer.finish == "stop_sequence" else answer.finish
        if finish == "stop" and answer.finish == "stop_sequence":
            return "stop"
        return self.profile.finish_reasons.get(finish, finish)

    def _content(self, answer: Answer) -> Any:
        if not answer.reasoning:
            return answer.text
        if self.profile.reasoning == "thinking_parts":
            thought = {"type": "thinking", "thinking": [{"type": "text", "text": answer.reasoning}], "closed": True}
            return [thought, {"type": "text", "text": answer.text}]
        if self.profile.reasoning == "think_tags":
            return f"<think>\n{answer.reasoning}\n</think>\n\n{answer.text}"
        return answer.text

    def _text_delta(self, piece: str) -> Json:
        match self.profile.name:
            case "deepseek":
                return {"content": piece, "reasoning_content": None}
            case "together":
                return {"content": piece, "token_id": 17, "role": "assistant"}
        return {"content": piece}

    def _reasoning(self, text: str, *, whole: bool) -> Json:
        if not text:
            return {}
        match self.profile.reasoning:
            case "reasoning":
                return {"reasoning": text} | (
                    {"channel": "analysis"} if self.profile.name == "groq" and not whole else {}
                )
            case "reasoning_content":
                return {"reasoning_content": text} | ({} if whole else {"content": None})
            case "details":
                detail: Json = {"type": "reasoning.text", "text": text, "format": "anthropic-claude-v1", "index": 0}
                if whole:
                    detail["signature"] = sign("anthropic", self.id)
                return {"reasoning": text, "reasoning_details": [detail]} | ({} if whole else {"content": ""})
            case "thinking_parts" if not whole:
                return {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": text}]}]}
            case _:
                return {}

    def _call(self, call: Call, place: int, *, whole: bool = False) -> Json:
        kind = "custom" if call.free_form else "function"
        inner: Json = {"name": call.name, "input" if call.free_form else "arguments": call.text}
        value: Json = {"id": self._call_id(call, place), "type": kind, kind: inner}
        if self.profile.name == "google" and call.number == 0:
            signature = sign("google", self.id)
            value["extra_content"] = {"google": {"thought_signature": signature}}
        if whole or not self.profile.call_index:
            return {"index": call.number, **value} if self.profile.name in ("ollama", "mistral") else value
        return {"index": call.number, **value}

    def _call_id(self, call: Call, place: int) -> str:
        purpose = f"call:{place}:{call.number}"
        if self.profile.tool_id == "alnum9":
            return identifier(self.exchange.digest, purpose, 9)
        if self.profile.name in ("vllm", "runpod"):
            return "chatcmpl-tool-" + hexadecimal(self.exchange.digest, purpose, 32)
        return "call_" + identifier(self.exchange.digest, purpose, 24 if self.profile.name != "ollama" else 8).lower()

    def _with_logprobs(self, text: str) -> Json:
        """The `logprobs` of a choice; several providers leave the key out when there are none."""
        value = self._logprobs(text)
        return {} if value is None and self.profile.name in _WITHOUT_LOGPROBS else {"logprobs": value}

    def _logprobs(self, text: str) -> Any:
        if self.prompt.logprobs is None or not self.profile.logprobs or not text:
            return None
        tokens = list(pieces(text))
        if self.profile.name == "together":
            return {"tokens": tokens, "token_logprobs": [-0.01] * len(tokens), "token_ids": list(range(len(tokens)))}
        return {"content": [self._logprob(token) for token in tokens], "refusal": None}

    def _logprob(self, token: str) -> Json:
        entry: Json = {"token": token, "logprob": -0.01, "bytes": list(token.encode())}
        count = self.prompt.logprobs or 0
        tops = [
            dict(entry),
            *({"token": f"~{rank}", "logprob": -4.6 - rank, "bytes": None} for rank in range(1, count)),
        ]
        return entry | {"top_logprobs": tops[:count]}

    def _speaks(self) -> bool:
        return "audio" in (self.exchange.body.get("modalities") or ())

    def _audio(self, text: str) -> Json:
        data = base64.b64encode(speech_wav(text)).decode()
        return {
            "id": f"audio_{hexadecimal(self.id, 'audio', 24)}",
            "data": data,
            "expires_at": CREATED + 3600,
            "transcript": text,
        }

    def _asked_usage(self) -> bool:
        options = self.exchange.body.get("stream_options")
        return isinstance(options, dict) and options.get("include_usage") is True

    def _groq_id(self) -> str:
        return "req_" + identifier(self.exchange.digest, "groq", 26).lower()

    def _model(self) -> str:
        return self.prompt.model


def _chat_id(profile: Profile, digest: str) -> str:
    match profile.chat_id:
        case "chatcmpl":
            return "chatcmpl-" + identifier(digest, "chat", 29)
        case "chatcmpl_uuid":
            return "chatcmpl-" + uuid_text(digest, "chat")
        case "chatcmpl_number":
            return f"chatcmpl-{int(hexadecimal(digest, 'chat', 4), 16) % 1000}"
        case "gen":
            return f"gen-{CREATED}-" + identifier(digest, "chat", 20)
        case "uuid":
            return uuid_text(digest, "chat")
        case "hex32":
            return hexadecimal(digest, "chat", 32)
        case "hex16":
            return hexadecimal(digest, "chat", 16)
