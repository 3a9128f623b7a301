"""A caller's tools and tool choice, the legacy `functions` included → canonical."""

from __future__ import annotations

from typing import Any

from polyroute.dialects.openai_chat.checks import (
    flag_of,
    invalid,
    list_of,
    object_of,
    optional_text,
    schema_of,
    text_of,
    tool_name_of,
    unsupported_value,
)
from polyroute.types.chat import CacheMark, HostedTool, Tool, ToolChoice
from polyroute.types.operations import Dialect

_MODES = ("none", "auto", "required")


def read_tools(fields: dict[str, Any]) -> tuple[Tool | HostedTool, ...]:
    """Takes `tools` and `functions` out of the body."""
    found: list[Tool | HostedTool] = []
    if (tools := fields.pop("tools", None)) is not None:
        for number, raw in enumerate(list_of(tools, "tools")):
            found.append(_read_tool(object_of(raw, f"tools[{number}]"), f"tools[{number}]"))
    if (functions := fields.pop("functions", None)) is not None:
        for number, raw in enumerate(list_of(functions, "functions")):
            found.append(read_function(object_of(raw, f"functions[{number}]"), f"functions[{number}]"))
    return tuple(found)


def _read_tool(tool: dict[str, Any], param: str) -> Tool | HostedTool:
    kind = tool.get("type", "function" if "function" in tool else None)
    if kind == "function":
        control = tool.get("cache_control")
        cache = CacheMark(ttl=control.get("ttl")) if isinstance(control, dict) else None
        return read_function(object_of(tool.get("function"), f"{param}.function"), f"{param}.function", cache)
    if kind == "custom":
        custom = object_of(tool.get("custom"), f"{param}.custom")
        return Tool(
            name=tool_name_of(custom.get("name"), f"{param}.custom.name"),
            description=optional_text(custom.get("description"), f"{param}.custom.description"),
            custom=True,
            format=custom.get("format") if isinstance(custom.get("format"), dict) else None,
        )
    if not isinstance(kind, str):
        raise unsupported_value(f"{param}.type", kind, ("function", "custom"))
    return HostedTool(Dialect.OPENAI_CHAT, tool)


def read_function(function: dict[str, Any], param: str, cache: CacheMark | None = None) -> Tool:
    """A function as Chat Completions nests it and as Responses has it flat."""
    name = tool_name_of(function.get("name"), f"{param}.name")
    code = "invalid_function_parameters"
    return Tool(
        name=name,
        description=optional_text(function.get("description"), f"{param}.description"),
        parameters=schema_of(function.get("parameters"), f"function '{name}'", f"{param}.parameters", code=code),
        strict=flag_of(function.get("strict"), f"{param}.strict"),
        cache=cache,
    )


def read_tool_choice(fields: dict[str, Any], tools: tuple[Tool | HostedTool, ...]) -> ToolChoice | None:
    """Takes `tool_choice` and `function_call` out of the body."""
    choice, legacy = fields.pop("tool_choice", None), fields.pop("function_call", None)
    if choice is None and legacy is not None:
        name = "function_call"
        choice = legacy if isinstance(legacy, str) else {"type": "function", "function": legacy}
    else:
        name = "tool_choice"
    if choice is None:
        return None
    found = _read_choice(choice, name)
    if not tools and found.mode != "none":
        raise invalid(f"Invalid value for '{name}': '{name}' is only allowed when 'tools' are specified.", name)
    check_choice(found, tools, name)
    return found


def check_choice(choice: ToolChoice, tools: tuple[Tool | HostedTool, ...], param: str) -> None:
    """Refuses a choice of tools that are not there."""
    known = {tool.name for tool in tools if isinstance(tool, Tool)}
    for name in choice.names:
        if name not in known:
            raise invalid(f"Tool choice '{name}' not found in 'tools' parameter.", param, "invalid_value")


def _read_choice(choice: Any, param: str) -> ToolChoice:
    if isinstance(choice, str):
        if choice == "any":  # Mistral, Fireworks
            return ToolChoice(mode="required")
        for mode in ("none", "auto", "required"):
            if choice == mode:
                return ToolChoice(mode=mode)
        raise unsupported_value(param, choice, _MODES)
    record = object_of(choice, param)
    match kind := record.get("type"):
        case "function" | "custom":
            inner = object_of(record.get(kind), f"{param}.{kind}")
            return ToolChoice(mode="tool", names=(text_of(inner.get("name"), f"{param}.{kind}.name"),))
        case "allowed_tools":
            return read_allowed(
                object_of(record.get("allowed_tools"), f"{param}.allowed_tools"), f"{param}.allowed_tools"
            )
        case _:
            raise unsupported_value(f"{param}.type", kind, ("function", "custom", "allowed_tools"))


def read_allowed(allowed: dict[str, Any], param: str) -> ToolChoice:
    """A choice among some tools, whose entries are nested (Chat Completions) or flat (Responses)."""
    mode = text_of(allowed.get("mode"), f"{param}.mode")
    if mode not in ("auto", "required"):
        raise unsupported_value(f"{param}.mode", mode, ("auto", "required"))
    names = []
    for number, raw in enumerate(list_of(allowed.get("tools"), f"{param}.tools")):
        entry = object_of(raw, f"{param}.tools[{number}]")
        inner = entry.get(str(entry.get("type")))
        record = inner if isinstance(inner, dict) else entry
        names.append(text_of(record.get("name"), f"{param}.tools[{number}].name"))
    return ToolChoice(mode="required" if mode == "required" else "auto", names=tuple(names))
