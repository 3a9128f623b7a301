"""One sandbox, and one gateway in front of it that knows every upstream dialect; for all tests of a process."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest

from support import sdk_matrix
from support.gateway_process import GatewayProcess
from support.sdk_answers import Caller
from support.simulated_providers import SimulatedProviders


@pytest.fixture(scope="session")
def simulated() -> Iterator[SimulatedProviders]:
    """The simulated providers, as the last test left them: for fixtures that outlive a test."""
    with SimulatedProviders() as providers:
        yield providers


@pytest.fixture
def sandbox(simulated: SimulatedProviders) -> SimulatedProviders:
    """The simulated providers, all well, with nothing asked yet."""
    simulated.reset()
    return simulated


@pytest.fixture(scope="session")
def gateway(simulated: SimulatedProviders, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway in open mode with one provider for each dialect and variety; its breakers never open on failures."""
    config = {
        "defaults": {"retries": 0, "breaker": {"failures": 100_000, "minimum": 100_000}},
        "providers": sdk_matrix.entries(simulated.url),
    }
    folder = tmp_path_factory.mktemp("gateway")
    with GatewayProcess(folder, json.dumps(config)) as process:  # JSON is YAML
        yield process


@pytest.fixture(scope="session")
def client(gateway: GatewayProcess) -> Iterator[httpx.Client]:
    """A plain HTTP client of the gateway."""
    with httpx.Client(base_url=gateway.url, timeout=20, trust_env=False) as found:
        yield found


@pytest.fixture(scope="session")
def callers(gateway: GatewayProcess) -> Iterator[dict[str, Caller]]:
    """Each ingress dialect's official client."""
    made = {name: make(gateway.url) for name, make in sdk_matrix.CALLERS.items()}
    yield made
    for caller in made.values():
        caller.close()
