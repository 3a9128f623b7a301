"""`kill -9` in mid-load, ten times in a row, of a worker, of all processes, of the ledger's writer, of PostgreSQL: every answer
that a client received whole has its row, once, nothing is counted twice, and budgets have spent what the rows cost. And a
database that is away for a while."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import pytest

from polyroute.storage.database import Driver, open_database
from polyroute.storage.leases import LeaseBank
from polyroute.storage.status import read_status
from support.asks import CHAT, STREAM, Ask
from support.eventually import eventually
from support.gateway_process import GatewayProcess
from support.postgres_server import PostgresServer
from support.simulated_providers import SimulatedProviders

KILLS = 10
ASKS = (CHAT, CHAT, STREAM)


class Load:
    """Clients that go on asking whatever happens, until they are told to end. `whole` are the ids of the answers that they
    received whole, `refused` the statuses of the others."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.whole: list[str] = []
        self.refused: list[int] = []
        self.broken = 0
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(ask,)) for ask in ASKS]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> None:
        """Let every client have its last answer."""
        self._end.set()
        for thread in self._threads:
            thread.join(30)

    def _ask(self, ask: Ask) -> None:
        while not self._end.is_set():
            with (
                httpx.Client(base_url=self.url, timeout=20, trust_env=False) as client,
                suppress(httpx.TransportError),
            ):
                while not self._end.is_set():
                    self._take(ask, ask.send(client, "text"))
            if not self._end.wait(0.02):
                self.broken += 1

    def _take(self, ask: Ask, answer: httpx.Response) -> None:
        if answer.status_code != 200:
            self.refused.append(answer.status_code)
        elif ask is not STREAM or answer.content.endswith(b"data: [DONE]\n\n"):
            self.whole.append(answer.headers["x-polyroute-request-id"])

    def go_on(self, answers: int) -> None:
        """Wait for so many more answers."""
        goal = len(self.whole) + answers
        eventually(lambda: len(self.whole) >= goal, within=60)


def configuration(sandbox: SimulatedProviders, url: str, *, away: str = "allow", **storage: Any) -> str:
    providers = {"openai": {"base_url": f"{sandbox.url}/openai/v1", "api_key": "sk-openai"}}
    budgets = {
        "all": {"amount": "900 USD", "window": "total", "database_away": away},
        "text": {"amount": "500 USD", "scope": "route", "subject": "text", "window": "total", "database_away": away},
    }
    return json.dumps({"providers": providers, "budgets": budgets, "storage": {"database": url, **storage}})


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def writer_of(folder: Path) -> int:
    """The process id of the writer that is there."""

    def look() -> int:
        said = read_status(folder / "polyroute.journal")
        return said.pid if said is not None and Path(f"/proc/{said.pid}").exists() else 0

    return eventually(look)


def budgets_of(driver: Driver) -> dict[str, int]:
    """What is leased of each budget, each of which has spent to the last digit what all requests cost."""
    rows = driver.execute(
        "SELECT budget_id, spent, leased, (SELECT CAST(ROUND(COALESCE(SUM(cost_usd), 0) * 10000000000) AS BIGINT) "
        "FROM requests) FROM budget_windows ORDER BY budget_id"
    ).fetchall()
    assert all(spent == cost for _, spent, _, cost in rows), rows
    assert all(leased >= 0 for _, _, leased, _ in rows), rows
    return {row[0]: int(row[2]) for row in rows}


def budgets_are_right(url: str) -> None:
    """Whatever was killed just now, and whoever is still writing."""
    database = open_database(url)
    driver = database.connect()
    budgets_of(driver)
    driver.close()
    database.close()


def check(url: str, folder: Path, load: Load, *, more: int) -> None:
    """Each answer has its row; at most `more` requests have one whose answer did not arrive. Budgets have spent what those
    rows cost, and nobody holds anything any more."""
    database = open_database(url)
    LeaseBank(database, folder / "polyroute.journal").close()  # as a worker that starts
    driver = database.connect()
    rows = [row[0] for row in driver.execute("SELECT id FROM requests WHERE status = 'COMPLETED'").fetchall()]
    served = {row[0] for row in driver.execute("SELECT request_id FROM attempts WHERE outcome = 'served'").fetchall()}
    attempts, total = (
        driver.execute(f"SELECT CAST({what} AS BIGINT) FROM {table}").fetchone()[0]
        for what, table in (("COUNT(*)", "attempts"), ("SUM(attempts)", "attempt_totals"))
    )
    spent = budgets_of(driver)
    driver.close()
    database.close()
    assert spent == {"all": 0, "text": 0}, "a lease of the dead was not ended"
    assert len(load.whole) == len(set(load.whole))
    assert len(rows) == len(set(rows))
    assert set(load.whole) - set(rows) == set(), "answers without a row"
    assert len(set(rows) - set(load.whole)) <= more, "rows without an answer"
    assert set(load.whole) <= served
    assert attempts == total, "an attempt was counted twice, or not at all"
    assert load.refused == []


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/polyroute.db"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.create()


