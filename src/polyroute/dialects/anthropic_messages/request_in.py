"""A caller's Messages request → canonical."""

from __future__ import annotations

from typing import Any

import msgspec

from polyroute.dialects.anthropic_messages.content_in import parse_cache
from polyroute.dialects.anthropic_messages.refusals import bounded, invalid, optional, required, typed
from polyroute.dialects.anthropic_messages.turns_in import parse_system, parse_turns
from polyroute.types.chat import ChatRequest, HostedTool, OutputFormat, Reasoning, Tool, ToolChoice
from polyroute.types.operations import Dialect

_A = Dialect.ANTHROPIC_MESSAGES
_KNOWN = frozenset(
    {
        "model", "max_tokens", "messages", "system", "stream", "tools", "tool_choice", "thinking", "output_config",
        "output_format", "stop_sequences", "metadata", "temperature", "top_p", "top_k", "service_tier",
    }
)  # fmt: skip
_TOOL_FIELDS = frozenset({"name", "description", "input_schema", "strict", "cache_control", "type"})
_EFFORTS = ("low", "medium", "high", "xhigh", "max")
_SMALLEST_BUDGET = 1024
_DECODER = msgspec.json.Decoder()


def parse_request(body: bytes) -> ChatRequest:
    """The body of `POST /v1/messages`. Raises PolyrouteError(invalid_request) naming the field."""
    return _parse(_decode(body), counting=False)


def parse_count_request(body: bytes) -> ChatRequest:
    """The body of `POST /v1/messages/count_tokens`: a Messages request without `max_tokens`."""
    return _parse(_decode(body), counting=True)


def _decode(body: bytes) -> dict[str, Any]:
    try:
        fields = _DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise invalid("", f"The request body is not valid JSON: {error}") from error
    if not isinstance(fields, dict):
        raise invalid("", "The request body must be a JSON object.")
    return fields


def _parse(fields: dict[str, Any], *, counting: bool) -> ChatRequest:
    model = required(fields, "model", str)
    max_tokens = optional(fields, "max_tokens", int) if counting else required(fields, "max_tokens", int)
    if max_tokens is not None and max_tokens < 0:
        raise invalid("max_tokens", "Input should be greater than or equal to 0")
    turns = required(fields, "messages", list)
    extra = {name: value for name, value in fields.items() if name not in _KNOWN and value is not None}
    tools, tool_fields = _parse_tools(optional(fields, "tools", list) or [])
    if tool_fields:
        extra["tool_fields"] = tool_fields
    choice, parallel = _parse_choice(fields, tools)
    reasoning, output_format = _parse_output(fields, max_tokens, extra)
    top_k = optional(fields, "top_k", int)
    return ChatRequest(
        model=model,
        messages=(*parse_system(fields.get("system")), *parse_turns(turns)),
        stream=bool(optional(fields, "stream", bool)),
        tools=tools,
        tool_choice=choice,
        parallel_tool_calls=parallel,
        output_format=output_format,
        max_tokens=max_tokens,
        temperature=bounded(fields, "temperature", 0, 1),
        top_p=bounded(fields, "top_p", 0, 1),
        top_k=top_k,
        stop=_parse_stop(fields),
        reasoning=reasoning,
        user=_parse_user(fields),
        service_tier=optional(fields, "service_tier", str),
        extra={_A.value: extra} if extra else {},
    )


def _parse_stop(fields: dict[str, Any]) -> tuple[str, ...]:
    stop = []
    for number, text in enumerate(optional(fields, "stop_sequences", list) or []):
        if not typed(text, str, f"stop_sequences.{number}").strip():
            raise invalid(f"stop_sequences.{number}", "each stop sequence must contain non-whitespace")
        stop.append(text)
    return tuple(stop)


def _parse_user(fields: dict[str, Any]) -> str | None:
    metadata = optional(fields, "metadata", dict) or {}
    for name in metadata:
        if name != "user_id":
            raise invalid(f"metadata.{name}", "Extra inputs are not permitted")
    return optional(metadata, "user_id", str, "metadata")


def _parse_tools(definitions: list[Any]) -> tuple[tuple[Tool | HostedTool, ...], dict[str, Any]]:
    """The tools, and by name the fields of theirs that have no canonical place."""
    tools: list[Tool | HostedTool] = []
    others: dict[str, Any] = {}
    names: set[str] = set()
    for number, definition in enumerate(definitions):
        place = f"tools.{number}"
        fields = typed(definition, dict, place)
        if fields.get("type") not in (None, "custom"):
            tools.append(HostedTool(_A, fields))
            continue
        name = required(fields, "name", str, place)
        if not 1 <= len(name) <= 128:
            raise invalid(f"{place}.custom.name", "String should have between 1 and 128 characters")
        if name in names:
            raise invalid("tools", "Tool names must be unique.")
        names.add(name)
        schema = required(fields, "input_schema", dict, place)
        if schema.get("type") != "object":
            raise invalid(f"{place}.custom.input_schema.type", "Input should be 'object'")
        check_schema(schema, f"{place}.custom.input_schema")
        if more := {key: value for key, value in fields.items() if key not in _TOOL_FIELDS and value is not None}:
            others[name] = more
        tools.append(
            Tool(
                name=name,
                description=optional(fields, "description", str, place),
                parameters=schema,
                strict=optional(fields, "strict", bool, place),
                cache=parse_cache(fields.get("cache_control"), f"{place}.cache_control"),
            )
        )
    return tuple(tools), others


