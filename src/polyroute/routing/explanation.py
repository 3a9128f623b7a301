"""A decision in words that people and programs can read."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from polyroute.routing.breakers import breaker_key
from polyroute.routing.decision import Decision
from polyroute.types.plans import Plan

_LONGEST_SUMMARY = 1000
_UNSAFE = re.compile(r"[^\x20-\x7e]")


def explain(decision: Decision) -> dict[str, Any]:
    """Everything that a decision knows, by name: what was asked, the targets in order, those that were dropped, and what was
    looked at."""
    drops = {drop.target: drop for drop in decision.drops}
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
        "targets": [
            {**_named(name), "score": score, **_looked_at(decision, name)}
            for name, score in zip(decision.targets, decision.scores, strict=True)
        ],
        "drops": [
            {**_named(name), "reason": drop.reason, "cause": drop.cause, **_looked_at(decision, name)}
            for name, drop in drops.items()
        ],
        "notes": list(decision.notes),
        "probe": decision.probe,
    }
    if decision.chain is not None:
        found["chain"] = decision.chain
    if decision.detours:
        found["detours"] = [explain(detour) for detour in decision.detours]
    return found


def _named(name: str) -> dict[str, Any]:
    provider, _, model = name.partition("/")
    return {"target": name, "provider": provider, "model": model}


def _looked_at(decision: Decision, name: str) -> dict[str, Any]:
    """What was known of one target at that moment, as far as anybody looked at it."""
    found: dict[str, Any] = {}
    provider, _, model = name.partition("/")
    keys = (breaker_key(provider, decision.operation), breaker_key(provider, decision.operation, model))
    if breakers := {key: decision.breakers[key].state for key in keys if key in decision.breakers}:
        found["breakers"] = breakers
    if name in decision.limited:
        found["limit"] = decision.limited[name]
    seen = decision.observed.get(name)
    if seen is not None:
        found["observed"] = {
            "seconds_to_first_token": seen.ttft,
            "tokens_per_second": seen.tokens_per_second,
            "success_rate": seen.success_rate,
            "in_flight": seen.in_flight,
        }
    price = decision.prices.get(name)
    if price is not None:
        found["price"] = dict(zip(("input_token", "output_token", "request"), price, strict=True))
    return found


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
