"""A change of the configuration takes effect while requests are in flight; a mistake in it changes nothing."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.asks import CHAT, STREAM, text_of
from support.eventually import eventually
from support.gateway_process import GatewayProcess
from support.simulated_providers import SimulatedProviders


def config(simulated: SimulatedProviders, first: int = 1, second: int = 2, **more: Any) -> str:
    """openai and together in the order of their numbers."""
    return json.dumps(
        {
            "providers": {
                "openai": {
                    "base_url": f"{simulated.url}/openai/v1", "api_key": "sk-openai", "priority": first,
                    "default_models": {"chat": "gpt-4o-mini"},
                },
                "together": {
                    "base_url": f"{simulated.url}/together/v1", "api_key": "sk-together", "priority": second,
                    "default_models": {"chat": "llama"},
                },
            },
            **more,
        }
    )  # fmt: skip


@pytest.fixture(params=[1, 2], ids=["one-worker", "two-workers"])
def workers(request: pytest.FixtureRequest) -> int:
    """How many processes serve."""
    return int(request.param)


@pytest.fixture
def changing(workers: int, simulated: SimulatedProviders, tmp_path: Path) -> Iterator[GatewayProcess]:
    """A gateway whose configuration this test may change."""
    with GatewayProcess(tmp_path, config(simulated), ["--workers", "2"] if workers == 2 else []) as process:
        yield process


def servers(gateway: GatewayProcess, count: int = 8) -> set[str]:
    """Who serves `text`, on connections of their own, so that every worker is asked."""
    found = set()
    for _ in range(count):
        with httpx.Client(base_url=gateway.url, timeout=20, trust_env=False) as client:
            answer = CHAT.send(client, "text")
            assert answer.status_code == 200, answer.text
            found.add(answer.headers["x-polyroute-provider"])
    return found


def test_a_swap_of_priorities_on_sighup_drops_nothing_in_flight(
    sandbox: SimulatedProviders, changing: GatewayProcess, workers: int
) -> None:
    assert servers(changing) == {"openai"}
    sandbox.set("openai", tokens_per_second=2)  # it goes on until it is told to be quick
    received: list[httpx.Response] = []

    def stream() -> None:
        with httpx.Client(base_url=changing.url, timeout=20, trust_env=False) as client:
            received.append(STREAM.send(client, "text"))

    asking = threading.Thread(target=stream)
    asking.start()
    eventually(lambda: sandbox.counters("openai")["open_streams"])
    changing.config.write_text(config(sandbox, first=2, second=1))
    changing.signal(signal.SIGHUP)
    eventually(
        lambda: changing.log.count("configuration reloaded") >= workers
    )  # before that openai would be slow to answer
    assert servers(changing) == {"together"}
    assert sandbox.counters("openai")["open_streams"] == 1, "the reload should have come before the stream's end"
    sandbox.set("openai", tokens_per_second=0)
    asking.join(20)
    [answer] = received
    assert answer.headers["x-polyroute-provider"] == "openai"
    assert answer.content.endswith(b"data: [DONE]\n\n")
    assert text_of(answer.content).endswith("nothing was charged.")
    entry = changing.entry(answer.headers["x-polyroute-request-id"])
    assert (entry["status"], entry["actual_provider"]) == ("COMPLETED", "openai")
    assert "configuration reloaded" in changing.log


def test_a_changed_file_is_noticed_without_a_signal(sandbox: SimulatedProviders, changing: GatewayProcess) -> None:
    assert servers(changing) == {"openai"}
    routes = {"mine": {"targets": ["together/llama"]}}
    changing.config.write_text(config(sandbox, first=2, second=1, routes=routes))
    eventually(lambda: servers(changing) == {"together"})
    with httpx.Client(base_url=changing.url, timeout=20, trust_env=False) as client:
        assert CHAT.send(client, "mine").status_code == 200


def test_a_mistake_keeps_the_old_configuration_and_says_where_it_is(
    sandbox: SimulatedProviders, changing: GatewayProcess
) -> None:
    changing.config.write_text(
        f"""providers:
  openai: {{base_url: "{sandbox.url}/openai/v1", api_key: sk-openai, priorty: 9}}
routes:
  mine: {{targets: [opnai/gpt-4o]}}
"""
    )
    changing.signal(signal.SIGHUP)
    eventually(lambda: "was not reloaded" in changing.log)
    assert servers(changing) == {"openai"}
    eventually(lambda: "did you mean" in changing.log or "nearest" in changing.log)
    assert "polyroute.yaml:2" in changing.log
    assert "priority" in changing.log
    assert "polyroute.yaml:4" in changing.log
    assert "sk-openai" not in changing.log
    assert "Traceback" not in changing.log
    changing.config.write_text("providers: [")
    changing.signal(signal.SIGHUP)
    eventually(lambda: changing.log.count("was not reloaded") >= 2)
    assert servers(changing) == {"openai"}
    changing.config.write_text(config(sandbox, first=2, second=1))
    changing.signal(signal.SIGHUP)
    eventually(lambda: servers(changing) == {"together"})


def test_readiness_follows_the_configuration(sandbox: SimulatedProviders, tmp_path: Path) -> None:
    with (
        GatewayProcess(tmp_path, config(sandbox)) as gateway,
        httpx.Client(base_url=gateway.url, timeout=20, trust_env=False) as client,
    ):
        assert (client.get("/ready").status_code, client.get("/ready").json()) == (200, {"status": "ready"})
        off = {"providers": {"openai": {"enabled": False}}, "routes": {"kept": {"targets": ["openai/gpt-4o"]}}}
        gateway.config.write_text(json.dumps(off))
        gateway.signal(signal.SIGHUP)
        eventually(lambda: client.get("/ready").status_code == 503)
        assert client.get("/ready").json() == {"status": "unavailable", "problems": ["no provider is on"]}
        assert (client.get("/health").status_code, client.get("/health").json()) == (200, {"status": "ok"})
        refused = CHAT.send(client, "kept")
        assert refused.status_code == 502
        assert "openai" in refused.json()["error"]["message"]


def test_a_request_under_way_can_still_fall_over_to_a_provider_that_a_reload_removed(
    sandbox: SimulatedProviders, tmp_path: Path
) -> None:
    """A request keeps the configuration that it began with to its end."""
    sandbox.set("openai", latency=1.0, faults=[{"kind": "status"}])
    received: list[httpx.Response] = []
    with GatewayProcess(tmp_path, config(sandbox, defaults={"retries": 0})) as gateway:

        def ask() -> None:
            with httpx.Client(base_url=gateway.url, timeout=20, trust_env=False) as client:
                received.append(CHAT.send(client, "text"))

        asking = threading.Thread(target=ask)
        asking.start()
        sandbox.await_request("openai")
        groq = {"base_url": f"{sandbox.url}/groq/openai/v1", "api_key": "sk-groq"}
        gateway.config.write_text(json.dumps({"providers": {"groq": groq}}))
        gateway.signal(signal.SIGHUP)
        eventually(lambda: "configuration reloaded" in gateway.log)
        assert received == []
        assert servers(gateway, 1) == {"groq"}
        asking.join(20)
    [answer] = received
    assert (answer.status_code, answer.headers["x-polyroute-provider"]) == (200, "together")
