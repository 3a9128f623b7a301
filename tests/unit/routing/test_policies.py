"""What each policy makes of the same facts."""

from __future__ import annotations

import random
from collections import Counter
from decimal import Decimal
from typing import get_args

import pytest

from polyroute.catalog.model import Policy
from polyroute.routing.policies import (
    NO_FACTS,
    POLICIES,
    BalanceWeights,
    PolicyInputs,
    TargetFacts,
    Terms,
    check_policy,
    expected_cost,
    order_by,
    terms_of_price,
)
from polyroute.types.errors import PolyrouteError
from polyroute.types.usage import Price

INPUTS = PolicyInputs(now=1000.0, random=0.5, input_tokens=1000, output_tokens=1000)
TERMS = {
    "dear_fast": Terms(priority=3, weight=1, input_price=5e-6, output_price=15e-6),
    "cheap_slow": Terms(priority=2, weight=2, input_price=1e-7, output_price=3e-7),
    "free_busy": Terms(priority=4, weight=1, free=True),
    "unknown": Terms(),
}
FACTS = {
    "dear_fast": TargetFacts(0.2, 200.0, 1.0, 1000.0, 3),
    "cheap_slow": TargetFacts(2.0, 20.0, 0.9, 1000.0, 2),
    "free_busy": TargetFacts(0.5, 50.0, 0.5, 1000.0, 9),
    "unknown": NO_FACTS,
}


def order(policy: str, inputs: PolicyInputs = INPUTS, names: tuple[str, ...] = tuple(TERMS)) -> list[str]:
    scores = POLICIES[policy]([TERMS[name] for name in names], [FACTS[name] for name in names], inputs)
    return [names[position] for position in order_by(scores)]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("priority", ["cheap_slow", "dear_fast", "free_busy", "unknown"]),
        ("cheapest", ["free_busy", "cheap_slow", "dear_fast", "unknown"]),
        ("fastest", ["dear_fast", "unknown", "free_busy", "cheap_slow"]),
        ("least_busy", ["unknown", "cheap_slow", "dear_fast", "free_busy"]),
        ("free_first", ["free_busy", "dear_fast", "cheap_slow", "unknown"]),
        ("balanced", ["dear_fast", "cheap_slow", "unknown", "free_busy"]),
    ],
)
def test_order(policy: str, expected: list[str]) -> None:
    assert order(policy) == expected


def test_every_policy_of_the_configuration_exists_and_handles_no_target_and_one() -> None:
    assert set(POLICIES) == set(get_args(Policy))
    for function in POLICIES.values():
        assert function([], [], INPUTS) == []
        assert len(function([Terms()], [NO_FACTS], INPUTS)) == 1


def test_weighted_draws_in_proportion_and_zero_only_as_a_last_resort() -> None:
    terms = [Terms(weight=3), Terms(weight=1), Terms(weight=0)]
    dice, first, last = random.Random(7), Counter[int](), Counter[int]()
    for _ in range(8000):
        scores = POLICIES["weighted"](terms, [NO_FACTS] * 3, PolicyInputs(random=dice.random()))
        drawn = order_by(scores)
        first[drawn[0]] += 1
        last[drawn[-1]] += 1
    assert first[0] / 8000 == pytest.approx(0.75, abs=0.02)
    assert last == {2: 8000}


def test_weighted_second_places_are_drawn_by_weight_too() -> None:
    terms, dice, second = [Terms(weight=1)] * 20, random.Random(3), Counter[int]()
    for _ in range(4000):
        drawn = order_by(POLICIES["weighted"](terms, [NO_FACTS] * 20, PolicyInputs(random=dice.random())))
        second[drawn[1]] += 1
    assert len(second) == 20
    assert max(second.values()) < 2 * min(second.values())


def test_an_old_bad_observation_fades_until_the_target_is_tried_again() -> None:
    terms = [Terms(), Terms()]
    fresh, slow_then = TargetFacts(0.5, 50.0, 1.0, 1000.0), TargetFacts(9.0, 5.0, 0.2, 1000.0)
    soon = POLICIES["fastest"](terms, [fresh, slow_then], INPUTS)
    late = POLICIES["fastest"](
        terms, [fresh, slow_then], PolicyInputs(now=1000.0 + 3600, random=0.5, output_tokens=1000)
    )
    assert soon[0] is not None
    assert soon[1] is not None
    assert soon[1] > 10 * soon[0]
    assert late[1] == pytest.approx(soon[0], rel=0.2)


def test_exploration_puts_the_least_known_target_first_for_its_share_of_requests() -> None:
    names = ("dear_fast", "cheap_slow", "unknown")
    dice, explored = random.Random(5), 0
    for _ in range(4000):
        explored += order("fastest", PolicyInputs(now=1000.0, random=dice.random()), names)[0] == "unknown"
    assert explored / 4000 == pytest.approx(0.05, abs=0.015)


@pytest.mark.parametrize(
    ("weights", "first"),
    [
        (BalanceWeights(cost=1, latency=0, success=0), "free_busy"),
        (BalanceWeights(cost=0, latency=1, success=0), "dear_fast"),
        (BalanceWeights(cost=0, latency=0, success=1), "dear_fast"),
        (BalanceWeights(cost=5, latency=1, success=1), "cheap_slow"),
    ],
)
def test_balanced_follows_its_weights(weights: BalanceWeights, first: str) -> None:
    names = ("dear_fast", "cheap_slow", "free_busy")
    inputs = PolicyInputs(now=1000.0, input_tokens=1000, output_tokens=1000, balance=weights)
    assert order("balanced", inputs, names)[0] == first


def test_balance_weights_that_weigh_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="must not be below 0"):
        BalanceWeights(cost=-1)
    with pytest.raises(ValueError, match="nor all 0"):
        BalanceWeights(cost=0, latency=0, success=0)


def test_expected_cost_counts_both_directions_and_the_gateways_mark_up() -> None:
    price = Price(version="t", input=Decimal("1.00"), output=Decimal("4.00"), request=Decimal("0.001"))
    per_input, per_output, per_request = terms_of_price(price, mark_up=1.1)
    terms = Terms(input_price=per_input, output_price=per_output, request_price=per_request)
    assert expected_cost(terms, INPUTS) == pytest.approx((0.001 + 0.004 + 0.001) * 1.1)
    assert expected_cost(Terms(), INPUTS) is None
    assert expected_cost(Terms(input_price=1e-6), INPUTS) is None
    assert terms_of_price(None) == (None, None, None)


@pytest.mark.parametrize(
    ("wrong", "right"), [("fastet", "fastest"), ("Priority", "priority"), ("least-busy", "least_busy")]
)
def test_a_wrong_name_is_answered_with_the_nearest(wrong: str, right: str) -> None:
    with pytest.raises(PolyrouteError, match=f"Did you mean `{right}`") as refused:
        check_policy(wrong)
    assert refused.value.param == "policy"


def test_a_name_that_is_near_none_lists_them_all() -> None:
    with pytest.raises(PolyrouteError, match="There are: priority, weighted"):
        check_policy("xyzzy")
