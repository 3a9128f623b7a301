"""The journal: settled requests on disk before the caller's last byte, and the queue that feeds the database.

One write per record, by `os.write` to a file of one's own: what was appended survives a killed process. The database
writer reads the same files from behind, so that nothing waits in memory however long the database is away. A file is
locked while its process lives; an unlocked one was left behind and is replayed (`recovery`).
"""

from __future__ import annotations

import logging
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
SEGMENT_BYTES = 4 * 1024 * 1024
_READ_BYTES = 256 * 1024


class _Segment:
    """One file. `size` and `appended` move with appends, `committed` and `done` with the database writer: bytes, records."""

    __slots__ = ("appended", "committed", "descriptor", "done", "path", "size")

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.descriptor = descriptor
        self.size = len(MAGIC)
        self.committed = len(MAGIC)
        self.appended = 0
        self.done = 0


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
        self._buffer = bytearray()
        self._lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)
        self._segments: deque[_Segment] = deque([self._open_segment()])
        self._active = self._segments[0]

    @property
    def size(self) -> int:
        """Bytes on disk that the database does not have yet."""
        return sum(segment.size - segment.committed for segment in tuple(self._segments))

    def append(self, record: RequestRecord) -> None:
        """Write one record; it is safe from a killed process on return. Raises OSError when the disk refuses it."""
        with self._lock:
            try:
                encode_frame(record, self._buffer)
            except (UnicodeEncodeError, OverflowError, ValueError):
                encode_frame(clean(record), self._buffer)
            active = self._active
            if active.size >= self._segment_bytes:
                active = self._rotate()
            frame = self._buffer
            written = os.write(active.descriptor, frame)
            if written != len(frame):
                self._finish_write(active, bytes(frame), written)
            active.size += len(frame)
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
        data = os.pread(segment.descriptor, min(available, _READ_BYTES), segment.committed)
        if len(data) >= HEADER.size and frame_size(data) > len(data):
            data = os.pread(segment.descriptor, frame_size(data), segment.committed)
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
                self._rotate()
            segment = self._segments.popleft()
            self.committed += segment.appended - segment.done
        kept = segment.path.with_suffix(SUFFIX + ".corrupt")
        segment.path.rename(kept)
        os.close(segment.descriptor)
        return kept

    def close(self) -> None:
        """Close the files, removing those that the database has all of. The others are replayed by the next start."""
        with self._lock:
            while self._segments:
                segment = self._segments.popleft()
                if segment.committed == segment.size:
                    segment.path.unlink(missing_ok=True)
                os.close(segment.descriptor)

    def _rotate(self) -> _Segment:
        segment = self._open_segment()
        self._segments.append(segment)
        self._active = segment
        return segment

    def _open_segment(self) -> _Segment:
        while True:
            self._sequence += 1
            path = self.folder / f"{self._writer}-{self._sequence:06}{SUFFIX}"
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
            # A start beside us may have taken the file for an orphan between its creation and our lock.
            if try_lock(descriptor) and os.fstat(descriptor).st_nlink == 1:
                os.write(descriptor, MAGIC)
                return _Segment(path, descriptor)
            os.close(descriptor)

    def _finish_write(self, segment: _Segment, frame: bytes, written: int) -> None:
        """Write the rest of a frame that went in by halves, or take the half back: a torn frame in the middle of a file
        would hide what follows."""
        try:
            while written < len(frame):
                written += os.write(segment.descriptor, frame[written:])
        except OSError:
            os.ftruncate(segment.descriptor, segment.size)
            raise

    def _drop_finished(self) -> None:
        while len(self._segments) > 1 and self._segments[0].committed == self._segments[0].size:
            segment = self._segments.popleft()
            segment.path.unlink(missing_ok=True)
            os.close(segment.descriptor)

    def _rewind(self) -> None:
        """Everything is in the database: start the file anew, so that a start after a crash has nothing to replay."""
        with self._lock:
            active = self._active
            if active.committed == active.size:
                os.ftruncate(active.descriptor, len(MAGIC))
                active.size = active.committed = len(MAGIC)
