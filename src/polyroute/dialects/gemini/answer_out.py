"""Answers → generateContent bodies and chunks, and errors in Google's shape."""

from __future__ import annotations

from typing import Any

import msgspec

from polyroute.dialects.foreign_state import pack_state
from polyroute.dialects.gemini.grounding import render_logprobs
from polyroute.dialects.gemini.reading import FINISH_KINDS
from polyroute.dialects.gemini.usage import render_usage
from polyroute.dialects.media_types import audio_media_type
from polyroute.dialects.tool_turns import arguments_object
from polyroute.types.chat import (
    AnyPart,
    AudioPart,
    ChatRequest,
    ChatResponse,
    FilePart,
    Finish,
    ImagePart,
    ProviderState,
    ReasoningPart,
    RefusalPart,
    TextPart,
    ToolCallPart,
)
from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.operations import Dialect

_G = Dialect.GEMINI
_REASONS = {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP", "content_filter": "SAFETY"}
CANDIDATE_FIELDS = frozenset({"groundingMetadata", "citationMetadata", "urlContextMetadata", "safetyRatings"})
_STATUS: dict[ErrorKind, str] = {
    ErrorKind.INVALID_REQUEST: "INVALID_ARGUMENT",
    ErrorKind.UNSUPPORTED: "INVALID_ARGUMENT",
    ErrorKind.CONTENT_FILTERED: "INVALID_ARGUMENT",
    ErrorKind.CONTEXT_TOO_LONG: "INVALID_ARGUMENT",
    ErrorKind.TOO_LARGE: "INVALID_ARGUMENT",
    ErrorKind.NOT_FOUND: "NOT_FOUND",
    ErrorKind.MODEL_NOT_FOUND: "NOT_FOUND",
    ErrorKind.UNAUTHORIZED: "UNAUTHENTICATED",
    ErrorKind.FORBIDDEN: "PERMISSION_DENIED",
    ErrorKind.OVER_BUDGET: "RESOURCE_EXHAUSTED",
    ErrorKind.OVER_LIMIT: "RESOURCE_EXHAUSTED",
    ErrorKind.RATE_LIMITED: "RESOURCE_EXHAUSTED",
    ErrorKind.TIMEOUT: "DEADLINE_EXCEEDED",
    ErrorKind.CANCELLED: "CANCELLED",
    ErrorKind.INTERNAL: "INTERNAL",
}


def render_response(response: ChatResponse, request: ChatRequest) -> bytes:
    """A whole answer with all its candidates."""
    extra = response.extra.get(_G.value, {})
    beside = {name: value for name, value in extra.items() if name in CANDIDATE_FIELDS}
    quiet = hides_reasoning(request)
    candidates = []
    for number, choice in enumerate(response.choices):
        if not choice.parts and "promptFeedback" in extra:
            continue  # a blocked prompt has no candidates
        candidate: dict[str, Any] = {
            "content": {
                "role": "model",
                "parts": [made for part in choice.parts if (made := render_part(part, quiet=quiet)) is not None],
            },
            "finishReason": finish_reason(choice.finish),
            "index": number,
        }
        if number == 0:
            candidate |= beside
        if choice.logprobs is not None:
            candidate["logprobsResult"] = render_logprobs(choice.logprobs)
        candidates.append(candidate)
    body: dict[str, Any] = {"candidates": candidates} if candidates else {}
    body |= {name: value for name, value in extra.items() if name not in CANDIDATE_FIELDS}
    if response.usage is not None:
        body["usageMetadata"] = render_usage(response.usage)
    body["modelVersion"] = request.model
    if response.id is not None:
        body["responseId"] = response.id
    return msgspec.json.encode(body)


def hides_reasoning(request: ChatRequest) -> bool:
    """Whether the caller asked to leave thoughts out (`includeThoughts` false)."""
    return request.reasoning is not None and request.reasoning.summary == "omitted"


def finish_reason(finish: Finish) -> str:
    """Our word in Google's; the provider's own where it is Google's and says the same."""
    if finish.raw is not None and finish.raw in FINISH_KINDS:
        meant = FINISH_KINDS[finish.raw]
        if meant == finish.unified or (meant == "stop" and finish.unified == "tool_calls"):
            return finish.raw
    return _REASONS.get(finish.unified, "OTHER")


def render_part(part: AnyPart, *, quiet: bool) -> dict[str, Any] | None:
    """One part of an answer; None for what has no place here."""
    own = part.state.fields if part.state is not None and part.state.dialect is _G else {}
    if isinstance(own.get("part"), dict):
        return dict(own["part"])
    match part:
        case TextPart(text=text) | RefusalPart(text=text):
            return {"text": text, **own} if text else None
        case ReasoningPart():
            signed = signature(part.state)
            text = "" if quiet else part.text
            return {"text": text, "thought": True, **signed} if text or signed else None
        case ToolCallPart():
            call = {"id": part.id, "name": part.name, "args": arguments_object(part)}
            return {"functionCall": call, **signature(part.state)}
        case ImagePart(data=str(data)):
            return {"inlineData": {"mimeType": part.media_type or "image/png", "data": data}, **own}
        case FilePart(data=str(data)):
            return {"inlineData": {"mimeType": part.media_type or "application/octet-stream", "data": data}, **own}
        case AudioPart(data=str(data)):
            return {"inlineData": {"mimeType": audio_media_type(part.format), "data": data}, **own}
        case ImagePart(url=str(url)) | FilePart(url=str(url)) | FilePart(file_id=str(url)):
            return {"fileData": {"mimeType": part.media_type or "application/octet-stream", "fileUri": url}}
        case AudioPart(transcript=str(text)):
            return {"text": text}
        case _:
            return None


def signature(state: ProviderState | None) -> dict[str, Any]:
    """The signature field of a part: Google's own, or ours with what another dialect wants back."""
    if state is None:
        return {}
    return state.fields if state.dialect is _G else {"thoughtSignature": pack_state(state)}


def error_object(error: PolyrouteError) -> dict[str, Any]:
    """An error in Google's shape, with what we know beside the message as details."""
    known = {"request_id": error.request_id, "param": error.param, "code": error.code}
    details: list[dict[str, Any]] = [
        {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": error.kind.upper(),
            "domain": "polyroute",
            "metadata": {name: value for name, value in known.items() if value is not None},
        }
    ]
    if error.retry_after is not None:
        wait = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{error.retry_after:g}s"}
        details.append(wait)
    status = _STATUS.get(error.kind, "UNAVAILABLE")
    return {"error": {"code": error.status, "message": error.message, "status": status, "details": details}}


def render_error(error: PolyrouteError) -> bytes:
    """The body of an error answer."""
    return msgspec.json.encode(error_object(error))
