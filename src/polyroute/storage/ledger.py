"""The ledger that the engine writes to: into the journal at once, into the database a moment later."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from contextlib import suppress
from itertools import islice
from pathlib import Path

from polyroute.storage.database import Database
from polyroute.storage.frames import salvage
from polyroute.storage.journal import Batch, Journal
from polyroute.storage.recovery import Recovery, recover
from polyroute.storage.writer import RowWriter
from polyroute.types.records import RequestRecord

logger = logging.getLogger(__name__)

WINDOW_SECONDS = 0.08
"""How long the writer lets records gather."""

_BATCH = 512
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0
_UNJOURNALED = 10_000
"""Records that wait in memory when the disk takes no more; beyond that the oldest are given up, loudly."""


def journal_folder(database: Database) -> Path:
    """Where the journal lies: beside an SQLite database, else in the working directory."""
    if database.path is None:
        return Path("polyroute.journal")
    return database.path.with_name(f"{database.path.stem}.journal")


class JournaledLedger:
    """Implements `ports.Ledger` over a database. Replays what earlier processes left, then starts its writer thread.

    `recovery` tells what the replay found.
    """

    def __init__(self, database: Database, folder: Path | None = None, window: float = WINDOW_SECONDS) -> None:
        self._database = database
        self._folder = folder or journal_folder(database)
        self._window = window
        self._folder.mkdir(parents=True, exist_ok=True)
        self.recovery: Recovery = recover(self._folder, database)
        self._journal = Journal(self._folder)
        self._unjournaled: deque[RequestRecord] = deque()
        self._journal_works = True
        self._database_works = True
        self._given_up = 0
        self._idle = True
        self._wake = threading.Event()
        self._hurry = threading.Event()
        self._stop = threading.Event()
        self._progress = threading.Condition()
        self._memory = threading.Lock()
        self._writer: RowWriter | None = None
        self._thread = threading.Thread(target=self._run, name="polyroute-ledger", daemon=True)
        self._thread.start()

    @property
    def writer(self) -> str:
        """This process's name in the names of its journal's files."""
        return self._journal.writer

    @property
    def folder(self) -> Path:
        """Where the journal lies."""
        return self._folder

    @property
    def pending(self) -> int:
        """Records that the database does not have yet."""
        return self._journal.appended - self._journal.committed + len(self._unjournaled)

    @property
    def journal_bytes(self) -> int:
        """Size on disk of what the database does not have yet."""
        return self._journal.size

    @property
    def available(self) -> bool:
        """Whether the database took the last batch that it was offered."""
        return self._database_works

    @property
    def given_up(self) -> int:
        """Records lost because both the disk and the database refused them."""
        return self._given_up

    def record(self, entry: RequestRecord) -> None:
        """Durable against a crash of the process when it returns; does not block on the database."""
        try:
            self._journal.append(entry)
        except OSError as error:
            self._keep_in_memory(entry, error)
        else:
            if not self._journal_works:
                self._journal_works = True
                logger.warning("the journal can be written again")
        if self._idle:
            self._idle = False
            self._wake.set()

    def flush(self, timeout: float = 30.0) -> bool:
        """Wait until everything recorded so far is in the database; False when that took longer than `timeout` seconds."""
        deadline = time.monotonic() + timeout
        goal = self._journal.appended
        with self._progress:
            while self._journal.committed < goal or self._unjournaled:
                remaining = deadline - time.monotonic()
                if remaining <= 0 or not self._thread.is_alive():
                    return False
                self._hurry.set()
                self._wake.set()
                self._progress.wait(min(remaining, 1.0))
        return True

    def close(self, timeout: float = 10.0) -> None:
        """Write what is left, for at most `timeout` seconds, and stop. What is left after that stays in the journal."""
        if self._stop.is_set():
            return
        self.flush(timeout)
        self._stop.set()
        self._hurry.set()
        self._wake.set()
        self._thread.join()
        if self._writer is not None:
            self._writer.close()
        self._journal.close()

    def _keep_in_memory(self, entry: RequestRecord, error: OSError) -> None:
        if self._journal_works:
            self._journal_works = False
            logger.error(
                "the journal in %s cannot be written (%s): until it can, a crash loses requests that the database does "
                "not have yet",
                self._folder,
                error.strerror,
            )
        with self._memory:
            self._unjournaled.append(entry)
            if len(self._unjournaled) > _UNJOURNALED:
                self._unjournaled.popleft()
                self._given_up += 1

    # ------------------------------------------------------------ the writer's thread

    def _run(self) -> None:
        pause = 0.0
        while not self._stop.is_set():
            self._wake.wait()
            self._wake.clear()
            self._hurry.wait(pause or self._window)
            self._hurry.clear()
            self._idle = True  # before reading: a record that comes now wakes us again
            pause = self._drain(pause)
            if pause:
                self._idle = False
                self._wake.set()

    def _drain(self, pause: float) -> float:
        """Write all that waits; how long to pause before the next try, 0.0 when all went well."""
        try:
            writer = self._writer = self._writer or RowWriter(self._database, self._folder)
            while batch := self._next_batch():
                writer.write(batch.records)
                self._journal.commit(batch)
                self._tell()
            self._write_unjournaled(writer)
        except Exception as error:  # noqa: BLE001 - whatever a driver raises, the journal has the records
            self._lose_database(error)
            return min(max(pause * 2, _FIRST_PAUSE), _LONGEST_PAUSE)
        if not self._database_works:
            self._database_works = True
            logger.warning("the database takes requests again; the journal is written up")
        return 0.0

    def _next_batch(self) -> Batch | None:
        try:
            return self._journal.read(_BATCH)
        except ValueError as error:
            kept = self._journal.set_aside()
            logger.error("the journal was damaged while in use (%s); the file is kept as %s", error, kept)  # noqa: TRY400
            found = salvage(kept.read_bytes())
            assert self._writer is not None
            for start in range(0, len(found.records), _BATCH):
                self._writer.write(found.records[start : start + _BATCH])
            self._tell()
            return self._next_batch()

    def _write_unjournaled(self, writer: RowWriter) -> None:
        while self._unjournaled:
            with self._memory:
                waiting = list(islice(self._unjournaled, _BATCH))
            writer.write(waiting)
            with self._memory:
                taken = {id(entry) for entry in waiting}  # the oldest may have been given up meanwhile
                while self._unjournaled and id(self._unjournaled[0]) in taken:
                    self._unjournaled.popleft()
            self._tell()

    def _lose_database(self, error: Exception) -> None:
        if self._database_works:
            self._database_works = False
            logger.warning(
                "the database does not take requests (%s); they wait in the journal %s until it does",
                str(error).strip() or type(error).__name__,
                self._folder,
            )
        writer, self._writer = self._writer, None
        if writer is not None:
            with suppress(Exception):  # a connection that broke may also fail to close
                writer.close()
        self._tell()

    def _tell(self) -> None:
        with self._progress:
            self._progress.notify_all()
