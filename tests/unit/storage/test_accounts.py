"""What reconciliation and back-tests read of the ledger."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from polyroute.accounting.comparing import Consumption
from polyroute.storage.accounts import consumption
from polyroute.storage.database import Database
from polyroute.storage.replays import past_requests
from polyroute.storage.writer import RowWriter
from polyroute.types.records import RequestRecord
from support.ledger_records import attempt, settled

BEGAN = 1_790_000_000.0
START = datetime.fromtimestamp(BEGAN, UTC)
DAY = timedelta(days=1)


def write(database: Database, folder: Path, records: list[RequestRecord]) -> None:
    writer = RowWriter(database, folder)
    try:
        assert writer.write(records) == len(records)
    finally:
        writer.close()


def test_everything_that_a_provider_may_charge_is_consumption(database: Database, tmp_path: Path) -> None:
    tries = [
        attempt(1, "openrouter", outcome="failed", error_kind="unavailable", started_at=BEGAN),
        attempt(2, "openrouter", outcome="cancelled", input_tokens=9, output_tokens=1, started_at=BEGAN),
        attempt(3, "openrouter", input_tokens=9, output_tokens=4, upstream_request_id="gen-1", started_at=BEGAN + 1),
        attempt(4, "openai", input_tokens=9, started_at=BEGAN + 1),
    ]
    write(database, tmp_path, [settled(attempts=tries, cost_usd=Decimal("0.25"))])
    write(database, tmp_path, [settled("req_2", simulated=True, attempts=[attempt(1, "openrouter", started_at=BEGAN)])])
    found = list(consumption(database, "openrouter", START - DAY, START + DAY))
    day = START.date().isoformat()
    assert found == [
        Consumption(day=day, model="gpt-4o-mini", id=None, input_tokens=9, output_tokens=1, cost_usd=None),
        Consumption(
            day=day, model="gpt-4o-mini", id="gen-1", input_tokens=9, output_tokens=4, cost_usd=Decimal("0.25")
        ),
    ]
    assert not list(consumption(database, "openrouter", START + DAY, START + 2 * DAY))
    assert len(list(consumption(database, "openrouter", START - DAY, START + DAY, simulated=True))) == 1


def test_requests_are_read_once_each_in_the_order_of_their_time(database: Database, tmp_path: Path) -> None:
    records = [
        # Many at the same moment, more than are read at once.
        settled(f"req_{number:04}", created_at=BEGAN + number // 400, route="a" if number % 2 else "b", decision="[1]")
        for number in range(1201)
    ]
    write(database, tmp_path, records)
    found = list(past_requests(database, START, START + DAY))
    assert [request.id for request in found] == [record.id for record in records]
    assert found[0].attempts[0].target == "aimlapi/gpt-4o-mini"
    assert found[0].decision == b"[1]"
    assert len(list(past_requests(database, START, START + DAY, route="a"))) == 600
    assert len(list(past_requests(database, START + timedelta(seconds=3), START + DAY))) == 1


def test_usage_comes_back_as_it_was_counted(database: Database, tmp_path: Path) -> None:
    record = settled(
        images=2, image_size="2K", image_quality="high", video_seconds=2.5, video_size="720p", web_searches=1,
        image_output_tokens=1056, service_tier="flex", provider_requests=3, reported_credits=Decimal("1.5"),
        priced_cost_usd=Decimal("0.02"), created_at=BEGAN,
    )  # fmt: skip
    write(database, tmp_path, [record])
    [request] = past_requests(database, START, START + DAY)
    usage = request.usage
    assert (usage.images, usage.image_size, usage.image_quality, usage.image_output) == (2, "2K", "high", 1056)
    assert (usage.video_seconds, usage.video_size, usage.web_searches) == (2.5, "720p", 1)
    assert (usage.tier, usage.requests, usage.input, usage.output) == ("flex", 3, 12, 30)
    driver = database.connect()
    row = driver.execute("SELECT reported_credits, priced_cost_usd FROM requests").fetchone()
    driver.close()
    assert [Decimal(str(amount)) for amount in row] == [Decimal("1.5"), Decimal("0.02")]
