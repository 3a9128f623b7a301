"""A transport for addresses that callers name (webhooks): private ones are refused when they are connected to."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from polyroute.ports import Timeouts, WireRequest, WireResponse
from polyroute.transport import failures
from polyroute.transport.address import parse_address
from polyroute.transport.client import ClientTransport
from polyroute.transport.guard import AllowList, forbidden_because


class _Checked(AbstractResolver):
    """Resolves as the system does and gives only addresses that may be reached: what was checked is what is connected to."""

    def __init__(self, allowed: AllowList, trusted: Callable[[str], bool]) -> None:
        self._allowed = allowed
        self._trusted = trusted
        self._system: ThreadedResolver | None = None

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Raises OSError when a host leads to a forbidden address."""
        self._system = self._system or ThreadedResolver()  # needs the running loop
        found = await self._system.resolve(host, port, family)
        if not self._trusted(host) and not self._allowed.has_name(host):
            for one in found:
                reason = forbidden_because(ipaddress.ip_address(one["host"].partition("%")[0]), self._allowed)
                if reason is not None:
                    raise OSError(f"{host} leads to an address that is {reason}")
        return found

    async def close(self) -> None:
        """Nothing is open."""


class GuardedTransport:
    """`ports.Transport` that reaches public addresses, those that are allowed, and hosts that `trusted` knows."""

    def __init__(self, allowed: AllowList, trusted: Callable[[str], bool]) -> None:
        self._allowed = allowed
        self._trusted = trusted
        self._client = ClientTransport(resolver=_Checked(allowed, trusted))

    async def send(self, request: WireRequest, timeouts: Timeouts, deadline: float) -> WireResponse:
        """See `ports.Transport.send`."""
        host = parse_address(request.url).host
        if not self._trusted(host) and not self._allowed.has_name(host):
            try:
                literal = ipaddress.ip_address(host.strip("[]"))
            except ValueError:
                pass  # a name, which the resolver looks at
            else:
                reason = forbidden_because(literal, self._allowed)
                if reason is not None:
                    raise failures.refused(f"'{host}' is an address that is {reason} (fetch.allow)")
        return await self._client.send(request, timeouts, deadline)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.aclose()
