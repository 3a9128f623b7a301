"""Limits of keys, routes and providers, as callers meet them, over every worker."""

from __future__ import annotations

import json
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.eventually import eventually
from support.gateway_process import GatewayProcess, run_polyroute
from support.operators import chat, health, metrics
from support.simulated_providers import SimulatedProviders


def config(sandbox: SimulatedProviders, *, limits: dict[str, Any] | None = None, **more: Any) -> str:
    routes = {
        "text": {"targets": ["openai/gpt-4o-mini"]},
        "rich": {"targets": ["openai/gpt-4o-mini", "together/m"]},
        "tight": {"targets": ["openai/gpt-4o-mini"], "limits": {"requests_per_minute": 3}},
        "tokens": {"targets": ["openai/gpt-4o-mini"], "limits": {"tokens_per_minute": 40}},
        "single": {"targets": ["openai/gpt-4o-mini"], "limits": {"concurrency": 1}},
    }
    openai: dict[str, Any] = {"base_url": f"{sandbox.url}/openai/v1", "api_key": "sk-openai"}
    if limits is not None:
        openai["limits"] = limits
    together = {"base_url": f"{sandbox.url}/together/v1", "api_key": "sk-together"}
    defaults = {"defaults": {"retries": 0}, "providers": {"openai": openai, "together": together}, "routes": routes}
    return json.dumps(defaults | more)


class Asking(threading.Thread):
    """A request under way."""

    def __init__(self, gateway: GatewayProcess, model: str) -> None:
        super().__init__(daemon=True)
        self.answer: httpx.Response | None = None
        self._gateway, self._model = gateway, model
        self.start()

    def run(self) -> None:
        self.answer = chat(self._gateway, self._model)

    def status(self) -> int:
        self.join(20)
        assert self.answer is not None
        return self.answer.status_code


def test_a_route_over_its_limit_is_refused_in_the_callers_words(sandbox: SimulatedProviders, tmp_path: Path) -> None:
    with GatewayProcess(tmp_path, config(sandbox)) as gateway:
        left = []
        for _ in range(3):
            answer = chat(gateway, "tight")
            assert answer.status_code == 200
            assert answer.headers["x-ratelimit-limit-requests"] == "3"
            left.append(answer.headers["x-ratelimit-remaining-requests"])
        assert left == ["2", "1", "0"]
        refused = chat(gateway, "tight")
        assert refused.status_code == 429
        assert 1 <= int(refused.headers["retry-after"]) <= 120
        assert refused.headers["x-ratelimit-remaining-requests"] == "0"
        assert refused.headers["x-ratelimit-reset-requests"].endswith("s")
        assert "The route 'tight' may use 3 requests a minute" in refused.json()["error"]["message"]
        messages = chat(gateway, "tight", path="/v1/messages", max_tokens=9)
        assert (messages.status_code, messages.json()["type"]) == (429, "error")
        assert messages.json()["error"]["type"] == "rate_limit_error"
        assert chat(gateway, "text").status_code == 200
        entry = gateway.entry(refused.headers["x-polyroute-request-id"])
        assert (entry["status"], entry["error_kind"], entry["http_status"]) == ("FAILED", "over_limit", 429)
        assert gateway.attempts(entry["id"]) == []
        assert metrics(gateway)['polyroute_limit_refusals_total{limit="route"}'] == 2


def test_the_running_minute_outlives_a_restart(sandbox: SimulatedProviders, tmp_path: Path) -> None:
    written = config(sandbox, limits={"requests_per_minute": 4, "queue_seconds": 0.01})
    with GatewayProcess(tmp_path, written) as gateway:
        assert [chat(gateway, "tight").status_code for _ in range(4)] == [200, 200, 200, 429]
    with GatewayProcess(tmp_path, written) as gateway:
        refused = chat(gateway, "tight")
        assert refused.status_code == 429, "the route's minute goes on"
        assert 1 <= int(refused.headers["retry-after"]) <= 120
        assert [chat(gateway, "text").status_code for _ in range(2)] == [200, 429], "and so does the provider's"


