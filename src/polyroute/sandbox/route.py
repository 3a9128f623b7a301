"""What an endpoint of a simulated provider is: how to know it, and what answers it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

import msgspec

from polyroute.sandbox.control import SandboxOperation
from polyroute.sandbox.exchange import Exchange, Reply, Spoken

Answer = Callable[[Exchange], Reply | Awaitable[Reply]]


class Route(msgspec.Struct, frozen=True):
    """An endpoint. A `free` one needs no credential at the providers it names. A `raw` one reads any body, not only a JSON
    object. Where one path serves several operations, `sort` tells which it is."""

    methods: tuple[str, ...]
    pattern: re.Pattern[str]
    operation: SandboxOperation
    dialect: Spoken
    answer: Answer
    free: tuple[str, ...] = ()
    raw: bool = False
    sort: Callable[[Exchange], SandboxOperation] | None = None


def route(
    line: str,
    operation: SandboxOperation,
    dialect: Spoken,
    answer: Answer,
    free: tuple[str, ...] = (),
    *,
    raw: bool = False,
    sort: Callable[[Exchange], SandboxOperation] | None = None,
) -> Route:
    """A route from `METHOD|METHOD pattern`; the pattern is for the end of the path."""
    method, _, pattern = line.partition(" ")
    compiled = re.compile(pattern + r"/?$")
    return Route(tuple(method.split("|")), compiled, operation, dialect, answer, free, raw, sort)
