"""The ledger's writer: what the journals of this machine hold goes into the database, once each.

There is one at a time for a folder of journals: who holds the pen, a lock that a killed process cannot leave behind. It runs
in a process of its own beside `polyroute serve` (`writer_process`), and in a thread where the gateway is a library.
"""

from __future__ import annotations

import logging
import os
import time
from contextlib import suppress
from pathlib import Path

from polyroute.storage.database import Database
from polyroute.storage.locks import try_lock
from polyroute.storage.reading import Backlog, JournalReader
from polyroute.storage.status import NAME, WriterStatus, write_status
from polyroute.storage.writer import RowWriter

logger = logging.getLogger(__name__)

WINDOW_SECONDS = 0.08
"""How long the writer lets records gather."""

_BATCH = 512
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 2.0
_SAY_EVERY = 0.5
_BEAT_SECONDS = 3.0


class LedgerWriter:
    """Writes up the journals in `folder`. Used by one thread at a time; `run_pass` must be called again and again."""

    def __init__(self, database: Database, folder: Path, batch: int = _BATCH) -> None:
        self._database = database
        self._folder = folder
        self._batch = batch
        self._pen: int | None = None
        self._reader = JournalReader(folder)
        self._rows: RowWriter | None = None
        self._retry_at = 0.0
        self._pause = 0.0
        self._error: str | None = None
        self._said: WriterStatus | None = None
        self._say_at = 0.0
        self._backlog = Backlog()
        self._written = 0

    @property
    def works(self) -> bool:
        """Whether the database took the last batch that it was offered."""
        return self._error is None

    def take_pen(self) -> bool:
        """Become the writer, unless somebody else is. Raises OSError."""
        if self._pen is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._folder / "writer.lock", os.O_RDWR | os.O_CREAT, 0o600)
            if not try_lock(descriptor):
                os.close(descriptor)
                return False
            self._pen = descriptor
        return True

    def run_pass(self, seconds: float = 1.0, *, hurry: bool = False) -> bool:
        """Write what waits, for about `seconds` at most; False when there is more to write. Never raises for what the database
        says: it is asked again after a while, or at once if there is need to `hurry`."""
        try:
            if not self.take_pen():
                return True
        except OSError as error:
            self._lose(error)
            return True
        if not hurry and time.monotonic() < self._retry_at:
            if time.time() >= self._say_at:
                self._backlog = self._reader.backlog()
                self._say()
            return True
        deadline = time.monotonic() + seconds
        try:
            while records := self._reader.read(self._batch):
                self._rows = self._rows or RowWriter(self._database, self._folder)
                self._written += self._rows.write(records)
                self._reader.commit()
                self._recover()
                if time.monotonic() > deadline:
                    self._backlog = self._reader.backlog()
                    self._say()
                    return False
            if self._error is not None and not self._backlog.rows:
                self._recover()
        except Exception as error:  # noqa: BLE001 - whatever a driver raises, the journal has the records
            self._reader.reset()
            self._lose(error)
            self._backlog = self._reader.backlog()
        else:
            self._backlog = Backlog()
        self._say()
        return True

    def close(self) -> None:
        """Give the pen to whoever wants it."""
        self._close_rows()
        self._reader.close()
        if self._pen is not None:
            with suppress(OSError):
                (self._folder / NAME).unlink(missing_ok=True)
            os.close(self._pen)
            self._pen = None

    def _recover(self) -> None:
        if self._error is not None:
            logger.warning("the database takes requests again; the journal is written up")
        self._error, self._pause, self._retry_at = None, 0.0, 0.0

    def _lose(self, error: Exception) -> None:
        text = (str(error).strip() or type(error).__name__).splitlines()[0]
        if self._error is None:
            logger.warning(
                "the database does not take requests (%s); they wait in the journal %s until it does",
                text,
                self._folder,
            )
        self._error = text
        self._pause = min(max(self._pause * 2, _FIRST_PAUSE), _LONGEST_PAUSE)
        self._retry_at = time.monotonic() + self._pause
        self._close_rows()

    def _close_rows(self) -> None:
        rows, self._rows = self._rows, None
        if rows is not None:
            with suppress(Exception):  # a connection that broke may also fail to close
                rows.close()

    def _say(self) -> None:
        """Tell how it stands, where that is new, and from time to time that one is there at all."""
        now, said, found = time.time(), self._said, self._backlog
        turned = said is None or (said.error is None) != (self._error is None)
        if now < self._say_at and not turned:
            return
        status = WriterStatus(
            at=now, pid=os.getpid(), written=self._written, rows=found.rows, bytes=found.bytes, oldest=found.oldest,
            error=self._error,
        )  # fmt: skip
        news = (status.written, status.rows, status.error)
        if said is not None and now - said.at < _BEAT_SECONDS and (said.written, said.rows, said.error) == news:
            return
        self._say_at = now + _SAY_EVERY
        self._said = status
        with suppress(OSError):  # a disk that is full; the figures are missed, no request is
            write_status(self._folder, status)
