"""The sixteen ways in which a provider fails, for chat whole and streamed, to a caller of OpenAI's and of Anthropic's API.

Times are scaled down: the gateway's patience is a few tenths of a second where an operator's is half a minute. Callers use
the official SDKs, which raise on whatever is not a proper answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import httpx
import msgspec
import openai
import pytest

from support.gateway_process import GatewayProcess
from support.simulated_providers import SimulatedProviders

QUESTION = "Tell me a story of 60 tokens."
PACE = 400  # tokens a second: slow enough that pieces come one by one
INGRESSES = ("openai", "anthropic")
WAYS = ("whole", "streamed")


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """A fault at the first provider. `kind` is what the ledger calls it (None: nobody notices), `rescued` that a streamed
    answer has begun by then, `requests` how many the first provider gets."""

    name: str
    faults: tuple[dict[str, Any], ...]
    kind: str | None
    rescued: bool = False
    requests: int = 1
    attempts: int = 2


SCENARIOS = (
    Scenario(name="429-retry-after", kind="rate_limited",
        faults=({"kind": "status", "status": 429, "retry_after": "30", "times": 1},)),
    Scenario(name="429-for-good", faults=({"kind": "status", "status": 429},), kind="rate_limited", requests=2, attempts=3),
    Scenario(name="one-500", faults=({"kind": "status", "status": 500, "times": 1},), kind="unavailable", requests=2),
    Scenario(name="503", faults=({"kind": "status", "status": 503},), kind="unavailable", requests=2, attempts=3),
    Scenario(name="reset", faults=({"kind": "reset"},), kind="unavailable", requests=2, attempts=3),
    Scenario(name="no-response", faults=({"kind": "hang"},), kind="timeout"),
    Scenario(name="slow-first-token", faults=({"kind": "slow_first_token", "seconds": 20},), kind="timeout"),
    Scenario(name="cut", faults=({"kind": "cut", "after_tokens": 40},), kind="truncated", rescued=True, requests=2,
        attempts=3),
    Scenario(name="stall", faults=({"kind": "stall", "after_tokens": 20, "seconds": 30},), kind="timeout", rescued=True),
    Scenario(name="malformed", faults=({"kind": "malformed_chunk", "after_tokens": 20},), kind="bad_response", rescued=True,
        requests=2, attempts=3),
    Scenario(name="no-end-marker", faults=({"kind": "missing_done"},), kind=None, attempts=1),
    Scenario(name="context-too-long", faults=({"kind": "context_too_long"},), kind="context_too_long"),
)  # fmt: skip


@pytest.fixture(scope="module")
def routed(simulated: SimulatedProviders, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway with a route for each scenario and ingress, the usual retry and breakers that tests do not feel. The first
    target speaks the caller's dialect (its stream is relayed), the second another one."""
    hasty = {"headers": 0.4, "first_token": 0.6, "idle": 0.4}
    names = [scenario.name for scenario in SCENARIOS] + [
        "content-filter", "prefill-refused", "anew", "opted-out", "tools", "object", "all-broken", "twice", "accounted",
        "usual",
    ]  # fmt: skip
    routes: dict[str, Any] = {}
    for name in names:
        targets = {"openai": f"openai/gpt-{name}", "anthropic": f"anthropic/claude-haiku-4-5-{name}"}
        others = {"openai": f"anthropic/claude-haiku-4-5-{name}", "anthropic": f"together/{name}"}
        for ingress in INGRESSES:
            routes[f"{ingress}-{name}"] = {"targets": [targets[ingress], others[ingress]], "timeouts": hasty}
    for scenario in SCENARIOS:  # a model that rests after one way of asking must not be missing in the other
        for ingress in INGRESSES:
            first, second = routes[f"{ingress}-{scenario.name}"]["targets"]
            for way in WAYS:
                targets = [f"{first}-{way}", f"{second}-{way}"]
                routes[f"{ingress}-{scenario.name}-{way}"] = {"targets": targets, "timeouts": hasty}
    routes["openai-relayed"] = {"targets": ["openai/gpt-a", "groq/llama-b", "together/llama-c"], "timeouts": hasty}
    routes["openai-accounted"]["targets"] = ["openai/gpt-4o-mini", "groq/llama-3.3-70b-versatile"]
    routes["anthropic-accounted"]["targets"] = ["anthropic/claude-haiku-4-5", "groq/llama-3.3-70b-versatile"]
    routes["openai-opted-out"]["rescue"] = "error"
    routes["openai-anew"]["rescue"] = "restart"
    routes["openai-twin"] = {
        "targets": ["openai/gpt-twin", "openai/gpt-twin-2"],
        "timeouts": hasty,
        "rescue": "restart",
    }
    url = simulated.url
    config = {
        "defaults": {"breaker": {"failures": 100_000, "minimum": 100_000}},
        "providers": {
            "openai": {"base_url": f"{url}/openai/v1", "api_key": "sk-openai"},
            "together": {"base_url": f"{url}/together/v1", "api_key": "sk-together"},
            "groq": {"base_url": f"{url}/groq/openai/v1", "api_key": "sk-groq"},
            "anthropic": {"base_url": f"{url}/anthropic", "api_key": "sk-ant"},
        },
        "routes": routes,
    }
    with GatewayProcess(tmp_path_factory.mktemp("scenarios"), json.dumps(config)) as process:
        yield process


