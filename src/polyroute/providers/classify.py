"""The classifier of error answers: HTTP status, then the provider's structured code, then the words of its message."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

from polyroute.dialects.failure_words import find_kind, never_fits, speaks_of_context, speaks_of_policy
from polyroute.ports import Headers
from polyroute.providers.error_body import ErrorBody, read_error_body
from polyroute.providers.redaction import Redactor, cut
from polyroute.providers.retry_after import retry_after
from polyroute.types.errors import ErrorKind, Failure

_MESSAGE_LIMIT = 500
_DETAIL_LIMIT = 4000

# Statuses whose meaning no word can change, after money, context and policy were looked at.
_BY_STATUS: dict[int, ErrorKind] = {
    401: ErrorKind.CREDENTIAL_REJECTED,
    402: ErrorKind.QUOTA_EXHAUSTED,
    403: ErrorKind.CREDENTIAL_REJECTED,
    404: ErrorKind.MODEL_NOT_FOUND,
    407: ErrorKind.CREDENTIAL_REJECTED,
    408: ErrorKind.TIMEOUT,
    409: ErrorKind.UNAVAILABLE,
    410: ErrorKind.MODEL_NOT_FOUND,
    412: ErrorKind.QUOTA_EXHAUSTED,  # Fireworks: account suspended
    413: ErrorKind.TOO_LARGE,
    424: ErrorKind.UNAVAILABLE,
    425: ErrorKind.UNAVAILABLE,
    429: ErrorKind.RATE_LIMITED,
    499: ErrorKind.UNAVAILABLE,
    501: ErrorKind.UNSUPPORTED,
    504: ErrorKind.TIMEOUT,
}

# What a 400 or 422 can turn out to be, in this order.
_BAD_REQUEST_KINDS = (
    ErrorKind.CREDENTIAL_REJECTED, ErrorKind.MODEL_NOT_FOUND, ErrorKind.BAD_RESPONSE, ErrorKind.UNSUPPORTED,
)  # fmt: skip
_WAITING = frozenset({
    ErrorKind.RATE_LIMITED, ErrorKind.UNAVAILABLE, ErrorKind.QUOTA_EXHAUSTED, ErrorKind.TIMEOUT,
})  # fmt: skip
_CONTEXT_STATUSES = frozenset({400, 403, 413, 422})
_IN_FLIGHT = frozenset({"openrouter_in_flight_budget", "in_flight_budget_exhausted"})
_NO_MESSAGE: dict[ErrorKind, str] = {
    ErrorKind.CREDENTIAL_REJECTED: "the provider rejected the credential",
    ErrorKind.RATE_LIMITED: "the provider's rate limit was reached",
    ErrorKind.MODEL_NOT_FOUND: "the provider does not know the model",
    ErrorKind.QUOTA_EXHAUSTED: "the account's quota at the provider is used up",
    ErrorKind.TIMEOUT: "the provider timed out",
    ErrorKind.TOO_LARGE: "the request is too large for the provider",
}


def classify_answer(
    status: int,
    headers: Headers,
    body: bytes,
    *,
    redact: Redactor | None = None,
    clock: Callable[[], float] = time.time,
) -> Failure:
    """What an error answer means (text.md 26.1). The message keeps the provider's own words, without secrets."""
    redact = redact or Redactor()
    found = read_error_body(headers, body)
    text = found.message.lower()
    kind = _kind(status, found, text)
    wait = retry_after(headers, found.retry_delay, found.message, clock) if kind in _WAITING else None
    message = cut(redact(found.message), _MESSAGE_LIMIT)
    return Failure(
        kind=kind,
        message=message or _NO_MESSAGE.get(kind) or f"the provider answered with status {status}",
        http_status=status,
        code=None if found.code is None else redact(found.code),
        param=None if found.param is None else redact(found.param),
        retry_after=wait,
        detail=cut(redact(body[: _DETAIL_LIMIT * 2].decode("utf-8", "replace")), _DETAIL_LIMIT) if body else None,
    )


def _kind(status: int, found: ErrorBody, text: str) -> ErrorKind:
    if status >= 500 and status not in _BY_STATUS:
        return ErrorKind.UNAVAILABLE
    if status < 400:
        return ErrorKind.BAD_RESPONSE
    codes = found.codes
    if found.retryable and status in {404, 429}:
        return ErrorKind.UNAVAILABLE if status == 404 else ErrorKind.RATE_LIMITED
    if status == 402 and not codes.isdisjoint(_IN_FLIGHT) and "weight_exceeds_budget" not in codes:
        return ErrorKind.RATE_LIMITED
    if status in {429, 498}:
        return _limited(status, found, text)
    if status < 500 and find_kind((ErrorKind.QUOTA_EXHAUSTED,), codes, text):
        return ErrorKind.QUOTA_EXHAUSTED
    if status in _CONTEXT_STATUSES and (speaks_of_context(codes, text) or never_fits(codes, text)):
        return ErrorKind.CONTEXT_TOO_LONG
    if status in {400, 403, 422, 451} and speaks_of_policy(codes, text):
        return ErrorKind.CONTENT_FILTERED
    return _BY_STATUS.get(status) or _bad_request(codes, text)


def _limited(status: int, found: ErrorBody, text: str) -> ErrorKind:
    """429, and 498 which Groq uses for capacity and Cohere for a blocked token."""
    codes = found.codes
    if find_kind((ErrorKind.QUOTA_EXHAUSTED,), codes, text) or found.per_day:
        return ErrorKind.QUOTA_EXHAUSTED
    if never_fits(codes, text):
        return ErrorKind.CONTEXT_TOO_LONG
    if status == 498 and not find_kind((ErrorKind.RATE_LIMITED,), codes, text) and "capacity" not in text:
        return ErrorKind.CREDENTIAL_REJECTED
    return ErrorKind.RATE_LIMITED


def _bad_request(codes: Collection[str], text: str) -> ErrorKind:
    """The rest of 4xx: some of it is the operator's or the model's matter, not the caller's."""
    return find_kind(_BAD_REQUEST_KINDS, codes, text) or ErrorKind.INVALID_REQUEST
