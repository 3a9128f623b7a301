"""A stored decision reproduces its plan exactly under the same configuration, and shows the difference under another."""

from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyroute.routing.breakers import Breakers
from polyroute.routing.candidates import Candidate, Facts, PlanRequest, RouteRules
from polyroute.routing.decision import decode_decision, encode_decision, record, recorded_plan, replay
from polyroute.routing.explanation import explain, summarise
from polyroute.routing.observations import Observations
from polyroute.routing.plan import RoutePlanner
from polyroute.routing.policies import POLICIES, Terms
from polyroute.types.errors import ErrorKind, Failure
from polyroute.types.operations import Capability, Dialect, Operation, ProviderKind
from polyroute.types.plans import Target


def candidates(dice: random.Random) -> list[Candidate]:
    return [
        Candidate(
            target=Target(f"p{number}", "vendor/model"),
            operations=frozenset({Operation.CHAT}),
            dialects=frozenset({Dialect.OPENAI_CHAT}),
            kind=dice.choice(list(ProviderKind)),
            enabled=dice.random() > 0.1,
            capabilities=frozenset({Capability.TOOLS}) if dice.random() > 0.3 else frozenset({Capability.VISION}),
            context=dice.choice([None, 1000, 100_000]),
            terms=Terms(
                priority=dice.choice([None, 1.0, 2.0]),
                weight=dice.choice([0.0, 1.0, 3.0]),
                input_price=dice.choice([None, dice.random() / 1e5]),
                output_price=dice.random() / 1e5,
            ),
            fallback=dice.random() > 0.7,
        )
        for number in range(6)
    ]


@settings(max_examples=120, deadline=None)
@given(seed=st.integers(0, 2**32), policy=st.sampled_from(list(POLICIES)))
def test_every_decision_replays_to_the_same_plan_after_storage(seed: int, policy: str) -> None:
    dice, breakers, seen = random.Random(seed), Breakers(), Observations()
    rules = RouteRules(
        route="text", operation=Operation.CHAT, policy=policy, low_budget=0.001,
        same_model=dice.choice(["listed", "direct", "price", "latency"]),
        needs=frozenset({Capability.TOOLS}) if dice.random() > 0.8 else frozenset(),
    )  # fmt: skip
    listed = candidates(dice)
    for candidate in listed:
        seen.end(str(candidate.target), dice.random() * 900, success=dice.random() > 0.2, ttft=dice.random())
        outage = Failure(kind=dice.choice([ErrorKind.UNAVAILABLE, ErrorKind.RATE_LIMITED]), message="")
        for _ in range(dice.choice([0, 0, 3])):
            breakers.fail(candidate.target, Operation.CHAT, outage, 1000.0)
    request = PlanRequest(
        dialect=Dialect.OPENAI_CHAT,
        needs=frozenset({Capability.TOOLS}) if dice.random() > 0.5 else frozenset(),
        tokens=dice.choice([None, 500, 5000]),
        budget=dice.choice([None, None, 0.0005, 1.0]),
        policy=dice.choice([None, None, "cheapest"]),
    )
    facts = Facts(
        now=1000.0 + dice.random() * 90, random=dice.random(), breakers=breakers.restricted, targets=seen.facts,
        limited={str(one.target): "its limit is reached" for one in listed if dice.random() > 0.8},
    )  # fmt: skip
    planner = RoutePlanner(rules, listed)
    plan = planner.plan(request, facts)
    stored = encode_decision(record(planner, request, facts, plan))
    for candidate in listed:  # the world moves on; the decision does not
        breakers.fail(candidate.target, Operation.CHAT, Failure(kind=ErrorKind.TIMEOUT, message=""), facts.now + 1)
        seen.end(str(candidate.target), facts.now + 1, success=False, ttft=9.0)
    decision = decode_decision(stored)
    assert replay(decision, RoutePlanner(rules, listed)) == plan
    assert recorded_plan(decision) == plan
    dearer = [
        msgspec.structs.replace(one, terms=msgspec.structs.replace(one.terms, input_price=dice.random()))
        for one in listed
    ]
    if decision.prices:  # rate cards change, and the decision is replayed at those of its time
        assert replay(decision, RoutePlanner(rules, dearer)) == plan


