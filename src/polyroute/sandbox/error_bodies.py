"""The body, the headers and the in-stream form of a refusal, for each family of providers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal

import msgspec

from polyroute.sandbox.eventstream import event_stream_frame
from polyroute.sandbox.exchange import CREATED_TEXT, Exchange, Json, Spoken, hexadecimal, identifier, uuid_text
from polyroute.sandbox.media.envelopes import MEDIA_ENVELOPES

Reason = Literal[
    "invalid_request",
    "unsupported_parameter",
    "credential",
    "no_credential",
    "quota",
    "forbidden",
    "model_not_found",
    "not_found",
    "timeout",
    "too_large",
    "rate_limited",
    "server_error",
    "overloaded",
    "gateway_timeout",
    "context_too_long",
    "content_filter",
    "prefill",
]


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """A wording with its blanks filled."""

    status: int
    type: str | None
    code: str | None
    message: str
    param: str | None
    reason: Reason
    retry_after: str | None
    exchange: Exchange


def envelope(family: str, said: Said) -> Any:
    """The JSON value of the body; None for an empty body."""
    special = _ENVELOPES.get(family)
    return special(said) if special is not None else _openai_like(family, said)


def _anthropic(said: Said) -> Json:
    value: Json = {"type": "error", "error": {"type": said.type, "message": said.message}}
    if said.status != 529:
        value["request_id"] = "req_011" + identifier(said.exchange.digest, "request", 21)
    return value


def _aimlapi(said: Said) -> Json:
    return {
        "message": said.message,
        "path": said.exchange.path,
        "requestId": uuid_text(said.exchange.digest, "request"),
        "statusCode": said.status,
        "timestamp": CREATED_TEXT,
    }


def _mistral(said: Said) -> Json:
    if said.status == 401:
        return {"message": said.message, "request_id": hexadecimal(said.exchange.digest, "request", 32)}
    if said.status == 422:
        error = {"type": "extra_forbidden", "loc": ["body", said.param], "msg": said.message}
        return {"object": "error", "message": {"detail": [error]}, "type": said.type, "param": None, "code": None}
    return {"object": "error", "message": said.message, "type": said.type, "param": said.param, "code": said.code}


def _openai_like(family: str, said: Said) -> Any:
    error: Json = {"message": said.message, "type": said.type, "param": said.param, "code": said.code}
    match family:
        case "together":
            return {"id": identifier(said.exchange.digest, "request", 16), "error": error}
        case "groq":
            del error["param"]
            return {"error": {key: value for key, value in error.items() if value is not None}}
        case "perplexity":
            return {"error": {"message": said.message, "type": said.type, "code": said.status}}
        case "fireworks":
            return {"error": {"object": "error", **error}}
        case "vllm":
            return {"error": "Unauthorized"} if said.status == 401 else {"error": {**error, "code": said.status}}
        case "llamacpp":
            error = {"code": said.status, "message": said.message, "type": said.type}
            return {"error": error}
        case _:
            return {"error": error}


def _google(said: Said) -> Json:
    error: Json = {"code": said.status, "message": said.message, "status": said.type}
    details: list[Json] = []
    if said.reason == "credential":
        details.append(
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": said.code,
                "domain": "googleapis.com",
                "metadata": {"service": "generativelanguage.googleapis.com"},
            }
        )
    elif said.reason == "rate_limited":
        violation = {
            "quotaMetric": "generativelanguage.googleapis.com/generate_content_free_tier_requests",
            "quotaId": said.code,
            "quotaDimensions": {"location": "global", "model": said.exchange.groups.get("model", "unknown")},
            "quotaValue": "15",
        }
        details.append({"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [violation]})
    if said.retry_after is not None:
        details.append({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{said.retry_after}s"})
    if details:
        error["details"] = details
    return {"error": error}


def _azure(said: Said) -> Json:
    error: Json = {"code": said.code, "message": said.message}
    if said.reason == "content_filter":
        result: Json = {name: {"filtered": False, "severity": "safe"} for name in ("hate", "self_harm", "sexual")}
        result["violence"] = {"filtered": True, "severity": "medium"}
        error |= {"param": "prompt", "type": None, "status": 400}
        error["innererror"] = {"code": "ResponsibleAIPolicyViolation", "content_filter_result": result}
    elif said.type is not None:
        error |= {"type": said.type, "param": said.param}
    return {"error": error}


def _openrouter(said: Said) -> Json:
    error: Json = {"message": said.message, "code": said.status}
    if said.reason in ("rate_limited", "overloaded"):
        error["metadata"] = {"raw": said.code, "provider_name": "Sandbox"}
    elif said.reason == "quota":
        error["metadata"] = {"limit_source": said.code}
    elif said.reason == "content_filter":
        error["metadata"] = {"reasons": ["violence"], "flagged_input": "…", "provider_name": "Sandbox"}
    value: Json = {"error": error}
    if said.status != 401:
        value["user_id"] = "user_sandbox"
    return value


_ENVELOPES: Mapping[str, Callable[[Said], Any]] = MappingProxyType(
    {
        "anthropic": _anthropic,
        "google": _google,
        "google_layer": lambda said: [_google(said)],
        "azure": _azure,
        "openrouter": _openrouter,
        "xai": lambda said: {"code": said.code or said.type, "error": said.message},
        "aimlapi": _aimlapi,
        "mistral": _mistral,
        "cohere": lambda said: {"id": uuid_text(said.exchange.digest, "error"), "message": said.message},
        "bedrock": lambda said: {"message": said.message},
        "ollama_native": lambda said: {"error": said.message},
        "runpod": lambda said: None if said.status == 401 else {"error": said.message},
        **MEDIA_ENVELOPES,
    }
)


def extra_headers(family: str, said: Said) -> dict[str, str]:
    """Headers that belong to the refusal."""
    headers: dict[str, str] = {}
    if family == "bedrock":
        headers["x-amzn-ErrorType"] = f"{said.type}:http://internal.amazon.com/coral/com.amazon.bedrock/"
    if family == "anthropic":
        headers["x-should-retry"] = "true" if said.status in (408, 409, 429) or said.status >= 500 else "false"
    if said.retry_after is not None and family not in ("google", "google_layer"):
        headers["retry-after"] = said.retry_after
        if family in ("openai", "azure") and said.retry_after.replace(".", "", 1).isdigit():
            headers["retry-after-ms"] = str(round(float(said.retry_after) * 1000))
    return headers


def in_stream(family: str, dialect: Spoken, said: Said, value: Any) -> bytes:
    """The same failure in the middle of a stream that began well."""
    encoded = msgspec.json.encode(value)
    match dialect:
        case "anthropic_messages":
            return b"event: error\ndata: " + encoded + b"\n\n"
        case "openai_responses":
            error: Json = {"type": "error", "code": said.code or said.type, "message": said.message, "param": None}
            return b"event: error\ndata: " + msgspec.json.encode({**error, "sequence_number": 3}) + b"\n\n"
        case "ollama":
            return encoded + b"\n"
        case "cohere_v2":
            delta = {"error": said.message, "finish_reason": "ERROR"}
            return (
                b"event: message-end\ndata: " + msgspec.json.encode({"type": "message-end", "delta": delta}) + b"\n\n"
            )
        case "bedrock_converse":
            kind = said.type or "InternalServerException"
            return event_stream_frame("exception", kind[0].lower() + kind[1:], {"message": said.message})
        case "gemini":
            return b"data: " + encoded + b"\n\n"
    if family == "groq":
        value = {"error": {**value["error"], "status_code": said.status}}
        return b"event: error\ndata: " + msgspec.json.encode(value) + b"\n\n"
    if family == "openrouter":
        failure: Json = {
            "code": said.status,
            "message": said.message,
            "metadata": {"error_type": "provider_unavailable"},
        }
        choice = {"index": 0, "delta": {"content": ""}, "finish_reason": "error", "native_finish_reason": "error"}
        chunk: Json = {"id": "gen-sandbox", "object": "chat.completion.chunk", "error": failure, "choices": [choice]}
        return b"data: " + msgspec.json.encode(chunk) + b"\n\n"
    if family == "google_layer":
        return b"data: " + msgspec.json.encode(value[0]) + b"\n\n"
    return b"data: " + encoded + b"\n\n"
