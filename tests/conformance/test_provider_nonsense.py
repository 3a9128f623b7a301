"""What a provider sends that is wrong becomes an error in the caller's dialect or is tolerated: no crash, no half answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from support.gateway_process import GatewayProcess
from support.scripted_answers import SCRIPTED, Scripted
from support.scripted_provider import Script, ScriptedProvider, whole
from support.sdk_matrix import UPSTREAMS
from support.simulated_providers import SimulatedProviders

CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
CALLERS = {CHAT: {}, MESSAGES: {"max_tokens": 50}}
TOOL: dict[str, Any] = {
    CHAT: {"type": "function", "function": {"name": "w", "parameters": {"type": "object", "properties": {}}}},
    MESSAGES: {"name": "w", "input_schema": {"type": "object", "properties": {}}},
}


class Stage:
    """A provider that says what it is told to, behind a gateway that knows it by every adapter's name."""

    def __init__(self, provider: ScriptedProvider, gateway: GatewayProcess, client: httpx.Client) -> None:
        self.provider = provider
        self.gateway = gateway
        self.client = client

    def ask(self, adapter: str, path: str, script: Script, *, stream: bool, tools: bool = False) -> httpx.Response:
        """Let the provider say `script`, and ask the gateway."""
        self.provider.play(script)
        body = {
            "model": f"my_{adapter}/m",
            "messages": [{"role": "user", "content": "Hi"}],
            "stream": stream,
            **CALLERS[path],
        }
        return self.client.post(path, json={**body, "tools": [TOOL[path]]} if tools else body)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with ScriptedProvider(b"") as provider:
        entries = {
            f"my_{name}": {"adapter": name, "base_url": provider.url, "api_key": "sk-scripted"} for name in SCRIPTED
        }
        config = {
            "defaults": {"retries": 0, "breaker": {"failures": 100_000, "minimum": 100_000}},
            "providers": entries,
        }  # fmt: skip
        folder = tmp_path_factory.mktemp("stage")
        with (
            GatewayProcess(folder, json.dumps(config)) as gateway,
            httpx.Client(base_url=gateway.url, timeout=20, trust_env=False) as client,
        ):
            yield Stage(provider, gateway, client)


def said(path: str, answer: httpx.Response, *, stream: bool) -> tuple[str, str | None, bool]:
    """The text of an answer, its finish reason, and whether it says that it failed."""
    if not stream:
        body = answer.json()
        if path == CHAT:
            [choice] = body["choices"]
            return choice["message"]["content"] or "", choice["finish_reason"], False
        return "".join(block.get("text", "") for block in body["content"]), body["stop_reason"], False
    told = [json.loads(line[6:]) for line in answer.text.split("\n") if line.startswith("data: {")]
    failed = any("error" in event for event in told)
    if path == CHAT:
        choices = [choice for event in told for choice in event.get("choices", ())]
        finish = [choice["finish_reason"] for choice in choices if choice["finish_reason"]]
        return (
            "".join(choice["delta"].get("content") or "" for choice in choices),
            finish[-1] if finish else None,
            failed,
        )
    text = "".join(event["delta"].get("text", "") for event in told if event["type"] == "content_block_delta")
    ends = [event["delta"]["stop_reason"] for event in told if event["type"] == "message_delta"]
    return text, ends[-1] if ends else None, failed


def check_error(path: str, answer: httpx.Response) -> None:
    """An error of the provider's, in the caller's shape."""
    assert answer.status_code == 502, answer.text
    error = answer.json()["error"]
    assert error["type"] in ("server_error", "api_error")
    assert error["message"]
    assert "sk-scripted" not in answer.text


_adapters = pytest.mark.parametrize("adapter", SCRIPTED)
_callers = pytest.mark.parametrize("path", CALLERS, ids=["chat", "messages"])
_streams = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])

BODIES = {
    "cut": lambda good: json.dumps(good).encode()[:-20], "null": lambda _: b"null", "list": lambda _: b"[]",
    "number": lambda _: b"7", "object": lambda _: b"{}", "nothing": lambda _: b"", "text": lambda _: b"all is well",
    "html": lambda _: b"<html>Bad gateway</html>", "binary": lambda _: bytes(range(256)),
    "odd-types": lambda good: json.dumps(dict.fromkeys(good, 7)).encode(),
    "nulls": lambda good: json.dumps(dict.fromkeys(good)).encode(),
}  # fmt: skip


@_adapters
@pytest.mark.parametrize("name", BODIES)
def test_a_body_that_is_no_answer(stage: Stage, adapter: str, name: str) -> None:
    check_error(CHAT, stage.ask(adapter, CHAT, whole(BODIES[name](SCRIPTED[adapter]().whole)), stream=False))


@_adapters
@pytest.mark.parametrize("name", BODIES)
def test_a_stream_that_is_none(stage: Stage, adapter: str, name: str) -> None:
    good = SCRIPTED[adapter]()
    script = whole(BODIES[name](good.whole), media_type=good.media_type)
    check_error(MESSAGES, stage.ask(adapter, MESSAGES, script, stream=True))


