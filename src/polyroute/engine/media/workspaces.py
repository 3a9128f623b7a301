"""Folders in which work on media lies for as long as it lasts: locked by their process, so that what a killed one leaves is
told from what is in use."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

_PREFIX, _UNLOCKED = "work-", "new-"


@contextlib.contextmanager
def open_workspace(folder: Path | None = None) -> Iterator[Path]:
    """A new, empty folder below `folder` (the user's own in the system's temporary one), gone when the context ends. What
    killed processes left beside it goes, too."""
    place = _place(folder)
    sweep_workspaces(place)
    made = Path(tempfile.mkdtemp(prefix=_UNLOCKED, dir=place))
    lock = os.open(made, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _lock(lock)
        made = made.rename(
            made.with_name(_PREFIX + made.name.removeprefix(_UNLOCKED))
        )  # nobody looks before it is locked
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
        os.close(lock)


def sweep_workspaces(folder: Path | None = None) -> int:
    """Delete what killed processes left; how many folders."""
    swept = 0
    for left in _place(folder).glob(f"{_PREFIX}*"):
        try:
            lock = os.open(left, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue  # its process has just deleted it
        try:
            if _lock(lock):
                shutil.rmtree(left, ignore_errors=True)
                swept += 1
        finally:
            os.close(lock)
    return swept


def _place(folder: Path | None) -> Path:
    place = folder or Path(tempfile.gettempdir()) / f"polyroute-{os.getuid()}"
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    return place


def _lock(descriptor: int) -> bool:
    """Whether the lock is ours now; the kernel gives it back when the process ends, however it does."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
