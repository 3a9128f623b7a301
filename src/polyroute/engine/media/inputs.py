"""What a caller gives to work on, in the form that a provider takes: bytes, a data URI, or an address."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import AsyncGenerator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import unquote_to_bytes

import msgspec

from polyroute.engine.media.workspaces import open_workspace
from polyroute.ports import ArtifactStore, Body, Fetcher, FetchOrder, FileStore, Intake, MaskConverter
from polyroute.types.artifacts import Artifact, MediaFacts, MediaFamily
from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.media import InputRole, MediaInput, MediaRequest

_BLOCK = 1 << 18
_MOST_IN_MEMORY = 64 << 20  # bytes; what has to go into JSON cannot be streamed
_LONGEST_KEPT_URL = 8192
_FAMILIES: dict[InputRole, tuple[MediaFamily, ...]] = {
    "image": ("image",), "mask": ("image",), "first_frame": ("image",), "last_frame": ("image",),
    "reference": ("image", "video", "audio"), "video": ("video",), "audio": ("audio", "video"),
    "reference_audio": ("audio", "video"), "subtitles": ("text",),
}  # fmt: skip
"""What each role can be; the sound of a video is sound."""


class Storage(msgspec.Struct, frozen=True, kw_only=True):
    """Where media lies, and how it gets there. `address` is ours as callers (and local providers) reach it, `public_url` as
    everybody does, None when it is not known."""

    artifacts: ArtifactStore
    files: FileStore
    fetcher: Fetcher
    address: str = ""
    masks: MaskConverter | None = None
    public_url: str | None = None


class FileOnDisk:
    """A `ports.Body` over a local file."""

    def __init__(self, path: Path, length: int) -> None:
        self._path = path
        self._length = length

    @property
    def length(self) -> int:
        """Size in bytes."""
        return self._length

    def chunks(self) -> Iterator[bytes]:
        """The file from its start."""
        with self._path.open("rb") as file:
            while block := file.read(_BLOCK):
                yield block


class Inputs:
    """The inputs of one request. Each is fetched and checked at most once, however many targets need it. What the key may
    name is its own; `anything`: it is an operator's."""

    def __init__(self, storage: Storage, request: MediaRequest, key_id: str | None, *, anything: bool = False) -> None:
        self._storage = storage
        self._key_id = key_id
        self._reader = None if anything else key_id
        self._param: dict[MediaInput, InputRole] = {item: item.role for item in request.inputs}
        self._found: dict[MediaInput, Artifact] = {}
        self._open = AsyncExitStack()

    async def aclose(self) -> None:
        """Give local copies back."""
        await self._open.aclose()

    async def artifact(self, item: MediaInput) -> Artifact:
        """The stored bytes of an input. Raises PolyrouteError naming what is wrong with it."""
        found = self._found.get(item)
        if found is None:
            found = self._found[item] = check_family(await self._store(item), item.role, item.role)
        return found

    async def read(self, item: MediaInput) -> tuple[bytes, str]:
        """All of it in memory, and its media type."""
        artifact = await self.artifact(item)
        if artifact.size > _MOST_IN_MEMORY:
            raise PolyrouteError(
                ErrorKind.TOO_LARGE,
                f"'{item.role}' has {artifact.size >> 20} MB; at most {_MOST_IN_MEMORY >> 20} MB can be sent to this provider.",
                param=item.role,
            )  # fmt: skip
        blocks = [block async for block in self._storage.artifacts.open(artifact.id)]
        return b"".join(blocks), artifact.media_type

    async def body(self, item: MediaInput) -> tuple[Body, str]:
        """Read from disk as it is sent."""
        artifact = await self.artifact(item)
        path = await self._open.enter_async_context(self._storage.artifacts.path(artifact.id))
        return FileOnDisk(path, artifact.size), artifact.media_type

    async def path(self, item: MediaInput) -> tuple[Path, str]:
        """A local, read-only copy for as long as the request lasts."""
        artifact = await self.artifact(item)
        return await self._open.enter_async_context(self._storage.artifacts.path(artifact.id)), artifact.media_type

    async def mask_for_openai(self, item: MediaInput) -> tuple[bytes, str]:
        """A mask (white where to paint) made transparent where to paint."""
        path, _ = await self.path(item)
        return await needed_masks(self._storage).to_transparent(path), "image/png"

    def workspace(self) -> Path:
        """A folder of this request's own, gone when it is over."""
        return self._open.enter_context(open_workspace())

    async def data_uri(self, item: MediaInput) -> str:
        """All of it as a base64 data URI."""
        content, media_type = await self.read(item)
        return f"data:{media_type};base64,{base64.b64encode(content).decode()}"

    async def url(self, item: MediaInput, *, nearby: bool, inside: bool = False) -> str | None:
        """Where the provider can fetch it; `nearby`: it can reach us, `inside`: it stands in our own network, where it is not
        sent wherever a caller says."""
        known = item.url is not None and item.url.startswith("https://") and len(item.url) <= _LONGEST_KEPT_URL
        if known and not inside:
            return item.url
        base = self._storage.public_url or (self._storage.address if nearby else None)
        if not base:
            return None
        artifact = await self.artifact(item)
        return base + self._storage.artifacts.sign(artifact.id)

    async def _store(self, item: MediaInput) -> Artifact:
        if item.artifact is not None:
            return await self._own(item.artifact, item.role)
        intake = Intake(origin="input", declared=item.media_type, param=item.role, owner=self._key_id)
        url = item.url or ""
        if url.startswith("data:"):
            content, declared = read_data_uri(url, item.role)
            intake = msgspec.structs.replace(intake, declared=item.media_type or declared)
            return await self._storage.artifacts.put(content, intake)
        return await self._storage.fetcher.fetch(FetchOrder(url=url, intake=intake, from_caller=True))

    async def _own(self, identifier: str, param: str) -> Artifact:
        """An artifact of this key by its own id, or by that of a file which it uploaded."""
        if identifier.startswith("file-"):
            file = await self._storage.files.find(identifier, self._reader, any_key=self._reader is None)
            if file is not None:
                return file.artifact
        elif (artifact := await self._storage.artifacts.owned(identifier, self._reader)) is not None:
            return artifact
        raise PolyrouteError(
            ErrorKind.INVALID_REQUEST,
            f"'{param}': there is no file or artifact {identifier!r}; upload it with POST /v1/files.", param=param,
        )  # fmt: skip


