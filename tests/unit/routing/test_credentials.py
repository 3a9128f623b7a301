"""Rotation and benching of credentials under a clock that the test holds."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from polyroute.ports import Credential
from polyroute.routing.credentials import Bench, BenchSettings, CredentialPool, Share
from polyroute.types.errors import ErrorKind, Failure
from polyroute.types.limits import Limits, Quota

SETTINGS = BenchSettings(rejected=300, quota=900, rate_limited=15, longest=3600)


def credential(number: int) -> Credential:
    return Credential(f"openai#{number}-{number:06x}", f"sk-{number}")


def pool(count: int = 2, **shares: Share) -> CredentialPool:
    ones = [credential(number) for number in range(1, count + 1)]
    named = {one.label: shares[f"c{number}"] for number, one in enumerate(ones, 1) if f"c{number}" in shares}
    return CredentialPool(ones, named, SETTINGS)


def failure(kind: ErrorKind, retry_after: float | None = None) -> Failure:
    return Failure(kind=kind, message="no", retry_after=retry_after)


def chosen(of: CredentialPool, now: float, random: float = 0.0, model: str = "m", used: list[str] | None = None) -> str:
    found = of.choose(model, 10, now, random, used or [])
    return "" if found is None else found.credential.secret


def test_credentials_are_used_in_proportion_to_their_weights() -> None:
    three_to_one = pool(3, c1=Share(weight=3), c3=Share(weight=0))
    seen = Counter(chosen(three_to_one, 0.0, step / 100) for step in range(100))
    assert seen == {"sk-1": 75, "sk-2": 25}
    first, second = credential(1).label, credential(2).label
    assert chosen(three_to_one, 0.0, 0.5, used=[first, second]) == "sk-3"


def test_one_whose_own_limit_is_nearly_used_up_is_used_less() -> None:
    half = pool(2, c1=Share(limits=Limits(requests_per_minute=10)))
    limiter = half.states[0].limiter
    assert limiter is not None
    for number in range(9):
        assert limiter.admit(str(number), 1, 0.0) is None
    seen = Counter(chosen(half, 0.0, step / 100) for step in range(100))
    assert seen["sk-2"] > 85
    assert limiter.admit("last", 1, 0.0) is None
    assert {chosen(half, 0.0, step / 100) for step in range(100)} == {"sk-2"}


@pytest.mark.parametrize(
    ("kind", "retry_after", "seconds"),
    [
        (ErrorKind.CREDENTIAL_REJECTED, None, 300.0),
        (ErrorKind.QUOTA_EXHAUSTED, None, 900.0),
        (ErrorKind.QUOTA_EXHAUSTED, 7200.0, 7200.0),
        (ErrorKind.RATE_LIMITED, 20.0, 20.0),
        (ErrorKind.RATE_LIMITED, None, 15.0),
    ],
)
def test_a_refused_one_is_benched_for_its_time_and_comes_back(
    kind: ErrorKind, retry_after: float | None, seconds: float
) -> None:
    two = pool()
    two.fail(credential(1).label, "m", failure(kind, retry_after), 100.0)
    assert {chosen(two, 100.0 + seconds - 0.1, step / 10) for step in range(10)} == {"sk-2"}
    assert {chosen(two, 100.0 + seconds, step / 10) for step in range(10)} == {"sk-1", "sk-2"}


def test_a_rate_limit_benches_for_its_model_only_and_a_rejection_for_all() -> None:
    two = pool()
    two.fail(credential(1).label, "large", failure(ErrorKind.RATE_LIMITED, 60.0), 0.0)
    assert {chosen(two, 1.0, step / 10, "small") for step in range(10)} == {"sk-1", "sk-2"}
    assert two.others_left("large", 1.0, []) == 1
    two.fail(credential(1).label, "large", failure(ErrorKind.CREDENTIAL_REJECTED), 1.0)
    assert {chosen(two, 2.0, step / 10, "small") for step in range(10)} == {"sk-2"}


def test_each_refusal_in_a_row_benches_twice_as_long_until_an_answer() -> None:
    two, label, now = pool(), credential(1).label, 0.0
    lengths = []
    for _ in range(6):
        two.fail(label, "m", failure(ErrorKind.CREDENTIAL_REJECTED), now)
        lengths.append(two.states[0].benches[""].until - now)
        now += lengths[-1] + 1
    assert lengths == [300, 600, 1200, 2400, 3600, 3600]
    two.succeed(label, "m", now, now)
    two.fail(label, "m", failure(ErrorKind.CREDENTIAL_REJECTED), now + 1)
    assert two.states[0].benches[""].until - now - 1 == 300


def test_what_is_not_the_credentials_doing_benches_nothing() -> None:
    two = pool()
    for kind in (ErrorKind.UNAVAILABLE, ErrorKind.TIMEOUT, ErrorKind.INVALID_REQUEST, ErrorKind.MODEL_NOT_FOUND):
        two.fail(credential(1).label, "m", failure(kind), 0.0)
    assert two.others_left("m", 0.0, []) == 2
    alone = pool(1)
    alone.fail(credential(1).label, "m", failure(ErrorKind.RATE_LIMITED, 60.0), 0.0)
    assert alone.eased, "the rate limit of a sole credential is the breaker's matter"


def test_when_all_are_benched_the_one_that_comes_back_first_is_the_least_bad() -> None:
    two = pool()
    two.fail(credential(1).label, "m", failure(ErrorKind.QUOTA_EXHAUSTED), 0.0)
    two.fail(credential(2).label, "m", failure(ErrorKind.CREDENTIAL_REJECTED), 0.0)
    assert two.choose("m", 1, 1.0, 0.5) is None
    found = two.least_bad("m", 1.0)
    assert found is not None
    assert found.credential.secret == "sk-2"


def test_a_provider_that_says_nothing_is_left_benches_until_the_reset() -> None:
    two = pool()
    two.learn(credential(1).label, "m", Quota(requests_left=0, requests_reset=12.0), 0.0)
    assert {chosen(two, 11.9, step / 10) for step in range(10)} == {"sk-2"}
    assert {chosen(two, 12.1, step / 10) for step in range(10)} == {"sk-1", "sk-2"}
    two.learn(credential(2).label, "m", Quota(requests_left=1, requests_reset=60.0), 20.0)
    assert Counter(chosen(two, 20.0, step / 100) for step in range(100))["sk-1"] > 85


def test_a_reload_keeps_what_is_known_of_credentials_that_stay_and_nothing_else() -> None:
    before = pool(2)
    before.fail(credential(1).label, "m", failure(ErrorKind.CREDENTIAL_REJECTED), 0.0)
    moved = Credential("openai#2-000001", "sk-1")
    after = CredentialPool([Credential("openai#1-0000ff", "sk-new"), moved], settings=SETTINGS)
    after.inherit(before)
    assert {chosen(after, 1.0, step / 10) for step in range(10)} == {"sk-new"}
    replaced = CredentialPool([Credential("openai#1-0000ff", "sk-new")], settings=SETTINGS)
    replaced.inherit(before)
    assert replaced.eased


def test_what_one_worker_benches_and_lifts_the_other_does_too() -> None:
    here, there = pool(), pool()
    here.fail(credential(1).label, "m", failure(ErrorKind.CREDENTIAL_REJECTED), 0.0)
    there.adopt(here.benches(1.0), 1.0)
    assert {chosen(there, 1.0, step / 10) for step in range(10)} == {"sk-2"}
    here.release(5.0)
    there.adopt(here.benches(5.0), 5.0)
    assert there.others_left("m", 5.0, []) == 2
    here.adopt(there.benches(6.0), 6.0)
    assert here.others_left("m", 6.0, []) == 2, "an old bench must not come back from the other worker"


@given(st.lists(st.tuples(st.sampled_from(list(ErrorKind)), st.floats(0, 1e6), st.integers(1, 3)), max_size=30))
@hypothesis_settings(max_examples=60, deadline=None)
def test_no_credential_is_ever_lost(events: list[tuple[ErrorKind, float, int]]) -> None:
    three, now = pool(3), 0.0
    for kind, retry_after, number in events:
        now += 1.0
        three.fail(credential(number).label, "m", failure(kind, retry_after if retry_after < 5e5 else None), now)
    later = now + 86_401.0
    assert three.others_left("m", later, []) == 3
    three.sweep(now + 3 * 86_400.0)
    assert three.benches(now + 3 * 86_400.0) == {}


def test_nothing_shows_a_secret() -> None:
    two = pool()
    two.fail(credential(1).label, "m", failure(ErrorKind.CREDENTIAL_REJECTED), 0.0)
    assert "sk-" not in repr(two.benches(1.0))
    assert two.benches(1.0) == {"000001 ": Bench("credential_rejected", 0.0, 300.0, 1)}
