"""What lasts beyond one call: kept responses, personas, parameters that a target cannot honour, state of another provider."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from support.gateway_process import GatewayProcess
from support.sdk_matrix import UPSTREAMS, entries
from support.simulated_providers import SimulatedProviders

HI: list[dict[str, str]] = [{"role": "user", "content": "Hi"}]
PERSONA = {
    "system": "You are Ada.", "temperature": 0.25, "max_tokens": 77, "stop": ["END"], "reasoning_effort": "low",
}  # fmt: skip
SERVED = {name: f"{name}/{UPSTREAMS[name].model}" for name in UPSTREAMS}


@pytest.fixture(scope="module")
def gateway(simulated: SimulatedProviders, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """Routes with personas, and one whose first target knows no seed."""
    routes: dict[str, Any] = {
        f"ada-{name}": {"targets": [SERVED[name]], "persona": PERSONA}
        for name in ("groq", "anthropic", "google", "cohere")
    }
    routes["strict-ada"] = {"targets": [SERVED["groq"]], "persona": {**PERSONA, "caller_system": "refuse"}}
    routes["either"] = {"targets": [SERVED["anthropic"], SERVED["openai"]]}
    config = {"defaults": {"retries": 0}, "providers": entries(simulated.url), "routes": routes}
    with GatewayProcess(tmp_path_factory.mktemp("state"), json.dumps(config)) as process:
        yield process


@pytest.fixture(scope="module")
def client(gateway: GatewayProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=gateway.url, timeout=20, trust_env=False) as found:
        yield found


@pytest.fixture(scope="module")
def sdk(gateway: GatewayProcess) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="anything", max_retries=0, timeout=20) as client:
        yield client


# ---------------------------------------------------------------- responses that are kept


ORDERS = [
    ("xai", "anthropic", "google"),
    ("anthropic", "openai", "xai"),
    ("google", "cohere", "bedrock"),
    ("openai", "ollama", "groq"),
]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("order", ORDERS, ids="-".join)
def test_a_conversation_goes_on_at_other_providers(
    sandbox: SimulatedProviders, sdk: openai.OpenAI, order: tuple[str, ...], stream: bool
) -> None:
    previous: str | None = None
    for number, name in enumerate(order):
        more: dict[str, Any] = {} if previous is None else {"previous_response_id": previous}
        asked = f"Question number {number}"
        if stream:
            with sdk.responses.stream(model=SERVED[name], input=asked, **more) as events:
                for _ in events:
                    pass
                answer: Any = events.get_final_response()
        else:
            answer = sdk.responses.create(model=SERVED[name], input=asked, **more)
        assert f'You said "{asked}"' in answer.output_text
        if number:
            assert f"message {2 * number + 1} of this conversation" in answer.output_text
        kept = sdk.responses.retrieve(answer.id)
        assert kept.output_text == answer.output_text
        previous = answer.id


def test_tools_across_providers(sandbox: SimulatedProviders, sdk: openai.OpenAI) -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    }
    tools: Any = [{"type": "function", "name": "get_weather", "parameters": schema, "strict": True}]
    first = sdk.responses.create(model=SERVED["xai"], input='Use get_weather for "Hanoi".', tools=tools)
    [call] = [item for item in first.output if item.type == "function_call"]
    result: Any = [{"type": "function_call_output", "call_id": call.call_id, "output": "31 degrees"}]
    raw = sdk.responses.with_raw_response.create(
        model=SERVED["anthropic"], input=result, tools=tools, previous_response_id=first.id
    )
    assert 'get_weather said "31 degrees"' in raw.parse().output_text
    # xAI's encrypted reasoning means nothing to Anthropic.
    assert "state of openai_responses removed" in raw.headers["x-polyroute-notes"]
    assert "encrypted" not in json.dumps([row["body"] for row in sandbox.seen("anthropic")])


def test_what_was_deleted_or_never_kept_is_not_found(sandbox: SimulatedProviders, sdk: openai.OpenAI) -> None:
    kept = sdk.responses.create(model=SERVED["anthropic"], input="Hi")
    sdk.responses.delete(kept.id)
    never = sdk.responses.create(model=SERVED["anthropic"], input="Hi", store=False)
    for identifier in (kept.id, never.id, "resp_none"):
        with pytest.raises(openai.NotFoundError):
            sdk.responses.retrieve(identifier)
        with pytest.raises(openai.NotFoundError):
            sdk.responses.delete(identifier)
        with pytest.raises(openai.BadRequestError) as refused:
            sdk.responses.create(model=SERVED["anthropic"], input="Go on", previous_response_id=identifier)
        assert refused.value.code == "previous_response_not_found"


def test_without_retention_nothing_is_kept(
    sandbox: SimulatedProviders, simulated: SimulatedProviders, tmp_path_factory: pytest.TempPathFactory
) -> None:
    config = {"storage": {"responses_days": 0}, "providers": entries(simulated.url, ["anthropic"])}
    with (
        GatewayProcess(tmp_path_factory.mktemp("forgetful"), json.dumps(config)) as forgetful,
        openai.OpenAI(base_url=f"{forgetful.url}/v1", api_key="anything", max_retries=0) as sdk,
    ):
        answer = sdk.responses.create(model=SERVED["anthropic"], input="Hi", store=True)
        with pytest.raises(openai.NotFoundError):
            sdk.responses.retrieve(answer.id)
        assert forgetful.sql("SELECT count(*) AS kept FROM responses") == [{"kept": 0}]


# ---------------------------------------------------------------- personas


ASKS: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/v1/chat/completions", {"messages": HI}),
    "responses": ("/v1/responses", {"input": "Hi"}),
    "messages": ("/v1/messages", {"messages": HI, "max_tokens": 500}),
    "gemini": ("/v1beta/models/{}:generateContent", {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}),
    "ollama": ("/api/chat", {"messages": HI, "stream": False}),
    "generate": ("/api/generate", {"prompt": "Hi", "stream": False}),
    "vapi": ("/vapi/chat/completions", {"messages": HI, "stream": True}),
}
OWN_SYSTEM: dict[str, dict[str, Any]] = {
    "chat": {"messages": [{"role": "system", "content": "Be brief."}, *HI]},
    "responses": {"instructions": "Be brief."},
    "messages": {"system": "Be brief."},
    "gemini": {"systemInstruction": {"parts": [{"text": "Be brief."}]}},
    "ollama": {"messages": [{"role": "system", "content": "Be brief."}, *HI]},
    "generate": {"system": "Be brief."},
    "vapi": {"messages": [{"role": "system", "content": "Be brief."}, *HI]},
}


def ask(client: httpx.Client, caller: str, route: str, **more: Any) -> httpx.Response:
    path, body = ASKS[caller]
    given = {**body, **more}
    return client.post(path.format(route), json=given if "{}" in path else {"model": route, **given})


@pytest.mark.parametrize("caller", ASKS)
def test_a_persona_speaks_first_in_every_dialect(
    sandbox: SimulatedProviders, client: httpx.Client, caller: str
) -> None:
    answer = ask(client, caller, "ada-groq", **OWN_SYSTEM[caller])
    assert answer.status_code == 200, answer.text
    [seen] = sandbox.seen("groq")
    body = seen["body"]
    assert [turn for turn in body["messages"] if turn["role"] == "system"] == [
        {"role": "system", "content": "You are Ada."},
        {"role": "system", "content": "Be brief."},
    ]
    assert body["temperature"] == 0.25
    assert body["stop"] in (["END"], "END")
    assert body.get("max_tokens", body.get("max_completion_tokens")) == (500 if caller == "messages" else 77)
    assert body["reasoning_effort"] == "low"


@pytest.mark.parametrize("caller", ASKS)
def test_a_persona_that_refuses_other_system_prompts(
    sandbox: SimulatedProviders, client: httpx.Client, caller: str
) -> None:
    refused = ask(client, caller, "strict-ada", **OWN_SYSTEM[caller])
    assert refused.status_code == 400
    assert "leave the system prompt out" in refused.text
    assert sandbox.seen() == []
    assert ask(client, caller, "strict-ada").status_code == 200


@pytest.mark.parametrize("upstream", ["anthropic", "google", "cohere"])
def test_a_persona_is_put_in_at_every_provider(
    sandbox: SimulatedProviders, client: httpx.Client, upstream: str
) -> None:
    for caller in ("chat", "messages", "gemini"):
        assert ask(client, caller, f"ada-{upstream}").status_code == 200
    sent = [json.dumps(row["body"]) for row in sandbox.seen(upstream)]
    assert len(sent) == 3
    assert all("You are Ada." in body and "0.25" in body for body in sent)


def test_personas_are_shown(client: httpx.Client) -> None:
    shown = {row["id"]: row["polyroute"] for row in client.get("/v1/models").json()["data"]}
    assert shown["ada-groq"]["persona"] == {**PERSONA, "caller_system": "append"}
    assert shown["strict-ada"]["persona"]["caller_system"] == "refuse"
    assert "persona" not in shown["either"]


# ---------------------------------------------------------------- what a target cannot honour


def test_what_was_dropped_is_told_and_written_down(
    sandbox: SimulatedProviders, gateway: GatewayProcess, client: httpx.Client
) -> None:
    for stream in (False, True):
        answer = ask(client, "chat", "either", seed=7, logit_bias={"50256": -100}, stream=stream)
        assert answer.headers["x-polyroute-provider"] == "anthropic"
        dropped = set(answer.headers["x-polyroute-dropped"].split(", "))
        assert {"seed", "logit_bias"} <= dropped
        entry = gateway.entry(answer.headers["x-polyroute-request-id"])
        assert set(json.loads(entry["dropped_parameters"])) == dropped
    plain = ask(client, "chat", "either")
    assert "x-polyroute-dropped" not in plain.headers


@pytest.mark.parametrize("options", [{"strict": True}, {"require": ["seed"]}], ids=["strict", "require"])
def test_a_loss_can_be_a_reason_for_another_target(
    sandbox: SimulatedProviders, gateway: GatewayProcess, client: httpx.Client, options: dict[str, Any]
) -> None:
    answer = ask(client, "chat", "either", seed=7, polyroute=options)
    assert answer.status_code == 200
    assert answer.headers["x-polyroute-provider"] == "openai"
    assert "x-polyroute-dropped" not in answer.headers
    assert sandbox.seen("anthropic") == []
    [seen] = sandbox.seen("openai")
    assert seen["body"]["seed"] == 7
    alone = ask(client, "chat", SERVED["anthropic"], seed=7, polyroute=options)
    assert alone.status_code == 400
    assert "seed" in alone.json()["error"]["message"]
    assert sandbox.seen("anthropic") == []


# ---------------------------------------------------------------- a conversation that changes provider


def test_signed_thinking_is_given_back_to_its_maker_only(sandbox: SimulatedProviders, client: httpx.Client) -> None:
    thinking = {"thinking": {"type": "enabled", "budget_tokens": 2048}, "max_tokens": 4096}
    first = ask(client, "messages", SERVED["anthropic"], **thinking).json()
    assert first["content"][0]["signature"]
    turns = [*HI, {"role": "assistant", "content": first["content"]}, {"role": "user", "content": "Go on"}]
    for name, told in (("anthropic", False), ("bedrock", False), ("google", True), ("xai", True), ("openai", True)):
        answer = ask(client, "messages", SERVED[name], messages=turns, max_tokens=4096)
        assert answer.status_code == 200, answer.text
        sent = json.dumps(sandbox.seen(name)[-1]["body"])
        kept = first["content"][0]["signature"] in sent
        assert kept is (name == "anthropic")
        assert ("anthropic_messages removed" in answer.headers.get("x-polyroute-notes", "")) is (
            told or name == "bedrock"
        )


def test_a_chat_caller_can_carry_state_that_it_does_not_understand(
    sandbox: SimulatedProviders, client: httpx.Client
) -> None:
    """Gemini wants its thought signatures back in tool turns; OpenAI's clients send unknown fields of a message back."""
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    tools = [{"type": "function", "function": {"name": "get_weather", "parameters": schema}}]
    asked = [{"role": "user", "content": 'Use get_weather for "Hanoi".'}]
    message = ask(client, "chat", SERVED["google"], messages=asked, tools=tools).json()["choices"][0]["message"]
    result = {"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "31 degrees"}
    again = ask(client, "chat", SERVED["google"], messages=[*asked, message, result], tools=tools)
    assert again.status_code == 200
    assert "thoughtSignature" in json.dumps(sandbox.seen("google")[-1]["body"])
    other = ask(client, "chat", SERVED["anthropic"], messages=[*asked, message, result], tools=tools)
    assert 'get_weather said "31 degrees"' in other.json()["choices"][0]["message"]["content"]
    assert "state of gemini removed" in other.headers["x-polyroute-notes"]
