"""The codec of Converse and ConverseStream."""

from __future__ import annotations

from polyroute.dialects.bedrock_converse.answer_in import ConverseParser, parse_answer
from polyroute.dialects.bedrock_converse.answer_out import ConverseRenderer, render_answer, render_failure
from polyroute.dialects.bedrock_converse.request_in import parse_converse
from polyroute.dialects.bedrock_converse.request_out import render_converse
from polyroute.ports import EventParser, EventRenderer
from polyroute.types.chat import AnyEvent, ChatRequest, ChatResponse, ModelProfile, Rendered
from polyroute.types.errors import PolyrouteError
from polyroute.types.operations import Dialect


class BedrockConverseCodec:
    """Both directions. Model and streaming are in the URL, not in the body: parsed requests have neither."""

    dialect = Dialect.BEDROCK_CONVERSE
    stream_media_type = "application/vnd.amazon.eventstream"

    def parse_request(self, body: bytes) -> ChatRequest:
        """A Converse request."""
        return parse_converse(body)

    def render_request(self, request: ChatRequest, profile: ModelProfile) -> Rendered:
        """The body for Bedrock."""
        return render_converse(request, profile)

    def parse_response(self, body: bytes) -> list[AnyEvent]:
        """A whole answer."""
        return parse_answer(body)

    def render_response(self, response: ChatResponse, request: ChatRequest) -> bytes:
        """A whole answer for the caller."""
        return render_answer(response)

    def parser(self) -> EventParser:
        """For an upstream stream."""
        return ConverseParser()

    def renderer(self, request: ChatRequest, response_id: str, created: int) -> EventRenderer:
        """For a stream to the caller."""
        return ConverseRenderer()

    def render_error(self, error: PolyrouteError) -> bytes:
        """`{"message": "…"}`."""
        return render_failure(error)


CODEC = BedrockConverseCodec()
