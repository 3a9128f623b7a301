"""Back-tests over a ledger that is known: what moves, what it would cost, and what cannot be told."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from polyroute.audit.backtest import Backtest, run_backtest
from polyroute.audit.observed import observe
from polyroute.catalog.build import build_catalog
from polyroute.catalog.inputs import read_input
from polyroute.catalog.rows import load_rows
from polyroute.composition.providers import live_providers
from polyroute.engine.runtime import Runtime
from polyroute.routing.candidates import Facts, PlanRequest
from polyroute.routing.decision import encode_decision, record
from polyroute.storage.replays import PastAttempt, PastRequest
from polyroute.types.operations import Dialect, Operation
from polyroute.types.usage import Price, Usage

START = datetime(2026, 11, 20, 12, tzinfo=UTC)
RATES = {("openai", "dear"): (Decimal(10), Decimal(30)), ("groq", "cheap"): (Decimal(1), Decimal(2))}
TARGETS = ["openai/dear", "groq/cheap"]


class Tables:
    """Two models have a price."""

    loaded = True

    def price(self, provider: str, model: str) -> Price | None:
        rates = RATES.get((provider, model))
        return None if rates is None else Price(version="t", input=rates[0], output=rates[1])


def runtime(targets: Sequence[str] = TARGETS, **route: Any) -> Runtime:
    given = read_input({
        "providers": {"openai": {"credentials": ["k"]}, "groq": {"credentials": ["k"]}},
        "routes": {"r": {"targets": list(targets), **route}},
    })  # fmt: skip
    catalog = build_catalog(load_rows(), given, {})
    return Runtime(catalog, live_providers(catalog), Tables())


def decided() -> bytes:
    """The decision of the route as it was."""
    planner = runtime().choose("r", Operation.CHAT).planner
    request, facts = PlanRequest(dialect=Dialect.OPENAI_CHAT), Facts(now=0.0)
    return encode_decision(record(planner, request, facts, planner.plan(request, facts)))


DECISION = decided()


def served(number: int, target: str = "openai/dear", *failed: str, **values: Any) -> PastRequest:
    """A request of 1000 tokens and an answer of 100, served by `target` after `failed` ones."""
    cost = sum(Decimal(count) * rate for count, rate in zip((1000, 100), RATES[tuple(target.split("/"))], strict=True))  # type: ignore[index]  # two parts
    tried = [PastAttempt(name, "failed", "unavailable", 0.5, None) for name in failed]
    base = {
        "id": f"req_{number}", "created_at": START + timedelta(seconds=number), "operation": "chat", "status": "COMPLETED",
        "error_kind": None, "stream": False, "route": "r", "policy": "priority", "served": target,
        "usage": Usage(input=1000, output=100), "cost_usd": cost / 1_000_000, "seconds": 2.0 + 0.5 * len(failed),
        "ttft": None, "decision": DECISION, "attempts": (*tried, PastAttempt(target, "served", None, 2.0, 100)),
    }  # fmt: skip
    return PastRequest(**{**base, **values})


def run(requests: list[PastRequest], proposed: Runtime | None = None, **options: Any) -> Backtest:
    return run_backtest(lambda: requests, proposed or runtime(), **options)


def test_what_holds_changes_nothing() -> None:
    found = run([served(0), served(1, "groq/cheap", "openai/dear"), served(2)])
    total = found.total
    assert (total.requests, total.moved, total.priced, total.timed) == (3, 0, 3, 3)
    assert total.cost_before == total.cost_after == Decimal("0.0272")
    assert total.seconds_before == total.seconds_after
    assert (total.failures_before, total.failures_after) == (0, 0)


def test_the_cheapest_is_charged_at_its_price_and_takes_its_time() -> None:
    ledger = [served(number) for number in range(4)] + [
        served(9, "groq/cheap", usage=Usage(input=10, output=10), cost_usd=Decimal("0.00003"), seconds=1.0,
               attempts=(PastAttempt("groq/cheap", "served", None, 1.0, 10),)),
    ]  # fmt: skip
    found = run(ledger, policy="cheapest")
    total = found.total
    assert (total.requests, total.moved) == (5, 4)
    assert total.cost_before == Decimal("0.052") + Decimal("0.00003")
    assert total.cost_after == Decimal("0.0048") + Decimal("0.00003")
    assert total.seconds_after == pytest.approx(5.0)
    assert found.after == {"groq/cheap": 5}
    assert found.before == {"openai/dear": 4, "groq/cheap": 1}


def test_a_target_that_fails_half_the_time_is_expected_to() -> None:
    ledger = [served(0), served(1, "openai/dear", "groq/cheap"), served(2, "groq/cheap")]
    found = run([ledger[0]], runtime(["groq/cheap"]))
    assert found.unobserved == {"groq/cheap": 1}
    assert found.total.timed == 0
    seen = observe(ledger)["groq/cheap", "chat"]
    assert (seen.served, seen.failed, seen.success) == (1, 1, 0.5)
    both = run(ledger, runtime(["groq/cheap", "openai/dear"]))
    first = 0.5 * Decimal("0.0012").__float__() + 0.5 * 0.013
    assert float(both.total.cost_after) == pytest.approx(first + 0.013 + 0.0012)
    alone = run([ledger[0], *ledger[1:]], runtime(["groq/cheap"]))
    assert alone.total.failures_after == pytest.approx(0.5 + 1.0)  # the second failed there in this very request


def test_a_target_without_price_or_history_is_named_and_not_guessed() -> None:
    found = run([served(0)], runtime(["groq/unknown"]))
    assert found.unpriced == found.unobserved == {"groq/unknown": 1}
    assert (found.total.requests, found.total.priced, found.total.timed, found.total.judged) == (1, 0, 0, 0)


def test_cached_tokens_are_charged_in_full_elsewhere() -> None:
    cached = served(0, usage=Usage(input=100, cache_read=900, output=100), cost_usd=Decimal("0.005"))
    found = run([cached, served(1, "groq/cheap")], policy="cheapest")
    assert found.total.cost_after == Decimal("0.0012") * 2


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"status": "CANCELLED"}, "the caller left"),
        ({"decision": None}, "it was refused before it was planned"),
        ({"decision": b"[1]"}, "it was refused before it was planned"),
        ({"status": "FAILED", "attempts": ()}, "the caller's own mistake"),
    ],
)
def test_what_cannot_be_replayed_is_counted_with_its_reason(changes: dict[str, Any], reason: str) -> None:
    found = run([served(0, **changes), served(1)])
    assert found.passed_over == {reason: 1}
    assert found.total.requests == 1


def test_a_route_that_is_gone_is_said() -> None:
    found = run([served(0)], route="elsewhere")
    assert found.passed_over == {"'elsewhere' means nothing in the proposed configuration": 1}


def test_the_fastest_learns_only_from_what_came_before() -> None:
    slow = [served(number) for number in range(30)]
    fast = served(30, "groq/cheap", attempts=(PastAttempt("groq/cheap", "served", None, 0.2, 100),), seconds=0.2)
    found = run(
        [*slow, fast, *(served(number) for number in range(31, 61))], runtime(exploration=0.0, policy="fastest")
    )
    assert found.before["openai/dear"] == 60
    # Until the fast answer nothing was known of groq; from then on it goes first.
    assert found.after["groq/cheap"] >= 30


def test_the_same_ledger_gives_the_same_report() -> None:
    ledger = [served(number) for number in range(20)]
    first, second = (run(ledger, runtime(policy="weighted")) for _ in range(2))
    assert msgspec.json.encode(first.total) == msgspec.json.encode(second.total)
    assert 0 < first.total.moved < 20


def test_time_grows_with_the_tokens_of_the_answer() -> None:
    ledger = [
        served(number, usage=Usage(input=10, output=number), attempts=(
            PastAttempt("openai/dear", "served", None, 1.0 + 0.01 * number, number),))
        for number in range(1, 41)
    ]  # fmt: skip
    seen = observe(ledger)["openai/dear", "chat"]
    assert seen.answering_seconds(200) == pytest.approx(3.0)
    assert seen.answering_seconds(None) == pytest.approx(1.205)