@pytest.fixture
def gateway(sandbox: SimulatedProviders, tmp_path: Path, url: str) -> Iterator[GatewayProcess]:
    with GatewayProcess(tmp_path, configuration(sandbox, url), ["--workers", "2"]) as process:
        yield process


def test_workers_are_killed(gateway: GatewayProcess, tmp_path: Path, url: str) -> None:
    with Load(gateway.url) as load:
        for number in range(KILLS):
            load.go_on(8)
            workers = children(gateway.process_id)
            os.kill(workers[number % len(workers)], signal.SIGKILL)
    gateway.stop()
    check(url, tmp_path, load, more=KILLS * len(ASKS))
    assert load.broken >= 1


def test_all_processes_are_killed(sandbox: SimulatedProviders, tmp_path: Path, url: str) -> None:
    config = configuration(sandbox, url)
    load = Load("http://127.0.0.1:1")
    with load:
        for number in range(KILLS + 1):
            with GatewayProcess(tmp_path, config) as gateway:
                budgets_are_right(url)
                load.url = gateway.url
                load.go_on(8)
                if number < KILLS:
                    gateway.kill()
                else:
                    load.end()
    check(url, tmp_path, load, more=KILLS * len(ASKS))


def test_the_writer_is_killed(gateway: GatewayProcess, tmp_path: Path, url: str) -> None:
    with Load(gateway.url) as load:
        for _ in range(KILLS):
            load.go_on(8)
            killed = writer_of(tmp_path)
            os.kill(killed, signal.SIGKILL)
            eventually(lambda killed=killed: writer_of(tmp_path) != killed)
    gateway.stop()
    assert load.broken == 0
    check(url, tmp_path, load, more=0)
    assert gateway.log.count("writer ended with status -9") == KILLS


def test_the_writer_ends_with_the_process_that_started_it_and_writes_up_what_is_left(
    sandbox: SimulatedProviders, tmp_path: Path, url: str
) -> None:
    with GatewayProcess(tmp_path, configuration(sandbox, url)) as gateway, Load(gateway.url) as load:
        load.go_on(8)
        writer = writer_of(tmp_path)
        gateway.signal(signal.SIGKILL)  # this one alone; nobody starts it again
        eventually(lambda: not Path(f"/proc/{writer}/exe").exists())
    check(url, tmp_path, load, more=len(ASKS))
    assert list((tmp_path / "polyroute.journal").glob("*.journal")) == []


def test_postgresql_is_killed(sandbox: SimulatedProviders, tmp_path: Path, postgres: PostgresServer) -> None:
    url = postgres.create()
    with GatewayProcess(tmp_path, configuration(sandbox, url), ["--workers", "2"]) as gateway:
        with Load(gateway.url) as load:
            for _ in range(KILLS):
                load.go_on(8)
                postgres.kill()
                load.go_on(5)
                postgres.start()
        gateway.stop()
    assert load.broken == 0
    check(url, tmp_path, load, more=0)


@pytest.fixture
def postgres(postgres: PostgresServer) -> Iterator[PostgresServer]:
    """The server, which runs again after a test that stopped it and failed."""
    yield postgres
    postgres.start()


def metrics(url: str) -> dict[str, float]:
    text = httpx.get(f"{url}/metrics", trust_env=False).text
    return {found[1]: float(found[2]) for found in re.finditer(r"^(polyroute_\w+) (\S+)$", text, re.MULTILINE)}