_SCHEMA_WORDS: dict[str, type | tuple[type, ...]] = {
    "type": (str, list), "properties": dict, "required": list, "items": (dict, bool, list), "enum": list, "anyOf": list,
    "oneOf": list, "allOf": list, "$defs": dict, "definitions": dict, "additionalProperties": (dict, bool),
}  # fmt: skip
_SIMPLE_TYPES = frozenset({"object", "array", "string", "number", "integer", "boolean", "null"})


def check_schema(schema: Any, place: str) -> None:
    """Refuses what is no JSON Schema (draft 2020-12) by its commonest words."""
    if isinstance(schema, bool):
        return
    if not isinstance(schema, dict):
        raise invalid(place, "JSON schema is invalid. It must match JSON Schema draft 2020-12")
    for word, kinds in _SCHEMA_WORDS.items():
        if word in schema and not isinstance(schema[word], kinds):
            raise invalid(f"{place}.{word}", "JSON schema is invalid. It must match JSON Schema draft 2020-12")
    types = schema.get("type", [])
    for name in [types] if isinstance(types, str) else types:
        if name not in _SIMPLE_TYPES:
            raise invalid(f"{place}.type", "JSON schema is invalid. It must match JSON Schema draft 2020-12")
    for word in ("properties", "$defs", "definitions"):
        for name, inner in schema.get(word, {}).items():
            check_schema(inner, f"{place}.{word}.{name}")
    for word in ("anyOf", "oneOf", "allOf"):
        for number, inner in enumerate(schema.get(word, [])):
            check_schema(inner, f"{place}.{word}.{number}")
    if isinstance(schema.get("items"), dict):
        check_schema(schema["items"], f"{place}.items")


def _parse_choice(
    fields: dict[str, Any], tools: tuple[Tool | HostedTool, ...]
) -> tuple[ToolChoice | None, bool | None]:
    choice = optional(fields, "tool_choice", dict)
    if choice is None:
        return None, None
    kind = required(choice, "type", str, "tool_choice")
    if kind not in ("auto", "any", "tool", "none"):
        wanted = "'any', 'auto', 'none', 'tool'"
        raise invalid(
            "tool_choice", f"Input tag '{kind}' found using 'type' does not match any of the expected tags: {wanted}"
        )
    if not tools:
        raise invalid("tool_choice", "tool_choice may only be specified while providing tools")
    off = optional(choice, "disable_parallel_tool_use", bool, "tool_choice")
    parallel = None if off is None else not off
    if kind == "tool":
        name = required(choice, "name", str, f"tool_choice.{kind}")
        known = {t.name if isinstance(t, Tool) else t.definition.get("name") for t in tools}
        if name not in known:
            raise invalid("tool_choice", f"Tool '{name}' not found in provided tools")
        return ToolChoice(mode="tool", names=(name,)), parallel
    if kind == "any":
        return ToolChoice(mode="required"), parallel
    return ToolChoice(mode="none" if kind == "none" else "auto"), parallel


def _parse_output(
    fields: dict[str, Any], max_tokens: int | None, extra: dict[str, Any]
) -> tuple[Reasoning | None, OutputFormat | None]:
    config = dict(optional(fields, "output_config", dict) or {})
    effort = optional(config, "effort", str, "output_config")
    if effort is not None and effort not in _EFFORTS:
        raise invalid("output_config.effort", "Input should be 'low', 'medium', 'high', 'xhigh' or 'max'")
    form = optional(config, "format", dict, "output_config") or optional(fields, "output_format", dict)
    output_format = None
    if form is not None:
        if form.get("type") != "json_schema":
            raise invalid("output_config.format.type", "Input should be 'json_schema'")
        schema = required(form, "schema", dict, "output_config.format")
        check_schema(schema, "output_config.format.schema")
        output_format = OutputFormat(kind="json_schema", schema=schema)
    if others := {k: v for k, v in config.items() if k not in ("effort", "format") and v is not None}:
        extra["output_config"] = others
    reasoning = _parse_thinking(optional(fields, "thinking", dict), effort, max_tokens, extra)
    return reasoning, output_format


def _parse_thinking(
    thinking: dict[str, Any] | None, effort: str | None, max_tokens: int | None, extra: dict[str, Any]
) -> Reasoning | None:
    if thinking is None:
        return None if effort is None else Reasoning(effort=effort)
    kind = required(thinking, "type", str, "thinking")
    summary = {"summarized": "auto", "omitted": "omitted"}.get(optional(thinking, "display", str, "thinking") or "")
    match kind:
        case "enabled":
            budget = required(thinking, "budget_tokens", int, "thinking.enabled")
            if budget < _SMALLEST_BUDGET:
                raise invalid("thinking.enabled.budget_tokens", "Input should be greater than or equal to 1024")
            if max_tokens is not None and budget >= max_tokens:
                raise invalid("", "`max_tokens` must be greater than `thinking.budget_tokens`.")
            return Reasoning(enabled=True, budget=budget, effort=effort, summary=summary)
        case "disabled":
            return Reasoning(enabled=False, effort=effort)
        case "adaptive":
            return Reasoning(enabled=True, adaptive=True, effort=effort, summary=summary)
        case "between_tools":
            extra["thinking"] = thinking
            return Reasoning(enabled=True, adaptive=True, effort=effort, summary=summary)
        case _:
            wanted = "'adaptive', 'between_tools', 'disabled', 'enabled'"
            raise invalid(
                "thinking", f"Input tag '{kind}' found using 'type' does not match any of the expected tags: {wanted}"
            )
