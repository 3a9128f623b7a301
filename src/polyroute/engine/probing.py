"""Probes of providers whose breaker is open, so that no caller's request has to find out that one is still down.

Unless the operator asks for more, only free endpoints are asked (the list of models), and only while a breaker of the whole
provider is not closed. A probe that finds the provider down leaves the breaker open for longer; one that is answered changes
nothing but what operators see, for a list of models proves little of the models: real requests try those, one at a time, when
the cooldown is over. Where paid probes are asked for, a chat of a few tokens follows a free probe that was answered: an
ordinary request of the ledger, tagged `polyroute: probe`, with the operator's limit as its budget.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import msgspec

from polyroute.catalog.model import Provider
from polyroute.engine.envelope import new_request_id, read_fields
from polyroute.engine.gateway import Gateway
from polyroute.engine.lanes import Conversation
from polyroute.ports import Call, Credential, Options, Transport
from polyroute.types.errors import PolyrouteError
from polyroute.types.health import ProbeHealth
from polyroute.types.operations import Dialect, Operation

log = logging.getLogger("polyroute.probing")

INTERVAL = 15.0
"""Seconds between two rounds."""

Ask = Callable[[Provider, Credential | None, Transport], Awaitable[ProbeHealth | None]]
"""Asks a provider's free endpoint; None where it has none. Raises nothing for what the provider does."""


class Prober:
    """Asks the providers of one gateway; without `ask` it never does. What came of it is in `gateway.probes`. `pay` is the
    most that one paid probe may cost, in any currency that is configured ("0.001 USD"); None: there are none."""

    def __init__(
        self, gateway: Gateway, ask: Ask | None, *, interval: float = INTERVAL, pay: str | None = None
    ) -> None:
        self._gateway = gateway
        self._ask = ask
        self._interval = interval
        self._pay = pay
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
            if self._pay is not None and Operation.CHAT in operations:
                await self._ask_for_a_token(live.row, self._pay)
            return
        breakers, now = self._gateway.breakers, asyncio.get_running_loop().time()
        for operation in operations:
            breakers.rest(name, operation, now, min(2 * self._interval, breakers.default.cooldown), "unavailable")

    async def _ask_for_a_token(self, row: Provider, most: str) -> None:
        """What a caller's request would find out; its outcome is the breaker's, as any request's."""
        model = row.default_models.get(Operation.CHAT)
        if model is None:
            return
        target = f"{row.name}/{model}"
        body = msgspec.json.encode(
            {"model": target, "messages": [{"role": "user", "content": "ping"}], "max_completion_tokens": 16}
        )
        call = Call(
            id=new_request_id(), operation=Operation.CHAT, dialect=Dialect.OPENAI_CHAT, model=target, stream=False,
            body=body, content_type=b"application/json", fields=read_fields(body),
            options=Options(budget=most, tags={"polyroute": "probe"}, timeout=self._interval),
        )  # fmt: skip
        try:
            await self._gateway.answer(Conversation(call))
        except PolyrouteError as error:
            log.info("a paid probe of %s: %s", target, error.message)
