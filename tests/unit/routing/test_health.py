"""Windows, percentiles and judgements on a clock that the test holds."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from polyroute.routing.health import (
    FAILED,
    OTHER,
    SERVED,
    WINDOWS,
    ProviderWindows,
    bucket_end,
    bucket_of,
    judge,
    newest_error,
    percentiles,
    uptime,
)
from polyroute.types.health import LastError, Uptime

NOON = 1_700_000_000 // 900 * 900


def test_windows_count_what_lies_within_them() -> None:
    one = ProviderWindows()
    for ago, meaning in ((80_000, FAILED), (3000, SERVED), (200, FAILED), (100, SERVED), (1, SERVED), (0, OTHER)):
        one.add(NOON - ago, meaning)
    found = {name: uptime([one], seconds, NOON) for name, seconds in WINDOWS.items()}
    assert found["5m"] == Uptime(attempts=3, failures=1, success_rate=66.667)
    assert found["1h"].attempts == 4
    assert found["24h"] == Uptime(attempts=5, failures=2, success_rate=60.0)
    assert uptime([], 300, NOON).success_rate is None
    assert uptime([one, one], 300, NOON).attempts == 6


def test_a_day_of_traffic_stays_small_and_yesterday_is_forgotten() -> None:
    one = ProviderWindows()
    for minute in range(3 * 1440):
        one.add(NOON + minute * 60, SERVED, latency=bucket_of(20.0), count=10)
    end = NOON + 3 * 86_400
    assert len(one.fine) <= 62
    assert len(one.coarse) <= 97
    assert uptime([one], 86_400, end).attempts == pytest.approx(14_400, rel=0.02)


@given(st.lists(st.floats(1.0, 1e6), min_size=1, max_size=200))
@hypothesis_settings(max_examples=60, deadline=None)
def test_percentiles_are_right_to_within_a_tenth(times: list[float]) -> None:
    one = ProviderWindows()
    for milliseconds in times:
        one.add(NOON, SERVED, latency=bucket_of(milliseconds))
    found = percentiles([one], NOON)
    ordered = sorted(times)
    for share, told in ((0.5, found.p50), (0.95, found.p95), (0.99, found.p99)):
        true = ordered[max(0, -int(-share * len(ordered) // 1) - 1)]
        assert told == pytest.approx(true, rel=0.1, abs=0.25)


@given(st.floats(0.0, 1e9))
def test_every_latency_has_its_bucket(milliseconds: float) -> None:
    number = bucket_of(milliseconds)
    assert 0 <= number <= 96
    if 1.0 < milliseconds < bucket_end(95):
        assert bucket_end(number - 1) <= milliseconds * 1.0000001
        assert milliseconds <= bucket_end(number) * 1.0000001


def test_windows_can_be_written_and_read() -> None:
    one = ProviderWindows()
    one.add(NOON, SERVED, latency=3, ttft=2)
    one.last_error = LastError(at=1.0, kind="timeout", message="late")
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(one), type=ProviderWindows) == one
    later = ProviderWindows(last_error=LastError(at=2.0, kind="unavailable", message="gone"))
    assert newest_error([one, later]) == later.last_error


@pytest.mark.parametrize(
    ("rate", "attempts", "changes", "health"),
    [
        (None, 0, {}, "healthy"),
        (100.0, 100, {}, "healthy"),
        (40.0, 3, {}, "healthy"),
        (90.0, 100, {}, "degraded"),
        (40.0, 100, {}, "unhealthy"),
        (100.0, 100, {"other_breakers": 1}, "degraded"),
        (100.0, 100, {"open_breakers": 1}, "unhealthy"),
        (100.0, 100, {"benched": 1}, "degraded"),
        (100.0, 100, {"benched": 2}, "unhealthy"),
        (100.0, 100, {"drilled": True}, "degraded"),
    ],
)
def test_health_is_judged(rate: float | None, attempts: int, changes: dict[str, int], health: str) -> None:
    facts = {"open_breakers": 0, "other_breakers": 0, "credentials": 2, "benched": 0, "drilled": False} | changes
    found, reasons = judge(Uptime(attempts=attempts, failures=0, success_rate=rate), **facts)
    assert found == health
    assert bool(reasons) == (health != "healthy")
