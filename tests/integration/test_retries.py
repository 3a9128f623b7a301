"""The same target again, the next credential, waits that a provider asks for, and providers that are left alone."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from email.utils import formatdate

import httpx
import pytest

from support.asks import CHAT, EMBED, SPEECH, STREAM, Ask
from support.gateway_process import GatewayProcess
from support.scripted_provider import COMPLETION, ScriptedProvider, whole
from support.simulated_providers import SimulatedProviders

WAITS: dict[str, Callable[[], list[str]]] = {
    "seconds": lambda: ["retry-after: 1"],
    "date": lambda: [f"retry-after: {formatdate(time.time() + 2, usegmt=True)}"],
    "fraction": lambda: ["retry-after: 1.0004"],  # finer than the loop's timers
    "milliseconds": lambda: ["retry-after-ms: 1000"],
    "milliseconds-first": lambda: ["retry-after: 60", "retry-after-ms: 1000"],
}
BUSY = "429 Too Many Requests"


def busy(form: str) -> Callable[[], bytes]:
    """A provider that asks for a wait in one of the forms."""
    return lambda: whole(b'{"error":{"message":"busy"}}', *WAITS[form](), status=BUSY)


@pytest.fixture(scope="module")
def waiting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway before providers that are busy once, each with its own form of saying for how long."""
    with ExitStack() as stack:
        providers = {form: stack.enter_context(ScriptedProvider(busy(form), whole(COMPLETION))) for form in WAITS}
        entries = {
            form: {"adapter": "openai_compatible", "base_url": f"{provider.url}/v1", "api_key": "sk-mine"}
            for form, provider in providers.items()
        }
        folder = tmp_path_factory.mktemp("waiting")
        yield stack.enter_context(GatewayProcess(folder, json.dumps({"providers": entries})))


