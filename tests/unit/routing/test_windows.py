"""Windows of budgets on the calendars of the world."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyroute.routing.windows import iso_moment, window_at
from polyroute.types.budgets import WINDOWS

# Midnight is skipped in Beirut and Havana, comes twice in Havana, and Apia skipped a whole day in 2011.
ZONES = (
    "UTC", "Asia/Ho_Chi_Minh", "Europe/Berlin", "America/Havana", "Asia/Beirut", "America/Sao_Paulo", "Pacific/Apia",
    "Australia/Lord_Howe", "Africa/Cairo", "Asia/Kathmandu",
)  # fmt: skip
MOMENTS = st.floats(min_value=datetime(1990, 1, 1, tzinfo=UTC).timestamp(), max_value=4_000_000_000.0)


def moment(text: str, zone: str = "UTC") -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


@settings(max_examples=200, deadline=None)
@given(now=MOMENTS, zone=st.sampled_from(ZONES), kind=st.sampled_from(WINDOWS))
def test_every_moment_lies_in_one_window_and_windows_leave_no_gap(now: float, zone: str, kind: str) -> None:
    start, end = window_at(kind, zone, now)  # type: ignore[arg-type]  # one of WINDOWS
    assert start <= now
    if end is None:
        assert kind == "total"
        return
    assert now < end
    assert window_at(kind, zone, start) == (start, end)  # type: ignore[arg-type]
    assert window_at(kind, zone, end - 0.001) == (start, end)  # type: ignore[arg-type]
    assert window_at(kind, zone, end)[0] == end  # type: ignore[arg-type]
    days = {"day": (0, 2), "week": (6, 8), "month": (27, 32)}[kind]
    assert days[0] < (end - start) / 86_400 < days[1]


@pytest.mark.parametrize(
    ("kind", "zone", "now", "start", "end"),
    [
        ("day", "Asia/Ho_Chi_Minh", "2026-11-20T20:00", "2026-11-21T00:00", "2026-11-22T00:00"),
        ("day", "Europe/Berlin", "2026-03-29T10:00", "2026-03-29T00:00", "2026-03-30T00:00"),
        ("week", "Europe/Berlin", "2026-11-20T20:00", "2026-11-16T00:00", "2026-11-23T00:00"),
        ("month", "America/New_York", "2026-12-01T03:00", "2026-11-01T00:00", "2026-12-01T00:00"),
    ],
)
def test_windows_begin_at_midnight_of_their_zone(kind: str, zone: str, now: str, start: str, end: str) -> None:
    assert window_at(kind, zone, moment(now)) == (moment(start, zone), moment(end, zone))  # type: ignore[arg-type]


def test_a_day_without_midnight_begins_with_its_first_moment() -> None:
    now = moment("2026-03-08T12:00", "America/Havana")  # clocks went from 00:00 to 01:00
    start, end = window_at("day", "America/Havana", now)
    assert iso_moment(start, "America/Havana") == "2026-03-08T01:00:00-04:00"
    assert end is not None
    assert end - start == 23 * 3600
