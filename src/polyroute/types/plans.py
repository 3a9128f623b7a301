"""Targets, routes, and the plan of one request."""

from __future__ import annotations

from typing import Literal

import msgspec

from polyroute.types.operations import Operation

DropCause = Literal[
    "unknown",
    "disabled",
    "operation",
    "capability",
    "context",
    "permission",
    "requirement",
    "kind",
    "budget",
    "breaker",
    "limit",
]


class Target(msgspec.Struct, frozen=True, cache_hash=True):
    """One model at one provider. `model` is the provider's own id."""

    provider: str
    model: str

    def __str__(self) -> str:
        return f"{self.provider}/{self.model}"


class Drop(msgspec.Struct, frozen=True):
    """A target that is not tried, and why: in words, and as a cause that code can look at."""

    target: str
    reason: str
    cause: DropCause = "unknown"


class Plan(msgspec.Struct, frozen=True):
    """The ordered targets of one request and the dropped ones. `route` is the name that the caller used.

    `probe`: every breaker is open, and the one target is tried nevertheless. `scores` are the policy's, in the order of
    `targets` (lower is better); a fallback, or a target that the policy knows nothing of, has None. `notes` say what else
    decided. `settled`: it is made of the request's shape alone, and holds for every request of that shape.
    """

    route: str
    operation: Operation
    policy: str
    targets: tuple[Target, ...]
    drops: tuple[Drop, ...] = ()
    probe: bool = False
    scores: tuple[float | None, ...] = ()
    notes: tuple[str, ...] = ()
    settled: bool = False
