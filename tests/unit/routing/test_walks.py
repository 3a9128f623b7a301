"""Planner, breakers and retries together, over thousands of simulated requests under a clock that the test holds."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import pytest

from polyroute.routing.breakers import Breakers
from polyroute.routing.candidates import Candidate, Facts, PlanRequest, RouteRules
from polyroute.routing.plan import RoutePlanner
from polyroute.routing.policies import Terms
from polyroute.routing.retry import RetryBudget, RetryPolicy, SameTarget, Stop, Tried, next_step
from polyroute.types.errors import ERROR_TABLE, ErrorKind, Failure
from polyroute.types.operations import Dialect, Operation
from polyroute.types.plans import Target

CHAT = Operation.CHAT
REQUEST = PlanRequest(dialect=Dialect.OPENAI_CHAT)
Upstream = Callable[[Target, float], Failure | None]


class World:
    """A gateway without a network: two providers, one caller after the other."""

    def __init__(self, upstream: Upstream, seed: int = 0) -> None:
        self.upstream, self.dice = upstream, random.Random(seed)
        self.breakers, self.now = Breakers(), 1000.0
        self.budgets = {name: RetryBudget(now=self.now) for name in ("first", "second")}
        self.attempts, self.retries = Counter[str](), Counter[str]()
        self.planner = RoutePlanner(
            RouteRules(route="text", operation=CHAT),
            [
                Candidate(
                    target=Target(name, "m"),
                    operations=frozenset({CHAT}),
                    dialects=frozenset({Dialect.OPENAI_CHAT}),
                    terms=Terms(priority=number),
                )
                for number, name in enumerate(("first", "second"))
            ],
        )

    def ask(self) -> str | None:
        """Who served one request; None when nobody did."""
        plan = self.planner.plan(
            REQUEST, Facts(now=self.now, random=self.dice.random(), breakers=self.breakers.restricted)
        )
        deadline = self.now + 60
        for position, target in enumerate(plan.targets):
            tries = 0
            self.budgets[target.provider].deposit()
            while self.breakers.begin(target, CHAT, self.now, probe=plan.probe):
                started, tries = self.now, tries + 1
                self.attempts[target.provider] += 1
                self.retries[target.provider] += tries > 1
                self.now += 0.01
                failure = self.upstream(target, self.now)
                if failure is None:
                    self.breakers.succeed(target, CHAT, self.now, started)
                    return target.provider
                self.breakers.fail(target, CHAT, failure, self.now, started=started)
                step = next_step(
                    ERROR_TABLE[failure.kind],
                    failure,
                    Tried(on_target=tries, targets_left=len(plan.targets) - position - 1),
                    RetryPolicy(),
                    now=self.now,
                    deadline=deadline,
                    random=self.dice.random(),
                    budget=self.budgets[target.provider],
                )
                if isinstance(step, Stop):
                    return None
                if not isinstance(step, SameTarget):
                    break
                self.now += step.after
        return None


def down(kind: ErrorKind = ErrorKind.UNAVAILABLE, retry_after: float | None = None) -> Failure:
    return Failure(kind=kind, message="down", retry_after=retry_after)


@pytest.mark.parametrize("seed", range(3))
def test_five_percent_failures_reach_no_caller_and_leave_the_breaker_closed(seed: int) -> None:
    dice = random.Random(seed)
    world = World(lambda target, now: down() if target.provider == "first" and dice.random() < 0.05 else None, seed)
    served = Counter(world.ask() for _ in range(10_000))
    assert served[None] == 0
    assert world.breakers.state("first chat") == "closed"
    assert served["first"] > 9_900


def test_a_dead_provider_costs_a_few_attempts_and_is_found_again_after_it_recovers() -> None:
    world = World(lambda target, now: down() if target.provider == "first" and 1000 < now < 1300 else None)
    served = Counter[str | None]()
    while world.now < 1250:
        served[world.ask()] += 1
    assert served[None] == 0
    assert world.attempts["first"] < 20, "three to open it, then one probe at the end of each cooldown"
    while world.now < 1600:
        world.ask()
    assert world.ask() == "first"


def test_retries_of_a_failing_provider_stay_within_their_budget() -> None:
    dice = random.Random(1)
    world = World(lambda target, now: down() if dice.random() < 0.4 else None)
    for _ in range(5000):
        world.ask()
        world.now += 0.001
    for name in ("first", "second"):
        firsts = world.attempts[name] - world.retries[name]
        assert world.retries[name] <= firsts * 0.2 + 10 + (world.now - 1000) * 0.5


def test_a_rate_limit_with_retry_after_sends_traffic_elsewhere_just_as_long() -> None:
    world = World(
        lambda target, now: (
            down(ErrorKind.RATE_LIMITED, 1020 - now) if target.provider == "first" and now < 1020 else None
        )
    )
    while world.now < 1019:
        assert world.ask() == "second"
    assert world.attempts["first"] == 1
    world.now = 1020.0
    assert world.ask() == "first"


def test_when_everything_is_down_every_request_still_tries_something() -> None:
    world = World(lambda target, now: down())
    for _ in range(50):
        before = sum(world.attempts.values())
        assert world.ask() is None
        assert sum(world.attempts.values()) > before
