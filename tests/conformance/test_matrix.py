"""Every ingress dialect, through its official SDK, served by a provider of every upstream dialect."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from support.sdk_answers import ARGUMENTS, PIXEL, RESULTS, TOOLS, Caller, Failed, Question, Told
from support.sdk_matrix import CALLERS, CASES, UPSTREAMS, Upstream, cells, why_empty
from support.simulated_providers import SimulatedProviders

pytestmark = pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning")

HELLO = "Good morning to you all"
FORECAST = "The weather in Berlin for the next 3 days"
WITH_TOOLS = "Use get_weather and local_time for Berlin, the next 3 days."

RATE_LIMITED = {
    "chat": "RateLimitError", "responses": "RateLimitError", "messages": "RateLimitError", "gemini": "ClientError",
    "ollama-chat": "ResponseError", "ollama-generate": "ResponseError", "vapi": "rate_limit_error",
}  # fmt: skip
"""What an SDK's user catches; in Google's and Ollama's one class serves all of them, and its status tells."""


class Cell:
    """One caller in front of one provider."""

    def __init__(self, sandbox: SimulatedProviders, caller: Caller, upstream: Upstream, name: str) -> None:
        self.sandbox = sandbox
        self.caller = caller
        self.upstream = upstream
        self.name = name

    def question(self, prompt: str, *, model: str | None = None, **wishes: bool) -> Question:
        target = f"{self.upstream.name}/{model or self.upstream.model}"
        return Question(model=target, prompt=prompt, stream=wishes.pop("stream", self.name == "vapi"), **wishes)

    def check(self, told: Told, *, calls: bool = False) -> None:
        """What holds for every answer: how it ended and what it used."""
        assert told.finish == ("tool_calls" if calls else "stop")
        if self.name != "vapi":  # which asks for no usage
            assert told.input_tokens
            assert told.output_tokens
        assert len(self.sandbox.seen(self.upstream.simulated)) >= 1


def text(cell: Cell) -> None:
    told = cell.caller.ask(cell.question(HELLO))
    cell.check(told)
    assert told.text.startswith(f"[simulated {cell.upstream.simulated}/{cell.upstream.model}")
    assert f'You said "{HELLO}" (5 words).' in told.text
    assert told.text.endswith("nothing was charged.")
    assert told.calls == ()


def stream(cell: Cell) -> None:
    told = cell.caller.ask(cell.question(HELLO, stream=True))
    cell.check(told)
    assert f'You said "{HELLO}" (5 words).' in told.text
    assert told.text.endswith("nothing was charged.")
    assert told.pieces > 5


def tools(cell: Cell, *, stream: bool = False) -> None:
    first, second = cell.caller.use_tools(cell.question(WITH_TOOLS, stream=stream or cell.name == "vapi"))
    cell.check(first, calls=True)
    assert [(call.name, call.arguments) for call in first.calls] == [(name, ARGUMENTS) for name in TOOLS]
    ids = [call.id for call in first.calls if call.id]
    assert len(set(ids)) == len(ids)
    cell.check(second)
    for name in TOOLS:
        assert f'{name} said "{RESULTS[name]}"' in second.text.replace('{"output":"', "").replace('"}"', '"')
    assert second.calls == ()


def tools_stream(cell: Cell) -> None:
    tools(cell, stream=True)


def vision(cell: Cell) -> None:
    told = cell.caller.ask(cell.question("What is this?", image=True))
    cell.check(told)
    kind = "unknown" if cell.upstream.dialect == "ollama" else "png"  # Ollama is sent bytes alone
    assert f"I saw an image (image/{kind}, {len(PIXEL)} bytes)." in told.text


def schema(cell: Cell) -> None:
    told = cell.caller.ask(cell.question(FORECAST, schema=True))
    cell.check(told)
    assert json.loads(told.text) == ARGUMENTS


def reasoning(cell: Cell, *, stream: bool = False) -> None:
    model = cell.upstream.reasoning_model
    told = cell.caller.ask(cell.question(HELLO, model=model, reasoning=True, stream=stream))
    cell.check(told)
    assert "No model has read this" in told.text
    assert "simulated reasoning" not in told.text
    if cell.upstream.hides_reasoning:
        assert told.reasoning == ""
    else:
        assert told.reasoning.startswith("[simulated reasoning]")
        assert told.reasoning.endswith("make nothing up.")
        assert told.reasoning.count("[simulated reasoning]") == 1


def reasoning_stream(cell: Cell) -> None:
    reasoning(cell, stream=True)


def rate_limit(cell: Cell) -> None:
    """A refused model rests for a moment, so each cell has a model of its own."""
    for streamed in (False, True) if cell.name != "vapi" else (True,):
        cell.sandbox.reset()
        cell.sandbox.break_down(cell.upstream.simulated, "status", status=429)
        model = f"{cell.upstream.model}-{cell.name}-{streamed:d}".lower()
        failed = cell.caller.fail(cell.question(HELLO, model=model, stream=streamed))
        assert failed.raised == RATE_LIMITED[cell.name]
        assert failed.status == 429
        assert "sk-conformance" not in failed.message
        assert len(cell.sandbox.seen(cell.upstream.simulated)) == 1


def cut_off(cell: Cell) -> None:
    """A stream that breaks off after it began is an error to the SDK, never an answer."""
    cell.sandbox.set(cell.upstream.simulated, faults=[{"kind": "cut", "after_tokens": 6}], tokens_per_second=200)
    failed = cell.caller.fail(cell.question(HELLO, stream=True))
    assert failed == Failed(failed.raised, failed.status, failed.message)
    assert failed.message


RUN: dict[str, Callable[[Cell], None]] = {
    "text": text, "stream": stream, "tools": tools, "tools-stream": tools_stream, "vision": vision, "schema": schema,
    "reasoning": reasoning, "reasoning-stream": reasoning_stream, "rate-limit": rate_limit, "cut-off": cut_off,
}  # fmt: skip


@pytest.mark.parametrize(("ingress", "upstream", "case"), cells())
def test_cell(
    sandbox: SimulatedProviders, callers: dict[str, Caller], record_property: Callable[[str, object], None],
    ingress: str, upstream: str, case: str,
) -> None:  # fmt: skip
    record_property("cell", [ingress, upstream, case])
    RUN[case](Cell(sandbox, callers[ingress], UPSTREAMS[upstream], ingress))


def test_no_pair_is_empty() -> None:
    assert set(RUN) == set(CASES)
    for caller in CALLERS:
        for upstream in UPSTREAMS:
            run = [case for case in CASES if why_empty(caller, upstream, case) is None]
            assert {"stream", "rate-limit"} <= set(run)