class Said(msgspec.Struct, frozen=True):
    """What a caller's SDK made of an answer: text, how often it began, its ids, finishes and output tokens."""

    request_id: str
    text: str
    starts: int = 1
    ids: frozenset[str] = frozenset()
    finishes: tuple[str, ...] = ()
    output_tokens: int | None = None


class Caller:
    """A program that uses the official SDK of an API, against the gateway."""

    def __init__(self, url: str, ingress: str) -> None:
        self.ingress = ingress
        self._openai = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=20)
        self._anthropic = anthropic.Anthropic(base_url=url, api_key="none", max_retries=0, timeout=20)

    def close(self) -> None:
        """Give the connections back."""
        self._openai.close()
        self._anthropic.close()

    def ask(self, name: str, way: str, question: str = QUESTION, **extra: Any) -> Said:
        """One question to the route of this name."""
        model = f"{self.ingress}-{name}"
        if self.ingress == "openai":
            return self._ask_openai(model, question, streamed=way == "streamed", extra=extra)
        return self._ask_anthropic(model, question, streamed=way == "streamed", extra=extra)

    def _ask_openai(self, model: str, question: str, *, streamed: bool, extra: dict[str, Any]) -> Said:
        messages: Any = [{"role": "user", "content": question}]
        asking = self._openai.chat.completions.with_raw_response
        if not streamed:
            raw = asking.create(model=model, messages=messages, extra_body=extra)
            whole = raw.parse()
            return Said(
                raw.headers["x-polyroute-request-id"], whole.choices[0].message.content or "",
                finishes=(whole.choices[0].finish_reason,),
            )  # fmt: skip
        raw_stream = asking.create(
            model=model, messages=messages, stream=True, stream_options={"include_usage": True}, extra_body=extra
        )
        texts, ids, finishes, roles, tokens = [], set(), [], 0, None
        for chunk in raw_stream.parse():
            ids.add(chunk.id)
            tokens = chunk.usage.completion_tokens if chunk.usage else tokens
            for choice in chunk.choices:
                texts.append(choice.delta.content or "")
                roles += choice.delta.role is not None
                finishes += [choice.finish_reason] if choice.finish_reason else []
        return Said(
            raw_stream.headers["x-polyroute-request-id"], "".join(texts), roles, frozenset(ids), tuple(finishes), tokens
        )

    def _ask_anthropic(self, model: str, question: str, *, streamed: bool, extra: dict[str, Any]) -> Said:
        messages: Any = [{"role": "user", "content": question}]
        asking = self._anthropic.messages.with_raw_response
        if not streamed:
            raw = asking.create(model=model, messages=messages, max_tokens=500, extra_body=extra)
            whole = raw.parse()
            text = "".join(block.text for block in whole.content if block.type == "text")
            return Said(raw.headers["x-polyroute-request-id"], text, finishes=(str(whole.stop_reason),))
        raw_stream = asking.create(model=model, messages=messages, max_tokens=500, stream=True, extra_body=extra)
        texts, ids, finishes, blocks, tokens, over = [], set(), [], [], None, 0
        for event in raw_stream.parse():
            match event.type:
                case "message_start":
                    ids.add(event.message.id)
                    over += 100
                case "content_block_start":
                    blocks.append(event.index)
                case "content_block_delta":
                    assert event.index == blocks[-1]
                    texts.append(event.delta.text)
                case "message_delta":
                    finishes.append(str(event.delta.stop_reason))
                    tokens = event.usage.output_tokens
                case "message_stop":
                    over += 1
        assert over == 101, "one start and one end"
        assert blocks == [0][: len(texts)], "one block of text"
        return Said(
            raw_stream.headers["x-polyroute-request-id"],
            "".join(texts),
            len(ids),
            frozenset(ids),
            tuple(finishes),
            tokens,
        )


