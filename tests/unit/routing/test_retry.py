"""What happens after a failure."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyroute.routing.retry import (
    NextCredential,
    NextTarget,
    RetryBudget,
    RetryPolicy,
    SameTarget,
    Step,
    Stop,
    Tried,
    backoff,
    next_step,
)
from polyroute.types.errors import ERROR_TABLE, ErrorKind, Failure


def step(
    kind: ErrorKind,
    *,
    on_target: int = 1,
    targets_left: int = 1,
    credentials_left: int = 0,
    retry_after: float | None = None,
    now: float = 0.0,
    policy: RetryPolicy | None = None,
    budget: RetryBudget | None = None,
) -> Step:
    return next_step(
        ERROR_TABLE[kind],
        Failure(kind=kind, message="no", retry_after=retry_after),
        Tried(on_target=on_target, targets_left=targets_left, credentials_left=credentials_left),
        policy or RetryPolicy(),
        now=now,
        deadline=60.0,
        random=0.5,
        budget=budget,
    )


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (ErrorKind.INVALID_REQUEST, Stop),
        (ErrorKind.CANCELLED, Stop),
        (ErrorKind.CONTENT_FILTERED, Stop),
        (ErrorKind.UNSUPPORTED, NextTarget),
        (ErrorKind.CONTEXT_TOO_LONG, NextTarget),
        (ErrorKind.MODEL_NOT_FOUND, NextTarget),
        (ErrorKind.CREDENTIAL_REJECTED, NextTarget),
        (ErrorKind.TIMEOUT, NextTarget),
        (ErrorKind.RATE_LIMITED, SameTarget),
        (ErrorKind.UNAVAILABLE, SameTarget),
        (ErrorKind.BAD_RESPONSE, SameTarget),
        (ErrorKind.TRUNCATED, SameTarget),
    ],
)
def test_the_first_failure_of_each_kind(kind: ErrorKind, expected: type) -> None:
    assert isinstance(step(kind), expected)


def test_restrictions_on_the_next_target_are_told() -> None:
    assert step(ErrorKind.CONTEXT_TOO_LONG) == NextTarget("longer_context")
    assert step(ErrorKind.UNSUPPORTED) == NextTarget("other_model")
    assert step(ErrorKind.UNAVAILABLE, on_target=2) == NextTarget("any")


def test_filtered_content_falls_over_only_where_the_route_says_so() -> None:
    assert step(ErrorKind.CONTENT_FILTERED, policy=RetryPolicy(filtered_falls_over=True)) == NextTarget("other_filter")


def test_a_rejected_credential_and_an_exhausted_limit_go_to_the_next_credential_first() -> None:
    assert step(ErrorKind.CREDENTIAL_REJECTED, credentials_left=1) == NextCredential()
    assert step(ErrorKind.RATE_LIMITED, credentials_left=1, retry_after=30) == NextCredential()


def test_retry_after_is_honoured_when_short_or_when_nothing_else_is_left() -> None:
    assert step(ErrorKind.RATE_LIMITED, retry_after=0.5) == SameTarget(0.5)
    assert step(ErrorKind.RATE_LIMITED, retry_after=20) == NextTarget("any")
    assert step(ErrorKind.RATE_LIMITED, retry_after=20, targets_left=0) == SameTarget(20)
    assert isinstance(step(ErrorKind.RATE_LIMITED, retry_after=61, targets_left=0), Stop)


def test_no_retry_after_the_deadline_or_with_no_target_left() -> None:
    assert isinstance(step(ErrorKind.UNAVAILABLE, now=60.0), Stop)
    assert isinstance(step(ErrorKind.UNAVAILABLE, on_target=2, targets_left=0), Stop)
    assert isinstance(step(ErrorKind.UNAVAILABLE, policy=RetryPolicy(retries=0), targets_left=0), Stop)


def test_a_spent_budget_sends_onwards_instead_of_retrying() -> None:
    budget = RetryBudget(reserve=2, floor=0)
    steps = [step(ErrorKind.UNAVAILABLE, budget=budget) for _ in range(4)]
    assert [type(one) for one in steps] == [SameTarget, SameTarget, NextTarget, NextTarget]


def test_retries_of_a_dead_provider_stay_within_a_fifth_of_its_requests() -> None:
    budget, retries = RetryBudget(ratio=0.2, floor=0.5, reserve=10), 0
    for number in range(10_000):
        budget.deposit()
        retries += budget.withdraw(number / 1000)
    assert retries <= 10_000 * 0.2 + 10 + 0.5 * 10


def test_a_budget_fills_up_again_with_time_and_never_over_its_reserve() -> None:
    budget = RetryBudget(floor=0.5, reserve=3)
    while budget.withdraw(0.0):
        pass
    assert not budget.withdraw(1.9)
    assert budget.withdraw(2.0)
    assert budget.balance(1e6) == 3


@given(tries=st.integers(1, 2000), chance=st.floats(0, 1, exclude_max=True))
def test_backoff_grows_jittered_and_bounded(tries: int, chance: float) -> None:
    policy = RetryPolicy()
    wait = backoff(policy, tries, chance)
    longest = min(policy.longest_backoff, policy.backoff * 2.0 ** min(tries - 1, 60))
    assert longest / 2 <= wait <= longest


@given(
    kind=st.sampled_from(list(ErrorKind)),
    on_target=st.integers(1, 5),
    targets_left=st.integers(0, 3),
    credentials_left=st.integers(0, 2),
    retry_after=st.none() | st.floats(0, 1e6),
    now=st.floats(0, 100),
)
def test_every_decision_ends_within_the_deadline_and_the_number_of_retries(
    kind: ErrorKind, on_target: int, targets_left: int, credentials_left: int, retry_after: float | None, now: float
) -> None:
    decided = step(
        kind,
        on_target=on_target,
        targets_left=targets_left,
        credentials_left=credentials_left,
        retry_after=retry_after,
        now=now,
    )
    match decided:
        case SameTarget(after):
            assert now + after < 60
            assert on_target <= 1
            assert retry_after is None or after >= retry_after
        case NextTarget():
            assert targets_left > 0
        case NextCredential():
            assert credentials_left > 0
        case Stop(reason):
            assert reason
