"""Targets of one and the same model at several providers, ordered among themselves.

Their places in the plan stay; who stands in which of them is decided by price, speed or kind. Equal ones are ordered by what
they can be asked: a provider that speaks the caller's own dialect takes every parameter, a translation may lose some.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import lru_cache

from polyroute.catalog.model import SameModel
from polyroute.routing.policies import PolicyInputs, TargetFacts, Terms, cheapest, fastest
from polyroute.types.operations import ProviderKind

_KIND_ORDER = {ProviderKind.DIRECT: 0, ProviderKind.GATEWAY: 1, ProviderKind.LOCAL: 2}
_VENDOR = re.compile(r"^(?:[a-z]{2,6}\.)?(?:anthropic|meta|mistral|amazon|cohere|deepseek|openai)\.")
_VERSION = re.compile(r"(?:-20\d{6})?(?:-v\d+:\d+)?$")


@lru_cache(maxsize=4096)
def model_identity(model: str) -> str:
    """What two providers' ids of one model have in common: no vendor before a slash (or, at Bedrock, a dot), lower case,
    hyphens for dots, and no date of eight digits, which makers append where resellers do not. Variants (`:free`) differ."""
    name = _VENDOR.sub("", model.lower().rpartition("/")[2])
    return _VERSION.sub("", name).replace(".", "-")


def arbitrate(
    how: SameModel,
    kinds: Sequence[ProviderKind],
    native: Sequence[bool],
    terms: Sequence[Terms],
    facts: Sequence[TargetFacts],
    inputs: PolicyInputs,
) -> list[int]:
    """Positions of some targets of one model, the best in front. `native` says which speak the caller's dialect."""
    costs = cheapest(terms, facts, inputs) if how == "price" else [None] * len(terms)
    seconds = fastest(terms, facts, inputs) if how in ("price", "latency") else [None] * len(terms)

    def rank(position: int) -> tuple[float, ...]:
        cost, time = _known(costs[position]), _known(seconds[position])
        tie = (not native[position], _KIND_ORDER[kinds[position]])
        if how == "direct":
            return tie[::-1]
        return (cost, *tie, time) if how == "price" else (time, *tie)

    return sorted(range(len(terms)), key=rank)


def _known(score: float | None) -> float:
    return math.inf if score is None else score
