"""The error table: one place that says what a failure means for the caller, the next target and the breaker."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

import msgspec


class ErrorKind(StrEnum):
    """Everything that can go wrong with a request, by meaning."""

    INVALID_REQUEST = "invalid_request"
    UNSUPPORTED = "unsupported"
    NOT_FOUND = "not_found"
    TOO_LARGE = "too_large"
    CONTENT_FILTERED = "content_filtered"
    CONTEXT_TOO_LONG = "context_too_long"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    OVER_BUDGET = "over_budget"
    OVER_LIMIT = "over_limit"
    RATE_LIMITED = "rate_limited"
    MODEL_NOT_FOUND = "model_not_found"
    CREDENTIAL_REJECTED = "credential_rejected"
    QUOTA_EXHAUSTED = "quota_exhausted"
    UNAVAILABLE = "unavailable"
    BAD_RESPONSE = "bad_response"
    TRUNCATED = "truncated"
    TIMEOUT = "timeout"
    GENERATION_FAILED = "generation_failed"
    UNKNOWN_OUTCOME = "unknown_outcome"
    CANCELLED = "cancelled"
    INTERNAL = "internal"


Fault = Literal["caller", "provider", "operator", "us"]
Continuation = Literal["never", "next_target", "other_model", "longer_context", "if_allowed", "next_credential"]


class ErrorRule(msgspec.Struct, frozen=True):
    """A row of the error table.

    `status` is what the caller gets; `then` says who may be tried next; `retry` whether the same target may be tried
    again; `counts` whether the breaker counts it.
    """

    status: int
    then: Continuation
    retry: bool
    counts: bool
    fault: Fault


ERROR_TABLE: dict[ErrorKind, ErrorRule] = {
    ErrorKind.INVALID_REQUEST: ErrorRule(400, "never", False, False, "caller"),
    ErrorKind.UNSUPPORTED: ErrorRule(400, "other_model", False, False, "caller"),
    ErrorKind.NOT_FOUND: ErrorRule(404, "never", False, False, "caller"),
    ErrorKind.TOO_LARGE: ErrorRule(413, "never", False, False, "caller"),
    ErrorKind.CONTENT_FILTERED: ErrorRule(400, "if_allowed", False, False, "caller"),
    ErrorKind.CONTEXT_TOO_LONG: ErrorRule(400, "longer_context", False, False, "caller"),
    ErrorKind.UNAUTHORIZED: ErrorRule(401, "never", False, False, "caller"),
    ErrorKind.FORBIDDEN: ErrorRule(403, "never", False, False, "caller"),
    ErrorKind.OVER_BUDGET: ErrorRule(402, "never", False, False, "caller"),
    ErrorKind.OVER_LIMIT: ErrorRule(429, "never", False, False, "caller"),
    ErrorKind.RATE_LIMITED: ErrorRule(429, "next_target", True, True, "provider"),
    ErrorKind.MODEL_NOT_FOUND: ErrorRule(404, "next_target", False, False, "operator"),
    ErrorKind.CREDENTIAL_REJECTED: ErrorRule(502, "next_credential", False, False, "operator"),
    ErrorKind.QUOTA_EXHAUSTED: ErrorRule(502, "next_credential", False, False, "operator"),
    ErrorKind.UNAVAILABLE: ErrorRule(502, "next_target", True, True, "provider"),
    ErrorKind.BAD_RESPONSE: ErrorRule(502, "next_target", True, True, "provider"),
    ErrorKind.TRUNCATED: ErrorRule(502, "next_target", True, True, "provider"),
    ErrorKind.TIMEOUT: ErrorRule(504, "next_target", False, True, "provider"),
    ErrorKind.GENERATION_FAILED: ErrorRule(502, "next_target", False, True, "provider"),
    ErrorKind.UNKNOWN_OUTCOME: ErrorRule(502, "never", False, True, "provider"),
    ErrorKind.CANCELLED: ErrorRule(499, "never", False, False, "caller"),
    ErrorKind.INTERNAL: ErrorRule(500, "never", False, False, "us"),
}


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Why one attempt failed, in our words. `detail` is the provider's raw text, redacted: for the record, never for the
    caller. `message` is shown to callers. `retry_after` is in seconds. `unsent`: the request certainly did not reach the
    provider."""

    kind: ErrorKind
    message: str
    http_status: int | None = None
    code: str | None = None
    param: str | None = None
    retry_after: float | None = None
    detail: str | None = None
    unsent: bool = False


class AttemptFailed(Exception):
    """Raised inside one attempt; the engine turns it into the attempt's outcome."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class FailedAttempt(msgspec.Struct, frozen=True):
    """What a caller may know of one failed attempt."""

    provider: str
    model: str
    kind: ErrorKind
    message: str
    http_status: int | None = None


class PolyrouteError(Exception):
    """A request that cannot be answered. Surfaces render it in the caller's dialect.

    `param` names the offending field, `attempts` what each target answered, `retry_after` is in seconds. `status` takes the
    place of the error table's.
    """

    def __init__(
        self,
        kind: ErrorKind,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: float | None = None,
        attempts: tuple[FailedAttempt, ...] = (),
        request_id: str | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.param = param
        self.code = code
        self.retry_after = retry_after
        self.attempts = attempts
        self.request_id = request_id
        self._status = status
        self.headers: tuple[tuple[bytes, bytes], ...] = ()
        """Header fields that belong to the answer, beside those that every error has."""

    @property
    def status(self) -> int:
        """The HTTP status: the error table's, unless this error has its own."""
        return self._status or ERROR_TABLE[self.kind].status
