"""Canonical requests → Cohere's `/v2/chat`."""

from __future__ import annotations

from typing import Any

from polyroute.dialects.media_bytes import decoded_text
from polyroute.dialects.request_fields import Losses, json_text
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

_OWN = Dialect.COHERE_V2
_SAME = {
    "max_tokens": "max_tokens", "temperature": "temperature", "p": "top_p", "k": "top_k", "seed": "seed",
    "logprobs": "logprobs",
}  # fmt: skip
_ABSENT = ("top_logprobs", "logit_bias", "user", "metadata", "service_tier")
_BUDGETS = {"minimal": 512, "low": 2048, "medium": 8192, "high": 16384, "xhigh": 24576, "max": 32768}
_MOST_STOPS = 5
_CUSTOM_INPUT = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}

Block = dict[str, Any]


def render_chat(request: ChatRequest, profile: ModelProfile) -> Rendered:
    """The body for one model."""
    losses = Losses()
    own = losses.foreign_extra(request.extra, (_OWN,))
    body: dict[str, Any] = {
        "model": request.model,
        "messages": _Messages(losses).render(request.messages),
        "stream": request.stream,
    }
    _add_tools(body, request, losses)
    for theirs, ours in _SAME.items():
        value = getattr(request, ours)
        if value is None:
            continue
        if ours in profile.refuses:
            losses.drop(ours)
        else:
            body[theirs] = value
    _add_penalties(body, request, losses)
    losses.note("stop cut to five sequences", when=len(request.stop) > _MOST_STOPS)
    if request.stop:
        body["stop_sequences"] = list(request.stop[:_MOST_STOPS])
    _add_format(body, request, losses)
    _add_thinking(body, request, losses)
    for name in _ABSENT:
        losses.drop(name, when=getattr(request, name) is not None)
    losses.drop("n", when=request.n is not None and request.n > 1)
    losses.drop("store", when=request.store is True)
    losses.drop("parallel_tool_calls", when=request.parallel_tool_calls is False)
    return Rendered(body | own, losses.dropped, losses.notes)


def _add_penalties(body: dict[str, Any], request: ChatRequest, losses: Losses) -> None:
    """0 to 1, and only one of the two."""
    for name in ("frequency_penalty", "presence_penalty"):
        value = getattr(request, name)
        if value is None:
            continue
        if value < 0 or (value > 0 and body.get("frequency_penalty")):
            losses.drop(name)
            continue
        losses.note(f"{name} cut to 1", when=value > 1)
        body[name] = min(value, 1)


def _add_format(body: dict[str, Any], request: ChatRequest, losses: Losses) -> None:
    wanted = request.output_format
    if wanted is None:
        return
    body["response_format"] = {"type": "json_object"}
    if wanted.kind == "json_schema":
        body["response_format"]["json_schema"] = wanted.schema or {"type": "object"}
    losses.note("description of the output schema left out", when=wanted.description is not None)


def _add_thinking(body: dict[str, Any], request: ChatRequest, losses: Losses) -> None:
    reasoning = request.reasoning
    if reasoning is None:
        return
    if reasoning.enabled is False or reasoning.effort == "none":
        body["thinking"] = {"type": "disabled"}
        return
    thinking: dict[str, Any] = {"type": "enabled"}
    if reasoning.budget is not None:
        thinking["token_budget"] = reasoning.budget
    elif reasoning.effort in _BUDGETS:
        thinking["token_budget"] = _BUDGETS[reasoning.effort]
        losses.note(f"reasoning effort sent as a budget of {thinking['token_budget']} tokens")
    body["thinking"] = thinking


def _add_tools(body: dict[str, Any], request: ChatRequest, losses: Losses) -> None:
    choice = request.tool_choice
    tools: list[Tool] = []
    for tool in request.tools:
        if isinstance(tool, HostedTool):
            losses.drop(f"tools.{tool.definition.get('type') or tool.dialect}")
        elif choice is not None and choice.names and tool.name not in choice.names:
            losses.note("tools cut to those of tool_choice")
        else:
            tools.append(tool)
    if tools:
        body["tools"] = [_tool(tool, losses) for tool in tools]
        strict = {tool.strict for tool in tools}
        if True in strict:
            losses.note("strict applied to all tools", when=len(strict) > 1)
            body["strict_tools"] = True
        elif strict == {False}:
            body["strict_tools"] = False
    if choice is None or choice.mode == "auto":
        return
    if choice.mode != "none" and not tools:
        losses.drop("tool_choice")
    else:
        body["tool_choice"] = "NONE" if choice.mode == "none" else "REQUIRED"


