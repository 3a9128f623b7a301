"""Health, metrics, shared breakers and drills of a gateway with two workers."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.eventually import eventually
from support.gateway_process import GatewayProcess, run_polyroute
from support.operators import chat, health, metrics
from support.simulated_providers import SimulatedProviders


def config(sandbox: SimulatedProviders, **more: Any) -> str:
    return json.dumps(
        {
            "defaults": {"retries": 0, "breaker": {"failures": 3, "cooldown": 120}},
            "providers": {
                "openai": {"base_url": f"{sandbox.url}/openai/v1", "api_key": "sk-openai"},
                "together": {"base_url": f"{sandbox.url}/together/v1", "api_key": "sk-together"},
            },
            "routes": {"text": {"targets": ["openai/gpt-4o-mini", "together/m"]}},
        }
        | more
    )


@pytest.fixture
def gateway(sandbox: SimulatedProviders, tmp_path: Path) -> Iterator[GatewayProcess]:
    """Two workers."""
    with GatewayProcess(tmp_path, config(sandbox), ["--workers", "2"]) as process:
        yield process


def test_health_tells_of_all_workers_together(gateway: GatewayProcess, sandbox: SimulatedProviders) -> None:
    for _ in range(10):
        assert chat(gateway).status_code == 200
    seen = eventually(lambda: (found := health(gateway, "openai"))["uptime"]["5m"]["attempts"] == 10 and found)
    assert (seen["health"], seen["reasons"]) == ("healthy", [])
    assert seen["uptime"]["24h"] == {"attempts": 10, "failures": 0, "success_rate": 100.0}
    assert 0 < seen["latency_ms"]["p50"] <= seen["latency_ms"]["p99"]
    assert seen["last_error"] is None
    report = httpx.get(f"{gateway.url}/admin/api/health", trust_env=False).json()
    assert report["workers"] == 2


def test_streams_have_a_time_to_first_token(gateway: GatewayProcess, sandbox: SimulatedProviders) -> None:
    chat(gateway, stream=True)
    eventually(lambda: health(gateway, "openai")["ttft_ms"]["p95"] is not None)
    name = 'gen_ai_server_time_to_first_token_seconds_count{gen_ai_operation_name="chat",gen_ai_provider_name="openai"}'
    assert metrics(gateway)[name] == 1


def test_metrics_count_what_the_ledger_counts(gateway: GatewayProcess, sandbox: SimulatedProviders) -> None:
    sandbox.break_down("openai", "status", status=503, times=2)
    for _ in range(6):
        assert chat(gateway).status_code == 200
    name = "gen_ai_client_operation_duration_seconds_count"
    failed = f'{name}{{error_type="unavailable",gen_ai_operation_name="chat",gen_ai_provider_name="openai"}}'
    done = 'polyroute_requests_total{gen_ai_operation_name="chat",status="COMPLETED"}'
    seen = eventually(lambda: (found := metrics(gateway)).get(done) == 6 and found)
    assert seen[failed] == 2
    assert seen["polyroute_workers"] == 2
    eventually(lambda: gateway.sql("SELECT COUNT(*) AS n FROM requests")[0]["n"] == 6)
    tokens = gateway.sql("SELECT SUM(output_tokens) AS n FROM requests")[0]["n"]
    told = [value for key, value in seen.items() if key.startswith("gen_ai_client_token_usage") and '"output"' in key]
    assert sum(told) == tokens


def test_a_breaker_that_one_worker_opens_is_open_in_all_and_after_a_restart(
    sandbox: SimulatedProviders, tmp_path: Path
) -> None:
    written = config(sandbox)
    with GatewayProcess(tmp_path, written, ["--workers", "2"]) as gateway:
        sandbox.break_down("openai", "status", status=503)
        for _ in range(12):
            assert chat(gateway).status_code == 200
        found = health(gateway, "openai")
        assert found["health"] == "unhealthy"
        assert [(one["name"], one["state"], one["cause"]) for one in found["breakers"]] == [
            ("openai chat", "open", "unavailable")
        ]
        assert found["last_error"]["kind"] == "unavailable"
        assert found["last_error"]["http_status"] == 503

        def nobody_asks() -> bool:
            before = sandbox.counters("openai")["requests"]
            for _ in range(8):
                assert chat(gateway).headers["x-polyroute-provider"] == "together"
            return sandbox.counters("openai")["requests"] == before

        eventually(nobody_asks)
        asked = sandbox.counters("openai")["requests"]
        assert asked <= 6, "each worker may need its own three failures, but not more"
    sandbox.mend("openai")
    with GatewayProcess(tmp_path, written) as gateway:
        found = health(gateway, "openai")
        assert [one["state"] for one in found["breakers"]] == ["open"]
        assert found["uptime"]["1h"]["failures"] == asked
        assert chat(gateway).headers["x-polyroute-attempts"] == "1"
        assert sandbox.counters("openai")["requests"] == asked
        done = httpx.post(f"{gateway.url}/admin/api/providers/openai/release", trust_env=False)
        assert done.json()["breakers"] == []
        assert chat(gateway).headers["x-polyroute-provider"] == "openai"


def test_a_killed_worker_takes_nothing_with_it(gateway: GatewayProcess, sandbox: SimulatedProviders) -> None:
    for _ in range(6):
        chat(gateway)
    eventually(lambda: health(gateway, "openai")["uptime"]["5m"]["attempts"] == 6)
    eventually(lambda: len(list((gateway.folder / "polyroute.state").glob("worker-*.state"))) == 2)
    time_of_death = time.time()
    import os  # noqa: PLC0415 - the one test that kills
    import signal  # noqa: PLC0415

    os.kill(gateway.pid, signal.SIGKILL)
    eventually(lambda: "starting it again" in gateway.log)
    eventually(lambda: health(gateway, "openai")["uptime"]["5m"]["attempts"] >= 6)
    assert time.time() - time_of_death < 20


# ---------------------------------------------------------------- drills


def test_a_drill_reaches_all_workers_shows_everywhere_and_ends_by_itself(
    gateway: GatewayProcess, sandbox: SimulatedProviders
) -> None:
    done = run_polyroute("drill", "--provider", "openai", "--fault", "503", "--for", "4s", folder=gateway.folder)
    assert done.returncode == 0, done.stderr

    def everybody_falls_over() -> bool:
        return {chat(gateway).headers["x-polyroute-provider"] for _ in range(6)} == {"together"}

    eventually(everybody_falls_over)
    found = health(gateway, "openai")
    assert found["drill"]["fault"] == "503"
    assert found["health"] != "healthy"
    rows = gateway.sql("SELECT error_message, error_kind, http_status FROM attempts WHERE provider = 'openai' "
                       "AND outcome = 'failed'")  # fmt: skip
    assert rows
    assert all(row["error_message"].startswith("Drill: ") for row in rows)
    assert {(row["error_kind"], row["http_status"]) for row in rows} == {("unavailable", 503)}
    eventually(lambda: health(gateway, "openai")["drill"] is None)
    httpx.post(f"{gateway.url}/admin/api/providers/openai/release", trust_env=False)
    eventually(lambda: {chat(gateway).headers["x-polyroute-provider"] for _ in range(6)} == {"openai"})


@pytest.mark.parametrize(
    ("fault", "kind"), [("reset", "unavailable"), ("401", "credential_rejected"), ("429", "rate_limited")]
)
def test_other_faults_look_like_the_real_ones(
    sandbox: SimulatedProviders, gateway: GatewayProcess, fault: str, kind: str
) -> None:
    order = {"provider": "openai", "fault": fault, "for": 60}
    done = httpx.post(f"{gateway.url}/admin/api/drills", json=order, trust_env=False)
    assert done.status_code == 201, done.text
    eventually(lambda: health(gateway, "openai")["drill"] is not None)

    def drilled() -> tuple[httpx.Response, int] | None:
        before = len(sandbox.seen("openai"))  # until every worker has heard of the drill, some still come through
        answer = chat(gateway)
        return (answer, before) if answer.headers["x-polyroute-attempts"] == "2" else None

    first, before = eventually(drilled)
    tried = gateway.attempts(first.headers["x-polyroute-request-id"])
    assert [one["error_kind"] for one in tried] == [kind, None]
    assert len(sandbox.seen("openai")) == before
    ended = httpx.delete(f"{gateway.url}/admin/api/drills/all", trust_env=False)
    assert ended.json() == {"ended": 1}
    assert health(gateway, "openai")["drill"] is None


def test_a_slow_drill_is_slow_and_a_timeout_drill_is_a_timeout(sandbox: SimulatedProviders, tmp_path: Path) -> None:
    hasty = config(sandbox, routes={"text": {"targets": ["openai/m", "together/m"], "timeouts": {"headers": 0.3}}})
    with GatewayProcess(tmp_path, hasty) as gateway:
        order = {"provider": "openai", "fault": "slow", "seconds": 0.15, "for": "1m"}
        httpx.post(f"{gateway.url}/admin/api/drills", json=order, trust_env=False).raise_for_status()
        slow = chat(gateway)
        assert slow.headers["x-polyroute-provider"] == "openai"
        assert gateway.entry(slow.headers["x-polyroute-request-id"])["latency_ms"] >= 150
        order = {"provider": "openai", "fault": "timeout", "for": "1m"}
        httpx.post(f"{gateway.url}/admin/api/drills", json=order, trust_env=False).raise_for_status()
        late = chat(gateway)
        assert gateway.attempts(late.headers["x-polyroute-request-id"])[0]["error_kind"] == "timeout"


def test_drills_that_make_no_sense_are_refused(
    gateway: GatewayProcess, tmp_path_factory: pytest.TempPathFactory
) -> None:
    def status(**order: Any) -> int:
        return httpx.post(f"{gateway.url}/admin/api/drills", json=order, trust_env=False).status_code

    assert status(provider="opneai", fault="503") == 404
    assert status(provider="openai", fault="200") == 400
    assert status(provider="openai", fault="503", **{"for": "soon"}) == 400
    assert status(provider="openai", fault="503", **{"for": "9000h"}) == 400
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    done = run_polyroute("drill", "--provider", "openai", folder=elsewhere)
    assert done.returncode == 2
    assert "no gateway runs" in done.stderr


def test_only_operators_see_health_metrics_and_drills(sandbox: SimulatedProviders, tmp_path: Path) -> None:
    with GatewayProcess(tmp_path, config(sandbox, auth={"mode": "keys"})) as gateway:
        plain = run_polyroute("keys", "create", "--name", "app", folder=tmp_path).stdout.strip()
        operator = run_polyroute("keys", "create", "--name", "ops", "--operator", folder=tmp_path).stdout.strip()

        def ask(method: str, path: str, key: str) -> int:
            headers = {"authorization": f"Bearer {key}"}
            return httpx.request(method, gateway.url + path, headers=headers, trust_env=False).status_code

        eventually(lambda: ask("GET", "/admin/api/health", operator) == 200)
        assert ask("GET", "/metrics", operator) == 200
        paths = [("GET", "/admin/api/health"), ("GET", "/metrics"), ("POST", "/admin/api/drills")]
        assert [ask(*path, plain) for path in paths] == [403, 403, 403]
        assert [ask(*path, "pr-nobody") for path in paths] == [401, 401, 401]
