"""A decision in words that people and programs can read."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from polyroute.routing.decision import Decision
from polyroute.types.plans import Plan

_LONGEST_SUMMARY = 1000
_UNSAFE = re.compile(r"[^\x20-\x7e]")


class Explained(msgspec.Struct, frozen=True, kw_only=True):
    """One target and what became of it. `score` is the policy's, lower is better."""

    target: str
    place: int | None = None
    score: float | None = None
    dropped: str | None = None
    cause: str | None = None
    breakers: tuple[str, ...] = ()
    observed: dict[str, float | int | None] | None = None
    price: dict[str, float | None] | None = None


def explain(decision: Decision) -> dict[str, Any]:
    """Everything that a decision knows, by name: what was asked, what became of each target, and what was looked at."""
    places = {name: place for place, name in enumerate(decision.targets, 1)}
    drops = {drop.target: drop for drop in decision.drops}
    names = dict.fromkeys((*decision.targets, *decision.candidates, *drops))
    scores = dict(zip(decision.targets, decision.scores, strict=False))
    targets = []
    for name in names:
        provider, _, model = name.partition("/")
        keys = (f"{provider} {decision.operation}", f"{provider} {decision.operation} {model}")
        seen, price, drop = decision.observed.get(name), decision.prices.get(name), drops.get(name)
        targets.append(
            Explained(
                target=name,
                place=places.get(name),
                score=scores.get(name),
                dropped=None if drop is None else drop.reason,
                cause=None if drop is None else drop.cause,
                breakers=tuple(f"{key}: {decision.breakers[key].state}" for key in keys if key in decision.breakers),
                observed=None
                if seen is None
                else {
                    "seconds_to_first_token": seen.ttft,
                    "tokens_per_second": seen.tokens_per_second,
                    "success_rate": seen.success_rate,
                    "in_flight": seen.in_flight,
                },
                price=None if price is None else dict(zip(("input", "output", "request"), price, strict=True)),
            )
        )
    found: dict[str, Any] = {
        "route": decision.route,
        "operation": decision.operation,
        "policy": decision.policy,
        "asked": {
            "dialect": decision.dialect,
            "needs": list(decision.needs),
            "require": list(decision.require),
            "estimated_tokens": decision.tokens,
            "output_tokens": decision.output_tokens,
            "budget_usd": decision.budget,
            "budget": decision.money,
            "policy": decision.asked_policy,
            "fallbacks": list(decision.fallbacks),
        },
        "complexity": None if decision.complexity is None else msgspec.to_builtins(decision.complexity),
        "targets": [_without_nothing(msgspec.to_builtins(one)) for one in targets],
        "notes": list(decision.notes),
        "probe": decision.probe,
    }
    if decision.chain is not None:
        found["chain"] = decision.chain
    if decision.detours:
        found["detours"] = [explain(detour) for detour in decision.detours]
    return found


def _without_nothing(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value not in (None, [], ())}


def summarise(decision: Decision) -> str:
    """A decision in one line, fit for a header."""
    parts = [f"{decision.policy}: {' > '.join(decision.targets) or 'no target'}"]
    if decision.complexity is not None:
        parts.append(f"{decision.complexity.level} ({decision.complexity.rule})")
    if decision.money is not None:
        parts.append(f"budget {decision.money}")
    parts += decision.notes
    if decision.probe:
        parts.append("every breaker is open: the least bad is probed")
    for detour in decision.detours:
        parts.append(f"{detour.chain}: {' > '.join(detour.targets) or 'no target'}")
    if decision.drops:
        told = ", ".join(f"{drop.target} ({drop.reason})" for drop in decision.drops)
        parts.append(f"not tried: {told}")
    text = _UNSAFE.sub("?", "; ".join(parts))
    return text if len(text) <= _LONGEST_SUMMARY else text[: _LONGEST_SUMMARY - 3] + "..."


def same_outcome(one: Plan, other: Plan) -> bool:
    """Whether two plans try the same targets in the same order and drop the others for the same causes."""
    return one.targets == other.targets and {(drop.target, drop.cause) for drop in one.drops} == {
        (drop.target, drop.cause) for drop in other.drops
    }
