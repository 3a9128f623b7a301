"""Converse requests → canonical."""

from __future__ import annotations

from typing import Any

import msgspec

from polyroute.dialects.bedrock_converse.formats import DOCUMENT_TYPES, IMAGE_TYPES
from polyroute.dialects.request_fields import Fields, json_text, read_object, refusal, refuse
from polyroute.types.chat import (
    AnyPart,
    AudioPart,
    CacheMark,
    ChatRequest,
    FilePart,
    ImagePart,
    Message,
    OutputFormat,
    ProviderState,
    Reasoning,
    ReasoningPart,
    TextPart,
    Tool,
    ToolCallPart,
    ToolChoice,
    ToolResultPart,
)
from polyroute.types.operations import Dialect

_OWN = Dialect.BEDROCK_CONVERSE


def parse_converse(body: bytes) -> ChatRequest:
    """A body of Converse; `model` is "" and `stream` off, as both are in the URL."""
    fields = Fields(read_object(body))
    messages: list[Message] = []
    system = _marked([_system(Fields(block, f"system[{i}]")) for i, block in enumerate(fields.items("system"))])
    messages += [Message(role="system", parts=(part,)) for part in system]
    for index, message in enumerate(fields.items("messages")):
        messages += _turns(Fields(message, f"messages[{index}]"))
    inference = Fields(fields.object("inferenceConfig") or {}, "inferenceConfig")
    tools, choice = _tools(fields.object("toolConfig"))
    additional = Fields(fields.object("additionalModelRequestFields") or {}, "additionalModelRequestFields")
    reasoning = _reasoning(additional)
    top_k = additional.integer("top_k")
    output_format = _output_format(fields)
    metadata = fields.object("requestMetadata")
    tier = (fields.object("serviceTier") or {}).get("type")
    settings: dict[str, Any] = {
        "max_tokens": inference.integer("maxTokens"),
        "temperature": inference.number("temperature"),
        "top_p": inference.number("topP"),
        "stop": inference.texts("stopSequences"),
    }
    extra = fields.rest()
    for name, rest in (("inferenceConfig", inference.rest()), ("additionalModelRequestFields", additional.rest())):
        if rest:
            extra[name] = rest
    return ChatRequest(
        model="",
        messages=tuple(messages),
        tools=tools,
        tool_choice=choice,
        output_format=output_format,
        reasoning=reasoning,
        top_k=top_k,
        metadata=metadata,
        service_tier=tier if isinstance(tier, str) else None,
        extra={_OWN.value: extra} if extra else {},
        **settings,
    )


Mark = CacheMark | None


def _marked(blocks: list[AnyPart | CacheMark]) -> list[AnyPart]:
    """Cache points belong to the part before them."""
    parts: list[AnyPart] = []
    for block in blocks:
        if not isinstance(block, CacheMark):
            parts.append(block)
        elif parts:
            parts[-1] = msgspec.structs.replace(parts[-1], cache=block)
    return parts


def _cache_point(fields: Fields) -> CacheMark | None:
    point = fields.object("cachePoint")
    return None if point is None else CacheMark(ttl=point.get("ttl"))


def _system(fields: Fields) -> AnyPart | CacheMark:
    point = _cache_point(fields)
    if point is not None:
        return point
    text = fields.text("text")
    if text is not None:
        return TextPart(text=text)
    return TextPart(text="", state=ProviderState(_OWN, {"block": fields.rest()}))


def _turns(fields: Fields) -> list[Message]:
    """A message; tool results become a turn of their own before the rest of it."""
    role = fields.text("role")
    if role not in {"user", "assistant", "system"}:
        refuse(f"{fields.path('role')} must be user or assistant", fields.path("role"))
    content = fields.items("content")
    if not content:
        refuse(f"{fields.path('content')} must not be empty", fields.path("content"))
    parts = _marked([_block(Fields(block, f"{fields.path('content')}[{i}]")) for i, block in enumerate(content)])
    if role == "assistant":
        return [Message(role="assistant", parts=tuple(parts))]
    if role == "system":
        return [Message(role="system", parts=tuple(parts))]
    results = tuple(part for part in parts if isinstance(part, ToolResultPart))
    others = tuple(part for part in parts if not isinstance(part, ToolResultPart))
    turns = [Message(role="tool", parts=results)] if results else []
    return [*turns, Message(role="user", parts=others)] if others else turns


def _block(fields: Fields) -> AnyPart | CacheMark:
    point = _cache_point(fields)
    if point is not None:
        return point
    text = fields.text("text")
    if text is not None:
        return TextPart(text=text)
    for name, reader in (
        ("image", _image),
        ("document", _document),
        ("audio", _audio),
        ("toolUse", _tool_use),
        ("toolResult", _tool_result),
        ("reasoningContent", _reasoning_content),
    ):
        value = fields.take(name)
        if value is not None:
            return reader(Fields(value, fields.path(name)))
    rest = fields.rest()
    if not rest:
        refuse(f"{fields.path('')[:-1]} is an empty content block", fields.path("")[:-1])
    return TextPart(text="", state=ProviderState(_OWN, {"block": rest}))


def _source(fields: Fields) -> str:
    """The base64 of a source; S3 locations cannot be read by anybody but Bedrock."""
    source = fields.object("source") or {}
    data = source.get("bytes")
    if not isinstance(data, str):
        place = fields.path("source")
        refuse(f"{place}.bytes is required: other sources cannot be passed on", place)
    return data


