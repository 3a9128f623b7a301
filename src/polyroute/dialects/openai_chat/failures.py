"""What an error inside an OpenAI-like answer means: by its structured codes, then by its words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from polyroute.types.errors import AttemptFailed, ErrorKind, Failure

_DETAIL_LIMIT = 4000
_MESSAGE_LIMIT = 600
_SECRET = re.compile(r"(?i)\b(?:bearer\s+|(?:sk|pk|rk|gsk|xai|key|pplx|r8|hf|fw|csk|nvapi|tgp)[-_]|AIza)[\w*.\-]{6,}")

_MEANING: dict[ErrorKind, tuple[str, ...]] = {
    ErrorKind.QUOTA_EXHAUSTED: (
        "402", "insufficient_quota", "credit_balance_exhausted", "organization_spend_limit_exceeded", "payment_required",
        "project_spend_limit_exceeded", "organization_usage_limit_exceeded", "insufficient_user_quota", "billing_error",
        "enforced_spend_limit_reached", "contract_spend_limit_reached", "linked_organization_spend_limit_reached",
    ),
    ErrorKind.CONTEXT_TOO_LONG: ("context_length_exceeded", "exceed_context_size_error", "token_limit_exceeded"),
    ErrorKind.CONTENT_FILTERED: (
        "content_policy_violation", "content_filter", "responsibleaipolicyviolation", "invalid_prompt", "bio_policy",
        "misalignment_policy_violation", "moderation", "image_content_policy_violation", "refusal",
    ),
    ErrorKind.CREDENTIAL_REJECTED: (
        "401", "403", "invalid_api_key", "authentication", "authentication_error", "permission_error", "api_key_invalid",
    ),
    ErrorKind.RATE_LIMITED: (
        "429", "498", "rate_limit_exceeded", "rate_limit_error", "slow_down", "resource_exhausted", "too_many_requests",
        "capacity_exceeded", "rate_limit",
    ),
    ErrorKind.MODEL_NOT_FOUND: ("404", "model_not_found", "not_found_error", "model_decommissioned"),
    ErrorKind.TIMEOUT: ("408", "504", "524", "timeout", "timeout_error", "deadline_exceeded"),
    ErrorKind.UNAVAILABLE: (
        "500", "502", "503", "520", "521", "522", "523", "529", "server_error", "server_is_overloaded", "api_error",
        "overloaded_error", "overloaded", "service_unavailable_error", "provider_unavailable", "internal_server_error",
        "insufficient_system_resource", "unavailable", "internal",
    ),
    ErrorKind.BAD_RESPONSE: ("tool_use_failed", "json_validate_failed"),  # Groq: the model wrote nonsense
    ErrorKind.INVALID_REQUEST: (
        "400", "405", "413", "415", "422", "invalid_request_error", "invalid_request", "invalid_argument",
    ),
}  # fmt: skip
_KIND_OF_CODE = {code: kind for kind, codes in _MEANING.items() for code in codes}
_SPECIFIC = {code for kind in (*list(_MEANING)[:3], ErrorKind.BAD_RESPONSE) for code in _MEANING[kind]}

_WORDS: tuple[tuple[ErrorKind, re.Pattern[str]], ...] = (
    (
        ErrorKind.QUOTA_EXHAUSTED,
        re.compile(
            r"credit balance is too low|insufficient balance|(?:run )?out of credits|insufficient credits"
            r"|account balance is insufficient|requires more credits|exceeded your current quota"
        ),
    ),
    (
        ErrorKind.CONTEXT_TOO_LONG,
        re.compile(
            r"maximum context length|exceed context limit|prompt is too long|input is too long|exceeds the maximum number of"
            r" tokens allowed|model's maximum context limit|is longer than the model's context length|input tokens exceed the"
            r" configured limit|exceeds the available context size|exceeds the context window|`inputs` tokens \+"
            r"|reduce the length of the messages|too large for model with|request too large for"
        ),
    ),
    (ErrorKind.CONTENT_FILTERED, re.compile(r"content management policy|safety system|violating our usage policy")),
    (ErrorKind.CREDENTIAL_REJECTED, re.compile(r"incorrect api key|invalid api key|invalid token:")),
    (ErrorKind.RATE_LIMITED, re.compile(r"rate.?limit|too many requests|service tier capacity exceeded")),
    (ErrorKind.UNAVAILABLE, re.compile(r"overloaded|temporarily unavailable|try again later")),
)


def redact(text: str) -> str:
    """A provider's words without what looks like a credential."""
    return _SECRET.sub("[redacted]", text)


def kind_of(codes: Iterator[str] | list[str], message: str) -> ErrorKind:
    """The meaning of an error by its structured codes, the most specific first, then by its words."""
    known = [(code, _KIND_OF_CODE[code]) for raw in codes if (code := raw.lower()) in _KIND_OF_CODE]
    for code, kind in known:
        if code in _SPECIFIC:
            return kind
    words = message.lower()
    limited = any(kind is ErrorKind.RATE_LIMITED for _, kind in known)
    for kind, pattern in _WORDS:
        if pattern.search(words) and not (limited and kind is ErrorKind.CONTEXT_TOO_LONG and "too large" not in words):
            return kind
    return known[0][1] if known else ErrorKind.UNAVAILABLE


def failed_inside(error: Any, raw: bytes) -> AttemptFailed:
    """The failure that an in-band `error` (object or text) tells. `raw` is what carried it."""
    message, code, param = describe_error(error)
    kind = kind_of(_codes(error), message)
    return AttemptFailed(
        Failure(
            kind=kind,
            message=redact(message)[:_MESSAGE_LIMIT],
            code=code,
            param=param,
            detail=redact(raw[:_DETAIL_LIMIT].decode("utf-8", "replace")),
        )
    )


def failed(kind: ErrorKind, message: str, raw: bytes = b"") -> AttemptFailed:
    """A failure in our own words."""
    detail = redact(raw[:_DETAIL_LIMIT].decode("utf-8", "replace")) if raw else None
    return AttemptFailed(Failure(kind=kind, message=message, detail=detail))


def describe_error(error: Any) -> tuple[str, str | None, str | None]:
    """Message, code and parameter of an error object in any of the shapes that providers give it."""
    if isinstance(error, str):
        return error or "the provider reported an error", None, None
    if not isinstance(error, dict):
        return "the provider reported an error", None, None
    message = error.get("message") or error.get("error") or error.get("detail") or error.get("type")
    if not isinstance(message, str):
        message = "the provider reported an error" if message is None else _compact(message)
    code = next(iter(_codes(error)), None)
    param = error.get("param")
    return message, code, param if isinstance(param, str) and param else None


def _codes(error: Any) -> Iterator[str]:
    if not isinstance(error, dict):
        return
    inner = error.get("innererror")
    for record, names in ((inner, ("code",)), (error.get("metadata"), ("error_type", "provider_code"))):
        if isinstance(record, dict):
            yield from (str(record[name]) for name in names if _is_code(record.get(name)))
    yield from (str(error[name]) for name in ("code", "type", "status") if _is_code(error.get(name)))


def _is_code(value: Any) -> bool:
    return (isinstance(value, str) and bool(value)) or (isinstance(value, int) and not isinstance(value, bool))


def _compact(value: Any) -> str:
    return msgspec.json.encode(value).decode()
