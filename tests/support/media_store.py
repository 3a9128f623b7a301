"""An artifact store of a test's own, on SQLite and a folder."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from polyroute.storage.artifacts import ArtifactKeeper, FileKeeper
from polyroute.storage.blobs import BlobStore, LocalBlobs
from polyroute.storage.database import open_database
from polyroute.storage.media_index import MediaIndex
from polyroute.storage.url_signatures import UrlSigner
from support.prepared_state import new_database


class MediaStore:
    """`artifacts` and `files` over `index` and `blobs`; `folder` holds the bytes unless `blobs` are given."""

    def __init__(
        self,
        folder: Path,
        *,
        blobs: BlobStore | None = None,
        clock: Callable[[], float] = time.time,
        retain: float | None = 1000.0,
        limit: int = 10 << 20,
        url: str | None = None,
    ) -> None:
        self.folder = folder / "artifacts"
        self.database = new_database(folder / "media.db") if url is None else open_database(url)
        self.index = MediaIndex(self.database)
        self.blobs = blobs or LocalBlobs(self.folder)
        self.artifacts = ArtifactKeeper(
            self.index, self.blobs, UrlSigner(lambda: b"pepper" * 6, clock),
            retain=retain, limit=limit, max_pixels=1_000_000, url_lasts=60.0, clock=clock,
        )  # fmt: skip
        self.files = FileKeeper(self.index, self.artifacts, clock)

    async def content(self, artifact_id: str, start: int = 0, stop: int | None = None) -> bytes:
        """An artifact's bytes."""
        return b"".join([block async for block in self.artifacts.open(artifact_id, start, stop)])

    def stored(self) -> list[Path]:
        """Every file below the folder."""
        return sorted(path for path in self.folder.rglob("*") if path.is_file())


@asynccontextmanager
async def media_store(folder: Path, **options: object) -> AsyncIterator[MediaStore]:
    """A store that is closed at the end."""
    store = MediaStore(folder, **options)  # type: ignore[arg-type] # passed through
    try:
        yield store
    finally:
        await store.artifacts.aclose()
        store.database.close()
