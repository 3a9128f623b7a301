"""A provider fails in every way that the sandbox knows: the caller gets the next one's answer, whole and alone."""

from __future__ import annotations

import httpx
import pytest

from support.asks import ASKS, CHAT, Ask
from support.faults import ALL_DOWN, FAULTS, AllDown, FaultCase
from support.gateway_process import GatewayProcess
from support.simulated_providers import SimulatedProviders

EXPECTED_HEADERS = {
    "date", "content-type", "content-length", "transfer-encoding", "x-polyroute-request-id", "x-polyroute-provider",
    "x-polyroute-model", "x-polyroute-attempts",
}  # fmt: skip


def matrix() -> list[object]:
    """Every fault with every way of asking in which it can show."""
    return [
        pytest.param(ask, case, id=f"{ask.name}-{case.name}")
        for case in FAULTS
        for ask in ASKS
        if ask.name not in case.not_for
    ]


@pytest.mark.parametrize(("ask", "case"), matrix())
def test_the_next_provider_serves_when_the_first_fails(
    sandbox: SimulatedProviders, gateway: GatewayProcess, client: httpx.Client, ask: Ask, case: FaultCase
) -> None:
    route = f"{ask.name}-{case.name}"
    due = ask.direct(sandbox, "together", route)
    sandbox.reset()
    sandbox.set("openai", faults=[case.fault])

    answer = ask.send(client, route)

    assert answer.status_code == 200, answer.text
    assert answer.content == due
    assert answer.headers["x-polyroute-provider"] == "together"
    assert answer.headers["x-polyroute-model"] == route
    assert answer.headers["x-polyroute-attempts"] == "2"
    assert set(answer.headers) <= EXPECTED_HEADERS
    # A reset of a connection that was kept open may be old news, so it is tried once more on a new one.
    assert sandbox.counters("openai")["requests"] in ({1, 2} if case.name == "reset" else {1})
    assert sandbox.counters("together")["requests"] == 1

    entry = gateway.entry(answer.headers["x-polyroute-request-id"])
    assert (entry["status"], entry["http_status"], entry["error_kind"]) == ("COMPLETED", 200, None)
    assert (entry["actual_provider"], entry["actual_model"], entry["route"]) == ("together", route, route)
    assert entry["operation"] == ask.operation
    assert (entry["cost_usd"], entry["price_version"]) == (None, None)  # nobody knows a price of these models: not 0
    first, second = gateway.attempts(entry["id"])
    assert (first["number"], first["provider"], first["outcome"]) == (1, "openai", "failed")
    assert first["error_kind"] == case.kind_for(streamed=ask.streamed)
    assert first["error_message"]
    if case.provider_status is not None:
        assert first["http_status"] == case.provider_status
    assert (second["number"], second["provider"], second["outcome"]) == (2, "together", "served")
    assert (second["http_status"], second["error_kind"]) == (200, None)


@pytest.mark.parametrize("case", ALL_DOWN, ids=lambda case: case.name)
@pytest.mark.parametrize("ask", ASKS, ids=lambda ask: ask.name)
def test_one_error_names_every_target_and_why_when_all_fail(
    sandbox: SimulatedProviders, gateway: GatewayProcess, client: httpx.Client, ask: Ask, case: AllDown
) -> None:
    route = f"{ask.name}-{case.name}"
    sandbox.set("*", faults=[case.fault])

    answer = ask.send(client, route)

    assert answer.status_code == case.status, answer.text
    assert answer.headers["content-type"] == "application/json"
    error = answer.json()["error"]
    assert f"openai/{route}: " in error["message"]
    assert f"together/{route}: " in error["message"]
    assert error["request_id"] == answer.headers["x-polyroute-request-id"]
    assert answer.headers["x-polyroute-attempts"] == "2"
    assert "sk-" not in answer.text
    entry = gateway.entry(error["request_id"])
    assert (entry["status"], entry["http_status"], entry["actual_provider"]) == ("FAILED", case.status, None)
    assert entry["cost_usd"] is None
    assert [(row["provider"], row["outcome"]) for row in gateway.attempts(entry["id"])] == [
        ("openai", "failed"), ("together", "failed"),
    ]  # fmt: skip
    if case.name == "all-429":
        assert answer.headers["retry-after"] == "9"


def test_a_provider_that_does_not_listen(
    sandbox: SimulatedProviders, gateway: GatewayProcess, client: httpx.Client
) -> None:
    answer = CHAT.send(client, "dead/anything", x_polyroute_fallbacks="together/alive")
    assert (answer.status_code, answer.headers["x-polyroute-provider"]) == (200, "together")
    first, _ = gateway.attempts(answer.headers["x-polyroute-request-id"])
    assert (first["provider"], first["error_kind"], first["http_status"]) == ("dead", "unavailable", None)
    alone = CHAT.send(client, "dead/anything")
    assert alone.status_code == 502
    assert "dead/anything: " in alone.json()["error"]["message"]


def test_a_fault_of_the_callers_is_not_tried_elsewhere(
    sandbox: SimulatedProviders, gateway: GatewayProcess, client: httpx.Client
) -> None:
    answer = client.post("/v1/chat/completions", json={"model": "chat-route", "messages": []})
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert sandbox.counters("openai")["requests"] == 1
    assert sandbox.counters("together")["requests"] == 0
    [attempt] = gateway.attempts(answer.headers["x-polyroute-request-id"])
    assert attempt["error_kind"] == "invalid_request"
