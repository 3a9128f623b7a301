"""Free-form tools that went out as functions: their calls come back to callers as they were declared."""

from __future__ import annotations

import msgspec

from polyroute.dialects.openai_chat.wire import NOT_JSON
from polyroute.types.chat import ChatRequest, Tool, ToolCallPart


class CustomCalls:
    """Knows which of a request's tools are free-form."""

    __slots__ = ("_names",)

    def __init__(self, request: ChatRequest) -> None:
        self._names = frozenset(tool.name for tool in request.tools if isinstance(tool, Tool) and tool.custom)

    def wraps(self, part: ToolCallPart) -> bool:
        """Whether a call is of a function that stands for a free-form tool."""
        return not part.custom and part.name in self._names

    def restore(self, part: ToolCallPart) -> ToolCallPart:
        """The call as the caller declared its tool; arguments that hold no `input` become the input as they are."""
        if not self.wraps(part):
            return part
        text = part.arguments
        try:
            value = msgspec.json.decode(text)
        except NOT_JSON:
            value = None
        if isinstance(value, dict) and isinstance(value.get("input"), str):
            text = value["input"]
        return msgspec.structs.replace(part, custom=True, arguments=text)
