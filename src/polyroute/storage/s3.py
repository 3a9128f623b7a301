"""Bytes of artifacts in an S3-compatible store: signed requests, streamed both ways, taken up again when they break off."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit

import msgspec

from polyroute.ports import Body, Headers, Timeouts, Transport, WireRequest, WireResponse
from polyroute.storage.blobs import BLOCK, BlobMissingError
from polyroute.transport.sigv4 import EMPTY_SHA256, SigningKey, sign_request
from polyroute.types.errors import AttemptFailed, ErrorKind

_TRIES = 4
_PAUSE = 0.25  # seconds before the second try; doubled for each further one
_TIMEOUTS = Timeouts(connect=5.0, headers=60.0, idle=60.0)
_SLOWEST = 64 * 1024  # bytes a second that an upload may count on
_CODE = re.compile(rb"<Code>([^<]{1,80})</Code>")
_MESSAGE = re.compile(rb"<Message>([^<]{1,300})</Message>")
_AGAIN = frozenset((429, 500, 502, 503, 504))
_AGAIN_KINDS = frozenset((ErrorKind.UNAVAILABLE, ErrorKind.TRUNCATED, ErrorKind.TIMEOUT, ErrorKind.BAD_RESPONSE))


class S3Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where the store is. `prefix` is without slashes at its ends; `path_style` writes the bucket into the path, as most
    stores other than Amazon's want it."""

    bucket: str
    prefix: str = ""
    endpoint: str
    region: str
    path_style: bool

    def url(self, name: str) -> str:
        """The address of an object."""
        key = quote("/".join(part for part in (self.prefix, name[:2], name) if part), safe="/-_.~")
        if self.path_style:
            return f"{self.endpoint}/{quote(self.bucket, safe='-_.~')}/{key}"
        parts = urlsplit(self.endpoint)
        return f"{parts.scheme}://{self.bucket}.{parts.netloc}{parts.path}/{key}"


class _FileBody:
    """A file as a request's body: `ports.Body`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.length = path.stat().st_size

    def chunks(self) -> Iterator[bytes]:
        """The bytes from the start, in blocks."""
        with self._path.open("rb") as file:
            while block := file.read(BLOCK):
                yield block


class S3Blobs:
    """Implements `blobs.BlobStore` over a bucket. `scratch` is a local folder for what is on its way."""

    def __init__(
        self,
        place: S3Place,
        key: SigningKey,
        transport: Transport,
        scratch: Path,
        *,
        clock: Callable[[], float] = time.time,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._place = place
        self._key = key
        self._transport = transport
        self._scratch = scratch
        self._clock = clock
        self._pause = pause

    @property
    def scratch(self) -> Path:
        """The local folder."""
        return self._scratch

    async def add(self, name: str, file: Path, sha256: str) -> None:
        """Upload, with a signature over the content, so that the store refuses what arrives damaged."""
        body = _FileBody(file)
        answer = await self._ask("PUT", name, body=body, sha256=sha256, lasts=120 + body.length / _SLOWEST)
        await self._finish(answer, (200, 201, 204))

    async def has(self, name: str, size: int) -> bool:
        """A look at the object's length."""
        answer = await self._ask("HEAD", name)
        if answer.status == 404:
            answer.abort()
            return False
        await self._finish(answer, (200,))
        return dict(answer.headers).get(b"content-length") == b"%d" % size

    async def read(self, name: str, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        """The object's bytes; a download that breaks off goes on from where it was."""
        failures = 0
        while start < stop:
            answer = await self._ask("GET", name, headers=[(b"range", b"bytes=%d-%d" % (start, stop - 1))])
            if answer.status == 404:
                answer.abort()
                raise BlobMissingError(name)
            if answer.status not in (200, 206) or (answer.status == 200 and start):
                await self._finish(answer, ())
            try:
                while start < stop and (block := await answer.receive(_now() + _TIMEOUTS.idle)):
                    block = block[: stop - start]
                    start += len(block)
                    failures = 0
                    yield block
                if start < stop:
                    raise BlobMissingError(f"{name} ends at {start}")
            except AttemptFailed as error:
                failures += 1
                if failures >= _TRIES:
                    raise _unusable(error) from error
                await self._pause(_PAUSE * 2 ** (failures - 1))
            finally:
                answer.abort()

    @asynccontextmanager
    async def path(self, name: str, size: int, ending: str) -> AsyncIterator[Path]:
        """A copy in the scratch folder."""
        await asyncio.to_thread(self._scratch.mkdir, parents=True, exist_ok=True)
        copy = self._scratch / f"{secrets.token_hex(8)}.{ending}"
        try:
            with copy.open("xb") as file:
                async for block in self.read(name, 0, size):
                    await asyncio.to_thread(file.write, block)
            yield copy
        finally:
            copy.unlink(missing_ok=True)

    async def remove(self, name: str) -> None:
        """Delete the object."""
        await self._finish(await self._ask("DELETE", name), (200, 202, 204, 404))

    async def aclose(self) -> None:
        """Close connections."""
        await self._transport.aclose()

    async def _ask(
        self,
        method: str,
        name: str,
        *,
        headers: Headers | None = None,
        body: bytes | Body = b"",
        sha256: str = EMPTY_SHA256,
        lasts: float = 120.0,
    ) -> WireResponse:
        """One request, repeated while the store is overloaded or cannot be reached. Every request may be repeated."""
        url = self._place.url(name)
        for number in range(_TRIES):
            signed = sign_request(
                method, url, headers or [],
                payload_sha256=sha256, key=self._key, region=self._place.region, service="s3", moment=self._clock(),
            )  # fmt: skip
            last = number == _TRIES - 1
            try:
                answer = await self._transport.send(WireRequest(method, url, signed, body), _TIMEOUTS, _now() + lasts)
            except AttemptFailed as error:
                if last or error.failure.kind not in _AGAIN_KINDS:
                    raise _unusable(error) from error
            else:
                if last or answer.status not in _AGAIN:
                    return answer
                answer.abort()
            await self._pause(_PAUSE * 2**number)
        raise AssertionError  # the last try returned or raised

    async def _finish(self, answer: WireResponse, good: tuple[int, ...]) -> None:
        """Read the answer to its end. Raises OSError for what is not good."""
        try:
            told = await answer.read(_now() + _TIMEOUTS.idle, 1 << 20)
        except AttemptFailed as error:
            if answer.status in good:
                return
            raise _unusable(error) from error
        if answer.status not in good:
            words = [
                found.group(1).decode("utf-8", "replace")
                for found in (_CODE.search(told), _MESSAGE.search(told))
                if found
            ]
            raise OSError(f"the S3 store answered {answer.status} {': '.join(words)}".rstrip())


def _now() -> float:
    return asyncio.get_running_loop().time()


def _unusable(error: AttemptFailed) -> OSError:
    detail = f" ({error.failure.detail})" if error.failure.detail else ""
    return OSError(f"the S3 store cannot be used: {error.failure.message}{detail}")
