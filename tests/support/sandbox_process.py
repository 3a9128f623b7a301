"""The simulated providers in a process of their own, which can be killed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from support.gateway_process import environment

_ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+")


class SandboxProcess:
    """`polyroute sandbox --port 0` at `url`."""

    def __init__(self, folder: Path) -> None:
        self.url = ""
        self._folder = folder

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "polyroute", "sandbox", "--port", "0"],
            cwd=self._folder, env=environment(self._folder), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if found := _ADDRESS.search(line):
                self.url = found[0]
                break
        assert self.url
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def set(self, provider: str, **command: Any) -> None:
        """`POST /_control`."""
        answer = httpx.post(f"{self.url}/_control", json={"provider": provider, **command}, trust_env=False)
        assert answer.status_code == 200, answer.text

    def open_streams(self, provider: str) -> int:
        """Streams that are being sent."""
        counters = httpx.get(f"{self.url}/_control", trust_env=False).json()["counters"]
        return int(counters.get(provider, {}).get("open_streams", 0))

    def kill(self) -> None:
        """`kill -9`: every connection is cut, and nobody listens any more."""
        self._process.kill()
        self._process.wait(10)
