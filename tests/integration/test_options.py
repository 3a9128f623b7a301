"""What callers tell the gateway itself, in the body or in headers: honoured here, and gone before anything goes upstream."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx
import pytest

from support.asks import ASKS, CHAT, EMBED, SPEECH, STREAM, TRANSCRIPTION, Ask
from support.gateway_process import GatewayProcess
from support.simulated_providers import SimulatedProviders

WISHES = {"policy": "priority", "timeout": 20, "tags": {"team": "red", "run": "7"}, "user": "anna"}
WISHES_AS_HEADERS = {
    "x-polyroute-policy": "priority",
    "x-polyroute-timeout": "20",
    "x-polyroute-tags": "team=red, run=7",
    "x-polyroute-user": "anna",
}


def with_wishes(ask: Ask, way: str, client: httpx.Client, model: str) -> httpx.Response:
    """Ask with the wishes in headers, or in the body: as an object, in a form as its JSON."""
    if way == "headers":
        return client.post(ask.path, headers=WISHES_AS_HEADERS, **ask.arguments(model))
    wishes: Any = WISHES if ask.file is None else json.dumps(WISHES)
    return Ask(ask.name, ask.operation, ask.path, {**ask.body, "polyroute": wishes}, ask.file).send(client, model)


@pytest.mark.parametrize("way", ["headers", "body"])
@pytest.mark.parametrize("ask", ASKS, ids=lambda ask: ask.name)
def test_wishes_are_noted_and_removed(
    sandbox: SimulatedProviders, gateway: GatewayProcess, client: httpx.Client, ask: Ask, way: str
) -> None:
    answer = with_wishes(ask, way, client, f"{ask.operation}-route")
    assert answer.status_code == 200, answer.text
    [seen] = sandbox.seen("openai")
    assert seen["body"]["model"] == f"{ask.operation}-1"
    assert set(seen["body"]) - {"stream_options"} == {"model", *ask.body}
    assert not [name for name in seen["headers"] if name.startswith("x-polyroute")]
    assert "anna" not in json.dumps(seen)
    entry = gateway.entry(answer.headers["x-polyroute-request-id"])
    assert entry["user_id"] == "anna"
    assert json.loads(entry["tags"]) == {"team": "red", "run": "7"}
    assert entry["policy"] == "priority"


@pytest.mark.parametrize("way", ["headers", "body"])
@pytest.mark.parametrize("ask", [CHAT, STREAM, EMBED, SPEECH], ids=lambda ask: ask.name)
def test_fallbacks_of_the_callers_own(sandbox: SimulatedProviders, client: httpx.Client, ask: Ask, way: str) -> None:
    sandbox.break_down("openai", "status", status=500)
    name = f"own-{ask.name}-{way}"
    if way == "headers":
        header = {"x-polyroute-fallbacks": f"openai/other, together/{name}"}
        answer = client.post(ask.path, headers=header, **ask.arguments(f"openai/{name}"))
    else:
        fallbacks = {"polyroute": {"fallbacks": ["openai/other", f"together/{name}"]}}
        answer = Ask(ask.name, ask.operation, ask.path, {**ask.body, **fallbacks}).send(client, f"openai/{name}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-polyroute-provider"] == "together"
    assert answer.headers["x-polyroute-attempts"] == "3"


def test_an_unknown_fallback_is_refused(sandbox: SimulatedProviders, client: httpx.Client) -> None:
    answer = CHAT.send(client, "small", x_polyroute_fallbacks="nobody")
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "polyroute.fallbacks"
    assert sandbox.seen() == []


@pytest.mark.parametrize("ask", [CHAT, STREAM, SPEECH, TRANSCRIPTION], ids=lambda ask: ask.name)
def test_a_timeout_of_the_callers_own(
    sandbox: SimulatedProviders, gateway: GatewayProcess, client: httpx.Client, ask: Ask
) -> None:
    sandbox.break_down("*", "hang")
    begun = time.monotonic()
    answer = ask.send(client, f"{ask.operation}-route", x_polyroute_timeout="0.3")
    assert 0.25 < time.monotonic() - begun < 2
    assert answer.status_code == 504
    assert gateway.entry(answer.headers["x-polyroute-request-id"])["error_kind"] == "timeout"
    assert sandbox.counters("together")["requests"] == 0  # the time was up


def test_what_a_request_requires_decides_who_may_serve_it(sandbox: SimulatedProviders, client: httpx.Client) -> None:
    # openai offers audio_output, together does not; the order is turned round to show that it is passed over.
    body = {**CHAT.body, "polyroute": {"require": ["audio_output"], "fallbacks": ["openai/able"]}}
    answer = Ask("chat", "chat", CHAT.path, body).send(client, "together/unable")
    assert answer.status_code == 200, answer.text
    assert (answer.headers["x-polyroute-provider"], answer.headers["x-polyroute-attempts"]) == ("openai", "1")
    refused = CHAT.send(client, "together/unable", x_polyroute_require="audio_output")
    assert refused.status_code == 400
    assert "audio_output" in refused.json()["error"]["message"]
    assert sandbox.counters("together")["requests"] == 0


def test_an_unknown_policy_is_refused(sandbox: SimulatedProviders, client: httpx.Client) -> None:
    answer = CHAT.send(client, "small", x_polyroute_policy="chepest")
    assert answer.status_code == 400
    assert "cheapest" in answer.json()["error"]["message"]
    assert sandbox.seen() == []
