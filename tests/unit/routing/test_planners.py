"""From a real catalog to plans, and the words of an empty one."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from polyroute.catalog.build import build_catalog
from polyroute.catalog.inputs import read_input
from polyroute.catalog.model import Catalog, ModelFacts
from polyroute.catalog.rows import load_rows
from polyroute.routing.candidates import Facts, PlanRequest, RouteRules
from polyroute.routing.planners import refusal, route_planner
from polyroute.types.errors import ErrorKind
from polyroute.types.operations import Capability, Dialect, ProviderKind
from polyroute.types.plans import Drop, Plan, Target
from polyroute.types.usage import Price

CALM = Facts(now=0.0)
CHAT = PlanRequest(dialect=Dialect.OPENAI_CHAT)
KEYS = {"OPENAI_API_KEY": "k", "ANTHROPIC_API_KEY": "k", "OPENROUTER_API_KEY": "k"}


def catalog(values: dict[str, Any] | None = None) -> Catalog:
    return build_catalog(load_rows(), read_input(values or {}), KEYS)


def providers(plan: Plan) -> list[str]:
    return [target.provider for target in plan.targets]


def test_a_built_in_route_follows_priority_numbers_and_changing_one_reorders_it() -> None:
    built_in = catalog()
    assert providers(route_planner(built_in, built_in.routes["text"]).plan(CHAT, CALM)) == [
        "openrouter",
        "openai",
        "anthropic",
    ]
    changed = catalog({"providers": {"anthropic": {"priority": 1}}})
    assert providers(route_planner(changed, changed.routes["text"]).plan(CHAT, CALM))[0] == "anthropic"


def test_a_configured_route_keeps_the_order_in_which_its_targets_stand() -> None:
    made = catalog({"routes": {"mine": {"targets": ["anthropic", "openrouter", "openai", "xai"]}}})
    plan = route_planner(made, made.routes["mine"]).plan(CHAT, CALM)
    assert providers(plan) == ["anthropic", "openrouter", "openai"]
    assert [(drop.target.split("/")[0], drop.cause) for drop in plan.drops] == [("xai", "disabled")]


def test_fallbacks_come_after_and_once() -> None:
    made = catalog(
        {"routes": {"mine": {"targets": ["openai/gpt-4o"], "fallbacks": ["anthropic/claude", "openai/gpt-4o"]}}}
    )
    plan = route_planner(made, made.routes["mine"]).plan(CHAT, CALM)
    assert [str(target) for target in plan.targets] == ["openai/gpt-4o", "anthropic/claude"]


def test_what_is_known_of_a_model_outweighs_its_providers_row() -> None:
    made = catalog({"routes": {"mine": {"targets": ["openai/small", "anthropic/large"]}}})
    models = {
        Target("openai", "small"): ModelFacts(
            capabilities=frozenset({Capability.STREAMING}),
            context=8000,
            price=Price(version="t", input=Decimal(9), output=Decimal(9)),
        ),
        Target("anthropic", "large"): ModelFacts(price=Price(version="t", input=Decimal(1), output=Decimal(1))),
    }
    planner = route_planner(made, made.routes["mine"], models)
    seeing = PlanRequest(dialect=Dialect.OPENAI_CHAT, needs=frozenset({Capability.VISION}))
    assert providers(planner.plan(seeing, CALM)) == ["anthropic"]
    assert providers(planner.plan(PlanRequest(dialect=Dialect.OPENAI_CHAT, tokens=9000), CALM)) == ["anthropic"]
    cheap = PlanRequest(dialect=Dialect.OPENAI_CHAT, policy="cheapest")
    assert providers(planner.plan(cheap, CALM)) == ["anthropic", "openai"]


def test_rules_can_put_direct_providers_before_gateways() -> None:
    made = catalog()
    route = made.routes["text"]
    rules = RouteRules(route=route.name, operation=route.operation, kinds=(ProviderKind.DIRECT, ProviderKind.GATEWAY))
    assert providers(route_planner(made, route, rules=rules).plan(CHAT, CALM)) == ["openai", "anthropic", "openrouter"]


def test_free_variants_go_first_under_free_first() -> None:
    made = catalog(
        {"routes": {"mine": {"policy": "free_first", "targets": ["openai/gpt", "openrouter/vendor/model:free"]}}}
    )
    assert providers(route_planner(made, made.routes["mine"]).plan(CHAT, CALM)) == ["openrouter", "openai"]


@pytest.mark.parametrize(
    ("drops", "kind", "words"),
    [
        ((Drop("a/m", "breaker open for another 3.0 s", "breaker"), Drop("b/m", "off", "disabled")),
         ErrorKind.UNAVAILABLE, "at the moment"),
        ((Drop("a/m", "over", "budget"),), ErrorKind.OVER_BUDGET, "budget"),
        ((Drop("a/m", "no", "permission"),), ErrorKind.FORBIDDEN, "key"),
        ((Drop("a/m", "lacks required eu", "requirement"),), ErrorKind.UNSUPPORTED, "requirements"),
    ],
)  # fmt: skip
def test_the_refusal_of_an_empty_plan(drops: tuple[Drop, ...], kind: ErrorKind, words: str) -> None:
    made = catalog().routes["text"]
    error = refusal(Plan(made.name, made.operation, "priority", (), drops))
    assert error.kind is kind
    assert words in error.message
    assert all(drop.target in error.message and drop.reason in error.message for drop in drops)
