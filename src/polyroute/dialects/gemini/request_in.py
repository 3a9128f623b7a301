"""A caller's generateContent request → canonical.

The model and whether to stream are in the URL, not in the body: `parse_gemini_request` is told them, `parse_request`
expects them as the top-level fields `model` and `stream`, where the caller's surface has put them.
"""

from __future__ import annotations

from typing import Any

import msgspec

from polyroute.dialects.gemini.content_in import parse_contents
from polyroute.dialects.gemini.names import Fields, invalid
from polyroute.dialects.gemini.schemas import check_schema, from_openapi
from polyroute.types.chat import (
    ChatRequest,
    HostedTool,
    Message,
    OutputFormat,
    Reasoning,
    TextPart,
    Tool,
    ToolChoice,
)
from polyroute.types.operations import Dialect

_G = Dialect.GEMINI
_DECODER = msgspec.json.Decoder()


def parse_request(body: bytes) -> ChatRequest:
    """A body that carries `model` and `stream`. Raises PolyrouteError(invalid_request) naming the field."""
    fields = _decode(body)
    model = fields.typed("model", str)
    if not model:
        raise invalid("* GenerateContentRequest.model: unexpected model name format\n", "model")
    return _parse(fields, model, stream=bool(fields.typed("stream", bool)))


def parse_gemini_request(body: bytes, model: str, stream: bool) -> ChatRequest:
    """A body as callers send it, with what the URL says: `models/` before the model's name is removed."""
    return _parse(_decode(body), model, stream=stream)


def _decode(body: bytes) -> Fields:
    try:
        value = _DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise invalid(f"Invalid JSON payload received. {error}") from error
    return Fields(value, "")


def _parse(fields: Fields, model: str, *, stream: bool) -> ChatRequest:
    extra: dict[str, Any] = {}
    messages = [*_parse_system(fields.take("systemInstruction")), *parse_contents(fields.items("contents"))]
    tools = _parse_tools(fields.items("tools"), extra)
    choice = _parse_choice(fields.take("toolConfig"), tools, extra)
    config = Fields(fields.take("generationConfig") or {}, "generation_config")
    output_format = _parse_output(config, extra)
    stop = config.items("stopSequences")
    if not all(isinstance(text, str) for text in stop):
        raise invalid(
            "Invalid value at 'generation_config.stop_sequences' (TYPE_STRING)", "generation_config.stop_sequences"
        )
    request = ChatRequest(
        model=model.removeprefix("models/"),
        messages=tuple(messages),
        stream=stream,
        tools=tools,
        tool_choice=choice,
        output_format=output_format,
        max_tokens=_positive(config, "maxOutputTokens"),
        temperature=config.typed("temperature", float),
        top_p=config.typed("topP", float),
        top_k=config.typed("topK", int),
        frequency_penalty=config.typed("frequencyPenalty", float),
        presence_penalty=config.typed("presencePenalty", float),
        seed=config.typed("seed", int),
        stop=tuple(stop),
        n=_positive(config, "candidateCount"),
        logprobs=config.typed("responseLogprobs", bool),
        top_logprobs=config.typed("logprobs", int),
        reasoning=_parse_thinking(config.take("thinkingConfig"), extra),
        service_tier=fields.typed("serviceTier", str),
    )
    if request.temperature is not None and not 0 <= request.temperature <= 2:
        raise invalid(
            "* GenerateContentRequest.generation_config.temperature: temperature must be in the range [0.0, 2.0].\n",
            "generation_config.temperature",
        )
    if rest := config.rest():
        extra["generationConfig"] = {**extra.get("generationConfig", {}), **rest}
    extra = {**fields.rest(), **extra}
    return msgspec.structs.replace(request, extra={_G.value: extra}) if extra else request


def _positive(config: Fields, name: str) -> int | None:
    value = config.typed(name, int)
    if value is not None and value < 1:
        raise invalid(f"* GenerateContentRequest.{config.path(name)}: must be positive\n", config.path(name))
    return value


def _parse_system(value: Any) -> list[Message]:
    """`systemInstruction`: one system message a text part; plain text is taken as well."""
    if value is None:
        return []
    if isinstance(value, str):
        return [Message(role="system", parts=(TextPart(text=value),))] if value else []
    messages = []
    for number, part in enumerate(Fields(value, "system_instruction").items("parts")):
        text = Fields(part, f"system_instruction.parts[{number}]").typed("text", str)
        if text is None:
            raise invalid("system_instruction takes text parts only", f"system_instruction.parts[{number}]")
        if text:
            messages.append(Message(role="system", parts=(TextPart(text=text),)))
    return messages


