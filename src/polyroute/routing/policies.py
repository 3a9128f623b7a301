"""How a route orders its targets: each policy is a pure function from facts to scores, lower first.

To add one: write a function `(terms, facts, inputs) -> scores`, give it its row in `POLICIES` and its name in
`catalog.model.Policy`, and add its case to the table test. A score of None means that the policy knows nothing of that
target; such targets come last. Equal scores keep the configured order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from difflib import get_close_matches

import msgspec

from polyroute.catalog.model import BalanceWeights
from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.usage import Price


class Terms(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What is declared of a target. Prices in USD for one token or request, gateway mark-up included; None is unknown.
    `priority`: lower first, None after all numbers. `free`: nothing is charged (local, or a free variant)."""

    priority: float | None = None
    weight: float = 1.0
    input_price: float | None = None
    output_price: float | None = None
    request_price: float | None = None
    free: bool = False


class TargetFacts(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What was observed of a target: seconds to the first token, tokens a second and success rate (0 to 1) as decayed
    means, when the last observation was made, and the requests it is serving now."""

    ttft: float | None = None
    tokens_per_second: float | None = None
    success_rate: float | None = None
    observed_at: float | None = None
    in_flight: int = 0


NO_FACTS = TargetFacts()
_STEP = 2.0**-53


class PolicyInputs(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What policies need besides facts. `random` is uniform in [0, 1); tokens are estimates.

    `exploration` is the share of requests that `fastest` spends on the target it knows least of; `half_life` the seconds
    after which an observation is only half believed.
    """

    now: float = 0.0
    random: float = 0.0
    input_tokens: int = 1000
    output_tokens: int = 500
    exploration: float = 0.05
    half_life: float = 300.0
    balance: BalanceWeights = BalanceWeights()


Scores = list[float | None]
PolicyFunction = Callable[[Sequence[Terms], Sequence[TargetFacts], PolicyInputs], Scores]


def terms_of_price(price: Price | None, *, mark_up: float = 1.0) -> tuple[float | None, float | None, float | None]:
    """A rate card as (input, output, request) prices for `Terms`: a scale to order by, never to bill with."""
    if price is None:
        return None, None, None
    scale = mark_up / 1_000_000
    return (
        None if price.input is None else float(price.input) * scale,
        None if price.output is None else float(price.output) * scale,
        None if price.request is None else float(price.request) * mark_up,
    )


def expected_cost(terms: Terms, inputs: PolicyInputs) -> float | None:
    """USD that this request will probably cost at a target; None when its price is unknown."""
    if terms.free:
        return 0.0
    if terms.input_price is None or terms.output_price is None:
        return terms.request_price if terms.input_price is None and terms.output_price is None else None
    cost = terms.input_price * inputs.input_tokens + terms.output_price * inputs.output_tokens
    return cost + (terms.request_price or 0.0)


def expected_seconds(facts: TargetFacts, inputs: PolicyInputs) -> float | None:
    """Seconds until a whole answer, the tries that fail included; None when no speed was observed. Where answers came whole
    their time to the first token is unknown, and part of their tokens a second."""
    if facts.ttft is None and facts.tokens_per_second is None:
        return None
    seconds = facts.ttft or 0.0
    if facts.tokens_per_second:
        seconds += inputs.output_tokens / facts.tokens_per_second
    if facts.success_rate is not None:
        seconds /= max(facts.success_rate, 0.01)
    return seconds


# ---------------------------------------------------------------- the policies


def priority(terms: Sequence[Terms], facts: Sequence[TargetFacts], inputs: PolicyInputs) -> Scores:
    """The lower number first; those without a number last."""
    return [term.priority for term in terms]


def weighted(terms: Sequence[Terms], facts: Sequence[TargetFacts], inputs: PolicyInputs) -> Scores:
    """At random, each first in proportion to its weight; weight 0 only as a last resort.

    A race of exponential clocks: the first is drawn by weight, the second by weight among the rest, and so on.
    """
    mixed, log, scores = int(inputs.random * 2**53), math.log, []
    for term in terms:
        # The finalizer of SplitMix64 gives a number in (0, 1] for each position; written out, because calling costs more.
        mixed = (mixed + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        value = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
        uniform = (((value ^ (value >> 31)) >> 11) + 1) * _STEP
        scores.append(-log(uniform) / term.weight if term.weight > 0 else None)
    return scores


def cheapest(terms: Sequence[Terms], facts: Sequence[TargetFacts], inputs: PolicyInputs) -> Scores:
    """The lowest expected cost; an unknown price last."""
    return [expected_cost(term, inputs) for term in terms]


def fastest(terms: Sequence[Terms], facts: Sequence[TargetFacts], inputs: PolicyInputs) -> Scores:
    """The shortest expected time. What was seen long ago fades towards the best known time, so that nobody is banished for
    good; now and then the target that is known least goes first."""
    known = [expected_seconds(fact, inputs) for fact in facts]
    best = min((seconds for seconds in known if seconds is not None), default=0.0)
    trust = [_trust(fact, inputs) for fact in facts]
    scores: Scores = [
        best if seconds is None else best + (seconds - best) * belief
        for seconds, belief in zip(known, trust, strict=True)
    ]
    if len(scores) > 1 and inputs.random < inputs.exploration:
        scores[trust.index(min(trust))] = -1.0
    return scores


def balanced(terms: Sequence[Terms], facts: Sequence[TargetFacts], inputs: PolicyInputs) -> Scores:
    """The lowest weighted sum of cost, latency and failure rate, each relative to the worst; the unknown counts as the
    mean of what is known."""
    weights = inputs.balance
    costs = _relative([expected_cost(term, inputs) for term in terms])
    times = _relative([expected_seconds(fact, inputs) for fact in facts])
    failures = _relative([None if fact.success_rate is None else 1.0 - fact.success_rate for fact in facts], scale=1.0)
    total = weights.cost + weights.latency + weights.success
    return [
        (weights.cost * cost + weights.latency * time + weights.success * failure) / total
        for cost, time, failure in zip(costs, times, failures, strict=True)
    ]


def least_busy(terms: Sequence[Terms], facts: Sequence[TargetFacts], inputs: PolicyInputs) -> Scores:
    """The fewest requests under way for its weight."""
    return [fact.in_flight / term.weight if term.weight > 0 else None for term, fact in zip(terms, facts, strict=True)]


def free_first(terms: Sequence[Terms], facts: Sequence[TargetFacts], inputs: PolicyInputs) -> Scores:
    """What charges nothing first, then the configured order."""
    return [0.0 if expected_cost(term, inputs) == 0.0 else 1.0 for term in terms]


POLICIES: dict[str, PolicyFunction] = {
    "priority": priority,
    "weighted": weighted,
    "cheapest": cheapest,
    "fastest": fastest,
    "balanced": balanced,
    "least_busy": least_busy,
    "free_first": free_first,
}


def check_policy(name: str) -> PolicyFunction:
    """The policy of that name. Raises PolyrouteError(invalid_request) with the nearest name."""
    found = POLICIES.get(name)
    if found is None:
        near = get_close_matches(name.lower(), POLICIES, n=1, cutoff=0.5)
        hint = f" Did you mean `{near[0]}`?" if near else f" There are: {', '.join(POLICIES)}."
        raise PolyrouteError(ErrorKind.INVALID_REQUEST, f"Unknown policy `{name[:80]}`.{hint}", param="policy")
    return found


def order_by(scores: Scores) -> list[int]:
    """Positions in the order of their scores: None last, equal ones as they were."""
    return sorted(range(len(scores)), key=lambda position: math.inf if (score := scores[position]) is None else score)


# ---------------------------------------------------------------- inside


def _trust(facts: TargetFacts, inputs: PolicyInputs) -> float:
    """How far an observation is believed, 0 to 1."""
    if facts.observed_at is None or (facts.ttft is None and facts.tokens_per_second is None):
        return 0.0
    return float(0.5 ** (max(inputs.now - facts.observed_at, 0.0) / inputs.half_life))


def _relative(values: Scores, scale: float | None = None) -> list[float]:
    """Values in proportion to the largest (or to `scale`); the unknown as the mean of the known, 0 when none is."""
    known = [value for value in values if value is not None]
    top = scale or max(known, default=0.0) or 1.0
    mean = sum(known) / len(known) if known else 0.0
    return [(mean if value is None else value) / top for value in values]
