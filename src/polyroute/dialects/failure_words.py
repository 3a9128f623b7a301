"""What providers' error codes and phrases mean, as tables: for error bodies, and for errors inside answers."""

from __future__ import annotations

import re
from collections.abc import Collection

from polyroute.types.errors import ErrorKind

# Codes are compared in lower case; a provider's code may be its `code`, `type`, `status`, `reason` or exception name.
CODES: dict[ErrorKind, frozenset[str]] = {
    ErrorKind.QUOTA_EXHAUSTED: frozenset({
        "insufficient_quota", "credit_balance_exhausted", "organization_spend_limit_exceeded", "project_spend_limit_exceeded",
        "organization_usage_limit_exceeded", "insufficient_user_quota", "enforced_spend_limit_reached",
        "contract_spend_limit_reached", "linked_organization_spend_limit_reached", "billing_error", "payment_required",
        "openrouter_credits", "openrouter_key_limit", "openrouter_guardrail_budget", "openrouter_workspace_budget",
        "openrouter_budget", "weight_exceeds_budget", "servicequotaexceededexception", "exceeded_current_quota_error",
    }),
    ErrorKind.CONTEXT_TOO_LONG: frozenset({
        "context_length_exceeded", "exceed_context_size_error", "too_many_prompt_tokens", "token_limit_exceeded",
        "context_window_exceeded", "model_context_window_exceeded",
    }),
    ErrorKind.CONTENT_FILTERED: frozenset({
        "content_policy_violation", "content_filter", "responsibleaipolicyviolation", "bio_policy",
        "misalignment_policy_violation", "moderation", "moderation_blocked", "content_filtered", "cyber_policy",
        "image_content_policy_violation",
    }),
    ErrorKind.CREDENTIAL_REJECTED: frozenset({
        "api_key_invalid", "invalid_api_key", "authentication_error", "unauthenticated", "permission_denied",
        "permission_error", "unrecognizedclientexception", "invalidsignatureexception", "expiredtokenexception",
        "accessdeniedexception", "missingauthenticationtokenexception", "account_deactivated", "failed_precondition",
        "incompletesignatureexception",
    }),
    ErrorKind.MODEL_NOT_FOUND: frozenset({
        "model_not_found", "model_decommissioned", "deploymentnotfound", "model_not_available", "invalid_model",
        "model_deprecated", "no_endpoints", "wrong_endpoint", "model_terms_required", "resourcenotfoundexception",
    }),
    ErrorKind.RATE_LIMITED: frozenset({
        "rate_limit_exceeded", "rate_limit_error", "rate_limited", "slow_down", "throttlingexception", "too_many_requests",
        "modelnotreadyexception", "capacity_exceeded", "ramp_limit_exceeded", "resource_exhausted",
        "in_flight_budget_exhausted", "openrouter_in_flight_budget",
    }),
    ErrorKind.UNAVAILABLE: frozenset({
        "overloaded_error", "server_is_overloaded", "service_unavailable_error", "unavailable", "server_error",
        "provider_unavailable", "provider_overloaded", "insufficient_system_resource", "internal_server_error",
        "capacity_exhausted", "temporarily_unavailable", "api_error", "internal", "serviceunavailableexception",
        "internalserverexception", "modelstreamerrorexception", "modelerrorexception", "unavailable_error",
        "upstream_error", "worker_error",
    }),
    ErrorKind.TIMEOUT: frozenset({"timeout_error", "deadline_exceeded", "modeltimeoutexception", "request_timeout"}),
    ErrorKind.BAD_RESPONSE: frozenset({"tool_use_failed", "json_validate_failed", "output_parse_failed"}),
    ErrorKind.UNSUPPORTED: frozenset({
        "unsupported_parameter", "unsupported_value", "not_supported_error", "unsupported_model",
        "unsupportedoperation", "unimplemented",
    }),
    ErrorKind.TOO_LARGE: frozenset({"request_too_large"}),
    ErrorKind.INVALID_REQUEST: frozenset({"validationexception"}),
}  # fmt: skip