def _parse_tools(values: list[Any], extra: dict[str, Any]) -> tuple[Tool | HostedTool, ...]:
    tools: list[Tool | HostedTool] = []
    others: dict[str, Any] = {}
    for number, value in enumerate(values):
        fields = Fields(value, f"tools[{number}]")
        for at, declaration in enumerate(fields.items("functionDeclarations")):
            function = Fields(declaration, f"tools[{number}].function_declarations[{at}]")
            name = function.typed("name", str)
            if not name:
                raise invalid(
                    f"* GenerateContentRequest.{function.path('name')}: Name cannot be empty.\n", function.path("name")
                )
            if any(isinstance(tool, Tool) and tool.name == name for tool in tools):
                raise invalid(f"Duplicate function declaration found: {name}", function.path("name"))
            schema = function.typed("parametersJsonSchema", dict)
            subset = function.typed("parameters", dict)
            check_schema(subset if schema is None else schema, function.path("parameters"))
            tools.append(
                Tool(
                    name=name,
                    description=function.typed("description", str),
                    parameters=schema if schema is not None else from_openapi(subset),
                )
            )
            if rest := function.rest():
                others[name] = rest
        tools += [HostedTool(_G, {name: definition}) for name, definition in fields.rest().items()]
    if others:
        extra["tool_fields"] = others
    return tuple(tools)


def _parse_choice(value: Any, tools: tuple[Tool | HostedTool, ...], extra: dict[str, Any]) -> ToolChoice | None:
    if value is None:
        return None
    config = Fields(value, "tool_config")
    calling = Fields(config.take("functionCallingConfig") or {}, "tool_config.function_calling_config")
    mode = calling.typed("mode", str)
    names = tuple(calling.items("allowedFunctionNames"))
    rest = config.rest()
    known = {tool.name for tool in tools if isinstance(tool, Tool)}
    if any(name not in known for name in names):
        raise invalid(
            "allowed_function_names should be a subset of the declared function names.",
            calling.path("allowedFunctionNames"),
        )
    choice: ToolChoice | None = None
    match (mode or "").upper():
        case "" | "MODE_UNSPECIFIED":
            choice = None
        case "AUTO":
            choice = ToolChoice(mode="auto", names=names)
        case "NONE":
            choice = ToolChoice(mode="none")
        case "ANY":
            choice = ToolChoice(mode="tool" if len(names) == 1 else "required", names=names)
        case "VALIDATED":
            choice = ToolChoice(mode="auto", names=names)
            if not names:
                rest["functionCallingConfig"] = {"mode": "VALIDATED"}
        case _:
            kind = "type.googleapis.com/google.ai.generativelanguage.v1beta.FunctionCallingConfig.Mode"
            raise invalid(f"Invalid value at '{calling.path('mode')}' ({kind}), \"{mode}\"", calling.path("mode"))
    if rest:
        extra["toolConfig"] = rest
    return choice


def _parse_output(config: Fields, extra: dict[str, Any]) -> OutputFormat | None:
    media_type = config.typed("responseMimeType", str)
    schema = config.typed("responseJsonSchema", dict)
    subset = config.typed("responseSchema", dict)
    check_schema(subset if schema is None else schema, config.path("responseSchema"))
    if schema is None and subset is not None:
        schema = from_openapi(subset)
    if schema is not None:
        if media_type not in (None, "application/json"):
            extra["generationConfig"] = {"responseMimeType": media_type}
        return OutputFormat(kind="json_schema", schema=schema)
    if media_type == "application/json":
        return OutputFormat(kind="json_object")
    if media_type not in (None, "text/plain"):
        extra["generationConfig"] = {"responseMimeType": media_type}
    return None


def _parse_thinking(value: Any, extra: dict[str, Any]) -> Reasoning | None:
    if value is None:
        return None
    fields = Fields(value, "generation_config.thinking_config")
    summary = "auto" if fields.typed("includeThoughts", bool) else "omitted"
    budget = fields.typed("thinkingBudget", int)
    level = fields.typed("thinkingLevel", str)
    if budget is not None and level:
        raise invalid("You can only set only one of thinking budget and thinking level.", fields.place)
    if rest := fields.rest():
        extra["generationConfig"] = {**extra.get("generationConfig", {}), "thinkingConfig": rest}
    if level and level.upper() != "THINKING_LEVEL_UNSPECIFIED":
        return Reasoning(effort=level.lower(), summary=summary)
    if budget is None:
        return Reasoning(summary=summary)
    if budget == 0:
        return Reasoning(enabled=False)
    if budget < 0:
        return Reasoning(enabled=True, adaptive=True, summary=summary)
    return Reasoning(enabled=True, budget=budget, summary=summary)
