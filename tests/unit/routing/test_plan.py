"""Which targets a request is given, in which order, and what is said of the others."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyroute.routing.breaker import Breaker, BreakerSettings
from polyroute.routing.breakers import Breakers, breaker_key
from polyroute.routing.candidates import Candidate, Facts, PlanRequest, RouteRules
from polyroute.routing.filters import held_back
from polyroute.routing.plan import RoutePlanner, plan
from polyroute.routing.planners import refusal
from polyroute.routing.policies import POLICIES, TargetFacts, Terms
from polyroute.types.errors import ErrorKind, Failure, PolyrouteError
from polyroute.types.operations import Capability, Dialect, Operation, ProviderKind
from polyroute.types.plans import Plan, Target

RULES = RouteRules(route="text", operation=Operation.CHAT)
CHAT = PlanRequest(dialect=Dialect.OPENAI_CHAT)
CALM = Facts(now=1000.0)


def one(provider: str, model: str = "m", **more: object) -> Candidate:
    known: dict[str, object] = {
        "operations": frozenset({Operation.CHAT}),
        "dialects": frozenset({Dialect.OPENAI_CHAT}),
    }
    return Candidate(target=Target(provider, model), **(known | more))  # type: ignore[arg-type]  # keywords of Candidate


def names(found: Plan) -> list[str]:
    return [str(target) for target in found.targets]


def open_breaker(until: float) -> Breaker:
    breaker = Breaker(BreakerSettings(cooldown=60))
    for _ in range(3):
        breaker.fail(until - 60, cause="timeout")
    return breaker


def test_lower_priority_first_unnumbered_last_then_the_fallbacks_once_each() -> None:
    found = plan(
        CHAT,
        [
            one("c"),
            one("b", terms=Terms(priority=2)),
            one("a", terms=Terms(priority=1)),
            one("f", fallback=True),
            one("a", terms=Terms(priority=1), fallback=True),
            one("f", fallback=True),
        ],
        CALM,
        RULES,
    )
    assert names(found) == ["a/m", "b/m", "c/m", "f/m"]
    assert found.scores == (1, 2, None, None)
    assert found.policy == "priority"
    assert not found.probe


@pytest.mark.parametrize(
    ("candidate", "request_", "cause", "words"),
    [
        (one("x", obstacle="provider x is not on: no credential"), CHAT, "disabled", "no credential"),
        (one("x", enabled=False), CHAT, "disabled", "switched off"),
        (one("x", operations=frozenset({Operation.IMAGE})), CHAT, "operation", "does not serve chat"),
        (one("x", dialects=frozenset({Dialect.OPENAI_IMAGES})), CHAT, "operation", "does not speak openai_chat"),
        (one("x", kind=ProviderKind.GATEWAY), CHAT, "kind", "no gateway providers"),
        (
            one("x", capabilities=frozenset({Capability.STREAMING})),
            PlanRequest(dialect=Dialect.OPENAI_CHAT, needs=frozenset({Capability.TOOLS, Capability.VISION})),
            "capability",
            "cannot do tools, vision",
        ),
        (
            one("x", tags=frozenset({"us"})),
            PlanRequest(dialect=Dialect.OPENAI_CHAT, require=frozenset({"eu"})),
            "requirement",
            "lacks required eu",
        ),
        (
            one("x"),
            PlanRequest(dialect=Dialect.OPENAI_CHAT, allowed=frozenset({"ok", "x/other"})),
            "permission",
            "key does not allow",
        ),
        (
            one("x", context=8000),
            PlanRequest(dialect=Dialect.OPENAI_CHAT, tokens=7900, output_tokens=200),
            "context",
            "8000 tokens is too small for about 8100",
        ),
        (
            one("x", terms=Terms(input_price=1.0, output_price=1.0)),
            PlanRequest(dialect=Dialect.OPENAI_CHAT, budget=0.5),
            "budget",
            "over the budget of 0.500000 USD",
        ),
    ],
)
def test_every_filter_drops_with_its_reason(
    candidate: Candidate, request_: PlanRequest, cause: str, words: str
) -> None:
    rules = RouteRules(route="text", operation=Operation.CHAT, kinds=(ProviderKind.DIRECT,))
    good = one("ok", tags=frozenset({"eu"}), context=128_000)
    found = plan(request_, [candidate, good], CALM, rules)
    assert names(found) == ["ok/m"]
    assert [(drop.target, drop.cause) for drop in found.drops] == [("x/m", cause)]
    assert words in found.drops[0].reason


def test_chat_reaches_any_chat_dialect_and_media_only_its_own() -> None:
    anthropic = one("anthropic", dialects=frozenset({Dialect.ANTHROPIC_MESSAGES}))
    assert names(plan(CHAT, [anthropic], CALM, RULES)) == ["anthropic/m"]
    images = RouteRules(route="image", operation=Operation.IMAGE)
    maker = one("maker", operations=frozenset({Operation.IMAGE}), dialects=frozenset({Dialect.OPENAI_IMAGES}))
    assert names(plan(PlanRequest(dialect=Dialect.OPENAI_IMAGES), [maker], CALM, images)) == ["maker/m"]
    assert names(plan(PlanRequest(dialect=Dialect.OPENAI_IMAGE_EDITS), [maker], CALM, images)) == []


def test_unknown_capabilities_and_contexts_are_left_to_the_provider() -> None:
    request = PlanRequest(dialect=Dialect.OPENAI_CHAT, needs=frozenset(Capability), tokens=10_000_000)
    assert names(plan(request, [one("unknown")], CALM, RULES)) == ["unknown/m"]


def test_a_key_that_may_use_the_route_may_use_all_of_its_targets() -> None:
    request = PlanRequest(dialect=Dialect.OPENAI_CHAT, allowed=frozenset({"text"}))
    assert names(plan(request, [one("a"), one("b")], CALM, RULES)) == ["a/m", "b/m"]
    narrow = PlanRequest(dialect=Dialect.OPENAI_CHAT, allowed=frozenset({"a", "b/m"}))
    assert names(plan(narrow, [one("a"), one("b"), one("b", "n")], CALM, RULES)) == ["a/m", "b/m"]


def test_an_estimate_never_refuses_a_request_the_longest_context_stays() -> None:
    request = PlanRequest(dialect=Dialect.OPENAI_CHAT, tokens=500_000)
    found = plan(request, [one("small", context=8_000), one("large", context=200_000)], CALM, RULES)
    assert names(found) == ["large/m"]
    assert [drop.target for drop in found.drops] == ["small/m"]


def test_an_open_breaker_drops_its_target_until_the_cooldown_is_over() -> None:
    breakers = {breaker_key("a", Operation.CHAT): open_breaker(1042.0)}
    planner = RoutePlanner(RULES, [one("a"), one("b")])
    found = planner.plan(CHAT, Facts(now=1000.0, breakers=breakers))
    assert names(found) == ["b/m"]
    assert found.drops[0].reason == "breaker open for another 42.0 s after timeout"
    assert names(planner.plan(CHAT, Facts(now=1042.0, breakers=breakers))) == ["a/m", "b/m"]


def test_a_models_breaker_spares_the_providers_other_models() -> None:
    breakers = {breaker_key("a", Operation.CHAT, "m"): open_breaker(1042.0)}
    found = plan(CHAT, [one("a"), one("a", "n")], Facts(now=1000.0, breakers=breakers), RULES)
    assert names(found) == ["a/n"]


def test_when_all_are_open_the_one_that_reopens_first_is_probed() -> None:
    breakers = {
        breaker_key("a", Operation.CHAT): open_breaker(1050.0),
        breaker_key("b", Operation.CHAT): open_breaker(1010.0),
        breaker_key("b", Operation.CHAT, "m"): open_breaker(1045.0),
        breaker_key("f", Operation.CHAT): open_breaker(1030.0),
    }
    found = plan(CHAT, [one("a"), one("b"), one("f", fallback=True)], Facts(now=1000.0, breakers=breakers), RULES)
    assert found.probe
    assert names(found) == ["f/m"]
    assert [drop.target for drop in found.drops] == ["a/m", "b/m"]


def test_an_open_main_target_leaves_the_fallback_and_no_probe() -> None:
    breakers = {breaker_key("a", Operation.CHAT): open_breaker(1050.0)}
    found = plan(CHAT, [one("a"), one("f", fallback=True)], Facts(now=1000.0, breakers=breakers), RULES)
    assert names(found) == ["f/m"]
    assert not found.probe


def test_targets_without_room_are_left_out_while_others_are_left() -> None:
    planner = RoutePlanner(RULES, [one("a"), one("b"), one("c", fallback=True)])
    found = planner.plan(CHAT, Facts(now=1000.0, limited={"a/m": "full"}))
    assert names(found) == ["b/m", "c/m"]
    assert [(drop.target, drop.reason, drop.cause) for drop in found.drops] == [("a/m", "full", "limit")]
    assert [str(target) for target in held_back(found)] == ["a/m"]
    assert names(planner.plan(CHAT, CALM)) == ["a/m", "b/m", "c/m"]


def test_when_no_target_has_room_all_stay_in_their_order_to_be_waited_for() -> None:
    planner = RoutePlanner(RULES, [one("a"), one("b"), one("c", fallback=True)])
    broken = {breaker_key("c", Operation.CHAT): open_breaker(1060.0)}
    found = planner.plan(CHAT, Facts(now=1000.0, breakers=broken, limited={"a/m": "full", "b/m": "full"}))
    assert names(found) == ["a/m", "b/m"]
    assert [drop.cause for drop in found.drops] == ["breaker"]
    assert found.notes == ("every target is at its limit: room is waited for",)
    assert not found.settled


def test_kinds_restrict_and_order() -> None:
    rules = RouteRules(route="text", operation=Operation.CHAT, kinds=(ProviderKind.LOCAL, ProviderKind.DIRECT))
    mixed = [
        one("direct", terms=Terms(priority=1, input_price=1.0, output_price=1.0)),
        one("gateway", kind=ProviderKind.GATEWAY),
        one("local", kind=ProviderKind.LOCAL, terms=Terms(priority=9, input_price=2.0, output_price=2.0)),
    ]
    for policy in ("priority", "cheapest"):
        request = PlanRequest(dialect=Dialect.OPENAI_CHAT, policy=policy)
        assert names(plan(request, mixed, CALM, rules)) == ["local/m", "direct/m"]


def test_a_small_budget_goes_to_the_cheapest_and_drops_what_exceeds_it() -> None:
    rules = RouteRules(route="text", operation=Operation.CHAT, low_budget=0.10)
    prices = [
        one("dear", terms=Terms(priority=1, input_price=1e-4, output_price=1e-4)),
        one("fair", terms=Terms(priority=2, input_price=2e-5, output_price=2e-5)),
        one("cheap", terms=Terms(priority=3, input_price=1e-5, output_price=1e-5)),
        one("unknown", terms=Terms(priority=4)),
    ]
    request = PlanRequest(dialect=Dialect.OPENAI_CHAT, tokens=1000, output_tokens=1000, budget=0.05)
    found = plan(request, prices, CALM, rules)
    assert found.policy == "cheapest"
    assert names(found) == ["cheap/m", "fair/m", "unknown/m"]
    assert [drop.cause for drop in found.drops] == ["budget"]
    rich = PlanRequest(dialect=Dialect.OPENAI_CHAT, tokens=1000, output_tokens=1000, budget=5.0)
    assert names(plan(rich, prices, CALM, rules))[0] == "dear/m"


def test_a_request_can_choose_its_policy_and_a_wrong_name_is_refused_with_the_nearest() -> None:
    busy = {"a/m": TargetFacts(in_flight=5), "b/m": TargetFacts(in_flight=1)}
    request = PlanRequest(dialect=Dialect.OPENAI_CHAT, policy="least_busy")
    assert names(plan(request, [one("a"), one("b")], Facts(now=0, targets=busy), RULES)) == ["b/m", "a/m"]
    with pytest.raises(PolyrouteError, match="Did you mean `cheapest`") as refused:
        plan(PlanRequest(dialect=Dialect.OPENAI_CHAT, policy="cheepest"), [one("a")], CALM, RULES)
    assert refused.value.status == 400
    with pytest.raises(PolyrouteError, match="Unknown policy"):
        RoutePlanner(RouteRules(route="r", operation=Operation.CHAT, policy="nonsense"), [])


def test_a_callers_fallbacks_replace_the_routes_own() -> None:
    planner = RoutePlanner(RULES, [one("a"), one("f", fallback=True)]).with_fallbacks([one("g"), one("a")])
    assert names(planner.plan(CHAT, CALM)) == ["a/m", "g/m"]


@pytest.mark.parametrize(
    ("candidates", "kind"),
    [
        ([one("a", enabled=False)], ErrorKind.UNAVAILABLE),
        ([one("a", capabilities=frozenset({Capability.LOGPROBS})), one("b", enabled=False)], ErrorKind.UNSUPPORTED),
        ([], ErrorKind.UNAVAILABLE),
    ],
)
def test_an_empty_plan_becomes_an_error_that_names_each_target(candidates: list[Candidate], kind: ErrorKind) -> None:
    request = PlanRequest(dialect=Dialect.OPENAI_CHAT, needs=frozenset({Capability.TOOLS}))
    error = refusal(plan(request, candidates, CALM, RULES))
    assert error.kind is kind
    assert "`text`" in error.message
    for candidate in candidates:
        assert str(candidate.target) in error.message


def test_a_planner_tells_which_capabilities_and_whether_length_matter() -> None:
    seeing, blind = frozenset({Capability.TOOLS, Capability.VISION}), frozenset({Capability.TOOLS})
    planner = RoutePlanner(RULES, [one("a", capabilities=seeing), one("b", capabilities=blind, context=10), one("c")])
    assert Capability.VISION in planner.contested
    assert Capability.TOOLS not in planner.contested
    assert planner.sized
    unknown = RoutePlanner(RULES, [one("a"), one("b")])
    assert unknown.contested == frozenset()
    assert not unknown.sized


def test_shapes_that_callers_make_up_do_not_fill_the_memory() -> None:
    planner = RoutePlanner(RULES, [one("a")])
    for number in range(2000):
        planner.plan(PlanRequest(dialect=Dialect.OPENAI_CHAT, require=frozenset({f"made-up-{number}"})), CALM)
    assert len(planner._views) <= 256


def test_planning_twenty_targets_stays_within_its_bar() -> None:
    """The bar is 20 µs; the test allows five times that for a busy machine, and takes the best of several rounds."""
    all_of_them = [one(f"p{number}", context=128_000, terms=Terms(priority=number)) for number in range(20)]
    breakers = {breaker_key(f"p{number}", Operation.CHAT): open_breaker(1042.0) for number in range(3)}
    facts, request = Facts(now=1000.0, breakers=breakers), PlanRequest(dialect=Dialect.OPENAI_CHAT, tokens=100)
    for policy in POLICIES:
        planner = RoutePlanner(RouteRules(route="text", operation=Operation.CHAT, policy=policy), all_of_them)
        best = min(_timed(planner, request, facts) for _ in range(5))
        assert best < 100e-6, policy


def _timed(planner: RoutePlanner, request: PlanRequest, facts: Facts) -> float:
    begun = time.perf_counter()
    for _ in range(200):
        planner.plan(request, facts)
    return (time.perf_counter() - begun) / 200


_CANDIDATES = st.lists(
    st.builds(
        lambda provider, model, enabled, capable, context, number, fallback: one(
            provider,
            model,
            enabled=enabled,
            capabilities=capable,
            context=context,
            terms=Terms(priority=number),
            fallback=fallback,
        ),
        st.sampled_from("abcd"),
        st.sampled_from("mn"),
        st.booleans(),
        st.none() | st.frozensets(st.sampled_from([Capability.TOOLS, Capability.VISION])),
        st.none() | st.integers(1, 2000),
        st.none() | st.integers(0, 3),
        st.booleans(),
    ),
    max_size=8,
)


@settings(max_examples=150, deadline=None)
@given(
    candidates=_CANDIDATES,
    policy=st.sampled_from(list(POLICIES)),
    needs=st.frozensets(st.sampled_from([Capability.TOOLS, Capability.VISION])),
    tokens=st.none() | st.integers(0, 3000),
    broken=st.sets(st.sampled_from([f"{provider} {model}" for provider in "abcd" for model in ("", "m", "n")])),
    seed=st.integers(0, 2**32),
)
def test_every_target_is_planned_or_dropped_exactly_once(
    candidates: list[Candidate],
    policy: str,
    needs: frozenset[Capability],
    tokens: int | None,
    broken: set[str],
    seed: int,
) -> None:
    dice, breakers = random.Random(seed), Breakers()
    for name in broken:
        provider, model = name.split(" ")
        outage = Failure(
            kind=ErrorKind.UNAVAILABLE if not model else ErrorKind.RATE_LIMITED,
            message="",
            retry_after=dice.random() * 90,
        )
        for _ in range(3):
            breakers.fail(Target(provider, model), Operation.CHAT, outage, 1000.0)
    request = PlanRequest(dialect=Dialect.OPENAI_CHAT, needs=needs, tokens=tokens, policy=policy)
    planner = RoutePlanner(RULES, candidates)
    facts = Facts(now=1030.0, random=dice.random(), breakers=breakers.restricted)
    found = planner.plan(request, facts)
    distinct = {str(candidate.target) for candidate in candidates}
    assert sorted(names(found) + [drop.target for drop in found.drops]) == sorted(distinct)
    assert len(found.scores) == len(found.targets)
    by_name = {str(candidate.target): candidate for candidate in planner.candidates}
    usable = [
        one for one in by_name.values() if one.enabled and (one.capabilities is None or needs <= one.capabilities)
    ]
    assert bool(found.targets) == bool(usable), "a target that could serve is never refused for its state"
    for target in found.targets:
        assert by_name[str(target)] in usable
        allowed = breakers.begin(target, Operation.CHAT, 1030.0, probe=found.probe)
        assert allowed or any(other.provider == target.provider for other in found.targets if other != target)
    flags = [by_name[name].fallback for name in names(found)]
    assert flags == sorted(flags), "fallbacks come last"
    assert planner.plan(request, facts).targets == found.targets or breakers.restricted
