"""Rollups: whatever was written, in whatever order and however often, they say what the rows add up to."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from polyroute.storage.database import Database
from polyroute.storage.histograms import BINS, UPPER_BOUNDS, bin_of, percentile
from polyroute.storage.marks import ROLLUPS_COUNTED
from polyroute.storage.recounting import Recounting
from polyroute.storage.rollups import (
    ATTEMPT_STATUS,
    DAY,
    DIMENSIONS,
    MINUTE,
    OTHER,
    QUARTER,
    SUMS,
    Census,
    Rollups,
    amount_of,
    units_of,
)
from polyroute.storage.writer import RowWriter
from polyroute.types.records import RequestRecord
from support.ledger_records import attempt, settled
from support.prepared_state import new_database

NOON = 1_790_000_000 - 1_790_000_000 % DAY + DAY / 2


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return new_database(tmp_path / "ledger.db")


def write(database: Database, *records: RequestRecord) -> None:
    writer = RowWriter(database, Path())
    writer.write(records)
    writer.close()


def rollups(database: Database, level: int = DAY, **dimensions: Any) -> list[dict[str, Any]]:
    """Rollups of a level with the words of their series; only those that have the given ones."""
    names = ("start", *SUMS, *DIMENSIONS, "simulated", "priced")
    driver = database.connect()
    statement = driver.sql(
        f"SELECT {','.join(names)} FROM rollups JOIN rollup_series ON series = id WHERE level = ? "
        "ORDER BY start, provider, status, tag_name, tag_value, error_kind"
    )
    rows = driver.execute(statement, (level,)).fetchall()
    driver.close()
    found = [dict(zip(names, row, strict=True)) for row in rows]
    return [row for row in found if all(row[name] == value for name, value in dimensions.items())]


def everything(database: Database) -> set[tuple[Any, ...]]:
    driver = database.connect()
    rows = driver.execute(f"SELECT level, start, series, {','.join(SUMS)} FROM rollups").fetchall()
    driver.close()
    return set(rows)


def empty(database: Database) -> None:
    driver = database.connect()
    for table in ("requests", "rollups", "rollup_series", "attempt_totals"):
        driver.execute(f"DELETE FROM {table}")
    driver.close()


def test_a_request_counts_once_with_all_that_it_used_and_cost(database: Database) -> None:
    write(
        database,
        settled(
            created_at=NOON + 61,
            key_id="key_1",
            user_id="anna",
            route="text",
            input_tokens=12,
            cache_read_tokens=100,
            output_tokens=30,
            seconds=1.5,
            cost_usd=Decimal("0.0000198001"),
            latency_ms=130.5,
            ttft_ms=20.25,
        ),
    )
    (row,) = rollups(database, MINUTE)
    assert (row["start"], row["requests"], row["input_tokens"], row["cache_read_tokens"]) == (NOON + 60, 1, 12, 100)
    assert (row["output_tokens"], row["media_ms"], row["latency_us"], row["ttft_us"]) == (30, 1500, 130_500, 20_250)
    assert amount_of(row["cost_e10"]) == Decimal("0.0000198001")
    assert (row["key_id"], row["user_id"], row["route"], row["status"]) == ("key_1", "anna", "text", "COMPLETED")
    assert row[f"latency_{bin_of(130.5):02}"] == 1
    assert row[f"ttft_{bin_of(20.25):02}"] == 1
    assert sum(row[name] for name in SUMS if name.startswith("latency_") and name != "latency_us") == 1
    assert (row["unpriced"], row["unmetered"], row["fallbacks"], row["failed_attempts"]) == (0, 0, 0, 0)
    assert [row["start"] for row in rollups(database, QUARTER)] == [NOON]
    assert [row["start"] for row in rollups(database, DAY)] == [NOON - DAY / 2]


def test_a_request_that_is_written_again_counts_once(database: Database) -> None:
    write(database, settled("a"), settled("b"))
    write(database, settled("b"), settled("c"))
    assert [row["requests"] for row in rollups(database)] == [3]


def test_what_failed_at_one_provider_and_was_served_by_the_next_counts_at_both(database: Database) -> None:
    failed = attempt(1, "openai", model="gpt-4o", outcome="failed", error_kind="unavailable")
    write(database, settled(attempts=[failed, attempt(2)]))
    (served,) = rollups(database, status="COMPLETED")
    (broken,) = rollups(database, status=ATTEMPT_STATUS)
    assert (served["provider"], served["requests"], served["fallbacks"]) == ("aimlapi", 1, 1)
    assert (broken["provider"], broken["model"], broken["error_kind"]) == ("openai", "gpt-4o", "unavailable")
    assert (broken["requests"], broken["failed_attempts"]) == (0, 1)


def test_a_second_try_of_the_same_target_is_no_fallback(database: Database) -> None:
    write(database, settled(attempts=[attempt(1, outcome="failed", error_kind="timeout"), attempt(2)]))
    (row,) = rollups(database, status="COMPLETED")
    assert row["fallbacks"] == 0


def test_unknown_cost_is_counted_and_never_free(database: Database) -> None:
    write(database, settled("a", cost_usd=None), settled("b"), settled("c", cost_usd=None, actual_provider=None))
    served = rollups(database, provider="aimlapi")
    assert [(row["requests"], row["unpriced"]) for row in served if not row["priced"]] == [(1, 1)]
    assert [(row["requests"], row["unpriced"]) for row in served if row["priced"]] == [(1, 0)]
    (refused,) = rollups(database, provider="")
    assert refused["unpriced"] == 0


def test_a_request_counts_for_each_of_its_tags_too(database: Database) -> None:
    write(database, settled("a", tags={"env": "prod", "team": "red"}), settled("b", tags={"env": "prod"}))
    found = {(row["tag_name"], row["tag_value"]): row["requests"] for row in rollups(database)}
    assert found == {("", ""): 2, ("env", "prod"): 2, ("team", "red"): 1}


def test_a_day_tells_only_so_many_users_and_tags_apart() -> None:
    sums = Rollups(census=Census(users=2, tags=2))
    sums.add(settled(user_id=f"u{number}", tags={"n": f"{number}"}, created_at=NOON) for number in range(5))
    sums.add([settled(user_id="u9", created_at=NOON + DAY)])  # the next day begins anew
    users = {(series[4], series[9], series[10]) for series in sums.series.values()}
    assert {user for user, *_ in users} == {"u0", "u1", OTHER, "u9"}
    assert {(name, value) for _, name, value in users if name} == {("n", "0"), ("n", "1"), ("n", OTHER)}


@pytest.mark.parametrize("odd", [float("inf"), float("-inf"), 1e300, -5.0])
def test_absurd_durations_do_not_stop_the_ledger(database: Database, odd: float) -> None:
    write(database, settled("a", latency_ms=odd, ttft_ms=odd), settled("b", input_tokens=2**70))
    assert sum(row["requests"] for row in rollups(database)) == 2


names = st.sampled_from(["a", "b", "ü", ""])
records = st.builds(
    settled,
    st.uuids().map(str),
    created_at=st.floats(NOON - 2 * DAY, NOON + 2 * DAY).map(lambda moment: round(moment, 3)),
    operation=st.sampled_from(["chat", "image"]),
    status=st.sampled_from(["COMPLETED", "FAILED", "CANCELLED"]),
    error_kind=st.sampled_from([None, "timeout"]),
    key_id=st.none() | names,
    user_id=st.none() | names,
    team_id=st.none() | names,
    route=st.none() | names,
    actual_provider=st.none() | names,
    input_tokens=st.none() | st.integers(0, 10**7),
    output_tokens=st.none() | st.integers(0, 10**7),
    seconds=st.none() | st.floats(0, 1000).map(lambda value: round(value, 3)),
    cost_usd=st.none() | st.decimals(0, 1000, places=10),
    latency_ms=st.floats(0, 10**6),
    ttft_ms=st.none() | st.floats(0, 10**5),
    usage_estimated=st.booleans(),
    simulated=st.booleans(),
    tags=st.dictionaries(names, names, max_size=3),
    attempts=st.lists(
        st.builds(attempt, provider=names, outcome=st.sampled_from(["served", "failed", "cancelled"])), max_size=3
    ).map(lambda tries: [attempt(at, one.provider, outcome=one.outcome) for at, one in enumerate(tries, 1)]),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(st.lists(records, max_size=8), max_size=4))
def test_the_rollups_are_what_the_rows_add_up_to(database: Database, batches: list[list[RequestRecord]]) -> None:
    empty(database)
    for batch in batches:
        write(database, *batch)
    kept = everything(database)
    at_once = Rollups()
    at_once.add(record for batch in batches for record in batch)
    assert kept == {(*key, *sums) for key, sums in at_once.cells().items()}
    assert Recounting(database).run() == sum(map(len, batches))
    assert everything(database) == kept


def test_what_was_never_counted_is_counted_once(database: Database) -> None:
    write(database, settled("a", created_at=NOON), settled("b", created_at=NOON + 90_000))
    whole = everything(database)
    driver = database.connect()
    driver.execute(f"DELETE FROM rollups WHERE start < {int(NOON)} + 10")
    driver.execute(f"DELETE FROM ledger_marks WHERE name = '{ROLLUPS_COUNTED}'")
    driver.close()
    recounting = Recounting(database)
    assert recounting.needed()
    assert recounting.run() == 2
    assert not recounting.needed()
    assert everything(database) == whole


def test_a_count_that_was_interrupted_is_needed_again(database: Database) -> None:
    write(database, settled("a"))
    driver = database.connect()
    driver.execute("DELETE FROM ledger_marks")
    driver.close()
    assert Recounting(database).run(keep_on=lambda: False) == 0
    assert Recounting(database).needed()


@given(st.lists(st.floats(0.5, 700_000), min_size=1, max_size=200), st.floats(0.01, 1))
def test_a_percentile_is_off_by_less_than_a_bin(durations: list[float], share: float) -> None:
    counts = [0] * BINS
    for duration in durations:
        counts[bin_of(duration)] += 1
    found = percentile(counts, share)
    exact = sorted(durations)[max(0, -int(-share * len(durations) // 1) - 1)]
    assert found is not None
    assert abs(bin_of(found) - bin_of(exact)) <= 1


def test_percentiles_of_nothing_and_of_the_very_long() -> None:
    assert percentile([0] * BINS, 0.5) is None
    assert percentile([0] * (BINS - 1) + [3], 0.5) == UPPER_BOUNDS[-1]


@given(st.decimals(0, 10**6, places=10))
def test_amounts_are_added_up_exactly(amount: Decimal) -> None:
    assert amount_of(units_of(amount)) == amount
