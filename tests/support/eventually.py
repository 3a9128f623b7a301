"""Waiting for what another process does: look until it is so, and say what was seen when it is not in time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Seen = TypeVar("Seen")

_LOOK_EVERY = 0.005


def eventually(look: Callable[[], Seen], *, within: float = 10.0) -> Seen:
    """What `look` gives as soon as it is true; fails with the last thing seen after `within` seconds."""
    deadline = time.monotonic() + within
    while not (seen := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within:g} s; last seen: {seen!r}")
        time.sleep(_LOOK_EVERY)
    return seen
