"""Limiters under a clock that the test holds: never more than allowed, never stuck, nothing leaks."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from polyroute.routing.limits import Leases, Limiter, Limits, Refused, SlidingWindow


def test_a_window_gives_its_limit_and_no_more_over_its_edge() -> None:
    window = SlidingWindow(60)
    assert sum(window.take(1, 59.9) for _ in range(100)) == 60
    assert not window.take(1, 60.0)
    assert sum(window.take(1, 90.0) for _ in range(100)) == 30
    assert window.remaining(90.0) == 0


@pytest.mark.parametrize("at", [0.0, 30.0, 59.0, 61.0, 100.0])
def test_after_the_wait_that_a_window_names_there_is_room(at: float) -> None:
    window = SlidingWindow(10)
    for _ in range(10):
        window.take(1, 0.0)
    window.take(3, at)
    wait = window.wait(3, at)
    assert window.take(3, at + wait + 1e-6)


def test_a_window_believes_a_provider_that_has_less_left_until_its_reset() -> None:
    window = SlidingWindow(100)
    window.learn(2, 12.0, 0.0)
    assert window.take(1, 1.0)
    assert window.take(1, 1.0)
    assert not window.take(1, 1.0)
    assert window.wait(1, 2.0) == pytest.approx(10.0)
    assert window.take(1, 12.0)


def test_leases_expire_and_can_be_released_more_than_once() -> None:
    leases = Leases(2, seconds=10)
    assert leases.acquire("a", 0.0)
    assert leases.acquire("b", 1.0)
    assert leases.acquire("a", 2.0), "a holder may go on holding"
    assert not leases.acquire("c", 3.0)
    assert leases.wait(3.0) == pytest.approx(8.0)
    assert leases.acquire("c", 11.0), "b was never heard of again"
    leases.release("a")
    leases.release("a")
    assert leases.in_use(11.0) == 1


def test_a_limiter_refuses_by_the_limit_that_is_reached_and_takes_nothing_then() -> None:
    limiter = Limiter(Limits(requests_per_minute=5, tokens_per_minute=1000, concurrency=2))
    assert limiter.admit("a", 400, 0.0) is None
    assert limiter.admit("b", 400, 0.0) is None
    refused = limiter.admit("c", 400, 0.0)
    assert refused is not None
    assert refused.limit == "tokens"
    assert refused.retry_after > 0
    assert limiter.admit("c", 100, 0.0) == Refused("concurrency", 1.0)
    assert limiter.remaining(0.0).requests == 3
    assert limiter.remaining(0.0).tokens == 200
    limiter.settle("a", 1.0, estimated=400, actual=100)
    assert limiter.remaining(1.0).tokens == 500
    assert limiter.remaining(1.0).concurrency == 1
    for name in "def":
        limiter.settle(name, 1.0)
        assert limiter.admit(name, 1, 1.0) is None
        limiter.settle(name, 1.0)
    refused = limiter.admit("g", 1, 1.0)
    assert refused is not None
    assert refused.limit == "requests"


def test_without_limits_everything_passes() -> None:
    limiter = Limiter(Limits())
    assert all(limiter.admit(str(number), 10**9, 0.0) is None for number in range(1000))
    assert limiter.remaining(0.0).requests is None


def test_what_rate_limit_headers_say_tightens_a_limiter() -> None:
    limiter = Limiter(Limits(requests_per_minute=100))
    limiter.learn("requests", 0, 20.0, 0.0)
    limiter.learn("tokens", 0, 20.0, 0.0)
    assert limiter.admit("a", 1, 5.0) == Refused("requests", 15.0)
    assert limiter.admit("a", 1, 20.0) is None


@pytest.mark.parametrize("wrong", [{"requests_per_minute": 0}, {"tokens_per_minute": -5}, {"concurrency": 0}])
def test_limits_below_one_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Limits(**wrong)


def test_machines_refuse_what_makes_no_sense() -> None:
    for build in (lambda: SlidingWindow(0), lambda: Leases(0), lambda: Leases(1, 0)):
        with pytest.raises(ValueError, match="above 0"):
            build()


class LimiterMachine(RuleBasedStateMachine):
    """Against the plain truth: a list of what happened when."""

    def __init__(self) -> None:
        super().__init__()
        self.limits = Limits(requests_per_minute=6, concurrency=3)
        self.limiter = Limiter(self.limits, lease=40.0)
        self.now = 0.0
        self.number = 0
        self.admitted: list[float] = []
        self.holding: dict[str, float] = {}

    @rule(seconds=st.floats(0, 45))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def admit(self) -> None:
        self.number += 1
        name = str(self.number)
        self.holding = {holder: expiry for holder, expiry in self.holding.items() if expiry > self.now}
        refused = self.limiter.admit(name, 0, self.now)
        if refused is None:
            self.admitted.append(self.now)
            assert len(self.holding) < 3
            self.holding[name] = self.now + 40.0
        else:
            assert refused.retry_after > 0
            if refused.limit == "concurrency":
                assert len(self.holding) == 3

    @rule(which=st.integers(0, 100))
    def settle(self, which: int) -> None:
        if self.holding:
            name = sorted(self.holding)[which % len(self.holding)]
            del self.holding[name]
            self.limiter.settle(name, self.now)

    @rule()
    def named_wait_is_enough(self) -> None:
        refused = self.limiter.admit("probe", 0, self.now)
        if refused is None:
            self.admitted.append(self.now)
            self.limiter.settle("probe", self.now)
        elif refused.limit == "requests":
            self.now += refused.retry_after + 1e-6
            again = self.limiter.admit("probe", 0, self.now)
            assert again is None or again.limit == "concurrency"
            if again is None:
                self.admitted.append(self.now)
                self.limiter.settle("probe", self.now)

    @invariant()
    def never_twice_the_limit_within_any_minute(self) -> None:
        """Two counters cannot see how the last window was spread; a fixed window's limit holds exactly."""
        starts = {int(when // 60) for when in self.admitted}
        for start in starts:
            assert sum(1 for when in self.admitted if int(when // 60) == start) <= 6

    @invariant()
    def remaining_is_sane(self) -> None:
        left = self.limiter.remaining(self.now)
        assert left.requests is not None
        assert 0 <= left.requests <= 6
        assert left.concurrency is not None
        assert 0 <= left.concurrency <= 3


LimiterMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestLimiterMachine = LimiterMachine.TestCase


def test_a_limiter_goes_on_where_an_earlier_one_was() -> None:
    limits = Limits(requests_per_minute=3, tokens_per_minute=100)
    earlier, later = Limiter(limits), Limiter(limits)
    assert earlier.kept(1000.0) == (None, None)
    for number in range(2):
        assert earlier.admit(str(number), 20, 1000.0) is None
    later.resume(earlier.kept(1000.0), 1010.0)
    assert (later.remaining(1010.0).requests, later.remaining(1010.0).tokens) == (1, 60)
    assert later.check(61, 1010.0) is not None
    assert later.remaining(1200.0).requests == 3, "what is two minutes old no longer counts"
