"""What a plan is made from: candidates, the route's rules, the request, and the facts of the moment."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from polyroute.catalog.model import BalanceWeights, SameModel
from polyroute.routing.arbitration import model_identity
from polyroute.routing.breakers import BreakerView, breaker_key
from polyroute.routing.policies import TargetFacts, Terms
from polyroute.types.operations import Capability, Dialect, Operation, ProviderKind
from polyroute.types.plans import Target


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A target that a route names, with everything declared of it.

    `obstacle` is why it can never be used (not configured, no credential). `dialects` are those its provider speaks for
    the operation. `capabilities` and `context` (tokens) are None when unknown: then the provider decides. `tags` are
    regions and data policies (`eu`, `no-training` …). `others` are the provider's models for tasks that this one is not for.
    """

    target: Target
    kind: ProviderKind = ProviderKind.DIRECT
    enabled: bool = True
    obstacle: str | None = None
    operations: frozenset[Operation] = frozenset()
    dialects: frozenset[Dialect] = frozenset()
    capabilities: frozenset[Capability] | None = None
    others: Mapping[Capability, tuple[str, ...]] = {}
    context: int | None = None
    tags: frozenset[str] = frozenset()
    terms: Terms = Terms()
    fallback: bool = False


class RouteRules(msgspec.Struct, frozen=True, kw_only=True):
    """How a route chooses. `kinds`, when not empty, are the only kinds of provider it uses, in this order. `require` are
    tags that every target must have, `needs` capabilities. A request whose budget is below `low_budget` (USD) goes to the
    cheapest. `same_model` orders the targets of one model among themselves."""

    route: str
    operation: Operation
    policy: str = "priority"
    kinds: tuple[ProviderKind, ...] = ()
    require: frozenset[str] = frozenset()
    needs: frozenset[Capability] = frozenset()
    same_model: SameModel = "listed"
    low_budget: float | None = None
    balance: BalanceWeights = BalanceWeights()
    exploration: float = 0.05
    half_life: float = 300.0


class PlanRequest(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a request asks of its targets.

    `tokens` is the estimated size of the prompt, `output_tokens` the most it may produce, `budget` in USD. `allowed` are
    the names that the caller's key may use: the route's own, or `provider`, or `provider/model`; None is all of them.
    `policy` overrides the route's.
    """

    dialect: Dialect
    needs: frozenset[Capability] = frozenset()
    require: frozenset[str] = frozenset()
    allowed: frozenset[str] | None = None
    tokens: int | None = None
    output_tokens: int | None = None
    budget: float | None = None
    policy: str | None = None


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """The state of the world for one plan. `random` is uniform in [0, 1). `breakers` are those that are not closed and at
    ease (`Breakers.restricted`); `targets` are observations by `provider/model` (`Observations.facts`); `limited` are why
    targets may not be asked just now, in words, because of limits that are reached or benched credentials."""

    now: float
    random: float = 0.5
    breakers: Mapping[str, BreakerView] = msgspec.field(default_factory=dict)
    targets: Mapping[str, TargetFacts] = msgspec.field(default_factory=dict)
    limited: Mapping[str, str] = msgspec.field(default_factory=dict)


def target_name(target: Target) -> str:
    """`provider/model`, or the provider alone where no model is known (a target that can never be used)."""
    return f"{target.provider}/{target.model}" if target.model else target.provider


class Entry:
    """A candidate with what planning reads of it every time."""

    __slots__ = ("candidate", "identity", "model_breaker", "name", "provider_breaker", "target", "terms")

    def __init__(self, candidate: Candidate, operation: Operation) -> None:
        self.candidate = candidate
        self.target = candidate.target
        self.name = target_name(candidate.target)
        self.terms = candidate.terms
        self.identity = model_identity(candidate.target.model)
        self.provider_breaker = breaker_key(candidate.target.provider, operation)
        self.model_breaker = breaker_key(candidate.target.provider, operation, candidate.target.model)
