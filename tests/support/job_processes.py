"""Several gateways and workers over one database, which are killed and started again while jobs are under way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from support.eventually import eventually
from support.gateway_process import GatewayProcess, environment


class WorkerProcess:
    """`polyroute worker` in `folder`, with the configuration that is there."""

    def __init__(self, folder: Path, extra: dict[str, str] | None = None) -> None:
        self._folder = folder
        self._extra = extra
        self._lines: list[str] = []
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it and wait until it works."""
        ready = threading.Event()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "polyroute", "worker"],
            cwd=self._folder, env=environment(self._folder, self._extra), stderr=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, args=(self._process, ready), daemon=True)
        self._reader.start()
        assert ready.wait(30), self.log

    def _read(self, process: subprocess.Popen[str], ready: threading.Event) -> None:
        assert process.stderr is not None
        for line in process.stderr:
            self._lines.append(line)
            if "works on jobs" in line:
                ready.set()

    @property
    def log(self) -> str:
        """Everything on standard error so far, of all its lives."""
        return "".join(self._lines)

    @property
    def pid(self) -> int:
        """Of its present life."""
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """`kill -9`."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._end(10)

    def stop(self) -> int:
        """End it in order; gives the exit code."""
        assert self._process is not None
        self._process.terminate()
        return self._end(20)

    def _end(self, seconds: float) -> int:
        assert self._process is not None
        status = self._process.wait(seconds)
        self._reader.join()
        assert self._process.stderr is not None
        self._process.stderr.close()
        return status


class JobHouse:
    """One gateway in front, and workers beside it, over one database."""

    def __init__(self, folder: Path, config: dict[str, Any], workers: int, extra: dict[str, str] | None = None) -> None:
        """`extra` goes into the environment of all processes."""
        self.folder = folder
        self._config = config
        self._extra = extra
        self._start_gateway = self._gateway_of(config)
        self.workers = [WorkerProcess(folder, extra) for _ in range(workers)]

    def _gateway_of(self, config: dict[str, Any]) -> Callable[[], GatewayProcess]:
        return lambda: GatewayProcess(self.folder, json.dumps(config), extra=self._extra).__enter__()

    def __enter__(self) -> Self:
        self.gateway = self._start_gateway()
        for worker in self.workers:
            worker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self.workers:
            worker.kill()
        self.gateway.kill()

    def client(self) -> httpx.Client:
        """An HTTP client of the gateway's present life."""
        return httpx.Client(base_url=self.gateway.url, timeout=30, trust_env=False)

    def kill_gateway(self) -> None:
        """`kill -9`, and a new one."""
        self.gateway.kill()
        self.gateway = self._start_gateway()

    def kill_worker(self, number: int) -> None:
        """`kill -9`, and a new one."""
        self.workers[number].kill()
        self.workers[number].start()

    @property
    def log(self) -> str:
        """What all of them said."""
        return self.gateway.log + "".join(worker.log for worker in self.workers)

    def jobs(self) -> list[dict[str, Any]]:
        """All jobs, oldest first."""
        found: list[dict[str, Any]] = []
        after = ""
        with self.client() as client:
            while True:
                page = client.get(f"/v1/jobs?limit=100{after}").json()
                found += page["data"]
                if not page["has_more"]:
                    return found[::-1]
                after = f"&after={page['last_id']}"

    def await_ended(self) -> list[dict[str, Any]]:
        """All jobs, when each has ended."""
        done: list[dict[str, Any]] = []

        def over() -> bool:
            done[:] = self.jobs()
            return all(job["status"] in ("succeeded", "failed", "cancelled", "expired") for job in done)

        eventually(over, within=30)
        return done

    def await_jobs(self, count: int, seconds: float) -> list[dict[str, Any]]:
        """All jobs, when none is under way any more."""
        done: list[dict[str, Any]] = []

        def over() -> bool:
            done[:] = self.jobs()
            return len(done) == count and not any(job["status"] in ("queued", "running") for job in done)

        eventually(over, within=seconds)
        return done
