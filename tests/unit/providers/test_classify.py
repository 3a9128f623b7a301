"""What error answers of real providers mean, and how long they ask us to wait."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyroute.providers.classify import classify_answer
from polyroute.providers.redaction import Redactor
from polyroute.types.errors import ERROR_TABLE, ErrorKind, Failure
from support.recordings import Recording, parametrize

NOW = 1_790_000_000.0


def classify(status: int, body: Any, headers: dict[str, str] | None = None, **options: Any) -> Failure:
    encoded = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    fields = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    return classify_answer(status, fields, encoded, clock=lambda: NOW, **options)


def openai(message: str, code: str | None = None, kind: str = "invalid_request_error") -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "code": code, "param": None}}


KINDS: list[tuple[str, int, Any, ErrorKind]] = [
    (
        "openai context",
        400,
        openai("maximum context length is 5", "context_length_exceeded"),
        ErrorKind.CONTEXT_TOO_LONG,
    ),
    ("openai policy", 400, openai("no", "content_policy_violation"), ErrorKind.CONTENT_FILTERED),
    (
        "openai invalid prompt",
        400,
        openai("Invalid prompt: violating our usage policy", "invalid_prompt"),
        ErrorKind.CONTENT_FILTERED,
    ),
    (
        "openai long id",
        400,
        openai("string too long. maximum context length", "string_above_max_length"),
        ErrorKind.INVALID_REQUEST,
    ),
    ("openai parameter", 400, openai("Unsupported parameter", "unsupported_parameter"), ErrorKind.UNSUPPORTED),
    ("openai model", 404, openai("The model does not exist", "model_not_found"), ErrorKind.MODEL_NOT_FOUND),
    ("openai rate", 429, openai("Rate limit reached for requests", "rate_limit_exceeded"), ErrorKind.RATE_LIMITED),
    ("openai money", 429, openai("quota", "insufficient_quota", "insufficient_quota"), ErrorKind.QUOTA_EXHAUSTED),
    (
        "openai never fits",
        429,
        openai("Request too large for gpt-4o on tokens per min (TPM)", "rate_limit_exceeded"),
        ErrorKind.CONTEXT_TOO_LONG,
    ),
    (
        "anthropic money in a 400",
        400,
        {
            "type": "error",
            "error": {
                "type": "invalid_request_error",
                "message": "Your credit balance is too low to access the Anthropic API.",
            },
        },
        ErrorKind.QUOTA_EXHAUSTED,
    ),
    (
        "anthropic spend",
        429,
        {
            "error": {
                "type": "rate_limit_error",
                "message": "no",
                "details": {"error_code": "enforced_spend_limit_reached"},
            }
        },
        ErrorKind.QUOTA_EXHAUSTED,
    ),
    (
        "anthropic ramp",
        429,
        {"error": {"type": "rate_limit_error", "message": "no", "details": {"error_code": "ramp_limit_exceeded"}}},
        ErrorKind.RATE_LIMITED,
    ),
    (
        "anthropic large",
        413,
        {"error": {"type": "request_too_large", "message": "Request exceeds the maximum size"}},
        ErrorKind.TOO_LARGE,
    ),
    (
        "anthropic overloaded",
        529,
        {"error": {"type": "overloaded_error", "message": "Overloaded"}},
        ErrorKind.UNAVAILABLE,
    ),
    (
        "gemini key",
        400,
        {
            "error": {
                "code": 400,
                "message": "API key not valid. Please pass a valid API key.",
                "status": "INVALID_ARGUMENT",
                "details": [{"reason": "API_KEY_INVALID"}],
            }
        },
        ErrorKind.CREDENTIAL_REJECTED,
    ),
    (
        "gemini place",
        400,
        {"error": {"message": "User location is not supported for the API use.", "status": "FAILED_PRECONDITION"}},
        ErrorKind.CREDENTIAL_REJECTED,
    ),
    (
        "gemini credit",
        402,
        {"error": {"message": "Prepaid credit used up", "status": "RESOURCE_EXHAUSTED"}},
        ErrorKind.QUOTA_EXHAUSTED,
    ),
    (
        "gemini list",
        400,
        [
            {
                "error": {
                    "code": 400,
                    "message": "The input token count (9) exceeds the maximum number of tokens allowed (5).",
                }
            }
        ],
        ErrorKind.CONTEXT_TOO_LONG,
    ),
    (
        "gemini day",
        429,
        {
            "error": {
                "message": "Quota",
                "status": "RESOURCE_EXHAUSTED",
                "details": [{"violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]}],
            }
        },
        ErrorKind.QUOTA_EXHAUSTED,
    ),
    (
        "gemini nothing",
        429,
        {"error": {"message": "Quota exceeded for metric: x, limit: 0", "status": "RESOURCE_EXHAUSTED"}},
        ErrorKind.QUOTA_EXHAUSTED,
    ),
    (
        "azure filter",
        400,
        {
            "error": {
                "code": "content_filter",
                "message": "The response was filtered",
                "innererror": {"code": "ResponsibleAIPolicyViolation"},
            }
        },
        ErrorKind.CONTENT_FILTERED,
    ),
    ("azure deployment", 404, {"error": {"code": "DeploymentNotFound", "message": "no"}}, ErrorKind.MODEL_NOT_FOUND),
    (
        "openrouter credits",
        402,
        {"error": {"code": 402, "message": "This request requires more credits, or fewer max_tokens."}},
        ErrorKind.QUOTA_EXHAUSTED,
    ),
    (
        "openrouter in flight",
        402,
        {"error": {"code": 402, "message": "busy", "metadata": {"limit_source": "openrouter_in_flight_budget"}}},
        ErrorKind.RATE_LIMITED,
    ),
    (
        "openrouter moderation",
        403,
        {"error": {"code": 403, "message": "flagged", "metadata": {"reasons": ["violence"], "flagged_input": "…"}}},
        ErrorKind.CONTENT_FILTERED,
    ),
    (
        "openrouter key budget",
        403,
        {"error": {"code": 403, "message": "limit", "metadata": {"limit_source": "openrouter_workspace_budget"}}},
        ErrorKind.QUOTA_EXHAUSTED,
    ),
    (
        "openrouter capacity",
        404,
        {
            "error": {
                "code": 404,
                "message": "No endpoints",
                "availability": {"code": "capacity_exhausted", "retryable": True, "retry_after": 9},
            }
        },
        ErrorKind.UNAVAILABLE,
    ),
    (
        "groq tokens a minute",
        413,
        openai("Request too large for model x: tokens per minute (TPM)", "rate_limit_exceeded"),
        ErrorKind.CONTEXT_TOO_LONG,
    ),
    ("groq flex", 498, openai("capacity", "capacity_exceeded"), ErrorKind.RATE_LIMITED),
    ("groq gone", 400, openai("The model has been decommissioned", "model_decommissioned"), ErrorKind.MODEL_NOT_FOUND),
    ("cohere blocked", 498, {"message": "invalid token"}, ErrorKind.CREDENTIAL_REJECTED),
    ("cohere long", 400, {"message": "too many tokens: size limit exceeded"}, ErrorKind.CONTEXT_TOO_LONG),
    (
        "mistral id",
        400,
        {"object": "error", "message": "Tool call id was call_x but must be a-z", "code": "3280"},
        ErrorKind.INVALID_REQUEST,
    ),
    (
        "mistral detail",
        422,
        {"detail": [{"loc": ["body", "messages"], "msg": "Field required", "type": "missing"}]},
        ErrorKind.INVALID_REQUEST,
    ),
    (
        "mistral large",
        400,
        {"message": "Prompt contains 9 tokens, too large for model with 5 maximum context length"},
        ErrorKind.CONTEXT_TOO_LONG,
    ),
    ("deepseek money", 402, openai("Insufficient Balance"), ErrorKind.QUOTA_EXHAUSTED),
    (
        "xai key",
        400,
        {"code": "invalid-argument", "error": "Incorrect API key provided: xa***. "},
        ErrorKind.CREDENTIAL_REJECTED,
    ),
    (
        "xai model",
        404,
        {"code": "Some requested entity was not found", "error": "The model grok-x does not exist"},
        ErrorKind.MODEL_NOT_FOUND,
    ),
    (
        "aimlapi credits",
        403,
        {"message": "You've run out of credits. Please top up.", "statusCode": 403},
        ErrorKind.QUOTA_EXHAUSTED,
    ),
    (
        "aihubmix quota",
        403,
        {
            "error": {
                "message": "Your account balance is insufficient. (tid: 1)",
                "type": "Aihubmix_api_error",
                "code": "insufficient_user_quota",
            }
        },
        ErrorKind.QUOTA_EXHAUSTED,
    ),
    ("together context", 403, openai("`inputs` tokens + `max_new_tokens` must be <= 8193"), ErrorKind.CONTEXT_TOO_LONG),
    ("fireworks suspended", 412, {"error": "Account suspended"}, ErrorKind.QUOTA_EXHAUSTED),
    (
        "bedrock throttled",
        429,
        {"message": "Too many tokens, please wait before trying again."},
        ErrorKind.RATE_LIMITED,
    ),
    (
        "bedrock day",
        429,
        {"message": "Too many tokens per day, please wait before trying again."},
        ErrorKind.QUOTA_EXHAUSTED,
    ),
    ("bedrock long", 400, {"message": "Input is too long for requested model."}, ErrorKind.CONTEXT_TOO_LONG),
    ("bedrock id", 400, {"message": "The provided model identifier is invalid."}, ErrorKind.MODEL_NOT_FOUND),
    ("bedrock model failed", 424, {"message": "model error"}, ErrorKind.UNAVAILABLE),
    ("bedrock model slow", 408, {"message": "timed out"}, ErrorKind.TIMEOUT),
    ("ollama thinking", 400, {"error": '"qwen" does not support thinking'}, ErrorKind.UNSUPPORTED),
    ("ollama model", 404, {"error": "model 'x' not found"}, ErrorKind.MODEL_NOT_FOUND),
    (
        "vllm flat",
        400,
        {"object": "error", "message": "This model's maximum context length is 5 tokens.", "code": 400},
        ErrorKind.CONTEXT_TOO_LONG,
    ),
    ("vllm key", 401, {"error": "Unauthorized"}, ErrorKind.CREDENTIAL_REJECTED),
    (
        "llama.cpp context",
        400,
        {"error": {"code": 400, "message": "no", "type": "exceed_context_size_error"}},
        ErrorKind.CONTEXT_TOO_LONG,
    ),
    (
        "llama.cpp loading",
        503,
        {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}},
        ErrorKind.UNAVAILABLE,
    ),
    ("edge html", 502, "<html><head><title>502 Bad Gateway</title></head></html>", ErrorKind.UNAVAILABLE),
    ("edge timeout", 524, "", ErrorKind.UNAVAILABLE),
    ("gateway timeout", 504, "", ErrorKind.TIMEOUT),
    ("conflict", 409, "", ErrorKind.UNAVAILABLE),
    ("redirect", 301, "", ErrorKind.BAD_RESPONSE),
]


@pytest.mark.parametrize(("status", "body", "kind"), [pytest.param(*case[1:], id=case[0]) for case in KINDS])
def test_kinds(status: int, body: Any, kind: ErrorKind) -> None:
    failure = classify(status, body)
    assert failure.kind is kind
    assert failure.message
    assert failure.http_status == status


def test_the_fields_at_fault_are_named() -> None:
    body = {
        "error": {"message": "no", "type": "invalid_request_error", "param": "temperature", "code": "unsupported_value"}
    }
    failure = classify(400, body)
    assert (failure.param, failure.code) == ("temperature", "unsupported_value")
    assert classify(422, {"detail": [{"loc": ["body", "n"], "msg": "too big"}]}).param == "body.n"


def test_the_message_is_the_providers_own() -> None:
    raw = json.dumps({"error": {"message": "Invalid schema for response_format"}})
    body = {"error": {"message": "Provider returned error", "code": 400, "metadata": {"raw": raw}}}
    assert classify(400, body).message == "Provider returned error: Invalid schema for response_format"
    page = "<html><head><title>Not &amp; here</title><style>x{}</style></head><body>long</body></html>"
    assert classify(502, page).message == "Not & here"


def test_without_a_message_ours_says_what_happened() -> None:
    assert classify(401, "").message == "the provider rejected the credential"
    assert classify(418, "").message == "the provider answered with status 418"


def test_long_bodies_are_cut() -> None:
    failure = classify(400, openai("word " * 5000))
    assert len(failure.message) <= 500
    assert failure.detail is not None
    assert len(failure.detail) <= 4000


class TestSecrets:
    @pytest.mark.parametrize(
        "secret",
        [
            "sk-proj-abcdefghijklmnop", "gsk_abcdefghijklmnop1234", "AIzaSyA1234567890abcdefghijklmnopqrstu",
            "AKIAIOSFODNN7EXAMPLE", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.sig", "xai-abcdefghijklmnop",
            "hf_abcdefghijklmnop", "r8_abcdefghijklmnop", "a1" * 24,
        ],
    )  # fmt: skip
    def test_what_looks_like_a_key_is_removed(self, secret: str) -> None:
        failure = classify(401, openai(f"Incorrect API key provided: {secret}. See the docs."))
        assert secret not in failure.message
        assert secret not in (failure.detail or "")
        assert failure.message.startswith("Incorrect API key provided:")
        assert failure.message.endswith("See the docs.")

    def test_our_own_credential_is_removed_in_all_its_parts(self) -> None:
        redact = Redactor(("AKIDX:very secret part:token-part",))
        failure = classify(403, {"message": "bad 'very secret part' and token-part"}, redact=redact)
        assert "very secret part" not in failure.message
        assert "token-part" not in failure.message

    def test_bearer_tokens_and_query_keys_are_removed(self) -> None:
        failure = classify(400, {"message": "sent Bearer abc.def-123 to https://h/v1?key=topsecret&x=1"})
        assert "abc.def-123" not in failure.message
        assert "topsecret" not in failure.message

    def test_ordinary_words_stay(self) -> None:
        text = (
            "claude-sonnet-4-5-20250929 in organization 0137b15c-16bf-490d-9f90-8cfd7e325ec0: 450,000 tokens per minute"
        )
        assert classify(429, openai(text)).message == text


class TestWaiting:
    @pytest.mark.parametrize(
        ("headers", "seconds"),
        [
            ({"retry-after": "47"}, 47.0),
            ({"retry-after": "1.5"}, 1.5),
            ({"retry-after": "0"}, 0.0),
            ({"retry-after": "-1"}, None),
            ({"retry-after": "soon"}, None),
            ({"retry-after": "nan"}, None),
            ({"retry-after-ms": "2500", "retry-after": "47"}, 2.5),
            ({"retry-after": "999999999"}, 86_400.0),
            ({"retry-after": "Fri, 20 Nov 2026 10:00:30 GMT", "date": "Fri, 20 Nov 2026 10:00:00 GMT"}, 30.0),
            ({"retry-after": "Mon, 21 Sep 2026 14:13:30 GMT"}, 10.0),
            ({"x-ratelimit-reset-requests": "1m30s", "x-ratelimit-remaining-requests": "0"}, 90.0),
            ({"x-ratelimit-reset-tokens": "12ms", "x-ratelimit-remaining-tokens": "0"}, 0.012),
            ({"x-ratelimit-reset-requests": "2m59.56s"}, 179.56),
            ({"x-ratelimit-reset-requests": "9", "x-ratelimit-remaining-requests": "5"}, None),
            ({"x-ratelimit-reset-requests": "-1", "x-ratelimit-remaining-requests": "0"}, None),
            ({"x-ratelimit-reset": str(int(NOW + 20) * 1000)}, 20.0),
            ({"anthropic-ratelimit-tokens-reset": "2026-09-21T14:13:40Z", "anthropic-ratelimit-tokens-remaining": "0"}, 20.0),
            ({}, None),
        ],
    )  # fmt: skip
    def test_headers(self, headers: dict[str, str], seconds: float | None) -> None:
        found = classify(429, openai("Rate limit reached"), headers).retry_after
        assert found == (None if seconds is None else pytest.approx(seconds))

    @pytest.mark.parametrize(
        ("message", "seconds"),
        [
            ("Please retry in 37.2s.", 37.2),
            ("Please try again in 2m59.56s. Visit us.", 179.56),
            ("Please retry after 6 seconds.", 6.0),
            ("Please try again in 20ms.", 0.02),
            ("Retry the request.", None),
        ],
    )
    def test_messages(self, message: str, seconds: float | None) -> None:
        found = classify(429, openai(message)).retry_after
        assert found == (None if seconds is None else pytest.approx(seconds))

    def test_gemini_says_it_in_the_details(self) -> None:
        body = {"error": {"message": "Quota", "status": "RESOURCE_EXHAUSTED", "details": [{"retryDelay": "37.5s"}]}}
        assert classify(429, body).retry_after == 37.5

    def test_a_bad_request_has_nothing_to_wait_for(self) -> None:
        assert classify(400, openai("no"), {"retry-after": "5"}).retry_after is None


@given(
    status=st.integers(300, 599),
    body=st.binary(max_size=80) | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
            st.sampled_from(["error", "message", "code", "details", "metadata", "raw", "param", "availability", "detail"]),
            inner, max_size=4),
        max_leaves=12,
    ).map(lambda value: json.dumps(value).encode()),
    header=st.tuples(st.sampled_from([b"retry-after", b"x-ratelimit-reset", b"x-amzn-errortype"]), st.binary(max_size=12)),
)  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_no_error_body_breaks_the_classifier(status: int, body: bytes, header: tuple[bytes, bytes]) -> None:
    failure = classify_answer(status, [header], body, clock=lambda: NOW)
    assert failure.message
    assert failure.retry_after is None or 0 <= failure.retry_after <= 86_400


def _by_recording(recording: Recording) -> None:
    failure = classify_answer(recording.status, [], recording.body, clock=lambda: NOW)
    status = ERROR_TABLE[failure.kind].status
    text = recording.body.decode().lower()
    if recording.status in (401, 403):
        assert failure.kind is ErrorKind.CREDENTIAL_REJECTED
    elif recording.status == 404:
        assert failure.kind is ErrorKind.MODEL_NOT_FOUND
    elif recording.status == 429:
        assert failure.kind in (ErrorKind.RATE_LIMITED, ErrorKind.QUOTA_EXHAUSTED)
    elif recording.status >= 500:
        assert status in (502, 504)
    elif re.search(r"api[ _]key", text):
        assert failure.kind is ErrorKind.CREDENTIAL_REJECTED
    else:
        assert status in (400, 404, 413, 422, 502, 504)


@parametrize("openai_chat", ok=False)
def test_recorded_chat_errors(recording: Recording) -> None:
    _by_recording(recording)


@parametrize("openai_responses", ok=False)
def test_recorded_responses_errors(recording: Recording) -> None:
    _by_recording(recording)


@parametrize("anthropic_messages", ok=False)
def test_recorded_messages_errors(recording: Recording) -> None:
    _by_recording(recording)


@parametrize("gemini", ok=False)
def test_recorded_gemini_errors(recording: Recording) -> None:
    _by_recording(recording)


@parametrize("bedrock_converse", ok=False)
def test_recorded_bedrock_errors(recording: Recording) -> None:
    _by_recording(recording)


@parametrize("cohere_v2", ok=False)
def test_recorded_cohere_errors(recording: Recording) -> None:
    _by_recording(recording)
