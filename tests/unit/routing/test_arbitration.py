"""Targets of one model at several providers: who stands in front."""

from __future__ import annotations

from typing import Any

import pytest

from polyroute.catalog.model import SameModel
from polyroute.routing.arbitration import model_identity
from polyroute.routing.candidates import Candidate, Facts, PlanRequest, RouteRules
from polyroute.routing.plan import RoutePlanner
from polyroute.routing.policies import TargetFacts, Terms
from polyroute.types.operations import Capability, Dialect, Operation, ProviderKind
from polyroute.types.plans import Target

ASKED = PlanRequest(dialect=Dialect.OPENAI_CHAT, tokens=1000, output_tokens=100)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("gpt-4o", "openai/gpt-4o", True),
        ("claude-3-5-haiku-20241022", "anthropic/claude-3.5-haiku", True),
        ("us.anthropic.claude-3-5-haiku-20241022-v1:0", "claude-3-5-haiku", True),
        ("gpt-4o", "gpt-4o-mini", False),
        ("llama-3", "meta/llama-3:free", False),
        ("gemini-1.5-flash", "gemini-1.5-pro", False),
    ],
)
def test_ids_of_one_model(one: str, other: str, same: bool) -> None:
    assert (model_identity(one) == model_identity(other)) is same


def candidate(provider: str, model: str, kind: ProviderKind, price: float | None, **more: Any) -> Candidate:
    return Candidate(
        target=Target(provider, model),
        kind=kind,
        operations=frozenset({Operation.CHAT}),
        dialects=more.get("dialects", frozenset({Dialect.OPENAI_CHAT})),
        capabilities=more.get("capabilities"),
        terms=Terms(priority=more["priority"], input_price=price, output_price=price),
    )


def order(how: SameModel, *, facts: dict[str, TargetFacts] | None = None, **prices: float | None) -> list[str]:
    """A gateway's gpt, another model, and the maker's gpt, in this configured order."""
    listed = [
        candidate("gate", "openai/gpt", ProviderKind.GATEWAY, prices.get("gate", 1e-6), priority=1),
        candidate("other", "claude", ProviderKind.DIRECT, 9e-6, priority=2),
        candidate("maker", "gpt", ProviderKind.DIRECT, prices.get("maker", 1e-6), priority=3),
    ]
    planner = RoutePlanner(RouteRules(route="r", operation=Operation.CHAT, same_model=how), listed)
    plan = planner.plan(ASKED, Facts(now=0.0, targets=facts or {}))
    return [target.provider for target in plan.targets]


def test_as_listed_nothing_is_moved() -> None:
    assert order("listed") == ["gate", "other", "maker"]


def test_makers_before_resellers_and_other_models_keep_their_place() -> None:
    assert order("direct") == ["maker", "other", "gate"]


def test_by_price_the_cheaper_goes_first_and_equal_prices_go_to_the_maker() -> None:
    assert order("price", gate=1.05e-6) == ["maker", "other", "gate"]
    assert order("price", gate=0.9e-6) == ["gate", "other", "maker"]
    assert order("price") == ["maker", "other", "gate"]
    assert order("price", maker=None) == ["gate", "other", "maker"]


def test_by_latency_the_faster_goes_first() -> None:
    slow, fast = TargetFacts(3.0, 50.0, 1.0, 0.0), TargetFacts(0.3, 50.0, 1.0, 0.0)
    assert order("latency", facts={"gate/openai/gpt": fast, "maker/gpt": slow}) == ["gate", "other", "maker"]
    assert order("latency", facts={"gate/openai/gpt": slow, "maker/gpt": fast}) == ["maker", "other", "gate"]


def test_at_equal_prices_the_one_that_takes_every_parameter_goes_first() -> None:
    listed = [
        candidate("maker", "gpt", ProviderKind.DIRECT, 1e-6, priority=1, dialects=frozenset({Dialect.GEMINI})),
        candidate("gate", "gpt", ProviderKind.GATEWAY, 1e-6, priority=2),
    ]
    planner = RoutePlanner(RouteRules(route="r", operation=Operation.CHAT, same_model="price"), listed)
    plan = planner.plan(ASKED, Facts(now=0.0))
    assert [target.provider for target in plan.targets] == ["gate", "maker"]
    assert plan.notes == ("the same model, by expected price: gate/gpt, maker/gpt",)


def test_a_target_that_cannot_do_what_is_needed_is_not_in_the_contest() -> None:
    listed = [
        candidate("gate", "gpt", ProviderKind.GATEWAY, 1e-7, priority=1, capabilities=frozenset({Capability.VISION})),
        candidate("maker", "gpt", ProviderKind.DIRECT, 1e-6, priority=2, capabilities=frozenset({Capability.TOOLS})),
    ]
    planner = RoutePlanner(RouteRules(route="r", operation=Operation.CHAT, same_model="price"), listed)
    asked = PlanRequest(dialect=Dialect.OPENAI_CHAT, needs=frozenset({Capability.TOOLS}))
    assert [target.provider for target in planner.plan(asked, Facts(now=0.0)).targets] == ["maker"]


def test_only_a_plan_that_depends_on_nothing_else_is_settled() -> None:
    listed = [
        candidate("gate", "gpt", ProviderKind.GATEWAY, 1e-7, priority=1),
        candidate("maker", "gpt", ProviderKind.DIRECT, 1e-6, priority=2),
    ]
    for how, policy, settled in (
        ("listed", "priority", True), ("direct", "priority", True), ("price", "priority", False),
        ("listed", "cheapest", False),
    ):  # fmt: skip
        rules = RouteRules(route="r", operation=Operation.CHAT, same_model=how, policy=policy)
        assert RoutePlanner(rules, listed).plan(ASKED, Facts(now=0.0)).settled is settled, how
