"""A real `polyroute serve` in a process of its own, seen as its users see it: address, log, files, database."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import polyroute
from support.eventually import eventually
from support.prepared_state import prepare, prepare_prices

_SOURCES = str(Path(polyroute.__file__).resolve().parents[1])
_LISTENS = re.compile(r"listens on (http://\S+) \(process (\d+)\)")


def environment(folder: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """A process environment in which no credential of the developer's is."""
    own = {"PATH": os.environ.get("PATH", ""), "HOME": str(folder), "PYTHONPATH": _SOURCES, "COLUMNS": "200"}
    return {**own, **(extra or {})}


def run_polyroute(
    *arguments: str, folder: Path, extra: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """One command of the command line, run to its end in `folder`."""
    return subprocess.run(
        [sys.executable, "-m", "polyroute", *arguments],
        cwd=folder, env=environment(folder, extra), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


class GatewayProcess:
    """`polyroute serve --port 0` in `folder`, whose `polyroute.yaml` is `config` where that is given. Unless it is the
    `first` start there, the folder is as an earlier one would have left it."""

    def __init__(
        self, folder: Path, config: str | None = None, arguments: Sequence[str] = (), *,
        extra: Mapping[str, str] | None = None, first: bool = False,
    ) -> None:  # fmt: skip
        self.folder = folder
        self.config = folder / "polyroute.yaml"
        self.url = ""
        self.pid = 0
        self._arguments = [sys.executable, "-m", "polyroute", "serve", "--port", "0", *arguments]
        self._environment = environment(folder, extra)
        self._lines: list[str] = []
        self._listens = threading.Event()
        if config is not None:
            self.config.write_text(config)
        if not first:
            prepare(folder / "polyroute.db")
            prepare_prices(folder / "polyroute.prices")  # for those whose database is no file

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._arguments, cwd=self.folder, env=self._environment, stderr=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        assert self._listens.wait(30), self.log
        assert self.url, self.log
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._lines.append(line)
            if found := _LISTENS.search(line):
                self.url, self.pid = found[1], int(found[2])
                self._listens.set()
        self._listens.set()

    @property
    def log(self) -> str:
        """Everything on standard error so far."""
        return "".join(self._lines)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        host, _, port = self.url.removeprefix("http://").rpartition(":")
        return host, int(port)

    @property
    def process_id(self) -> int:
        """Of the process that was started; with several workers, their parent."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process is still there."""
        return self._process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process (with several workers: to their parent)."""
        self._process.send_signal(number)

    def stop(self) -> int:
        """End it in order; gives the exit code."""
        if self.running:
            self._process.terminate()
        return self._wait()

    def kill(self) -> None:
        """`kill -9`, workers included."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._wait()

    def _wait(self) -> int:
        try:
            status = self._process.wait(45)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            raise
        self._reader.join(10)
        assert self._process.stderr is not None
        self._process.stderr.close()
        return status

    # ---------------------------------------------------------------- the ledger

    def sql(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """Rows, as an operator with the sqlite3 shell would see them."""
        database = self.folder / "polyroute.db"
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10)) as shell:
            shell.row_factory = sqlite3.Row
            return [dict(row) for row in shell.execute(query, values)]

    def entry(self, request_id: str) -> dict[str, Any]:
        """The one row of a settled request."""
        rows = eventually(lambda: self.sql("SELECT * FROM requests WHERE id = ?", request_id))
        assert len(rows) == 1
        return rows[0]

    def attempts(self, request_id: str) -> list[dict[str, Any]]:
        """The rows of its attempts, in order; waits until the request is settled."""
        self.entry(request_id)
        return self.sql("SELECT * FROM attempts WHERE request_id = ? ORDER BY number", request_id)

    def newest_entry(self, model: str) -> dict[str, Any]:
        """The row of the only request that named this model, for callers who got no request id."""
        rows = eventually(lambda: self.sql("SELECT * FROM requests WHERE requested_model = ?", model))
        assert len(rows) == 1
        return rows[0]
