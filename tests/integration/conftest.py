"""What the tests of the running gateway share: one sandbox and one `polyroute serve` in front of it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest

from support.asks import ASKS
from support.faults import ALL_DOWN, FAULTS
from support.gateway_process import GatewayProcess
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
    """A gateway in open mode with openai, together and groq. Its breakers never open on failures, no credential is benched,
    and each test of the matrix has a route and models of its own, so that tests do not feel each other."""
    routes = {}
    hasty = {"headers": 0.5, "result": 0.5, "first_token": 0.5, "idle": 0.5}
    for case in (*FAULTS, *ALL_DOWN):
        for ask in ASKS:
            name = f"{ask.name}-{case.name}"
            routes[name] = {
                "operation": ask.operation,
                "targets": [f"openai/{name}", f"together/{name}"],
                **({"timeouts": hasty} if case.waits else {}),
            }
    for ask in ASKS:
        targets = [f"openai/{ask.operation}-1", f"together/{ask.operation}-2"]
        routes[f"{ask.operation}-route"] = {"operation": ask.operation, "targets": targets}
    routes["hedged"] = {"targets": ["openai/hedged-1", "together/hedged-2"], "hedge": {"after": 0.02, "share": 1}}
    routes["hasty"] = {"targets": ["openai/hasty-1", "together/hasty-2"], "timeouts": hasty}
    routes["small"] = {"targets": ["openai/gpt-4o-mini"]}
    config = {
        "defaults": {
            "retries": 0,
            "breaker": {"failures": 100_000, "minimum": 100_000},
            "bench": {"rejected": 0.001, "quota": 0.001, "rate_limited": 0.001, "longest": 0.001},
        },
        "providers": {
            "openai": {"base_url": f"{simulated.url}/openai/v1", "api_key": "sk-openai"},
            "together": {
                "base_url": f"{simulated.url}/together/v1",
                "api_key": "sk-together",
                "options": {"not_relayed": {}},  # so that what it answers can be compared byte for byte
            },
            "dead": {"adapter": "openai_compatible", "base_url": "http://127.0.0.1:1/v1"},
            "groq": {"base_url": f"{simulated.url}/groq/openai/v1", "api_key": "sk-groq"},
        },
        "routes": routes,
    }
    folder = tmp_path_factory.mktemp("gateway")
    with GatewayProcess(folder, json.dumps(config)) as process:  # JSON is YAML
        yield process


@pytest.fixture(scope="session")
def client(gateway: GatewayProcess) -> Iterator[httpx.Client]:
    """An HTTP client of the gateway."""
    with httpx.Client(base_url=gateway.url, timeout=20, trust_env=False) as found:
        yield found
