"""Routes that choose by price, budget, tags, complexity, speed and failure, through a real gateway; and why they chose."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from support.asks import CHAT, STREAM, Ask
from support.gateway_process import GatewayProcess, run_polyroute
from support.simulated_providers import SimulatedProviders

CONFIG: dict[str, Any] = {
    "defaults": {"retries": 0, "breaker": {"failures": 100_000, "minimum": 100_000}},
    "currencies": {"VND": {"per_usd": 26000, "date": "2026-11-20"}},
    "routes": {
        "plain": {"targets": ["openai/dear", "together/cheap"]},
        "thrifty": {"policy": "cheapest", "targets": ["openai/dear", "together/cheap"]},
        "low": {"targets": ["openai/dear", "together/cheap"], "low_budget": "500 VND"},
        "one-model": {"targets": ["openrouter/openai/same", "openai/same"], "same_model": "price"},
        "fast": {"policy": "fastest", "exploration": 0, "targets": ["openai/slow", "together/quick"]},
        "split": {"complexity": {"simple": ["together/cheap"], "complex": ["openai/dear"]}},
        "long": {"targets": ["openai/dear", "openai/other"], "on_context_too_long": ["together/long"]},
        "by-context": {"targets": ["openai/dear", "openai/small", "together/long"]},
        "filtered": {"targets": ["openai/dear", "openai/other"], "on_content_filtered": ["together/cheap"]},
        "unfiltered": {"targets": ["openai/dear", "together/cheap"]},
    },
}
FACTS = {
    "openai": {
        "dear": {"price": {"date": "2026-11-20", "input": 10, "output": 30}, "context": 8000},
        "small": {"context": 4000},
        "same": {"price": {"date": "2026-11-20", "input": 2, "output": 8}},
    },
    "together": {
        "cheap": {"price": {"date": "2026-11-20", "input": 0.1, "output": 0.3}, "tags": ["eu"]},
        "long": {"context": 100_000},
    },
    "openrouter": {"openai/same": {"price": {"date": "2026-11-20", "input": 1.9, "output": 7.6}}},
}


@pytest.fixture(scope="module")
def choosing(simulated: SimulatedProviders, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    paths = {"openai": "/v1", "together": "/v1", "openrouter": "/api/v1"}
    providers = {
        name: {"base_url": f"{simulated.url}/{name}{path}", "api_key": "sk-x", "model_facts": FACTS[name]}
        for name, path in paths.items()
    }
    with GatewayProcess(tmp_path_factory.mktemp("choosing"), json.dumps({**CONFIG, "providers": providers})) as process:
        yield process


def ask(gateway: GatewayProcess, model: str, what: Ask = CHAT, **more: Any) -> httpx.Response:
    """One request, with further fields and the wish for an explanation."""
    with httpx.Client(base_url=gateway.url, timeout=20, trust_env=False) as client:
        asked = Ask(what.name, what.operation, what.path, {**what.body, **more})
        return asked.send(client, model, x_polyroute_explain="1")


def served(answer: httpx.Response) -> str:
    assert answer.status_code == 200, answer.text
    return f"{answer.headers['x-polyroute-provider']}/{answer.headers['x-polyroute-model']}"


def explained(gateway: GatewayProcess, answer: httpx.Response) -> dict[str, Any]:
    """What operators are told of it; a stored decision replays to the same plan."""
    entry = gateway.entry(answer.headers["x-polyroute-request-id"])
    told = httpx.get(f"{gateway.url}/admin/api/requests/{entry['id']}/explain", timeout=20, trust_env=False)
    assert told.status_code == 200, told.text
    found: dict[str, Any] = told.json()
    assert found["replay"]["same"] is True
    assert found["id"] == entry["id"]
    return found


def test_an_ordinary_request_is_explained_from_a_decision_that_is_stored_once(
    sandbox: SimulatedProviders, choosing: GatewayProcess
) -> None:
    answers = [ask(choosing, "plain") for _ in range(3)]
    assert {served(answer) for answer in answers} == {"openai/dear"}
    assert answers[0].headers["x-polyroute-explain"] == "priority: openai/dear > together/cheap"
    found = explained(choosing, answers[2])
    assert [one["target"] for one in found["decision"]["targets"]] == ["openai/dear", "together/cheap"]
    assert (found["status"], found["served_by"]) == ("COMPLETED", "openai/dear")
    assert [(one["number"], one["target"], one["outcome"]) for one in found["attempts"]] == [
        (1, "openai/dear", "served")
    ]
    stored = {choosing.entry(one.headers["x-polyroute-request-id"])["decision"] for one in answers}
    assert len(stored) == 1
    assert len(choosing.sql("SELECT * FROM decisions WHERE id = ?", stored.pop())) == 1


def test_the_cheapest_goes_first_at_configured_prices_which_the_ledger_uses_too(
    sandbox: SimulatedProviders, choosing: GatewayProcess
) -> None:
    answer = ask(choosing, "thrifty")
    assert served(answer) == "together/cheap"
    entry = choosing.entry(answer.headers["x-polyroute-request-id"])
    assert entry["price_version"] == "configuration 2026-11-20"
    due = entry["input_tokens"] * 0.1e-6 + entry["output_tokens"] * 0.3e-6
    assert entry["cost_usd"] == pytest.approx(due, abs=1e-10)
    found = explained(choosing, answer)
    assert found["decision"]["targets"][0]["price"]["input_token"] == pytest.approx(0.1e-6)
    assert served(ask(choosing, "plain", polyroute={"policy": "cheapest"})) == "together/cheap"


def test_a_budget_in_dong(sandbox: SimulatedProviders, choosing: GatewayProcess) -> None:
    assert served(ask(choosing, "low", polyroute={"budget": "1000 VND"})) == "openai/dear"
    low = ask(choosing, "low", polyroute={"budget": "499 VND"})
    assert served(low) == "together/cheap"
    assert "budget 499 VND, 0.019192 USD at 26000 of 2026-11-20" in low.headers["x-polyroute-explain"]
    assert explained(choosing, low)["decision"]["asked"]["budget"].startswith("499 VND")
    nothing = ask(choosing, "low", polyroute={"budget": "0.01 VND"})
    assert (nothing.status_code, nothing.json()["error"]["code"]) == (402, "over_budget")
    told = nothing.headers["x-polyroute-explain"]
    assert told.startswith("cheapest: no target; budget 0.01 VND")
    assert "over the budget of" in told
    refused = explained(choosing, nothing)
    assert {drop["cause"] for drop in refused["decision"]["drops"]} == {"budget"}


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"policy": "best"}, "polyroute.policy"),
        ({"budget": "5 EUR"}, "polyroute.budget"),
        ({"require": ["moon"]}, "polyroute.require"),
        ({"fallbacks": ["nobody/nothing"]}, "polyroute.fallbacks"),
    ],
)
def test_nonsense_is_refused_naming_the_field(
    sandbox: SimulatedProviders, choosing: GatewayProcess, options: dict[str, Any], field: str
) -> None:
    answer = ask(choosing, "plain", polyroute=options)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == field
    assert sandbox.seen() == []


def test_what_the_caller_requires(sandbox: SimulatedProviders, choosing: GatewayProcess) -> None:
    answer = ask(choosing, "plain", polyroute={"require": ["eu"]})
    assert served(answer) == "together/cheap"
    assert "openai/dear (lacks required eu)" in answer.headers["x-polyroute-explain"]
    explained(choosing, answer)


def test_one_model_at_two_providers_goes_where_it_is_cheaper(
    sandbox: SimulatedProviders, choosing: GatewayProcess
) -> None:
    answer = ask(choosing, "one-model")
    assert served(answer) == "openrouter/openai/same"
    assert explained(choosing, answer)["decision"]["notes"] == [
        "the same model, by expected price: openrouter/openai/same, openai/same"
    ]


@pytest.mark.parametrize("what", [CHAT, STREAM], ids=lambda what: what.name)
def test_simple_and_complex_requests_go_different_ways(
    sandbox: SimulatedProviders, choosing: GatewayProcess, what: Ask
) -> None:
    assert served(ask(choosing, "split", what)) == "together/cheap"
    code = ask(choosing, "split", what, messages=[{"role": "user", "content": "```\nx = 1\n```"}])
    assert served(code) == "openai/dear"
    assert "complex (code: the request holds a fenced block)" in code.headers["x-polyroute-explain"]
    assert explained(choosing, code)["decision"]["complexity"]["level"] == "complex"


def test_the_fastest_is_found_by_what_was_observed(sandbox: SimulatedProviders, choosing: GatewayProcess) -> None:
    for target in ("openai/slow", "together/quick"):
        if target == "openai/slow":
            sandbox.set("openai", faults=[{"kind": "slow_first_token", "seconds": 0.3}])
        assert served(ask(choosing, target, STREAM, max_tokens=5)) == target
        sandbox.mend("openai")
    answer = ask(choosing, "fast", STREAM, max_tokens=5)
    assert served(answer) == "together/quick"
    first, second = explained(choosing, answer)["decision"]["targets"]
    assert first["observed"]["seconds_to_first_token"] < second["observed"]["seconds_to_first_token"]
    assert second["observed"]["success_rate"] == 1.0


@pytest.mark.parametrize("what", [CHAT, STREAM], ids=lambda what: what.name)
def test_what_is_too_long_goes_to_the_chain_for_that(
    sandbox: SimulatedProviders, choosing: GatewayProcess, what: Ask
) -> None:
    sandbox.break_down("openai", "context_too_long")
    answer = ask(choosing, "long", what)
    assert served(answer) == "together/long"
    assert answer.headers["x-polyroute-attempts"] == "2"  # openai/other was passed by
    assert "longer_context: together/long" in answer.headers["x-polyroute-explain"]
    found = explained(choosing, answer)
    [detour] = found["decision"]["detours"]
    assert (detour["chain"], [one["target"] for one in detour["targets"]]) == ("longer_context", ["together/long"])


def test_what_is_too_long_passes_targets_that_are_known_to_be_as_short(
    sandbox: SimulatedProviders, choosing: GatewayProcess
) -> None:
    sandbox.break_down("openai", "context_too_long")
    answer = ask(choosing, "by-context")
    assert served(answer) == "together/long"
    assert answer.headers["x-polyroute-attempts"] == "2"


@pytest.mark.parametrize("what", [CHAT, STREAM], ids=lambda what: what.name)
def test_filtered_content_goes_on_only_where_the_route_says_so(
    sandbox: SimulatedProviders, choosing: GatewayProcess, what: Ask
) -> None:
    sandbox.break_down("openai", "content_filter")
    answer = ask(choosing, "filtered", what)
    assert served(answer) == "together/cheap"
    assert answer.headers["x-polyroute-attempts"] == "2"
    explained(choosing, answer)
    refused = ask(choosing, "unfiltered", what)
    assert refused.status_code == 400
    assert sandbox.counters("together")["requests"] == 1


def test_who_may_read_explanations_and_what_is_said_of_an_unknown_request(choosing: GatewayProcess) -> None:
    unknown = httpx.get(f"{choosing.url}/admin/api/requests/req_none/explain", timeout=20, trust_env=False)
    assert unknown.status_code == 404
    assert "req_none" in unknown.json()["error"]["message"]


def test_the_command_explains_a_request_and_sends_nothing(
    sandbox: SimulatedProviders, choosing: GatewayProcess
) -> None:
    body = {"messages": [{"role": "user", "content": "Why?"}], "polyroute": {"budget": "499 VND", "require": ["eu"]}}
    (choosing.folder / "body.json").write_text(json.dumps(body))
    done = run_polyroute("explain", "low", "--body", "body.json", "--json", folder=choosing.folder)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert [one["target"] for one in told["targets"]] == ["together/cheap"]
    assert told["drops"][0]["reason"] == "lacks required eu"
    assert told["policy"] == "cheapest"
    spoken = run_polyroute("explain", "split", "--body", "body.json", folder=choosing.folder)
    assert "the request is simple: no rule for complex requests fired" in spoken.stdout
    body["polyroute"]["budget"] = "a lot"
    (choosing.folder / "body.json").write_text(json.dumps(body))
    refused = run_polyroute("explain", "low", "--body", "body.json", folder=choosing.folder)
    assert refused.returncode == 2
    assert "'polyroute.budget'" in refused.stderr
    missing = run_polyroute("explain", "low", "--body", "nothing.json", folder=choosing.folder)
    assert missing.returncode == 2
    assert "nothing.json cannot be read" in missing.stderr
    assert sandbox.seen() == []


@pytest.mark.parametrize("what", [CHAT, STREAM], ids=lambda what: what.name)
def test_an_error_tells_the_decision_too_when_that_is_asked_for(
    sandbox: SimulatedProviders, choosing: GatewayProcess, what: Ask
) -> None:
    for provider in ("openai", "together"):
        sandbox.break_down(provider, "status", status=503)
    failed = ask(choosing, "plain", what)
    assert failed.status_code >= 500
    assert failed.headers["x-polyroute-explain"] == "priority: openai/dear > together/cheap"
    with httpx.Client(base_url=choosing.url, timeout=20, trust_env=False) as client:
        assert "x-polyroute-explain" not in what.send(client, "plain").headers
