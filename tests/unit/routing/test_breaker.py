"""The breaker as a state machine, under a clock that the test holds."""

from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from polyroute.routing.breaker import Breaker, BreakerSettings, BreakerSnapshot

SETTINGS = BreakerSettings()


def opened(now: float = 100.0, settings: BreakerSettings = SETTINGS) -> Breaker:
    breaker = Breaker(settings)
    for _ in range(settings.failures):
        breaker.fail(now, cause="unavailable")
    assert breaker.state == "open"
    return breaker


def test_three_failures_in_a_row_open_a_quiet_provider_for_the_cooldown() -> None:
    breaker = Breaker(SETTINGS)
    breaker.fail(100.0)
    breaker.fail(101.0)
    assert breaker.allows(101.0)
    breaker.fail(102.0, cause="timeout")
    assert breaker.state == "open"
    assert breaker.cause == "timeout"
    assert not breaker.allows(161.9)
    assert breaker.allows(162.0)


def test_a_success_in_between_starts_the_count_again() -> None:
    breaker = Breaker(SETTINGS)
    for now in range(100, 110):
        breaker.fail(now)
        breaker.fail(now)
        breaker.succeed(now)
        if now == 102:
            break
    assert breaker.state == "closed"


def test_five_percent_random_failures_in_ten_thousand_requests_leave_it_closed() -> None:
    for seed in range(5):
        dice, breaker = random.Random(seed), Breaker(SETTINGS)
        for number in range(10_000):
            now = 1000.0 + number / 50
            if dice.random() < 0.05:
                breaker.fail(now)
            else:
                breaker.succeed(now)
            assert breaker.state == "closed", f"seed {seed}, request {number}"


def test_a_failure_rate_over_the_window_opens_a_busy_provider() -> None:
    breaker = Breaker(SETTINGS)
    for number in range(40):
        if number % 2:
            breaker.succeed(100.0 + number)
        else:
            breaker.fail(100.0 + number)
        if breaker.state == "open":
            break
    assert breaker.state == "open"
    assert number + 1 == SETTINGS.minimum + 1  # at the first failure with a full sample at 50 %


def test_a_rate_below_the_threshold_does_not_open() -> None:
    breaker = Breaker(SETTINGS)
    for number in range(500):
        now = 100.0 + number / 10
        if number % 5 < 2:
            breaker.fail(now)
        else:
            breaker.succeed(now)
    assert breaker.state == "closed"
    assert breaker.failure_rate == pytest.approx(0.4, abs=0.01)


def test_an_outage_under_load_opens_long_before_the_window_forgets_the_successes() -> None:
    breaker = Breaker(SETTINGS)
    for number in range(5000):
        breaker.succeed(100.0 + number / 1000)
    failures = 0
    while breaker.state == "closed":
        breaker.fail(105.0)
        failures += 1
    assert failures == SETTINGS.minimum


def test_what_left_the_window_does_not_count() -> None:
    breaker = Breaker(SETTINGS)
    for _ in range(SETTINGS.minimum):
        breaker.succeed(100.0)
    assert breaker.samples == SETTINGS.minimum
    breaker.fail(100.0 + SETTINGS.window + 10)
    assert breaker.samples == 1
    assert breaker.failure_rate == 1.0


def test_half_open_lets_one_request_at_a_time_through_and_a_success_closes() -> None:
    breaker = opened(100.0)
    assert not breaker.begin(159.0)
    assert breaker.begin(160.0)
    assert breaker.state == "half_open"
    assert not breaker.begin(160.0)
    breaker.succeed(161.0, started=160.0)
    assert breaker.state == "closed"
    assert breaker.begin(161.0)
    assert breaker.begin(161.0)


def test_a_probe_that_is_never_heard_of_again_frees_its_place() -> None:
    breaker = opened(100.0)
    assert breaker.begin(160.0)
    assert not breaker.begin(160.0 + SETTINGS.probe_lease - 0.1)
    assert breaker.begin(160.0 + SETTINGS.probe_lease)


def test_a_probe_whose_caller_left_frees_its_place_at_once() -> None:
    breaker = opened(100.0)
    assert breaker.begin(160.0)
    breaker.release(161.0)
    assert breaker.begin(161.0)


def test_cooldown_doubles_with_repeated_openings_up_to_the_longest() -> None:
    breaker, now, waits = opened(100.0), 100.0, []
    for _ in range(7):
        waits.append(breaker.until - now)
        now = breaker.until
        assert breaker.begin(now)
        breaker.fail(now, started=now)
    assert waits == [60, 120, 240, 480, 900, 900, 900]


def test_cooldown_starts_small_again_after_a_long_healthy_time() -> None:
    breaker = opened(100.0)
    breaker.begin(160.0)
    breaker.fail(160.0)
    breaker.begin(280.0)
    breaker.succeed(281.0)
    for _ in range(3):
        breaker.fail(281.0 + 130)
    assert breaker.until == 281.0 + 130 + 60


@pytest.mark.parametrize(("retry_after", "wait"), [(None, 60), (5, 60), (200, 200), (10_000_000, 3600)])
def test_retry_after_lengthens_the_cooldown_and_never_shortens_it(retry_after: float | None, wait: float) -> None:
    breaker = Breaker(SETTINGS)
    for _ in range(3):
        breaker.fail(100.0, retry_after=retry_after)
    assert breaker.until == 100.0 + wait


