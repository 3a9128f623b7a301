"""Whether a provider can be reached and accepts a credential, asked of its free list of models; nothing is spent."""

from __future__ import annotations

import asyncio
import time

import msgspec

from polyroute.catalog.model import Provider
from polyroute.ports import Credential, Timeouts, Transport, WireRequest
from polyroute.providers.registry import build_adapter
from polyroute.types.errors import AttemptFailed, ErrorKind
from polyroute.types.health import ProbeHealth
from polyroute.types.operations import Operation
from polyroute.types.plans import Target

_LARGEST = 16 << 20
_MENDING = {
    ErrorKind.CREDENTIAL_REJECTED: "the credential is not accepted: replace it",
    ErrorKind.QUOTA_EXHAUSTED: "the account has nothing left: top it up",
    ErrorKind.RATE_LIMITED: "the credential is accepted, but its rate limit is reached at the moment",
}


class LiveCheck(msgspec.Struct, frozen=True, kw_only=True):
    """What came of asking. `ok` is None where there is nothing that could be asked for free; `down`: the provider could not
    be reached, or failed."""

    provider: str
    credential: str | None
    ok: bool | None
    told: str
    down: bool = False


async def check_live(
    row: Provider, credential: Credential | None, transport: Transport, *, patience: float = 10.0
) -> LiveCheck:
    """Ask one provider with one credential, for at most `patience` seconds. Never raises for what the provider does."""
    label = None if credential is None else credential.label

    def result(ok: bool | None, told: str, *, down: bool = False) -> LiveCheck:
        return LiveCheck(provider=row.name, credential=label, ok=ok, told=told, down=down)

    adapter = build_adapter(row)
    endpoint = adapter.endpoint(Operation.CHAT, row.endpoints[0].dialect) or row.endpoints[0]
    if row.models_path is None:
        return result(None, "it has no free endpoint to ask")
    asked = adapter.request(
        endpoint, Target(row.name, "any"), credential, body=b"", content_type=b"", stream=False, forward=[]
    )
    request = WireRequest("GET", row.base_url.rstrip("/") + row.models_path, asked.headers)
    loop = asyncio.get_running_loop()
    began = loop.time()
    deadline = began + patience
    try:
        response = await transport.send(request, Timeouts(headers=patience), deadline)
        body = await response.read(deadline, _LARGEST)
    except AttemptFailed as failed:
        return result(False, f"{failed.failure.message} ({row.base_url})", down=True)
    took = f"{(loop.time() - began) * 1000:.0f} ms"
    if 200 <= response.status < 300:
        return result(True, f"answers in {took}")
    failure = adapter.classify(response.status, response.headers, body)
    if failure.kind is ErrorKind.RATE_LIMITED:
        return result(True, _MENDING[failure.kind])
    if response.status in (404, 405):
        return result(None, "it answers, but has no list of models at this address")
    return result(
        False, _MENDING.get(failure.kind, failure.message) + f" (HTTP {response.status})", down=response.status >= 500
    )


async def free_probe(row: Provider, credential: Credential | None, transport: Transport) -> ProbeHealth | None:
    """What a provider's free endpoint says just now; None where it has none."""
    if row.models_path is None:
        return None
    found = await check_live(row, credential, transport, patience=5.0)
    return ProbeHealth(at=time.time(), ok=found.ok, down=found.down, told=found.told)
