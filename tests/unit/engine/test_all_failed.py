"""One error out of many: which kind, which wait, which words."""

from __future__ import annotations

import pytest

from polyroute.engine.failures import all_failed
from polyroute.types.errors import ErrorKind, FailedAttempt, Failure


def failures(*kinds: ErrorKind, waits: tuple[float | None, ...] = ()) -> list[tuple[FailedAttempt, Failure]]:
    """One failed attempt for each kind, at providers p1, p2, …"""
    found = []
    for number, kind in enumerate(kinds, 1):
        wait = waits[number - 1] if waits else None
        failure = Failure(kind=kind, message=f"because {number}", retry_after=wait, code=f"code_{number}")
        found.append((FailedAttempt(f"p{number}", "m", kind, failure.message), failure))
    return found


K = ErrorKind


@pytest.mark.parametrize(
    ("kinds", "status"),
    [
        ((K.UNAVAILABLE,), 502),
        ((K.TIMEOUT, K.TIMEOUT), 504),
        ((K.TIMEOUT, K.UNAVAILABLE), 502),
        ((K.RATE_LIMITED, K.RATE_LIMITED), 429),
        ((K.RATE_LIMITED, K.QUOTA_EXHAUSTED), 429),
        ((K.RATE_LIMITED, K.UNAVAILABLE), 502),
        ((K.CREDENTIAL_REJECTED, K.CREDENTIAL_REJECTED), 502),
        ((K.UNAVAILABLE, K.INVALID_REQUEST), 400),
        ((K.UNAVAILABLE, K.CONTEXT_TOO_LONG), 400),
        ((K.MODEL_NOT_FOUND, K.MODEL_NOT_FOUND), 404),
    ],
)
def test_the_status_that_the_caller_gets(kinds: tuple[ErrorKind, ...], status: int) -> None:
    assert all_failed(failures(*kinds), "req_1").status == status


def test_every_target_is_named_with_its_reason_once() -> None:
    error = all_failed(failures(K.UNAVAILABLE, K.TIMEOUT), "req_1")
    assert "p1/m: because 1" in error.message
    assert "p2/m: because 2" in error.message
    assert [attempt.provider for attempt in error.attempts] == ["p1", "p2"]
    same = all_failed([*failures(K.UNAVAILABLE), *failures(K.UNAVAILABLE)], "req_1")
    assert same.message == "p1/m: because 1"


def test_the_shortest_wait_is_told() -> None:
    assert all_failed(failures(K.RATE_LIMITED, K.RATE_LIMITED, waits=(30.0, 7.0)), "r").retry_after == 7.0
    assert all_failed(failures(K.UNAVAILABLE, K.UNAVAILABLE), "r").retry_after is None