def test_tokens_are_counted_as_they_turned_out(sandbox: SimulatedProviders, tmp_path: Path) -> None:
    with GatewayProcess(tmp_path, config(sandbox)) as gateway:
        first = chat(gateway, "tokens")
        used = first.json()["usage"]["total_tokens"]
        statuses = [chat(gateway, "tokens").status_code for _ in range(6)]
        assert statuses[-1] == 429
        rows = gateway.sql("SELECT COUNT(*) AS n FROM requests WHERE requested_model='tokens' AND status='COMPLETED'")
        assert (rows[0]["n"] - 1) * used <= 40


def test_one_at_a_time_means_one_at_a_time_and_the_place_comes_back(
    sandbox: SimulatedProviders, tmp_path: Path
) -> None:
    with GatewayProcess(tmp_path, config(sandbox)) as gateway:
        sandbox.break_down("openai", "hang", seconds=3, times=1)
        first = Asking(gateway, "single")
        sandbox.await_request("openai")
        second = chat(gateway, "single")
        assert second.status_code == 429
        assert "requests at once" in second.json()["error"]["message"]
        first.status()
        assert chat(gateway, "single").status_code == 200


def test_a_caller_who_leaves_gives_the_place_back(sandbox: SimulatedProviders, tmp_path: Path) -> None:
    with GatewayProcess(tmp_path, config(sandbox)) as gateway:
        sandbox.break_down("openai", "hang", times=1)
        body = {"model": "single", "messages": [{"role": "user", "content": "Hello"}]}
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{gateway.url}/v1/chat/completions", json=body, timeout=0.3, trust_env=False)
        sandbox.await_abort("openai")
        eventually(lambda: chat(gateway, "single").status_code == 200)
        assert health(gateway, "openai")["active"] == 0


def test_a_busy_provider_is_passed_over_while_others_are_left_and_queued_for_when_not(
    sandbox: SimulatedProviders, tmp_path: Path
) -> None:
    limits = {"concurrency": 1, "queue": 1, "queue_seconds": 30}
    with GatewayProcess(tmp_path, config(sandbox, limits=limits)) as gateway:
        sandbox.break_down("openai", "hang", seconds=5, times=1)
        first = Asking(gateway, "text")
        sandbox.await_request("openai")
        passed = chat(gateway, "rich")
        assert passed.headers["x-polyroute-provider"] == "together"
        entry = gateway.entry(passed.headers["x-polyroute-request-id"])
        assert "as many requests are under way as may be" in entry["drops"]
        waiting = Asking(gateway, "text")
        eventually(lambda: health(gateway, "openai")["queued"] == 1)
        assert metrics(gateway)['polyroute_queued_requests{gen_ai_provider_name="openai"}'] == 1
        too_many = chat(gateway, "text")
        assert too_many.status_code == 429
        first.status()
        assert waiting.status() == 200
        assert health(gateway, "openai")["queued"] == 0


def test_a_full_provider_is_left_out_of_the_plan_and_the_decision_says_why(
    sandbox: SimulatedProviders, tmp_path: Path
) -> None:
    with GatewayProcess(tmp_path, config(sandbox, limits={"requests_per_minute": 2})) as gateway:
        asking = {"x-polyroute-explain": "1"}
        answers = [chat(gateway, "rich", headers=asking) for _ in range(3)]
        assert [one.headers["x-polyroute-provider"] for one in answers] == ["openai", "openai", "together"]
        told = answers[2].headers["x-polyroute-explain"]
        assert "not tried: openai/gpt-4o-mini (its limit of requests a minute is reached, for another " in told
        entry = gateway.entry(answers[2].headers["x-polyroute-request-id"])
        answer = httpx.get(f"{gateway.url}/admin/api/requests/{entry['id']}/explain", timeout=20, trust_env=False)
        found = answer.json()
        [drop] = found["decision"]["drops"]
        assert (drop["target"], drop["cause"]) == ("openai/gpt-4o-mini", "limit")
        assert drop["limit"] == drop["reason"]
        assert found["replay"]["same"] is True
        assert [one["target"] for one in found["attempts"]] == ["together/m"]


