"""The codec of RunPod jobs: `{"input": {…}}` around the body of chat completions, as the vLLM worker takes it."""

from __future__ import annotations

from typing import Any

import msgspec

from polyroute.dialects.registry import codec
from polyroute.dialects.request_fields import Fields, read_object, refuse
from polyroute.dialects.runpod.answer_in import JobParser, parse_job
from polyroute.dialects.runpod.answer_out import JobRenderer, render_job
from polyroute.ports import ChatCodec, EventParser, EventRenderer
from polyroute.types.chat import AnyEvent, ChatRequest, ChatResponse, ModelProfile, Rendered
from polyroute.types.errors import PolyrouteError
from polyroute.types.operations import Dialect

_OWN = Dialect.RUNPOD
_ROUTE = "/v1/chat/completions"


def _chat() -> ChatCodec:
    return codec(Dialect.OPENAI_CHAT)


class RunpodCodec:
    """Both directions. A stream is lines of JSON, one for each poll of the queue that brought something."""

    dialect = _OWN
    stream_media_type = "application/x-ndjson"

    def parse_request(self, body: bytes) -> ChatRequest:
        """A job: `input` holds `openai_input`, or `messages` or `prompt` with `sampling_params`."""
        fields = Fields(read_object(body))
        given = Fields(fields.take("input"), "input")
        inner = given.object("openai_input")
        if inner is None:
            inner = _plain_input(given)
        request = _chat().parse_request(msgspec.json.encode(inner))
        own = fields.rest()
        return msgspec.structs.replace(request, extra=request.extra | {_OWN.value: own}) if own else request

    def render_request(self, request: ChatRequest, profile: ModelProfile) -> Rendered:
        """The job of the worker's OpenAI route; the caller's `webhook`, `policy` and the like stand beside it."""
        own = request.extra.get(_OWN, {})
        others = {name: fields for name, fields in request.extra.items() if name != _OWN}
        chat = _chat().render_request(msgspec.structs.replace(request, extra=others), profile)
        job = {"input": {"openai_route": _ROUTE, "openai_input": chat.body}} | own
        return Rendered(job, chat.dropped, chat.notes)

    def parse_response(self, body: bytes) -> list[AnyEvent]:
        """A job that has ended."""
        return parse_job(body)

    def render_response(self, response: ChatResponse, request: ChatRequest) -> bytes:
        """A completed job."""
        return render_job(response.id or "", _chat().render_response(response, request))

    def parser(self) -> EventParser:
        """For the polls of a streamed job."""
        return JobParser()

    def renderer(self, request: ChatRequest, response_id: str, created: int) -> EventRenderer:
        """For a stream to the caller."""
        return JobRenderer(_chat().renderer(request, response_id, created))

    def render_error(self, error: PolyrouteError) -> bytes:
        """`{"error": "…"}`."""
        return msgspec.json.encode({"error": error.message})


def _plain_input(given: Fields) -> dict[str, Any]:
    """The worker's own form as a chat completions body."""
    messages, prompt = given.take("messages"), given.text("prompt")
    if messages is None:
        if not prompt:
            refuse("input must hold openai_input, messages or prompt", "input")
        messages = [{"role": "user", "content": prompt}]
    sampling = given.object("sampling_params") or {}
    stream = given.flag("stream")
    model = given.text("model") or "default"
    return {"model": model, "messages": messages, **sampling} | ({} if stream is None else {"stream": stream})


CODEC = RunpodCodec()
