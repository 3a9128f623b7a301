"""The codec of `/v2/chat`."""

from __future__ import annotations

from polyroute.dialects.cohere_v2.answer_in import CohereParser, parse_answer
from polyroute.dialects.cohere_v2.answer_out import CohereRenderer, render_answer, render_failure
from polyroute.dialects.cohere_v2.request_in import parse_chat
from polyroute.dialects.cohere_v2.request_out import render_chat
from polyroute.ports import EventParser, EventRenderer
from polyroute.types.chat import AnyEvent, ChatRequest, ChatResponse, ModelProfile, Rendered
from polyroute.types.errors import PolyrouteError
from polyroute.types.operations import Dialect


class CohereCodec:
    """Both directions of `/v2/chat`; streams are server-sent events with names."""

    dialect = Dialect.COHERE_V2
    stream_media_type = "text/event-stream"

    def parse_request(self, body: bytes) -> ChatRequest:
        """A chat request."""
        return parse_chat(body)

    def render_request(self, request: ChatRequest, profile: ModelProfile) -> Rendered:
        """The body for Cohere."""
        return render_chat(request, profile)

    def parse_response(self, body: bytes) -> list[AnyEvent]:
        """A whole answer."""
        return parse_answer(body)

    def render_response(self, response: ChatResponse, request: ChatRequest) -> bytes:
        """A whole answer for the caller."""
        return render_answer(response)

    def parser(self) -> EventParser:
        """For an upstream stream."""
        return CohereParser()

    def renderer(self, request: ChatRequest, response_id: str, created: int) -> EventRenderer:
        """For a stream to the caller."""
        return CohereRenderer(response_id)

    def render_error(self, error: PolyrouteError) -> bytes:
        """`{"message": "…"}`."""
        return render_failure(error)


CODEC = CohereCodec()
