"""Canonical request → the body of an upstream chat request."""

from __future__ import annotations

from typing import Any

from polyroute.dialects.openai_chat.families import OPENAI_ITSELF, effort_of, is_reasoning_family, refused_fields
from polyroute.dialects.openai_chat.messages_out import MessageRenderer
from polyroute.types.chat import (
    ChatRequest,
    HostedTool,
    ModelProfile,
    OutputFormat,
    Reasoning,
    Rendered,
    Tool,
    ToolChoice,
)
from polyroute.types.operations import Dialect

_SAME_NAME = ("temperature", "top_p", "top_k", "frequency_penalty", "presence_penalty", "seed", "n", "logprobs", "top_logprobs",
              "logit_bias", "user", "metadata", "store")  # fmt: skip
_TIERS = {"auto", "default", "flex", "scale", "priority", "fast", "ultrafast", "on_demand", "performance"}
_REASONING_OBJECT = frozenset({"openrouter"})
_THINKING_SWITCH = frozenset({"deepseek", "zai"})


def render_request(request: ChatRequest, profile: ModelProfile) -> Rendered:
    """What the target's family refuses is left out and named in `dropped`; a stream always asks for usage."""
    return _Rendering(request, profile).render()


class _Rendering:
    def __init__(self, request: ChatRequest, profile: ModelProfile) -> None:
        self._request, self._profile = request, profile
        self._itself = profile.provider in OPENAI_ITSELF
        self._refused = refused_fields(request, profile) | ({"top_k"} if self._itself else set())
        self._messages = MessageRenderer(profile)
        self._body: dict[str, Any] = {"model": profile.model}
        self._dropped, self._notes = self._messages.dropped, self._messages.notes

    def render(self) -> Rendered:
        """The whole request."""
        request, body = self._request, self._body
        body["messages"] = self._messages.render(request.messages)
        if request.stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        for name in _SAME_NAME:
            value = getattr(request, name)
            if value is not None and self._accepts(name):
                body[name] = value
        if request.parallel_tool_calls is not None and request.tools and self._accepts("parallel_tool_calls"):
            body["parallel_tool_calls"] = request.parallel_tool_calls
        self._add_max_tokens()
        if request.stop and self._accepts("stop"):
            body["stop"] = list(request.stop[:4])
            if len(request.stop) > 4:
                self._dropped.append("stop")
        self._add_tools()
        if request.output_format is not None and self._accepts("output_format"):
            body["response_format"] = _render_format(request.output_format)
        if request.reasoning is not None and self._accepts("reasoning"):
            self._add_reasoning(request.reasoning)
        self._add_tier()
        self._add_extra()
        return Rendered(body, tuple(dict.fromkeys(self._dropped)), tuple(dict.fromkeys(self._notes)))

    def _accepts(self, name: str) -> bool:
        """False, and reported, when the target refuses a field."""
        if name in self._refused:
            self._dropped.append(name)
            return False
        return True

    def _add_max_tokens(self) -> None:
        asked, most = self._request.max_tokens, self._profile.max_output
        if asked is None:
            return
        if most is not None and asked > most:
            self._notes.append(f"max_tokens lowered to the model's {most}")
            asked = most
        wants_new = is_reasoning_family(self._profile.model) or "max_tokens" in self._refused
        self._body["max_completion_tokens" if wants_new else "max_tokens"] = asked

    def _add_tools(self) -> None:
        request, rendered = self._request, []
        for tool in request.tools:
            if isinstance(tool, Tool):
                rendered.append(render_tool(tool, keeps_custom=self._itself, notes=self._notes))
            elif tool.dialect is Dialect.OPENAI_CHAT:
                rendered.append(tool.definition)
            else:
                note_hosted(tool, self._dropped, self._notes)
        if rendered:
            self._body["tools"] = rendered
        choice = request.tool_choice
        if choice is None:
            return
        if rendered or choice.mode == "none":
            self._body["tool_choice"] = _render_choice(choice, request, self._itself)
        else:
            self._dropped.append("tool_choice")

    def _add_reasoning(self, reasoning: Reasoning) -> None:
        provider, body = self._profile.provider, self._body
        if provider in _REASONING_OBJECT:
            body["reasoning"] = _reasoning_object(reasoning)
            return
        if provider in _THINKING_SWITCH and reasoning.enabled is not None:
            body["thinking"] = {"type": "enabled" if reasoning.enabled else "disabled"}
        effort, note = effort_of(reasoning)
        if effort is not None and not (effort == "none" and "thinking" in body):
            body["reasoning_effort"] = effort
        elif effort is None and "thinking" not in body:
            note = "reasoning left to the model's default"
        if note:
            self._notes.append(note)
        if reasoning.summary is not None:
            self._notes.append("chat completions cannot ask for a reasoning summary")

    def _add_tier(self) -> None:
        tier = self._request.service_tier
        if tier is None:
            return
        tier = "default" if tier == "standard_only" else tier
        if tier in _TIERS and "service_tier" not in self._refused:
            self._body["service_tier"] = tier
        else:
            self._dropped.append("service_tier")

    def _add_extra(self) -> None:
        body = self._body
        for dialect, fields in self._request.extra.items():
            if dialect != Dialect.OPENAI_CHAT:
                self._dropped += fields
                continue
            for name, value in fields.items():
                merges = isinstance(value, dict) and isinstance(body.get(name), dict)
                body[name] = {**body[name], **value} if merges else value


