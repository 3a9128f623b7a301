"""A folder through which the workers of one machine tell each other what they know, and which outlives them.

Each process owns one file, `worker-N.state`, which it alone replaces and all others read; which one is its own is settled
by a lock that a killed process cannot leave behind. `drills.json` belongs to all: it is changed under a lock. No server, no
shared memory, nothing to repair: a file is either the old one or the new one.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from polyroute.storage.locks import exclusive, try_lock
from polyroute.types.exchange import Shared

logger = logging.getLogger(__name__)

STALE_SECONDS = 10.0
"""A file that was not touched for so long belongs to a process that is gone."""
_MOST_WORKERS = 1024


class StateFolder:
    """Implements `types.exchange.StateExchange`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock: int | None = None
        self._own: Path | None = None
        self._seen: dict[str, tuple[int, bytes]] = {}
        self._works = True

    def join(self) -> bytes | None:
        """Take a place among the workers; what its last holder left there. Raises OSError."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for number in range(_MOST_WORKERS):
            descriptor = os.open(self._folder / f"worker-{number}.lock", os.O_RDWR | os.O_CREAT, 0o600)
            if try_lock(descriptor):
                self._lock = descriptor
                self._own = self._folder / f"worker-{number}.state"
                try:
                    return self._own.read_bytes()
                except FileNotFoundError:
                    return None
            os.close(descriptor)
        raise OSError(f"{self._folder} has no place left for a worker")

    def tell(self, data: bytes | None) -> None:
        """Replace what this worker says; with None, only say that it is still there. Errors are logged once."""
        if self._own is None:
            return
        try:
            if data is None:
                os.utime(self._own)
            else:
                aside = self._own.with_suffix(".new")
                aside.write_bytes(data)
                aside.replace(self._own)
        except OSError as error:
            if self._works:
                self._works = False
                logger.warning("workers cannot tell each other what they know (%s); each goes on alone", error)
        else:
            self._works = True

    def hear(self) -> list[Shared]:
        """What the other workers say, and what former ones left."""
        found = []
        for path in sorted(self._folder.glob("worker-*.state")):
            if path == self._own:
                continue
            try:
                facts = path.stat()
                known = self._seen.get(path.name)
                same = known is not None and known[0] == facts.st_mtime_ns
                data = known[1] if known is not None and same else path.read_bytes()
            except OSError:
                continue
            self._seen[path.name] = (facts.st_mtime_ns, data)
            found.append(Shared(path.stem, data, time.time() - facts.st_mtime < STALE_SECONDS))
        return found

    def leave(self) -> None:
        """Give the place back; what was said stays there for the next run."""
        if self._own is not None:
            with suppress(OSError):  # where it never said anything
                os.utime(self._own, (0, 0))
        if self._lock is not None:
            os.close(self._lock)
        self._lock = self._own = None

    # ---------------------------------------------------------------- the board that all write to

    def read_board(self) -> bytes:
        """What stands on it; empty when nothing does."""
        try:
            return (self._folder / "drills.json").read_bytes()
        except FileNotFoundError:
            return b""

    def change_board(self, change: Callable[[bytes], bytes]) -> None:
        """Replace what stands on it. Raises OSError."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with exclusive(self._folder / "drills.lock"):
            aside = self._folder / "drills.new"
            aside.write_bytes(change(self.read_board()))
            aside.replace(self._folder / "drills.json")
