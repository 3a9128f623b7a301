"""Reads a chat completion request as the provider would, refusing what it refuses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from polyroute.sandbox.errors import Refused, invalid
from polyroute.sandbox.exchange import Exchange, Json
from polyroute.sandbox.openai_content import read_content
from polyroute.sandbox.prompt import Prompt, SeenCall, SeenResult, Tool, Turn, prompt_tokens, turn_tokens

_ROLES = {"system", "developer", "user", "assistant", "tool", "function"}
_REASONING_MODEL = re.compile(r"^(o[134](-|$)|gpt-[56](?!.*-chat))")


def is_reasoning_model(model: str) -> bool:
    """Whether OpenAI's naming says that the model reasons (and so refuses `max_tokens` and sampling)."""
    return _REASONING_MODEL.match(model.rsplit("/", 1)[-1]) is not None


def read_chat(exchange: Exchange) -> Prompt:
    """The neutral form of a chat completion request."""
    body = exchange.body
    model = required_model(exchange)
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise invalid("Invalid 'messages': empty array. Expected an array with minimum length 1.", param="messages")
    turns = tuple(_turn(message, place) for place, message in enumerate(messages))
    _check_tool_pairs(messages)
    check_streaming(body)
    tools, choice, forced = _tools(body, tolerant=exchange.profile.name not in ("openai", "azure"))
    schema, json_object = _format(body)
    prompt = Prompt(
        provider=exchange.profile.name,
        model=model,
        digest=exchange.digest,
        turns=turns,
        tools=tools,
        choice=choice,
        forced=forced,
        parallel=body.get("parallel_tool_calls", body.get("parallel_function_calling")) is not False,
        schema=schema,
        json_object=json_object,
        reasoning=_thinks(exchange, model),
        stop=texts(body.get("stop")),
        limit=whole(body, "max_completion_tokens") or whole(body, "max_tokens"),
        count=whole(body, "n") or 1,
        logprobs=_logprobs(body),
        stream=body.get("stream") is True,
        cached=cached_tokens(turns),
        instead=exchange.instead,
    )
    check_context(exchange, prompt)
    return prompt


def required_model(exchange: Exchange) -> str:
    """The model of the body or of the path; one whose name says `no-such-model` does not exist."""
    model = exchange.groups.get("model") or exchange.body.get("model")
    if not isinstance(model, str) or not model:
        raise invalid("you must provide a model parameter", param="model")
    check_model(model)
    return model


def check_model(model: str) -> None:
    """Refuse the models that are there to be missing."""
    if "no-such-model" in model:
        raise Refused("model_not_found", values={"model": model}, param="model")


def check_context(exchange: Exchange, prompt: Prompt) -> None:
    """Refuse what does not fit."""
    tokens = prompt_tokens(prompt)
    if tokens > exchange.context_limit:
        raise Refused(
            "context_too_long",
            values={"tokens": tokens, "limit": exchange.context_limit, "model": prompt.model},
            param="messages",
        )


def check_streaming(body: Json) -> None:
    """`stream` is a boolean, and its options only go with it."""
    if not isinstance(body.get("stream", False), bool | None):
        raise invalid("Invalid type for 'stream': expected a boolean.", param="stream", code="invalid_type")
    if body.get("stream_options") is not None and body.get("stream") is not True:
        raise invalid(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.", param="stream_options"
        )


def cached_tokens(turns: tuple[Turn, ...]) -> int:
    """What a provider with an automatic cache would have kept: all but the last message, in steps of 128 from 1024."""
    earlier = sum(turn_tokens(turn) for turn in turns[:-1])
    return earlier // 128 * 128 if earlier >= 1024 else 0


def texts(value: Any) -> tuple[str, ...]:
    """A string or a list of strings, as a tuple."""
    if isinstance(value, str):
        return (value,)
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()


def whole(body: Json, name: str) -> int | None:
    """An optional positive integer of the body."""
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise invalid(f"Invalid type for '{name}': expected an integer.", param=name, code="invalid_type")
    if value < 1:
        raise invalid(
            f"Invalid '{name}': integer below minimum value. Expected a value >= 1, but got {value} instead.",
            param=name,
            code="integer_below_min_value",
        )
    return value


def _turn(message: Any, place: int) -> Turn:
    where = f"messages[{place}]"
    if not isinstance(message, dict):
        raise invalid(f"Invalid type for '{where}': expected an object.", param=where, code="invalid_type")
    role = message.get("role")
    if role not in _ROLES:
        raise invalid(
            f"Invalid value: '{role}'. Supported values are: 'system', 'assistant', 'user', 'function', 'tool', and "
            "'developer'.",
            param=f"{where}.role",
            code="invalid_value",
        )
    text, attachments = read_content(message.get("content"), where)
    match role:
        case "tool" | "function":
            result = SeenResult(str(message.get("tool_call_id", "")), str(message.get("name") or ""), text)
            return Turn(role="tool", attachments=attachments, results=(result,))
        case "assistant":
            return Turn(role="assistant", text=text, attachments=attachments, calls=_seen_calls(message))
        case "user":
            return Turn(role="user", text=text, attachments=attachments)
        case _:
            return Turn(role="system", text=text)


def _seen_calls(message: Json) -> tuple[SeenCall, ...]:
    calls = []
    for call in message.get("tool_calls") or ():
        inner = call.get(call.get("type") or "function") if isinstance(call, dict) else None
        if not isinstance(inner, dict) or not isinstance(inner.get("name"), str):
            raise invalid("Missing required parameter: 'messages[].tool_calls[].function.name'.", param="messages")
        calls.append(SeenCall(str(call.get("id", "")), inner["name"]))
    return tuple(calls)


