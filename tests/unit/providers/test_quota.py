"""What rate-limit headers say, in the forms in which providers say it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyroute.providers.quota import read_quota
from polyroute.types.limits import Quota

NOW = 1_700_000_000.0


def quota(**fields: str) -> Quota | None:
    headers = [(name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()]
    return read_quota(headers, lambda: NOW)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"content_type": "text/plain", "x_ratelimit_limit_requests": "60"}, None),
        (
            {
                "x_ratelimit_remaining_requests": "59", "x_ratelimit_reset_requests": "1s",
                "x_ratelimit_remaining_tokens": "149984", "x_ratelimit_reset_tokens": "6m0s",
            },
            Quota(requests_left=59, requests_reset=1.0, tokens_left=149984, tokens_reset=360.0),
        ),
        (
            {
                "anthropic_ratelimit_requests_remaining": "0",
                "anthropic_ratelimit_requests_reset": "2023-11-14T22:13:50Z",
            },
            Quota(requests_left=0, requests_reset=30.0),
        ),
        (
            {"x_ratelimit_remaining": "3", "x_ratelimit_reset": "1700000012000"},
            Quota(requests_left=3, requests_reset=12.0),
        ),
        ({"x_ratelimit_remaining_requests": "many", "x_ratelimit_remaining_tokens": "5"}, Quota(tokens_left=5)),
        (
            {"x_ratelimit_remaining_requests": "5", "x_ratelimit_reset_requests": "2000-01-01T00:00:00Z"},
            Quota(requests_left=5, requests_reset=0.0),
        ),
    ],
)  # fmt: skip
def test_the_forms_of_providers_are_read(headers: dict[str, str], expected: Quota | None) -> None:
    assert quota(**headers) == expected


@given(st.text(max_size=30), st.text(max_size=30))
def test_nonsense_is_left_out(left: str, reset: str) -> None:
    found = read_quota(
        [(b"x-ratelimit-remaining-requests", left.encode("utf-8", "replace")),
         (b"x-ratelimit-reset-requests", reset.encode("utf-8", "replace"))],
        lambda: NOW,
    )  # fmt: skip
    assert found is None or (found.requests_left is not None and found.requests_left >= 0)
