"""Reads a Converse request as Bedrock would, refusing what it refuses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from polyroute.sandbox.anthropic_rules import claude_of
from polyroute.sandbox.errors import Refused, invalid
from polyroute.sandbox.exchange import Exchange, Json
from polyroute.sandbox.openai_reading import check_context, check_model, texts
from polyroute.sandbox.prompt import (
    Attachment,
    Prompt,
    SeenCall,
    SeenResult,
    Tool,
    Turn,
    base64_size,
    prompt_tokens,
    turn_tokens,
)
from polyroute.sandbox.signatures import is_signed_by

_KNOWN = {
    *("messages", "system", "inferenceConfig", "toolConfig", "guardrailConfig", "additionalModelRequestFields"),
    *("promptVariables", "additionalModelResponseFieldPaths", "requestMetadata", "performanceConfig", "outputConfig"),
    "serviceTier",
}


def read_converse(exchange: Exchange) -> Prompt:
    """The neutral form of a Converse request."""
    body = exchange.body
    model = exchange.groups["model"]
    check_model(model)
    for name in body:
        if exchange.strict and name not in _KNOWN:
            raise invalid(
                f"Malformed input request: #: extraneous key [{name}] is not permitted, please reformat your input "
                "and try again."
            )
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise invalid("The messages field must not be empty. Add at least one message and try again.")
    system = [Turn(role="system", text=str(part["text"])) for part in body.get("system") or () if "text" in part]
    turns = [turn for place, message in enumerate(messages) for turn in _message(message, place)]
    _check_order(messages, exchange)
    tools, choice, forced = _tools(body, turns)
    config = body.get("inferenceConfig") or {}
    extra = body.get("additionalModelRequestFields") or {}
    thinking = extra.get("thinking") or extra.get("reasoning_config") or {}
    cached, written = _cache(body, [*system, *turns])
    prompt = Prompt(
        provider=exchange.profile.name,
        model=model,
        digest=exchange.digest,
        turns=(*system, *turns),
        tools=tools,
        choice=choice,
        forced=forced,
        schema=_schema(body),
        reasoning=thinking.get("type") in ("enabled", "adaptive"),
        stop=texts(config.get("stopSequences")),
        limit=config.get("maxTokens") if isinstance(config.get("maxTokens"), int) else None,
        stream=exchange.path.rstrip("/").endswith("-stream"),
        cached=cached,
        cache_written=written,
        instead=exchange.instead,
    )
    check_context(exchange, prompt)
    return prompt


def _message(message: Any, place: int) -> list[Turn]:
    role = message.get("role") if isinstance(message, dict) else None
    content = message.get("content") if isinstance(message, dict) else None
    if role not in ("user", "assistant"):
        raise invalid(
            f"Value '{role}' at 'messages.{place + 1}.member.role' failed to satisfy constraint: Member must "
            "satisfy enum value set: [user, assistant]"
        )
    if not isinstance(content, list) or not content:
        raise invalid(
            f"The content field in the Message object at messages.{place} is empty. Add a ContentBlock object to "
            "the content field and try again."
        )
    said: list[str] = []
    attachments: list[Attachment] = []
    calls: list[SeenCall] = []
    results: list[SeenResult] = []
    for number, block in enumerate(content):
        where = f"messages.{place}.content.{number}"
        match block:
            case {"text": str(text)}:
                if not text.strip():
                    raise invalid(
                        f"The text field in the ContentBlock object at {where} is blank. Add text to the text field, and try "
                        "again."
                    )
                said.append(text)
            case {"toolUse": {"toolUseId": str(name), "name": str(tool), "input": _}}:
                calls.append(SeenCall(name, tool))
            case {"toolResult": {"toolUseId": str(name), "content": list(parts)}}:
                text = "\n".join(str(part.get("text", part.get("json", "[media]"))) for part in parts)
                results.append(SeenResult(name, "", text))
            case {"reasoningContent": {"reasoningText": {"signature": str(signature)}}}:
                if not is_signed_by("anthropic", signature):
                    raise invalid(
                        f"The model returned the following errors: {where}: Invalid `signature` in `thinking` block"
                    )
            case {"image": dict(media)} | {"document": dict(media)} | {"video": dict(media)} | {"audio": dict(media)}:
                attachments.append(_attachment(next(iter(block)), media, where))
            case (
                {"reasoningContent": _}
                | {"cachePoint": _}
                | {"guardContent": _}
                | {"searchResult": _}
                | {"citationsContent": _}
            ):
                pass
            case _:
                raise invalid(
                    f"The ContentBlock object at {where} must set one of the following keys: text, image, toolUse, "
                    "toolResult, document, video, cachePoint, reasoningContent."
                )
    turns = [Turn(role="tool", results=tuple(results))] if results else []
    if said or attachments or calls or not turns:
        turns.append(Turn(role=role, text="\n".join(said), attachments=tuple(attachments), calls=tuple(calls)))
    return turns


def _attachment(name: str, media: Json, where: str) -> Attachment:
    kind: Literal["image", "audio", "video", "file"] = "file"
    if name != "document":
        kind = name  # type: ignore[assignment]  # the caller's pattern allows only these names
    media_type = f"{'application' if kind == 'file' else kind}/{media.get('format')}"
    source = media.get("source")
    match source:
        case {"bytes": str(data)}:
            size = base64_size(data)
            if size is None:
                raise invalid(f"The {name} bytes at {where} are not valid base64.")
            return Attachment(kind, media_type, size)
        case {"s3Location": {"uri": str(uri)}}:
            return Attachment(kind, media_type, None, uri)
        case {"text": str(text)}:
            return Attachment(kind, media_type, len(text))
    raise invalid(f"The {name} source at {where} must set one of the following keys: bytes, s3Location.")


def _check_order(messages: list[Json], exchange: Exchange) -> None:
    if messages[0]["role"] != "user":
        raise invalid(
            "A conversation must start with a user message. Try again with a conversation that starts with a user message."
        )
    before: Json = {"role": None, "content": []}
    for place, message in enumerate([*messages, {"role": None, "content": []}]):
        if message["role"] == before["role"]:
            raise invalid(
                "A conversation must alternate between user and assistant roles. Make sure the conversation "
                "alternates between "
                "user and assistant roles and try again."
            )
        asked = [block["toolUse"]["toolUseId"] for block in before["content"] if "toolUse" in block]
        told = [block["toolResult"]["toolUseId"] for block in message["content"] if "toolResult" in block]
        missing = [name for name in asked if name not in told]
        if missing:
            raise invalid(
                f"Expected toolResult blocks at messages.{place}.content for the following Ids: {', '.join(missing)}"
            )
        if len(told) > len(asked):
            raise invalid(
                f"The number of toolResult blocks at messages.{place}.content exceeds the number of toolUse blocks of "
                "previous turn."
            )
        before = message
    last = messages[-1]["role"]
    claude = claude_of(exchange.groups["model"])
    if last == "assistant" and exchange.strict and not claude.prefill:
        raise Refused("prefill")


def _tools(
    body: Json, turns: list[Turn]
) -> tuple[tuple[Tool, ...], Literal["auto", "none", "required"], tuple[str, ...]]:
    config = body.get("toolConfig")
    if config is None:
        if any(turn.calls or turn.results for turn in turns):
            raise invalid("The toolConfig field must be defined when using toolUse and toolResult content blocks.")
        return (), "auto", ()
    tools = []
    for item in config.get("tools") or ():
        spec = item.get("toolSpec")
        if spec is not None:
            tools.append(Tool(str(spec["name"]), (spec.get("inputSchema") or {}).get("json") or {"type": "object"}))
    if not tools:
        raise invalid("The provided request is not valid: toolConfig.tools must have at least one tool.")
    match config.get("toolChoice"):
        case {"any": _}:
            return tuple(tools), "required", ()
        case {"tool": {"name": str(name)}}:
            return tuple(tools), "required", (name,)
    return tuple(tools), "auto", ()


def _schema(body: Json) -> Mapping[str, Any] | None:
    match body.get("outputConfig"):
        case {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": {"schema": str(text)}}}}:
            try:
                schema = msgspec.json.decode(text)
            except msgspec.DecodeError as error:
                raise invalid("The JSON schema in outputConfig is not valid JSON.") from error
            return schema if isinstance(schema, dict) else None
    return None


def _cache(body: Json, turns: list[Turn]) -> tuple[int, int]:
    blocks = [*(body.get("system") or ()), *(block for message in body["messages"] for block in message["content"])]
    if not any("cachePoint" in block for block in blocks):
        return 0, 0
    prefix = prompt_tokens(Prompt(provider="", model="", digest="", turns=tuple(turns))) - turn_tokens(turns[-1])
    if prefix < 1024:
        return 0, 0
    return (prefix, 0) if any(turn.role == "assistant" for turn in turns) else (0, prefix)
