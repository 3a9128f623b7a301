"""Webhooks on their way: taken from the outbox, signed, sent, tried again with growing pauses."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import msgspec

from polyroute.ports import Timeouts, Transport, WireRequest
from polyroute.ports.budgets import Delivery, Outbox
from polyroute.types.errors import AttemptFailed
from polyroute.types.version import __version__

log = logging.getLogger("polyroute.notifications")

PAUSES = (5.0, 30.0, 120.0, 600.0, 1800.0, 3600.0, 10_800.0, 21_600.0, 43_200.0)
"""Seconds before each further try; after the last one a delivery is given up."""
INTERVAL = 1.0
"""Seconds between two looks into the outbox."""
_MOST = 16
_TIMEOUTS = Timeouts(connect=5.0, headers=15.0, idle=10.0, total=20.0)
_LARGEST = 64 * 1024
_GONE = 410
_PREFIX = "whsec_"


class Webhook(msgspec.Struct, frozen=True):
    """A receiver of the configuration: its address, what is signed with, and the kinds that it wants (none: all)."""

    url: str
    secret: str | None = None
    events: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Webhook({self.url!r})"


def signing_key(secret: str) -> bytes:
    """The bytes of a secret: base64 behind `whsec_`, else the text itself."""
    if secret.startswith(_PREFIX):
        with suppress(binascii.Error, ValueError):
            return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    return secret.encode()


def sign(secret: str, identifier: str, timestamp: int, payload: bytes) -> str:
    """`v1,` and the base64 of HMAC-SHA-256 over `id.timestamp.payload` (standard-webhooks)."""
    signed = b"%b.%d.%b" % (identifier.encode(), timestamp, payload)
    return "v1," + base64.b64encode(hmac.digest(signing_key(secret), signed, "sha256")).decode()


def webhook_request(delivery: Delivery, secret: str | None, now: float) -> WireRequest:
    """The POST of one delivery."""
    headers = [
        (b"content-type", b"application/json"),
        (b"user-agent", f"polyroute/{__version__}".encode()),
        (b"webhook-id", delivery.id.encode()),
        (b"webhook-timestamp", b"%d" % int(now)),
    ]
    if secret is not None:
        headers.append((b"webhook-signature", sign(secret, delivery.id, int(now), delivery.payload).encode()))
    return WireRequest("POST", delivery.url, headers, delivery.payload)


class Postman:
    """Delivers what is in the outbox. `transport` is made when there is something to send."""

    def __init__(
        self, outbox: Outbox, transport: Callable[[], Transport], webhooks: Sequence[Webhook] = (), *,
        interval: float = INTERVAL, clock: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self._outbox = outbox
        self._make_transport = transport
        self._transport: Transport | None = None
        self._interval = interval
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self.webhooks = tuple(webhooks)

    def start(self) -> None:
        """Begin to look into the outbox."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Leave the rest to the next start."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        if self._transport is not None:
            await self._transport.aclose()

    async def _run(self) -> None:
        works = True
        while True:
            try:
                await self.round()
                works = True
            except Exception as error:  # noqa: BLE001 - whatever a driver raises: the outbox keeps what is in it
                if works:
                    works = False
                    log.warning("the outbox cannot be read (%s); webhooks wait", error)
            await asyncio.sleep(self._interval)

    async def round(self) -> int:
        """Spread new notifications and send all that is due; how many were sent."""
        targets = [(hook.url, hook.events) for hook in self.webhooks]
        await asyncio.to_thread(self._outbox.spread, targets)
        due = await asyncio.to_thread(self._outbox.claim, _MOST)
        await asyncio.gather(*(self._send(delivery) for delivery in due))
        return len(due)

    async def _send(self, delivery: Delivery) -> None:
        error, final = await self._post(delivery)
        pause = None
        if error is not None:
            pause = None if final or delivery.tries > len(PAUSES) else PAUSES[delivery.tries - 1]
            again = "is given up" if pause is None else f"is tried again in {pause:g} s"
            log.warning("webhook %s to %s failed (%s); it %s", delivery.id, delivery.url, error, again)
        await asyncio.to_thread(_finish, self._outbox, delivery, error, pause)

    async def _post(self, delivery: Delivery) -> tuple[str | None, bool]:
        """What went wrong, None when it was taken; and whether that is final."""
        secrets: Mapping[str, str | None] = {hook.url: hook.secret for hook in self.webhooks}
        secret = delivery.secret or secrets.get(delivery.url)
        transport = self._transport = self._transport or self._make_transport()
        deadline = asyncio.get_running_loop().time() + _TIMEOUTS.total
        try:
            request = webhook_request(delivery, secret, self._clock())
            response = await transport.send(request, _TIMEOUTS, deadline)
            try:
                with suppress(AttemptFailed):
                    await response.read(deadline, _LARGEST)
            finally:
                response.abort()
        except AttemptFailed as failed:
            return failed.failure.message, False
        except ValueError as error:  # an address that is none
            return str(error), True
        if 200 <= response.status < 300:
            return None, True
        return f"status {response.status}", response.status == _GONE


def _finish(outbox: Outbox, delivery: Delivery, error: str | None, retry_in: float | None) -> None:
    outbox.finish(delivery, error=error, retry_in=retry_in)
