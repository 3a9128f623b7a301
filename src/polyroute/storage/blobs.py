"""Where the bytes of artifacts are: a local folder here, an S3-compatible store in `s3`."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Protocol

BLOCK = 256 * 1024
"""Bytes that are read and written at a time."""


class BlobMissingError(Exception):
    """The store has no bytes of that name (any more)."""


class BlobStore(Protocol):
    """Bytes by name. Raises OSError, whose text says what is wrong, when the store cannot be used."""

    @property
    def scratch(self) -> Path:
        """A local folder for files that are on their way."""

    async def add(self, name: str, file: Path, sha256: str) -> None:
        """Store a file of the scratch folder, durably; it may be gone from there afterwards."""

    async def has(self, name: str, size: int) -> bool:
        """Whether the bytes are there, as many as there should be."""

    def read(self, name: str, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        """The bytes from `start` up to, not with, `stop`. Raises BlobMissingError."""

    def path(self, name: str, size: int, ending: str) -> AbstractAsyncContextManager[Path]:
        """A local file with the bytes. Raises BlobMissingError."""

    async def remove(self, name: str) -> None:
        """Delete the bytes, if there are any."""

    async def aclose(self) -> None:
        """Close connections."""


class LocalBlobs:
    """A folder: `ab/abcdef….1f2e`, files that are never changed once they have their name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._scratch = folder / ".incoming"

    @property
    def scratch(self) -> Path:
        """Within the folder, so that a finished file only needs another name."""
        return self._scratch

    async def add(self, name: str, file: Path, sha256: str) -> None:
        """Give the file its name, on the disk for good."""
        await asyncio.to_thread(self._add, name, file)

    async def has(self, name: str, size: int) -> bool:
        """A look at the file's length."""
        try:
            return (await asyncio.to_thread(os.stat, self._place(name))).st_size == size
        except FileNotFoundError:
            return False

    async def read(self, name: str, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        """Blocks of the file, which may be deleted meanwhile."""
        try:
            descriptor = await asyncio.to_thread(os.open, self._place(name), os.O_RDONLY)
        except FileNotFoundError:
            raise BlobMissingError(name) from None
        try:
            while start < stop:
                block = await asyncio.to_thread(os.pread, descriptor, min(BLOCK, stop - start), start)
                if not block:
                    raise BlobMissingError(f"{name} ends at {start}")
                start += len(block)
                yield block
        finally:
            os.close(descriptor)

    @asynccontextmanager
    async def path(self, name: str, size: int, ending: str) -> AsyncIterator[Path]:
        """A second name for the file, which lasts when the first is deleted."""
        second = self._scratch / f"{secrets.token_hex(8)}.{ending}"
        try:
            await asyncio.to_thread(self._link, name, second)
        except FileNotFoundError:
            raise BlobMissingError(name) from None
        try:
            yield second
        finally:
            with suppress(FileNotFoundError):
                second.unlink()

    async def remove(self, name: str) -> None:
        """Unlink it."""
        with suppress(FileNotFoundError):
            await asyncio.to_thread(os.unlink, self._place(name))

    async def aclose(self) -> None:
        """There is nothing to close."""

    def _place(self, name: str) -> Path:
        return self._folder / name[:2] / name

    def _add(self, name: str, file: Path) -> None:
        place = self._place(name)
        place.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.fchmod(descriptor, 0o444)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        file.replace(place)
        folder = os.open(place.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _link(self, name: str, second: Path) -> None:
        self._scratch.mkdir(parents=True, exist_ok=True)
        os.link(self._place(name), second)


def sweep(folder: Path, before: float) -> None:
    """Delete what crashed processes left in a scratch folder before that moment (seconds since the epoch)."""
    with suppress(FileNotFoundError):
        for entry in list(os.scandir(folder)):
            with suppress(OSError):
                if entry.is_file(follow_symlinks=False) and entry.stat(follow_symlinks=False).st_ctime < before:
                    os.unlink(entry.path)
