"""Many requests at once while a provider fails: no caller sees any of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from support.asks import text_of
from support.eventually import eventually
from support.gateway_process import GatewayProcess
from support.sandbox_process import SandboxProcess
from support.simulated_providers import SimulatedProviders

BODY = {"messages": [{"role": "user", "content": "Tell me a story of 60 tokens."}]}

NO_LIMITS = httpx.Limits(max_connections=None)


@pytest.fixture(scope="module")
def doomed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    """The simulated openai, which will be killed."""
    with SandboxProcess(tmp_path_factory.mktemp("doomed")) as process:
        yield process


@pytest.fixture(scope="module")
def stormy(
    simulated: SimulatedProviders, doomed: SandboxProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """A gateway with everything as it is out of the box, but for hedging on two of its routes."""
    config = {
        "providers": {
            "openai": {"base_url": f"{doomed.url}/openai/v1", "api_key": "sk-openai"},
        }
        | {
            name: {"base_url": f"{simulated.url}/{name}{path}", "api_key": f"sk-{name}"}
            for name, path in (("together", "/v1"), ("groq", "/openai/v1"), ("xai", "/v1"))
        },
        "routes": {
            "killed": {"targets": ["openai/gpt-1", "together/llama-1"]},
            "flaky": {"targets": ["groq/llama-1", "together/llama-1"]},
            "hedged": {"targets": ["xai/grok-1", "together/llama-1"], "hedge": {"after": 0.1, "share": 1}},
            "left": {"targets": ["xai/grok-3", "together/llama-3"]},
            "patient": {"targets": ["xai/grok-2", "together/llama-1"], "hedge": {"after": 5}},
        },
    }
    with GatewayProcess(tmp_path_factory.mktemp("stormy"), json.dumps(config)) as process:
        yield process


async def ask_all(url: str, bodies: list[dict[str, Any]], *, at_once: int) -> list[httpx.Response]:
    """The answers to many requests, so many at a time."""
    places = asyncio.Semaphore(at_once)
    limits = httpx.Limits(max_connections=at_once)
    async with httpx.AsyncClient(base_url=url, timeout=60, trust_env=False, limits=limits) as client:

        async def ask(body: dict[str, Any]) -> httpx.Response:
            async with places:
                return await client.post("/v1/chat/completions", json=body)

        return await asyncio.gather(*(ask(body) for body in bodies))


async def test_a_provider_that_is_killed_under_two_hundred_requests_is_not_missed(
    sandbox: SimulatedProviders, doomed: SandboxProcess, stormy: GatewayProcess
) -> None:
    """Half of them stream, and their streams are cut in the middle; the others wait for their answers."""
    doomed.set("openai", tokens_per_second=4)
    begun: set[int] = set()
    all_begun = asyncio.Event()

    async def ask(client: httpx.AsyncClient, number: int) -> tuple[httpx.Response, bytes]:
        body = {**BODY, "model": "killed", "stream": number % 2 == 0}
        async with client.stream("POST", "/v1/chat/completions", json=body) as answer:
            received = b""
            async for piece in answer.aiter_raw():
                received += piece
                if body["stream"]:
                    begun.add(number)
                if len(begun) == 100:
                    all_begun.set()
        return answer, received

    async with httpx.AsyncClient(base_url=stormy.url, timeout=60, trust_env=False, limits=NO_LIMITS) as client:
        asking = [asyncio.create_task(ask(client, number)) for number in range(200)]
        await asyncio.wait_for(all_begun.wait(), 30)
        await asyncio.to_thread(doomed.kill)
        answers = await asyncio.gather(*asking)

    assert {answer.status_code for answer, _ in answers} == {200}
    for number, (answer, received) in enumerate(answers):
        if number % 2 == 0:
            assert answer.headers["x-polyroute-provider"] == "openai"
            assert received.endswith(b"data: [DONE]\n\n")
            assert b'"error"' not in received
            assert text_of(received).startswith("[sim")
            assert text_of(received).endswith("your last words.")
            assert received.count(b'"finish_reason":"stop"') == 1
        else:
            assert answer.headers["x-polyroute-provider"] == "together"
            assert json.loads(received)["choices"][0]["finish_reason"] in ("stop", "eos")
    settled = "SELECT status, actual_provider, COUNT(*) AS n FROM requests WHERE route = 'killed' GROUP BY 1, 2"
    eventually(
        lambda: stormy.sql(settled) == [{"status": "COMPLETED", "actual_provider": "together", "n": 200}], within=20
    )


async def test_random_failures_are_never_seen_and_the_breaker_stays_closed(
    sandbox: SimulatedProviders, stormy: GatewayProcess
) -> None:
    """One request in twenty fails at the provider; `benchmarks/faults.py` does the same with 10,000."""
    sandbox.set("groq", faults=[{"kind": "status", "status": 503, "probability": 0.05, "seed": 7}])
    bodies = [{**BODY, "model": "flaky", "stream": number % 2 == 0} for number in range(2000)]

    answers = await ask_all(stormy.url, bodies, at_once=32)

    assert {answer.status_code for answer in answers} == {200}
    assert not [answer for answer in answers if '"error"' in answer.text]
    struck = sandbox.counters("groq")["faulted"]
    assert 60 <= struck <= 150
    count = "SELECT COUNT(DISTINCT request_id) AS n FROM attempts WHERE provider = 'groq'"
    eventually(lambda: stormy.sql(count)[0]["n"] == 2000, within=30)  # nobody was sent past it


async def test_a_hedged_answer_is_the_first_good_one_and_the_other_request_is_cancelled(
    sandbox: SimulatedProviders, stormy: GatewayProcess
) -> None:
    sandbox.set("xai", latency=5)
    [answer] = await ask_all(stormy.url, [{**BODY, "model": "hedged"}], at_once=1)
    assert answer.headers["x-polyroute-provider"] == "together"
    assert answer.elapsed.total_seconds() < 2
    await asyncio.to_thread(sandbox.await_abort, "xai")
    entry = stormy.entry(answer.headers["x-polyroute-request-id"])
    assert (entry["status"], entry["actual_provider"]) == ("COMPLETED", "together")
    assert [(row["provider"], row["outcome"]) for row in stormy.attempts(entry["id"])] == [
        ("xai", "cancelled"), ("together", "served"),
    ]  # fmt: skip


async def test_a_hedge_that_fails_waits_for_the_first_target(
    sandbox: SimulatedProviders, stormy: GatewayProcess
) -> None:
    sandbox.set("xai", latency=0.5)
    sandbox.break_down("together", "context_too_long")
    [answer] = await ask_all(stormy.url, [{**BODY, "model": "hedged"}], at_once=1)
    assert answer.headers["x-polyroute-provider"] == "xai"
    outcomes = {(row["provider"], row["outcome"]) for row in stormy.attempts(answer.headers["x-polyroute-request-id"])}
    assert outcomes == {("xai", "served"), ("together", "failed")}


async def test_a_quick_answer_and_a_stream_are_not_hedged(sandbox: SimulatedProviders, stormy: GatewayProcess) -> None:
    sandbox.set("xai", latency=0.3)
    bodies = [{**BODY, "model": "hedged", "stream": True}, {**BODY, "model": "patient"}]
    answers = await ask_all(stormy.url, bodies, at_once=2)
    assert [answer.headers["x-polyroute-provider"] for answer in answers] == ["xai", "xai"]
    assert sandbox.counters("together")["requests"] == 0


async def test_a_caller_who_leaves_a_hedged_request_leaves_nothing_behind(
    sandbox: SimulatedProviders, stormy: GatewayProcess
) -> None:
    sandbox.set("*", latency=30)
    async with httpx.AsyncClient(base_url=stormy.url, trust_env=False) as client:
        body = {**BODY, "model": "hedged", "polyroute": {"tags": {"test": "left"}}}
        asking = asyncio.create_task(client.post("/v1/chat/completions", json=body, timeout=60))
        await asyncio.to_thread(sandbox.await_request, "together")
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
    await asyncio.to_thread(sandbox.await_abort, "xai")
    await asyncio.to_thread(sandbox.await_abort, "together")
    row = eventually(lambda: stormy.sql("SELECT id, status FROM requests WHERE status = 'CANCELLED'"))[0]
    outcomes = [(attempt["provider"], attempt["outcome"]) for attempt in stormy.attempts(row["id"])]
    assert outcomes == [("xai", "cancelled"), ("together", "cancelled")]


async def test_a_caller_who_leaves_during_a_rescue_leaves_nothing_behind(
    sandbox: SimulatedProviders, stormy: GatewayProcess
) -> None:
    sandbox.set("xai", faults=[{"kind": "cut", "after_tokens": 10}], tokens_per_second=50)
    sandbox.break_down("together", "hang")
    async with httpx.AsyncClient(base_url=stormy.url, trust_env=False) as client:
        asking = client.stream(
            "POST", "/v1/chat/completions", json={**BODY, "model": "left", "stream": True}, timeout=60
        )
        async with asking as answer:
            request_id = answer.headers["x-polyroute-request-id"]
            await asyncio.to_thread(sandbox.await_request, "together")
    await asyncio.to_thread(sandbox.await_abort, "together")
    entry = stormy.entry(request_id)
    assert (entry["status"], entry["actual_provider"], entry["usage_estimated"]) == ("CANCELLED", "xai", 1)
    assert entry["output_tokens"] in (9, 10)
    assert [(row["provider"], row["outcome"]) for row in stormy.attempts(request_id)] == [
        ("xai", "failed"), ("together", "cancelled"),
    ]  # fmt: skip
