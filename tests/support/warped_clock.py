"""A clock that a test moves on: what takes half a minute happens at once, and nothing is a race against the machine."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class WarpedClock:
    """The running loop's time, and what was added to it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._real = loop.time
        self._ahead = 0.0

    def time(self) -> float:
        """As the loop sees it."""
        return self._real() + self._ahead

    def jump(self, seconds: float) -> None:
        """Let that much time pass at once."""
        self._ahead += seconds


@contextmanager
def warped_clock() -> Iterator[WarpedClock]:
    """The running loop goes by a clock that can be moved on."""
    loop = asyncio.get_running_loop()
    clock = WarpedClock(loop)
    loop.time = clock.time  # type: ignore[method-assign] # which is what the loop itself asks
    try:
        yield clock
    finally:
        del loop.time  # type: ignore[attr-defined]
