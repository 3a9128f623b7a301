"""Noticing that the configuration has changed, by looking at its files now and then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from pathlib import Path

_Signature = tuple[int, int, int] | None


async def watch(
    paths: Sequence[Path], interval: float = 1.0, *, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
) -> AsyncGenerator[tuple[Path, ...], None]:
    """Yield the paths that changed, appeared or went away, looking every `interval` seconds.

    A change is told once two looks in a row agree on it: a file that is just being written is not read half-way.
    """
    told = {path: _look(path) for path in paths}
    before = dict(told)
    while True:
        await sleep(interval)
        now = {path: _look(path) for path in paths}
        changed = tuple(path for path in paths if now[path] != told[path])
        settled = now == before
        before = now
        if changed and settled:
            told = now
            yield changed


def _look(path: Path) -> _Signature:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
