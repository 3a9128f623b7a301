"""What happens after the commit point: an answer that breaks off is never taken for whole, and is written down as it was."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from support.asks import CHAT, SPEECH, STREAM, Ask, events, text_of
from support.gateway_process import GatewayProcess
from support.simulated_providers import SimulatedProviders

BREAKS: dict[str, tuple[dict[str, Any], str]] = {
    "cut": ({"kind": "cut", "after_tokens": 5}, "truncated"),
    "stall": ({"kind": "stall", "after_tokens": 5, "seconds": 20}, "timeout"),
    "in-band": ({"kind": "in_band_error", "after_tokens": 5}, "unavailable"),
    "broken-json": ({"kind": "malformed_chunk", "after_tokens": 5}, "bad_response"),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_stream_that_breaks_off_ends_with_an_error_and_never_with_a_clean_finish(
    sandbox: SimulatedProviders, gateway: GatewayProcess, client: httpx.Client, name: str
) -> None:
    fault, kind = BREAKS[name]
    sandbox.set(
        "openai", faults=[fault], tokens_per_second=25
    )  # or all came at once, and the caller had seen nothing yet

    answer = STREAM.send(client, "hasty", x_polyroute_rescue="error")

    assert answer.status_code == 200
    assert answer.headers["x-polyroute-provider"] == "openai"
    told = events(answer.content)
    said = text_of(answer.content)
    # Five tokens of four characters; the last may share its packet with the error.
    assert "[simulated openai/ha".startswith(said)
    assert len(said) >= 16
    assert "error" in told[-1], told[-1]
    assert "openai/hasty-1" in told[-1]["error"]["message"]
    assert "[DONE]" not in told
    assert not [choice for chunk in told[:-1] for choice in chunk["choices"] if choice["finish_reason"]]
    assert sandbox.counters("together")["requests"] == 0

    entry = gateway.entry(answer.headers["x-polyroute-request-id"])
    assert (entry["status"], entry["error_kind"], entry["actual_provider"]) == ("FAILED", kind, "openai")
    assert entry["usage_estimated"] == 1
    assert entry["output_tokens"] in (4, 5)
    [attempt] = gateway.attempts(entry["id"])
    assert (attempt["outcome"], attempt["error_kind"]) == ("failed", kind)


def test_speech_that_breaks_off_closes_the_connection_in_mid_body(
    sandbox: SimulatedProviders, gateway: GatewayProcess, client: httpx.Client
) -> None:
    sandbox.break_down("openai", "cut", after_tokens=1)
    body = {
        "model": "speech-route",
        "input": "A sentence that is long enough for several pieces. " * 20,
        "voice": "alloy",
    }
    received: list[bytes] = []
    with client.stream("POST", SPEECH.path, json=body) as answer:
        assert answer.status_code == 200
        request_id = answer.headers["x-polyroute-request-id"]
        with pytest.raises(httpx.RemoteProtocolError):
            received.extend(answer.iter_raw())
    assert received
    entry = gateway.entry(request_id)
    assert (entry["status"], entry["error_kind"]) == ("FAILED", "truncated")
    assert sandbox.counters("together")["requests"] == 0


@pytest.mark.parametrize("ask", [CHAT, STREAM], ids=lambda ask: ask.name)
def test_a_stream_without_the_dialects_own_end_is_whole_when_its_answer_is(
    sandbox: SimulatedProviders, gateway: GatewayProcess, client: httpx.Client, ask: Ask
) -> None:
    due = ask.direct(sandbox, "openai", "chat-1")
    sandbox.break_down("openai", "missing_done")
    answer = ask.send(client, "chat-route")
    assert (answer.headers["x-polyroute-provider"], answer.headers["x-polyroute-attempts"]) == ("openai", "1")
    if ask is STREAM:
        assert text_of(answer.content) == text_of(due)
        last = [event for event in events(answer.content) if event != "[DONE]"][-1]
        assert [choice["finish_reason"] for choice in last["choices"]] == ["stop"]
    assert gateway.entry(answer.headers["x-polyroute-request-id"])["status"] == "COMPLETED"


def test_a_whole_answer_that_breaks_off_late_falls_over_all_the_same(
    sandbox: SimulatedProviders, gateway: GatewayProcess, client: httpx.Client
) -> None:
    sandbox.break_down("openai", "cut", after_tokens=5)
    answer = CHAT.send(client, "hasty")
    assert answer.headers["x-polyroute-provider"] == "together"
    assert answer.json()["choices"][0]["message"]["content"].startswith("[simulated together/hasty-2]")
