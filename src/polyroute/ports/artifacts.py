"""Stored media as everybody sees it: the artifact store, the files that callers uploaded, and the safe fetcher.

Ids come from callers too: nothing here trusts one. What a caller did wrong is a PolyrouteError that names `param`; what a
provider did wrong is an AttemptFailed.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

import msgspec

from polyroute.ports.network import Headers
from polyroute.types.artifacts import Artifact, MediaFacts, MediaFamily, StoredFile


class Intake(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of bytes before they are stored.

    `expected` refuses other families of media. `declared` is the media type that somebody claimed: it is used for what
    has no signature of its own (raw PCM, plain text) and never believed otherwise. `limit` is the most bytes, the store's
    own limit unless it is lower. `retain` is for how many seconds the artifact is kept on its own, None for the configured
    retention. `param` is the field that errors name. `owner` is the id of the key that it belongs to, which it then also does
    when it was there before.
    """

    origin: str
    expected: MediaFamily | None = None
    declared: str | None = None
    limit: int | None = None
    retain: float | None = None
    simulated: bool = False
    param: str | None = None
    owner: str | None = None


class ArtifactStore(Protocol):
    """Files by the hash of their content; used from the event loop."""

    async def put(self, chunks: AsyncIterable[bytes] | bytes, intake: Intake) -> Artifact:
        """Store a stream, which is never held in memory whole; the same bytes again give the same artifact, kept for the
        longer of both times. An error raised by `chunks` passes through, and leaves nothing behind.

        Raises PolyrouteError: `too_large` over the limit, `invalid_request` for what is empty, not of the expected family,
        or an image of more pixels than allowed; `internal` when the storage fails.
        """

    async def stat(self, artifact_id: str) -> Artifact | None:
        """What is known of an artifact; None when there is none of that id (any more)."""

    async def owned(self, artifact_id: str, key_id: str | None) -> Artifact | None:
        """An artifact that belongs to this key, or that one of its files names; None also for those of others. Without a key
        (in open mode) all are everybody's."""

    async def own(self, artifact_id: str, key_id: str | None) -> None:
        """It belongs to this key too."""

    def open(self, artifact_id: str, start: int = 0, stop: int | None = None) -> AsyncGenerator[bytes, None]:
        """Its bytes from `start` up to, not with, `stop`, in blocks. Close it (`aclosing`) when leaving early.

        Raises PolyrouteError: `not_found`.
        """

    def path(self, artifact_id: str) -> AbstractAsyncContextManager[Path]:
        """A local, read-only file with its bytes, for as long as the context lasts; the name ends in its format's ending.

        Raises PolyrouteError: `not_found`.
        """

    async def keep(self, artifact_id: str, until: float) -> None:
        """Keep it at least until that moment (seconds since the epoch): a job that still needs its inputs."""

    async def delete(self, artifact_id: str) -> bool:
        """Delete it unless a caller's file still holds it; False when there was none or it is held."""

    async def prune(self) -> tuple[int, int]:
        """Delete what has expired: files of callers, then artifacts that nobody holds. How many, and how many bytes."""

    def check(self, facts: MediaFacts, intake: Intake) -> None:
        """Refuse what would not be stored, seen without storing it. Raises PolyrouteError as `put` does."""

    def sign(self, identifier: str, lasts: float | None = None) -> str:
        """The path of a URL that reads an artifact (or a caller's file) without a key for `lasts` seconds, the configured
        time unless said: `/v1/files/{id}/content?expires=…&signature=…`."""

    def verify(self, identifier: str, expires: str, signature: str) -> bool:
        """Whether that path was signed here and has not expired; takes the same time whatever was presented."""


class FileStore(Protocol):
    """Files that callers uploaded, by id and by the key that uploaded them; used from the event loop."""

    async def add(
        self, artifact: Artifact, *, filename: str, purpose: str, key_id: str | None, expires_at: float | None = None
    ) -> StoredFile:
        """Name an artifact for a caller."""

    async def find(self, file_id: str, key_id: str | None, *, any_key: bool = False) -> StoredFile | None:
        """None when this key has none of that id; `any_key` looks at everybody's (for signed URLs)."""

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
        """This key's files (of these bytes), those that come after the file `after`."""

    async def remove(self, file_id: str, key_id: str | None) -> bool:
        """Delete a file, and its artifact unless something else keeps it; False when there was none."""


class FetchOrder(msgspec.Struct, frozen=True, kw_only=True):
    """Something to download: an http(s) URL, or a data URI.

    `trusted` are base URLs that may be private and plain HTTP (a local provider's own address): their scheme, host and port
    must match. `headers` (credentials) go to the host of `url` only, never to where it redirects. `from_caller` decides who
    is to blame: a caller's URL gives PolyrouteErrors, a provider's AttemptFailed; only a provider's must be https.
    """

    url: str
    intake: Intake
    headers: Headers = []
    trusted: tuple[str, ...] = ()
    from_caller: bool = False
    timeout: float | None = None


class Fetcher(Protocol):
    """Downloads what others point at, without being led to where they may not look."""

    async def fetch(self, order: FetchOrder) -> Artifact:
        """Download into the artifact store.

        Raises PolyrouteError (a caller's URL: `invalid_request` or `too_large`, naming `intake.param`) or AttemptFailed (a
        provider's: `bad_response`, `unavailable`, `truncated`, `timeout`; `not_found` for 404, 403 and 410, which is what
        an expired result URL answers).
        """

    async def check(self, url: str, param: str) -> None:
        """Whether a caller's URL leads to where one may look, without fetching it: somebody else will. Raises
        PolyrouteError(invalid_request); nothing for a name that cannot be resolved here."""


class MaskConverter(Protocol):
    """Converts between OpenAI's masks, transparent where they may be painted, and everybody else's, white there. Both give a
    PNG, and raise PolyrouteError (invalid_request) for what is no such picture."""

    async def to_white(self, path: Path) -> bytes:
        """From OpenAI's."""

    async def to_transparent(self, path: Path) -> bytes:
        """To OpenAI's."""
