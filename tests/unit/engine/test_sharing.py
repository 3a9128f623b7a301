"""Two gateways in one process that tell each other what they know through a folder."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import pytest

from polyroute.catalog.model import Catalog, Defaults
from polyroute.engine.access import ProviderAccess, Ticket
from polyroute.engine.drills import Drill, make_drill, parse_duration, parse_fault
from polyroute.engine.gateway import Gateway
from polyroute.engine.health import HealthRecorder
from polyroute.engine.limits import CallLimits
from polyroute.engine.runtime import LiveProvider, Runtime
from polyroute.engine.sharing import Sharing
from polyroute.ports import Call, Credential
from polyroute.routing.breaker import BreakerSettings
from polyroute.routing.breakers import Breakers
from polyroute.routing.credentials import CredentialPool
from polyroute.routing.limits import Refused
from polyroute.storage.exchange import StateFolder
from polyroute.types.errors import ErrorKind, Failure, PolyrouteError
from polyroute.types.limits import Limits, ProviderLimits
from polyroute.types.operations import Dialect, Operation
from polyroute.types.plans import Target
from polyroute.types.records import AttemptRecord, RequestRecord

TARGET = Target("openai", "m")
DOWN = Failure(kind=ErrorKind.UNAVAILABLE, message="down")


class Entries:
    """A ledger that keeps nothing."""

    def record(self, entry: RequestRecord) -> None:
        """Forget it."""


class Worker:
    """As much of a gateway as sharing needs."""

    def __init__(self, folder: Path) -> None:
        pool = CredentialPool([Credential("openai#1-aaaaaa", "sk-1"), Credential("openai#2-bbbbbb", "sk-2")])
        self.access = ProviderAccess(pool)
        nothing: Any = MappingProxyType({})
        live = LiveProvider(row=nothing, adapter=nothing, credentials=(), retries=nothing, access=self.access)
        catalog = Catalog(providers={}, routes={}, skipped=(), defaults=Defaults())
        self.runtime = Runtime(catalog, {"openai": live}, cast("Any", None))
        self.breakers = Breakers(BreakerSettings())
        self.limits = CallLimits()
        self.drills: dict[str, Drill] = {}
        self.recorder = HealthRecorder(Entries())
        self.sharing = Sharing(cast("Gateway", self), self.recorder, StateFolder(folder), interval=3600)

    def call(self, limits: Limits, identifier: str) -> Call:
        return Call(
            id=identifier, operation=Operation.CHAT, dialect=Dialect.OPENAI_CHAT, model="text", stream=False,
            body=b"x" * 40, content_type=b"",
        )  # fmt: skip


async def both(*workers: Worker) -> None:
    for _ in range(2):
        for worker in workers:
            await worker.sharing.round()


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_what_one_knows_the_other_knows_after_a_round(tmp_path: Path) -> None:
    one, two = Worker(tmp_path), Worker(tmp_path)
    await one.sharing.start()
    await two.sharing.start()
    for _ in range(3):
        one.breakers.fail(TARGET, Operation.CHAT, DOWN, now())
    one.access.pool.fail("openai#1-aaaaaa", "m", Failure(kind=ErrorKind.CREDENTIAL_REJECTED, message="no"), now())
    await both(one, two)
    assert two.breakers.state("openai chat") == "open"
    assert two.access.pool.others_left("m", now(), []) == 1
    before = two.breakers.snapshots()["openai chat"]
    for _ in range(5):
        await both(one, two)
    assert two.breakers.snapshots()["openai chat"] == before, "a state must not change by being told to and fro"
    assert two.breakers.reset("openai chat", now() + 1)
    two.access.pool.release(now() + 1)
    await both(two, one)
    assert one.breakers.state("openai chat") == "closed"
    assert one.access.pool.others_left("m", now() + 1, []) == 2
    await one.sharing.stop()
    await two.sharing.stop()


async def test_a_restart_on_another_clock_goes_on_where_the_last_run_stopped(tmp_path: Path) -> None:
    one = Worker(tmp_path)
    await one.sharing.start()
    for _ in range(3):
        one.breakers.fail(TARGET, Operation.CHAT, DOWN, now())
    until = one.breakers.snapshots()["openai chat"].until
    one.recorder.record(served())
    await one.sharing.stop()
    again = Worker(tmp_path)
    loop = asyncio.get_running_loop()
    real = loop.time
    loop.time = lambda: real() - 50_000.0  # type: ignore[method-assign] # as after a reboot
    try:
        await again.sharing.start()
        found = again.breakers.snapshots()["openai chat"]
    finally:
        loop.time = real  # type: ignore[method-assign] # put back
    assert found.state == "open"
    assert found.until == pytest.approx(until - 50_000.0, abs=1)
    assert again.recorder.windows["openai"].fine[-1].served == 1
    await again.sharing.stop()


async def test_what_others_let_through_counts_here(tmp_path: Path) -> None:
    limits = Limits(requests_per_minute=10, concurrency=3)
    one, two = Worker(tmp_path), Worker(tmp_path)
    await one.sharing.start()
    await two.sharing.start()
    await both(one, two)
    for number in range(2):
        one.limits.admit(one.call(limits, f"a{number}"), "text", limits, now())
    await both(one, two)
    two.limits.admit(two.call(limits, "b"), "text", limits, now())
    await both(two, one)
    with pytest.raises(PolyrouteError, match="3 requests at once"):
        one.limits.admit(one.call(limits, "c"), "text", limits, now())
    left = one.limits.limiters["route text"].remaining(now())
    assert (left.requests, left.concurrency) == (7, 0)
    await two.sharing.stop()
    await one.sharing.round()
    assert one.limits.limiters["route text"].remaining(now()).concurrency == 1, "a worker that left holds no place"
    await one.sharing.stop()


async def test_files_that_nobody_understands_are_nobodys_news(tmp_path: Path) -> None:
    one = Worker(tmp_path)
    (tmp_path / "worker-0.state").write_bytes(b"\x00not ours")
    (tmp_path / "worker-7.state").write_bytes(b"\xff" * 100)
    (tmp_path / "drills.json").write_bytes(b"[{")
    await one.sharing.start()
    assert one.drills == {}
    assert one.sharing.others == []
    await one.sharing.stop()


async def test_a_drill_is_one_to_a_provider_and_over_when_it_is_over(tmp_path: Path) -> None:
    one = Worker(tmp_path)
    await one.sharing.start()
    await one.sharing.start_drill(make_drill("openai", "503", "5m"))
    await one.sharing.start_drill(make_drill("openai", "slow", "5m"))
    past = Drill(provider="groq", fault="reset", since=1.0, until=time.time() - 1)
    await one.sharing.start_drill(past)
    assert {name: drill.fault for name, drill in one.drills.items()} == {"openai": "slow"}
    assert await one.sharing.end_drills("openai") == 1
    assert one.drills == {}
    await one.sharing.stop()


def served() -> RequestRecord:
    attempt = AttemptRecord(
        number=1, provider="openai", model="m", started_at=time.time(), outcome="served", duration_ms=20.0
    )
    return RequestRecord(
        id="req_1", created_at=time.time(), operation="chat", status="COMPLETED", requested_model="text",
        dialect="openai_chat", attempts=[attempt],
    )  # fmt: skip


# ---------------------------------------------------------------- the queue


async def test_who_came_first_goes_first_and_who_leaves_loses_the_place() -> None:
    access = ProviderAccess(CredentialPool([]), ProviderLimits(concurrency=1, queue_seconds=30))
    first = access.enter("m", 1, now(), 0.0, [], last=True)
    assert isinstance(first, Ticket)
    order: list[str] = []

    async def wait(name: str) -> Ticket:
        found = await access.queue("m", 1, 0.0, [], deadline=now() + 30)
        assert isinstance(found, Ticket)
        order.append(name)
        return found

    waiting = [asyncio.create_task(wait(name)) for name in ("a", "b", "c")]
    await asyncio.sleep(0)
    assert access.load.queued == 3
    assert isinstance(access.enter("m", 1, now(), 0.0, [], last=True), Refused), "nobody overtakes the queue"
    waiting[1].cancel()
    done = AttemptRecord(number=1, provider="p", model="m", started_at=0.0)
    access.leave(first, done, now())
    second = await waiting[0]
    assert not waiting[2].done()
    access.leave(second, done, now())
    await waiting[2]
    assert order == ["a", "c"]
    assert access.load.queued == 0


async def test_a_full_queue_and_a_long_wait_are_refused_at_once() -> None:
    access = ProviderAccess(CredentialPool([]), ProviderLimits(concurrency=1, queue=0))
    assert isinstance(access.enter("m", 1, now(), 0.0, [], last=True), Ticket)
    found = await access.queue("m", 1, 0.0, [], deadline=now() + 30)
    assert isinstance(found, Refused)
    minute = ProviderAccess(CredentialPool([]), ProviderLimits(requests_per_minute=1, queue_seconds=5))
    assert isinstance(minute.enter("m", 1, now(), 0.0, [], last=True), Ticket)
    begun = now()
    late = await minute.queue("m", 1, 0.0, [], deadline=now() + 30)
    assert isinstance(late, Refused)
    assert late.retry_after > 5
    assert now() - begun < 1


async def test_a_reload_keeps_the_places_that_are_taken() -> None:
    limits = ProviderLimits(concurrency=1)
    before = ProviderAccess(CredentialPool([]), limits)
    ticket = before.enter("m", 1, now(), 0.0, [], last=True)
    assert isinstance(ticket, Ticket)
    after = ProviderAccess(CredentialPool([]), limits)
    after.inherit(before)
    assert isinstance(after.enter("m", 1, now(), 0.0, [], last=False), Refused)
    before.leave(ticket, AttemptRecord(number=1, provider="p", model="m", started_at=0.0), now())
    assert isinstance(after.enter("m", 1, now(), 0.0, [], last=False), Ticket)


# ---------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("5m", 300), ("1h30m", 5400), ("1.5s", 1.5), ("", None), ("soon", None), ("-5s", None)],
)
def test_durations_are_read(text: str, seconds: float | None) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["200", "600", "50", "outage", ""])
def test_faults_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a fault is"):
        parse_fault(text)


@pytest.mark.parametrize("workers", [2, 3])
async def test_workers_overshoot_a_limit_by_no_more_than_what_was_left_when_they_last_met(
    tmp_path: Path, workers: int
) -> None:
    limits = Limits(requests_per_minute=12)
    everybody = [Worker(tmp_path) for _ in range(workers)]
    for worker in everybody:
        await worker.sharing.start()
    assert await admitted(everybody[0], limits, 6) == 6
    await both(*everybody)
    passed = 6
    for worker in everybody:  # also those that were never asked before
        passed += await admitted(worker, limits, 100)
    assert passed <= 6 + workers * 6
    await both(*everybody)
    for worker in everybody:
        assert await admitted(worker, limits, 100) == 0, "what was too much is known now"
        await worker.sharing.stop()


async def admitted(worker: Worker, limits: Limits, asked: int) -> int:
    """How many of so many requests one worker lets through at once."""
    count = 0
    for number in range(asked):
        try:
            worker.limits.admit(worker.call(limits, f"{id(worker)}-{number}"), "text", limits, now())
        except PolyrouteError:
            continue
        count += 1
    return count


async def test_the_running_minute_goes_on_in_the_next_run(tmp_path: Path) -> None:
    limits = Limits(requests_per_minute=5)
    one = Worker(tmp_path)
    await one.sharing.start()
    assert await admitted(one, limits, 3) == 3
    await one.sharing.round()  # and then it is killed
    await asyncio.to_thread(one.sharing._exchange.leave)
    again = Worker(tmp_path)
    await again.sharing.start()
    assert await admitted(again, limits, 100) == 2
    await again.sharing.stop()
