"""Places at providers that only so many jobs may be at, all workers together: local compute, and those with a limit."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from polyroute.engine.runtime import LiveProvider
from polyroute.ports.jobs import JobStore
from polyroute.types.errors import AttemptFailed, ErrorKind, Failure
from polyroute.types.jobs import Job
from polyroute.types.operations import ProviderKind

_LOOK = 0.5
"""Seconds between two looks whether a place is free: one waiter of each process looks, the others stand behind it."""


def places_of(providers: Mapping[str, LiveProvider], local: int) -> dict[str, int]:
    """How many jobs may be at each provider at once, of those where that is limited; `local`: at local compute without a
    limit of its own."""
    found: dict[str, int] = {}
    for name, provider in providers.items():
        limits = provider.row.limits
        if limits is not None and limits.concurrency is not None:
            found[name] = limits.concurrency
        elif provider.row.kind is ProviderKind.LOCAL and not provider.row.simulated:
            found[name] = local
    return found


class Places:
    """Takes them for the jobs of this process; who came first is served first."""

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._turns: dict[str, asyncio.Lock] = {}

    async def take(self, provider: str, places: int, job: Job) -> None:
        """Wait for a place. Raises AttemptFailed (timeout) when none becomes free while the job has time."""
        try:
            async with (
                asyncio.timeout(job.order.deadline - time.time()),
                self._turns.setdefault(provider, asyncio.Lock()),
            ):
                while True:
                    if await self._store.lease(provider, places, job, time.time()):
                        return
                    await asyncio.sleep(_LOOK)
        except TimeoutError:
            message = f"No place became free in time: {provider} works on {places} at once."
            raise AttemptFailed(Failure(kind=ErrorKind.TIMEOUT, message=message)) from None

    async def keep(self, provider: str, places: int, job: Job) -> None:
        """Take a place for work that is there already, where one is free."""
        await self._store.lease(provider, places, job, time.time())

    async def give_back(self, provider: str, job: Job) -> None:
        """The job is not at this provider any more."""
        await self._store.give_back(provider, job)
