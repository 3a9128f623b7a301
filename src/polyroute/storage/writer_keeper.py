"""Keeping the ledger's writer running beside a process that serves."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from contextlib import suppress
from pathlib import Path

import msgspec

from polyroute.storage.writer_process import Orders

logger = logging.getLogger(__name__)

_RESTART_SECONDS = 0.2
_PATIENCE_SECONDS = 10.0


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
            began, failed = time.monotonic(), True
            try:
                self._process = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "polyroute.storage.writer_process", stdin=asyncio.subprocess.PIPE
                )
                assert self._process.stdin is not None
                self._process.stdin.write(self._orders)
                status = await self._process.wait()
                failed = status > 0  # not killed from outside, which says nothing of the next one
            except OSError as error:
                logger.error("the ledger's writer cannot be started (%s); the journal holds on", error)  # noqa: TRY400
            else:
                logger.error("the ledger's writer ended with status %d; starting it again", status)
            soon = failed and time.monotonic() - began < pause
            pause = min(pause * 2, _PATIENCE_SECONDS) if soon else _RESTART_SECONDS
            await asyncio.sleep(pause)