@pytest.fixture(scope="module")
def persistent(simulated: SimulatedProviders, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway that retries once, has two credentials at openai, and whose breakers open after three failures."""
    credentials = ["sk-invalid", {"key": "sk-good", "weight": 0}]  # weight 0: only when the other is refused
    config = {
        "defaults": {"retries": 1, "breaker": {"failures": 3}, "bench": {"rejected": 0.001, "longest": 0.001}},
        "providers": {
            "openai": {"base_url": f"{simulated.url}/openai/v1", "credentials": credentials},
            "together": {"base_url": f"{simulated.url}/together/v1", "api_key": "sk-together"},
            "groq": {"base_url": f"{simulated.url}/groq/openai/v1", "api_key": "sk-groq"},
            "xai": {"base_url": f"{simulated.url}/xai/v1", "api_key": "sk-xai"},
            "mistral": {"base_url": f"{simulated.url}/mistral/v1", "api_key": "sk-mistral"},
        },
        "routes": {
            "again": {"targets": ["groq/again", "together/again"]},
            "speech-again": {"operation": "speech", "targets": ["groq/again", "together/again"]},
            "impatient": {"targets": ["groq/impatient"], "timeouts": {"total": 2}},
            "breaking": {"targets": ["xai/breaking", "together/breaking"]},
            "limited": {"targets": ["mistral/limited", "together/limited"]},
        },
    }
    with GatewayProcess(tmp_path_factory.mktemp("persistent"), json.dumps(config)) as process:
        yield process


@pytest.fixture(scope="module")
def asking(persistent: GatewayProcess) -> Iterator[httpx.Client]:
    """A client of it."""
    with httpx.Client(base_url=persistent.url, timeout=20, trust_env=False) as client:
        yield client


@pytest.mark.parametrize("ask", [CHAT, STREAM, SPEECH], ids=lambda ask: ask.name)
def test_a_passing_failure_is_tried_again_at_the_same_target(
    sandbox: SimulatedProviders, persistent: GatewayProcess, asking: httpx.Client, ask: Ask
) -> None:
    sandbox.break_down("groq", "status", status=503, times=1)
    answer = ask.send(asking, "speech-again" if ask is SPEECH else "again")
    assert answer.status_code == 200
    assert (answer.headers["x-polyroute-provider"], answer.headers["x-polyroute-attempts"]) == ("groq", "2")
    rows = persistent.attempts(answer.headers["x-polyroute-request-id"])
    assert [(row["provider"], row["outcome"], row["http_status"]) for row in rows] == [
        ("groq", "failed", 503), ("groq", "served", 200),
    ]  # fmt: skip
    assert sandbox.counters("together")["requests"] == 0


@pytest.mark.parametrize("ask", [CHAT, STREAM, EMBED, SPEECH], ids=lambda ask: ask.name)
def test_a_refused_credential_gives_way_to_the_next_one(
    sandbox: SimulatedProviders, persistent: GatewayProcess, asking: httpx.Client, ask: Ask
) -> None:
    answer = ask.send(asking, "openai/two-keys")
    assert answer.status_code == 200
    assert (answer.headers["x-polyroute-provider"], answer.headers["x-polyroute-attempts"]) == ("openai", "2")
    first, second = persistent.attempts(answer.headers["x-polyroute-request-id"])
    assert (first["error_kind"], first["http_status"]) == ("credential_rejected", 401)
    assert second["outcome"] == "served"
    assert first["credential"] != second["credential"]
    for row in (first, second):
        assert "sk-" not in json.dumps(row)


@pytest.mark.parametrize("form", WAITS)
def test_the_wait_that_a_provider_asks_for_is_kept(waiting: GatewayProcess, form: str) -> None:
    with httpx.Client(base_url=waiting.url, timeout=20, trust_env=False) as client:
        begun = time.monotonic()
        answer = CHAT.send(client, f"{form}/m")
        waited = time.monotonic() - begun
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-polyroute-attempts"] == "2"
    assert 0.95 <= waited < 10  # a date has no fractions: between one and two seconds


def test_nobody_waits_longer_than_the_request_may_take(
    sandbox: SimulatedProviders, persistent: GatewayProcess, asking: httpx.Client
) -> None:
    sandbox.break_down("groq", "status", status=429, retry_after="30")
    begun = time.monotonic()
    answer = CHAT.send(asking, "impatient")
    assert time.monotonic() - begun < 2
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "30"
    assert answer.headers["x-polyroute-attempts"] == "1"


def test_nobody_waits_for_a_limit_while_another_provider_can_serve_and_the_limited_one_rests(
    sandbox: SimulatedProviders, persistent: GatewayProcess, asking: httpx.Client
) -> None:
    sandbox.break_down("mistral", "status", status=429, retry_after="30")
    begun = time.monotonic()
    answer = CHAT.send(asking, "limited")
    assert time.monotonic() - begun < 5
    assert (answer.headers["x-polyroute-provider"], answer.headers["x-polyroute-attempts"]) == ("together", "2")
    again = CHAT.send(asking, "limited")
    assert (again.headers["x-polyroute-provider"], again.headers["x-polyroute-attempts"]) == ("together", "1")
    assert sandbox.counters("mistral")["requests"] == 1
    drops = json.loads(persistent.entry(again.headers["x-polyroute-request-id"])["drops"])
    assert [target for target, _ in drops] == ["mistral/limited"]


def test_a_provider_that_keeps_failing_is_left_alone(
    sandbox: SimulatedProviders, persistent: GatewayProcess, asking: httpx.Client
) -> None:
    sandbox.break_down("xai", "status", status=500)
    answers = [CHAT.send(asking, "breaking") for _ in range(4)]
    assert {answer.headers["x-polyroute-provider"] for answer in answers} == {"together"}
    assert answers[-1].headers["x-polyroute-attempts"] == "1"
    asked = sandbox.counters("xai")["requests"]
    assert 3 <= asked <= 4
    CHAT.send(asking, "breaking")
    assert sandbox.counters("xai")["requests"] == asked
