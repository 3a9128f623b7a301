"""Canonical requests → Converse."""

from __future__ import annotations

from typing import Any

from polyroute.dialects.bedrock_converse.conversation_out import ConversationRenderer, cache_point
from polyroute.dialects.bedrock_converse.reasoning_out import add_reasoning
from polyroute.dialects.request_fields import Losses, json_text
from polyroute.types.chat import ChatRequest, HostedTool, ModelProfile, Rendered, Tool, ToolCallPart, ToolResultPart
from polyroute.types.operations import Dialect

_ABSENT = (
    "seed", "frequency_penalty", "presence_penalty", "logprobs", "top_logprobs", "logit_bias", "user",
)  # fmt: skip
_TIERS = frozenset({"priority", "default", "flex", "reserved"})
_NO_PARAMETERS: dict[str, Any] = {"type": "object", "properties": {}}
_CUSTOM_INPUT = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}
_JSON_ONLY = "Answer with one JSON object and nothing else."


def render_converse(request: ChatRequest, profile: ModelProfile) -> Rendered:
    """The body for one model; `model` and `stream` are left to the URL."""
    losses = Losses()
    own = losses.foreign_extra(request.extra, (Dialect.BEDROCK_CONVERSE,))
    conversation = ConversationRenderer(losses, profile)
    messages = conversation.render(request.messages)
    system = conversation.system
    if request.output_format is not None and request.output_format.kind == "json_object":
        system.append({"text": _JSON_ONLY})
        losses.note("JSON mode asked for in the system prompt")
    body: dict[str, Any] = {"messages": messages}
    if system:
        body["system"] = system
    tools = _tool_config(request, profile, losses)
    inference = _inference(request, profile, losses)
    additional: dict[str, Any] = {}
    _add_top_k(request, profile, additional, losses)
    add_reasoning(request, profile, losses, inference=inference, additional=additional, tool_config=tools, body=body)
    additional |= own.pop("additionalModelRequestFields", {})
    inference |= own.pop("inferenceConfig", {})
    sections = {"inferenceConfig": inference, "toolConfig": tools, "additionalModelRequestFields": additional}
    body |= {name: value for name, value in sections.items() if value}
    _add_format(body, request)
    _add_metadata(body, request, losses)
    _drop_absent(request, losses)
    return Rendered(body | own, losses.dropped, losses.notes)


def _inference(request: ChatRequest, profile: ModelProfile, losses: Losses) -> dict[str, Any]:
    inference: dict[str, Any] = {}
    if request.max_tokens is not None:
        inference["maxTokens"] = request.max_tokens
    for name, value, theirs in (("temperature", request.temperature, "temperature"), ("top_p", request.top_p, "topP")):
        if value is None:
            continue
        if name in profile.refuses:
            losses.drop(name)
            continue
        losses.note(f"{name} cut to 1", when=value > 1)
        inference[theirs] = min(value, 1.0)
    stops = [stop for stop in request.stop if stop.strip()]
    losses.drop("stop", when=len(stops) < len(request.stop))
    if stops:
        inference["stopSequences"] = stops
    return inference


def vendor(profile: ModelProfile) -> str:
    """Whose model it is, by its id: `us.anthropic.claude-…` is anthropic's."""
    name = profile.model.lower()
    for vendor_name, words in _VENDORS:
        if any(word in name for word in words):
            return vendor_name
    return ""


_VENDORS = (
    ("anthropic", ("anthropic", "claude")),
    ("nova", ("nova",)),
    ("openai", ("openai", "gpt-oss")),
    ("cohere", ("cohere",)),
    ("mistral", ("mistral",)),
    ("deepseek", ("deepseek",)),
)


def _add_top_k(request: ChatRequest, profile: ModelProfile, additional: dict[str, Any], losses: Losses) -> None:
    """In the vendor's own spelling."""
    if request.top_k is None:
        return
    if "top_k" in profile.refuses:
        losses.drop("top_k")
        return
    match vendor(profile):
        case "anthropic" | "mistral" | "":
            additional["top_k"] = request.top_k
        case "nova":
            additional["inferenceConfig"] = {"topK": request.top_k}
        case "cohere":
            additional["k"] = request.top_k
        case _:
            losses.drop("top_k")


