"""`from polyroute import Gateway`: the same engine in one's own program."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from contextlib import aclosing, closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from polyroute import Gateway
from polyroute.settings import ConfigurationError
from polyroute.types.errors import ErrorKind, PolyrouteError
from support.asks import WAV
from support.prepared_state import prepare
from support.simulated_providers import SimulatedProviders

WEATHER = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {}}}}


@pytest.fixture(scope="module")
def simulated() -> Iterator[SimulatedProviders]:
    """The simulated providers."""
    with SimulatedProviders() as providers:
        yield providers


@pytest.fixture
def sandbox(simulated: SimulatedProviders) -> SimulatedProviders:
    """The simulated providers, all well."""
    simulated.reset()
    return simulated


@pytest.fixture
def config(sandbox: SimulatedProviders, tmp_path: Path) -> Path:
    """A configuration file with two providers."""
    file = tmp_path / "polyroute.yaml"
    content = {
        "storage": {"database": f"sqlite:///{tmp_path}/polyroute.db"},
        "defaults": {"retries": 0, "timeouts": {"idle": 0.5}},
        "providers": {
            "openai": {"base_url": f"{sandbox.url}/openai/v1", "api_key": "sk-openai"},
            "together": {"base_url": f"{sandbox.url}/together/v1", "api_key": "sk-together"},
        },
        "routes": {
            "text": {"targets": ["openai/gpt-4o-mini", "together/llama"]},
            "vectors": {"operation": "embed", "targets": ["openai/e-1", "together/e-2"]},
            "pictures": {"operation": "image", "targets": ["openai/i-1", "together/i-2"]},
            "voice": {"operation": "speech", "targets": ["openai/s-1", "together/s-2"]},
            "words": {"operation": "transcription", "targets": ["openai/t-1", "together/t-2"]},
        },
    }
    file.write_text(json.dumps(content))
    prepare(tmp_path / "polyroute.db")
    return file


def rows(config: Path) -> list[tuple[Any, ...]]:
    """What the ledger says after the gateway was closed."""
    with closing(sqlite3.connect(config.parent / "polyroute.db")) as shell:
        return shell.execute("SELECT id, status, actual_provider FROM requests ORDER BY created_at").fetchall()


async def test_the_example_of_the_documentation(config: Path) -> None:
    async with Gateway.from_config(config) as gateway:
        answer = await gateway.chat("text", "Hello")
    assert answer.text.startswith("[simulated openai/gpt-4o-mini]")
    assert (answer.provider, answer.model, answer.attempts) == ("openai", "gpt-4o-mini", 1)
    assert answer.usage is not None
    assert answer.usage.output
    assert isinstance(answer.cost, Decimal)
    assert answer.cost > 0
    assert answer.finish_reason == "stop"
    assert answer.raw["object"] == "chat.completion"
    assert rows(config) == [(answer.request_id, "COMPLETED", "openai")]


async def test_every_operation_falls_over(sandbox: SimulatedProviders, config: Path) -> None:
    sandbox.break_down("openai", "status", status=503)
    async with Gateway.from_config(config) as gateway:
        chat = await gateway.chat("text", [{"role": "user", "content": "Hello"}], temperature=0)
        vectors = await gateway.embed("vectors", ["one", "two"])
        single = await gateway.embed("vectors", "one")
        pictures = await gateway.image("pictures", "a boat", response_format="b64_json")
        addresses = await gateway.image("pictures", "a boat")
        async with aclosing(gateway.speak("voice", "Good morning")) as pieces:
            sound = b"".join([piece async for piece in pieces])
        words = await gateway.transcribe("words", WAV, filename="talk.wav", language="en")
        async with await gateway.stream("text", "Hello") as stream:
            said = "".join([piece async for piece in stream])
    assert (chat.provider, chat.attempts) == ("together", 2)
    assert (vectors.provider, len(vectors.vectors)) == ("together", 2)
    assert single.vectors[0] == vectors.vectors[0]
    assert all(isinstance(number, float) for number in single.vectors[0])
    assert pictures.data[0].startswith(b"\xff\xd8")
    assert addresses.urls[0].startswith("http://")
    assert len(sound) > 500
    assert words.text.startswith("[simulated together/t-2] transcribed talk.wav")
    assert sandbox.seen("together")[-2]["body"]["language"] == "en"
    assert stream.provider == "together"
    assert said == chat.text
    assert [(status, provider) for _, status, provider in rows(config)] == [("COMPLETED", "together")] * 8


async def test_providers_whose_credentials_are_all_benched_are_asked_once_more_and_no_oftener(
    sandbox: SimulatedProviders, config: Path
) -> None:
    async with Gateway.from_config(config) as gateway:
        for provider in ("openai", "together"):
            sandbox.break_down(provider, "invalid_key")
        for _ in range(3):  # the first one benches both credentials
            with pytest.raises(PolyrouteError) as refused:
                await gateway.chat("text", "Hello")
            assert refused.value.kind is ErrorKind.CREDENTIAL_REJECTED
        sandbox.mend("together")
        sandbox.mend("openai")
        assert (await gateway.chat("text", "Hello")).attempts == 1


async def test_tools(config: Path) -> None:
    async with Gateway.from_config(config) as gateway:
        answer = await gateway.chat("text", "Call get_weather", tools=[WEATHER])
    assert answer.finish_reason == "tool_calls"
    assert [call.name for call in answer.tool_calls] == ["get_weather"]


async def test_an_error_names_its_kind_and_what_each_target_said(sandbox: SimulatedProviders, config: Path) -> None:
    sandbox.break_down("*", "status", status=500)
    async with Gateway.from_config(config) as gateway:
        with pytest.raises(PolyrouteError) as down:
            await gateway.chat("text", "Hello")
        with pytest.raises(PolyrouteError) as unknown:
            await gateway.chat("txt", "Hello")
        with pytest.raises(PolyrouteError) as wrong:
            await gateway.chat("text", "Hello", stream=True)
        with pytest.raises(PolyrouteError) as other:
            await gateway.embed("text", "Hello")
    assert down.value.kind is ErrorKind.UNAVAILABLE
    assert [attempt.provider for attempt in down.value.attempts] == ["openai", "together"]
    assert unknown.value.kind is ErrorKind.NOT_FOUND
    assert "did you mean text" in unknown.value.message
    assert wrong.value.param == "stream"
    assert len(sandbox.seen()) == 2  # only the first call went anywhere
    assert other.value.kind is ErrorKind.INVALID_REQUEST


async def test_leaving_a_stream_leaves_the_provider(sandbox: SimulatedProviders, config: Path) -> None:
    sandbox.break_down("openai", "stall", after_tokens=3, seconds=60)
    sandbox.set("openai", tokens_per_second=100)
    async with Gateway.from_config(config) as gateway:
        async with await gateway.stream("text", "Hello") as stream:
            async for piece in stream:
                assert piece
                break
        await asyncio.to_thread(sandbox.await_abort, "openai")
    assert rows(config) == [(stream.request_id, "CANCELLED", "openai")]


async def test_cancelling_a_call_leaves_the_provider(sandbox: SimulatedProviders, config: Path) -> None:
    sandbox.break_down("openai", "hang")
    async with Gateway.from_config(config) as gateway:
        call = asyncio.create_task(gateway.chat("text", "Hello"))
        await asyncio.to_thread(sandbox.await_request, "openai")
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await asyncio.to_thread(sandbox.await_abort, "openai")
    assert [status for _, status, _ in rows(config)] == ["CANCELLED"]
    assert sandbox.counters("together")["requests"] == 0


async def test_a_stream_that_breaks_off_raises(sandbox: SimulatedProviders, config: Path) -> None:
    sandbox.set("openai", faults=[{"kind": "cut", "after_tokens": 5}], tokens_per_second=25)
    pieces: list[str] = []

    async def read() -> None:
        async with await gateway.stream("text", "Hello", polyroute={"rescue": "error"}) as stream:
            async for piece in stream:
                pieces.append(piece)

    async with Gateway.from_config(config) as gateway:
        with pytest.raises(PolyrouteError) as broken:
            await read()
    assert broken.value.kind is ErrorKind.TRUNCATED
    assert "[simulated openai/gp".startswith("".join(pieces))
    assert pieces
    assert [status for _, status, _ in rows(config)] == ["FAILED"]


async def test_many_calls_at_once(sandbox: SimulatedProviders, config: Path) -> None:
    async with Gateway.from_config(config) as gateway:
        answers = await asyncio.gather(*(gateway.chat("text", f"Number {number}") for number in range(50)))
    assert len({answer.request_id for answer in answers}) == 50
    for number, answer in enumerate(answers):
        assert f'"Number {number}"' in answer.text
    assert {row[0] for row in rows(config)} == {answer.request_id for answer in answers}


def turn_targets_round(config: Path) -> None:
    """Change the file."""
    content = json.loads(config.read_text())
    content["routes"]["text"]["targets"].reverse()
    config.write_text(json.dumps(content))


async def test_the_library_reloads_as_the_server_does(sandbox: SimulatedProviders, config: Path) -> None:
    async with Gateway.from_config(config) as gateway:
        assert (await gateway.chat("text", "Hello")).provider == "openai"
        turn_targets_round(config)
        async with asyncio.timeout(10):
            while (await gateway.chat("text", "Hello")).provider != "together":  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.05)


def test_a_mistaken_configuration_is_an_error_that_says_where(tmp_path: Path) -> None:
    file = tmp_path / "polyroute.yaml"
    file.write_text("servr: {}\n")
    with pytest.raises(ConfigurationError) as wrong:
        Gateway.from_config(file)
    assert "polyroute.yaml:1" in str(wrong.value)
    assert "server" in str(wrong.value)
