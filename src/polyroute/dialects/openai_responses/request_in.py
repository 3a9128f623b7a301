"""A caller's Responses request → canonical."""

from __future__ import annotations

from typing import Any

from polyroute.dialects.openai_chat.checks import (
    flag_of,
    integer_of,
    invalid,
    list_of,
    missing,
    number_of,
    object_of,
    optional_text,
    read_object,
    schema_of,
    text_of,
    tool_name_of,
    unsupported_value,
    wrong_type,
)
from polyroute.dialects.openai_chat.request_in import EFFORTS
from polyroute.dialects.openai_chat.tools_in import check_choice, read_allowed, read_function
from polyroute.dialects.openai_responses.items_in import read_input
from polyroute.types.chat import ChatRequest, HostedTool, Message, OutputFormat, Reasoning, TextPart, Tool, ToolChoice
from polyroute.types.operations import Dialect

ENCRYPTED = "reasoning.encrypted_content"
LOGPROBS = "message.output_text.logprobs"


def parse_request(body: bytes) -> ChatRequest:
    """Raises PolyrouteError(invalid_request) for what OpenAI refuses. Fields without a canonical place go to `extra`;
    `previous_response_id` and `conversation` too, for whoever keeps earlier turns to resolve first."""
    fields = read_object(body)
    model = fields.pop("model", None)
    if not isinstance(model, str) or not model:
        raise missing("model") if model is None else wrong_type("model", "a non-empty string", model)
    stored = any(fields.get(name) is not None for name in ("previous_response_id", "conversation", "prompt"))
    messages = _read_messages(fields, stored=stored)
    stream = flag_of(fields.pop("stream", None), "stream") or False
    if fields.get("stream_options") is not None and not stream:
        message = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        raise invalid(message, "stream_options", "invalid_value")
    tools = _read_tools(fields.pop("tools", None))
    top_logprobs = integer_of(fields.pop("top_logprobs", None), "top_logprobs", 0, 20)
    logprobs = _read_include(fields)
    reasoning, output_format = _read_reasoning(fields), _read_text(fields)
    metadata = fields.pop("metadata", None)
    return ChatRequest(
        model=model,
        messages=messages,
        stream=stream,
        tools=tools,
        tool_choice=_read_choice(fields.pop("tool_choice", None), tools),
        parallel_tool_calls=flag_of(fields.pop("parallel_tool_calls", None), "parallel_tool_calls"),
        output_format=output_format,
        max_tokens=integer_of(fields.pop("max_output_tokens", None), "max_output_tokens", 1),
        temperature=number_of(fields.pop("temperature", None), "temperature", 0, 2),
        top_p=number_of(fields.pop("top_p", None), "top_p", 0, 1),
        logprobs=logprobs,
        top_logprobs=top_logprobs,
        reasoning=reasoning,
        user=optional_text(fields.pop("user", None), "user"),
        metadata=None if metadata is None else object_of(metadata, "metadata"),
        service_tier=optional_text(fields.pop("service_tier", None), "service_tier"),
        store=flag_of(fields.pop("store", None), "store"),
        extra={Dialect.OPENAI_RESPONSES.value: kept} if (kept := _kept(fields)) else {},
    )


def _kept(fields: dict[str, Any]) -> dict[str, Any]:
    """What is left of the body; called last."""
    return {name: value for name, value in fields.items() if value is not None}


def _read_messages(fields: dict[str, Any], *, stored: bool) -> tuple[Message, ...]:
    instructions = optional_text(fields.pop("instructions", None), "instructions")
    value = fields.pop("input", None)
    if value is None and not stored:
        raise missing("input")
    messages = () if value is None else read_input(value, stored=stored)
    if instructions is not None:
        messages = (Message(role="system", parts=(TextPart(text=instructions),)), *messages)
    if not messages and not stored:
        raise invalid("Invalid 'input': empty array. Expected an array with minimum length 1.", "input", "empty_array")
    return messages


def _read_include(fields: dict[str, Any]) -> bool | None:
    """Takes out of `include` what has a canonical place; encrypted reasoning is always asked for upstream."""
    include = fields.pop("include", None)
    if include is None:
        return None
    asked = list_of(include, "include")
    rest = [name for name in asked if name not in (ENCRYPTED, LOGPROBS)]
    if rest:
        fields["include"] = rest
    return True if LOGPROBS in asked else None


