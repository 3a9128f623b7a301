"""The adapter of most providers: everything is in the catalog row, and a few vendors need a turn or an id adapted."""

from __future__ import annotations

from typing import Any

import msgspec

from polyroute.ports import Endpoint
from polyroute.providers.catalog_adapter import CatalogAdapter
from polyroute.providers.conversation import alternate_roles, bridge_tool_turns, shorten_call_ids
from polyroute.types.chat import ChatRequest
from polyroute.types.operations import Dialect

_MISTRAL_ID = (r"[A-Za-z0-9]{9}", 9)
_OPENAI_ID = (r".{1,40}", 40)


class CompatibleAdapter(CatalogAdapter):
    """Speaks to anything that keeps to OpenAI's wire formats (and to the other dialects that its row lists).

    The row's `conversation` option names what its models insist on: `mistral` (call ids of nine characters, an assistant
    turn between tool and user) or `alternating` (user and assistant by turns). Providers of these names have it on.
    """

    def fit(self, endpoint: Endpoint, request: ChatRequest) -> tuple[ChatRequest, tuple[str, ...]]:
        """Call ids that the vendor accepts, and the order of turns that it insists on."""
        if endpoint.dialect is not Dialect.OPENAI_CHAT:
            return request, ()
        match self.row.options.get("conversation", _CONVERSATIONS.get(self.provider)):
            case "mistral":
                request, shortened = shorten_call_ids(request, *_MISTRAL_ID)
                request, bridged = bridge_tool_turns(request)
                return request, shortened + bridged
            case "alternating":
                return alternate_roles(request)
            case _:
                return shorten_call_ids(request, *_OPENAI_ID)

    def adjust(self, endpoint: Endpoint, fields: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
        """The row's quirks; for DeepSeek also an empty `reasoning_content` in turns with tool calls that lost theirs, without
        which it answers 400 (most clients written for OpenAI do not send it back)."""
        if self.provider in _WANTS_REASONING_BACK and endpoint.dialect is Dialect.OPENAI_CHAT:
            fields = _with_reasoning(fields)
        return CatalogAdapter.adjust(self, endpoint, fields)


def _with_reasoning(fields: dict[str, Any]) -> dict[str, Any]:
    messages = fields.get("messages")
    if isinstance(messages, msgspec.Raw):
        if b'"tool_calls"' not in bytes(messages):
            return fields
        messages = msgspec.json.decode(messages)
    if not isinstance(messages, list):
        return fields
    lacking = [
        isinstance(message, dict) and bool(message.get("tool_calls")) and "reasoning_content" not in message
        for message in messages
    ]
    if not any(lacking):
        return fields
    filled = [
        {**message, "reasoning_content": ""} if lacks else message
        for message, lacks in zip(messages, lacking, strict=True)
    ]
    return {**fields, "messages": filled}


_WANTS_REASONING_BACK = frozenset({"deepseek"})
_CONVERSATIONS = {"mistral": "mistral", "perplexity": "alternating"}
