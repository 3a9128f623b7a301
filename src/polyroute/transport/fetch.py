"""The safe fetcher: downloads what callers and providers point at, into the artifact store.

Every name is resolved once; its addresses are checked, and the connection goes to one of those, so that a name cannot lead
elsewhere between the check and the connection. Redirects are followed by us, each checked as the first URL was.
"""

from __future__ import annotations

import asyncio
import binascii
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from urllib.parse import unquote_to_bytes, urljoin

import msgspec
from aiohttp.abc import AbstractResolver, ResolveResult

from polyroute.ports import ArtifactStore, FetchOrder, Intake, Timeouts, WireRequest, WireResponse
from polyroute.transport import failures
from polyroute.transport.address import Address, parse_address
from polyroute.transport.client import ClientTransport
from polyroute.transport.fields import header_value
from polyroute.transport.guard import AllowList, forbidden_because
from polyroute.transport.tls import client_context
from polyroute.types.artifacts import Artifact
from polyroute.types.errors import AttemptFailed, ErrorKind, Failure, PolyrouteError

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Addresses of a host name. Raises OSError."""

_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_GONE = frozenset((401, 403, 404, 410))
_BUSY = frozenset((408, 425, 429))
_LOOK_UP = 5.0
_BASE64_BLOCK = 1 << 18  # a multiple of four
_CALLERS = frozenset((ErrorKind.TOO_LARGE, ErrorKind.INVALID_REQUEST))


class FetchPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of one download: bytes, seconds as a whole, seconds without a byte, redirects; and what is allowed besides
    public addresses."""

    allowed: AllowList = AllowList()
    max_size: int = 1 << 30
    timeout: float = 300.0
    idle: float = 30.0
    redirects: int = 3


