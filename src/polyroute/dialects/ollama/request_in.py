"""Ollama's requests → canonical."""

from __future__ import annotations

from typing import Any

from polyroute.dialects.media_bytes import is_base64, sniff_image, split_data_url
from polyroute.dialects.request_fields import Fields, join_tool_turns, json_text, read_object, refusal, refuse
from polyroute.types.chat import (
    AnyPart,
    ChatRequest,
    HostedTool,
    ImagePart,
    Message,
    OutputFormat,
    Reasoning,
    ReasoningPart,
    TextPart,
    Tool,
    ToolCallPart,
    ToolResultPart,
)
from polyroute.types.operations import Dialect

ROLES = ("system", "user", "assistant", "tool")
THINK_LEVELS = ("low", "medium", "high", "max")


def parse_chat(body: bytes) -> ChatRequest:
    """A body of `/api/chat`. `stream` is on unless it is switched off."""
    fields = Fields(read_object(body))
    model = fields.required_text("model")
    messages = _Conversation().read(fields.items("messages"))
    if not messages:
        refuse("messages must not be empty: loading and unloading models is not offered here", "messages")
    tools = tuple(_tool(Fields(tool, f"tools[{i}]")) for i, tool in enumerate(fields.items("tools")))
    return ChatRequest(model=model, messages=messages, tools=tools, **read_settings(fields))


def read_settings(fields: Fields) -> dict[str, Any]:
    """What chat and generate share, as fields of ChatRequest; everything unknown goes to `extra`."""
    stream = fields.flag("stream")
    output_format = _output_format(fields.take("format"))
    reasoning = _reasoning(fields.take("think"))
    logprobs, top_logprobs = fields.flag("logprobs"), fields.integer("top_logprobs")
    options = Fields(fields.object("options") or {}, "options")
    settings: dict[str, Any] = {
        "temperature": options.number("temperature"),
        "top_p": options.number("top_p"),
        "top_k": options.integer("top_k"),
        "seed": options.integer("seed"),
        "stop": options.texts("stop"),
        "frequency_penalty": options.number("frequency_penalty"),
        "presence_penalty": options.number("presence_penalty"),
    }
    longest = options.integer("num_predict")
    own_options = options.rest()
    if longest is not None and longest < 1:  # -1 and -2: as long as it likes
        own_options["num_predict"] = longest
        longest = None
    extra = fields.rest()
    if own_options:
        extra["options"] = own_options
    return settings | {
        "stream": stream is not False,
        "output_format": output_format,
        "reasoning": reasoning,
        "logprobs": logprobs,
        "top_logprobs": top_logprobs,
        "max_tokens": longest,
        "extra": {Dialect.OLLAMA.value: extra} if extra else {},
    }


def read_images(fields: Fields) -> tuple[ImagePart, ...]:
    """Base64 images; the media type is told by their first bytes."""
    images: list[ImagePart] = []
    for index, image in enumerate(fields.items("images")):
        place = f"{fields.path('images')}[{index}]"
        if not isinstance(image, str):
            refuse(f"{place} must be a string of base64", place)
        data_url = split_data_url(image)
        data = data_url[1] if data_url else image
        if not is_base64(data):
            refuse(f"illegal base64 data in {place}", place)
        images.append(ImagePart(data=data, media_type=sniff_image(data) or (data_url and data_url[0]) or "image/jpeg"))
    return tuple(images)


def _output_format(value: Any) -> OutputFormat | None:
    match value:
        case None | "":
            return None
        case "json":
            return OutputFormat(kind="json_object")
        case dict():
            return OutputFormat(kind="json_schema", schema=value)
        case _:
            raise refusal(f'invalid format: {json_text(value)}; expected "json" or a JSON schema object', "format")


def _reasoning(value: Any) -> Reasoning | None:
    match value:
        case None:
            return None
        case bool():
            return Reasoning(enabled=value)
        case str() if value in THINK_LEVELS:
            return Reasoning(effort=value)
        case _:
            raise refusal(
                f'invalid think value: {json_text(value)} (must be a bool, "low", "medium", "high" or "max")', "think"
            )


def _tool(fields: Fields) -> Tool | HostedTool:
    kind = fields.text("type")
    if kind not in {None, "function"}:
        refuse(f"{fields.path('type')} must be function", fields.path("type"))
    function = Fields(fields.take("function"), fields.path("function"))
    return Tool(
        name=function.required_text("name"),
        description=function.text("description"),
        parameters=function.object("parameters"),
    )


class _Conversation:
    """Reads the messages in order and pairs tool results with calls, which callers may leave without ids."""

    def __init__(self) -> None:
        self._open: list[tuple[str, str]] = []  # (id, name) of calls without a result yet

    def read(self, messages: list[Any]) -> tuple[Message, ...]:
        return join_tool_turns(self._message(Fields(item, f"messages[{i}]"), i) for i, item in enumerate(messages))

    def _message(self, fields: Fields, number: int) -> Message:
        role = fields.text("role") or ""
        if role not in ROLES:
            refuse(f"invalid role: {role}, must be one of [{', '.join(ROLES)}]", fields.path("role"))
        text = fields.text("content") or ""
        images = read_images(fields)
        if role == "tool":
            return Message(role="tool", parts=(self._result(fields, number, text, images),))
        parts: list[AnyPart] = []
        if role == "assistant":
            thinking = fields.text("thinking")
            if thinking:
                parts.append(ReasoningPart(text=thinking))
        calls = fields.items("tool_calls")
        if text or not (images or calls or parts):
            parts.append(TextPart(text=text))
        parts += images
        if role == "assistant":
            self._open = []
            for index, call in enumerate(calls):
                parts.append(self._call(Fields(call, f"{fields.path('tool_calls')}[{index}]"), number, index))
        # The role was checked above; a literal type is what the canonical form wants.
        match role:
            case "system":
                return Message(role="system", parts=tuple(parts))
            case "assistant":
                return Message(role="assistant", parts=tuple(parts))
            case _:
                return Message(role="user", parts=tuple(parts))

    def _call(self, fields: Fields, number: int, index: int) -> ToolCallPart:
        function = Fields(fields.take("function"), fields.path("function"))
        name = function.required_text("name")
        arguments = function.take("arguments")
        if arguments is not None and not isinstance(arguments, dict):
            refuse(f"{function.path('arguments')} must be an object", function.path("arguments"))
        call_id = fields.text("id") or f"call_{number}_{index}"
        self._open.append((call_id, name))
        return ToolCallPart(id=call_id, name=name, arguments="" if arguments is None else json_text(arguments))

    def _result(self, fields: Fields, number: int, text: str, images: tuple[ImagePart, ...]) -> ToolResultPart:
        """By its id, else the first open call of its name, else the first open call."""
        call_id, name = fields.text("tool_call_id"), fields.text("tool_name") or fields.text("name")
        found = next(
            (call for call in self._open if call[0] == call_id),
            None if call_id else next((call for call in self._open if name in {None, call[1]}), None),
        )
        if found is not None:
            self._open.remove(found)
            call_id, name = found[0], name or found[1]
        content: tuple[TextPart | ImagePart, ...] = (TextPart(text=text),) if text or not images else ()
        return ToolResultPart(call_id=call_id or f"call_{number}", content=(*content, *images), name=name)
