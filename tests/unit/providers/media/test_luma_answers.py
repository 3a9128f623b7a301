"""What Luma says of failures and refusals, in the words of the error table."""

from __future__ import annotations

import json

import pytest

from polyroute.providers.media.luma_answers import ended_badly, laid_over, read_refusal
from polyroute.types.errors import ErrorKind


@pytest.mark.parametrize(
    ("code", "kind", "param"),
    [
        ("content_moderated", ErrorKind.CONTENT_FILTERED, None),
        ("generation_failed", ErrorKind.GENERATION_FAILED, None),
        ("output_not_found", ErrorKind.GENERATION_FAILED, None),
        ("budget_exhausted", ErrorKind.QUOTA_EXHAUSTED, None),
        ("rate_limited", ErrorKind.RATE_LIMITED, None),
        ("invalid_request", ErrorKind.INVALID_REQUEST, None),
        ("corrupt_input", ErrorKind.INVALID_REQUEST, "image"),
        ("unsupported_format", ErrorKind.INVALID_REQUEST, "image"),
        ("image_too_large", ErrorKind.INVALID_REQUEST, "image"),
    ],
)
def test_each_failure_code_has_its_meaning(code: str, kind: ErrorKind, param: str | None) -> None:
    failure = ended_badly(code, "because", "image").failure
    assert (failure.kind, failure.code, failure.param, failure.detail) == (kind, code, param, "because")


def test_refusals_of_fastapi_are_read_too() -> None:
    body = {"detail": [{"loc": ["body", "video", "resolution"], "msg": "not one of these", "type": "value_error"}]}
    failure = read_refusal("luma", 422, json.dumps(body).encode())
    assert failure is not None
    assert (failure.kind, failure.param) == (ErrorKind.INVALID_REQUEST, "resolution")
    assert read_refusal("luma", 500, b"oops") is None
    assert read_refusal("luma", 404, b"{}") is None


def test_options_lie_over_a_body_object_by_object() -> None:
    assert laid_over({"a": {"b": 1, "e": 4}}, {"a": {"b": 2}, "c": {"d": 3}}) == {"a": {"b": 2, "e": 4}, "c": {"d": 3}}
    assert laid_over({"a": {"b": 1}}, {"a": 2}) == {"a": 2}
