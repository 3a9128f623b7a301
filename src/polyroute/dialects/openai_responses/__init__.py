"""OpenAI's Responses API."""

from __future__ import annotations

from polyroute.dialects.openai_chat import errors_out
from polyroute.dialects.openai_responses import answer_in, answer_out, request_in, request_out
from polyroute.ports import ChatCodec, EventParser, EventRenderer
from polyroute.types.chat import AnyEvent, ChatRequest, ChatResponse, ModelProfile, Rendered
from polyroute.types.errors import PolyrouteError
from polyroute.types.operations import Dialect


class OpenAiResponses:
    """The ChatCodec of Responses."""

    dialect = Dialect.OPENAI_RESPONSES
    stream_media_type = "text/event-stream"

    def parse_request(self, body: bytes) -> ChatRequest:
        """A caller's request."""
        return request_in.parse_request(body)

    def render_request(self, request: ChatRequest, profile: ModelProfile) -> Rendered:
        """An upstream request."""
        return request_out.render_request(request, profile)

    def parse_response(self, body: bytes) -> list[AnyEvent]:
        """A whole upstream answer."""
        return answer_in.parse_response(body)

    def render_response(self, response: ChatResponse, request: ChatRequest) -> bytes:
        """A whole answer for a caller."""
        return answer_out.render_response(response, request)

    def parser(self) -> EventParser:
        """For an upstream stream."""
        return answer_in.ResponsesParser()

    def renderer(self, request: ChatRequest, response_id: str, created: int) -> EventRenderer:
        """For a stream to a caller."""
        return answer_out.ResponsesRenderer(request, response_id, created)

    def render_error(self, error: PolyrouteError) -> bytes:
        """The body of an error answer."""
        return errors_out.render_error(error)


CODEC: ChatCodec = OpenAiResponses()
