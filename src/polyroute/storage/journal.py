"""The journal's writing end: settled requests on disk before the caller's last byte.

A record is copied into a file of one's own that is mapped into memory: the page belongs to the file from then on, so what
was appended survives a killed process, and no system call lets go of the interpreter on the way. The disk space is taken
before the file is mapped; a full disk refuses a new file, not a record. The ledger's writer, in this process or another one,
reads the files from behind (`reading`) and removes those that the database has all of. A file is locked for as long as it may
grow: an unlocked one was finished, by its process or by that process's death.
"""

from __future__ import annotations

import mmap
import os
import secrets
import threading
from contextlib import suppress
from pathlib import Path

from polyroute.storage.frames import PLACE, START, begin_file, encode_frame
from polyroute.storage.locks import try_lock
from polyroute.storage.rows import clean
from polyroute.types.records import RequestRecord

SUFFIX = ".journal"
SEGMENT_BYTES = 1024 * 1024
_PLACE_AT = START - PLACE.size


class _Segment:
    """The file that grows. Behind `size` it is zero."""

    __slots__ = ("capacity", "data", "descriptor", "path", "size")

    def __init__(self, path: Path, descriptor: int, capacity: int) -> None:
        """Raises OSError when the disk has no room for `capacity` bytes."""
        os.posix_fallocate(descriptor, 0, capacity)
        self.path = path
        self.descriptor = descriptor
        self.capacity = capacity
        self.data = mmap.mmap(descriptor, capacity)
        self.data[:START] = begin_file()
        self.size = START

    @property
    def unwritten(self) -> int:
        """Bytes that the database does not have yet."""
        place: int = PLACE.unpack_from(self.data, _PLACE_AT)[0]
        return self.size - place

    def close(self) -> None:
        """Finish the file, with no more in it than was appended."""
        self.data.close()
        os.ftruncate(self.descriptor, self.size)
        os.close(self.descriptor)


class Journal:
    """One process's journal in `folder`. `append` may be called from any thread."""

    def __init__(self, folder: Path, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.folder = folder
        self.appended = 0
        """Records that were appended."""
        self._segment_bytes = segment_bytes
        self._writer = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._sequence = 0
        self._lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)
        self._active: _Segment | None = self._open_segment(segment_bytes)

    def append(self, record: RequestRecord) -> None:
        """Write one record; it is safe from a killed process on return. Raises OSError when the disk refuses it."""
        with self._lock:
            try:
                frame = encode_frame(record)
            except (UnicodeEncodeError, OverflowError, ValueError):
                frame = encode_frame(clean(record))
            active = self._active
            if active is None or active.size + len(frame) > active.capacity:
                active = self._rotate(len(frame))
            end = active.size + len(frame)
            active.data[active.size : end] = frame
            active.size = end
            self.appended += 1

    @property
    def writer(self) -> str:
        """What the names of its files begin with."""
        return self._writer

    @property
    def unwritten(self) -> int:
        """Bytes that this process appended and that the database does not have yet; finished files count whole."""
        with self._lock:
            active = self._active
            found = active.unwritten if active is not None else 0
            for path in self.folder.glob(f"{self._writer}-*{SUFFIX}"):
                if active is None or path != active.path:
                    with suppress(FileNotFoundError):  # the writer was faster
                        found += path.stat().st_size
            return found

    def close(self) -> None:
        """Finish the file; what the database does not have yet stays in it for the ledger's writer."""
        with self._lock:
            if self._active is not None:
                self._active.close()
                self._active = None

    def _rotate(self, needed: int) -> _Segment:
        """Begin a file with room for a frame of `needed` bytes, and finish the last one."""
        segment = self._open_segment(max(self._segment_bytes, START + needed))
        if self._active is not None:
            self._active.close()
        self._active = segment
        return segment

    def _open_segment(self, capacity: int) -> _Segment:
        """A new file, locked before anybody can see it under the name of a journal."""
        self._sequence += 1
        path = self.folder / f"{self._writer}-{self._sequence:06}{SUFFIX}"
        aside = path.with_suffix(".new")
        descriptor = os.open(aside, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            assert try_lock(descriptor), "nobody else knows this name"
            segment = _Segment(path, descriptor, capacity)
            aside.rename(path)
        except OSError:
            aside.unlink(missing_ok=True)
            os.close(descriptor)
            raise
        return segment