def test_calls_go_on_while_the_database_is_away_and_are_written_up_when_it_is_back(
    sandbox: SimulatedProviders, tmp_path: Path, postgres: PostgresServer
) -> None:
    url = postgres.create()
    with GatewayProcess(tmp_path, configuration(sandbox, url), ["--workers", "2"]) as gateway:
        with Load(gateway.url) as load:
            load.go_on(8)
            postgres.stop()
            away = time.monotonic()
            load.go_on(100)
            eventually(lambda: metrics(gateway.url)["polyroute_ledger_backlog_rows"] >= 100)
            seen = metrics(gateway.url)
            assert seen["polyroute_ledger_database_up"] == 0
            assert seen["polyroute_journal_full"] == 0
            assert seen["polyroute_ledger_backlog_bytes"] > 10_000
            assert 0 < seen["polyroute_ledger_backlog_oldest_seconds"] < time.monotonic() - away + 5
            assert httpx.get(f"{gateway.url}/ready", trust_env=False).status_code == 200
            told = httpx.get(f"{gateway.url}/admin/api/health", trust_env=False).json()["ledger"]
            assert told["database"] is False
            assert told["rows"] >= 100
            assert "connection" in told["error"]
            body = {"model": "text", "input": "Hello"}
            kept = httpx.post(f"{gateway.url}/v1/responses", json=body, timeout=20, trust_env=False)
            assert kept.status_code == 200  # though nobody can go on from it
            load.whole.append(kept.headers["x-polyroute-request-id"])
            postgres.start()
            eventually(lambda: metrics(gateway.url)["polyroute_ledger_database_up"] == 1)
        eventually(lambda: metrics(gateway.url)["polyroute_ledger_backlog_rows"] == 0)
        gateway.stop()
    assert load.broken == 0
    check(url, tmp_path, load, more=0)
    assert gateway.log.count("the database does not take requests") == 1
    assert gateway.log.count("the database takes requests again") == 1


@pytest.mark.parametrize("choice", ["refuse", "allow"])
def test_a_budget_that_cannot_be_asked_refuses_or_lets_pass_with_an_alarm(
    sandbox: SimulatedProviders, tmp_path: Path, postgres: PostgresServer, choice: str
) -> None:
    url = postgres.create()
    with (
        GatewayProcess(tmp_path, configuration(sandbox, url, away=choice)) as gateway,
        httpx.Client(base_url=gateway.url, timeout=20, trust_env=False) as client,
    ):
        postgres.stop()  # before anything was leased
        answer = CHAT.send(client, "text")
        text = client.get("/metrics").text
        if choice == "refuse":
            assert answer.status_code == 503
            assert answer.json()["error"]["code"] == "budget_unavailable"
            assert "budget 'all' cannot be checked" in answer.json()["error"]["message"]
            assert answer.headers["retry-after"] == "5"
        else:
            assert answer.status_code == 200
            assert 'polyroute_budget_unchecked_requests_total{budget="all"} 1.0' in text
            assert "UNCHECKED" in gateway.log
        assert 'polyroute_budget_limit{budget="all",unit="USD"} 900.0' in text
        postgres.start()
        eventually(lambda: CHAT.send(client, "text").status_code == 200)
        checked = CHAT.send(client, "text")
        assert checked.status_code == 200
        eventually(lambda: metrics(gateway.url)["polyroute_ledger_backlog_rows"] == 0)
        budgets_are_right(url)


@pytest.mark.parametrize("choice", ["refuse", "continue"])
def test_a_full_journal_refuses_calls_or_goes_on_with_an_alarm(
    sandbox: SimulatedProviders, tmp_path: Path, postgres: PostgresServer, choice: str
) -> None:
    url = postgres.create()
    config = configuration(sandbox, url, journal={"limit": "4MB", "when_full": choice})
    large = {f"tag{number}": "x" * 250 for number in range(10)}

    def ask(client: httpx.Client, **tags: str) -> httpx.Response:
        return CHAT.send(client, "text", **({"x_polyroute_tags": json.dumps(tags)} if tags else {}))

    with (
        GatewayProcess(tmp_path, config) as gateway,
        httpx.Client(base_url=gateway.url, timeout=20, trust_env=False) as client,
    ):
        postgres.stop()
        answered, answer = 0, ask(client, **large)
        while answer.status_code == 200:
            answered += 1
            if choice == "continue" and answered % 100 == 0 and metrics(gateway.url)["polyroute_journal_full"]:
                break
            answer = ask(client, **large)
        seen = metrics(gateway.url)
        assert 4_000_000 < seen["polyroute_journal_bytes"] < 8_000_000
        if choice == "refuse":
            assert answer.status_code == 503
            assert answer.json()["error"]["code"] == "ledger_full"
            assert "journal is full" in answer.json()["error"]["message"]
            assert answer.headers["retry-after"] == "5"
            assert client.get("/ready").status_code == 503
        else:
            assert ask(client).status_code == 200
            eventually(lambda: metrics(gateway.url)["polyroute_unmetered_requests_total"] >= 1)
            assert "UNMETERED" in gateway.log
        postgres.start()
        eventually(lambda: metrics(gateway.url)["polyroute_journal_full"] == 0)
        eventually(lambda: ask(client).status_code == 200)
        unmetered = metrics(gateway.url)["polyroute_unmetered_requests_total"]
        gateway.stop()
    database = open_database(url)
    driver = database.connect()
    rows = driver.execute("SELECT COUNT(*) FROM requests").fetchone()[0]
    driver.close()
    database.close()
    asked = answered + (1 if choice == "refuse" else 2)  # and one when the database was back
    assert rows == asked - unmetered
