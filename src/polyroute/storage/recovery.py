"""Replaying the journals of processes that died: everything whole goes into the database once, nothing is lost silently."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import msgspec

from polyroute.storage.database import Database
from polyroute.storage.frames import Salvage, salvage
from polyroute.storage.journal import SUFFIX
from polyroute.storage.locks import try_lock
from polyroute.storage.writer import RowWriter

logger = logging.getLogger(__name__)

_BLOCK = 512


class Recovery(msgspec.Struct, frozen=True, kw_only=True):
    """What a replay found: files taken, records read, how many of them the database did not have, and the damage."""

    files: int = 0
    records: int = 0
    added: int = 0
    torn: int = 0
    kept_aside: tuple[Path, ...] = ()


def recover(folder: Path, database: Database) -> Recovery:
    """Replay every journal in `folder` whose process is gone, and remove it. Damaged ones are kept as `*.corrupt`.

    May run in several processes at once: each takes the files that it can lock.
    """
    files = records = added = torn = 0
    kept: list[Path] = []
    writer: RowWriter | None = None
    try:
        for path in sorted(folder.glob(f"*{SUFFIX}")):
            descriptor = _take(path)
            if descriptor is None:
                continue
            try:
                found = salvage(path.read_bytes())
                if found.records:
                    writer = writer or RowWriter(database, folder)
                    for start in range(0, len(found.records), _BLOCK):
                        added += writer.write(found.records[start : start + _BLOCK])
                aside = _finish(path, found)
                kept += [aside] if aside else []
                files, records, torn = files + 1, records + len(found.records), torn + bool(found.torn)
            finally:
                os.close(descriptor)
    finally:
        if writer is not None:
            writer.close()
    if added or torn or kept:
        logger.warning(
            "an earlier process ended without closing its journal: %d requests replayed, %d of them new to the database",
            records,
            added,
        )
    return Recovery(files=files, records=records, added=added, torn=torn, kept_aside=tuple(kept))


def _take(path: Path) -> int | None:
    """The locked file, None when its process lives or somebody else has taken it."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return None
    if try_lock(descriptor) and os.fstat(descriptor).st_nlink == 1:
        return descriptor
    os.close(descriptor)
    return None


def _finish(path: Path, found: Salvage) -> Path | None:
    if found.damaged:
        kept = path.with_name(path.name + ".corrupt")
        path.rename(kept)
        logger.error(
            "%d damaged stretches in the journal %s: the whole records around them were replayed, the file is kept as %s",
            found.damaged,
            path.name,
            kept,
        )
        return kept
    if found.torn:
        logger.warning(
            "the last record of the journal %s was cut off after %d bytes: its request was not answered to its end",
            path.name,
            found.torn,
        )
    path.unlink(missing_ok=True)
    return None