def _image(fields: Fields) -> ImagePart:
    kind = fields.required_text("format")
    if kind not in IMAGE_TYPES:
        refuse(f"{fields.path('format')} must be one of {', '.join(IMAGE_TYPES)}", fields.path("format"))
    return ImagePart(data=_source(fields), media_type=IMAGE_TYPES[kind])


def _document(fields: Fields) -> FilePart:
    kind = fields.required_text("format")
    if kind not in DOCUMENT_TYPES:
        refuse(f"{fields.path('format')} must be one of {', '.join(DOCUMENT_TYPES)}", fields.path("format"))
    return FilePart(data=_source(fields), media_type=DOCUMENT_TYPES[kind], filename=fields.text("name"))


def _audio(fields: Fields) -> AudioPart:
    return AudioPart(format=fields.required_text("format"), data=_source(fields))


def _tool_use(fields: Fields) -> ToolCallPart:
    call_id, name = fields.required_text("toolUseId"), fields.required_text("name")
    value = fields.take("input")
    return ToolCallPart(id=call_id, name=name, arguments="" if value is None else json_text(value))


def _tool_result(fields: Fields) -> ToolResultPart:
    call_id = fields.required_text("toolUseId")
    content: list[TextPart | ImagePart | FilePart | AudioPart] = []
    for index, block in enumerate(fields.items("content")):
        inner = Fields(block, f"{fields.path('content')}[{index}]")
        value = inner.take("json")
        part = TextPart(text=json_text(value)) if value is not None else _block(inner)
        if isinstance(part, (TextPart, ImagePart, FilePart, AudioPart)):
            content.append(part)
    return ToolResultPart(call_id=call_id, content=tuple(content), is_error=fields.text("status") == "error")


def _reasoning_content(fields: Fields) -> ReasoningPart:
    redacted = fields.text("redactedContent")
    if redacted is not None:
        return ReasoningPart(redacted=True, state=ProviderState(_OWN, {"redactedContent": redacted}))
    shown = Fields(fields.take("reasoningText"), fields.path("reasoningText"))
    text, signature = shown.text("text") or "", shown.text("signature")
    return ReasoningPart(text=text, state=ProviderState(_OWN, {} if signature is None else {"signature": signature}))


def _tools(config: dict[str, Any] | None) -> tuple[tuple[Tool, ...], ToolChoice | None]:
    if config is None:
        return (), None
    fields = Fields(config, "toolConfig")
    tools: list[Tool] = []
    for index, item in enumerate(fields.items("tools")):
        entry = Fields(item, f"toolConfig.tools[{index}]")
        point = _cache_point(entry)
        if point is not None:
            if tools:
                tools[-1] = msgspec.structs.replace(tools[-1], cache=point)
            continue
        spec = Fields(entry.take("toolSpec"), entry.path("toolSpec"))
        schema = (spec.object("inputSchema") or {}).get("json")
        if not isinstance(schema, dict):
            refuse(f"{spec.path('inputSchema')}.json must be a JSON schema object", spec.path("inputSchema"))
        tools.append(
            Tool(
                name=spec.required_text("name"),
                description=spec.text("description"),
                parameters=schema,
                strict=spec.flag("strict"),
            )
        )
    return tuple(tools), _tool_choice(fields.object("toolChoice"))


def _tool_choice(choice: dict[str, Any] | None) -> ToolChoice | None:
    match choice:
        case None:
            return None
        case {"auto": _}:
            return ToolChoice(mode="auto")
        case {"any": _}:
            return ToolChoice(mode="required")
        case {"tool": {"name": str() as name}}:
            return ToolChoice(mode="tool", names=(name,))
        case _:
            raise refusal("toolConfig.toolChoice must be auto, any or tool", "toolConfig.toolChoice")


def _reasoning(additional: Fields) -> Reasoning | None:
    """Claude's `thinking`, also under its older name; gpt-oss's `reasoning_effort`."""
    effort = additional.text("reasoning_effort")
    thinking = additional.object("thinking") or additional.object("reasoning_config")
    match thinking:
        case {"type": "enabled", "budget_tokens": int() as budget}:
            return Reasoning(budget=budget)
        case {"type": "disabled"}:
            return Reasoning(enabled=False)
        case {"type": "adaptive"}:
            return Reasoning(adaptive=True, effort=effort)
        case None:
            return None if effort is None else Reasoning(effort=effort)
        case _:
            raise refusal(
                "additionalModelRequestFields.thinking is not understood", "additionalModelRequestFields.thinking"
            )


def _output_format(fields: Fields) -> OutputFormat | None:
    config = fields.object("outputConfig")
    if config is None:
        return None
    match config.get("textFormat"):
        case {"type": "json_schema", "structure": {"jsonSchema": {"schema": str() as text} as described}}:
            try:
                schema = msgspec.json.decode(text, type=dict[str, Any])
            except (msgspec.DecodeError, RecursionError):
                raise refusal("outputConfig.textFormat: the schema is not a JSON object", "outputConfig") from None
            return OutputFormat(
                kind="json_schema", name=described.get("name"), schema=schema, description=described.get("description")
            )
        case _:
            return None
