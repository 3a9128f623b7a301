"""A provider's network as its media makers see it: addressed, signed, bounded in time, and classified."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import msgspec

from polyroute.engine.media.inputs import Inputs
from polyroute.engine.media.multipart import MultipartBody
from polyroute.engine.runtime import LiveProvider
from polyroute.ports import (
    Body,
    Credential,
    Endpoint,
    FormPart,
    Headers,
    MediaSocket,
    Reply,
    SocketOpener,
    Timeouts,
    Transport,
    WireRequest,
    WireResponse,
)
from polyroute.types.errors import AttemptFailed, ErrorKind, Failure
from polyroute.types.media import MediaInput
from polyroute.types.operations import ProviderKind
from polyroute.types.plans import Target

_LARGEST_ANSWER = 256 << 20
_LARGEST_ERROR = 1 << 20
_TRIES = 4
_PASSING = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
"""Statuses after which a poll or a download is asked again (media.md 0.4: what the official clients do)."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 8.0


class ProviderWire:
    """Implements `ports.MediaWire` for one attempt at one provider."""

    def __init__(
        self, provider: LiveProvider, endpoint: Endpoint, target: Target, credential: Credential | None,
        transport: Transport, inputs: Inputs, *, sockets: SocketOpener, timeouts: Timeouts, deadline: float,
        callback_url: str | None = None, durable: bool = False,
    ) -> None:  # fmt: skip
        self._provider = provider
        self._row = provider.row
        self._endpoint = endpoint
        self._target = target
        self._credential = credential
        self._transport = transport
        self._inputs = inputs
        self._sockets = sockets
        self._timeouts = timeouts
        self._deadline = deadline
        self._callback_url = callback_url
        self.durable = durable
        self.waits_for_result = False
        """Answers are the results themselves. One that does not come in time is given up, as that of any provider which keeps
        its callers waiting; one that is lost is only worth an operator's look where a job can wait for that, and somebody
        charges for it."""
        self.unanswered: Failure | None = None
        """Why the last call that starts nothing got no answer to go by, however often it was repeated: the network, or an
        answer that is about the call itself (busy, credential). Not what an answer says of the work."""

    @property
    def base_url(self) -> str:
        """The row's address, without a slash at its end."""
        return self._row.base_url.rstrip("/")

    @property
    def may_be_private(self) -> bool:
        """A service on our own machines, or the sandbox: its results may lie on private addresses."""
        return self._row.simulated or self._row.kind is ProviderKind.LOCAL

    @property
    def is_local(self) -> bool:
        """A service on our own machines, which charges nothing."""
        return self._row.kind is ProviderKind.LOCAL

    @property
    def options(self) -> Mapping[str, Any]:
        """The row's options."""
        return self._row.options

    @property
    def secret(self) -> str | None:
        """The credential."""
        return None if self._credential is None else self._credential.secret

    @property
    def callback_url(self) -> str | None:
        """Where the provider may report to."""
        return self._callback_url

    # ---------------------------------------------------------------- calls

    async def call(
        self, method: str, path: str, *, json: Any = None, form: tuple[FormPart, ...] | None = None,
        body: bytes | Body = b"", headers: Headers | None = None, query: Mapping[str, str] | None = None,
        accept: tuple[int, ...] = (), creates: bool = False, anonymous: bool = False,
    ) -> Reply:  # fmt: skip
        """See `ports.MediaWire.call`."""
        request = self._request(method, path, json, form, body, headers, query, anonymous=anonymous)
        if creates:
            request = msgspec.structs.replace(request, once=True)
        pause = _FIRST_PAUSE
        for left in reversed(range(1 if creates else _TRIES)):
            try:
                return await self._once(request, accept)
            except AttemptFailed as failed:
                failure = failed.failure
                if creates:
                    parks = self.durable and not self.is_local and failure.kind is not ErrorKind.TIMEOUT
                    if self.waits_for_result and not parks:
                        raise
                    raise AttemptFailed(_of_creation(failure)) from failed
                wait = max(failure.retry_after or 0.0, pause)
                if not left or not _passes(failure) or asyncio.get_running_loop().time() + wait >= self._deadline:
                    if _passes(failure) or failure.kind is ErrorKind.CREDENTIAL_REJECTED:
                        self.unanswered = failure
                    raise
            await asyncio.sleep(wait * (0.75 + random.random() / 2))  # noqa: S311 (spreads polls; nothing secret)
            pause = min(pause * 2, _LONGEST_PAUSE)
        raise AssertionError("unreachable: the last try returns or raises")

    async def open(
        self, method: str, path: str, *, json: Any = None, form: tuple[FormPart, ...] | None = None,
        headers: Headers | None = None, query: Mapping[str, str] | None = None,
    ) -> WireResponse:  # fmt: skip
        """See `ports.MediaWire.open`."""
        request = self._request(method, path, json, form, b"", headers, query, anonymous=False)
        response = await self._transport.send(request, self._timeouts, self._deadline)
        if response.status >= 300:
            raise AttemptFailed(await self._failure(response))
        return response

    async def socket(self, path: str, *, headers: Headers | None = None) -> MediaSocket:
        """See `ports.MediaWire.socket`."""
        url = self._address(path, websocket=True)
        signed = self._signed(b"", anonymous=False)
        return await self._sockets(url, [*signed, *(headers or [])], self._timeouts.connect, self._deadline)

    async def pause(self, seconds: float) -> None:
        """Wait, but not beyond the deadline."""
        if asyncio.get_running_loop().time() + seconds >= self._deadline:
            raise AttemptFailed(Failure(kind=ErrorKind.TIMEOUT, message="The provider did not finish in time."))
        await asyncio.sleep(seconds)

    def grant(self, seconds: float) -> None:
        """Time for a last word, whatever is left of the attempt's own."""
        self._deadline = max(self._deadline, asyncio.get_running_loop().time() + seconds)

    # ---------------------------------------------------------------- inputs

    async def input_bytes(self, item: MediaInput) -> tuple[bytes, str]:
        """See `ports.MediaWire.input_bytes`."""
        return await self._inputs.read(item)

    async def input_body(self, item: MediaInput) -> tuple[Body, str]:
        """See `ports.MediaWire.input_body`."""
        return await self._inputs.body(item)

    async def input_path(self, item: MediaInput) -> tuple[Path, str]:
        """See `ports.MediaWire.input_path`."""
        return await self._inputs.path(item)

    async def mask_for_openai(self, item: MediaInput) -> tuple[bytes, str]:
        """See `ports.MediaWire.mask_for_openai`."""
        return await self._inputs.mask_for_openai(item)

    def workspace(self) -> Path:
        """See `ports.MediaWire.workspace`."""
        return self._inputs.workspace()

    async def input_data_uri(self, item: MediaInput) -> str:
        """See `ports.MediaWire.input_data_uri`."""
        return await self._inputs.data_uri(item)

    async def input_url(self, item: MediaInput) -> str | None:
        """See `ports.MediaWire.input_url`."""
        return await self._inputs.url(
            item, nearby=self.may_be_private, inside=self.is_local and not self._row.simulated
        )

    # ---------------------------------------------------------------- inside

    def headers_for(self, url: str) -> Headers:
        """The credential's headers for a download from the provider's own API; none for any other host."""
        return self._signed(b"", anonymous=False) if self._is_own(url) else []

    async def _once(self, request: WireRequest, accept: tuple[int, ...]) -> Reply:
        response = await self._transport.send(request, self._timeouts, self._deadline)
        if response.status >= 300 and response.status not in accept:
            raise AttemptFailed(await self._failure(response))
        try:
            limit = min(self._deadline, asyncio.get_running_loop().time() + self._timeouts.headers)
            return Reply(response.status, response.headers, await response.read(limit, _LARGEST_ANSWER))
        except BaseException:
            response.abort()
            raise

    async def _failure(self, response: WireResponse) -> Failure:
        try:
            body = await response.read(self._deadline, _LARGEST_ERROR)
        except AttemptFailed:
            body = b""
        finally:
            response.abort()
        return self.classify(response.status, response.headers, body)

    def classify(self, status: int, headers: Headers, body: bytes) -> Failure:
        """What an error answer means: in the media adapter's words where it has some."""
        own = getattr(self._provider.media, "classify", None)
        found: Failure | None = None if own is None else own(status, headers, body)
        return found or self._provider.adapter.classify(status, headers, body)

    def _request(
        self, method: str, path: str, json: Any, form: tuple[FormPart, ...] | None, body: bytes | Body,
        headers: Headers | None, query: Mapping[str, str] | None, *, anonymous: bool,
    ) -> WireRequest:  # fmt: skip
        content_type = b""
        if json is not None:
            body, content_type = msgspec.json.encode(json), b"application/json"
        elif form is not None:
            multipart = MultipartBody(form)
            body, content_type = multipart, multipart.content_type
        url = self._address(path, anonymous=anonymous)
        if query:
            url += ("&" if "?" in url else "?") + urlencode(query)
        given = headers or []
        named = {name for name, _ in given}
        signed = [field for field in self._signed(content_type, anonymous=anonymous) if field[0] not in named]
        return WireRequest(method, url, [*signed, *given], body)

    def _signed(self, content_type: bytes, *, anonymous: bool) -> Headers:
        credential = None if anonymous else self._credential
        request = self._provider.adapter.request(
            self._endpoint, self._target, credential, body=b"", content_type=content_type, stream=False, forward=[]
        )
        return list(request.headers)

    def _address(self, path: str, *, websocket: bool = False, anonymous: bool = False) -> str:
        if "://" not in path:
            base = self.base_url
            if websocket:
                base = f"ws{base.removeprefix('http')}"
            return base + path
        if not (self._is_own(path) or (anonymous and self._is_on(path, "upload_hosts"))):
            raise AttemptFailed(
                Failure(kind=ErrorKind.BAD_RESPONSE, message="The provider pointed to an address that is not its own.")
            )
        return path

    def _is_own(self, url: str) -> bool:
        """Whether an address is of the provider's own hosts: that of its base URL, and those of its option `hosts`
        (a leading dot stands for all below)."""
        parts, base = urlsplit(url), urlsplit(self.base_url)
        return (parts.hostname, parts.port) == (base.hostname, base.port) or self._is_on(url, "hosts")

    def _is_on(self, url: str, option: str) -> bool:
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
        named = self._row.options.get(option, ())
        return parts.scheme in ("https", "wss") and any(
            host == name.lstrip(".") or (name.startswith(".") and host.endswith(name)) for name in named
        )


def _passes(failure: Failure) -> bool:
    """Whether asking the same again may help."""
    if failure.http_status is not None:
        return failure.http_status in _PASSING
    return failure.kind in (ErrorKind.UNAVAILABLE, ErrorKind.TIMEOUT, ErrorKind.TRUNCATED)


def _of_creation(failure: Failure) -> Failure:
    """A failed call that should have started work: unless the provider answered, or never saw it, nobody knows whether the
    work was started."""
    if failure.http_status is not None or failure.unsent:
        return failure
    if failure.kind in (ErrorKind.UNAVAILABLE, ErrorKind.TIMEOUT, ErrorKind.TRUNCATED):
        return msgspec.structs.replace(
            failure, kind=ErrorKind.UNKNOWN_OUTCOME,
            message=f"{failure.message}; whether the provider began the work is unknown",
        )  # fmt: skip
    return failure
