"""Processes on cores of their own: started, waited for, and what they used."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PATIENCE = 30.0


def cores() -> tuple[int, int]:
    """The core of what is measured, and the core of upstream and load; the same one where there is no other."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[0], allowed[-1]


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def program(name: str) -> str | None:
    """Where a program that may be installed is; the usual places for servers count too."""
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


class Process:
    """A process that is pinned to a core and ends with the benchmark."""

    def __init__(
        self, command: Sequence[str], core: int, *, folder: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.started = time.perf_counter()
        self._log = (folder / f"{Path(command[0]).name}-{free_port()}.log").open("wb")
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **(environment or {})},
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        os.sched_setaffinity(self._process.pid, {core})

    def wait_for(self, ready: Callable[[], bool], patience: float = _PATIENCE) -> float:
        """Until `ready`; seconds since the start. Raises RuntimeError with the process's log when it ends or hangs."""
        while not ready():
            if self._process.poll() is not None or time.perf_counter() - self.started > patience:
                raise RuntimeError(f"{self._process.args!r} is not ready:\n{Path(self._log.name).read_text()}")
            time.sleep(0.002)
        return time.perf_counter() - self.started

    def cpu(self) -> float:
        """CPU seconds of the process and its children."""
        ticks = 0
        for pid in (self._process.pid, *self._children()):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / _TICKS

    def rest(self) -> None:
        """Wait until the process and its children have nothing left to do."""
        spent, calm = self.cpu(), 0
        while calm < 3:
            time.sleep(0.15)
            now = self.cpu()
            calm, spent = (calm + 1 if now - spent <= 0.01 else 0), now

    def forget_peak(self) -> None:
        """Have the most that was resident counted anew."""
        Path(f"/proc/{self._process.pid}/clear_refs").write_text("5")

    def memory(self, field: str = "VmRSS") -> float:
        """Resident megabytes now, or at most so far (`VmHWM`)."""
        for line in Path(f"/proc/{self._process.pid}/status").read_text().splitlines():
            if line.startswith(field):
                return int(line.split()[1]) / 1024
        return 0.0

    def _children(self) -> list[int]:
        pid = self._process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def stop(self) -> None:
        """End it."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._log.close()


def listens(port: int) -> Callable[[], bool]:
    """Whether somebody accepts connections on a port."""

    def ready() -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
        return False

    return ready


def answers(port: int, request: bytes) -> Callable[[], bool]:
    """Whether a request gets a 200."""

    def ready() -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(request)
            return connection.recv(12).endswith(b" 200")
        return False

    return ready
