"""Wakes those who wait for something to happen to a job, when it happens in this process."""

from __future__ import annotations

import asyncio


class Bells:
    """One event for each job that somebody waits for."""

    def __init__(self) -> None:
        self._waiting: dict[str, tuple[asyncio.Event, int]] = {}

    def ring(self, job_id: str) -> None:
        """Something happened to a job."""
        found = self._waiting.get(job_id)
        if found is not None:
            found[0].set()

    async def wait(self, job_id: str, seconds: float) -> None:
        """Until the next ring, or for so many seconds: what happens in other processes rings no bell here."""
        event, waiting = self._waiting.get(job_id, (asyncio.Event(), 0))
        self._waiting[job_id] = (event, waiting + 1)
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            return
        finally:
            _, waiting = self._waiting[job_id]
            if waiting == 1:
                del self._waiting[job_id]
            else:
                self._waiting[job_id] = (asyncio.Event() if event.is_set() else event, waiting - 1)
