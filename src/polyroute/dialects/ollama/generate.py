"""The codec of `/api/generate`: one prompt instead of messages. It is always translated, never relayed."""

from __future__ import annotations

from typing import Any

import msgspec

from polyroute.dialects.ollama.answer_in import OllamaParser, parse_answer
from polyroute.dialects.ollama.answer_out import GENERATE_SHAPE, OllamaRenderer, render_answer, render_failure
from polyroute.dialects.ollama.request_in import read_images, read_settings
from polyroute.dialects.ollama.request_out import render_chat
from polyroute.dialects.request_fields import Fields, read_object, refuse
from polyroute.ports import EventParser, EventRenderer
from polyroute.types.chat import (
    AnyEvent,
    AnyPart,
    ChatRequest,
    ChatResponse,
    Message,
    ModelProfile,
    Rendered,
    TextPart,
)
from polyroute.types.errors import PolyrouteError
from polyroute.types.operations import Dialect

# What only this endpoint has; it means nothing to a chat.
_OWN = ("suffix", "template", "context", "raw")


class OllamaGenerateCodec:
    """Both directions of `/api/generate`."""

    dialect = Dialect.OLLAMA_GENERATE
    stream_media_type = "application/x-ndjson"

    def parse_request(self, body: bytes) -> ChatRequest:
        """`system` and `prompt` with its images as a chat of one turn."""
        return _parse(body)

    def render_request(self, request: ChatRequest, profile: ModelProfile) -> Rendered:
        """A chat of one turn as a prompt; earlier turns are written into the prompt."""
        return _render(request, profile)

    def parse_response(self, body: bytes) -> list[AnyEvent]:
        """A whole answer."""
        return parse_answer(body)

    def render_response(self, response: ChatResponse, request: ChatRequest) -> bytes:
        """A whole answer for the caller."""
        return render_answer(response, request, GENERATE_SHAPE)

    def parser(self) -> EventParser:
        """For an upstream stream."""
        return OllamaParser()

    def renderer(self, request: ChatRequest, response_id: str, created: int) -> EventRenderer:
        """For a stream to the caller."""
        return OllamaRenderer(request.model, created, GENERATE_SHAPE)

    def render_error(self, error: PolyrouteError) -> bytes:
        """`{"error": "…"}`."""
        return render_failure(error)


def _parse(body: bytes) -> ChatRequest:
    fields = Fields(read_object(body))
    model = fields.required_text("model")
    prompt, system = fields.text("prompt") or "", fields.text("system")
    images = read_images(fields)
    if not prompt and not images:
        refuse("prompt must not be empty: loading and unloading models is not offered here", "prompt")
    messages: list[Message] = []
    if system:
        messages.append(Message(role="system", parts=(TextPart(text=system),)))
    parts: tuple[AnyPart, ...] = (TextPart(text=prompt),) if prompt else ()
    messages.append(Message(role="user", parts=(*parts, *images)))
    own = {name: value for name in _OWN if (value := fields.take(name))}
    settings = read_settings(fields)
    extra: dict[str, dict[str, Any]] = settings.pop("extra")
    if own:
        extra[Dialect.OLLAMA_GENERATE] = own
    return ChatRequest(model=model, messages=tuple(messages), extra=extra, **settings)


def _render(request: ChatRequest, profile: ModelProfile) -> Rendered:
    own = request.extra.get(Dialect.OLLAMA_GENERATE, {})
    extra = {name: value for name, value in request.extra.items() if name != Dialect.OLLAMA_GENERATE}
    chat = render_chat(msgspec.structs.replace(request, extra=extra), profile)
    body = dict(chat.body)
    messages: list[dict[str, Any]] = body.pop("messages")
    notes = list(chat.notes)
    dropped = list(chat.dropped)
    if body.pop("tools", None):
        dropped.append("tools")
    system = [message["content"] for message in messages if message["role"] == "system"]
    turns = [message for message in messages if message["role"] != "system"]
    if len(turns) > 1:
        notes.append("turns joined into one prompt")
    body["prompt"] = turns[0]["content"] if len(turns) == 1 else "\n\n".join(_line(turn) for turn in turns)
    images = [image for turn in turns for image in turn.get("images", ())]
    if system:
        body["system"] = "\n\n".join(system)
    if images:
        body["images"] = images
    return Rendered({**body, **own}, tuple(dropped), tuple(notes))


def _line(turn: dict[str, Any]) -> str:
    return f"{turn['role']}: {turn['content']}"


CODEC = OllamaGenerateCodec()