class SafeFetcher:
    """Implements `ports.Fetcher`."""

    def __init__(
        self,
        store: ArtifactStore,
        policy: FetchPolicy | None = None,
        *,
        resolve: Resolve | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._store = store
        self._policy = policy or FetchPolicy()
        self._resolve = resolve or system_addresses
        self._ssl_context = ssl_context

    async def fetch(self, order: FetchOrder) -> Artifact:
        """Download into the store; see the port."""
        if not order.from_caller:
            return await self._fetch(order)
        try:
            return await self._fetch(order)
        except AttemptFailed as error:
            failure, param = error.failure, order.intake.param
            kind = failure.kind if failure.kind in _CALLERS else ErrorKind.INVALID_REQUEST
            named = "The URL" if param is None else f"'{param}'"
            raise PolyrouteError(kind, f"{named} cannot be fetched: {failure.message}.", param=param) from error

    async def check(self, url: str, param: str) -> None:
        """Refuse a caller's URL that leads to where nobody may look; see the port."""
        try:
            address = parse_address(url)
            order = FetchOrder(url=url, intake=Intake(origin="check", param=param), from_caller=True)
            await self._check(address, order, trusted=False, deadline=_now() + _LOOK_UP)
        except AttemptFailed as error:
            if error.failure.kind in _CALLERS:
                message = f"'{param}' cannot be fetched: {error.failure.message}."
                raise PolyrouteError(ErrorKind.INVALID_REQUEST, message, param=param) from error

    async def _fetch(self, order: FetchOrder) -> Artifact:
        if order.url[:5].lower() == "data:":
            return await self._store_inline(order)
        deadline = _now() + (self._policy.timeout if order.timeout is None else order.timeout)
        trusted = frozenset(_origin(parse_address(url)) for url in order.trusted)
        first = _origin(parse_address(order.url))
        url = order.url
        for _ in range(self._policy.redirects + 1):
            address = parse_address(url)
            addresses = await self._check(address, order, _origin(address) in trusted, deadline)
            transport = self._transport(addresses)
            try:
                headers = order.headers if _origin(address) == first else []
                timeouts = Timeouts(connect=10.0, headers=60.0, idle=self._policy.idle)
                answer = await transport.send(WireRequest("GET", url, headers), timeouts, deadline)
                try:
                    if answer.status not in _REDIRECTS:
                        return await self._store_answer(answer, order, deadline)
                    location = header_value(answer.headers, b"location")
                finally:
                    answer.abort()
            finally:
                await transport.aclose()
            if location is None:
                raise AttemptFailed(failures.bad_response("the answer redirects to nowhere"))
            url = urljoin(url, location.decode("latin-1").strip()).partition("#")[0]
        raise AttemptFailed(failures.bad_response(f"it was redirected more than {self._policy.redirects} times"))

    async def _check(self, address: Address, order: FetchOrder, trusted: bool, deadline: float) -> Sequence[str]:
        """The addresses that a host has. Raises AttemptFailed when one of them is forbidden."""
        allowed = self._policy.allowed
        by_name = trusted or allowed.has_name(address.host)
        try:
            async with asyncio.timeout_at(deadline):
                addresses = await self._addresses(address)
        except TimeoutError:
            raise AttemptFailed(failures.timed_out("while looking up the host's name")) from None
        except (OSError, UnicodeError) as error:
            message = f"the host name '{address.host}' cannot be resolved"
            raise AttemptFailed(failures.unavailable(message, failures.describe(error))) from None
        if by_name:
            return addresses
        parsed = [ipaddress.ip_address(text.partition("%")[0]) for text in addresses]
        for found in parsed:
            reason = forbidden_because(found, allowed)
            if reason is not None:
                raise AttemptFailed(_forbidden(address, reason, order))
        if not address.secure and not order.from_caller and not all(map(allowed.has_address, parsed)):
            raise AttemptFailed(
                failures.bad_response(
                    f"the URL on '{address.host}' is plain http; only https is followed (fetch.allow)"
                )
            )
        return addresses

    async def _addresses(self, address: Address) -> Sequence[str]:
        try:
            ipaddress.ip_address(address.host)
        except ValueError:
            found = await self._resolve(address.host, address.port)
            if not found:
                raise OSError("no address") from None
            return found
        return [address.host]

    def _transport(self, addresses: Sequence[str]) -> ClientTransport:
        if self._ssl_context is None:
            self._ssl_context = client_context()
        return ClientTransport(ssl_context=self._ssl_context, resolver=_Pinned(addresses))

    async def _store_inline(self, order: FetchOrder) -> Artifact:
        """The content of a data URI."""
        head, comma, data = order.url.partition(",")
        media_type, *parameters = head[5:].split(";")
        if not comma:
            raise failures.refused("the data URI has no comma before its data")
        limit = self._limit(order)
        if len(data) > limit // 3 * 4 + (1 << 16):
            raise AttemptFailed(_too_large(limit, order))
        encoded = any(parameter.strip().lower() == "base64" for parameter in parameters)
        declared = order.intake.declared or ";".join((media_type, *parameters)).strip() or None
        intake = msgspec.structs.replace(order.intake, limit=limit, declared=declared)
        return await self._put(_decoded(data) if encoded else unquote_to_bytes(data), intake, order)

    def _limit(self, order: FetchOrder) -> int:
        own = order.intake.limit
        return self._policy.max_size if own is None else min(own, self._policy.max_size)

    async def _put(self, chunks: AsyncIterator[bytes] | bytes, intake: Intake, order: FetchOrder) -> Artifact:
        """Raises AttemptFailed where a provider is to blame for what the store refuses."""
        try:
            return await self._store.put(chunks, intake)
        except PolyrouteError as error:
            if order.from_caller or error.kind not in _CALLERS:
                raise
            message = f"what it gave is not the file that was due: {error.message}"
            raise AttemptFailed(failures.bad_response(message)) from error

    async def _store_answer(self, answer: WireResponse, order: FetchOrder, deadline: float) -> Artifact:
        """A final answer's body. Raises AttemptFailed for what is no file."""
        if answer.status != 200:
            raise AttemptFailed(_status_failure(answer.status))
        intake = order.intake
        limit = self._limit(order)
        length = header_value(answer.headers, b"content-length") or b""
        if length.isdigit() and int(length) > limit:
            raise AttemptFailed(_too_large(limit, order))
        declared = intake.declared or (header_value(answer.headers, b"content-type") or b"").decode("latin-1") or None
        intake = msgspec.structs.replace(intake, limit=limit, declared=declared)
        return await self._put(self._body(answer, limit, order, deadline), intake, order)

    async def _body(self, answer: WireResponse, limit: int, order: FetchOrder, deadline: float) -> AsyncIterator[bytes]:
        size = 0
        while True:
            idle = _now() + self._policy.idle
            try:
                data = await answer.receive(min(idle, deadline))
            except AttemptFailed as error:
                if error.failure.kind is ErrorKind.TIMEOUT and idle < deadline:
                    raise AttemptFailed(failures.timed_out(failures.BODY, self._policy.idle)) from None
                raise
            if not data:
                return
            size += len(data)
            if size > limit:
                raise AttemptFailed(_too_large(limit, order))
            yield data


async def _decoded(data: str) -> AsyncIterator[bytes]:
    """Base64, padded or not, a block at a time."""
    data += "=" * (-len(data) % 4)
    for start in range(0, len(data), _BASE64_BLOCK):
        try:
            yield binascii.a2b_base64(data[start : start + _BASE64_BLOCK], strict_mode=True)
        except (binascii.Error, ValueError):
            raise failures.refused("the data URI is not valid base64") from None


class _Pinned(AbstractResolver):
    """Gives the addresses that were checked, whatever the name."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """As aiohttp wants it."""
        return [
            ResolveResult(
                hostname=host, host=text, port=port, proto=0, flags=socket.AI_NUMERICHOST,
                family=socket.AF_INET6 if ":" in text else socket.AF_INET,
            )
            for text in self._addresses
        ]  # fmt: skip

    async def close(self) -> None:
        """There is nothing to close."""


async def system_addresses(host: str, port: int) -> Sequence[str]:
    """What the system's resolver says."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _origin(address: Address) -> tuple[bool, str, int]:
    return address.secure, address.host, address.port


def _forbidden(address: Address, reason: str, order: FetchOrder) -> Failure:
    message = f"'{address.host}' leads to an address that is {reason}; only public ones are fetched from (fetch.allow)"
    kind = ErrorKind.INVALID_REQUEST if order.from_caller else ErrorKind.BAD_RESPONSE
    return Failure(kind=kind, message=message)


def _too_large(limit: int, order: FetchOrder) -> Failure:
    kind = ErrorKind.TOO_LARGE if order.from_caller else ErrorKind.BAD_RESPONSE
    return Failure(kind=kind, message=f"the file is larger than {limit / (1 << 20):g} MB, the limit of this gateway")


def _status_failure(status: int) -> Failure:
    if status in _GONE:
        kind, message = (
            ErrorKind.NOT_FOUND,
            f"its server answered {status}: it is gone, has expired, or was never public",
        )
    elif status in _BUSY or status >= 500:
        kind, message = ErrorKind.UNAVAILABLE, f"its server answered {status}"
    else:
        kind, message = ErrorKind.BAD_RESPONSE, f"its server answered {status}"
    return Failure(kind=kind, message=message, http_status=status)


def _now() -> float:
    return asyncio.get_running_loop().time()