def test_a_full_provider_is_come_back_to_and_waited_for_when_all_others_fail(
    sandbox: SimulatedProviders, tmp_path: Path
) -> None:
    limits = {"concurrency": 1, "queue": 1, "queue_seconds": 30}
    with GatewayProcess(tmp_path, config(sandbox, limits=limits)) as gateway:
        sandbox.break_down("openai", "hang", seconds=2, times=1)
        sandbox.break_down("together", "status", status=503)
        first = Asking(gateway, "text")
        sandbox.await_request("openai")
        answer = chat(gateway, "rich")
        assert (answer.status_code, answer.headers["x-polyroute-provider"]) == (200, "openai"), answer.text
        first.status()
        entry = gateway.entry(answer.headers["x-polyroute-request-id"])
        tried = [(one["provider"], one["outcome"]) for one in gateway.attempts(entry["id"])]
        assert tried == [("together", "failed"), ("openai", "served")]


def test_who_waits_too_long_is_told_so(sandbox: SimulatedProviders, tmp_path: Path) -> None:
    limits = {"requests_per_minute": 2, "queue_seconds": 0.2}
    with GatewayProcess(tmp_path, config(sandbox, limits=limits)) as gateway:
        assert [chat(gateway).status_code for _ in range(3)] == [200, 200, 429]
        refused = chat(gateway)
        assert "limit of requests a minute" in refused.json()["error"]["message"]
        assert int(refused.headers["retry-after"]) > 1
        assert len(sandbox.seen("openai")) == 2


def test_a_keys_limits_hold_over_all_workers(sandbox: SimulatedProviders, tmp_path: Path) -> None:
    written = config(sandbox, auth={"mode": "keys"})
    with GatewayProcess(tmp_path, written, ["--workers", "2"]) as gateway:
        options = ("--name", "app", "--rpm", "10", "--tpm", "100000", "--concurrency", "3")
        key = run_polyroute("keys", "create", *options, folder=tmp_path).stdout.strip()
        listed = run_polyroute("keys", "list", folder=tmp_path).stdout
        assert "10 rpm, 100000 tpm, 3 at once" in listed
        headers = {"authorization": f"Bearer {key}"}
        eventually(lambda: chat(gateway, headers=headers).status_code == 200)
        statuses: Counter[int] = Counter()

        def all_refuse() -> bool:
            """Workers hear of each other twice a second: until all have, a few more pass."""
            newest = [chat(gateway, headers=headers).status_code for _ in range(8)]
            statuses.update(newest)
            return set(newest) == {429}

        eventually(all_refuse)
        assert statuses[200] <= 20
        assert statuses[429] >= 8
        other = run_polyroute("keys", "create", "--name", "free", folder=tmp_path).stdout.strip()
        free = {"authorization": f"Bearer {other}"}
        eventually(lambda: chat(gateway, headers=free).status_code == 200)
        assert "x-ratelimit-limit-requests" not in chat(gateway, headers=free).headers


@pytest.mark.parametrize(
    ("place", "wrong"),
    [
        ("providers.openai.limits.requests_per_minute", {"providers": {"openai": {"limits": {"requests_per_minute": 0}}}}),
        ("routes.text.limits.tpm", {"routes": {"text": {"targets": ["openai"], "limits": {"tpm": 5}}}}),
        ("providers.openai.credentials", {"providers": {"openai": {"credentials": [{"key": "sk-x", "weight": -1}]}}}),
    ],
)  # fmt: skip
def test_limits_that_make_no_sense_are_refused_at_load(tmp_path: Path, place: str, wrong: dict[str, Any]) -> None:
    (tmp_path / "polyroute.yaml").write_text(json.dumps(wrong))
    done = run_polyroute("models", folder=tmp_path)
    assert done.returncode == 2
    assert f"polyroute.yaml:1: {place}" in done.stderr
    assert "sk-x" not in done.stderr
