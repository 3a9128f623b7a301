"""Canonical requests → Ollama's `/api/chat`."""

from __future__ import annotations

from typing import Any

from polyroute.dialects.media_bytes import decoded_text
from polyroute.dialects.request_fields import Losses, arguments_object
from polyroute.types.chat import (
    AnyPart,
    AudioPart,
    ChatRequest,
    FilePart,
    HostedTool,
    ImagePart,
    Message,
    ModelProfile,
    ReasoningPart,
    RefusalPart,
    Rendered,
    TextPart,
    Tool,
    ToolCallPart,
    ToolResultPart,
)
from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.operations import Dialect

_EFFORTS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "max", "max": "max"}
_OPTIONS = {
    "num_predict": "max_tokens", "temperature": "temperature", "top_p": "top_p", "top_k": "top_k", "seed": "seed",
    "frequency_penalty": "frequency_penalty", "presence_penalty": "presence_penalty",
}  # fmt: skip
_ABSENT = ("logit_bias", "user", "metadata", "service_tier")
CUSTOM_INPUT = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}
"""A free-form tool as a function."""


def render_chat(request: ChatRequest, profile: ModelProfile) -> Rendered:
    """The body, with the caller's own Ollama fields in it."""
    losses = Losses()
    own = losses.foreign_extra(request.extra, (Dialect.OLLAMA,))
    body: dict[str, Any] = {
        "model": request.model,
        "messages": _Messages(losses).render(request.messages),
        "stream": request.stream,
    }
    tools = _tools(request, losses)
    if tools:
        body["tools"] = tools
    _add_format(body, request, losses)
    think = _think(request, profile, losses)
    if think is not None:
        body["think"] = think
    options = {name: value for name, field in _OPTIONS.items() if (value := getattr(request, field)) is not None}
    if request.stop:
        options["stop"] = list(request.stop)
    options |= own.pop("options", {})
    if options:
        body["options"] = options
    for name in ("logprobs", "top_logprobs"):
        if getattr(request, name) is not None:
            body[name] = getattr(request, name)
    for name in _ABSENT:
        losses.drop(name, when=getattr(request, name) is not None)
    losses.drop("n", when=request.n is not None and request.n > 1)
    losses.drop("store", when=request.store is True)
    losses.drop("parallel_tool_calls", when=request.parallel_tool_calls is False)
    return Rendered(body | own, losses.dropped, losses.notes)


def _tools(request: ChatRequest, losses: Losses) -> list[dict[str, Any]]:
    choice = request.tool_choice
    if choice is not None and choice.mode == "none":
        losses.note("tools left out, as no call is wanted", when=bool(request.tools))
        return []
    losses.drop("tool_choice", when=choice is not None and choice.mode in {"required", "tool"})
    tools: list[dict[str, Any]] = []
    for tool in request.tools:
        if isinstance(tool, HostedTool):
            losses.drop(f"tools.{tool.definition.get('type') or tool.dialect}")
        elif choice is not None and choice.names and tool.name not in choice.names:
            losses.note("tools cut to those of tool_choice")
        else:
            tools.append(_tool(tool, losses))
    return tools


def _tool(tool: Tool, losses: Losses) -> dict[str, Any]:
    losses.note("strict tool schema not enforced", when=tool.strict is True)
    losses.note("free-form tool sent as a function", when=tool.custom)
    function: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        function["description"] = tool.description
    parameters = CUSTOM_INPUT if tool.custom else tool.parameters
    if parameters is not None:
        function["parameters"] = parameters
    return {"type": "function", "function": function}


def _add_format(body: dict[str, Any], request: ChatRequest, losses: Losses) -> None:
    wanted = request.output_format
    if wanted is None:
        return
    body["format"] = wanted.schema if wanted.kind == "json_schema" and wanted.schema is not None else "json"
    losses.note("description of the output schema left out", when=wanted.description is not None)


