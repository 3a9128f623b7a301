"""Tracker, walk and runner under processes that die at any step: whatever happens, nothing is ordered twice, no state goes
back, and every job is settled as it ended."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyroute.composition.app import App, build_app
from polyroute.composition.configuration import read_configuration
from polyroute.types.jobs import TERMINAL, JobState
from support.crashing_jobs import CrashHouse, Life, Script, ScriptedProvider

SCRIPTS = st.lists(
    st.builds(
        Script, st.sampled_from(["accept", "accept", "refuse", "lose", "drop"]), st.integers(0, 3), st.booleans()
    ),
    max_size=4,
)
LIVES = st.lists(st.builds(lambda dies_at, after: (dies_at, after), st.integers(1, 14), st.booleans()), max_size=5)
LEDGER_STATUS = {JobState.SUCCEEDED: "COMPLETED", JobState.CANCELLED: "CANCELLED"}


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """One loop for all examples."""
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture(scope="module")
def house(loop: asyncio.AbstractEventLoop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CrashHouse]:
    """A gateway with one provider that has two models, and no worker of its own."""
    folder: Path = tmp_path_factory.mktemp("crashes")
    config = {
        "storage": {"database": f"sqlite:///{folder}/polyroute.db", "artifacts": str(folder / "artifacts")},
        "jobs": {"worker": False},
        "defaults": {"retries": 0, "breaker": {"failures": 100_000, "minimum": 100_000}},
        "providers": {"replicate": {"base_url": "http://127.0.0.1:9", "api_key": "r8_x"}},
        "routes": {"clip": {"operation": "video", "targets": ["replicate/a/one", "replicate/a/two"]}},
    }
    (folder / "polyroute.yaml").write_text(json.dumps(config), encoding="utf-8")

    async def begin() -> App:
        app = build_app(read_configuration(folder / "polyroute.yaml"))
        await app.start()
        return app

    app = loop.run_until_complete(begin())
    real = app.gateway.ledger
    yield CrashHouse(app, "replicate")
    app.gateway.ledger = real
    loop.run_until_complete(app.stop())


async def run(house: CrashHouse, scripted: ScriptedProvider, lives: list[tuple[int, bool]]) -> str:
    """A job through these lives, and one more that does not end; its id."""
    house.provide(scripted)
    identifier = await house.order("clip", time.time())
    for number, (dies_at, after) in enumerate([*lives, (0, False)]):
        await house.live(scripted, identifier, Life(dies_at, after=after), f"worker-{number}")
    return identifier


async def check(house: CrashHouse, identifier: str) -> JobState:
    """What holds for every job; gives its state."""
    job = await house.table.get(identifier)
    assert job is not None
    assert job.state in TERMINAL | {JobState.NEEDS_ATTENTION}
    events = await house.table.events(identifier)
    states = [JobState(event.data["state"]) for event in events if event.name == "state"]
    assert states[0] is JobState.QUEUED
    assert states[-1] is job.state
    assert not any(state in TERMINAL for state in states[:-1])
    percents = [event.data["percent"] for event in events if event.name == "progress"]
    assert percents == sorted(set(percents))
    attempts = await house.table.attempts(identifier)
    assert [attempt.number for attempt in attempts] == list(range(1, len(attempts) + 1))
    entries = house.books.entries.get(identifier, [])
    if job.state in TERMINAL:
        # Who dies between the ledger and the table settles again: the ledger takes an entry of the same id for the same.
        told = {entry.status for entry in entries}
        if job.state is JobState.CANCELLED:
            # What was made, and charged, before its worker died and somebody cancelled stays in the ledger as it was.
            told -= {"COMPLETED", "FAILED"}
        assert told <= {LEDGER_STATUS.get(job.state, "FAILED")}
        assert entries
        assert {len(entry.attempts) for entry in entries} == {len(attempts)}
    else:
        assert entries == []
    return job.state


@settings(max_examples=200, deadline=None)
@given(scripts=SCRIPTS, lives=LIVES)
def test_nothing_is_ordered_twice_whoever_dies_when(
    house: CrashHouse, loop: asyncio.AbstractEventLoop, scripts: list[Script], lives: list[tuple[int, bool]]
) -> None:
    scripted = ScriptedProvider(list(scripts))

    async def story() -> None:
        identifier = await run(house, scripted, lives)
        state = await check(house, identifier)
        assert all(times == 1 for times in scripted.accepted.values())
        attempts = await house.table.attempts(identifier)
        if state is JobState.NEEDS_ATTENTION:
            # Only what was being handed over, or was answered by nobody, is left to an operator.
            assert (attempts[-1].phase, attempts[-1].handle) == ("unknown", None)
            given_up = await house.table.resolve(identifier, "abandon", None, time.time())
            assert given_up is not None
            await house.live(scripted, identifier, Life(0, after=False), "last")
            assert await check(house, identifier) is JobState.FAILED
        elif state is JobState.SUCCEEDED:
            assert attempts[-1].phase == "succeeded"
        else:
            assert all(attempt.phase == "failed" for attempt in attempts)

    loop.run_until_complete(story())


@settings(max_examples=100, deadline=None)
@given(scripts=SCRIPTS, lives=LIVES)
def test_what_is_safe_to_send_again_never_needs_anybody(
    house: CrashHouse, loop: asyncio.AbstractEventLoop, scripts: list[Script], lives: list[tuple[int, bool]]
) -> None:
    scripted = ScriptedProvider(list(scripts), resubmits=True)

    async def story() -> None:
        identifier = await run(house, scripted, lives)
        state = await check(house, identifier)
        assert state in (JobState.SUCCEEDED, JobState.FAILED)
        assert all(times == 1 for times in scripted.begun.values())

    loop.run_until_complete(story())


@settings(max_examples=60, deadline=None)
@given(scripts=SCRIPTS, lives=LIVES)
def test_a_retry_orders_once_more_and_no_more(
    house: CrashHouse, loop: asyncio.AbstractEventLoop, scripts: list[Script], lives: list[tuple[int, bool]]
) -> None:
    scripted = ScriptedProvider([Script("lose", 0, fails=False), *scripts])

    async def story() -> None:
        house.provide(scripted)
        identifier = await house.order("clip", time.time())
        await house.live(scripted, identifier, Life(0, after=False), "first")
        assert await check(house, identifier) is JobState.NEEDS_ATTENTION
        assert await house.table.resolve(identifier, "retry", None, time.time()) is not None
        for number, (dies_at, after) in enumerate([*lives, (0, False)]):
            await house.live(scripted, identifier, Life(dies_at, after=after), f"worker-{number}")
        await check(house, identifier)
        first, *others = await house.table.attempts(identifier)
        assert (first.phase, first.error_kind) == ("failed", "unknown_outcome")
        assert scripted.accepted[first.idempotency_key or ""] <= 2  # once by itself, and once because it was decided so
        if others:
            assert (others[0].provider, others[0].model) == (first.provider, first.model)

    loop.run_until_complete(story())


@settings(max_examples=100, deadline=None)
@given(scripts=SCRIPTS, lives=LIVES)
def test_a_job_that_is_cancelled_ends_so_or_had_ended_before(
    house: CrashHouse, loop: asyncio.AbstractEventLoop, scripts: list[Script], lives: list[tuple[int, bool]]
) -> None:
    scripted = ScriptedProvider(list(scripts))

    async def story() -> None:
        house.provide(scripted)
        identifier = await house.order("clip", time.time())
        for number, (dies_at, after) in enumerate(lives):
            await house.live(scripted, identifier, Life(dies_at, after=after), f"worker-{number}")
        before = await house.table.request_cancel(identifier)
        assert before is not None
        attempts = await house.table.attempts(identifier)
        await house.live(scripted, identifier, Life(0, after=False), "last")
        state = await check(house, identifier)
        assert state is (before.state if before.ended else JobState.CANCELLED)
        if not before.ended and attempts and attempts[-1].phase == "submitted":
            assert attempts[-1].handle is not None
            assert attempts[-1].handle.id in scripted.cancelled
        assert all(times == 1 for times in scripted.accepted.values())

    loop.run_until_complete(story())
