"""A caller's chat messages → canonical messages."""

from __future__ import annotations

from typing import Any

from polyroute.dialects.openai_chat.checks import (
    invalid,
    list_of,
    object_of,
    optional_text,
    text_of,
    unsupported_value,
    wrong_type,
)
from polyroute.dialects.openai_chat.content_in import read_annotations, read_content, read_result_content
from polyroute.dialects.openai_chat.state import read_details, read_tool_state
from polyroute.types.chat import AnyPart, AudioPart, Message, RefusalPart, Role, TextPart, ToolCallPart
from polyroute.types.chat import ToolResultPart as Result

_ROLES = ("system", "assistant", "user", "function", "tool", "developer")


class _Reading:
    """What must be remembered from message to message: which calls still wait for their results."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.waiting: dict[str, str] = {}
        self.results: list[Result] = []
        self.called_at = 0
        self.legacy = 0

    def end_results(self, number: int) -> None:
        """A message follows that is no tool message: the calls before it must all be answered."""
        if self.results:
            self.messages.append(Message(role="tool", parts=tuple(self.results)))
            self.results = []
        if self.waiting:
            missing = ", ".join(self.waiting)
            raise invalid(
                "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'."
                f" The following tool_call_ids did not have response messages: {missing}",
                f"messages.[{number}].role",
            )


def read_messages(value: Any) -> tuple[Message, ...]:
    """The canonical messages. Consecutive tool messages become one `tool` message; legacy function calls become tool calls
    whose ids are made up here."""
    messages = list_of(value, "messages")
    if not messages:
        raise invalid(
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead.",
            "messages",
            "empty_array",
        )
    reading = _Reading()
    for number, raw in enumerate(messages):
        param = f"messages[{number}]"
        message = object_of(raw, param)
        role = text_of(message.get("role"), f"{param}.role")
        if role not in _ROLES:
            raise unsupported_value(f"{param}.role", role, _ROLES)
        if role in ("tool", "function"):
            _read_result(reading, message, number)
            continue
        reading.end_results(number)
        if role == "assistant":
            parts = _read_assistant(reading, message, number)
        else:
            if message.get("content") is None:
                raise wrong_type(f"{param}.content", "one of a string or array of objects", None)
            parts = read_content(message["content"], f"{param}.content", role)
        canonical: Role = "assistant" if role == "assistant" else "user" if role == "user" else "system"
        name = optional_text(message.get("name"), f"{param}.name")
        reading.messages.append(Message(role=canonical, parts=parts, name=name))
    reading.end_results(len(messages))
    return tuple(reading.messages)


def _read_result(reading: _Reading, message: dict[str, Any], number: int) -> None:
    param = f"messages[{number}]"
    if message["role"] == "function":
        name = text_of(message.get("name"), f"{param}.name")
        call_id = next((call for call, called in reading.waiting.items() if called == name), None)
    else:
        name = optional_text(message.get("name"), f"{param}.name") or ""
        call_id = text_of(message.get("tool_call_id"), f"{param}.tool_call_id")
    if call_id is None or call_id not in reading.waiting:
        raise invalid(
            "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with 'tool_calls'.",
            f"messages.[{number}].role",
        )
    del reading.waiting[call_id]
    if message.get("content") is None:
        raise wrong_type(f"{param}.content", "one of a string or array of objects", None)
    result = read_result_content(message["content"], f"{param}.content")
    reading.results.append(Result(call_id=call_id, content=result.content, name=name or None))


def _read_assistant(reading: _Reading, message: dict[str, Any], number: int) -> tuple[AnyPart, ...]:
    """Reasoning, then text, refusal and audio, then calls: the order in which the fields of such a message stand for it."""
    param = f"messages[{number}]"
    parts: list[AnyPart] = _read_reasoning(message)
    calls = _read_calls(reading, message, param)
    content = message.get("content")
    if content is not None and not (content == "" and (calls or message.get("refusal") or message.get("audio"))):
        found = read_content(content, f"{param}.content", "assistant")
        annotations = read_annotations(message.get("annotations"), f"{param}.annotations")
        if annotations and found and isinstance(found[-1], TextPart):
            found = (*found[:-1], TextPart(text=found[-1].text, cache=found[-1].cache, annotations=annotations))
        parts += found
    if (refusal := optional_text(message.get("refusal"), f"{param}.refusal")) is not None:
        parts.append(RefusalPart(text=refusal))
    if (audio := message.get("audio")) is not None:
        parts.append(AudioPart(id=text_of(object_of(audio, f"{param}.audio").get("id"), f"{param}.audio.id")))
    if not parts and not calls and "content" not in message:
        raise invalid(
            f"Invalid value for 'content': expected a string, got null. (param: {param}.content)",
            f"messages.[{number}].content",
        )
    reading.waiting = {call.id: call.name for call in calls}
    return (*parts, *calls)


def _read_reasoning(message: dict[str, Any]) -> list[AnyPart]:
    """The reasoning that a caller replays: text in the first field that has any, opaque state in `reasoning_details`."""
    text = next(
        (
            message[name]
            for name in ("reasoning_content", "reasoning")
            if isinstance(message.get(name), str) and message[name]
        ),
        "",
    )
    return read_details(text, message.get("reasoning_details"), message.get("extra_content"))


def _read_calls(reading: _Reading, message: dict[str, Any], param: str) -> list[ToolCallPart]:
    calls = []
    if (legacy := message.get("function_call")) is not None:
        call = object_of(legacy, f"{param}.function_call")
        reading.legacy += 1
        name = text_of(call.get("name"), f"{param}.function_call.name")
        arguments = text_of(call.get("arguments"), f"{param}.function_call.arguments")
        calls.append(ToolCallPart(id=f"call_function_{reading.legacy}", name=name, arguments=arguments))
    if message.get("tool_calls") is None:
        return calls
    for number, raw in enumerate(list_of(message["tool_calls"], f"{param}.tool_calls")):
        at = f"{param}.tool_calls[{number}]"
        call = object_of(raw, at)
        custom = call.get("type") == "custom"
        kind = "custom" if custom else "function"
        if call.get("type") not in (None, "function", "custom"):
            raise unsupported_value(f"{at}.type", call["type"], ("function", "custom"))
        inner = object_of(call.get(kind), f"{at}.{kind}")
        calls.append(
            ToolCallPart(
                id=text_of(call.get("id"), f"{at}.id"),
                name=text_of(inner.get("name"), f"{at}.{kind}.name"),
                arguments=text_of(inner.get("input" if custom else "arguments", ""), f"{at}.{kind}.arguments"),
                custom=custom,
                state=read_tool_state(call.get("extra_content")),
            )
        )
    return calls