def _read_reasoning(fields: dict[str, Any]) -> Reasoning | None:
    value = fields.pop("reasoning", None)
    if value is None:
        return None
    asked = dict(object_of(value, "reasoning"))
    effort = optional_text(asked.pop("effort", None), "reasoning.effort")
    if effort is not None and effort not in EFFORTS:
        raise unsupported_value("reasoning.effort", effort, EFFORTS)
    summary = optional_text(asked.pop("summary", None), "reasoning.summary")
    summary = summary or optional_text(asked.pop("generate_summary", None), "reasoning.generate_summary")
    if summary not in (None, "auto", "concise", "detailed"):
        raise unsupported_value("reasoning.summary", summary, ("auto", "concise", "detailed"))
    if rest := {name: value for name, value in asked.items() if value is not None}:
        fields["reasoning"] = rest
    return None if effort is None and summary is None else Reasoning(effort=effort, summary=summary)


def _read_text(fields: dict[str, Any]) -> OutputFormat | None:
    value = fields.pop("text", None)
    if value is None:
        return None
    text = dict(object_of(value, "text"))
    asked = text.pop("format", None)
    if rest := {name: value for name, value in text.items() if value is not None}:
        fields["text"] = rest
    if asked is None:
        return None
    record = object_of(asked, "text.format")
    match record.get("type"):
        case "text":
            return None
        case "json_object":
            return OutputFormat(kind="json_object")
        case "json_schema":
            name = text_of(record.get("name"), "text.format.name")
            if record.get("schema") is None:
                raise missing("text.format.schema")
            return OutputFormat(
                kind="json_schema",
                name=name,
                schema=schema_of(
                    record["schema"], f"response_format '{name}'", "text.format.schema", code="invalid_json_schema"
                ),
                strict=flag_of(record.get("strict"), "text.format.strict"),
                description=optional_text(record.get("description"), "text.format.description"),
            )
        case other:
            raise unsupported_value("text.format.type", other, ("json_object", "json_schema", "text"))


def _read_tools(value: Any) -> tuple[Tool | HostedTool, ...]:
    if value is None:
        return ()
    found: list[Tool | HostedTool] = []
    for number, raw in enumerate(list_of(value, "tools")):
        param = f"tools[{number}]"
        tool = object_of(raw, param)
        kind = tool.get("type")
        if kind == "function":
            found.append(read_function(tool, param))
        elif kind == "custom":
            found.append(
                Tool(
                    name=tool_name_of(tool.get("name"), f"{param}.name"),
                    description=optional_text(tool.get("description"), f"{param}.description"),
                    custom=True,
                    format=tool.get("format") if isinstance(tool.get("format"), dict) else None,
                )
            )
        elif isinstance(kind, str):
            found.append(HostedTool(Dialect.OPENAI_RESPONSES, tool))
        else:
            raise missing(f"{param}.type")
    return tuple(found)


def _read_choice(value: Any, tools: tuple[Tool | HostedTool, ...]) -> ToolChoice | None:
    if value is None:
        return None
    if isinstance(value, str):
        for mode in ("none", "auto", "required"):
            if value == mode:
                choice = ToolChoice(mode=mode)
                break
        else:
            raise unsupported_value("tool_choice", value, ("none", "auto", "required"))
    else:
        choice = _read_named_choice(object_of(value, "tool_choice"))
    if not tools and choice.mode == "required":
        raise invalid("Tool choice 'required' must be specified with 'tools' parameter.", "tool_choice")
    check_choice(choice, tools, "tool_choice")
    return choice


def _read_named_choice(record: dict[str, Any]) -> ToolChoice:
    kind = record.get("type")
    if kind in ("function", "custom"):
        return ToolChoice(mode="tool", names=(text_of(record.get("name"), "tool_choice.name"),))
    if kind == "allowed_tools":
        return read_allowed(record, "tool_choice")
    if isinstance(kind, str):  # a hosted tool, which has no name here
        return ToolChoice(mode="required")
    raise unsupported_value("tool_choice.type", kind, ("function", "custom", "allowed_tools"))
