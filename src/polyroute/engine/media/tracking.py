"""Who follows work that a provider does in its own time: nobody, or a durable job that can go on with it after a crash."""

from __future__ import annotations

import asyncio
from typing import Protocol

from polyroute.types.errors import Failure
from polyroute.types.media import Handle, Progress
from polyroute.types.plans import Target


class Tracker(Protocol):
    """Told of each step before the next one is taken. An attempt is known by its target and the credential's label."""

    durable: bool
    """The work outlives this process: it is not cancelled at the provider when the task that waits for it is."""
    spent: int
    """How often accepted work has failed for good, which is what tells further tries of one target apart."""

    async def placed(self, provider: str) -> None:
        """Wait until the provider may be asked; the time that it has for the work begins after that. Raises AttemptFailed
        (timeout) when there is no time left."""

    async def submitting(self, target: Target, credential: str | None, key: str, *, resubmits: bool) -> Handle | None:
        """The work is about to be handed over under this idempotency key. Gives the handle where that was done before, and
        is only to be waited for.

        Raises AttemptFailed (unknown_outcome) when it was begun before, nobody knows whether it was accepted, and trying
        again (not `resubmits`) could start it twice.
        """

    async def accepted(self, handle: Handle) -> None:
        """The provider took it; the handle is durable when this returns."""

    async def refused(self) -> None:
        """The provider did not take it."""

    async def failed(self, failure: Failure) -> None:
        """Accepted work failed for good: another try is other work, with a key of its own."""

    async def progress(self, progress: Progress) -> None:
        """How far it is."""

    async def woken(self, seconds: float) -> None:
        """Wait before the next poll, less where the provider reports back earlier."""


class Untracked:
    """Work that is over when its caller leaves."""

    durable = False
    spent = 0

    async def placed(self, provider: str) -> None:
        """Calls that are waited for have the limits of calls."""

    async def submitting(self, target: Target, credential: str | None, key: str, *, resubmits: bool) -> Handle | None:
        """Nothing was begun before."""
        return None

    async def accepted(self, handle: Handle) -> None:
        """Nothing to keep."""

    async def refused(self) -> None:
        """Nothing to take back."""

    async def failed(self, failure: Failure) -> None:
        """The next try is another piece of work."""
        self.spent += 1

    async def progress(self, progress: Progress) -> None:
        """Nobody looks."""

    async def woken(self, seconds: float) -> None:
        """Sleeps."""
        await asyncio.sleep(seconds)
