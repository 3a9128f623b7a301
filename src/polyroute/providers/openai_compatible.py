"""The adapter of most providers: everything is in the catalog row, and a few vendors need a turn or an id adapted."""

from __future__ import annotations

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


_CONVERSATIONS = {"mistral": "mistral", "perplexity": "alternating"}
