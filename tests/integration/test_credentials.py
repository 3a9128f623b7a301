"""Several credentials at one provider: spread, benched, replaced, within the same request and over a reload."""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.eventually import eventually
from support.gateway_process import GatewayProcess, run_polyroute
from support.operators import chat, health
from support.scripted_provider import ScriptedProvider, whole

OK = json.dumps(
    {
        "id": "c", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
    }
).encode()  # fmt: skip
REFUSED = json.dumps({"error": {"message": "Incorrect API key", "code": "invalid_api_key"}}).encode()
BROKE = json.dumps({"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}).encode()
SLOW_DOWN = json.dumps({"error": {"message": "Rate limit reached", "code": "rate_limit_exceeded"}}).encode()

Answers = dict[str, Callable[[], bytes]]


@pytest.fixture
def answers() -> Answers:
    """What the provider says to each secret."""
    return {}


@pytest.fixture
def provider(answers: Answers) -> Iterator[ScriptedProvider]:
    """A provider whose answer depends on who asks."""

    def speak() -> bytes:
        secret = made.received[-1].headers["authorization"].removeprefix("Bearer ")
        return answers.get(secret, lambda: whole(OK))()

    with ScriptedProvider(speak) as made:
        yield made


def config(provider: ScriptedProvider, *credentials: Any, targets: tuple[str, ...] = ("mine/m",)) -> str:
    mine = {"adapter": "openai_compatible", "base_url": provider.url, "credentials": list(credentials)}
    other = {"adapter": "openai_compatible", "base_url": provider.url, "api_key": "sk-other"}
    return json.dumps(
        {
            "defaults": {"retries": 0},
            "providers": {"mine": mine, "other": other},
            "routes": {"text": {"targets": list(targets)}},
        }
    )


def asked(provider: ScriptedProvider) -> Counter[str]:
    return Counter(one.headers["authorization"].removeprefix("Bearer sk-") for one in provider.received)


def states(gateway: GatewayProcess) -> dict[str, tuple[str, str | None]]:
    rows = health(gateway, "mine")["credentials"]
    return {row["label"].split("#")[1].split("-")[0]: (row["state"], row["reason"]) for row in rows}


def test_requests_are_spread_by_weight(provider: ScriptedProvider, tmp_path: Path) -> None:
    weighted = {"key": "sk-big", "weight": 9, "label": "team-a"}
    with GatewayProcess(tmp_path, config(provider, weighted, "sk-small", {"key": "sk-never", "weight": 0})) as gateway:
        for _ in range(60):
            assert chat(gateway).status_code == 200
        counted = asked(provider)
        assert counted["big"] > counted["small"]
        assert counted["never"] == 0
        assert sorted(states(gateway)) == ["2", "3", "team"]
        labels = {row["credential"] for row in gateway.sql("SELECT DISTINCT credential FROM attempts")}
        assert any("team-a" in label for label in labels)
        assert not any("sk-" in label for label in labels)


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [("401 X", REFUSED, "credential_rejected"), ("429 X", BROKE, "quota_exhausted")],
)
def test_a_refused_credential_is_benched_and_the_next_serves_the_same_request(
    provider: ScriptedProvider, answers: Answers, tmp_path: Path, status: str, body: bytes, reason: str
) -> None:
    answers["sk-bad"] = lambda: whole(body, status=status)
    with GatewayProcess(tmp_path, config(provider, "sk-bad", {"key": "sk-good", "weight": 0})) as gateway:
        first = chat(gateway)
        assert (first.status_code, first.headers["x-polyroute-attempts"]) == (200, "2")
        tried = gateway.attempts(first.headers["x-polyroute-request-id"])
        assert [(one["outcome"], one["error_kind"]) for one in tried] == [("failed", reason), ("served", None)]
        for _ in range(5):
            assert chat(gateway).headers["x-polyroute-attempts"] == "1"
        assert asked(provider) == {"bad": 1, "good": 6}
        assert states(gateway) == {"1": ("benched", reason), "2": ("ready", None)}
        assert health(gateway, "mine")["health"] == "degraded"
        assert "sk-bad" not in json.dumps(health(gateway, "mine"))


def test_a_rate_limited_credential_rests_as_long_as_it_was_told_to(
    provider: ScriptedProvider, answers: Answers, tmp_path: Path
) -> None:
    answers["sk-busy"] = lambda: whole(SLOW_DOWN, "retry-after: 4", status="429 X")
    with GatewayProcess(tmp_path, config(provider, {"key": "sk-busy", "weight": 1000}, "sk-free")) as gateway:
        assert chat(gateway).headers["x-polyroute-attempts"] == "2"
        assert states(gateway)["1"] == ("limited", "rate_limited")
        del answers["sk-busy"]
        eventually(lambda: states(gateway)["1"][0] == "ready")
        eventually(lambda: chat(gateway).status_code == 200 and asked(provider)["busy"] >= 2)


def test_a_credential_whose_headers_say_that_nothing_is_left_is_not_asked_again(
    provider: ScriptedProvider, answers: Answers, tmp_path: Path
) -> None:
    spent = ("x-ratelimit-remaining-requests: 0", "x-ratelimit-reset-requests: 1m0s")
    answers["sk-spent"] = lambda: whole(OK, *spent)
    with GatewayProcess(tmp_path, config(provider, {"key": "sk-spent", "weight": 1000}, "sk-full")) as gateway:
        for _ in range(6):
            answer = chat(gateway)
            assert (answer.status_code, answer.headers["x-polyroute-attempts"]) == (200, "1")
        assert asked(provider)["spent"] == 1


def test_a_provider_without_a_usable_credential_is_passed_over_and_probed_when_it_is_the_last(
    provider: ScriptedProvider, answers: Answers, tmp_path: Path
) -> None:
    answers["sk-bad"] = lambda: whole(REFUSED, status="401 X")
    with GatewayProcess(tmp_path, config(provider, "sk-bad", targets=("mine/m", "other/m"))) as gateway:
        assert chat(gateway).headers["x-polyroute-provider"] == "other"
        second = chat(gateway)
        assert second.headers["x-polyroute-attempts"] == "1"
        drops = gateway.entry(second.headers["x-polyroute-request-id"])["drops"]
        assert "none of its credentials can be used now" in drops
        assert health(gateway, "mine")["health"] == "unhealthy"
        alone = chat(gateway, "mine/m")
        assert alone.status_code == 502
        assert asked(provider)["bad"] == 2
        del answers["sk-bad"]
        assert chat(gateway, "mine/m").status_code == 200
        assert health(gateway, "mine")["credentials"][0]["state"] == "ready"


def test_a_reload_replaces_credentials_and_keeps_what_is_known_of_the_others(
    provider: ScriptedProvider, answers: Answers, tmp_path: Path
) -> None:
    answers["sk-bad"] = lambda: whole(REFUSED, status="401 X")
    answers["sk-old"] = lambda: whole(REFUSED, status="401 X")
    with GatewayProcess(tmp_path, config(provider, "sk-bad", "sk-old")) as gateway:
        assert chat(gateway).status_code == 502
        pid = gateway.pid
        gateway.config.write_text(config(provider, "sk-new", "sk-bad"))
        gateway.signal(signal.SIGHUP)
        eventually(lambda: states(gateway) == {"1": ("ready", None), "2": ("benched", "credential_rejected")})
        for _ in range(5):
            assert chat(gateway).headers["x-polyroute-attempts"] == "1"
        assert asked(provider) == {"bad": 1, "old": 1, "new": 5}
        assert gateway.pid == pid


def test_benches_outlive_a_restart_and_an_operator_can_lift_them(
    provider: ScriptedProvider, answers: Answers, tmp_path: Path
) -> None:

    answers["sk-bad"] = lambda: whole(REFUSED, status="401 X")
    written = config(provider, "sk-bad", {"key": "sk-good", "weight": 0})
    with GatewayProcess(tmp_path, written) as gateway:
        assert chat(gateway).status_code == 200
    with GatewayProcess(tmp_path, written) as gateway:
        assert states(gateway)["1"] == ("benched", "credential_rejected")
        del answers["sk-bad"]
        done = httpx.post(f"{gateway.url}/admin/api/providers/mine/release", timeout=20, trust_env=False)
        assert done.status_code == 200
        assert states(gateway)["1"] == ("ready", None)
        assert chat(gateway).status_code == 200
        assert asked(provider) == {"bad": 2, "good": 1}


def test_doctor_asks_every_credential_for_the_list_of_models(
    provider: ScriptedProvider, answers: Answers, tmp_path: Path
) -> None:
    models = json.dumps({"object": "list", "data": []}).encode()
    answers["sk-good"] = lambda: whole(models)
    answers["sk-bad"] = lambda: whole(REFUSED, status="401 X")
    openai = {"base_url": provider.url, "credentials": ["sk-good", "sk-bad"]}
    (tmp_path / "polyroute.yaml").write_text(json.dumps({"providers": {"openai": openai}}))
    done = run_polyroute("doctor", "--live", folder=tmp_path)
    lines = {line.split("-")[0].strip(): line for line in done.stdout.splitlines() if "openai#" in line}
    assert done.returncode == 1, done.stdout
    assert "answers in" in lines["ok openai#1"]
    assert "not accepted" in lines["fails openai#2"]
    assert {one.target for one in provider.received} == {"/models"}
    assert "sk-" not in done.stdout


def test_tokens_are_counted_with_the_next_credential_when_the_first_is_rejected(tmp_path: Path) -> None:
    refused = json.dumps(
        {"type": "error", "error": {"type": "authentication_error", "message": "invalid x-api-key"}}
    ).encode()

    def speak() -> bytes:
        accepted = provider.received[-1].headers["x-api-key"] == "sk-good"
        return whole(b'{"input_tokens": 41}') if accepted else whole(refused, status="401 Unauthorized")

    with ScriptedProvider(speak) as provider:
        mine = {"base_url": provider.url, "credentials": [{"key": "sk-bad", "weight": 1000}, "sk-good"]}
        written = json.dumps({"providers": {"anthropic": mine}})
        with GatewayProcess(tmp_path, written) as gateway:
            body = {"model": "anthropic/claude-sonnet-4-5", "messages": [{"role": "user", "content": "Hello"}]}
            for _ in range(2):
                answer = httpx.post(f"{gateway.url}/v1/messages/count_tokens", json=body, timeout=20, trust_env=False)
                assert answer.json()["input_tokens"] == 41, answer.text
            row = health(gateway, "anthropic")["credentials"][0]
            assert (row["state"], row["reason"]) == ("benched", "credential_rejected")
    assert [one.headers["x-api-key"] for one in provider.received] == ["sk-bad", "sk-good", "sk-good"]
    assert {one.target.rpartition("/")[2] for one in provider.received} == {"count_tokens"}