PHRASES: dict[ErrorKind, re.Pattern[str]] = {
    ErrorKind.QUOTA_EXHAUSTED: re.compile(
        r"credit balance is too low|insufficient balance|run out of credits|insufficient credits|account balance is"
        r" insufficient|requires more credits|too many tokens per day|prepaid credits"
        r"|spend(ing)? limit (has been )?reached|reached your specified .{0,30}usage limits|limit: 0\b"
    ),
    ErrorKind.CONTEXT_TOO_LONG: re.compile(
        r"maximum context length|exceed context limit|prompt is too long|input is too long|too many tokens|exceeds the maximum"
        r" number of tokens allowed|model's maximum context limit|is longer than the model's context length|input tokens exceed"
        r" the configured limit|exceeds the available context size|exceeds the context window|`inputs` tokens \+"
        r" `max_new_tokens` must be|current length is .{0,80} while limit is|reduce the length of the messages|too large for"
        r" model with|length of all messages is too long|exceeds the (model's )?context length|maximum tokens you requested"
        r" exceeds|context length (exceeded|of the model)|exceeded model token limit"
    ),
    ErrorKind.CONTENT_FILTERED: re.compile(
        r"content management policy|safety system|violating our usage policy|content policy|flagged (by|as)|content[ _]filter"
    ),
    ErrorKind.CREDENTIAL_REJECTED: re.compile(
        r"incorrect api key|api key not valid|invalid (x-)?api[ _-]key|no api key|api key (is )?(missing|expired|invalid)"
        r"|api key was reported|missing api key|invalid token\b|unauthori[sz]ed|user location is not supported|security token"
    ),
    ErrorKind.MODEL_NOT_FOUND: re.compile(
        r"is not a valid model|model identifier is invalid|model \S+ is not supported by any|unknown model|no such model"
        r"|model\b.{0,120}\b(does not exist|not found)|has been decommissioned|on-demand throughput isn.t supported"
        r"|no endpoints found"
    ),
    ErrorKind.RATE_LIMITED: re.compile(
        r"rate.?limit|service tier capacity exceeded|too many requests|too many tokens, please wait"
    ),
    ErrorKind.UNAVAILABLE: re.compile(r"overloaded|temporarily unavailable|service unavailable|try again later|loading model"),
    ErrorKind.UNSUPPORTED: re.compile(
        r"unsupported (parameter|value)|does(n.t| not) support|not supported (with|by|for) this model|is not supported by this"
        r"|not currently supported|not supported in this model"
    ),
}  # fmt: skip
"""Searched in lower-cased text."""

# Where length is the matter of one string (an id, a user name), not of the prompt.
_NOT_CONTEXT = frozenset({"string_above_max_length", "array_above_max_length", "string_too_long"})
_POLICY_PROMPT = "invalid_prompt"
_NEVER_FITS = re.compile(r"request too large|request is too large")


def find_kind(kinds: Collection[ErrorKind], codes: Collection[str], text: str) -> ErrorKind | None:
    """The first of `kinds` that a code names, else the first that the text (lower case) speaks of."""
    for kind in kinds:
        known = CODES.get(kind)
        if known is not None and not known.isdisjoint(codes):
            return kind
    for kind in kinds:
        pattern = PHRASES.get(kind)
        if pattern is not None and pattern.search(text):
            return kind
    return None


def speaks_of_context(codes: Collection[str], text: str) -> bool:
    """Whether the prompt is too long for the model; never asked of a 429, where throttling uses the same words."""
    if not _NOT_CONTEXT.isdisjoint(codes):
        return False
    return find_kind((ErrorKind.CONTEXT_TOO_LONG,), codes, text) is not None


def speaks_of_policy(codes: Collection[str], text: str) -> bool:
    """Whether the provider's policy refuses the content."""
    if _POLICY_PROMPT in codes and "polic" in text:
        return True
    return find_kind((ErrorKind.CONTENT_FILTERED,), codes, text) is not None


def never_fits(codes: Collection[str], text: str) -> bool:
    """Whether one request alone is over the limit of tokens a minute: waiting does not help."""
    return _NEVER_FITS.search(text) is not None and ("tpm" in text or "per min" in text)


_IN_BAND = (
    ErrorKind.QUOTA_EXHAUSTED, ErrorKind.RATE_LIMITED, ErrorKind.TIMEOUT, ErrorKind.MODEL_NOT_FOUND, ErrorKind.BAD_RESPONSE,
    ErrorKind.UNSUPPORTED, ErrorKind.TOO_LARGE, ErrorKind.UNAVAILABLE, ErrorKind.CREDENTIAL_REJECTED, ErrorKind.INVALID_REQUEST,
)  # fmt: skip


def in_band_kind(codes: Collection[str], text: str) -> ErrorKind:
    """What an error inside an answer means; `unavailable` where nothing is known of it."""
    lower = {code.lower() for code in codes}
    words = text.lower()
    if ErrorKind.RATE_LIMITED is find_kind((ErrorKind.RATE_LIMITED,), lower, ""):
        return ErrorKind.RATE_LIMITED
    if speaks_of_context(lower, words):
        return ErrorKind.CONTEXT_TOO_LONG
    if speaks_of_policy(lower, words):
        return ErrorKind.CONTENT_FILTERED
    return find_kind(_IN_BAND, lower, words) or ErrorKind.UNAVAILABLE
