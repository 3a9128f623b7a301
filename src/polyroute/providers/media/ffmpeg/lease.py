"""A lease on this machine's processors: so many runs at once, of all processes together."""

from __future__ import annotations

import asyncio
import fcntl
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

_LOOK_EVERY = 0.2


@asynccontextmanager
async def lease(name: str, places: int, waiting: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Holds one of `places` while the context lasts; `waiting` is called once when none is free. The kernel takes it back
    from a process that dies."""
    folder = Path(tempfile.gettempdir()) / f"polyroute-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    descriptor = _take(folder, name, places)
    if descriptor is None:
        await waiting()
    while descriptor is None:
        await asyncio.sleep(_LOOK_EVERY)
        descriptor = _take(folder, name, places)
    try:
        yield
    finally:
        os.close(descriptor)


def _take(folder: Path, name: str, places: int) -> int | None:
    for place in range(places):
        descriptor = os.open(folder / f"{name}-{place}.lease", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
        else:
            return descriptor
    return None
