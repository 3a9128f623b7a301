"""A caller's chat completions request → canonical."""

from __future__ import annotations

from typing import Any

from polyroute.dialects.openai_chat.checks import (
    flag_of,
    integer_of,
    invalid,
    missing,
    number_of,
    object_of,
    optional_text,
    read_object,
    schema_of,
    text_of,
    unsupported_value,
    wrong_type,
)
from polyroute.dialects.openai_chat.messages_in import read_messages
from polyroute.dialects.openai_chat.tools_in import read_tool_choice, read_tools
from polyroute.types.chat import ChatRequest, OutputFormat, Reasoning
from polyroute.types.operations import Dialect

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


def parse_request(body: bytes) -> ChatRequest:
    """Raises PolyrouteError(invalid_request) for what OpenAI refuses. Fields without a canonical place go to `extra`."""
    fields = read_object(body)
    model = fields.pop("model", None)
    if not isinstance(model, str) or not model:
        raise missing("model") if model is None else wrong_type("model", "a non-empty string", model)
    if "messages" not in fields:
        raise missing("messages")
    messages = read_messages(fields.pop("messages"))
    stream = flag_of(fields.pop("stream", None), "stream") or False
    include_usage = _read_stream_options(fields, stream)
    tools = read_tools(fields)
    logprobs = flag_of(fields.pop("logprobs", None), "logprobs")
    top_logprobs = integer_of(fields.pop("top_logprobs", None), "top_logprobs", 0, 20)
    if top_logprobs is not None and logprobs is None:
        raise invalid(
            "Invalid value for 'top_logprobs': 'top_logprobs' is only allowed when 'logprobs' is set to true.",
            "top_logprobs",
        )
    return ChatRequest(
        model=model,
        messages=messages,
        stream=stream,
        include_usage=include_usage,
        tools=tools,
        tool_choice=read_tool_choice(fields, tools),
        parallel_tool_calls=flag_of(fields.pop("parallel_tool_calls", None), "parallel_tool_calls"),
        output_format=_read_format(fields),
        max_tokens=_read_max_tokens(fields),
        temperature=number_of(fields.pop("temperature", None), "temperature", 0, 2),
        top_p=number_of(fields.pop("top_p", None), "top_p", 0, 1),
        top_k=integer_of(fields.pop("top_k", None), "top_k", -1),
        frequency_penalty=number_of(fields.pop("frequency_penalty", None), "frequency_penalty", -2, 2),
        presence_penalty=number_of(fields.pop("presence_penalty", None), "presence_penalty", -2, 2),
        seed=integer_of(fields.pop("seed", None), "seed", -(2**63), 2**63 - 1),
        stop=_read_stop(fields.pop("stop", None)),
        n=integer_of(fields.pop("n", None), "n", 1, 128),
        logprobs=logprobs,
        top_logprobs=top_logprobs,
        logit_bias=_read_logit_bias(fields.pop("logit_bias", None)),
        reasoning=_read_reasoning(fields),
        user=optional_text(fields.pop("user", None), "user"),
        metadata=_optional_object(fields, "metadata"),
        service_tier=optional_text(fields.pop("service_tier", None), "service_tier"),
        store=flag_of(fields.pop("store", None), "store"),
        extra={Dialect.OPENAI_CHAT.value: kept} if (kept := {k: v for k, v in fields.items() if v is not None}) else {},
    )


def _read_stream_options(fields: dict[str, Any], stream: bool) -> bool | None:
    options = _optional_object(fields, "stream_options")
    if options is None:
        return None
    if not stream:
        raise invalid(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            "stream_options",
            "invalid_value",
        )
    include = flag_of(options.pop("include_usage", None), "stream_options.include_usage")
    if options:
        fields["stream_options"] = options
    return include


def _read_max_tokens(fields: dict[str, Any]) -> int | None:
    old, new = fields.pop("max_tokens", None), fields.pop("max_completion_tokens", None)
    if old is not None and new is not None and old != new:
        raise invalid(
            "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.",
            "max_tokens",
            "invalid_value",
        )
    name, value = ("max_completion_tokens", new) if new is not None else ("max_tokens", old)
    return integer_of(value, name, 1)


def _read_stop(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list):
        raise wrong_type("stop", "one of a string or array of strings", value)
    if len(value) > 4:
        raise invalid(
            "Invalid 'stop': array too long. Expected an array with maximum length 4, but got an array with length"
            f" {len(value)} instead.",
            "stop",
            "array_above_max_length",
        )
    return tuple(text_of(word, f"stop[{number}]") for number, word in enumerate(value))


def _read_logit_bias(value: Any) -> dict[str, float] | None:
    if value is None:
        return None
    bias = object_of(value, "logit_bias")
    return {token: number_of(weight, f"logit_bias.{token}", -100, 100) or 0.0 for token, weight in bias.items()}


def _read_reasoning(fields: dict[str, Any]) -> Reasoning | None:
    """OpenAI's `reasoning_effort`, OpenRouter's `reasoning`, and `thinking` as DeepSeek and others have it."""
    effort = optional_text(fields.pop("reasoning_effort", None), "reasoning_effort")
    if effort is not None and effort not in (*EFFORTS, "default"):
        raise unsupported_value("reasoning_effort", effort, EFFORTS)
    enabled, budget, summary = None, None, None
    if (asked := _optional_object(fields, "reasoning")) is not None:
        enabled = flag_of(asked.get("enabled"), "reasoning.enabled")
        effort = effort or optional_text(asked.get("effort"), "reasoning.effort")
        budget = integer_of(asked.get("max_tokens"), "reasoning.max_tokens", 0)
        summary = (
            "omitted" if asked.get("exclude") is True else optional_text(asked.get("summary"), "reasoning.summary")
        )
    if (thinking := _optional_object(fields, "thinking")) is not None:
        enabled = {"enabled": True, "disabled": False}.get(str(thinking.get("type")), enabled)
        budget = integer_of(thinking.get("budget_tokens"), "thinking.budget_tokens", 0)
    if effort in (None, "default") and enabled is None and budget is None and summary is None:
        return None
    return Reasoning(enabled=enabled, effort=None if effort == "default" else effort, budget=budget, summary=summary)


def _read_format(fields: dict[str, Any]) -> OutputFormat | None:
    asked = _optional_object(fields, "response_format")
    if asked is None:
        return None
    match asked.get("type"):
        case "text":
            return None
        case "json_object":
            schema = asked.get("schema")  # Together and Fireworks
            if isinstance(schema, dict):
                return OutputFormat(kind="json_schema", schema=schema)
            return OutputFormat(kind="json_object")
        case "json_schema":
            described = object_of(asked.get("json_schema"), "response_format.json_schema")
            name = optional_text(described.get("name"), "response_format.json_schema.name")
            return OutputFormat(
                kind="json_schema",
                name=name,
                schema=schema_of(
                    described.get("schema"),
                    f"response_format '{name or ''}'",
                    "response_format",
                    code="invalid_json_schema",
                ),
                strict=flag_of(described.get("strict"), "response_format.json_schema.strict"),
                description=optional_text(described.get("description"), "response_format.json_schema.description"),
            )
        case other:
            raise unsupported_value("response_format.type", other, ("json_object", "json_schema", "text"))


def _optional_object(fields: dict[str, Any], name: str) -> dict[str, Any] | None:
    value = fields.pop(name, None)
    return None if value is None else object_of(value, name)