@pytest.fixture(scope="module", params=INGRESSES)
def caller(request: pytest.FixtureRequest, routed: GatewayProcess) -> Iterator[Caller]:
    """A caller of each API."""
    found = Caller(routed.url, request.param)
    yield found
    found.close()


@pytest.fixture(scope="module")
def openai_caller(routed: GatewayProcess) -> Iterator[Caller]:
    """A caller of OpenAI's API."""
    found = Caller(routed.url, "openai")
    yield found
    found.close()


_NAMED = {
    "test_a_refusal_by_the_content_filter_is_told_as_one": "content-filter",
    "test_a_fallback_that_refuses_to_go_on_in_the_assistants_words_is_told_to_go_on": "prefill-refused",
    "test_a_fallback_that_refuses_prefill_serves_whole_answers": "prefill-refused",
    "test_flapping_over_twenty_requests_is_never_felt": "flapping",
    "test_a_rescue_is_accounted_attempt_by_attempt": "accounted",
    "test_a_fallback_of_a_whole_answer_is_accounted": "accounted",
}
_STREAMED = frozenset(
    {
        "test_a_fallback_that_refuses_to_go_on_in_the_assistants_words_is_told_to_go_on",
        "test_a_rescue_is_accounted_attempt_by_attempt",
    }
)