def needed_masks(storage: Storage) -> MaskConverter:
    """What converts masks. Raises PolyrouteError (unsupported) where nothing can."""
    if storage.masks is None:
        raise PolyrouteError(
            ErrorKind.UNSUPPORTED,
            "'mask' has to be converted for this provider, and there is no ffmpeg: install it, or the extra 'media' of "
            "polyroute.", param="mask",
        )  # fmt: skip
    return storage.masks


async def read_blocks(path: Path) -> AsyncGenerator[bytes, None]:
    """A file's bytes, block by block."""
    with await asyncio.to_thread(path.open, "rb") as file:
        while block := await asyncio.to_thread(file.read, _BLOCK):
            yield block


def check_family(artifact: Artifact, role: InputRole, param: str) -> Artifact:
    """The artifact itself. Raises PolyrouteError (invalid_request) when its bytes are no such thing as the role needs."""
    check_family_of(artifact, role, param)
    return artifact


def check_family_of(facts: Artifact | MediaFacts, role: InputRole, param: str) -> None:
    """As `check_family`, for what is not stored."""
    wanted = _FAMILIES[role]
    if facts.family not in wanted:
        told = facts.media_type if facts.media_type != "application/octet-stream" else "of no known format"
        raise PolyrouteError(
            ErrorKind.INVALID_REQUEST, f"'{param}' must be {' or '.join(wanted)}; its bytes are {told}.", param=param
        )


def read_data_uri(uri: str, param: str) -> tuple[bytes, str | None]:
    """A data URI's bytes and declared media type. Raises PolyrouteError(invalid_request)."""
    head, comma, payload = uri.partition(",")
    parts = head.removeprefix("data:").split(";")
    try:
        if not comma:
            raise ValueError("no comma")
        if "base64" in parts[1:]:
            content = base64.b64decode("".join(payload.split()), validate=True)
        else:
            content = unquote_to_bytes(payload)
    except (ValueError, binascii.Error) as error:
        raise PolyrouteError(
            ErrorKind.INVALID_REQUEST, f"'{param}' holds a data URI that is broken: {error}.", param=param
        ) from error
    return content, parts[0] or None