def _check_tool_pairs(messages: list[Json]) -> None:
    """Every call is answered by the tool messages right behind it, and every tool message answers a call."""
    open_calls: dict[str, None] = {}
    for place, message in enumerate(messages):
        if message["role"] == "tool":
            if open_calls.pop(str(message.get("tool_call_id")), "absent") == "absent":
                raise invalid(
                    "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with "
                    "'tool_calls'.",
                    param=f"messages.[{place}].role",
                )
            continue
        _check_all_answered(open_calls, place)
        open_calls = {str(call.get("id")): None for call in message.get("tool_calls") or ()}
    _check_all_answered(open_calls, len(messages))


def _check_all_answered(open_calls: Mapping[str, None], place: int) -> None:
    if open_calls:
        raise invalid(
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
            f"'tool_call_id'. The following tool_call_ids did not have response messages: {', '.join(open_calls)}",
            param=f"messages.[{place}].role",
        )


Choice = Literal["auto", "none", "required"]


def _tools(body: Json, *, tolerant: bool) -> tuple[tuple[Tool, ...], Choice, tuple[str, ...]]:
    offered = body.get("tools") or [{"type": "function", "function": item} for item in body.get("functions") or ()]
    found = [_tool(item, place, tolerant=tolerant) for place, item in enumerate(offered)]
    tools = tuple(tool for tool in found if tool is not None)
    choice, forced = read_choice(body.get("tool_choice"))
    names = {tool.name for tool in tools}
    if choice == "required" and not tools:
        raise invalid("'tool_choice' is only allowed when 'tools' are specified.", param="tool_choice")
    for name in forced:
        if name not in names:
            raise invalid(f"Tool choice '{name}' not found in 'tools' parameter.", param="tool_choice")
    return tools, choice, forced


def _tool(item: Any, place: int, *, tolerant: bool) -> Tool | None:
    """A tool on offer. A `tolerant` provider takes one without a type, and runs hosted tools itself (None)."""
    kind = item.get("type", "function" if tolerant else None) if isinstance(item, dict) else None
    inner = item.get(kind) if isinstance(kind, str) else None
    if tolerant and isinstance(kind, str) and kind not in ("function", "custom"):
        return None
    if not isinstance(inner, dict) or not isinstance(inner.get("name"), str):
        raise invalid(
            f"Missing required parameter: 'tools[{place}].function.name'.",
            param=f"tools[{place}].function",
            code="missing_required_parameter",
        )
    return Tool(inner["name"], None if kind == "custom" else checked_schema(inner, f"tools[{place}]"))


def checked_schema(inner: Json, where: str) -> Mapping[str, Any]:
    """The parameters of a tool; none means an object without properties."""
    schema = inner.get("parameters")
    if schema is None:
        return {"type": "object", "properties": {}}
    if not isinstance(schema, dict) or schema.get("type") not in ("object", None):
        kind = schema.get("type") if isinstance(schema, dict) else type(schema).__name__
        raise invalid(
            f"Invalid schema for function '{inner['name']}': schema must be a JSON Schema of 'type: \"object\"', got "
            f"'type: \"{kind}\"'.",
            param=f"{where}.function.parameters",
            code="invalid_function_parameters",
        )
    return schema


def read_choice(value: Any) -> tuple[Choice, tuple[str, ...]]:
    """What `tool_choice` demands, in OpenAI's forms and in the spelling `any`."""
    match value:
        case None | "auto":
            return "auto", ()
        case "none":
            return "none", ()
        case "required" | "any":
            return "required", ()
        case {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": list(tools)}}:
            names = tuple(_choice_name(tool) for tool in tools)
            return ("required" if mode == "required" else "auto"), names
        case {"type": str()}:
            return "required", (_choice_name(value),)
    raise invalid(f"Invalid value for 'tool_choice': {value!r}.", param="tool_choice", code="invalid_value")


def _choice_name(tool: Any) -> str:
    inner = tool.get(tool.get("type"), tool) if isinstance(tool, dict) else {}
    return str(inner.get("name", "")) if isinstance(inner, dict) else ""


def _format(body: Json) -> tuple[Mapping[str, Any] | None, bool]:
    wanted = body.get("response_format")
    match wanted:
        case None | {"type": "text" | "regex" | "grammar"}:
            return None, False
        case {"type": "json_object", "schema": dict(schema)}:
            return schema, True
        case {"type": "json_object"}:
            return None, True
        case {"type": "json_schema", "json_schema": {"schema": dict(schema)}}:
            return schema, True
        case {"type": "json_schema"}:
            raise invalid(
                "Missing required parameter: 'response_format.json_schema'.",
                param="response_format.json_schema",
                code="missing_required_parameter",
            )
    raise invalid("Invalid value for 'response_format'.", param="response_format", code="invalid_value")


def _logprobs(body: Json) -> int | None:
    value = body.get("logprobs")
    if value is None or value is False:
        return None
    if value is True:
        return int(body.get("top_logprobs") or 0)
    return value if isinstance(value, int) else None


def _thinks(exchange: Exchange, model: str) -> bool:
    """Whether the answer is thought about first: asked for, or the model does so unasked."""
    body = exchange.body
    effort = body.get("reasoning_effort")
    reasoning = body.get("reasoning")
    thinking = body.get("thinking")
    if effort == "none" or _is(reasoning, "effort", "none") or _is(reasoning, "enabled", False):
        return False
    if _is(thinking, "type", "disabled") or body.get("include_reasoning") is False:
        return False
    asked = bool(effort or reasoning or thinking or body.get("prompt_mode") == "reasoning")
    if exchange.profile.name in ("openai", "azure"):
        return is_reasoning_model(model)
    return asked or any(part in model.lower() for part in exchange.profile.thinks)


def _is(value: Any, key: str, wanted: object) -> bool:
    return isinstance(value, dict) and value.get(key) == wanted
