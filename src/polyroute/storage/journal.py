"""The journal: settled requests on disk before the caller's last byte, and the queue that feeds the database.

A record is copied into a file of one's own that is mapped into memory: the page belongs to the file from then on, so what
was appended survives a killed process, and no system call lets go of the interpreter on the way. The disk space is taken
before the file is mapped; a full disk refuses a new file, not a record. The database writer reads the same files from
behind, so that nothing waits in memory however long the database is away. A file is locked while its process lives; an
unlocked one was left behind and is replayed (`recovery`).
"""

from __future__ import annotations

import logging
import mmap
import os
import secrets
import threading
from collections import deque
from pathlib import Path

from polyroute.storage.frames import HEADER, MAGIC, encode_frame, frame_size, read_frames
from polyroute.storage.locks import try_lock
from polyroute.storage.rows import clean
from polyroute.types.records import RequestRecord

logger = logging.getLogger(__name__)

SUFFIX = ".journal"
SEGMENT_BYTES = 1024 * 1024
_READ_BYTES = 256 * 1024


class _Segment:
    """One file. `size` and `appended` move with appends, `committed` and `done` with the database writer: bytes, records.

    Behind `size` the file is zero.
    """

    __slots__ = ("appended", "capacity", "committed", "data", "descriptor", "done", "path", "size")

    def __init__(self, path: Path, descriptor: int, capacity: int) -> None:
        """Raises OSError when the disk has no room for `capacity` bytes."""
        os.posix_fallocate(descriptor, 0, capacity)
        self.path = path
        self.descriptor = descriptor
        self.capacity = capacity
        self.data = mmap.mmap(descriptor, capacity)
        self.begin()

    def begin(self) -> None:
        """Nothing is in it yet."""
        self.data[: len(MAGIC)] = MAGIC
        self.size = len(MAGIC)
        self.committed = len(MAGIC)
        self.appended = 0
        self.done = 0

    def wipe(self) -> None:
        """Make it as new."""
        start = len(MAGIC)
        self.data[start : self.size] = bytes(self.size - start)
        self.begin()

    def close(self) -> None:
        """Let go of the file, with no more in it than was appended."""
        self.data.close()
        os.ftruncate(self.descriptor, self.size)
        os.close(self.descriptor)


class Batch:
    """Records that were read in order, and the place behind them."""

    __slots__ = ("end", "records", "segment")

    def __init__(self, records: list[RequestRecord], segment: _Segment, end: int) -> None:
        self.records = records
        self.segment = segment
        self.end = end


class Journal:
    """One process's journal in `folder`. `append` may be called from any thread; `read` and `commit` from one thread."""

    def __init__(self, folder: Path, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.folder = folder
        self.appended = 0
        """Records that were appended."""
        self.committed = 0
        """Records that were read and committed."""
        self._segment_bytes = segment_bytes
        self._writer = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._sequence = 0
        self._lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)
        self._segments: deque[_Segment] = deque([self._open_segment(segment_bytes)])
        self._active = self._segments[0]
        self._spare: _Segment | None = None

    @property
    def writer(self) -> str:
        """What the names of its files begin with."""
        return self._writer

    @property
    def size(self) -> int:
        """Bytes of records that the database does not have yet."""
        return sum(segment.size - segment.committed for segment in tuple(self._segments))

    def append(self, record: RequestRecord) -> None:
        """Write one record; it is safe from a killed process on return. Raises OSError when the disk refuses it."""
        with self._lock:
            try:
                frame = encode_frame(record)
            except (UnicodeEncodeError, OverflowError, ValueError):
                frame = encode_frame(clean(record))
            active = self._active
            end = active.size + len(frame)
            if end > active.capacity:
                active = self._rotate(len(frame))
                end = active.size + len(frame)
            active.data[active.size : end] = frame
            active.size = end  # last: the reader takes what lies before it
            active.appended += 1
            self.appended += 1

    def read(self, limit: int) -> Batch | None:
        """The next records that were not committed, in order, from one file; None when there are none.

        Raises ValueError when the file was damaged under us.
        """
        self._drop_finished()
        segment = self._segments[0]
        available = segment.size - segment.committed
        if available == 0:
            return None
        start = segment.committed
        data = segment.data[start : start + min(available, _READ_BYTES)]
        if len(data) >= HEADER.size and frame_size(data) > len(data):
            data = segment.data[start : start + frame_size(data)]
        records, taken = read_frames(data, limit)
        if not records:
            raise ValueError(f"{segment.path.name} is damaged at byte {segment.committed}")
        return Batch(records, segment, segment.committed + taken)

    def commit(self, batch: Batch) -> None:
        """The database has the batch: never read it again, and free the disk where whole files are done."""
        batch.segment.committed = batch.end
        batch.segment.done += len(batch.records)
        self.committed += len(batch.records)
        self._drop_finished()
        if batch.segment is self._active and batch.end == self._active.size:
            self._rewind()

    def set_aside(self) -> Path:
        """Give up on the oldest file, which turned out to be damaged: keep it for people, and go on behind it."""
        with self._lock:
            if self._segments[0] is self._active:
                self._rotate(0)
            segment = self._segments.popleft()
            self.committed += segment.appended - segment.done
        kept = segment.path.with_suffix(SUFFIX + ".corrupt")
        segment.path.rename(kept)
        segment.close()
        return kept

    def close(self) -> None:
        """Close the files, removing those that the database has all of. The others are replayed by the next start."""
        with self._lock:
            if self._spare is not None:
                self._segments.append(self._spare)
                self._spare = None
            while self._segments:
                segment = self._segments.popleft()
                if segment.committed == segment.size:
                    segment.path.unlink(missing_ok=True)
                segment.close()

    def _rotate(self, needed: int) -> _Segment:
        """Begin a file with room for a frame of `needed` bytes."""
        segment, self._spare = self._spare, None
        if segment is None or segment.size + needed > segment.capacity:
            self._spare = segment
            segment = self._open_segment(max(self._segment_bytes, len(MAGIC) + needed))
        self._segments.append(segment)
        self._active = segment
        return segment

    def _open_segment(self, capacity: int) -> _Segment:
        while True:
            self._sequence += 1
            path = self.folder / f"{self._writer}-{self._sequence:06}{SUFFIX}"
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                # A start beside us may have taken the file for an orphan between its creation and our lock.
                if try_lock(descriptor) and os.fstat(descriptor).st_nlink == 1:
                    return _Segment(path, descriptor, capacity)
            except OSError:
                path.unlink(missing_ok=True)
                os.close(descriptor)
                raise
            os.close(descriptor)

    def _drop_finished(self) -> None:
        while len(self._segments) > 1 and self._segments[0].committed == self._segments[0].size:
            segment = self._segments.popleft()
            if self._spare is None and segment.capacity == self._segment_bytes:
                segment.wipe()
                self._spare = segment
            else:
                segment.path.unlink(missing_ok=True)
                segment.close()

    def _rewind(self) -> None:
        """Everything is in the database: start the file anew, so that a start after a crash has nothing to replay."""
        with self._lock:
            active = self._active
            if active.committed == active.size:
                active.wipe()
