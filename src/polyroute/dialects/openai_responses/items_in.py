"""Input items of a Responses request → canonical messages."""

from __future__ import annotations

from typing import Any

from polyroute.dialects.openai_chat.annotations import nested
from polyroute.dialects.openai_chat.checks import (
    check_base64,
    invalid,
    list_of,
    object_of,
    optional_text,
    read_data_url,
    text_of,
    unsupported_value,
    wrong_type,
)
from polyroute.dialects.openai_chat.content_in import media_type_of
from polyroute.dialects.openai_responses.state import opaque, read_call_state, read_reasoning
from polyroute.types.chat import (
    AnyPart,
    AudioPart,
    FilePart,
    ImagePart,
    Message,
    ProviderState,
    RefusalPart,
    Role,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from polyroute.types.operations import Dialect

_ROLES = ("assistant", "system", "developer", "user")
_CALLS = {"function_call": "arguments", "custom_tool_call": "input"}
_OUTPUTS = ("function_call_output", "custom_tool_call_output")


class _Reading:
    """The messages so far; items of one assistant turn are collected until an item of another kind ends it."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.turn: list[AnyPart] = []
        self.results: dict[str, ToolResultPart] = {}
        self.called: list[str] = []

    def end_turn(self) -> None:
        """The assistant's turn is over."""
        if self.turn:
            self.messages.append(Message(role="assistant", parts=tuple(self.turn)))
            self.turn = []

    def finish(self, *, stored: bool) -> tuple[Message, ...]:
        """The messages with each turn's results right after it, in the order of its calls. `stored` says that there is an
        earlier conversation, in which calls may lie."""
        self.end_turn()
        messages: list[Message] = []
        for message in self.messages:
            messages.append(message)
            ids = [part.id for part in message.parts if isinstance(part, ToolCallPart)]
            results = tuple(self.results.pop(call_id) for call_id in ids if call_id in self.results)
            if len(results) != len(ids):
                missing = next(call_id for call_id in ids if all(result.call_id != call_id for result in results))
                raise invalid(f"No tool output found for function call {missing}.", "input")
            if results:
                messages.append(Message(role="tool", parts=results))
        if self.results and not stored:
            orphan = next(iter(self.results))
            raise invalid(f"No tool call found for function call output with call_id {orphan}.", "input")
        if self.results:
            messages.insert(0, Message(role="tool", parts=tuple(self.results.values())))
        return tuple(messages)


def read_input(value: Any, *, stored: bool) -> tuple[Message, ...]:
    """The canonical messages of `input`: a string or a list of items."""
    if isinstance(value, str):
        return (Message(role="user", parts=(TextPart(text=value),)),)
    if not isinstance(value, list):
        raise wrong_type("input", "one of a string or array of input items", value)
    reading = _Reading()
    for number, raw in enumerate(value):
        param = f"input[{number}]"
        item = object_of(raw, param)
        _read_item(reading, item, param)
    return reading.finish(stored=stored)


def _read_item(reading: _Reading, item: dict[str, Any], param: str) -> None:
    kind = item.get("type", "message" if "role" in item else None)
    if not isinstance(kind, str):
        kind = None
    if kind == "message":
        _read_message(reading, item, param)
    elif kind == "reasoning":
        reading.turn.append(read_reasoning(item))
    elif kind in _CALLS:
        name = _CALLS[kind]
        reading.turn.append(
            ToolCallPart(
                id=text_of(item.get("call_id"), f"{param}.call_id"),
                name=text_of(item.get("name"), f"{param}.name"),
                arguments=text_of(item.get(name), f"{param}.{name}"),
                custom=kind == "custom_tool_call",
                state=read_call_state(item),
            )
        )
    elif kind in _OUTPUTS:
        reading.end_turn()
        call_id = text_of(item.get("call_id"), f"{param}.call_id")
        reading.results[call_id] = ToolResultPart(
            call_id=call_id, content=_read_output(item.get("output"), f"{param}.output")
        )
    elif isinstance(kind, str) and (
        kind.endswith(("_call", "_call_output")) or kind.startswith(("mcp_", "item_ref", "compaction"))
    ):
        reading.turn.append(opaque(item))
    else:
        raise unsupported_value(f"{param}.type", kind, ("message", "reasoning", *_CALLS, *_OUTPUTS, "item_reference"))


def _read_message(reading: _Reading, item: dict[str, Any], param: str) -> None:
    role = text_of(item.get("role"), f"{param}.role")
    if role not in _ROLES:
        raise unsupported_value(f"{param}.role", role, _ROLES)
    if role == "assistant":
        fields = {name: item[name] for name in ("id", "phase") if isinstance(item.get(name), str)}
        state = ProviderState(Dialect.OPENAI_RESPONSES, fields) if fields else None
        reading.turn += _read_said(item.get("content"), f"{param}.content", state)
        return
    reading.end_turn()
    canonical: Role = "user" if role == "user" else "system"
    reading.messages.append(Message(role=canonical, parts=read_content(item.get("content"), f"{param}.content")))


def _read_said(value: Any, param: str, state: ProviderState | None) -> list[AnyPart]:
    """What the assistant said."""
    if isinstance(value, str):
        return [TextPart(text=value, state=state)]
    found: list[AnyPart] = []
    for number, raw in enumerate(list_of(value, param)):
        at = f"{param}[{number}]"
        part = object_of(raw, at)
        match part.get("type"):
            case "output_text" | "input_text" | "text":
                annotations = part.get("annotations")
                found.append(
                    TextPart(
                        text=text_of(part.get("text"), f"{at}.text"),
                        annotations=nested(annotations) if isinstance(annotations, list) else (),
                        state=state,
                    )
                )
            case "refusal":
                found.append(RefusalPart(text=text_of(part.get("refusal"), f"{at}.refusal"), state=state))
            case kind:
                raise unsupported_value(f"{at}.type", kind, ("output_text", "refusal"))
    return found


def read_content(value: Any, param: str) -> tuple[AnyPart, ...]:
    """The content of a user or system message."""
    if isinstance(value, str):
        return (TextPart(text=value),)
    if not isinstance(value, list):
        raise wrong_type(param, "one of a string or array of objects", value)
    return tuple(
        _read_part(object_of(part, f"{param}[{number}]"), f"{param}[{number}]") for number, part in enumerate(value)
    )


def _read_output(value: Any, param: str) -> tuple[TextPart | ImagePart | FilePart | AudioPart, ...]:
    parts = read_content(value, param)
    return tuple(part for part in parts if isinstance(part, TextPart | ImagePart | FilePart | AudioPart))


def _read_part(part: dict[str, Any], param: str) -> AnyPart:
    match part.get("type"):
        case "input_text" | "output_text" | "text":
            return TextPart(text=text_of(part.get("text"), f"{param}.text"))
        case "input_image":
            return _read_image(part, param)
        case "input_file":
            return _read_file(part, param)
        case "input_audio":
            audio = object_of(part.get("input_audio"), f"{param}.input_audio")
            data = text_of(audio.get("data"), f"{param}.input_audio.data")
            check_base64(data, f"{param}.input_audio.data", what="audio")
            return AudioPart(data=data, format=text_of(audio.get("format"), f"{param}.input_audio.format"))
        case kind:
            raise unsupported_value(f"{param}.type", kind, ("input_text", "input_image", "input_file", "input_audio"))


def _read_image(part: dict[str, Any], param: str) -> ImagePart:
    detail = optional_text(part.get("detail"), f"{param}.detail")
    if (file_id := optional_text(part.get("file_id"), f"{param}.file_id")) is not None:
        return ImagePart(file_id=file_id, detail=detail)
    url = text_of(part.get("image_url"), f"{param}.image_url")
    if url[:5].lower() == "data:":
        media_type, data = read_data_url(url, f"{param}.image_url")
        return ImagePart(data=data, media_type=media_type, detail=detail)
    if not url.lower().startswith(("https://", "http://")):
        message = f"Invalid '{param}.image_url'. Expected a valid URL, but got a value with an invalid format."
        raise invalid(message, f"{param}.image_url", "invalid_value")
    return ImagePart(url=url, detail=detail)


def _read_file(part: dict[str, Any], param: str) -> FilePart:
    filename = optional_text(part.get("filename"), f"{param}.filename")
    if (file_id := optional_text(part.get("file_id"), f"{param}.file_id")) is not None:
        return FilePart(file_id=file_id, filename=filename)
    if (url := optional_text(part.get("file_url"), f"{param}.file_url")) is not None:
        return FilePart(url=url, filename=filename)
    data = text_of(part.get("file_data"), f"{param}.file_data")
    media_type = None
    if data[:5].lower() == "data:":
        media_type, data = read_data_url(data, f"{param}.file_data", what="application/pdf")
    else:
        check_base64(data, f"{param}.file_data", what="file")
    return FilePart(data=data, media_type=media_type or media_type_of(filename, data), filename=filename)