def _tool_config(request: ChatRequest, profile: ModelProfile, losses: Losses) -> dict[str, Any]:
    choice = request.tool_choice
    used = _tools_in_history(request)
    if choice is not None and choice.mode == "none" and not used:
        losses.note("tools left out, as no call is wanted", when=bool(request.tools))
        return {}
    losses.drop("tool_choice", when=choice is not None and choice.mode == "none")
    tools: list[dict[str, Any]] = []
    for tool in request.tools:
        if isinstance(tool, HostedTool):
            losses.drop(f"tools.{tool.definition.get('type') or tool.dialect}")
            continue
        if choice is not None and choice.mode != "tool" and choice.names and tool.name not in choice.names:
            losses.note("tools cut to those of tool_choice")
            continue
        tools.append({"toolSpec": _spec(tool, losses)})
        if tool.cache is not None:
            tools.append(cache_point(tool.cache))
    if not tools and used:
        losses.note("tools of earlier turns declared again")
        tools = [{"toolSpec": {"name": name, "inputSchema": {"json": _NO_PARAMETERS}}} for name in used]
    if not tools:
        losses.drop("tool_choice", when=choice is not None and choice.mode in {"required", "tool"})
        return {}
    losses.drop("parallel_tool_calls", when=request.parallel_tool_calls is False)
    config: dict[str, Any] = {"tools": tools}
    mode = choice.mode if choice is not None else None
    if mode in {"required", "tool"} and "forced_tool" in profile.refuses:
        losses.note("forced tool use lowered to auto, as the model refuses it")
        mode = "auto"
    match mode:
        case "auto":
            config["toolChoice"] = {"auto": {}}
        case "required":
            config["toolChoice"] = {"any": {}}
        case "tool" if choice is not None:
            config["toolChoice"] = {"tool": {"name": choice.names[0]}}
        case _:
            pass
    return config


def _tools_in_history(request: ChatRequest) -> list[str]:
    """Names of tools that were called before; Bedrock wants them declared."""
    names: dict[str, None] = {}
    for message in request.messages:
        for part in message.parts:
            if isinstance(part, (ToolCallPart, ToolResultPart)) and part.name:
                names[part.name] = None
    return list(names)


def _spec(tool: Tool, losses: Losses) -> dict[str, Any]:
    losses.note("free-form tool sent as a function", when=tool.custom)
    spec: dict[str, Any] = {"name": tool.name}
    if tool.description:
        spec["description"] = tool.description
    spec["inputSchema"] = {"json": _CUSTOM_INPUT if tool.custom else tool.parameters or _NO_PARAMETERS}
    if tool.strict is not None:
        spec["strict"] = tool.strict
    return spec


def _add_format(body: dict[str, Any], request: ChatRequest) -> None:
    wanted = request.output_format
    if wanted is None or wanted.kind != "json_schema":
        return
    described: dict[str, Any] = {"schema": json_text(wanted.schema or {"type": "object"})}
    if wanted.name is not None:
        described["name"] = wanted.name
    if wanted.description is not None:
        described["description"] = wanted.description
    body["outputConfig"] = {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": described}}}


def _add_metadata(body: dict[str, Any], request: ChatRequest, losses: Losses) -> None:
    if request.metadata is not None:
        body["requestMetadata"] = {name: str(value) for name, value in request.metadata.items()}
    if request.service_tier in _TIERS:
        body["serviceTier"] = {"type": request.service_tier}
    else:
        losses.drop("service_tier", when=request.service_tier not in {None, "auto"})


def _drop_absent(request: ChatRequest, losses: Losses) -> None:
    for name in _ABSENT:
        losses.drop(name, when=getattr(request, name) is not None)
    losses.drop("n", when=request.n is not None and request.n > 1)
    losses.drop("store", when=request.store is True)
