"""Google's Gemini API: generateContent and streamGenerateContent.

The model and whether to stream are in the URL. `CODEC.parse_request` expects them as the top-level fields `model` and
`stream`, where the caller's surface puts them; `render_request` gives a body without them.
"""

from __future__ import annotations

from polyroute.dialects.gemini import answer_in, answer_out, request_in, request_out
from polyroute.dialects.gemini.answer_in import GeminiParser
from polyroute.dialects.gemini.request_in import parse_gemini_request
from polyroute.dialects.gemini.stream_out import GeminiRenderer
from polyroute.ports import ChatCodec, EventParser, EventRenderer
from polyroute.types.chat import AnyEvent, ChatRequest, ChatResponse, ModelProfile, Rendered
from polyroute.types.errors import PolyrouteError
from polyroute.types.operations import Dialect


class GeminiCodec:
    """Both directions of the Gemini API; see `ports.ChatCodec`."""

    dialect: Dialect = Dialect.GEMINI
    stream_media_type: str = "text/event-stream"

    def parse_request(self, body: bytes) -> ChatRequest:
        """Caller's request → canonical; `model` and `stream` are top-level fields."""
        return request_in.parse_request(body)

    def render_request(self, request: ChatRequest, profile: ModelProfile) -> Rendered:
        """Canonical → the body of an upstream request."""
        return request_out.render_request(request, profile)

    def parse_response(self, body: bytes) -> list[AnyEvent]:
        """A whole upstream answer as events."""
        return answer_in.parse_response(body)

    def render_response(self, response: ChatResponse, request: ChatRequest) -> bytes:
        """A whole answer for the caller."""
        return answer_out.render_response(response, request)

    def parser(self) -> EventParser:
        """For an upstream stream, as events or as an array."""
        return GeminiParser()

    def renderer(self, request: ChatRequest, response_id: str, created: int) -> EventRenderer:
        """For a stream of events to the caller."""
        return GeminiRenderer(request, response_id)

    def render_error(self, error: PolyrouteError) -> bytes:
        """The body of an error answer."""
        return answer_out.render_error(error)


CODEC: ChatCodec = GeminiCodec()

__all__ = ["CODEC", "GeminiCodec", "parse_gemini_request"]
