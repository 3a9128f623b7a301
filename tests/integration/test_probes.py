"""Free probes: a provider that is down is found out by us, not by a caller's request, and its coming back too."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, cast

import pytest

from polyroute.catalog.build import build_catalog
from polyroute.catalog.inputs import read_input
from polyroute.catalog.rows import load_rows
from polyroute.composition.providers import live_providers
from polyroute.engine.gateway import Gateway
from polyroute.engine.lanes import Conversation
from polyroute.engine.probing import Prober
from polyroute.engine.runtime import Runtime
from polyroute.ports import Call
from polyroute.providers.live_check import free_probe
from polyroute.routing.breaker import BreakerSettings
from polyroute.routing.breakers import Breakers
from polyroute.transport.client import ClientTransport
from polyroute.types.errors import ErrorKind, Failure
from polyroute.types.health import ProbeHealth
from polyroute.types.operations import Operation
from polyroute.types.plans import Target
from support.simulated_providers import SimulatedProviders

KEYS = {"OPENAI_API_KEY": "sk-openai", "TOGETHER_API_KEY": "sk-together", "GROQ_API_KEY": "sk-groq"}
DOWN = Failure(kind=ErrorKind.UNAVAILABLE, message="down")


class Probed:
    """As much of a gateway as a prober needs, with openai and together at the sandbox, and groq at a closed port."""

    def __init__(self, url: str) -> None:
        written: dict[str, Any] = {
            "providers": {
                "openai": {"base_url": f"{url}/openai/v1"},
                "together": {"base_url": f"{url}/together/v1"},
                "groq": {"base_url": "http://127.0.0.1:1/openai/v1"},
            }
        }
        catalog = build_catalog(load_rows(), read_input(written), KEYS)
        self.runtime = Runtime(catalog, live_providers(catalog), cast("Any", None))
        self.breakers = Breakers(BreakerSettings(cooldown=60.0))
        self.transport = ClientTransport()
        self.probes: dict[str, ProbeHealth] = {}
        self.answer: Any = None
        self.prober = Prober(cast("Gateway", self), free_probe, interval=40.0)

    def fail(self, provider: str) -> None:
        """Three times, so that its breaker opens."""
        for _ in range(3):
            self.breakers.fail(Target(provider, "m"), Operation.CHAT, DOWN, now())

    def wait(self, provider: str) -> float:
        """Seconds until a request is let through to it."""
        return self.breakers.restricted[f"{provider} chat"].until - now()


def now() -> float:
    return asyncio.get_running_loop().time()


@pytest.fixture
def probed(sandbox: SimulatedProviders) -> Iterator[Probed]:
    return Probed(sandbox.url)


async def test_only_providers_with_an_open_breaker_are_asked_and_only_for_their_models(
    sandbox: SimulatedProviders, probed: Probed
) -> None:
    await probed.prober.round()
    assert probed.probes == {}
    probed.fail("openai")
    await probed.prober.round()
    assert list(probed.probes) == ["openai"]
    assert [row["operation"] for row in sandbox.seen("openai")] == ["models"]
    assert sandbox.seen("together") == []
    assert (probed.probes["openai"].ok, probed.probes["openai"].down) == (True, False)
    probed.breakers.reset("openai chat", now())
    await probed.prober.round()
    assert probed.probes == {}
    await probed.transport.aclose()


async def test_a_provider_that_is_still_down_is_left_alone_for_longer_and_one_that_answers_is_not(
    sandbox: SimulatedProviders, probed: Probed
) -> None:
    clock, loop = 0.0, asyncio.get_running_loop()
    real = loop.time
    probed.fail("groq")
    probed.fail("openai")
    loop.time = lambda: real() + clock  # type: ignore[method-assign]
    try:
        clock = 50.0
        assert probed.wait("groq") < 11
        await probed.prober.round()
        assert probed.probes["groq"].down
        assert probed.wait("groq") > 55
        assert probed.wait("openai") < 11, "what was answered does not change the cooldown"
        assert probed.breakers.snapshots()["groq chat"].openings == 1, "a probe is no failure of a request"
    finally:
        loop.time = real  # type: ignore[method-assign]
    await probed.transport.aclose()


async def test_a_paid_probe_is_asked_for_tagged_and_budgeted(sandbox: SimulatedProviders, probed: Probed) -> None:
    """Only where the operator says how much it may cost, and only after the free probe was answered."""
    asked: list[Call] = []

    async def answer(conversation: Conversation) -> None:
        asked.append(conversation.call)

    probed.answer = answer
    probed.fail("openai")
    probed.fail("groq")
    await probed.prober.round()
    assert asked == [], "nobody asked for paid probes"
    await Prober(cast("Gateway", probed), free_probe, interval=40.0, pay="0.001 USD").round()
    await probed.transport.aclose()
    [call] = asked
    assert call.model.startswith("openai/")
    assert (call.options.budget, call.options.tags) == ("0.001 USD", {"polyroute": "probe"})
    assert isinstance(call.body, bytes)
    assert b'"max_completion_tokens":16' in call.body
