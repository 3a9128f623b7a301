"""The journal's reading end: the files of all processes of this machine, as one queue for the ledger's writer.

A file whose process lives is read as far as it is whole, over and over. One that is no longer locked was finished, in order
or by a kill: what is left of it is salvaged, and then it goes. How far the database has a file stands at the file's start.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from contextlib import suppress
from pathlib import Path

import msgspec

from polyroute.storage.frames import (
    HEADER,
    MAGIC,
    MARKER,
    PLACE,
    START,
    count_frames,
    frame_size,
    next_frame,
    read_frames,
    salvage,
)
from polyroute.storage.journal import SUFFIX
from polyroute.storage.locks import try_lock
from polyroute.types.records import RequestRecord

logger = logging.getLogger(__name__)

_READ_BYTES = 256 * 1024
_OLD_MAGIC = b"PRJOURN1"
"""Of files that have no place in them."""
_ABANDONED_SECONDS = 60.0


class Backlog(msgspec.Struct, frozen=True):
    """What the database does not have yet. `oldest` is in seconds since the epoch."""

    rows: int = 0
    bytes: int = 0
    oldest: float | None = None


class _File:
    """One file. Up to `place` the database has it, up to `read` it was handed out, up to `walked` its `waiting` frames behind
    `place` were counted."""

    __slots__ = ("damaged", "descriptor", "finished", "oldest", "path", "place", "placed", "read", "waiting", "walked")

    def __init__(self, path: Path, descriptor: int) -> None:
        head = os.pread(descriptor, START, 0)
        self.path = path
        self.descriptor = descriptor
        self.placed = head.startswith(MAGIC)
        place = PLACE.unpack_from(head, len(MAGIC))[0] if self.placed and len(head) == START else 0
        # What has no beginning of ours is read as one damaged stretch.
        self.place = max(place, START) if self.placed else len(_OLD_MAGIC) if head.startswith(_OLD_MAGIC) else 0
        self.read = self.walked = self.place
        self.waiting = 0
        self.oldest: float | None = None
        self.finished = False
        self.damaged = 0

    def take(self, limit: int) -> list[RequestRecord]:
        """The next records that are whole; none when there are none yet."""
        while True:
            if not os.pread(self.descriptor, HEADER.size, self.read).strip(b"\0"):
                return []
            data = os.pread(self.descriptor, _READ_BYTES, self.read)
            records, taken = read_frames(data, limit)
            if not records and len(data) == _READ_BYTES and data.startswith(MARKER):
                size = frame_size(data)
                if _READ_BYTES < size <= os.fstat(self.descriptor).st_size - self.read:
                    records, taken = read_frames(os.pread(self.descriptor, size, self.read), 1)
            if records:
                self.read += taken
                return records
            if not self._skip_damage():
                return []

    def _skip_damage(self) -> bool:
        """Go behind a stretch that is no frame, where a whole one follows it: frames are written in order, so this one will
        not become whole any more. False when none follows."""
        before = os.pread(self.descriptor, os.fstat(self.descriptor).st_size - self.read, self.read)
        if next_frame(before, 1) >= len(before):
            return False
        data = os.pread(self.descriptor, len(before), self.read)  # anew: the first look may have been too early for it
        if read_frames(data, 1)[0]:
            return True
        self._report_damage(1)
        self.read += next_frame(data, 1)
        return True

    def rest(self) -> list[RequestRecord]:
        """What is left of a finished file, behind everything that could be taken."""
        end = os.fstat(self.descriptor).st_size
        data = os.pread(self.descriptor, max(end - self.read, 0), self.read)
        self.finished = True
        found = salvage(data)
        if found.torn:
            logger.warning(
                "the last record of the journal %s was cut off after %d bytes: its request was not answered to its end",
                self.path.name, found.torn,
            )  # fmt: skip
        if found.damaged:
            self._report_damage(found.damaged)
        self.read = max(end, self.read)
        return found.records

    def _report_damage(self, stretches: int) -> None:
        kept = self.path.with_name(self.path.name + ".corrupt")
        if not self.damaged:
            shutil.copyfile(self.path, kept)
        self.damaged += stretches
        logger.error(
            "%d damaged stretches in the journal %s: the whole records around them are written up, the file is kept as %s",
            stretches, self.path.name, kept,
        )  # fmt: skip

    def commit(self) -> None:
        """The database has what was handed out."""
        self.place = self.read
        self.oldest = None
        if self.placed:
            os.pwrite(self.descriptor, PLACE.pack(self.place), len(MAGIC))
        if self.walked <= self.place:
            self.walked, self.waiting = self.place, 0
        else:
            self._recount()

    def reset(self) -> None:
        """The database did not take it: hand it out again."""
        self.read = self.place
        self.finished = False

    def _recount(self) -> None:
        self.walked, self.waiting = self.place, 0
        self.walk()

    def walk(self) -> None:
        """Count the frames that came since the last time."""
        while True:
            data = os.pread(self.descriptor, _READ_BYTES, self.walked)
            if data.startswith(MARKER) and len(data) >= HEADER.size and frame_size(data) > len(data):
                data = os.pread(self.descriptor, frame_size(data), self.walked)
            count, size = count_frames(data)
            if not count:
                return
            self.waiting += count
            self.walked += size

    def first(self) -> float | None:
        """When the oldest request that waits was made."""
        if self.oldest is None and self.waiting:
            records, _ = read_frames(os.pread(self.descriptor, _READ_BYTES, self.place), 1)
            self.oldest = records[0].created_at if records else None
        return self.oldest


class JournalReader:
    """Reads the journals in `folder`. One thread at a time, of one process at a time, holding the folder's pen."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, _File] = {}
        self._out: list[_File] = []
        self._turn = 0

    def read(self, limit: int) -> list[RequestRecord]:
        """The next records, of as many files as it takes; none when none is whole. `commit` or `reset` comes next."""
        records = self._take(limit)
        if not records:
            self._discover()
            records = self._take(limit)
        return records

    def commit(self) -> None:
        """The database has all that was read."""
        for file in self._out:
            file.commit()
            if file.finished:
                self._drop(file)
        self._out.clear()

    def reset(self) -> None:
        """The database has nothing of what was read last."""
        for file in self._out:
            file.reset()
        self._out.clear()

    def backlog(self) -> Backlog:
        """What waits, counted by the headers of what came since the last time."""
        self._discover()
        rows = size = 0
        moments: list[float] = []
        for file in self._files.values():
            file.walk()
            rows += file.waiting
            size += file.walked - file.place
            if (moment := file.first()) is not None:
                moments.append(moment)
        return Backlog(rows, size, min(moments, default=None))

    def close(self) -> None:
        """Let go of all files."""
        for file in self._files.values():
            os.close(file.descriptor)
        self._files.clear()
        self._out.clear()

    def _take(self, limit: int) -> list[RequestRecord]:
        records: list[RequestRecord] = []
        files = list(self._files.values())
        self._turn += 1
        for number in range(len(files)):
            file = files[(self._turn + number) % len(files)]  # each is first in turn
            found = file.take(limit - len(records))
            if not found and not file.finished and try_lock(file.descriptor):
                # It grows no more. What came between our look and its end is there now; the rest is cut off or damaged.
                found = file.take(limit - len(records)) or file.rest()
            if found or (file.finished and file not in self._out):
                records += found
                self._out.append(file)
            if len(records) >= limit:
                break
        if not records:
            self.commit()  # files that ended without a further record
        return records

    def _discover(self) -> None:
        for name in sorted(os.listdir(self._folder)):
            if name.endswith(SUFFIX):
                if name not in self._files:
                    path = self._folder / name
                    with suppress(FileNotFoundError):
                        self._files[name] = _File(path, os.open(path, os.O_RDWR))
            elif name.endswith(".new"):  # if it is old: of a process that was killed as it made a file
                path = self._folder / name
                with suppress(FileNotFoundError):
                    if time.time() - path.stat().st_mtime > _ABANDONED_SECONDS:
                        path.unlink()

    def _drop(self, file: _File) -> None:
        file.path.unlink(missing_ok=True)
        os.close(file.descriptor)
        self._files.pop(file.path.name, None)
