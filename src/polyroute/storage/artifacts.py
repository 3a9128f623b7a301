"""The artifact store: `ports.ArtifactStore` and `ports.FileStore` over an index (the database) and blobs (folder or S3)."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

from polyroute.mediainfo import ending_of
from polyroute.ports import Intake
from polyroute.storage.blobs import BlobMissingError, BlobStore, sweep
from polyroute.storage.incoming import Incoming, ScratchError, check_facts, look_at
from polyroute.storage.media_index import MediaIndex
from polyroute.storage.media_rows import KeptArtifact
from polyroute.storage.url_signatures import UrlSigner
from polyroute.types.artifacts import Artifact, MediaFacts, StoredFile
from polyroute.types.errors import ErrorKind, PolyrouteError

log = logging.getLogger("polyroute.artifacts")

_ID_DIGITS = 40
_ABANDONED = 86_400.0
"""Seconds after which what is still on its way in is taken for left behind."""


class ArtifactKeeper:
    """Implements `ports.ArtifactStore`. `retain` and `url_lasts` are in seconds, `limit` in bytes; `retain` None keeps what
    is stored for ever."""

    def __init__(
        self,
        index: MediaIndex,
        blobs: BlobStore,
        signer: UrlSigner,
        *,
        retain: float | None,
        limit: int,
        max_pixels: int,
        url_lasts: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._index = index
        self._blobs = blobs
        self._signer = signer
        self._retain = retain
        self._limit = limit
        self._max_pixels = max_pixels
        self._url_lasts = url_lasts
        self._clock = clock

    async def put(self, chunks: AsyncIterable[bytes] | bytes, intake: Intake) -> Artifact:
        """Store a stream; see the port."""
        limit = self._limit if intake.limit is None else min(intake.limit, self._limit)
        try:
            file = await asyncio.to_thread(Incoming, self._blobs.scratch, limit, intake.param)
        except OSError as error:
            raise _broken(error) from error
        try:
            await file.take(chunks)
            try:
                return await self._keep(file, intake)
            except OSError as error:
                raise _broken(error) from error
        except ScratchError as error:
            raise _broken(error.__cause__) from error
        finally:
            await asyncio.to_thread(file.discard)

    async def _keep(self, file: Incoming, intake: Intake) -> Artifact:
        artifact = await self._kept_or_new(file, intake)
        await self.own(artifact.id, intake.owner)
        return artifact

    async def own(self, artifact_id: str, key_id: str | None) -> None:
        """It belongs to this key too."""
        if key_id is not None:
            await asyncio.to_thread(self._index.own, artifact_id, key_id)

    async def owned(self, artifact_id: str, key_id: str | None) -> Artifact | None:
        """An artifact of this key; any without one."""
        if key_id is not None and not await asyncio.to_thread(self._index.owned, artifact_id, key_id, self._clock()):
            return None
        return await self.stat(artifact_id)

    async def _kept_or_new(self, file: Incoming, intake: Intake) -> Artifact:
        facts = await asyncio.to_thread(look_at, file, intake, self._max_pixels)
        now = round(self._clock(), 6)  # as it is stored
        retain = self._retain if intake.retain is None else intake.retain
        until = None if retain is None else now + retain
        sha256 = file.sha256
        identifier = f"art_{sha256[:_ID_DIGITS]}"
        existing = await asyncio.to_thread(self._index.extend, identifier, until)
        if existing is not None and await self._blobs.has(existing.blob, existing.artifact.size):
            return existing.artifact
        artifact = Artifact(
            id=identifier, media_type=facts.media_type, family=facts.family, size=file.size, sha256=sha256,
            created_at=now, width=facts.width, height=facts.height, duration_s=facts.duration_s, fps=facts.fps,
            expires_at=until, simulated=intake.simulated, origin=intake.origin,
        )  # fmt: skip
        blob = f"{sha256}.{secrets.token_hex(4)}"
        await asyncio.to_thread(self._index.announce, blob, now)
        try:
            await self._blobs.add(blob, file.path, sha256)
            if existing is not None:
                log.warning("the bytes of %s were gone from the artifact store and are stored again", identifier)
                await asyncio.to_thread(self._index.relocate, identifier, blob)
                return existing.artifact
            made = await asyncio.to_thread(self._index.insert, artifact, blob)
        except BaseException:
            await asyncio.shield(asyncio.to_thread(self._index.abandon, blob))
            raise
        if made:
            return artifact
        await self._drop(blob)  # somebody stored the same meanwhile
        return await self._extended(identifier, until) or artifact

    async def _extended(self, identifier: str, until: float | None) -> Artifact | None:
        existing = await asyncio.to_thread(self._index.extend, identifier, until)
        return None if existing is None else existing.artifact

    def check(self, facts: MediaFacts, intake: Intake) -> None:
        """Refuse what would not be stored."""
        check_facts(facts, intake, self._max_pixels)

    async def stat(self, artifact_id: str) -> Artifact | None:
        """What is known of an artifact."""
        kept = await asyncio.to_thread(self._index.find, artifact_id)
        return None if kept is None else kept.artifact

    async def open(self, artifact_id: str, start: int = 0, stop: int | None = None) -> AsyncGenerator[bytes, None]:
        """Its bytes in blocks."""
        kept = await self._kept(artifact_id)
        end = kept.artifact.size if stop is None else min(stop, kept.artifact.size)
        try:
            async with aclosing(self._blobs.read(kept.blob, start, end)) as blocks:
                async for block in blocks:
                    yield block
        except BlobMissingError as error:
            raise _gone(artifact_id) from error
        except OSError as error:
            raise _broken(error) from error

    @asynccontextmanager
    async def path(self, artifact_id: str) -> AsyncIterator[Path]:
        """A local file with its bytes."""
        kept = await self._kept(artifact_id)
        context = self._blobs.path(kept.blob, kept.artifact.size, ending_of(kept.artifact.media_type))
        try:
            path = await context.__aenter__()
        except BlobMissingError as error:
            raise _gone(artifact_id) from error
        except OSError as error:
            raise _broken(error) from error
        try:
            yield path
        finally:
            await context.__aexit__(None, None, None)

    async def keep(self, artifact_id: str, until: float) -> None:
        """Keep it at least until that moment."""
        await asyncio.to_thread(self._index.extend, artifact_id, until)

    async def delete(self, artifact_id: str) -> bool:
        """Delete it unless a file holds it."""
        kept = await asyncio.to_thread(self._index.remove, artifact_id)
        if kept is None:
            return False
        await self._drop(kept.blob)
        return True

    async def prune(self) -> tuple[int, int]:
        """Delete what has expired, and what crashes left behind."""
        now = self._clock()
        await asyncio.to_thread(self._index.expire_files, now)
        count = size = 0
        while expired := await asyncio.to_thread(self._index.expired, now):
            before = count
            for identifier in expired:
                kept = await asyncio.to_thread(self._index.remove, identifier, expired_at=now)
                if kept is not None:
                    await self._drop(kept.blob)
                    count += 1
                    size += kept.artifact.size
            if count == before:
                break
        for blob in await asyncio.to_thread(self._index.remains, now - _ABANDONED):
            await self._drop(blob)
        await asyncio.to_thread(sweep, self._blobs.scratch, now - _ABANDONED)
        return count, size

    def sign(self, identifier: str, lasts: float | None = None) -> str:
        """The path of a URL that needs no key."""
        return self._signer.sign(identifier, self._url_lasts if lasts is None else lasts)

    def verify(self, identifier: str, expires: str, signature: str) -> bool:
        """Whether such a path was signed here and has not expired."""
        return self._signer.verify(identifier, expires, signature)

    async def list(self, limit: int = 100) -> Sequence[Artifact]:
        """The newest artifacts, for operators."""
        return [kept.artifact for kept in await asyncio.to_thread(self._index.newest, limit)]

    async def aclose(self) -> None:
        """Close connections."""
        await self._blobs.aclose()
        await asyncio.to_thread(self._index.close)

    async def _kept(self, artifact_id: str) -> KeptArtifact:
        kept = await asyncio.to_thread(self._index.find, artifact_id)
        if kept is None:
            raise PolyrouteError(
                ErrorKind.NOT_FOUND, f"There is no artifact '{artifact_id}' (any more).", param="artifact_id"
            )
        return kept

    async def discard(self, kept: KeptArtifact) -> None:
        """Delete the bytes of an artifact whose row is gone."""
        await self._drop(kept.blob)

    async def _drop(self, blob: str) -> None:
        """Delete bytes that belong to nobody; what cannot be deleted now is tried again by a later `prune`."""
        try:
            await self._blobs.remove(blob)
        except OSError as error:
            log.warning("%s could not be deleted from the artifact store: %s", blob, error)
            return
        await asyncio.to_thread(self._index.forget_remain, blob)


class FileKeeper:
    """Implements `ports.FileStore`."""

    def __init__(self, index: MediaIndex, artifacts: ArtifactKeeper, clock: Callable[[], float] = time.time) -> None:
        self._index = index
        self._artifacts = artifacts
        self._clock = clock

    async def add(
        self, artifact: Artifact, *, filename: str, purpose: str, key_id: str | None, expires_at: float | None = None
    ) -> StoredFile:
        """Name an artifact for a caller."""
        created = round(self._clock(), 6)  # as it is stored
        file = StoredFile(
            id=f"file-{secrets.token_hex(12)}", artifact=artifact, key_id=key_id, filename=filename, purpose=purpose,
            created_at=created, expires_at=expires_at,
        )  # fmt: skip
        await asyncio.to_thread(self._index.add_file, file)
        return file

    async def find(self, file_id: str, key_id: str | None, *, any_key: bool = False) -> StoredFile | None:
        """A key's file."""
        file = await asyncio.to_thread(self._index.find_file, file_id, self._clock())
        return file if file is not None and (any_key or file.key_id == key_id) else None

    async def list(
        self,
        key_id: str | None,
        *,
        purpose: str | None = None,
        sha256: str | None = None,
        after: str | None = None,
        limit: int = 10_000,
        newest_first: bool = True,
    ) -> Sequence[StoredFile]:
        """A key's files. Raises PolyrouteError when there is no file `after`."""
        previous = None
        if after is not None:
            previous = await self.find(after, key_id)
            if previous is None:
                raise PolyrouteError(ErrorKind.INVALID_REQUEST, f"There is no file '{after}'.", param="after")
        return await asyncio.to_thread(
            self._index.list_files, key_id, self._clock(), purpose, sha256, previous, limit, newest_first
        )

    async def remove(self, file_id: str, key_id: str | None) -> bool:
        """Delete a key's file."""
        now = self._clock()
        artifact_id = await asyncio.to_thread(self._index.remove_file, file_id, key_id, now)
        if artifact_id is None:
            return False
        kept = await asyncio.to_thread(self._index.remove, artifact_id, expired_at=now)
        if kept is not None:
            await self._artifacts.discard(kept)
        return True


def _gone(artifact_id: str) -> PolyrouteError:
    return PolyrouteError(ErrorKind.NOT_FOUND, f"The bytes of artifact '{artifact_id}' are gone from the store.")


def _broken(error: BaseException | None) -> PolyrouteError:
    log.error("the artifact store cannot be used: %s", error)
    return PolyrouteError(ErrorKind.INTERNAL, "The artifact store cannot be used; the gateway's log says why.")
