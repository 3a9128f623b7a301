"""Microseconds to plan a request: 6 and 20 targets, each policy, breakers closed and some open, and the decision record.

Run: python -m benchmarks.planning
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import msgspec

from polyroute.routing.breaker import Breaker, BreakerSettings
from polyroute.routing.breakers import Breakers, breaker_key
from polyroute.routing.candidates import Candidate, Facts, PlanRequest, RouteRules
from polyroute.routing.decision import encode_decision, record
from polyroute.routing.plan import RoutePlanner, plan
from polyroute.routing.policies import POLICIES, TargetFacts, Terms
from polyroute.routing.requirements import requirements_of_fields
from polyroute.types.operations import Capability, Dialect, Operation
from polyroute.types.plans import Target

_ROUNDS = 9
_CALLS = 4000


def measure(call: Callable[[], object], calls: int = _CALLS) -> float:
    """Median microseconds of CPU a call over several rounds."""
    rounds = []
    for _ in range(_ROUNDS):
        begun = time.thread_time()
        for _ in range(calls):
            call()
        rounds.append((time.thread_time() - begun) / calls * 1e6)
    return statistics.median(rounds)


def candidates(count: int) -> list[Candidate]:
    """Targets of as many providers, with prices and contexts."""
    return [
        Candidate(
            target=Target(f"provider{number}", f"vendor/model-{number}"),
            operations=frozenset({Operation.CHAT}),
            dialects=frozenset({Dialect.OPENAI_CHAT}),
            capabilities=frozenset({Capability.STREAMING, Capability.TOOLS}),
            context=128_000,
            terms=Terms(priority=float(number), input_price=1e-6 * (number + 1), output_price=4e-6 * (number + 1)),
        )
        for number in range(count)
    ]


def observed(count: int) -> dict[str, TargetFacts]:
    """Observations of every candidate."""
    return {
        str(one.target): TargetFacts(0.2 + number / 10, 50.0 + number, 0.99, 990.0, number)
        for number, one in enumerate(candidates(count))
    }


def opened(count: int) -> dict[str, Breaker]:
    """Breakers of the first `count` providers, open."""
    found = {}
    for number in range(count):
        breaker = Breaker(BreakerSettings())
        for _ in range(3):
            breaker.fail(999.0, cause="unavailable")
        found[breaker_key(f"provider{number}", Operation.CHAT)] = breaker
    return found


_REQUEST = PlanRequest(dialect=Dialect.OPENAI_CHAT, needs=frozenset({Capability.STREAMING}), tokens=800)


def measure_plan(policy: str, count: int, broken: int) -> float:
    """Microseconds for the plan of a route with so many targets, so many of whose breakers are open."""
    planner = RoutePlanner(RouteRules(route="text", operation=Operation.CHAT, policy=policy), candidates(count))
    facts = Facts(now=1000.0, random=0.5, breakers=opened(broken), targets=observed(count))
    return measure(lambda: planner.plan(_REQUEST, facts))


def main() -> None:
    """Print the table."""
    request = _REQUEST
    print(f"{'µs a plan':44}{'6 targets':>12}{'20 targets':>12}")
    rows: list[tuple[str, Callable[[int], float]]] = []

    def row(policy: str, broken: int) -> Callable[[int], float]:
        return lambda count: measure_plan(policy, count, broken)

    rows.append(("priority, all breakers closed", row("priority", 0)))
    rows.append(("priority, 2 breakers open", row("priority", 2)))
    rows += [(f"{policy}, 2 breakers open", row(policy, 2)) for policy in POLICIES if policy != "priority"]
    rules = RouteRules(route="text", operation=Operation.CHAT)

    def uncached(count: int) -> float:
        all_candidates, facts = candidates(count), Facts(now=1000.0)
        return measure(lambda: plan(request, all_candidates, facts, rules), 400)

    rows.append(("priority, nothing kept from before", uncached))
    for name, run in rows:
        print(f"{name:44}{run(6):12.2f}{run(20):12.2f}")

    breakers, target, breaker = Breakers(), Target("openai", "gpt-4o-mini"), Breaker(BreakerSettings())
    print(f"\n{'µs an event':44}")
    for name, call in (
        ("Breaker.allows, closed", lambda: breaker.allows(1000.0)),
        ("Breaker.succeed, closed", lambda: breaker.succeed(1000.0)),
        ("Breakers.begin, all closed", lambda: breakers.begin(target, Operation.CHAT, 1000.0)),
        ("Breakers.succeed, all closed", lambda: breakers.succeed(target, Operation.CHAT, 1000.0)),
    ):
        print(f"{name:44}{measure(call, 20_000):12.2f}")

    planner, calm = RoutePlanner(rules, candidates(6)), Facts(now=1000.0)
    planned = planner.plan(request, calm)
    print(f"\n{'µs a request':44}")
    print(f"{'record and encode a decision, 6 targets':44}"
          f"{measure(lambda: encode_decision(record(planner, request, calm, planned))):12.2f}")  # fmt: skip
    for kilobytes in (1, 10, 100):
        body = msgspec.json.encode(
            {"model": "text", "messages": [{"role": "user", "content": "word " * (kilobytes * 200)}], "max_tokens": 50}
        )
        fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        taken = measure(lambda: requirements_of_fields(Dialect.OPENAI_CHAT, fields, body, stream=True), 1000)  # noqa: B023
        print(f"{f'requirements of a chat body of {kilobytes} KB':44}{taken:12.2f}")


if __name__ == "__main__":
    main()
