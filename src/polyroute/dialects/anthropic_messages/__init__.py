"""Anthropic's Messages API."""

from __future__ import annotations

from polyroute.dialects.anthropic_messages import answer_in, answer_out, request_in, request_out
from polyroute.dialects.anthropic_messages.answer_in import MessagesParser
from polyroute.dialects.anthropic_messages.request_in import parse_count_request
from polyroute.dialects.anthropic_messages.stream_out import MessagesRenderer
from polyroute.ports import ChatCodec, EventParser, EventRenderer
from polyroute.types.chat import AnyEvent, ChatRequest, ChatResponse, ModelProfile, Rendered
from polyroute.types.errors import PolyrouteError
from polyroute.types.operations import Dialect


class MessagesCodec:
    """Both directions of the Messages API; see `ports.ChatCodec`."""

    dialect: Dialect = Dialect.ANTHROPIC_MESSAGES
    stream_media_type: str = "text/event-stream"

    def parse_request(self, body: bytes) -> ChatRequest:
        """Caller's request → canonical."""
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
        """For an upstream stream."""
        return MessagesParser()

    def renderer(self, request: ChatRequest, response_id: str, created: int) -> EventRenderer:
        """For a stream to the caller."""
        return MessagesRenderer(request, response_id)

    def render_error(self, error: PolyrouteError) -> bytes:
        """The body of an error answer."""
        return answer_out.render_error(error)


CODEC: ChatCodec = MessagesCodec()

__all__ = ["CODEC", "MessagesCodec", "parse_count_request"]
