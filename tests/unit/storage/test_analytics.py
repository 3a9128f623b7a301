"""Figures over the ledger: by time in any zone, by group, filtered, and what would have been saved."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from polyroute.ports.analytics import Series, SeriesPoint, SeriesQuery
from polyroute.storage.analytics import LedgerAnalytics
from polyroute.storage.database import Database
from polyroute.storage.pruning import Retention
from polyroute.storage.writer import RowWriter
from polyroute.types.records import RequestRecord
from polyroute.types.usage import Price
from support.ledger_records import attempt, settled
from support.prepared_state import new_database

NOON = datetime.fromisoformat("2026-09-21T12:00:00+00:00").timestamp()
HOUR, DAY = 3600, 86_400
EVERYTHING = Retention(minutes=None, quarters=None, hours=None)


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return new_database(tmp_path / "ledger.db")


def write(database: Database, *records: RequestRecord) -> None:
    writer = RowWriter(database, Path())
    writer.write(records)
    writer.close()


def figures(database: Database, **query: Any) -> Series:
    wanted = {"since": NOON - HOUR, "until": NOON + 3 * HOUR} | query
    return LedgerAnalytics(database, EVERYTHING, clock=lambda: NOON).series(SeriesQuery(**wanted))


def by(series: Series, name: str) -> dict[str | None, SeriesPoint]:
    return {point.group[name]: point for point in series.points}


def test_requests_by_hour_with_all_that_is_told_of_them(database: Database) -> None:
    failed = attempt(1, "openai", outcome="failed", error_kind="unavailable")
    write(
        database,
        settled("a", created_at=NOON + 10, latency_ms=100.0, ttft_ms=20.0),
        settled("b", created_at=NOON + 20, latency_ms=300.0, attempts=[failed, attempt(2)], cache_read_tokens=5),
        settled("c", created_at=NOON + HOUR, cost_usd=None, status="COMPLETED"),
        settled(
            "d", created_at=NOON + HOUR + 5, status="FAILED", error_kind="timeout", actual_provider=None, cost_usd=None,
            latency_ms=9000.0, attempts=[],
        ),
        settled("e", created_at=NOON + HOUR + 6, status="CANCELLED", error_kind="cancelled"),
    )  # fmt: skip
    found = figures(database)
    assert [point.start for point in found.points] == ["2026-09-21T12:00:00+00:00", "2026-09-21T13:00:00+00:00"]
    first, second = found.points
    assert (first.requests, first.completed, first.fallbacks, first.fallback_rate) == (2, 2, 1, 0.5)
    assert (first.errors, first.attempt_errors) == ({}, {"unavailable": 1})
    assert first.tokens["input"] == 24
    assert first.tokens["cache_read"] == 5
    assert first.cost_usd == Decimal("0.0000396")
    assert first.latency_ms.mean == 200.0
    assert first.latency_ms.p99 == pytest.approx(300, rel=0.3)
    assert first.ttft_ms.p50 == pytest.approx(20, rel=0.3)
    assert (second.completed, second.failed, second.cancelled, second.unpriced) == (1, 1, 1, 1)
    assert second.errors == {"timeout": 1, "cancelled": 1}
    assert second.latency_ms.p99 < 200  # of completed ones only
    assert (found.total.requests, found.total.cost_usd) == (5, Decimal("0.0000594"))
    assert found.incomplete_before is None


def test_cost_is_unknown_where_nothing_that_was_served_has_a_price(database: Database) -> None:
    write(database, settled("a", created_at=NOON, cost_usd=None))
    assert figures(database).total.cost_usd is None
    assert figures(database, filters={"provider": ["nobody"]}).total.cost_usd == 0


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("provider", "actual_provider", "xai"),
        ("model", "actual_model", "grok"),
        ("route", "route", "fast"),
        ("key", "key_id", "key_1"),
        ("user", "user_id", "anna"),
        ("team", "team_id", "research"),
        ("operation", "operation", "image"),
    ],
)
def test_figures_by_group_and_filter(database: Database, name: str, field: str, value: str) -> None:
    write(database, settled("a", created_at=NOON, **{field: value}), settled("b", created_at=NOON))
    groups = by(figures(database, interval="total", group_by=(name,)), name)
    assert groups[value].requests == 1
    assert sum(point.requests for point in groups.values()) == 2
    assert figures(database, interval="total", filters={name: [value]}).total.requests == 1
    assert figures(database, interval="total", filters={name: [value, "other"]}).total.requests == 1
    if name in ("route", "key", "user", "team"):
        assert groups[None].requests == 1


def test_figures_by_tag(database: Database) -> None:
    write(
        database,
        settled("a", created_at=NOON, tags={"env": "prod", "team": "red"}),
        settled("b", created_at=NOON, tags={"env": "test"}, route="fast"),
        settled("c", created_at=NOON),
    )
    named = by(figures(database, interval="total", group_by=("tag:env",)), "tag:env")
    assert {value: point.requests for value, point in named.items()} == {"prod": 1, "test": 1}
    every = by(figures(database, interval="total", group_by=("tag",)), "tag")
    assert set(every) == {"env:prod", "env:test", "team:red"}
    assert figures(database, filters={"tag": ["env:test"], "route": ["fast"]}).total.requests == 1
    assert figures(database).total.requests == 3


def test_a_day_is_that_of_the_time_zone(database: Database) -> None:
    write(
        database,
        settled("a", created_at=NOON - 12 * HOUR - 45 * 60),  # 23:15 UTC of the day before
        settled("b", created_at=NOON),
        settled("c", created_at=NOON + 11.5 * HOUR),  # 23:30 UTC
    )
    spans: dict[str, Any] = {"since": NOON - DAY, "until": NOON + DAY, "interval": "day"}
    counted = {
        zone: [(point.start, point.requests) for point in figures(database, time_zone=zone, **spans).points]
        for zone in ("UTC", "Europe/Berlin", "Asia/Kathmandu")
    }
    assert counted["UTC"] == [("2026-09-20T00:00:00+00:00", 1), ("2026-09-21T00:00:00+00:00", 2)]
    assert counted["Europe/Berlin"] == [("2026-09-21T00:00:00+02:00", 2), ("2026-09-22T00:00:00+02:00", 1)]
    assert counted["Asia/Kathmandu"] == [("2026-09-21T00:00:00+05:45", 2), ("2026-09-22T00:00:00+05:45", 1)]


def test_the_day_on_which_clocks_go_back_has_25_hours_and_two_of_one_name(database: Database) -> None:
    berlin = ZoneInfo("Europe/Berlin")
    midnight = datetime(2026, 10, 25, tzinfo=berlin).timestamp()
    write(database, *(settled(f"r{hour}", created_at=midnight + hour * HOUR) for hour in range(26)))
    spans: dict[str, Any] = {"since": midnight, "until": midnight + 26 * HOUR, "time_zone": "Europe/Berlin"}
    days = figures(database, interval="day", **spans).points
    assert [(point.start, point.requests) for point in days] == [
        ("2026-10-25T00:00:00+02:00", 25),
        ("2026-10-26T00:00:00+01:00", 1),
    ]
    hours = figures(database, interval="hour", **spans).points
    assert [point.requests for point in hours] == [1] * 26
    assert [point.start for point in hours[2:4]] == ["2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00"]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    since=st.integers(-40 * DAY, 0),
    length=st.integers(60, 60 * DAY),
    interval=st.sampled_from(["hour", "day", "total"]),
    zone=st.sampled_from(["UTC", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Chatham"]),
)
def test_every_request_of_the_time_is_in_one_bucket(
    many: Database, since: int, length: int, interval: Any, zone: str
) -> None:
    found = figures(many, since=NOON + since, until=NOON + since + length, interval=interval, time_zone=zone)
    begin, end = (datetime.fromisoformat(text).timestamp() for text in (found.since, found.until))
    assert begin <= NOON + since < NOON + since + length <= end
    expected = [moment for moment in MOMENTS if begin <= moment < end]
    assert found.total.requests == len(expected)
    assert sum(point.requests for point in found.points) == len(expected)
    if interval == "day":
        dates: dict[str, int] = {}
        for moment in expected:
            date = datetime.fromtimestamp(moment, ZoneInfo(zone)).date().isoformat()
            dates[date] = dates.get(date, 0) + 1
        assert {str(point.start)[:10]: point.requests for point in found.points} == dates


MOMENTS = [NOON + number * 7 * HOUR + number * 61 for number in range(-150, 150)]


@pytest.fixture
def many(database: Database) -> Database:
    driver = database.connect()
    driver.execute("DELETE FROM requests")
    driver.close()
    write(database, *(settled(f"m{at}", created_at=moment) for at, moment in enumerate(MOMENTS)))
    return database


def test_simulated_requests_are_left_out_unless_they_are_all_there_is(database: Database) -> None:
    write(database, settled("a", created_at=NOON, simulated=True), settled("b", created_at=NOON))
    assert figures(database).total.requests == 1
    everything = LedgerAnalytics(database, EVERYTHING, simulated=True)
    assert everything.series(SeriesQuery(since=NOON, until=NOON + 60)).total.requests == 2


def test_savings_are_counted_where_both_costs_are_known(database: Database) -> None:
    write(
        database,
        settled("a", created_at=NOON, input_tokens=1000, output_tokens=500, cost_usd=Decimal("0.001")),
        settled("b", created_at=NOON, cost_usd=None),
    )
    card = Price(
        version="x", input=Decimal(10), output=Decimal(30), tiers=((100, Price(version="x", input=Decimal(99))),)
    )
    found = figures(database, baseline=card).total.savings
    assert found is not None
    assert found.baseline_usd == Decimal("0.025")  # 1000 at $10 and 500 at $30 a million
    assert found.saved_usd == Decimal("0.024")
    assert (found.compared, found.not_compared) == (1, 1)
    unknown = figures(database, baseline=Price(version="x")).total.savings
    assert unknown is not None
    assert (unknown.baseline_usd, unknown.saved_usd, unknown.not_compared) == (None, None, 2)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"group_by": ("colour",)}, "colour.*provider"),
        ({"filters": {"colour": ["red"]}}, "colour.*provider"),
        ({"filters": {"tag": ["env"]}}, "NAME:VALUE"),
        ({"filters": {"tag": ["a:b"]}, "group_by": ("tag:c",)}, "one tag at a time"),
        ({"group_by": ("tag:a", "tag:b")}, "one tag at a time"),
        ({"time_zone": "Mars/Olympus"}, "time zone.*Europe/Berlin"),
        ({"since": NOON, "until": NOON}, "after"),
        ({"interval": "minute", "since": NOON - 30 * DAY}, "buckets"),
        ({"since": -1.0}, "1970"),
    ],
)
def test_what_cannot_be_told_is_refused(database: Database, query: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        figures(database, **query)


def test_figures_that_are_no_longer_kept_are_said_to_be(database: Database) -> None:
    analytics = LedgerAnalytics(database, Retention(minutes=1.0), clock=lambda: NOON)
    found = analytics.series(SeriesQuery(since=NOON - 2 * DAY, until=NOON, interval="minute"))
    assert found.incomplete_before == "2026-09-20T12:00:00+00:00"
    recent = analytics.series(SeriesQuery(since=NOON - HOUR, until=NOON, interval="minute"))
    assert recent.incomplete_before is None
