"""The ledger's writer as a process of its own, so that it costs the processes that serve nothing: `python -m` this module.

It is told what to do by one line on standard input, and ends when that is closed: by its parent's wish, or by its death. It
yields to traffic (nice) until it cannot keep up, and then takes its full share.
"""

from __future__ import annotations

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
from polyroute.storage.journal import SUFFIX
from polyroute.storage.ledger_writer import WINDOW_SECONDS, LedgerWriter
from polyroute.telemetry import configure_logging

_NICE = 19
_PASS_SECONDS = 1.0
_CALM_SECONDS = 10.0
"""A writer that does not come to the end of the journal within so long does not keep up: what comes in is no burst."""
_END_SECONDS = 8.0
_LINGER_SECONDS = 0.5


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
            began, done = time.monotonic(), False
            while not done and not end.is_set():
                if time.monotonic() - began < _CALM_SECONDS:
                    done = gentle.submit(writer.run_pass, _PASS_SECONDS).result()
                else:
                    done = writer.run_pass(_PASS_SECONDS)
        deadline = time.monotonic() + _END_SECONDS
        while not writer.run_pass(hurry=True) and time.monotonic() < deadline:
            pass
        # The system closes a killed parent's files one by one: our input may end before its journal is let go.
        last = time.monotonic() + _LINGER_SECONDS
        while any(folder.glob(f"*{SUFFIX}")) and time.monotonic() < last:
            time.sleep(0.01)
            writer.run_pass(hurry=writer.works)
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


if __name__ == "__main__":
    sys.exit(main())
