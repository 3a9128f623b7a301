"""A caller who leaves: the provider is left at once, nobody else is asked, and one row says what happened."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from support.asks import CHAT, SPEECH, STREAM, TRANSCRIPTION, Ask
from support.eventually import eventually
from support.gateway_process import GatewayProcess
from support.simulated_providers import SimulatedProviders

AT_ONCE = 0.1
"""Seconds within which a provider notices that nobody wants its answer any more."""
ALLOWED = 2.0
"""What is allowed on a busy machine: far less than any timer."""


MESSAGES = Ask("messages", "chat", "/v1/messages", {**STREAM.body, "max_tokens": 500})


@contextmanager
def asked(gateway: GatewayProcess, ask: Ask, model: str) -> Iterator[socket.socket]:
    """A connection on which a JSON request has been sent."""
    body = json.dumps({"model": model, **ask.body}).encode()
    head = (
        f"POST {ask.path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(gateway.address, timeout=10) as connection:
        connection.sendall(head.encode() + body)
        yield connection


def read_until(connection: socket.socket, mark: bytes) -> bytes:
    """Everything up to the mark and what came with it."""
    received = b""
    while mark not in received:
        piece = connection.recv(65536)
        assert piece, received
        received += piece
    return received


def leave_and_time(connection: socket.socket, sandbox: SimulatedProviders, provider: str = "openai") -> float:
    """Close the connection; seconds until the provider's request was aborted."""
    connection.close()
    begun = time.monotonic()
    sandbox.await_abort(provider)
    return time.monotonic() - begun


@pytest.mark.parametrize("ask", [CHAT, STREAM, SPEECH], ids=lambda ask: ask.name)
def test_leaving_before_the_providers_headers(sandbox: SimulatedProviders, gateway: GatewayProcess, ask: Ask) -> None:
    sandbox.break_down("openai", "hang")
    model = f"leaving-{ask.name}"
    with asked(gateway, ask, f"openai/{model}") as connection:
        sandbox.await_request("openai")
        assert leave_and_time(connection, sandbox) < ALLOWED
    entry = gateway.newest_entry(f"openai/{model}")
    assert (entry["status"], entry["error_kind"], entry["http_status"]) == ("CANCELLED", "cancelled", 499)
    assert (entry["actual_provider"], entry["cost_usd"]) == (None, None)
    [attempt] = gateway.attempts(entry["id"])
    assert attempt["outcome"] == "cancelled"


@pytest.mark.parametrize("ask", [CHAT, STREAM, SPEECH], ids=lambda ask: ask.name)
def test_a_provider_is_left_at_once(sandbox: SimulatedProviders, gateway: GatewayProcess, ask: Ask) -> None:
    """The quickest of a few times shows what the gateway does, the others what else the machine does."""
    times = []
    for number in range(5):
        sandbox.reset()
        sandbox.break_down("openai", "hang")
        with asked(gateway, ask, f"openai/leaving-at-once-{ask.name}-{number}") as connection:
            sandbox.await_request("openai")
            times.append(leave_and_time(connection, sandbox))
    assert min(times) < AT_ONCE


@pytest.mark.parametrize("ask", [STREAM, MESSAGES], ids=["openai", "anthropic"])
def test_the_rescuing_provider_is_left_at_once_too(
    sandbox: SimulatedProviders, gateway: GatewayProcess, ask: Ask
) -> None:
    times = []
    for _ in range(5):
        sandbox.reset()
        sandbox.break_down("openai", "cut", after_tokens=6)
        sandbox.break_down("together", "hang")
        with asked(gateway, ask, "chat-route") as connection:
            received = read_until(connection, b"[sim")
            sandbox.await_request("together")
            times.append(leave_and_time(connection, sandbox, "together"))
        request_id = received.partition(b"x-polyroute-request-id: ")[2].partition(b"\r\n")[0].decode()
        entry = gateway.entry(request_id)
        assert (entry["status"], entry["error_kind"]) == ("CANCELLED", "cancelled")
        tried = [(attempt["provider"], attempt["outcome"]) for attempt in gateway.attempts(request_id)]
        assert tried == [("openai", "failed"), ("together", "cancelled")]
        assert len(gateway.sql("SELECT id FROM requests WHERE id = ?", request_id)) == 1
        assert (sandbox.counters("openai")["requests"], sandbox.counters("together")["requests"]) == (1, 1)
    assert min(times) < AT_ONCE


def test_both_providers_of_a_hedged_request_are_left_at_once(
    sandbox: SimulatedProviders, gateway: GatewayProcess
) -> None:
    times = []
    for _ in range(5):
        sandbox.reset()
        sandbox.break_down("openai", "hang")
        sandbox.break_down("together", "hang")
        with asked(gateway, CHAT, "hedged") as connection:
            sandbox.await_request("openai")
            sandbox.await_request("together")
            begun = time.monotonic()
            leave_and_time(connection, sandbox)
            sandbox.await_abort("together")
            times.append(time.monotonic() - begun)
    assert min(times) < AT_ONCE
    rows = eventually(
        lambda: len(found := gateway.sql("SELECT * FROM requests WHERE route = 'hedged'")) == len(times) and found
    )
    assert {row["status"] for row in rows} == {"CANCELLED"}
    for row in rows:
        tried = sorted((attempt["provider"], attempt["outcome"]) for attempt in gateway.attempts(row["id"]))
        assert tried == [("openai", "cancelled"), ("together", "cancelled")]


