"""The codec of `/api/chat`."""

from __future__ import annotations

from polyroute.dialects.ollama.answer_in import OllamaParser, parse_answer
from polyroute.dialects.ollama.answer_out import CHAT_SHAPE, OllamaRenderer, render_answer, render_failure
from polyroute.dialects.ollama.request_in import parse_chat
from polyroute.dialects.ollama.request_out import render_chat
from polyroute.ports import EventParser, EventRenderer
from polyroute.types.chat import AnyEvent, ChatRequest, ChatResponse, ModelProfile, Rendered
from polyroute.types.errors import PolyrouteError
from polyroute.types.operations import Dialect


class OllamaChatCodec:
    """Both directions of `/api/chat`; streams are newline-delimited JSON."""

    dialect = Dialect.OLLAMA
    stream_media_type = "application/x-ndjson"

    def parse_request(self, body: bytes) -> ChatRequest:
        """A chat request."""
        return parse_chat(body)

    def render_request(self, request: ChatRequest, profile: ModelProfile) -> Rendered:
        """The body for an Ollama server."""
        return render_chat(request, profile)

    def parse_response(self, body: bytes) -> list[AnyEvent]:
        """A whole answer: one line of the stream's last kind with everything in it."""
        return parse_answer(body)

    def render_response(self, response: ChatResponse, request: ChatRequest) -> bytes:
        """A whole answer for the caller."""
        return render_answer(response, request, CHAT_SHAPE)

    def parser(self) -> EventParser:
        """For an upstream stream."""
        return OllamaParser()

    def renderer(self, request: ChatRequest, response_id: str, created: int) -> EventRenderer:
        """For a stream to the caller."""
        return OllamaRenderer(request.model, created, CHAT_SHAPE)

    def render_error(self, error: PolyrouteError) -> bytes:
        """`{"error": "…"}`."""
        return render_failure(error)


CODEC = OllamaChatCodec()