def _tool(tool: Tool, losses: Losses) -> Block:
    losses.note("free-form tool sent as a function", when=tool.custom)
    losses.note("cache marks left out", when=tool.cache is not None)
    function: Block = {"name": tool.name}
    if tool.description is not None:
        function["description"] = tool.description
    parameters = _CUSTOM_INPUT if tool.custom else tool.parameters
    if parameters is not None:
        function["parameters"] = parameters
    return {"type": "function", "function": function}


class _Messages:
    """Renders the turns; images of tool results follow in a user turn after all results of their block."""

    def __init__(self, losses: Losses) -> None:
        self._losses = losses
        self._images: list[ImagePart] = []

    def render(self, messages: tuple[Message, ...]) -> list[Block]:
        rendered: list[Block] = []
        for message in messages:
            self._losses.note("names of speakers left out", when=message.name is not None)
            if message.role == "tool":
                rendered += [self._result(part) for part in message.parts if isinstance(part, ToolResultPart)]
                continue
            rendered += self._held_images()
            if message.role == "assistant":
                rendered.append(self._assistant(message))
            else:
                blocks = [block for part in message.parts if (block := self._block(part)) is not None]
                rendered.append({"role": message.role, "content": _plain(blocks)})
        return rendered + self._held_images()

    def _held_images(self) -> list[Block]:
        images, self._images = self._images, []
        return [{"role": "user", "content": [_image(image) for image in images]}] if images else []

    def _assistant(self, message: Message) -> Block:
        turn: Block = {"role": "assistant"}
        blocks: list[Block] = []
        calls: list[Block] = []
        for part in message.parts:
            match part:
                case ToolCallPart():
                    self._losses.state(part.state, _OWN)
                    calls.append(_call(part))
                case ReasoningPart():
                    self._reasoning(part, turn, blocks)
                case _:
                    block = self._block(part)
                    if block is not None:
                        blocks.append(block)
        if blocks:
            turn["content"] = _plain(blocks)
        elif not calls and "tool_plan" not in turn:
            turn["content"] = ""
        if calls:
            turn["tool_calls"] = calls
        return turn

    def _reasoning(self, part: ReasoningPart, turn: Block, blocks: list[Block]) -> None:
        own = self._losses.state(part.state, _OWN)
        if own is not None and "tool_plan" in own:
            turn["tool_plan"] = turn.get("tool_plan", "") + part.text
        elif part.text:
            blocks.append({"type": "thinking", "thinking": part.text})

    def _result(self, part: ToolResultPart) -> Block:
        blocks: list[Block] = []
        for content in part.content:
            if isinstance(content, ImagePart):
                self._images.append(content)
                self._losses.note("images of tool results sent in a user turn")
                blocks.append({"type": "text", "text": "(image follows)"})
            elif (block := self._block(content)) is not None:
                blocks.append(block)
        self._losses.note("errors of tools told by their text only", when=part.is_error)
        return {"role": "tool", "tool_call_id": part.call_id, "content": _plain(blocks)}

    def _block(self, part: AnyPart) -> Block | None:
        own = self._losses.state(part.state, _OWN)
        self._losses.note("cache marks left out", when=part.cache is not None)
        match part:
            case TextPart() if own is not None and "document" in own:
                return {"type": "document", "document": own["document"]}
            case TextPart() | RefusalPart():
                return {"type": "text", "text": part.text}
            case ImagePart():
                return _image(part)
            case FilePart():
                return {"type": "text", "text": _file_text(part)}
            case AudioPart(transcript=str() as transcript):
                return {"type": "text", "text": transcript}
            case AudioPart():
                raise _unsupported("audio")
            case _:
                return None


def _plain(blocks: list[Block]) -> str | list[Block]:
    """A single text as a string."""
    if not blocks:
        return ""
    if len(blocks) == 1 and blocks[0]["type"] == "text":
        text: str = blocks[0]["text"]
        return text
    return blocks


def _call(part: ToolCallPart) -> Block:
    arguments = part.arguments
    if part.custom:
        arguments = json_text({"input": arguments})
    return {"id": part.id, "type": "function", "function": {"name": part.name, "arguments": arguments or "{}"}}


def _image(part: ImagePart) -> Block:
    if part.data is not None:
        url = f"data:{part.media_type or 'image/png'};base64,{part.data}"
    elif part.url is not None:
        url = part.url
    else:
        raise _unsupported("images by file id")
    return {"type": "image_url", "image_url": {"url": url} | ({"detail": part.detail} if part.detail else {})}


def _file_text(part: FilePart) -> str:
    if part.text is not None:
        return part.text
    text = decoded_text(part.data) if part.data and (part.media_type or "").startswith("text/") else None
    if text is None:
        raise _unsupported("files other than text")
    return text


def _unsupported(what: str) -> PolyrouteError:
    return PolyrouteError(ErrorKind.UNSUPPORTED, f"Cohere does not take {what}", param="messages")