def test_leaving_while_the_first_of_two_targets_is_silent_asks_nobody_else(
    sandbox: SimulatedProviders, gateway: GatewayProcess
) -> None:
    cancelled = "SELECT * FROM requests WHERE route='chat-route' AND status='CANCELLED'"
    earlier = {row["id"] for row in gateway.sql(cancelled)}
    sandbox.break_down("openai", "hang")
    with asked(gateway, CHAT, "chat-route") as connection:
        sandbox.await_request("openai")
        assert leave_and_time(connection, sandbox) < ALLOWED
    [row] = eventually(lambda: [row for row in gateway.sql(cancelled) if row["id"] not in earlier])
    assert [attempt["provider"] for attempt in gateway.attempts(row["id"])] == ["openai"]
    assert sandbox.counters("together")["requests"] == 0


def test_leaving_between_headers_and_the_first_token(sandbox: SimulatedProviders, gateway: GatewayProcess) -> None:
    sandbox.break_down("openai", "slow_first_token", seconds=60)
    with asked(gateway, STREAM, "openai/leaving-first-token") as connection:
        eventually(lambda: sandbox.counters("openai")["open_streams"])
        assert leave_and_time(connection, sandbox) < ALLOWED
    entry = gateway.newest_entry("openai/leaving-first-token")
    assert (entry["status"], entry["actual_provider"]) == ("CANCELLED", None)
    assert len(gateway.attempts(entry["id"])) == 1


def test_leaving_while_the_provider_thinks_about_a_whole_answer(
    sandbox: SimulatedProviders, gateway: GatewayProcess
) -> None:
    sandbox.set("openai", latency=60)
    with asked(gateway, CHAT, "openai/leaving-thinking") as connection:
        sandbox.await_request("openai")
        assert leave_and_time(connection, sandbox) < ALLOWED
    assert gateway.newest_entry("openai/leaving-thinking")["status"] == "CANCELLED"


def test_leaving_in_the_middle_of_a_stream_counts_what_was_delivered(
    sandbox: SimulatedProviders, gateway: GatewayProcess
) -> None:
    sandbox.break_down("openai", "stall", after_tokens=6, seconds=60)
    with asked(gateway, STREAM, "openai/leaving-midway") as connection:
        received = read_until(connection, b'"content":"avin"')  # the sixth token of four characters
        assert leave_and_time(connection, sandbox) < ALLOWED
    request_id = received.partition(b"x-polyroute-request-id: ")[2].partition(b"\r\n")[0].decode()
    entry = gateway.entry(request_id)
    assert (entry["status"], entry["error_kind"], entry["actual_provider"]) == ("CANCELLED", "cancelled", "openai")
    assert (entry["usage_estimated"], entry["output_tokens"]) == (1, 6)
    [attempt] = gateway.attempts(entry["id"])
    assert attempt["outcome"] == "cancelled"
    assert len(gateway.sql("SELECT id FROM requests WHERE requested_model = 'openai/leaving-midway'")) == 1


def test_leaving_in_the_middle_of_speech(sandbox: SimulatedProviders, gateway: GatewayProcess) -> None:
    sandbox.break_down("openai", "stall", after_tokens=1, seconds=60)
    speech = Ask("speech", "speech", SPEECH.path, {"input": "A rather long sentence. " * 40, "voice": "alloy"})
    with asked(gateway, speech, "openai/leaving-aloud") as connection:
        read_until(connection, b"\r\n\r\n1000\r\n")  # the first piece, of 4096 bytes
        assert leave_and_time(connection, sandbox) < ALLOWED
    entry = gateway.newest_entry("openai/leaving-aloud")
    assert (entry["status"], entry["actual_provider"]) == ("CANCELLED", "openai")


def test_leaving_after_the_last_token_is_a_completed_request(
    sandbox: SimulatedProviders, gateway: GatewayProcess
) -> None:
    with asked(gateway, STREAM, "openai/leaving-late") as connection:
        received = read_until(connection, b"data: [DONE]\n\n")
    request_id = received.partition(b"x-polyroute-request-id: ")[2].partition(b"\r\n")[0].decode()
    entry = gateway.entry(request_id)
    assert (entry["status"], entry["http_status"], entry["usage_estimated"]) == ("COMPLETED", 200, 0)
    assert entry["output_tokens"]


@pytest.mark.parametrize("ask", [CHAT, TRANSCRIPTION], ids=lambda ask: ask.name)
def test_leaving_before_the_request_is_complete_asks_nobody(
    sandbox: SimulatedProviders, gateway: GatewayProcess, ask: Ask
) -> None:
    kind = "application/json" if ask is CHAT else "multipart/form-data; boundary=xyz"
    head = f"POST {ask.path} HTTP/1.1\r\nhost: x\r\ncontent-type: {kind}\r\ncontent-length: 500\r\n\r\n"
    with socket.create_connection(gateway.address, timeout=10) as connection:
        connection.sendall(head.encode() + b'{"model": "openai/never"' if ask is CHAT else head.encode() + b"--xyz\r\n")
    with asked(gateway, CHAT, f"openai/after-{ask.name}") as connection:
        read_until(connection, b"HTTP/1.1 200 OK")
    assert sandbox.counters("openai")["requests"] == 1
    gateway.newest_entry(f"openai/after-{ask.name}")
    assert gateway.sql("SELECT id FROM requests WHERE requested_model = 'openai/never'") == []


def test_one_caller_of_many_leaves_and_the_others_are_served(
    sandbox: SimulatedProviders, gateway: GatewayProcess
) -> None:
    sandbox.set("openai", tokens_per_second=200)
    with asked(gateway, STREAM, "openai/staying") as staying:
        with asked(gateway, STREAM, "openai/going") as going:
            read_until(going, b'"content":"[sim"')
        assert read_until(staying, b"data: [DONE]\n\n")
    assert gateway.newest_entry("openai/going")["status"] == "CANCELLED"
    assert gateway.newest_entry("openai/staying")["status"] == "COMPLETED"
