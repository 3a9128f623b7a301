"""Canonical request → the body of an upstream Responses request."""

from __future__ import annotations

from typing import Any

from polyroute.dialects.openai_chat.families import effort_of, is_plain_family, refused_fields
from polyroute.dialects.openai_chat.request_out import note_hosted
from polyroute.dialects.openai_responses.items_out import ItemRenderer
from polyroute.dialects.openai_responses.request_in import ENCRYPTED, LOGPROBS
from polyroute.types.chat import ChatRequest, HostedTool, ModelProfile, OutputFormat, Rendered, Tool, ToolChoice
from polyroute.types.operations import Dialect

_SAME_NAME = ("temperature", "top_p", "top_logprobs", "user", "metadata")
_ABSENT = ("top_k", "frequency_penalty", "presence_penalty", "seed", "stop", "n", "logit_bias")
_TIERS = {"auto", "default", "flex", "scale", "priority", "fast"}


def render_request(request: ChatRequest, profile: ModelProfile) -> Rendered:
    """Nothing is stored at the provider unless the caller asked for it, so reasoning is asked for in encrypted form."""
    refused = refused_fields(request, profile)
    items = ItemRenderer(stored=request.store is True)
    dropped, notes = items.dropped, items.notes
    instructions, rendered = items.render(request.messages)
    body: dict[str, Any] = {"model": profile.model, "input": rendered, "store": request.store is True}
    if instructions is not None:
        body["instructions"] = instructions
    if request.stream:
        body["stream"] = True
    dropped += [name for name in _ABSENT if getattr(request, name) not in (None, ()) and (name, request.n) != ("n", 1)]
    for name in _SAME_NAME:
        if (value := getattr(request, name)) is not None:
            _put(body, name, value, refused, dropped)
    if request.max_tokens is not None:
        most = profile.max_output
        body["max_output_tokens"] = request.max_tokens if most is None else min(most, request.max_tokens)
        if most is not None and request.max_tokens > most:
            notes.append(f"max_tokens lowered to the model's {most}")
    if request.parallel_tool_calls is not None and request.tools:
        body["parallel_tool_calls"] = request.parallel_tool_calls
    _add_tools(body, request, dropped, notes)
    if request.output_format is not None:
        _put(body, "text", {"format": render_format(request.output_format)}, refused, dropped, field="output_format")
    _add_reasoning(body, request, refused, dropped, notes)
    _add_include(body, request, profile, refused, dropped)
    if request.service_tier is not None:
        tier = "default" if request.service_tier == "standard_only" else request.service_tier
        if tier in _TIERS:
            body["service_tier"] = tier
        else:
            dropped.append("service_tier")
    _add_extra(body, request, dropped)
    return Rendered(body, tuple(dict.fromkeys(dropped)), tuple(dict.fromkeys(notes)))


def _put(
    body: dict[str, Any], name: str, value: Any, refused: set[str], dropped: list[str], *, field: str | None = None
) -> None:
    if (field or name) in refused:
        dropped.append(field or name)
    else:
        body[name] = value


def _add_tools(body: dict[str, Any], request: ChatRequest, dropped: list[str], notes: list[str]) -> None:
    rendered = []
    for tool in request.tools:
        if isinstance(tool, HostedTool) and tool.dialect is not Dialect.OPENAI_RESPONSES:
            note_hosted(tool, dropped, notes)
        else:
            rendered.append(render_tool(tool))
    if rendered:
        body["tools"] = rendered
    if request.tool_choice is not None:
        if rendered or request.tool_choice.mode == "none":
            body["tool_choice"] = render_choice(request.tool_choice, request)
        else:
            dropped.append("tool_choice")


def render_tool(tool: Tool | HostedTool) -> dict[str, Any]:
    """A tool, flat. `strict` is always said, because this API is strict unless told otherwise."""
    if isinstance(tool, HostedTool):
        return tool.definition
    described = {} if tool.description is None else {"description": tool.description}
    if tool.custom:
        shaped = {} if tool.format is None else {"format": tool.format}
        return {"type": "custom", "name": tool.name, **described, **shaped}
    return {
        "type": "function",
        "name": tool.name,
        **described,
        "parameters": tool.parameters,
        "strict": bool(tool.strict),
    }


def render_choice(choice: ToolChoice, request: ChatRequest) -> Any:
    """A tool choice, flat."""
    customs = {tool.name for tool in request.tools if isinstance(tool, Tool) and tool.custom}
    entries = [{"type": "custom" if name in customs else "function", "name": name} for name in choice.names]
    if choice.mode == "tool" and len(entries) == 1:
        return entries[0]
    if entries:
        return {"type": "allowed_tools", "mode": "auto" if choice.mode == "auto" else "required", "tools": entries}
    return "required" if choice.mode == "tool" else choice.mode


def render_format(asked: OutputFormat) -> dict[str, Any]:
    """A `text.format`."""
    if asked.kind == "json_object" or asked.schema is None:
        return {"type": "json_object"}
    record: dict[str, Any] = {"type": "json_schema", "name": asked.name or "answer", "schema": asked.schema}
    if asked.description is not None:
        record["description"] = asked.description
    record["strict"] = bool(asked.strict)
    return record


def _add_reasoning(
    body: dict[str, Any], request: ChatRequest, refused: set[str], dropped: list[str], notes: list[str]
) -> None:
    asked = request.reasoning
    if asked is None:
        return
    if "reasoning" in refused:
        dropped.append("reasoning")
        return
    effort, note = effort_of(asked)
    record = {} if effort is None else {"effort": effort}
    if asked.summary in ("auto", "concise", "detailed"):
        record["summary"] = asked.summary
    if record:
        body["reasoning"] = record
    elif note is None:
        note = "reasoning left to the model's default"
    if note:
        notes.append(note)


def _add_include(
    body: dict[str, Any], request: ChatRequest, profile: ModelProfile, refused: set[str], dropped: list[str]
) -> None:
    include = []
    if not body["store"] and not is_plain_family(profile.model):
        include.append(ENCRYPTED)
    if request.logprobs:
        if "logprobs" in refused:
            dropped.append("logprobs")
        else:
            include.append(LOGPROBS)
    if include:
        body["include"] = include


def _add_extra(body: dict[str, Any], request: ChatRequest, dropped: list[str]) -> None:
    for dialect, fields in request.extra.items():
        if dialect != Dialect.OPENAI_RESPONSES:
            dropped += fields
            continue
        for name, value in fields.items():
            if name == "include" and isinstance(value, list):
                body[name] = [*body.get(name, ()), *value]
            elif isinstance(value, dict) and isinstance(body.get(name), dict):
                body[name] = {**value, **body[name]}
            else:
                body[name] = value
