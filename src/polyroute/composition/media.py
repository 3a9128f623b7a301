"""Stored media under these settings: the artifact store, callers' files and the fetcher, put together. Shared by
the gateway, workers and the command line."""

from __future__ import annotations

import asyncio
import logging
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from polyroute.composition.configuration import surroundings
from polyroute.composition.stores import read_pepper
from polyroute.engine.media.inputs import Storage
from polyroute.engine.media.lane import MediaFloor
from polyroute.engine.media.workspaces import sweep_workspaces
from polyroute.ports import Fetcher, FetchOrder, Headers, MediaSocket
from polyroute.providers.media.ffmpeg.masks import Masks
from polyroute.providers.media.ffmpeg.tools import tools_for
from polyroute.settings import Settings
from polyroute.storage.artifacts import ArtifactKeeper, FileKeeper
from polyroute.storage.blobs import BlobStore, LocalBlobs
from polyroute.storage.database import Database, StorageError, open_database
from polyroute.storage.media_index import MediaIndex
from polyroute.storage.url_signatures import UrlSigner
from polyroute.types.artifacts import Artifact

if TYPE_CHECKING:
    from polyroute.transport.websocket import WebSocketTransport

log = logging.getLogger("polyroute.artifacts")

_SECONDS_A_DAY = 86_400.0


class Media:
    """`artifacts`, `files` and `fetcher` of one process. `pepper` gives the server-side secret when URLs are first signed.

    Raises StorageError when the settings name no usable store; nothing is opened before it is first used.
    """

    def __init__(self, settings: Settings, database: Database, pepper: Callable[[], bytes]) -> None:
        own = settings.artifacts
        index = MediaIndex(database)
        self._prune_every = own.prune_every
        self._pruning: asyncio.Task[None] | None = None
        self.artifacts = ArtifactKeeper(
            index,
            open_blobs(settings),
            UrlSigner(pepper, time.time),
            retain=own.retention_days * _SECONDS_A_DAY or None,
            limit=own.max_file_mb << 20,
            max_pixels=int(own.max_megapixels * 1e6),
            url_lasts=own.url_lasts,
        )
        self.files = FileKeeper(index, self.artifacts)
        self._fetching = settings.fetch
        self._server = settings.server
        self._ffmpeg = surroundings(settings).get("FFMPEG_BINARY")

    @cached_property
    def fetcher(self) -> Fetcher:
        """The safe fetcher; made when it is first asked for, because its HTTP client takes time and memory to load."""
        from polyroute.transport.fetch import FetchPolicy, SafeFetcher  # noqa: PLC0415
        from polyroute.transport.guard import read_allow_list  # noqa: PLC0415

        own = self._fetching
        policy = FetchPolicy(
            allowed=read_allow_list(own.allow), max_size=own.max_size_mb << 20, timeout=own.timeout, idle=own.idle,
            redirects=own.redirects,
        )  # fmt: skip
        return SafeFetcher(self.artifacts, policy)

    async def fetch(self, order: FetchOrder) -> Artifact:
        """See `ports.Fetcher.fetch`."""
        return await self.fetcher.fetch(order)

    async def check(self, url: str, param: str) -> None:
        """See `ports.Fetcher.check`."""
        await self.fetcher.check(url, param)

    async def open_socket(self, url: str, headers: Headers, connect: float, deadline: float) -> MediaSocket:
        """See `ports.SocketOpener`."""
        return await self._sockets.open(url, headers, connect, deadline)

    @cached_property
    def _sockets(self) -> WebSocketTransport:
        from polyroute.transport.websocket import WebSocketTransport  # noqa: PLC0415

        return WebSocketTransport()

    def floor(self) -> MediaFloor:
        """What the gateway needs for media work."""
        server = self._server
        storage = Storage(
            artifacts=self.artifacts,
            files=self.files,
            fetcher=self,
            address=(server.public_url or f"http://{server.host}:{server.port}").rstrip("/"),
            masks=None if self._ffmpeg is None else Masks(tools_for(self._ffmpeg)),
            public_url=None if server.public_url is None else server.public_url.rstrip("/"),
        )
        return MediaFloor(storage=storage, sockets=self.open_socket)

    def start(self) -> None:
        """Prune from time to time, in the running loop. Folders of work that a killed process left go now."""
        sweep_workspaces()
        self._pruning = asyncio.create_task(self._prune())

    async def stop(self) -> None:
        """Close everything."""
        if self._pruning is not None:
            self._pruning.cancel()
        if "_sockets" in self.__dict__:
            await self._sockets.aclose()
        await self.artifacts.aclose()

    async def _prune(self) -> None:
        while True:
            await asyncio.sleep(self._prune_every)
            try:
                count, size = await self.artifacts.prune()
            except Exception:
                log.exception("expired files could not be pruned; the next look is in %g s", self._prune_every)
            else:
                if count:
                    log.info("%d expired files were deleted, %d bytes", count, size)


def media_storage(settings: Settings) -> Media:
    """Stored media, for the command line. Raises StorageError."""
    database = open_database(settings.storage.database)
    return Media(settings, database, lambda: read_pepper(settings, database))


def open_blobs(settings: Settings) -> BlobStore:
    """Where the bytes are. Raises StorageError when a bucket's credentials are missing."""
    where = settings.storage.artifacts
    if not where.startswith("s3://"):
        return LocalBlobs(Path(where).absolute())
    from polyroute.storage.s3 import S3Blobs, S3Place  # noqa: PLC0415 - its HTTP client takes time and memory to load
    from polyroute.transport.client import ClientTransport  # noqa: PLC0415
    from polyroute.transport.sigv4 import SigningKey  # noqa: PLC0415

    own, environment = settings.storage.s3, settings.environment
    bucket, _, prefix = where.removeprefix("s3://").partition("/")
    access_key = own.access_key or environment.get("AWS_ACCESS_KEY_ID")
    secret_key = _secret(own.secret_key, environment, "AWS_SECRET_ACCESS_KEY")
    if not access_key or not secret_key:
        raise StorageError(
            f"storage.artifacts is {where}, which needs credentials: set storage.s3.access_key and storage.s3.secret_key, "
            "or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    endpoint = own.endpoint or f"https://s3.{own.region}.amazonaws.com"
    path_style = own.path_style if own.path_style is not None else own.endpoint is not None
    if not urlsplit(endpoint).hostname:
        raise StorageError(f"storage.s3.endpoint {endpoint!r} has no host")
    key = SigningKey(access_key, secret_key, _secret(own.session_token, environment, "AWS_SESSION_TOKEN"))
    place = S3Place(
        bucket=bucket, prefix=prefix.strip("/"), endpoint=endpoint, region=own.region, path_style=path_style
    )
    return S3Blobs(place, key, ClientTransport(), Path(tempfile.gettempdir()) / "polyroute-artifacts")


def _secret(configured: object, environment: Mapping[str, str], name: str) -> str | None:
    reveal = getattr(configured, "get_secret_value", None)
    return reveal() if reveal is not None else environment.get(name)
