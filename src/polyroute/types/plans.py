"""Targets, routes, and the plan of one request."""

from __future__ import annotations

import msgspec

from polyroute.types.operations import Operation


class Target(msgspec.Struct, frozen=True):
    """One model at one provider. `model` is the provider's own id."""

    provider: str
    model: str

    def __str__(self) -> str:
        return f"{self.provider}/{self.model}"


class Drop(msgspec.Struct, frozen=True):
    """A target that is not tried, and why."""

    target: str
    reason: str


class Plan(msgspec.Struct, frozen=True):
    """The ordered targets of one request and the dropped ones. `route` is the name that the caller used."""

    route: str
    operation: Operation
    policy: str
    targets: tuple[Target, ...]
    drops: tuple[Drop, ...] = ()
