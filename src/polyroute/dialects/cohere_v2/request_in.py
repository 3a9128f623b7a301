"""Cohere's requests → canonical."""

from __future__ import annotations

from typing import Any

from polyroute.dialects.media_bytes import is_base64, sniff_image, split_data_url
from polyroute.dialects.request_fields import Fields, join_tool_turns, json_text, read_object, refusal, refuse
from polyroute.types.chat import (
    AnyPart,
    ChatRequest,
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

_OWN = Dialect.COHERE_V2
TOOL_PLAN = ProviderState(_OWN, {"tool_plan": True})
"""Marks reasoning that stands in `tool_plan` rather than in the content."""

_CHOICES: dict[str, ToolChoice] = {"REQUIRED": ToolChoice(mode="required"), "NONE": ToolChoice(mode="none")}


def parse_chat(body: bytes) -> ChatRequest:
    """A body of `/v2/chat`."""
    fields = Fields(read_object(body))
    model = fields.required_text("model")
    items = enumerate(fields.items("messages"))
    messages = join_tool_turns(_message(Fields(item, f"messages[{i}]")) for i, item in items)
    if not messages:
        refuse("messages must not be empty", "messages")
    strict = fields.flag("strict_tools")
    tools = tuple(_tool(Fields(item, f"tools[{i}]"), strict) for i, item in enumerate(fields.items("tools")))
    choice = fields.text("tool_choice")
    if choice is not None and choice not in _CHOICES:
        refuse("tool_choice must be REQUIRED or NONE", "tool_choice")
    settings: dict[str, Any] = {
        "stream": fields.flag("stream") or False,
        "tool_choice": None if choice is None else _CHOICES[choice],
        "output_format": _output_format(fields.object("response_format")),
        "reasoning": _reasoning(fields.object("thinking")),
        "max_tokens": fields.integer("max_tokens"),
        "temperature": fields.number("temperature"),
        "top_p": fields.number("p"),
        "top_k": fields.integer("k"),
        "frequency_penalty": fields.number("frequency_penalty"),
        "presence_penalty": fields.number("presence_penalty"),
        "seed": fields.integer("seed"),
        "stop": fields.texts("stop_sequences"),
        "logprobs": fields.flag("logprobs"),
    }
    extra = fields.rest()
    return ChatRequest(
        model=model, messages=messages, tools=tools, extra={_OWN.value: extra} if extra else {}, **settings
    )


def _message(fields: Fields) -> Message:
    role = fields.text("role")
    match role:
        case "system" | "developer":
            return Message(role="system", parts=tuple(_content(fields)))
        case "user":
            return Message(role="user", parts=tuple(_content(fields)))
        case "assistant":
            return Message(role="assistant", parts=tuple(_assistant(fields)))
        case "tool":
            call_id = fields.required_text("tool_call_id")
            content = [part for part in _content(fields) if isinstance(part, (TextPart, ImagePart))]
            return Message(role="tool", parts=(ToolResultPart(call_id=call_id, content=tuple(content)),))
        case _:
            raise refusal(f"{fields.path('role')} must be one of system, user, assistant, tool", fields.path("role"))


def _assistant(fields: Fields) -> list[AnyPart]:
    parts: list[AnyPart] = []
    plan = fields.text("tool_plan")
    if plan:
        parts.append(ReasoningPart(text=plan, state=TOOL_PLAN))
    calls = fields.items("tool_calls")
    content = _content(fields)
    if content != [TextPart(text="")] or not (parts or calls):
        parts += content
    for index, call in enumerate(calls):
        entry = Fields(call, f"{fields.path('tool_calls')}[{index}]")
        call_id = entry.required_text("id")
        function = Fields(entry.take("function"), entry.path("function"))
        parts.append(
            ToolCallPart(id=call_id, name=function.required_text("name"), arguments=function.text("arguments") or "")
        )
    return parts


def _content(fields: Fields) -> list[AnyPart]:
    value = fields.take("content")
    if value is None:
        return []
    if isinstance(value, str):
        return [TextPart(text=value)]
    if not isinstance(value, list):
        refuse(f"{fields.path('content')} must be a string or a list", fields.path("content"))
    return [_block(Fields(item, f"{fields.path('content')}[{i}]")) for i, item in enumerate(value)]


def _block(fields: Fields) -> AnyPart:
    kind = fields.text("type")
    match kind:
        case "text":
            return TextPart(text=fields.text("text") or "")
        case "thinking":
            return ReasoningPart(text=fields.text("thinking") or "")
        case "image_url":
            return _image(fields)
        case "document":
            document = fields.object("document") or {}
            data = document.get("data")
            text = data if isinstance(data, str) else json_text(data)
            return TextPart(text=text, state=ProviderState(_OWN, {"document": document}))
        case _:
            raise refusal(f"{fields.path('type')}: {kind!r} is no known content type", fields.path("type"))


def _image(fields: Fields) -> ImagePart:
    image = fields.take("image_url")
    inner = Fields({"url": image} if isinstance(image, str) else image, fields.path("image_url"))
    url, detail = inner.required_text("url"), inner.text("detail")
    if not url.startswith("data:"):
        return ImagePart(url=url, detail=detail)
    split = split_data_url(url)
    if split is None or not is_base64(split[1]):
        refuse(f"{inner.path('url')} is not a valid base64 data URL", inner.path("url"))
    return ImagePart(data=split[1], media_type=split[0] or sniff_image(split[1]) or "image/png", detail=detail)


def _tool(fields: Fields, strict: bool | None) -> Tool:
    function = Fields(fields.take("function"), fields.path("function"))
    return Tool(
        name=function.required_text("name"),
        description=function.text("description"),
        parameters=function.object("parameters"),
        strict=strict,
    )


def _output_format(value: dict[str, Any] | None) -> OutputFormat | None:
    match value:
        case None | {"type": "text"}:
            return None
        case {"type": "json_object", "json_schema": dict() as schema} | {
            "type": "json_object",
            "schema": dict() as schema,
        }:
            return OutputFormat(kind="json_schema", schema=schema)
        case {"type": "json_object"}:
            return OutputFormat(kind="json_object")
        case _:
            raise refusal("response_format.type must be text or json_object", "response_format")


def _reasoning(value: dict[str, Any] | None) -> Reasoning | None:
    match value:
        case None:
            return None
        case {"type": "disabled"}:
            return Reasoning(enabled=False)
        case {"type": "enabled", "token_budget": int() as budget}:
            return Reasoning(budget=budget)
        case {"type": "enabled"}:
            return Reasoning(enabled=True)
        case _:
            raise refusal("thinking.type must be enabled or disabled", "thinking")