@pytest.fixture(autouse=True)
def reported(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> None:
    """Put the test into the matrix of faults that the report shows."""
    name = request.node.originalname
    told = getattr(request.node, "callspec", None)
    parameters = {} if told is None else told.params
    scenario = parameters["scenario"].name if "scenario" in parameters else _NAMED.get(name)
    if scenario is not None:
        way = parameters.get("way", "streamed" if name in _STREAMED else "whole")
        record_property("fault", (scenario, parameters["caller"], way))


def first_of(caller: Caller) -> str:
    """The provider that fails."""
    return caller.ingress


def second_of(caller: Caller) -> str:
    """The provider that helps out."""
    return {"openai": "anthropic", "anthropic": "together"}[caller.ingress]


def attempts_of(routed: GatewayProcess, said: Said) -> list[tuple[str, str, str | None]]:
    return [(row["provider"], row["outcome"], row["error_kind"]) for row in routed.attempts(said.request_id)]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_a_caller_gets_a_whole_answer_in_spite_of(
    sandbox: SimulatedProviders, routed: GatewayProcess, caller: Caller, scenario: Scenario, way: str
) -> None:
    first = first_of(caller)
    sandbox.set("*", tokens_per_second=PACE)
    sandbox.set(first, faults=list(scenario.faults))

    said = caller.ask(f"{scenario.name}-{way}", way)

    assert said.finishes in (("stop",), ("end_turn",))
    assert said.starts == 1
    assert way == "whole" or len(said.ids) == 1
    served = first if scenario.attempts == 1 or scenario.name == "one-500" else second_of(caller)
    entry = routed.entry(said.request_id)
    assert (entry["status"], entry["error_kind"], entry["actual_provider"]) == ("COMPLETED", None, served)
    attempts = attempts_of(routed, said)
    assert attempts[-1] == (served, "served", None)
    for attempt in attempts[:-1]:
        assert attempt == (first, "failed", scenario.kind)
    rescued = scenario.rescued and way == "streamed"
    if rescued:
        assert len(attempts) == 2, "a stream that has begun is not begun again at the same target"
        assert said.text.startswith("[simulated " + first + "/")
        assert f"[simulated {second_of(caller)}/" in said.text
        assert (
            said.output_tokens
            == entry["output_tokens"]
            == sum(row["output_tokens"] for row in routed.attempts(said.request_id))
        )
        assert entry["usage_estimated"] == 1
    elif scenario.name == "stall" and way == "whole":
        assert len(attempts) == 2
    else:
        assert len(attempts) == scenario.attempts
        assert said.text.startswith(f"[simulated {served}/")
        assert said.text.count("[simulated ") == 1


@pytest.mark.parametrize("way", WAYS)
def test_a_refusal_by_the_content_filter_is_told_as_one(
    sandbox: SimulatedProviders, routed: GatewayProcess, caller: Caller, way: str
) -> None:
    """A filtered prompt stays refused: another provider would be asked for what one has called unfit."""
    sandbox.break_down(first_of(caller), "content_filter")
    if caller.ingress == "anthropic":  # whose API says so in an answer
        said = caller.ask("content-filter", way)
        assert (said.text, said.finishes) == ("", ("refusal",))
        assert routed.entry(said.request_id)["finish_reason"] == "content_filter"
    else:
        with pytest.raises(openai.BadRequestError) as refused:
            caller.ask("content-filter", way)
        assert refused.value.body is not None
        assert refused.value.response.json()["error"]["type"] == "content_filtered" or refused.value.status_code == 400
    assert sandbox.counters(second_of(caller))["requests"] == 0


def test_a_fallback_that_refuses_to_go_on_in_the_assistants_words_is_told_to_go_on(
    sandbox: SimulatedProviders, routed: GatewayProcess, caller: Caller
) -> None:
    first, second = first_of(caller), second_of(caller)
    sandbox.set("*", tokens_per_second=PACE)
    sandbox.break_down(first, "cut", after_tokens=40)
    sandbox.break_down(second, "reject_prefill")

    said = caller.ask("prefill-refused", "streamed")

    assert [(row[0], row[1]) for row in attempts_of(routed, said)] == [
        (first, "failed"), (second, "failed"), (second, "served"),
    ]  # fmt: skip
    assert said.starts == 1
    assert said.finishes in (("stop",), ("end_turn",))
    prefilled, instructed = (json.loads(row["body"]) if isinstance(row["body"], str) else row["body"]
                             for row in sandbox.seen(second))  # fmt: skip
    assert prefilled["messages"][-1]["role"] == "assistant"
    roles = [message["role"] for message in instructed["messages"]]
    assert roles[-2:] == ["assistant", "user"]


def test_a_fallback_that_refuses_prefill_serves_whole_answers(
    sandbox: SimulatedProviders, routed: GatewayProcess, caller: Caller
) -> None:
    """A whole answer that broke off is asked for anew, so that there is nothing to go on from."""
    first, second = first_of(caller), second_of(caller)
    sandbox.break_down(first, "cut", after_tokens=40)
    sandbox.break_down(second, "reject_prefill")
    said = caller.ask("prefill-refused", "whole")
    assert said.text.startswith(f"[simulated {second}/")
    assert attempts_of(routed, said)[-1] == (second, "served", None)
    assert sandbox.counters(second)["requests"] == 1


@pytest.mark.parametrize("way", WAYS)
def test_flapping_over_twenty_requests_is_never_felt(
    sandbox: SimulatedProviders, routed: GatewayProcess, caller: Caller, way: str
) -> None:
    first = first_of(caller)
    for number in range(20):
        if number % 2:
            sandbox.break_down(first, ("status", "reset", "cut")[number % 3])
        else:
            sandbox.mend(first)
        said = caller.ask("usual", way)
        assert said.finishes in (("stop",), ("end_turn",))
        assert routed.entry(said.request_id)["status"] == "COMPLETED"


def test_a_rescue_is_accounted_attempt_by_attempt(
    sandbox: SimulatedProviders, routed: GatewayProcess, caller: Caller
) -> None:
    first = first_of(caller)
    sandbox.set("*", tokens_per_second=PACE)
    sandbox.break_down(first, "cut", after_tokens=40)

    said = caller.ask("accounted", "streamed")

    entry = routed.entry(said.request_id)
    broken, served = routed.attempts(said.request_id)
    assert (broken["provider"], broken["outcome"], broken["error_kind"]) == (first, "failed", "truncated")
    assert (served["provider"], served["outcome"]) == ("groq", "served")
    assert broken["output_tokens"] in (39, 40)
    assert broken["cost_usd"] > 0
    assert served["cost_usd"] > 0
    assert entry["cost_usd"] == pytest.approx(broken["cost_usd"] + served["cost_usd"])
    assert entry["output_tokens"] == broken["output_tokens"] + served["output_tokens"]
    assert (entry["actual_provider"], entry["actual_model"]) == ("groq", "llama-3.3-70b-versatile")


def test_a_fallback_of_a_whole_answer_is_accounted(
    sandbox: SimulatedProviders, routed: GatewayProcess, caller: Caller
) -> None:
    sandbox.break_down(first_of(caller), "status", status=503)
    said = caller.ask("accounted", "whole")
    entry = routed.entry(said.request_id)
    *failed, served = routed.attempts(said.request_id)
    assert {(row["provider"], row["outcome"], row["output_tokens"]) for row in failed} == {
        (first_of(caller), "failed", None)
    }
    assert served["cost_usd"] > 0
    assert entry["cost_usd"] == pytest.approx(served["cost_usd"])
    assert entry["output_tokens"] == served["output_tokens"] > 0
    assert (entry["actual_provider"], entry["usage_estimated"]) == ("groq", 0)


def test_a_stream_is_rescued_twice(sandbox: SimulatedProviders, routed: GatewayProcess, openai_caller: Caller) -> None:
    sandbox.set("*", tokens_per_second=PACE)
    sandbox.break_down("openai", "cut", after_tokens=30)
    sandbox.break_down("groq", "cut", after_tokens=10)

    said = openai_caller.ask("relayed", "streamed")

    assert [row[:2] for row in attempts_of(routed, said)] == [
        ("openai", "failed"), ("groq", "failed"), ("together", "served"),
    ]  # fmt: skip
    assert said.starts == len(said.ids) == len(said.finishes) == 1
    assert said.text.count("[simulated ") == 3


def test_with_every_rescue_failing_the_stream_ends_with_the_error(
    sandbox: SimulatedProviders, routed: GatewayProcess, openai_caller: Caller
) -> None:
    sandbox.set("*", tokens_per_second=PACE)
    sandbox.break_down("openai", "cut", after_tokens=30)
    sandbox.break_down("anthropic", "status", status=503)
    with pytest.raises(openai.APIError, match="broke off"):
        openai_caller.ask("all-broken", "streamed")
    entry = routed.newest_entry("openai-all-broken")
    assert (entry["status"], entry["error_kind"], entry["actual_provider"]) == ("FAILED", "truncated", "openai")
    assert entry["output_tokens"] in (29, 30)


@pytest.mark.parametrize("extra", [{}, {"polyroute": {"rescue": "error"}}], ids=["route", "caller"])
def test_who_has_opted_out_gets_the_error(
    sandbox: SimulatedProviders, openai_caller: Caller, extra: dict[str, Any]
) -> None:
    sandbox.set("*", tokens_per_second=PACE)
    sandbox.break_down("openai", "cut", after_tokens=30)
    with pytest.raises(openai.APIError, match="broke off"):
        openai_caller.ask("usual" if extra else "opted-out", "streamed", **extra)
    assert sandbox.counters("anthropic")["requests"] == 0


def test_a_wish_that_means_nothing_is_refused_with_its_field(routed: GatewayProcess, openai_caller: Caller) -> None:
    with pytest.raises(openai.BadRequestError, match=r"polyroute\.rescue") as refused:
        openai_caller.ask("usual", "whole", polyroute={"rescue": "perhaps"})
    assert refused.value.param == "polyroute"


def test_a_restart_that_says_the_same_is_joined_without_a_seam(
    sandbox: SimulatedProviders, routed: GatewayProcess, openai_caller: Caller
) -> None:
    """Two targets whose answers begin alike: the second one's beginning is left out."""
    sandbox.set("*", tokens_per_second=PACE)
    sandbox.set("openai", faults=[{"kind": "cut", "after_tokens": 5, "times": 1}])
    said = openai_caller.ask("twin", "streamed")
    assert len(attempts_of(routed, said)) == 2
    assert said.text.count("[simulated ") == 1
    assert said.text.startswith("[simulated openai/gpt-twin-2]")


def test_a_call_of_a_tool_that_has_begun_is_not_gone_on_with(
    sandbox: SimulatedProviders, routed: GatewayProcess, openai_caller: Caller
) -> None:
    places = {"city": {"type": "string"}, "country": {"type": "string"}}
    parameters = {"type": "object", "properties": places, "required": list(places)}
    tool = {"type": "function", "function": {"name": "weather", "parameters": parameters}}
    sandbox.set("*", tokens_per_second=PACE)
    sandbox.break_down("openai", "cut", after_tokens=8)
    with pytest.raises(openai.APIError, match="broke off"):
        openai_caller.ask("tools", "streamed", "Ask the weather tool for Hanoi", tools=[tool])
    assert sandbox.counters("anthropic")["requests"] == 0


def test_half_an_object_is_not_gone_on_with(sandbox: SimulatedProviders, openai_caller: Caller) -> None:
    sandbox.set("*", tokens_per_second=PACE)
    sandbox.break_down("openai", "cut", after_tokens=8)
    with pytest.raises(openai.APIError, match="broke off"):
        openai_caller.ask("object", "streamed", response_format={"type": "json_object"})
    assert sandbox.counters("anthropic")["requests"] == 0


@pytest.mark.parametrize(
    "path", ["/v1/responses", "/v1beta/models/openai-usual:streamGenerateContent?alt=sse", "/api/chat"]
)
def test_every_other_chat_dialect_is_rescued_too(
    sandbox: SimulatedProviders, routed: GatewayProcess, path: str
) -> None:
    sandbox.set("*", tokens_per_second=PACE)
    sandbox.break_down("openai", "cut", after_tokens=30)
    body: dict[str, Any] = {
        "model": "openai-usual",
        "stream": True,
        "messages": [{"role": "user", "content": QUESTION}],
    }
    if path == "/v1/responses":
        body = {"model": "openai-usual", "stream": True, "input": QUESTION}
    elif path.startswith("/v1beta"):
        body = {"contents": [{"role": "user", "parts": [{"text": QUESTION}]}]}

    answer = httpx.post(routed.url + path, json=body, timeout=20, trust_env=False)

    entry = routed.entry(answer.headers["x-polyroute-request-id"])
    assert (entry["status"], entry["actual_provider"]) == ("COMPLETED", "anthropic")
    lines = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith(("data: ", "{"))]
    told = [json.loads(line) for line in lines]
    match path:
        case "/v1/responses":
            assert [event["sequence_number"] for event in told] == list(range(len(told)))
            assert [event["type"] for event in told].count("response.created") == 1
            assert told[-1]["type"] == "response.completed"
            deltas = "".join(event["delta"] for event in told if event["type"] == "response.output_text.delta")
            [item] = told[-1]["response"]["output"]
            assert item["content"][0]["text"] == deltas
            assert {event["item_id"] for event in told if "item_id" in event} == {item["id"]}
            text = deltas
        case "/api/chat":
            assert [line["done"] for line in told] == [False] * (len(told) - 1) + [True]
            text = "".join(line["message"]["content"] for line in told)
        case _:
            finishes = [line["candidates"][0].get("finishReason") for line in told]
            assert [finish for finish in finishes if finish] == ["STOP"]
            assert len({line["responseId"] for line in told}) == 1
            text = "".join(part["text"] for line in told for part in line["candidates"][0]["content"]["parts"])
    assert text.startswith("[simulated openai/")
    assert "[simulated anthropic/" in text
