"""Asking a provider for something beside its answers: lists, prices, its own record of what it served."""

from __future__ import annotations

import asyncio

from polyroute.catalog.model import Provider
from polyroute.ports import Credential, Headers, Timeouts, Transport, WireRequest
from polyroute.providers.registry import build_adapter
from polyroute.types.errors import AttemptFailed, ErrorKind, PolyrouteError
from polyroute.types.operations import Operation
from polyroute.types.plans import Target

_LARGEST = 64 << 20


async def ask_provider(
    row: Provider, path: str, credential: Credential | None, transport: Transport, *, patience: float = 30.0
) -> bytes:
    """The body of a good answer to `GET base_url + path`; `path` may be a whole URL. Raises PolyrouteError that says what
    the provider did instead, `unauthorized` where it wants another credential."""
    adapter = build_adapter(row)
    endpoint = adapter.endpoint(Operation.CHAT, row.endpoints[0].dialect) or row.endpoints[0]
    signed = adapter.request(
        endpoint, Target(row.name, "any"), credential, body=b"", content_type=b"", stream=False, forward=[]
    )
    url = path if path.startswith(("http://", "https://")) else row.base_url.rstrip("/") + path
    headers: Headers = [(name, value) for name, value in signed.headers if name.lower() != b"content-type"]
    deadline = asyncio.get_running_loop().time() + patience
    try:
        response = await transport.send(WireRequest("GET", url, headers), Timeouts(headers=patience), deadline)
        body = await response.read(deadline, _LARGEST)
    except AttemptFailed as failed:
        raise PolyrouteError(ErrorKind.UNAVAILABLE, f"{row.name}: {failed.failure.message} ({url})") from failed
    if 200 <= response.status < 300:
        return body
    failure = adapter.classify(response.status, response.headers, body)
    if response.status in (401, 403):
        raise PolyrouteError(ErrorKind.UNAUTHORIZED, f"{row.name} does not accept the credential for {url}")
    if response.status == 404:
        raise PolyrouteError(ErrorKind.NOT_FOUND, f"{row.name} has nothing at {url}")
    raise PolyrouteError(failure.kind, f"{row.name}: {failure.message} (HTTP {response.status}, {url})")