def _reasoning_object(reasoning: Reasoning) -> dict[str, Any]:
    """OpenRouter's `reasoning`, which takes effort or budget, not both."""
    record: dict[str, Any] = {"effort": reasoning.effort, "enabled": reasoning.enabled}
    if reasoning.effort is None:
        record["max_tokens"] = reasoning.budget
    if reasoning.summary == "omitted":
        record["exclude"] = True
    else:
        record["summary"] = reasoning.summary
    return {name: value for name, value in record.items() if value is not None} or {"enabled": True}


def note_hosted(tool: HostedTool, dropped: list[str], notes: list[str]) -> None:
    """Says that a provider's own tool does not translate."""
    kind = tool.definition.get("type") or next(iter(tool.definition), "tool")
    dropped.append("tools")
    notes.append(f"hosted tool {kind} of {tool.dialect.value} removed")


def render_tool(tool: Tool, *, keeps_custom: bool, notes: list[str]) -> dict[str, Any]:
    """A tool as Chat Completions nests it; a free-form one becomes a function with one text where they are unknown."""
    described = {} if tool.description is None else {"description": tool.description}
    if tool.custom and keeps_custom:
        shaped = {} if tool.format is None else {"format": tool.format}
        return {"type": "custom", "custom": {"name": tool.name, **described, **shaped}}
    function: dict[str, Any] = {"name": tool.name, **described}
    if tool.custom:
        notes.append(f"free-form tool {tool.name} became a function")
        function["parameters"] = INPUT_SCHEMA
    elif tool.parameters is not None:
        function["parameters"] = tool.parameters
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


INPUT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"input": {"type": "string"}},
    "required": ["input"],
    "additionalProperties": False,
}
"""The parameters of a function that stands for a free-form tool."""


def _render_choice(choice: ToolChoice, request: ChatRequest, itself: bool) -> Any:
    customs = {tool.name for tool in request.tools if isinstance(tool, Tool) and tool.custom} if itself else set()

    def entry(name: str) -> dict[str, Any]:
        kind = "custom" if name in customs else "function"
        return {"type": kind, kind: {"name": name}}

    if choice.mode == "tool" and len(choice.names) == 1:
        return entry(choice.names[0])
    if choice.names:
        mode = "auto" if choice.mode == "auto" else "required"
        return {
            "type": "allowed_tools",
            "allowed_tools": {"mode": mode, "tools": [entry(name) for name in choice.names]},
        }
    return "required" if choice.mode == "tool" else choice.mode


def _render_format(asked: OutputFormat) -> dict[str, Any]:
    if asked.kind == "json_object" or asked.schema is None:
        return {"type": "json_object"}
    described: dict[str, Any] = {"name": asked.name or "answer", "schema": asked.schema}
    if asked.description is not None:
        described["description"] = asked.description
    if asked.strict is not None:
        described["strict"] = asked.strict
    return {"type": "json_schema", "json_schema": described}