def test_a_replay_under_another_configuration_shows_what_it_would_have_done() -> None:
    listed = candidates(random.Random(1))
    rules = RouteRules(route="text", operation=Operation.CHAT)
    planner = RoutePlanner(rules, listed)
    request, facts = PlanRequest(dialect=Dialect.OPENAI_CHAT), Facts(now=1.0)
    plan = planner.plan(request, facts)
    decision = decode_decision(encode_decision(record(planner, request, facts, plan)))
    without = [one for one in listed if one.target != plan.targets[0]]
    assert replay(decision, RoutePlanner(rules, without)).targets == plan.targets[1:]


def test_a_decision_of_six_targets_is_small_and_rubbish_is_refused() -> None:
    listed = candidates(random.Random(2))
    planner = RoutePlanner(RouteRules(route="text", operation=Operation.CHAT), listed)
    request, facts = PlanRequest(dialect=Dialect.OPENAI_CHAT), Facts(now=1.0)
    stored = encode_decision(record(planner, request, facts, planner.plan(request, facts)))
    assert len(stored) < 1000
    with pytest.raises(msgspec.MsgspecError):
        decode_decision(b'{"route": "text"}')


def test_an_explanation_names_every_target_once_with_what_was_looked_at() -> None:
    listed, breakers = candidates(random.Random(3)), Breakers()
    for _ in range(3):
        breakers.fail(listed[0].target, Operation.CHAT, Failure(kind=ErrorKind.UNAVAILABLE, message=""), 1.0)
    planner = RoutePlanner(RouteRules(route="text", operation=Operation.CHAT, policy="cheapest"), listed)
    request, facts = PlanRequest(dialect=Dialect.OPENAI_CHAT, tokens=10), Facts(now=2.0, breakers=breakers.restricted)
    decision = record(planner, request, facts, planner.plan(request, facts))
    told = explain(decision)
    names = [one["target"] for one in (*told["targets"], *told["drops"])]
    assert sorted(names) == sorted(planner.names)
    assert told["policy"] == "cheapest"
    [dropped] = [one for one in told["drops"] if one["cause"] == "breaker"]
    assert dropped["breakers"] == {"p0 chat": "open"}
    assert all(one["price"]["output_token"] for one in told["targets"])
    line = summarise(decision)
    assert line.startswith(f"cheapest: {decision.targets[0]} > ")
    assert "p0/vendor/model (breaker open for another" in line


def test_a_summary_fits_into_a_header_whatever_the_targets_are_called() -> None:
    odd = [msgspec.structs.replace(one, target=Target("p", "ü\r\n" * 400)) for one in candidates(random.Random(4))[:1]]
    planner = RoutePlanner(RouteRules(route="text", operation=Operation.CHAT), odd)
    request, facts = PlanRequest(dialect=Dialect.OPENAI_CHAT), Facts(now=2.0)
    line = summarise(record(planner, request, facts, planner.plan(request, facts)))
    assert len(line) == 1000
    assert line.isascii()
    assert line.isprintable()


def test_limits_are_part_of_the_decision_and_of_its_explanation() -> None:
    listed = [
        Candidate(
            target=Target(name, "m"), operations=frozenset({Operation.CHAT}), dialects=frozenset({Dialect.OPENAI_CHAT})
        )
        for name in ("full", "free")
    ]
    planner = RoutePlanner(RouteRules(route="text", operation=Operation.CHAT), listed)
    request = PlanRequest(dialect=Dialect.OPENAI_CHAT)
    words = "its limit of requests a minute is reached, for another 3.0 s"
    facts = Facts(now=1.0, limited={"full/m": words, "stranger/m": "not of this route"})
    plan = planner.plan(request, facts)
    decision = decode_decision(encode_decision(record(planner, request, facts, plan)))
    assert decision.limited == {"full/m": words}
    assert replay(decision, planner) == plan
    [drop] = explain(decision)["drops"]
    assert (drop["target"], drop["cause"], drop["reason"], drop["limit"]) == ("full/m", "limit", words, words)
    assert f"not tried: full/m ({words})" in summarise(decision)
