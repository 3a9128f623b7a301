"""The ledger's writer as a process of its own, so that it costs the processes that serve nothing: `python -m` this module.

It is told what to do by one line on standard input, and ends when that is closed: by its parent's wish, or by its death. It
yields to traffic (nice) until it cannot keep up, and then takes its full share.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import msgspec

from polyroute.storage.database import Database, known_database
from polyroute.storage.ledger_writer import WINDOW_SECONDS, LedgerWriter
from polyroute.telemetry import configure_logging

logger = logging.getLogger(__name__)

_NICE = 10
_CALM_SECONDS = 1.0
"""A writer that does not come to the end of the journal within so long does not keep up."""
_END_SECONDS = 8.0
_RESTART_SECONDS = 0.2
_PATIENCE_SECONDS = 10.0


class Orders(msgspec.Struct, frozen=True):
    """What a writer is started with."""

    url: str
    folder: str


def write_until_told(database: Database, folder: Path, end: threading.Event) -> None:
    """Write up the journals in `folder` until `end`, and then what is left.

    The thread that usually writes has a low priority. Nobody without privileges can raise a priority again, so when it does
    not keep up, the calling thread writes in its place until the journal is at its end.
    """
    writer = LedgerWriter(database, folder)
    with ThreadPoolExecutor(1, initializer=_yield_to_others) as gentle:
        while not end.wait(WINDOW_SECONDS):
            done = gentle.submit(writer.run_pass, _CALM_SECONDS).result()
            while not done:
                done = writer.run_pass(_CALM_SECONDS)
        deadline = time.monotonic() + _END_SECONDS
        while not writer.run_pass(hurry=True) and time.monotonic() < deadline:
            pass
    writer.close()


def _yield_to_others() -> None:
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)


def main() -> int:
    """Read the orders, write, and end with the parent."""
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)  # they go to a whole group; the parent says when it is the writer's turn
    configure_logging()
    orders = msgspec.json.decode(sys.stdin.buffer.readline(), type=Orders)
    end = threading.Event()

    def await_end() -> None:
        while sys.stdin.buffer.read(4096):
            pass
        end.set()

    threading.Thread(target=await_end, daemon=True).start()
    write_until_told(known_database(orders.url), Path(orders.folder), end)
    return 0


class WriterProcess:
    """Keeps one writer running beside the process that starts it. For one event loop."""

    def __init__(self, url: str, folder: Path) -> None:
        self._orders = msgspec.json.encode(Orders(url, str(folder.absolute()))) + b"\n"
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """Of the writer that runs."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start it soon, and again whenever it ends."""
        self._task = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """Let it write what is left, and end it."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), _PATIENCE_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()

    async def _keep(self) -> None:
        pause = _RESTART_SECONDS
        while True:
            began = time.monotonic()
            try:
                self._process = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "polyroute.storage.writer_process", stdin=asyncio.subprocess.PIPE
                )
                assert self._process.stdin is not None
                self._process.stdin.write(self._orders)
                status = await self._process.wait()
            except OSError as error:
                logger.error("the ledger's writer cannot be started (%s); the journal holds on", error)  # noqa: TRY400
            else:
                logger.error("the ledger's writer ended with status %d; starting it again", status)
            pause = min(pause * 2, _PATIENCE_SECONDS) if time.monotonic() - began < pause else _RESTART_SECONDS
            await asyncio.sleep(pause)


if __name__ == "__main__":
    sys.exit(main())
