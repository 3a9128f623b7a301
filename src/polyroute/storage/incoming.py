"""Bytes on their way into the store: written to a scratch file and hashed as they arrive, then looked at."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
from collections.abc import AsyncIterable
from contextlib import suppress
from pathlib import Path
from typing import IO

from polyroute.mediainfo import inspect_media
from polyroute.mediainfo.images import MEASURED
from polyroute.ports import Intake
from polyroute.storage.blobs import BLOCK
from polyroute.types.artifacts import MediaFacts
from polyroute.types.errors import ErrorKind, PolyrouteError

_POSSIBLE = {
    "image": "PNG, JPEG, WebP, GIF, AVIF, BMP or TIFF",
    "audio": "MP3, WAV, Ogg, Opus, FLAC, AAC, M4A or WebM",
    "video": "MP4, MOV, WebM, MKV or AVI",
    "text": "plain text, JSON, SRT or WebVTT",
}


class ScratchError(Exception):
    """The scratch file cannot be written: not to be taken for an error of whoever gives the bytes. Its cause says why."""


class Incoming:
    """One scratch file: `write` what arrives, `finish`, `inspect`, and `discard` unless it was moved away."""

    def __init__(self, folder: Path, limit: int, param: str | None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / secrets.token_hex(16)
        self.size = 0
        self._limit = limit
        self._param = param
        self._hash = hashlib.sha256()
        self._file: IO[bytes] = open(self.path, "xb")  # noqa: SIM115 - closed by `finish` and `discard`

    async def take(self, chunks: AsyncIterable[bytes] | bytes) -> None:
        """Everything. Raises PolyrouteError (`too_large`, or `invalid_request` for nothing), ScratchError, and what
        `chunks` raise."""
        if isinstance(chunks, bytes):
            self._count(len(chunks))
            await self._flush([chunks])
        else:
            held: list[bytes] = []
            waiting = 0
            async for chunk in chunks:
                self._count(len(chunk))
                held.append(chunk)
                waiting += len(chunk)
                if waiting >= BLOCK:
                    await self._flush(held)
                    held, waiting = [], 0
            await self._flush(held)
        await self._flush([], last=True)
        if not self.size:
            raise PolyrouteError(ErrorKind.INVALID_REQUEST, f"{_named(self._param)} is empty.", param=self._param)

    @property
    def sha256(self) -> str:
        """Of everything, in hex."""
        return self._hash.hexdigest()

    def discard(self) -> None:
        """Close and delete it; what was moved away stays."""
        with suppress(OSError):  # a full disk may show only now
            self._file.close()
        self.path.unlink(missing_ok=True)

    def _count(self, more: int) -> None:
        self.size += more
        if self.size > self._limit:
            raise too_large(self._limit, self._param)

    async def _flush(self, chunks: list[bytes], *, last: bool = False) -> None:
        try:
            await asyncio.to_thread(self._write, chunks, last)
        except OSError as error:
            raise ScratchError from error

    def _write(self, chunks: list[bytes], last: bool) -> None:
        for chunk in chunks:
            self._hash.update(chunk)
            self._file.write(chunk)
        if last:
            self._file.close()


class _OpenFile:
    """A file on disk as `mediainfo.ByteSource`."""

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor = descriptor
        self.size = size

    def read(self, offset: int, length: int) -> bytes:
        """A part of it."""
        return os.pread(self._descriptor, length, offset) if 0 <= offset < self.size else b""


def look_at(file: Incoming, intake: Intake, max_pixels: int) -> MediaFacts:
    """What arrived; blocking. Raises PolyrouteError (`invalid_request`) for what was not due or should not be decoded."""
    descriptor = os.open(file.path, os.O_RDONLY)
    try:
        facts = inspect_media(_OpenFile(descriptor, file.size), intake.declared)
    finally:
        os.close(descriptor)
    check_facts(facts, intake, max_pixels)
    return facts


def check_facts(facts: MediaFacts, intake: Intake, max_pixels: int) -> None:
    """Raises PolyrouteError (`invalid_request`) for what was not due or should not be decoded."""
    name, expected = _named(intake.param), intake.expected
    if expected is not None and facts.family != expected:
        raise _refusal(f"{name} is {_described(facts)}; {expected} is expected here: {_POSSIBLE[expected]}.", intake)
    if facts.width is None or facts.height is None:
        if facts.media_type in MEASURED:
            raise _refusal(
                f"{name} begins like {facts.media_type} but is broken or cut off: it does not say its size.", intake
            )
        return
    if facts.width * facts.height > max_pixels or not facts.width * facts.height:
        raise _refusal(
            f"{name} claims {facts.width} x {facts.height} pixels; "
            f"from 1 to {max_pixels / 1e6:g} million are possible (artifacts.max_megapixels).",
            intake,
        )


def _refusal(message: str, intake: Intake) -> PolyrouteError:
    return PolyrouteError(ErrorKind.INVALID_REQUEST, message, param=intake.param)


def too_large(limit: int, param: str | None) -> PolyrouteError:
    """The refusal of a file over the limit, given in bytes."""
    return PolyrouteError(
        ErrorKind.TOO_LARGE,
        f"{_named(param)} is larger than {limit / (1 << 20):g} MB, the limit of this gateway (artifacts.max_file_mb).",
        param=param,
    )


def _named(param: str | None) -> str:
    return "The file" if param is None else f"'{param}'"


def _described(facts: MediaFacts) -> str:
    return "of an unknown format" if facts.media_type == "application/octet-stream" else facts.media_type
