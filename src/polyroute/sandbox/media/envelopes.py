"""Error bodies of the providers that serve media, each in its own shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from polyroute.sandbox.error_bodies import Said

_TITLES = {401: "Unauthenticated", 402: "Insufficient credit", 404: "Not found", 422: "Input validation failed"}
_ELEVEN_TYPES = {
    400: "validation_error",
    401: "authentication_error",
    402: "payment_required",
    403: "authorization_error",
    404: "not_found",
    409: "conflict",
    429: "rate_limit_error",
    503: "service_unavailable",
}


def _replicate(said: Said) -> Any:
    if said.status == 429:
        return {"detail": f"Request was throttled. Your rate limit resets in ~{said.retry_after or 30}s."}
    title = _TITLES.get(said.status, "Error")
    return {"title": title, "detail": said.message, "status": said.status}


def _fal(said: Said) -> Any:
    if said.status == 422:
        kind = said.code or "value_error"
        place = ["body", *([said.param] if said.param else ["prompt"] if said.reason == "content_filter" else [])]
        return {"detail": [{"loc": place, "msg": said.message, "type": kind}]}
    kinds = {504: "request_timeout", 429: "concurrent_requests_limit", 503: "runner_connection_refused"}
    value = {"detail": said.message}
    return value | ({"error_type": kinds[said.status]} if said.status in kinds else {})


def _elevenlabs(said: Said) -> Any:
    if said.status == 422:
        return {"detail": [{"loc": ["body", said.param or "text"], "msg": said.message, "type": "value_error"}]}
    code = said.code or "bad_request"
    detail: dict[str, Any] = {"type": _ELEVEN_TYPES.get(said.status, "internal_error"), "code": code}
    detail |= {"message": said.message, "status": code, "request_id": said.exchange.digest[:20], "param": said.param}
    return {"detail": detail}


def _runware(said: Said) -> Any:
    error: dict[str, Any] = {"code": said.code, "message": said.message, "parameter": said.param}
    return {"errors": [error | {"taskType": None, "documentation": "https://runware.ai/docs"}]}


def _stability(said: Said) -> Any:
    return {"id": said.exchange.digest[:32], "name": said.code or "bad_request", "errors": [said.message]}


def _docker(said: Said) -> Any:
    return {"message": said.message}


def _detail(said: Said) -> Any:
    return {"detail": said.message}


def _piapi(said: Said) -> Any:
    if "/api/v1/task" not in said.exchange.path:
        error = {"message": said.message, "type": said.type, "param": said.param, "code": said.code}
        return {"error": error}
    failure = {"code": 10000, "raw_message": said.message, "message": said.message, "detail": None}
    return {"code": said.status, "message": said.message, "data": {"error": failure}}


def _comfyui(said: Said) -> Any:
    error = {"type": said.code or "invalid_prompt", "message": said.message, "details": "", "extra_info": {}}
    return {"error": error, "node_errors": {}}


MEDIA_ENVELOPES: Mapping[str, Callable[[Said], Any]] = {
    "replicate": _replicate,
    "fal": _fal,
    "elevenlabs": _elevenlabs,
    "runware": _runware,
    "kie": lambda said: {"code": said.status, "msg": said.message, "data": None},
    "piapi": _piapi,
    "stability": _stability,
    "luma": _detail,
    "luma_dream_machine": _detail,
    "bfl": _detail,
    "runway": lambda said: {"error": said.message, "docUrl": "https://docs.dev.runwayml.com/api"},
    "whisper": _detail,
    "chatterbox": _detail,
    "comfyui": _comfyui,
    "automatic1111": lambda said: {"error": said.type or "Error", "detail": said.message, "body": "", "errors": ""},
    "docker": _docker,
}


def http_status(family: str, status: int) -> int:
    """The status line of an error: Kie puts its own errors into the body of a 200."""
    return 200 if family == "kie" and (status < 500 or status in (501, 505)) else status
