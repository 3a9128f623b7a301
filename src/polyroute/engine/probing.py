"""Free probes of providers whose breaker is open, so that no caller's request has to find out that one is still down.

Only free endpoints are asked (the list of models), and only while a breaker of the whole provider is not closed. A probe that
finds the provider down leaves the breaker open for longer; one that is answered changes nothing but what operators see, for a
list of models proves little of the models: real requests try those, one at a time, when the cooldown is over.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from polyroute.catalog.model import Provider
from polyroute.engine.gateway import Gateway
from polyroute.ports import Credential, Transport
from polyroute.types.health import ProbeHealth
from polyroute.types.operations import Operation

log = logging.getLogger("polyroute.probing")

INTERVAL = 15.0
"""Seconds between two rounds."""

Ask = Callable[[Provider, Credential | None, Transport], Awaitable[ProbeHealth | None]]
"""Asks a provider's free endpoint; None where it has none. Raises nothing for what the provider does."""


class Prober:
    """Asks the providers of one gateway; without `ask` it never does. What came of it is in `gateway.probes`."""

    def __init__(self, gateway: Gateway, ask: Ask | None, *, interval: float = INTERVAL) -> None:
        self._gateway = gateway
        self._ask = ask
        self._interval = interval
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin with the rounds."""
        if self._ask is not None:
            self._task = asyncio.create_task(self._run())

    def stop(self) -> None:
        """End them."""
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            try:
                await self.round()
            except Exception:
                log.exception("a round of probes failed; the next one follows")

    async def round(self) -> None:
        """Ask every provider that has an open breaker, all at once; forget what was found of those that are well."""
        open_now: dict[str, list[Operation]] = {}
        for key, breaker in self._gateway.breakers.restricted.items():
            provider, _, operation = key.partition(" ")
            if breaker.state != "closed" and " " not in operation and provider in self._gateway.runtime.providers:
                open_now.setdefault(provider, []).append(Operation(operation))
        probes = self._gateway.probes
        for name in [name for name in probes if name not in open_now]:
            del probes[name]
        await asyncio.gather(*(self._probe(name, operations) for name, operations in open_now.items()))

    async def _probe(self, name: str, operations: list[Operation]) -> None:
        live = self._gateway.runtime.providers[name]
        credential = live.credentials[0] if live.credentials else None
        found = None if self._ask is None else await self._ask(live.row, credential, self._gateway.transport)
        if found is None:
            return
        self._gateway.probes[name] = found
        if not found.down:
            return
        breakers, now = self._gateway.breakers, asyncio.get_running_loop().time()
        for operation in operations:
            breakers.rest(name, operation, now, min(2 * self._interval, breakers.default.cooldown), "unavailable")
