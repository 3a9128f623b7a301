"""Errors in the words of OpenAI's APIs, which Chat Completions and Responses share."""

from __future__ import annotations

from typing import Any

import msgspec

from polyroute.types.errors import ErrorKind, PolyrouteError

_TYPES: dict[ErrorKind, tuple[str, str | None]] = {
    ErrorKind.INVALID_REQUEST: ("invalid_request_error", None),
    ErrorKind.UNSUPPORTED: ("invalid_request_error", "unsupported_parameter"),
    ErrorKind.NOT_FOUND: ("invalid_request_error", "not_found"),
    ErrorKind.TOO_LARGE: ("invalid_request_error", "request_too_large"),
    ErrorKind.CONTENT_FILTERED: ("invalid_request_error", "content_policy_violation"),
    ErrorKind.CONTEXT_TOO_LONG: ("invalid_request_error", "context_length_exceeded"),
    ErrorKind.UNAUTHORIZED: ("invalid_request_error", "invalid_api_key"),
    ErrorKind.FORBIDDEN: ("permission_error", "forbidden"),
    ErrorKind.OVER_BUDGET: ("insufficient_quota", "over_budget"),
    ErrorKind.OVER_LIMIT: ("rate_limit_error", "rate_limit_exceeded"),
    ErrorKind.RATE_LIMITED: ("rate_limit_error", "rate_limit_exceeded"),
    ErrorKind.MODEL_NOT_FOUND: ("invalid_request_error", "model_not_found"),
    ErrorKind.TIMEOUT: ("timeout_error", "timeout"),
}


def error_object(error: PolyrouteError) -> dict[str, Any]:
    """The `error` object: type by meaning, the structured code, else our kind."""
    type_, code = _TYPES.get(error.kind, ("server_error", None))
    described: dict[str, Any] = {
        "message": error.message,
        "type": type_,
        "param": error.param,
        "code": error.code or code or error.kind.value,
    }
    if error.request_id is not None:
        described["request_id"] = error.request_id
    return described


def render_error(error: PolyrouteError) -> bytes:
    """The body of an error answer."""
    return msgspec.json.encode({"error": error_object(error)})