@_adapters
@_callers
def test_a_broken_event_in_the_middle(stage: Stage, adapter: str, path: str) -> None:
    good = SCRIPTED[adapter]()
    middle = len(good.events) - 2 if adapter in ("openai_compatible", "gemini", "ollama") else 3
    broken = [*good.events[:middle], '{"broken', *good.events[middle:]]
    answer = stage.ask(adapter, path, whole(good.stream(broken), media_type=good.media_type), stream=True)
    if answer.status_code == 200:
        _, finish, failed = said(path, answer, stream=True)
        assert (finish, failed) == (None, True)
    else:
        check_error(path, answer)


@_adapters
@_callers
def test_a_stream_that_ends_before_its_answer_does(stage: Stage, adapter: str, path: str) -> None:
    good = SCRIPTED[adapter]()
    kept = good.events[: {"openai_compatible": 2, "gemini": 1, "ollama": 2}.get(adapter, 4)]
    cut = good.stream(kept).removesuffix(b"data: [DONE]\n\n")
    answer = stage.ask(adapter, path, whole(cut, media_type=good.media_type), stream=True)
    if answer.status_code == 200:
        _, finish, failed = said(path, answer, stream=True)
        assert (finish, failed) == (None, True)
    else:
        check_error(path, answer)


def check_whole(path: str, answer: httpx.Response, *, stream: bool) -> None:
    """Two words, and a clean end."""
    assert answer.status_code == 200, answer.text
    text, finish, failed = said(path, answer, stream=stream)
    assert text == "two words"
    assert finish in ("stop", "end_turn")
    assert not failed


@_adapters
@_callers
@_streams
def test_a_good_answer(stage: Stage, adapter: str, path: str, stream: bool) -> None:
    good = SCRIPTED[adapter]()
    script = whole(good.stream(), media_type=good.media_type) if stream else whole(json.dumps(good.whole).encode())
    check_whole(path, stage.ask(adapter, path, script, stream=stream), stream=stream)


@_adapters
@_callers
def test_events_and_fields_that_nobody_knows_are_passed_over(stage: Stage, adapter: str, path: str) -> None:
    good = SCRIPTED[adapter]()
    unknown: dict[str, Any] = {"type": "hologram.delta", "hologram": {"index": 7}}
    if adapter in ("gemini", "ollama", "openai_compatible"):  # whose events have no names
        events = [{**event, "hologram": {"index": 7}} for event in good.events]
    else:
        events = [seen for event in good.events for seen in (unknown, {**event, "hologram": 7})]
    answer = stage.ask(adapter, path, whole(good.stream(events), media_type=good.media_type), stream=True)
    check_whole(path, answer, stream=True)


@_adapters
@_callers
@_streams
def test_an_answer_without_usage(stage: Stage, adapter: str, path: str, stream: bool) -> None:
    good: Scripted = SCRIPTED[adapter]().without_usage()
    script = whole(good.stream(), media_type=good.media_type) if stream else whole(json.dumps(good.whole).encode())
    answer = stage.ask(adapter, path, script, stream=stream)
    check_whole(path, answer, stream=stream)
    entry = stage.gateway.entry(answer.headers["x-polyroute-request-id"])
    assert entry["status"] == "COMPLETED"
    assert entry["output_tokens"] is None or entry["usage_estimated"] == 1


@_adapters
@_callers
def test_a_body_where_a_stream_was_due(stage: Stage, adapter: str, path: str) -> None:
    script = whole(json.dumps(SCRIPTED[adapter]().whole).encode())
    check_whole(path, stage.ask(adapter, path, script, stream=True), stream=True)


@_adapters
@_callers
@_streams
@pytest.mark.parametrize("arguments", ['{"a": tru', "not JSON", "[1492]"])
def test_tool_arguments_that_are_no_object(stage: Stage, adapter: str, path: str, stream: bool, arguments: str) -> None:
    """They reach the caller as they are, wrapped where its dialect takes objects only, or fail; they never vanish."""
    good = SCRIPTED[adapter](arguments)
    script = whole(good.stream(), media_type=good.media_type) if stream else whole(json.dumps(good.whole).encode())
    answer = stage.ask(adapter, path, script, stream=stream, tools=True)
    if answer.status_code == 200:
        assert (
            json.dumps(arguments)[1:-1] in answer.text.replace("\\\\\\", "\\") or said(path, answer, stream=stream)[2]
        )
    else:
        check_error(path, answer)


@pytest.mark.parametrize("kind", ["garbage", "empty", "no_content", "malformed_chunk", "html"])
@_streams
@pytest.mark.parametrize(
    "upstream", [name for name, row in UPSTREAMS.items() if row.dialect != "openai_chat" or name == "openai"]
)
def test_what_the_sandbox_can_break(
    sandbox: SimulatedProviders, client: httpx.Client, upstream: str, stream: bool, kind: str
) -> None:
    served = UPSTREAMS[upstream]
    sandbox.break_down(served.simulated, kind, after_tokens=0)
    body = {"model": f"{upstream}/{served.model}", "messages": [{"role": "user", "content": "Hi"}], "stream": stream}
    answer = client.post(CHAT, json=body)
    if stream and answer.status_code == 200:
        assert said(CHAT, answer, stream=True)[1:] == (None, True)
    else:
        check_error(CHAT, answer)
