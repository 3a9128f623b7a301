"""From a call to its plan: options that make no sense, complexity, chains, and decisions that are stored once."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from polyroute.catalog.build import build_catalog
from polyroute.catalog.inputs import read_input
from polyroute.catalog.rows import load_rows
from polyroute.composition.providers import live_providers
from polyroute.engine.envelope import json_call
from polyroute.engine.planning import Planned, Planning, SharedDecision, planner_of
from polyroute.engine.runtime import Runtime
from polyroute.ports import Call
from polyroute.routing.breakers import Breakers
from polyroute.routing.decision import decode_decision, encode_decision, recorded_plan, replay
from polyroute.routing.observations import Observations
from polyroute.types.errors import ErrorKind, Failure, PolyrouteError
from polyroute.types.operations import Dialect
from polyroute.types.plans import Target
from polyroute.types.records import KeyRecord
from polyroute.types.usage import Price

KEYS = {"OPENAI_API_KEY": "k", "ANTHROPIC_API_KEY": "k", "OPENROUTER_API_KEY": "k"}
CONFIG: dict[str, Any] = {
    "currencies": {"VND": {"per_usd": 26000, "date": "2026-11-20"}},
    "providers": {
        "openai": {
            "tags": ["us"],
            "model_facts": {
                "dear": {"price": {"date": "2026-11-20", "input": 10, "output": 30}, "context": 1000},
                "cheap": {"price": {"date": "2026-11-20", "input": 1, "output": 3}, "context": 500, "tags": ["eu"]},
            },
        },
    },
    "routes": {
        "plain": {"targets": ["openai/dear", "openai/cheap"]},
        "thrifty": {"targets": ["openai/dear", "openai/cheap"], "low_budget": "100 VND"},
        "split": {
            "targets": ["openai/cheap"],
            "complexity": {"complex": ["anthropic/large"]},
            "fallbacks": ["openrouter/any"],
        },
        "chained": {
            "targets": ["openai/cheap", "openai/dear"],
            "on_context_too_long": ["anthropic/huge", "openai/cheap"],
            "on_content_filtered": ["openrouter/free-speech"],
        },
        "european": {"targets": ["openai/dear", "openai/cheap"], "require": ["eu", "tools"]},
        "direct-only": {"targets": ["openrouter/any", "openai/dear"], "kinds": ["direct"]},
    },
}


class Tables:
    """A price book that is read when it is told to."""

    def __init__(self) -> None:
        self.loaded = False

    def price(self, provider: str, model: str) -> Price | None:
        assert self.loaded, "planning must not wait for prices"
        return Price(version="t", input=5, output=5) if model == "known" else None  # type: ignore[arg-type]


@pytest.fixture
def tables() -> Tables:
    return Tables()


@pytest.fixture
def runtime(tables: Tables) -> Runtime:
    catalog = build_catalog(load_rows(), read_input(CONFIG), KEYS)
    return Runtime(catalog, live_providers(catalog), tables)


@pytest.fixture
def planning() -> Planning:
    return Planning(Breakers(), Observations())


def call(model: str, text: str = "Hello", key: KeyRecord | None = None, **fields: Any) -> Call:
    body = {"model": model, "messages": [{"role": "user", "content": text}], **fields}
    return json_call(msgspec.json.encode(body), Dialect.OPENAI_CHAT, request_id="req_1", key=key)


def plan(planning: Planning, runtime: Runtime, asked: Call) -> Planned:
    return planning.plan(runtime, runtime.choose(asked.model, asked.operation), asked, 1.0)


def targets(planned: Planned) -> list[str]:
    return [str(target) for target in planned.plan.targets]


@pytest.mark.parametrize(
    ("options", "field", "words"),
    [
        ({"policy": "cheapst"}, "policy", "did you mean 'cheapest'?"),
        ({"policy": "luck-of-the-draw"}, "policy", "there are priority, weighted"),
        ({"budget": "5 EUR"}, "budget", "no exchange rate for EUR"),
        ({"budget": "5 VNF"}, "budget", "did you mean VND?"),
        ({"budget": "some"}, "budget", '"1000 VND"'),
        ({"require": ["tols"]}, "require", "did you mean 'tools'?"),
        ({"require": ["moon"]}, "require", "unknown 'moon'"),
        ({"fallbacks": ["nobody"]}, "fallbacks", "unknown model 'nobody'"),
        ({"fallbacks": ["image"]}, "fallbacks", "route image is for image"),
    ],
)
@pytest.mark.parametrize("route", ["plain", "split"])
def test_an_option_that_makes_no_sense_is_refused_by_its_name(
    planning: Planning, runtime: Runtime, options: dict[str, Any], field: str, words: str, route: str
) -> None:
    with pytest.raises(PolyrouteError) as refused:
        plan(planning, runtime, call(route, polyroute=options))
    assert refused.value.kind is ErrorKind.INVALID_REQUEST
    assert refused.value.param == f"polyroute.{field}"
    assert f"'polyroute.{field}'" in refused.value.message
    assert words in refused.value.message


def test_a_key_for_one_route_gets_no_others_as_fallbacks(planning: Planning, runtime: Runtime) -> None:
    key = KeyRecord(id="k", name="n", digest=b"", prefix="p", created_at=0.0, routes=("plain",))
    assert plan(planning, runtime, call("plain", key=key)).plan.targets
    with pytest.raises(PolyrouteError) as refused:
        plan(planning, runtime, call("plain", key=key, polyroute={"fallbacks": ["anthropic/large"]}))
    assert refused.value.kind is ErrorKind.FORBIDDEN


def test_a_low_budget_goes_to_the_cheapest_and_too_low_a_one_to_nobody(planning: Planning, runtime: Runtime) -> None:
    assert targets(plan(planning, runtime, call("thrifty", polyroute={"budget": "1 USD"}))) == [
        "openai/dear",
        "openai/cheap",
    ]
    low = plan(planning, runtime, call("thrifty", max_tokens=50, polyroute={"budget": "99 VND"}))
    assert targets(low) == ["openai/cheap", "openai/dear"]
    assert low.whole.money == "99 VND, 0.003808 USD at 26000 of 2026-11-20"
    assert "low budget" in low.plan.notes[0]
    with pytest.raises(PolyrouteError) as refused:
        plan(planning, runtime, call("thrifty", polyroute={"budget": "1 VND"}))
    assert refused.value.kind is ErrorKind.OVER_BUDGET


def test_tags_and_capabilities_can_be_required_by_the_route_and_by_the_caller(
    planning: Planning, runtime: Runtime
) -> None:
    assert targets(plan(planning, runtime, call("european"))) == ["openai/cheap"]
    assert targets(plan(planning, runtime, call("plain", polyroute={"require": ["eu"]}))) == ["openai/cheap"]
    assert targets(plan(planning, runtime, call("direct-only"))) == ["openai/dear"]


def test_a_prompt_that_is_too_long_for_a_known_context_passes_it_by(planning: Planning, runtime: Runtime) -> None:
    long = plan(planning, runtime, call("plain", "word " * 700))
    assert targets(long) == ["openai/dear"]
    assert long.plan.drops[0].cause == "context"


@pytest.mark.parametrize(
    ("fields", "first", "rule"),
    [
        ({}, "openai/cheap", "no rule"),
        ({"text": "```python\npass\n```"}, "anthropic/large", "code"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "anthropic/large", "tools"),
        ({"text": "word " * 2000}, "anthropic/large", "tokens"),
    ],
)
def test_a_split_route_sends_complex_requests_elsewhere_and_says_why(
    planning: Planning, runtime: Runtime, fields: dict[str, Any], first: str, rule: str
) -> None:
    planned = plan(planning, runtime, call("split", **fields))
    assert targets(planned) == [first, "openrouter/any"]
    assert planned.whole.complexity is not None
    assert planned.whole.complexity.rule.startswith(rule)


def test_prices_are_picked_up_when_they_are_read_and_never_waited_for(
    planning: Planning, runtime: Runtime, tables: Tables
) -> None:
    asked = call("openai/dear", polyroute={"policy": "cheapest", "fallbacks": ["openai/known"]})
    assert (
        planning.plan(runtime, runtime.choose("openai/known", asked.operation), asked, 1.0).whole.prices.keys() == set()
    )
    tables.loaded = True
    runtime.forget_prices()
    assert (
        "openai/known"
        in planning.plan(runtime, runtime.choose("openai/known", asked.operation), asked, 1.0).whole.prices
    )


def test_an_ordinary_plan_has_one_decision_for_all_requests_of_its_shape(planning: Planning, runtime: Runtime) -> None:
    one, other = plan(planning, runtime, call("plain")), plan(planning, runtime, call("plain", "Something else"))
    assert isinstance(one.decision, SharedDecision)
    assert one.decision is other.decision
    tools = plan(planning, runtime, call("plain", tools=[{"type": "function", "function": {"name": "f"}}]))
    assert isinstance(tools.decision, SharedDecision)
    cheapest = plan(planning, runtime, call("plain", polyroute={"policy": "cheapest"}))
    assert not isinstance(cheapest.decision, SharedDecision)


def test_stored_decisions_replay_to_the_same_plan_under_the_same_configuration(
    planning: Planning, runtime: Runtime
) -> None:
    down = Failure(kind=ErrorKind.UNAVAILABLE, message="")
    for _ in range(3):
        planning.breakers.fail(Target("anthropic", "large"), call("plain").operation, down, 1.0)
    options: list[dict[str, Any]] = [
        {}, {"policy": "cheapest"}, {"policy": "fastest"}, {"budget": "1 USD"}, {"budget": "99 VND"},
        {"require": ["us"]}, {"fallbacks": ["anthropic/large", "split"]},
    ]  # fmt: skip
    seen = 0
    for route in CONFIG["routes"]:
        for wishes in options:
            for text in ("Hello", "```\ncode\n```", "word " * 500):
                asked = call(route, text, polyroute=wishes)
                planned = planning.plan(runtime, runtime.choose(route, asked.operation), asked, 2.0, allow_empty=True)
                planned.detour(asked, "longer_context", Target("openai", "cheap"), (), set(), 2.0)
                decision = decode_decision(encode_decision(planned.whole))
                for part in (decision, *decision.detours):
                    planner = planner_of(runtime, part)
                    assert planner is not None
                    assert replay(part, planner) == recorded_plan(part)
                    seen += 1
                assert recorded_plan(decision) == planned.plan
    assert seen > len(CONFIG["routes"]) * len(options) * 3


def test_what_is_too_long_goes_to_the_chain_and_without_one_past_the_short(
    planning: Planning, runtime: Runtime
) -> None:
    short, dear = Target("openai", "cheap"), Target("openai", "dear")
    chained = plan(planning, runtime, call("chained"))
    assert chained.detour(call("chained"), "longer_context", short, [dear], {short}, 1.0) == [
        Target("anthropic", "huge")
    ]
    assert chained.detour(call("chained"), "other_filter", short, [dear], {short}, 1.0) == [
        Target("openrouter", "free-speech")
    ]
    assert [detour.chain for detour in chained.whole.detours] == ["longer_context", "other_filter"]
    assert (chained.reserve(ErrorKind.CONTEXT_TOO_LONG), chained.reserve(ErrorKind.UNAVAILABLE)) == (2, 0)
    plain = plan(planning, runtime, call("plain"))
    assert plain.detour(call("plain"), "longer_context", dear, [short], {dear}, 1.0) == []
    assert plain.detour(call("plain"), "longer_context", short, [dear], {short}, 1.0) == [dear]
    unknown = Target("openrouter", "any")
    assert plain.detour(call("plain"), "longer_context", dear, [unknown], {dear}, 1.0) == [unknown]
    assert not plain.filtered_falls_over


def test_nothing_is_observed_until_somebody_looks(planning: Planning, runtime: Runtime) -> None:
    assert plan(planning, runtime, call("plain")).observations is None
    assert plan(planning, runtime, call("plain", polyroute={"policy": "fastest"})).observations is planning.observations
    assert plan(planning, runtime, call("plain")).observations is planning.observations


def test_a_chain_is_planned_with_all_that_the_request_needs_even_what_the_route_itself_never_asked(
    planning: Planning, tables: Tables
) -> None:
    facts = {"model_facts": {"blind": {"capabilities": ["tools"]}, "seeing": {"capabilities": ["vision"]}}}
    routes = {"seen": {"targets": ["openai/gpt"], "on_context_too_long": ["anthropic/blind", "anthropic/seeing"]}}
    catalog = build_catalog(load_rows(), read_input({"providers": {"anthropic": facts}, "routes": routes}), KEYS)
    runtime = Runtime(catalog, live_providers(catalog), tables)
    picture = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
    body = {"model": "seen", "messages": [{"role": "user", "content": [picture]}]}
    asked = json_call(msgspec.json.encode(body), Dialect.OPENAI_CHAT, request_id="req_1")
    for _ in range(2):  # the second time by the shortest way
        planned = plan(planning, runtime, asked)
        found = planned.detour(asked, "longer_context", Target("openai", "gpt"), (), set(), 1.0)
        assert found == [Target("anthropic", "seeing")]
