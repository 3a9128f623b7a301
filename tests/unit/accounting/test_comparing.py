"""Two records beside each other: sums by day and model, and what only one of them has."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from polyroute.accounting.comparing import Consumption, compare, model_key


def one(model: str = "m", **values: Any) -> Consumption:
    return Consumption(**({"day": "2026-11-20", "model": model} | values))


NONE = Decimal(0)


def test_sums_go_by_day_and_model_whatever_snapshot_it_is_called() -> None:
    ours = [
        one("gpt-4o-mini", input_tokens=10, cost_usd=Decimal("0.1")),
        one("GPT-4o-mini", input_tokens=5, cost_usd=None),
    ]
    theirs = [
        one("gpt-4o-mini-2024-07-18", requests=2, input_tokens=15),
        one("gpt-4o-mini-2024-07-18", requests=None, cost_usd=Decimal("0.2")),
    ]
    [line] = compare(ours, theirs).lines
    assert (line.model, line.ours.requests, line.theirs.requests) == ("gpt-4o-mini", 2, 2)
    assert (line.ours.input_tokens, line.theirs.input_tokens, line.ours.unpriced) == (15, 15, 1)
    assert line.drift_usd == Decimal("-0.1")
    assert line.differs(NONE)


@pytest.mark.parametrize("name", ["claude-sonnet-4-5-20250929", "claude-sonnet-4-5@20250929", "Claude-Sonnet-4-5"])
def test_a_models_date_does_not_matter(name: str) -> None:
    assert model_key(name) == "claude-sonnet-4-5"


def test_what_one_side_lacks_is_named() -> None:
    ours = [one(id="a"), one(id="b")]
    theirs = [one(id="b"), one(id="c", model="other")]
    first, second = compare(ours, theirs, by_id=True).lines
    assert (first.only_ours, first.only_theirs) == (("a",), ())
    assert (second.model, second.only_theirs) == ("other", ("c",))
    assert first.differs(Decimal(1))


@pytest.mark.parametrize(
    ("cost", "differs"), [("1.00", False), ("1.005", False), ("0.995", False), ("1.02", True), ("0.5", True)]
)
def test_the_tolerance_is_a_share_of_theirs(cost: str, differs: bool) -> None:
    [line] = compare([one(cost_usd=Decimal(cost))], [one(cost_usd=Decimal(1))]).lines
    assert line.differs(Decimal("0.01")) is differs


def test_a_day_that_only_one_side_has_differs() -> None:
    for ours, theirs in (([one(input_tokens=5)], []), ([], [one(input_tokens=5)])):
        [line] = compare(ours, theirs).lines
        assert line.differs(Decimal("0.5"))


def test_what_they_do_not_tell_is_no_drift() -> None:
    [line] = compare(
        [one(input_tokens=5, cost_usd=Decimal(1))], [one(requests=None, input_tokens=5, cost_usd=Decimal(1))]
    ).lines
    assert not line.differs(NONE)


def test_a_cost_that_we_do_not_know_differs_from_one_that_they_charge() -> None:
    [line] = compare([one(cost_usd=None)], [one(cost_usd=Decimal(1))]).lines
    assert line.differs(NONE)
    assert line.drift_usd is None
