"""The ledger that the engine writes to: into the journal at once, into the database a moment later."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Literal

import msgspec

from polyroute.storage.database import Database
from polyroute.storage.journal import SUFFIX, Journal
from polyroute.storage.ledger_writer import WINDOW_SECONDS, LedgerWriter
from polyroute.storage.status import STALE_SECONDS, read_status
from polyroute.storage.writer import RowWriter
from polyroute.types.health import LedgerHealth
from polyroute.types.records import RequestRecord

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 0.25
_UNJOURNALED = 10_000
"""Records that wait in memory when the disk takes no more; beyond that the oldest are given up, loudly."""
_BLOCK = 512
_HOPELESS_SECONDS = 1.0
_SLACK = 0.9
"""A journal that was full takes requests again when it has shrunk to this share of its limit."""


class JournalTerms(msgspec.Struct, frozen=True):
    """How large the journals of this machine may grow together, in bytes, and what becomes of calls beyond that."""

    limit: int = 1_000_000_000
    when_full: Literal["refuse", "continue"] = "refuse"


def journal_folder(database: Database) -> Path:
    """Where the journal lies: beside an SQLite database, else in the working directory."""
    if database.path is None:
        return Path("polyroute.journal")
    return database.path.with_name(f"{database.path.stem}.journal")


class JournaledLedger:
    """Implements `ports.Ledger` over a database. With `writes` it writes up the journals of the folder itself, in a thread,
    unless another process does; without, that is left to the writer's process, except for what is left at the end.

    `on_full` is told, from a thread, when the journal has become full (with what callers are to be told) and when it is not
    any more; `on_unmetered` of each request that is not written down because of that.
    """

    def __init__(
        self, database: Database, folder: Path | None = None, window: float = WINDOW_SECONDS, *, writes: bool = True,
        terms: JournalTerms | None = None,
    ) -> None:  # fmt: skip
        self.on_full: Callable[[str | None], None] | None = None
        self.on_unmetered: Callable[[], None] | None = None
        self._database = database
        self._folder = folder or journal_folder(database)
        self._terms = terms or JournalTerms()
        self._journal = Journal(self._folder)
        self._writer = LedgerWriter(database, self._folder) if writes else None
        self._window = max(window, 0.001) if writes else _LOOK_SECONDS
        self._unjournaled: deque[RequestRecord] = deque()
        self._memory = threading.Lock()
        self._journal_works = True
        self._given_up = 0
        self._unmetered = 0
        self._full = False
        self._dropping = False
        self._looked = 0.0
        self._turn = threading.Lock()
        self._stop = threading.Event()
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
    def given_up(self) -> int:
        """Records lost because both the disk and the database refused them."""
        return self._given_up

    @property
    def unwritten(self) -> int:
        """Bytes of what this process recorded and the database does not have yet."""
        return self._journal.unwritten

    def record(self, entry: RequestRecord) -> None:
        """Durable against a crash of the process when it returns; does not block on the database."""
        if self._dropping:
            self._unmetered += 1
            if self.on_unmetered is not None:
                self.on_unmetered()
            return
        try:
            self._journal.append(entry)
        except OSError as error:
            self._keep_in_memory(entry, error)
        else:
            if not self._journal_works:
                self._tell_it_works()

    def health(self) -> LedgerHealth:
        """How the ledger stands, on this machine."""
        said = read_status(self._folder)
        present = said is not None and time.time() - said.at < STALE_SECONDS
        size = self._size()
        if said is None:
            return LedgerHealth(
                writer=False, database=None, rows=None, bytes=None, oldest_seconds=None, written=None, error=None,
                journal_bytes=size, limit_bytes=self._terms.limit, when_full=self._terms.when_full, full=self._full,
                unjournaled=len(self._unjournaled),
            )  # fmt: skip
        return LedgerHealth(
            writer=present, database=said.error is None, rows=said.rows, bytes=said.bytes,
            oldest_seconds=None if said.oldest is None else round(max(time.time() - said.oldest, 0.0), 1),
            written=said.written, error=said.error, journal_bytes=size, limit_bytes=self._terms.limit,
            when_full=self._terms.when_full, full=self._full, unjournaled=len(self._unjournaled),
        )  # fmt: skip

    def flush(self, timeout: float = 30.0) -> bool:
        """Wait until everything recorded so far is in the database; False when that took longer than `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while self._unjournaled or self._journal.unwritten:
            if time.monotonic() > deadline:
                return False
            if self._writer is not None:
                with self._turn:
                    self._place_unjournaled()
                    self._writer.run_pass(hurry=True)
            time.sleep(0.002)
        return True

    def close(self, timeout: float = 10.0) -> None:
        """Finish the journal, and see to it, for at most `timeout` seconds, that the database gets what is in it: by the
        writer, or where there is none, by ourselves. What is left after that stays for the next start."""
        if self._stop.is_set():
            return
        self._stop.set()
        self._thread.join()
        self._place_unjournaled()
        self._journal.close()
        writer = self._writer or LedgerWriter(self._database, self._folder)
        deadline = time.monotonic() + timeout
        hopeless = time.monotonic() + min(timeout, _HOPELESS_SECONDS)
        while True:
            done = writer.run_pass(hurry=True) if self._journal.unwritten or self._writer is not None else True
            if not self._journal.unwritten and done:
                break
            away = not writer.works or ((said := read_status(self._folder)) is not None and said.error is not None)
            if time.monotonic() > (hopeless if away else deadline):
                break
            time.sleep(0.01)
        writer.close()

    # ------------------------------------------------------------ the thread

    def _run(self) -> None:
        while not self._stop.wait(self._window):
            with self._turn:
                now = time.monotonic()
                if now >= self._looked + _LOOK_SECONDS:
                    self._looked = now
                    self._look()
                    self._place_unjournaled()
                if self._writer is not None:
                    while not self._writer.run_pass() and not self._stop.is_set():
                        self._look()

    def _size(self) -> int:
        """Bytes that the journals of this machine take on the disk."""
        found = 0
        with os.scandir(self._folder) as entries:
            for entry in entries:
                if entry.name.endswith(SUFFIX):
                    with suppress(OSError):  # the writer was faster
                        found += entry.stat().st_size
        return found

    def _look(self) -> None:
        """Whether the journal is full."""
        limit = self._terms.limit
        try:
            size = self._size()
        except OSError:
            return
        full = size > (limit * _SLACK if self._full else limit)
        if full == self._full:
            return
        self._full = full
        refuse = self._terms.when_full == "refuse"
        self._dropping = full and not refuse
        if full:
            logger.error(
                "the journal %s has reached its limit of %d bytes because the database is away: %s", self._folder, limit,
                "requests are refused until it shrinks" if refuse else "requests go on UNMETERED until it shrinks",
            )  # fmt: skip
        else:
            logger.warning("the journal is below its limit again; %d requests went unmetered", self._unmetered)
        if self.on_full is not None and refuse:
            self.on_full(
                "The ledger's database is away and its journal is full: no request can be accounted for. Try again later."
                if full
                else None
            )

    # ------------------------------------------------------------ when the disk is full

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

    def _tell_it_works(self) -> None:
        self._journal_works = True
        logger.warning("the journal can be written again")

    def _place_unjournaled(self) -> None:
        """Bring what waits in memory into the journal, or else straight into the database."""
        rows: RowWriter | None = None
        try:
            while self._unjournaled:
                with self._memory:
                    waiting = list(islice(self._unjournaled, _BLOCK))
                try:
                    self._journal.append(waiting[0])
                    waiting = waiting[:1]
                except OSError:
                    rows = rows or RowWriter(self._database, self._folder)
                    rows.write(waiting)
                with self._memory:
                    taken = {id(entry) for entry in waiting}  # the oldest may have been given up meanwhile
                    while self._unjournaled and id(self._unjournaled[0]) in taken:
                        self._unjournaled.popleft()
                if rows is None and not self._journal_works:
                    self._tell_it_works()
        except Exception as error:  # noqa: BLE001 - whatever a driver raises, they wait
            logger.debug("neither disk nor database take requests: %s", error)
        finally:
            if rows is not None:
                rows.close()