def test_a_rest_refuses_for_its_time_without_opening() -> None:
    breaker = Breaker(SETTINGS)
    breaker.rest(100.0, 7.0, "rate_limited")
    assert breaker.state == "closed"
    assert not breaker.allows(106.9)
    assert breaker.allows(107.0)


def test_results_of_attempts_that_began_before_the_state_changed_are_old_news() -> None:
    breaker = opened(100.0)
    breaker.succeed(101.0, started=99.0)
    assert breaker.state == "open"
    assert breaker.begin(160.0)
    breaker.fail(160.5, started=99.0)
    assert breaker.state == "half_open"
    breaker.succeed(161.0, started=160.0)
    for _ in range(5):
        breaker.fail(162.0, started=99.5)
    assert breaker.state == "closed"


def test_forced_probes_while_open_neither_lengthen_the_wait_nor_escape_notice() -> None:
    breaker = opened(100.0)
    for now in range(110, 150):
        breaker.fail(float(now), started=float(now))
    assert breaker.until == 160.0
    breaker.succeed(151.0, started=150.0)
    assert breaker.state == "closed"


def test_state_survives_storage() -> None:
    breaker = opened(100.0)
    stored = msgspec.json.encode(breaker.snapshot())
    restored = Breaker(SETTINGS)
    assert restored.adopt(msgspec.json.decode(stored, type=BreakerSnapshot), 130.0)
    assert restored.snapshot() == breaker.snapshot()
    assert not restored.allows(159.0)
    assert restored.begin(160.0)
    restored.fail(160.0)
    assert restored.until == 160.0 + 120


def test_an_older_state_of_another_worker_is_not_adopted() -> None:
    mine = opened(100.0)
    stale = mine.snapshot()
    mine.begin(160.0)
    mine.succeed(161.0)
    assert not mine.adopt(stale, 162.0)
    assert mine.state == "closed"


def test_a_stored_state_from_a_clock_that_was_ahead_cannot_lock_a_provider_out() -> None:
    breaker = Breaker(SETTINGS)
    breaker.adopt(BreakerSnapshot("open", until=9e9, changed_at=8e9, openings=1), now=1000.0)
    assert breaker.allows(1000.0 + 3600)


def test_a_clock_that_runs_backwards_breaks_nothing() -> None:
    breaker = Breaker(SETTINGS)
    breaker.succeed(1000.0)
    breaker.fail(10.0)
    assert breaker.samples == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"failures": 0},
        {"minimum": 0},
        {"failure_rate": 0.0},
        {"failure_rate": 1.5},
        {"window": 0},
        {"cooldown": -1},
        {"probe_lease": 0},
        {"cooldown": 100, "longest_cooldown": 50},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="breaker"):
        BreakerSettings(**wrong)  # type: ignore[arg-type]  # one wrong value at a time


class BreakerMachine(RuleBasedStateMachine):
    """Any sequence of events keeps the promises."""

    def __init__(self) -> None:
        super().__init__()
        self.settings = BreakerSettings(window=10, cooldown=10, longest_cooldown=80, minimum=6, probe_lease=5)
        self.breaker = Breaker(self.settings)
        self.now = 1000.0
        self.events: list[tuple[float, bool]] = []
        self.running: list[float] = []

    @rule(seconds=st.floats(0, 30))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def begin(self) -> None:
        allowed, state = self.breaker.allows(self.now), self.breaker.state
        assert self.breaker.begin(self.now) is allowed
        if allowed:
            self.running.append(self.now)
            if state != "closed":
                assert self.breaker.state == "half_open"
                assert not self.breaker.allows(self.now)

    @precondition(lambda self: self.running)
    @rule(which=st.integers(0, 1000))
    def succeed(self, which: int) -> None:
        started = self.running.pop(which % len(self.running))
        current = started >= self.breaker.changed_at
        self.breaker.succeed(self.now, started)
        if current:
            assert self.breaker.state == "closed"

    @precondition(lambda self: self.running)
    @rule(which=st.integers(0, 1000), retry_after=st.none() | st.floats(0, 1e9))
    def fail(self, which: int, retry_after: float | None) -> None:
        started = self.running.pop(which % len(self.running))
        before, state, until = self.breaker.openings, self.breaker.state, self.breaker.until
        counted = started >= self.breaker.changed_at
        self.breaker.fail(self.now, started, retry_after)
        if not counted:
            assert (self.breaker.state, self.breaker.until) == (state, until)
        if self.breaker.state == "open" and state != "open":
            wait = self.breaker.until - self.now
            assert wait >= self.settings.cooldown * 0.999
            assert wait >= min(retry_after or 0, 3600) * 0.999
            assert self.breaker.openings in {1, before + 1}

    @rule()
    def leave(self) -> None:
        self.breaker.release(self.now)

    @rule()
    def store_and_restore(self) -> None:
        fresh = Breaker(self.settings)
        fresh.adopt(self.breaker.snapshot(), self.now)
        if fresh.changed_at or fresh.until:
            assert fresh.allows(self.now) == self.breaker.allows(self.now)
            assert fresh.state == self.breaker.state

    @invariant()
    def no_wait_is_endless(self) -> None:
        assert self.breaker.until - self.now <= 3600.001

    @invariant()
    def counts_are_sane(self) -> None:
        rate = self.breaker.failure_rate
        assert self.breaker.samples >= 0
        assert rate is None or 0 <= rate <= 1


BreakerMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestBreakerMachine = BreakerMachine.TestCase
