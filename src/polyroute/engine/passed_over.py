"""Targets that were left out because there was no room for a request: they are come back to when all others failed."""

from __future__ import annotations

from collections.abc import Mapping

from polyroute.engine.limits import estimate_tokens
from polyroute.engine.runtime import LiveProvider
from polyroute.ports import Call
from polyroute.routing.filters import held_back
from polyroute.types.plans import Plan, Target


class PassedOver:
    """Those of one request: of its plan, and those that were passed over since."""

    __slots__ = ("_revisited", "targets")

    def __init__(self, plan: Plan) -> None:
        self.targets = held_back(plan) if plan.drops else []
        self._revisited = False

    def add(self, target: Target) -> None:
        """One for which there was no room just now; what was come back to already is not come back to again."""
        if not self._revisited:
            self.targets.append(target)

    def take(self) -> list[Target]:
        """All of them, in no better order than the plan's, and for the last time."""
        passed, self.targets = self.targets, []
        return passed

    def revisit(self, providers: Mapping[str, LiveProvider], call: Call, now: float) -> list[Target]:
        """All of them, for the last time: those that have room by now go first, and the one that will have it soonest goes
        last, for the last is waited for."""
        tokens = estimate_tokens(call)
        self._revisited = True
        waits = []
        for target in self.take():
            refused = providers[target.provider].access.refusal(target.model, tokens, now)
            waits.append((target, refused is not None, 0.0 if refused is None else -refused.retry_after))
        return [target for target, *_ in sorted(waits, key=lambda one: one[1:])]
