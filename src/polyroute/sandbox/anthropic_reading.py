"""Reads a Messages request as Anthropic would, refusing what it refuses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from polyroute.sandbox.anthropic_rules import check_model_rules
from polyroute.sandbox.errors import Refused, invalid
from polyroute.sandbox.exchange import Exchange, Json
from polyroute.sandbox.openai_reading import check_context, check_model
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
    *(
        "model",
        "messages",
        "max_tokens",
        "system",
        "tools",
        "tool_choice",
        "thinking",
        "output_config",
        "stop_sequences",
    ),
    *("metadata", "stream", "temperature", "top_p", "top_k", "service_tier", "speed", "inference_geo", "container"),
    *(
        "cache_control",
        "context_management",
        "mcp_servers",
        "diagnostics",
        "output_format",
        "betas",
        "anthropic_version",
    ),
    *("anthropic_beta", "fallbacks"),
}
_SMALLEST_CACHED = 1024
_MEDIA_TYPES = ("image/jpeg", "image/png", "image/gif", "image/webp")


def read_messages(exchange: Exchange, *, counting: bool = False) -> Prompt:
    """The neutral form of a Messages request; `counting` for count_tokens, which needs no `max_tokens`."""
    body = exchange.body
    if exchange.strict and exchange.profile.name == "anthropic" and "anthropic-version" not in exchange.headers:
        raise invalid("anthropic-version: header is required")
    for name in ("model", "messages") if counting else ("model", "messages", "max_tokens"):
        if body.get(name) is None and not (name == "model" and exchange.groups.get("model")):
            raise invalid(f"{name}: Field required")
    if exchange.strict:
        for name in body:
            if name not in _KNOWN:
                raise invalid(f"{name}: Extra inputs are not permitted")
    model = exchange.groups.get("model") or str(body["model"])
    check_model(model)
    limit = _limit(body)
    turns = [*_system(body.get("system")), *_turns(body["messages"])]
    check_signatures(body["messages"])
    _check_tool_pairs(body["messages"])
    tools = tuple(_tool(item, place) for place, item in enumerate(body.get("tools") or ()))
    choice, forced, parallel = _choice(body.get("tool_choice"), tools)
    thinking = _thinking(body, limit)
    if exchange.strict:
        check_model_rules(model, body)
    cached, written = _cache(body, turns)
    prompt = Prompt(
        provider=exchange.profile.name,
        model=model,
        digest=exchange.digest,
        turns=tuple(turns),
        tools=tools,
        choice=choice,
        forced=forced,
        parallel=parallel,
        schema=_schema(body),
        reasoning=thinking,
        stop=_stop(body),
        limit=limit,
        stream=body.get("stream") is True,
        cached=cached,
        cache_written=written,
        instead=exchange.instead,
    )
    check_context(exchange, prompt)
    return prompt


def uses_long_cache(body: Json) -> bool:
    """Whether a cache mark asks for an hour."""
    return any(mark.get("ttl") == "1h" for mark in _marks(body))


def _limit(body: Json) -> int | None:
    value = body.get("max_tokens")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise invalid("max_tokens: Input should be a valid integer")
    if value < 0:
        raise invalid("max_tokens: Input should be greater than or equal to 0")
    return value


def _system(value: Any) -> list[Turn]:
    if value is None:
        return []
    if isinstance(value, str):
        return [Turn(role="system", text=value)]
    if not isinstance(value, list):
        raise invalid("system: Input should be a valid list")
    texts = []
    for place, block in enumerate(value):
        if not isinstance(block, dict) or block.get("type") != "text" or not block.get("text"):
            raise invalid(f"system.{place}: text content blocks must be non-empty")
        texts.append(str(block["text"]))
    return [Turn(role="system", text="\n".join(texts))]


def _turns(messages: Any) -> list[Turn]:
    if not isinstance(messages, list):
        raise invalid("messages: Input should be a valid list")
    if not messages:
        raise invalid("messages: at least one message is required")
    turns: list[Turn] = []
    for place, message in enumerate(messages):
        role = message.get("role") if isinstance(message, dict) else None
        if role not in ("user", "assistant", "system"):
            raise invalid(f"messages.{place}.role: Input should be 'user' or 'assistant'")
        if place == 0 and role != "user":
            raise invalid('messages.0.role: first message must use the "user" role')
        if role == "system":
            _check_system_place(messages, place)
        turns += _message(message, role, place)
    last = messages[-1]
    if last["role"] == "assistant" and turns[-1].text != turns[-1].text.rstrip():
        raise invalid("messages: final assistant content cannot end with trailing whitespace")
    return turns


def _check_system_place(messages: list[Json], place: int) -> None:
    after = messages[place + 1] if place + 1 < len(messages) else None
    if messages[place - 1]["role"] == "system" or (isinstance(after, dict) and after.get("role") != "assistant"):
        raise invalid(
            f"messages.{place}: a `system` message must follow a user message and be last or precede an assistant message"
        )


def _message(message: Json, role: Literal["user", "assistant", "system"], place: int) -> list[Turn]:
    content = message.get("content")
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    if not isinstance(content, list):
        raise invalid(f"messages.{place}.content: Input should be a valid list")
    said: list[str] = []
    attachments: list[Attachment] = []
    calls: list[SeenCall] = []
    results: list[SeenResult] = []
    for number, block in enumerate(content):
        where = f"messages.{place}.content.{number}"
        kind = block.get("type") if isinstance(block, dict) else None
        match kind:
            case "text":
                if not isinstance(block.get("text"), str) or not block["text"].strip():
                    raise invalid("messages: text content blocks must be non-empty")
                said.append(block["text"])
            case "image" | "document":
                attachments.append(_attachment(kind, block.get("source"), where))
            case "tool_use":
                calls.append(_seen_call(block, where))
            case "tool_result":
                if said or attachments:
                    raise invalid(f"{where}: `tool_result` blocks must come before other content in a user message")
                results.append(SeenResult(str(block.get("tool_use_id", "")), "", _result_text(block)))
            case "thinking" | "redacted_thinking" | "search_result" | "server_tool_use" | "container_upload":
                pass
            case str() if kind.endswith("_tool_result"):
                pass
            case _:
                raise invalid(f"{where}: Input tag '{kind}' found using 'type' does not match any of the expected tags")
    turns = [Turn(role="tool", results=tuple(results))] if results else []
    if said or attachments or calls or not turns:
        turns.append(Turn(role=role, text="\n".join(said), attachments=tuple(attachments), calls=tuple(calls)))
    return turns


def _seen_call(block: Json, where: str) -> SeenCall:
    if not isinstance(block.get("input"), dict):
        raise invalid(f"{where}.tool_use.input: Input should be a valid dictionary")
    if not isinstance(block.get("id"), str) or not isinstance(block.get("name"), str):
        raise invalid(f"{where}.tool_use.id: Field required")
    return SeenCall(block["id"], block["name"])


def _attachment(kind: Literal["image", "document"], source: Any, where: str) -> Attachment:
    sort: Literal["image", "file"] = "image" if kind == "image" else "file"
    match source:
        case {"type": "base64", "media_type": str(media_type), "data": str(data)}:
            size = base64_size(data)
            if size is None:
                raise invalid(f"{where}.{kind}.source.base64: invalid base64 data")
            if kind == "image" and media_type not in _MEDIA_TYPES:
                allowed = ", ".join(f"'{item}'" for item in _MEDIA_TYPES)
                raise invalid(f"{where}.image.source.base64.media_type: Input should be {allowed}")
            return Attachment(sort, media_type, size)
        case {"type": "url", "url": str(url)}:
            return Attachment(sort, f"{kind}/url", None, url)
        case {"type": "text", "data": str(text)}:
            return Attachment(sort, "text/plain", len(text))
        case {"type": "file", "file_id": str(name)}:
            return Attachment(sort, f"{kind}/file", None, name)
        case {"type": "content"}:
            return Attachment(sort, "text/plain", None, "its content")
    raise invalid(f"{where}.{kind}.source: Field required")


def _result_text(block: Json) -> str:
    content = block.get("content")
    if isinstance(content, list):
        parts = [part for part in content if isinstance(part, dict)]
        return "\n".join(str(part.get("text", f"[{part.get('type')}]")) for part in parts)
    return "" if content is None else str(content)


def _blocks(message: Json, kind: str) -> list[Json]:
    content = message.get("content")
    return [item for item in content if item.get("type") == kind] if isinstance(content, list) else []


def _check_tool_pairs(messages: list[Json]) -> None:
    seen: set[str] = set()
    for place, message in enumerate(messages):
        before = {item["id"] for item in _blocks(messages[place - 1], "tool_use")} if place else set()
        for number, block in enumerate(_blocks(message, "tool_result")):
            if block.get("tool_use_id") not in before:
                raise invalid(
                    f"messages.{place}.content.{number}: unexpected `tool_use_id` found in `tool_result` blocks: "
                    f"{block.get('tool_use_id')}. Each `tool_result` block must have a corresponding `tool_use` block in the "
                    "previous message."
                )
        ids = [item["id"] for item in _blocks(message, "tool_use")]
        if seen.intersection(ids) or len(set(ids)) != len(ids):
            raise invalid("messages: `tool_use` ids must be unique")
        seen.update(ids)
        after = messages[place + 1] if place + 1 < len(messages) else {}
        answered = {item.get("tool_use_id") for item in _blocks(after, "tool_result")}
        missing = [item for item in ids if item not in answered]
        if missing:
            raise invalid(
                f"messages.{place}: `tool_use` ids were found without `tool_result` blocks immediately after: "
                f"{', '.join(missing)}. Each `tool_use` block must have a corresponding `tool_result` block in the next "
                "message."
            )


def check_signatures(messages: list[Json]) -> None:
    """Thinking that another provider signed, or nobody, is refused."""
    for place, message in enumerate(messages):
        for number, block in enumerate(message["content"] if isinstance(message.get("content"), list) else ()):
            if block.get("type") == "thinking" and not is_signed_by("anthropic", str(block.get("signature", ""))):
                raise invalid(f"messages.{place}.content.{number}: Invalid `signature` in `thinking` block")


def _tool(item: Any, place: int) -> Tool:
    if not isinstance(item, dict) or not isinstance(item.get("name"), str):
        raise invalid(f"tools.{place}.custom.name: Field required")
    if item.get("type") not in (None, "custom"):
        return Tool(item["name"], {"type": "object", "properties": {}})
    schema = item.get("input_schema")
    if not isinstance(schema, dict):
        raise invalid(f"tools.{place}.custom.input_schema: Field required")
    if schema.get("type") != "object":
        raise invalid(f"tools.{place}.custom.input_schema.type: Input should be 'object'")
    return Tool(item["name"], schema)


def _choice(value: Any, tools: tuple[Tool, ...]) -> tuple[Literal["auto", "none", "required"], tuple[str, ...], bool]:
    parallel = not (isinstance(value, dict) and value.get("disable_parallel_tool_use") is True)
    match value:
        case None | {"type": "auto"}:
            return "auto", (), parallel
        case {"type": "none"}:
            return "none", (), parallel
        case {"type": "any"} if tools:
            return "required", (), parallel
        case {"type": "tool", "name": str(name)}:
            if name not in {tool.name for tool in tools}:
                raise invalid(f"Tool '{name}' not found in provided tools")
            return "required", (name,), parallel
        case {"type": "any"}:
            raise invalid("tool_choice: may only be specified while providing tools.")
    raise invalid("tool_choice: Input tag does not match any of the expected tags: 'auto', 'any', 'tool', 'none'")


def _thinking(body: Json, limit: int | None) -> bool:
    match body.get("thinking"):
        case None | {"type": "disabled"}:
            return False
        case {"type": "adaptive" | "between_tools"}:
            return True
        case {"type": "enabled", "budget_tokens": int(budget)}:
            if budget < 1024:
                raise invalid("thinking.enabled.budget_tokens: Input should be greater than or equal to 1024")
            if limit is not None and budget >= limit:
                raise invalid("`max_tokens` must be greater than `thinking.budget_tokens`.")
            _check_thinking_first(body["messages"])
            return True
        case {"type": "enabled"}:
            raise invalid("thinking.enabled.budget_tokens: Field required")
    raise invalid("thinking: Input tag does not match any of the expected tags: 'enabled', 'disabled', 'adaptive'")


def _check_thinking_first(messages: list[Json]) -> None:
    if not _blocks(messages[-1], "tool_result") or len(messages) < 2:
        return
    first = messages[-2]["content"][0]
    if first.get("type") not in ("thinking", "redacted_thinking"):
        raise invalid(
            f"messages.{len(messages) - 2}.content.0.type: Expected `thinking` or `redacted_thinking`, but found "
            f"`{first.get('type')}`. When `thinking` is enabled, a final `assistant` message must start with a thinking block "
            "(preceeding the lastmost set of `tool_use` and `tool_result` blocks)."
        )


def _schema(body: Json) -> Mapping[str, Any] | None:
    config = body.get("output_config")
    wanted = config.get("format") if isinstance(config, dict) else body.get("output_format")
    if not isinstance(wanted, dict):
        return None
    schema = wanted.get("schema")
    if wanted.get("type") != "json_schema" or not isinstance(schema, dict):
        raise invalid("output_config.format.schema: Field required")
    return schema


def _stop(body: Json) -> tuple[str, ...]:
    marks = body.get("stop_sequences") or []
    if not isinstance(marks, list) or any(not isinstance(mark, str) or not mark.strip() for mark in marks):
        raise Refused("invalid_request", "stop_sequences: each stop sequence must contain non-whitespace")
    return tuple(marks)


def _marks(body: Json) -> list[Json]:
    """Every cache mark of the request."""
    holders: list[Any] = [body, *(body.get("tools") or ())]
    holders += body["system"] if isinstance(body.get("system"), list) else []
    for message in body.get("messages") or ():
        holders += message["content"] if isinstance(message.get("content"), list) else []
    return [
        item["cache_control"]
        for item in holders
        if isinstance(item, dict) and isinstance(item.get("cache_control"), dict)
    ]


def _cache(body: Json, turns: list[Turn]) -> tuple[int, int]:
    """Tokens read from and written to the cache: the part before the last message, when something is marked and the part
    is long enough. A conversation that has an answer in it was cached before."""
    if not _marks(body):
        return 0, 0
    blank = Prompt(provider="", model="", digest="", turns=tuple(turns))
    prefix = prompt_tokens(blank) - turn_tokens(turns[-1])
    if prefix < _SMALLEST_CACHED:
        return 0, 0
    return (prefix, 0) if any(turn.role == "assistant" for turn in turns) else (0, prefix)
