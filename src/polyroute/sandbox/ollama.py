"""Ollama's own API: chat and generate as lines of JSON, models, and embeddings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from polyroute.sandbox.answers import Answer, compose, pieces
from polyroute.sandbox.errors import Refused, invalid
from polyroute.sandbox.exchange import (
    CREATED_TEXT,
    Exchange,
    Frame,
    Json,
    Reply,
    Stream,
    hexadecimal,
    identifier,
    json_reply,
    line_frame,
)
from polyroute.sandbox.openai_reading import check_model, texts
from polyroute.sandbox.prompt import (
    Attachment,
    Prompt,
    SeenCall,
    SeenResult,
    Tool,
    Turn,
    base64_size,
    prompt_tokens,
    tokens_of,
)
from polyroute.sandbox.vectors import embedding_inputs, model_size, vector

_DEFAULT_CONTEXT = 32_768


def answer_chat(exchange: Exchange) -> Reply:
    """`POST /api/chat`."""
    body = exchange.body
    model = _model(exchange)
    messages = body.get("messages")
    if not messages:
        message = {"role": "assistant", "content": ""}
        return json_reply(
            {"model": model, "created_at": CREATED_TEXT, "message": message, "done": True, "done_reason": "load"}
        )
    if not isinstance(messages, list):
        raise invalid("json: cannot unmarshal object into Go struct field ChatRequest.messages of type []api.Message")
    return _Speaker(exchange, _prompt(exchange, tuple(_turn(message) for message in messages)), generates=False).reply()


def answer_generate(exchange: Exchange) -> Reply:
    """`POST /api/generate`."""
    body = exchange.body
    model = _model(exchange)
    if not body.get("prompt"):
        empty = {"model": model, "created_at": CREATED_TEXT, "response": "", "done": True, "done_reason": "load"}
        return json_reply(empty)
    turns = [Turn(role="system", text=str(body["system"]))] if body.get("system") else []
    turns.append(Turn(role="user", text=str(body["prompt"]), attachments=_images(body.get("images"))))
    return _Speaker(exchange, _prompt(exchange, tuple(turns)), generates=True).reply()


def _model(exchange: Exchange) -> str:
    model = exchange.body.get("model")
    if not isinstance(model, str) or not model:
        raise invalid("model is required")
    check_model(model)
    return model


def _prompt(exchange: Exchange, turns: tuple[Turn, ...]) -> Prompt:
    body = exchange.body
    options = body.get("options") if isinstance(body.get("options"), dict) else {}
    think, form = body.get("think"), body.get("format")
    if think and exchange.strict and "llama" in body["model"]:
        raise invalid(f'"{body["model"]}" does not support thinking')
    if isinstance(think, str) and think not in ("low", "medium", "high", "max"):
        raise invalid(f'invalid think value: "{think}" (must be "high", "medium", "low", "max", true, or false)')
    limit = (options or {}).get("num_predict")
    prompt = Prompt(
        provider=exchange.profile.name,
        model=body["model"],
        digest=exchange.digest,
        turns=turns,
        tools=tuple(_tool(item) for item in body.get("tools") or ()),
        schema=form if isinstance(form, dict) else None,
        json_object=form == "json",
        reasoning=bool(think),
        stop=texts((options or {}).get("stop")),
        limit=limit if isinstance(limit, int) and limit > 0 else None,
        logprobs=int(body.get("top_logprobs") or 0) if body.get("logprobs") else None,
        stream=body.get("stream") is not False,
        instead=exchange.instead,
    )
    room = int((options or {}).get("num_ctx") or min(_DEFAULT_CONTEXT, exchange.context_limit))
    if body.get("truncate") is False and prompt_tokens(prompt) > room:
        raise Refused("context_too_long", values={"limit": room, "tokens": prompt_tokens(prompt)})
    return prompt


def _turn(message: Any) -> Turn:
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        raise invalid("json: cannot unmarshal into Go struct field ChatRequest.messages of type api.Message")
    text = message.get("content") or ""
    if not isinstance(text, str):
        raise invalid("json: cannot unmarshal array into Go struct field ChatRequest.messages.content of type string")
    match message["role"]:
        case "tool":
            name = str(message.get("tool_name") or message.get("name") or "")
            return Turn(role="tool", results=(SeenResult(str(message.get("tool_call_id") or ""), name, text),))
        case "assistant":
            calls = tuple(_seen_call(call) for call in message.get("tool_calls") or ())
            return Turn(role="assistant", text=text, calls=calls)
        case "system" | "developer":
            return Turn(role="system", text=text)
        case "user":
            return Turn(role="user", text=text, attachments=_images(message.get("images")))
        case other:
            raise invalid(f'invalid role: {other}, must be one of ["system", "user", "assistant", "tool"]')


def _seen_call(call: Any) -> SeenCall:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("arguments"), dict):
        raise invalid(
            "json: cannot unmarshal string into Go struct field .arguments of type api.ToolCallFunctionArguments"
        )
    return SeenCall(str(call.get("id") or ""), str(function.get("name")))


def _images(value: Any) -> tuple[Attachment, ...]:
    found = []
    for data in texts(value):
        size = base64_size(data)
        if size is None:
            raise invalid("illegal base64 data at input byte 4")
        found.append(Attachment("image", "image/unknown", size))
    return tuple(found)


def _tool(item: Any) -> Tool:
    function = item.get("function") if isinstance(item, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise invalid("json: cannot unmarshal into Go struct field ChatRequest.tools of type api.Tool")
    return Tool(function["name"], function.get("parameters") or {"type": "object", "properties": {}})


class _Speaker:
    """Renders one answer, for chat or for generate."""

    def __init__(self, exchange: Exchange, prompt: Prompt, *, generates: bool) -> None:
        self.exchange = exchange
        self.prompt = prompt
        self.answer: Answer = compose(prompt)
        self.generates = generates

    def reply(self) -> Reply:
        """Lines, or one object when streaming was switched off."""
        if self.prompt.stream:
            return Stream(frames=self._frames(), content_type="application/x-ndjson")
        line = self._line(self.answer.text, thinking=self.answer.reasoning, calls=self._calls())
        return json_reply(line | self._ending(), tokens=self.answer.usage.output)

    def _frames(self) -> Iterator[Frame]:
        for piece in pieces(self.answer.reasoning):
            yield line_frame(self._line("", thinking=piece), 1)
        for piece in pieces(self.answer.text):
            yield line_frame(self._line(piece), 1)
        calls = self._calls()
        if calls:
            yield line_frame(self._line("", calls=calls), 6 * len(calls))
        yield line_frame(self._line("", final=True) | self._ending(), last=True)

    def _line(self, text: str, *, thinking: str = "", calls: list[Json] | None = None, final: bool = False) -> Json:
        line: Json = {"model": self.prompt.model, "created_at": CREATED_TEXT}
        if self.generates:
            line["response"] = text
            if thinking:
                line["thinking"] = thinking
        else:
            message: Json = {"role": "assistant", "content": text}
            if thinking:
                message["thinking"] = thinking
            if calls:
                message["tool_calls"] = calls
            line["message"] = message
        if self.prompt.logprobs is not None and text:
            line["logprobs"] = [self._logprob(piece) for piece in pieces(text)]
        return line | {"done": final}

    def _logprob(self, token: str) -> Json:
        entry: Json = {"token": token, "logprob": -0.01, "bytes": list(token.encode())}
        return entry | {"top_logprobs": [dict(entry)][: self.prompt.logprobs]}

    def _calls(self) -> list[Json]:
        return [
            {
                "id": "call_" + identifier(self.exchange.digest, f"call:{call.number}", 8).lower(),
                "function": {"index": call.number, "name": call.name, "arguments": call.arguments},
            }
            for call in self.answer.calls
        ]

    def _ending(self) -> Json:
        usage = self.answer.usage
        options = self.exchange.body.get("options")
        room = options.get("num_ctx") if isinstance(options, dict) else None
        ending: Json = {"done": True, "done_reason": "length" if self.answer.finish == "length" else "stop"}
        ending |= {"total_duration": 20_000_000 * usage.output + 2_000_000, "load_duration": 1_000_000}
        ending |= {"prompt_eval_count": min(usage.prompt, int(room or usage.prompt)), "prompt_eval_duration": 1_000_000}
        ending |= {"eval_count": usage.output, "eval_duration": 20_000_000 * usage.output}
        if self.generates:
            ending["context"] = [128006, 882, 128007, usage.prompt, usage.output]
        return ending


def _row(model: str) -> Json:
    family = model.partition(":")[0].rstrip("0123456789.")
    details = {"parent_model": "", "format": "gguf", "family": family, "families": [family]}
    details |= {"parameter_size": "9B", "quantization_level": "Q4_K_M"}
    row: Json = {"name": model, "model": model, "modified_at": CREATED_TEXT, "size": 5_200_000_000}
    return row | {"digest": hexadecimal(model, "digest", 64), "details": details}


def answer_tags(exchange: Exchange) -> Reply:
    """`GET /api/tags`."""
    return json_reply({"models": [_row(model) for model in exchange.profile.models]})


def answer_running(exchange: Exchange) -> Reply:
    """`GET /api/ps`."""
    rows = [
        _row(model) | {"expires_at": CREATED_TEXT, "size_vram": 5_200_000_000} for model in exchange.profile.models[:1]
    ]
    return json_reply({"models": [row | {"context_length": _DEFAULT_CONTEXT} for row in rows]})


def answer_version(exchange: Exchange) -> Reply:
    """`GET /api/version`."""
    return json_reply({"version": "0.14.0-sandbox"})


def answer_show(exchange: Exchange) -> Reply:
    """`POST /api/show`."""
    model = _model(exchange)
    family = _row(model)["details"]["family"]
    able = ["embedding"] if "embed" in model else ["completion", "tools", "vision"]
    if "llama" not in model and able != ["embedding"]:
        able.append("thinking")
    info = {"general.architecture": family, f"{family}.context_length": 262_144}
    value: Json = {
        "license": "",
        "modelfile": "",
        "parameters": "",
        "template": "{{ .Prompt }}",
        "details": _row(model)["details"],
    }
    return json_reply(value | {"model_info": info, "capabilities": able, "modified_at": CREATED_TEXT})


def answer_embed(exchange: Exchange) -> Reply:
    """`POST /api/embed` and the older `/api/embeddings`."""
    model = _model(exchange)
    body: Mapping[str, Any] = exchange.body
    size = body.get("dimensions") or model_size(model)
    if "prompt" in body:
        return json_reply({"embedding": vector(str(body["prompt"]), int(size))})
    inputs = embedding_inputs(body.get("input"))
    value: Json = {"model": model, "embeddings": [vector(text, int(size)) for text in inputs]}
    tokens = sum(max(1, tokens_of(text)) for text in inputs)
    return json_reply(value | {"total_duration": 14_000_000, "load_duration": 1_000_000, "prompt_eval_count": tokens})
