"""Decayed means, and work under way that cannot go below zero."""

from __future__ import annotations

import pytest

from polyroute.routing.observations import Observations


def test_the_first_observation_is_taken_as_it_is_and_later_ones_blend_in() -> None:
    seen = Observations(half_life=100)
    seen.end("a/m", 0.0, success=True, ttft=1.0, tokens_per_second=50.0)
    assert seen.facts["a/m"].ttft == 1.0
    seen.end("a/m", 100.0, success=False, ttft=2.0)
    facts = seen.facts["a/m"]
    assert facts.ttft == pytest.approx(1.5)
    assert facts.tokens_per_second == 50.0
    assert facts.success_rate == pytest.approx(0.5)
    assert facts.observed_at == 100.0


def test_old_observations_give_way_and_a_burst_does_not_freeze_the_mean() -> None:
    seen = Observations(half_life=100)
    seen.end("a/m", 0.0, success=True, ttft=10.0)
    seen.end("a/m", 10_000.0, success=True, ttft=1.0)
    assert seen.facts["a/m"].ttft == pytest.approx(1.0)
    for _ in range(50):
        seen.end("a/m", 10_000.0, success=True, ttft=3.0)
    assert seen.facts["a/m"].ttft == pytest.approx(3.0, abs=0.1)


def test_work_under_way_is_counted_and_never_below_zero() -> None:
    seen = Observations()
    for _ in range(3):
        seen.begin("a/m")
    seen.end("a/m", 1.0, success=True)
    seen.release("a/m")
    assert seen.facts["a/m"].in_flight == 1
    for _ in range(3):
        seen.release("a/m")
    seen.release("b/m")
    assert seen.facts["a/m"].in_flight == 0
    assert "b/m" not in seen.facts


def test_models_that_callers_make_up_do_not_fill_the_memory() -> None:
    seen = Observations()
    seen.begin("busy/m")
    for number in range(10_000):
        seen.begin(f"p/{number}")
        seen.release(f"p/{number}")
    assert len(seen.facts) <= 4096
    assert seen.facts["busy/m"].in_flight == 1