def _think(request: ChatRequest, profile: ModelProfile, losses: Losses) -> bool | str | None:
    reasoning = request.reasoning
    if reasoning is None:
        return None
    if "reasoning" in profile.refuses:
        losses.drop("reasoning")
        return None
    if reasoning.enabled is False or reasoning.effort == "none":
        return False
    if reasoning.effort is not None:
        level = _EFFORTS.get(reasoning.effort)
        losses.note(f"reasoning effort {reasoning.effort} sent as {level or 'on'}", when=level != reasoning.effort)
        return level or True
    losses.note("reasoning budget left out", when=reasoning.budget is not None)
    wanted = reasoning.enabled or reasoning.budget is not None or reasoning.adaptive
    return True if wanted else None


class _Messages:
    """Renders the turns; results carry the name of the tool that was called."""

    def __init__(self, losses: Losses) -> None:
        self._losses = losses
        self._names: dict[str, str] = {}

    def render(self, messages: tuple[Message, ...]) -> list[dict[str, Any]]:
        rendered: list[dict[str, Any]] = []
        for message in messages:
            self._losses.note("names of speakers left out", when=message.name is not None)
            if message.role == "tool":
                rendered += [self._result(part) for part in message.parts if isinstance(part, ToolResultPart)]
            else:
                rendered.append(self._turn(message))
        return rendered

    def _turn(self, message: Message) -> dict[str, Any]:
        texts: list[str] = []
        thinking: list[str] = []
        images: list[str] = []
        calls: list[dict[str, Any]] = []
        for part in message.parts:
            self._losses.note("cache marks left out", when=part.cache is not None)
            self._losses.state(part.state, Dialect.OLLAMA)
            match part:
                case ReasoningPart():
                    if part.text:
                        thinking.append(part.text)
                case ToolCallPart():
                    calls.append(self._call(part, len(calls)))
                case ImagePart():
                    images.append(_image(part))
                case ToolResultPart():
                    texts += [content.text for content in part.content if isinstance(content, TextPart)]
                case _:
                    texts.append(_text(part))
        turn: dict[str, Any] = {"role": message.role, "content": "\n\n".join(text for text in texts if text)}
        if thinking:
            turn["thinking"] = "\n\n".join(thinking)
        if images:
            turn["images"] = images
        if calls:
            turn["tool_calls"] = calls
        return turn

    def _call(self, part: ToolCallPart, index: int) -> dict[str, Any]:
        self._names[part.id] = part.name
        if part.custom:
            arguments: dict[str, Any] = {"input": part.arguments}
        else:
            arguments, valid = arguments_object(part.arguments)
            self._losses.note("tool arguments that are no JSON object wrapped as _raw", when=not valid)
        return {"id": part.id, "function": {"index": index, "name": part.name, "arguments": arguments}}

    def _result(self, part: ToolResultPart) -> dict[str, Any]:
        texts = [_text(content) for content in part.content if not isinstance(content, ImagePart)]
        text = "\n\n".join(text for text in texts if text)
        if part.is_error and not text.lower().startswith("error"):
            text = f"Error: {text}"
        result: dict[str, Any] = {"role": "tool", "content": text, "tool_call_id": part.call_id}
        name = part.name or self._names.get(part.call_id)
        if name:
            result["tool_name"] = name
        images = [_image(content) for content in part.content if isinstance(content, ImagePart)]
        if images:
            result["images"] = images
        return result


def _image(part: ImagePart) -> str:
    if part.data is None:
        raise _unsupported("images by URL or file id: it takes base64 only")
    return part.data


def _text(part: AnyPart) -> str:
    """The part as text, where it has any."""
    match part:
        case TextPart() | RefusalPart():
            return part.text
        case FilePart(text=str() as text):
            return text
        case FilePart(data=str() as data, media_type=str() as media_type) if media_type.startswith("text/"):
            decoded = decoded_text(data)
            if decoded is None:
                raise _unsupported("text files that are not UTF-8")
            return decoded
        case FilePart():
            raise _unsupported("files such as PDF")
        case AudioPart(transcript=str() as transcript):
            return transcript
        case AudioPart():
            raise _unsupported("audio")
        case _:
            return ""


def _unsupported(what: str) -> PolyrouteError:
    return PolyrouteError(ErrorKind.UNSUPPORTED, f"Ollama does not take {what}", param="messages")
