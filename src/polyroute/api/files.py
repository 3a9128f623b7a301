"""`/v1/files` in OpenAI's shape: uploads and downloads of any size, streamed both ways."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from contextlib import aclosing
from typing import Any
from urllib.parse import parse_qs, quote, unquote

import msgspec

from polyroute.api.exchange import AsgiExchange
from polyroute.api.ranges import Selection, select
from polyroute.api.requests import Receive, Scope, Send, read_head
from polyroute.api.upload import Upload
from polyroute.engine.admission import Admission
from polyroute.engine.envelope import invalid
from polyroute.ports import ArtifactStore, FileStore, Headers, Intake
from polyroute.types.artifacts import Artifact, StoredFile
from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.records import KeyRecord

PATH = "/v1/files"
PURPOSES = ("assistants", "batch", "evals", "fine-tune", "user_data", "vision")
"""What callers may say that a file is for; here it only sorts them."""
_SHORTEST_LIFE, _LONGEST_LIFE = 3600, 2_592_000
_LONGEST_NAME = 255
_FORM_ROOM = 1 << 20
_UPLOAD_GRACE = 3600.0
_SHOWN = frozenset(("image", "audio", "video"))
_UNSAFE = re.compile(r"[\x00-\x1f\x7f\"\\/]")
_PATTERN = re.compile(r"/v1/files/([^/]+)(/content)?")
_JSON = (b"content-type", b"application/json")


class FilePaths:
    """The ASGI application of the paths below `/v1/files`. `limit` is the largest upload in bytes."""

    def __init__(
        self,
        admission: Admission,
        artifacts: ArtifactStore,
        files: FileStore,
        *,
        limit: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._admission = admission
        self._artifacts = artifacts
        self._files = files
        self._limit = limit
        self._clock = clock

    @staticmethod
    def serves(path: str) -> bool:
        """Whether a path is one of these."""
        return path == PATH or path.startswith(PATH + "/")

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, which ends when its caller leaves. Raises PolyrouteError (before the answer begins), ClientGone."""
        exchange = AsgiExchange(scope, receive, send)
        exchange.enter()
        try:
            await self._answer(scope, receive, send)
        except asyncio.CancelledError:
            if not exchange.left:
                raise
        finally:
            exchange.leave()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        method, path = scope["method"], scope["path"].rstrip("/")
        head = read_head(scope["headers"])
        found = _PATTERN.fullmatch(path)
        identifier = unquote(found.group(1)) if found is not None else ""
        content = found is not None and found.group(2) is not None
        signed = self._signed(scope["query_string"], identifier) if content else False
        key = None if signed else self._admission.admit(head.credential)
        match method:
            case "POST" if path == PATH:
                await _answer_json(send, await self._create(scope, receive, key))
            case "GET" if path == PATH:
                await _answer_json(send, await self._list(scope["query_string"], key))
            case "GET" | "HEAD" if content:
                await self._content(scope, send, identifier, key)
            case "GET" if found is not None:
                await _answer_json(send, self._object(await self._find(identifier, key)))
            case "DELETE" if found is not None and not content:
                await self._find(identifier, key)
                await self._files.remove(identifier, _key_id(key))
                await _answer_json(send, {"id": identifier, "object": "file", "deleted": True})
            case _:
                raise PolyrouteError(ErrorKind.NOT_FOUND, f"There is no {method} {path} here.")

    # ---------------------------------------------------------------- up

    async def _create(self, scope: Scope, receive: Receive, key: KeyRecord | None) -> dict[str, Any]:
        head = read_head(scope["headers"])
        if head.content_length is not None and head.content_length > self._limit + _FORM_ROOM:
            raise _too_large(self._limit)
        upload = Upload(head.content_type, receive, "file")
        await upload.begin()
        if "purpose" in upload.fields:  # most send it before the file, which then need not be read to be refused
            _purpose(upload.fields)
        # Kept for an hour by itself, then by the file that names it.
        intake = Intake(
            origin="upload", declared=upload.media_type, limit=self._limit, retain=_UPLOAD_GRACE, param="file"
        )
        artifact = await self._artifacts.put(upload.chunks(), intake)
        file = await self._files.add(
            artifact,
            filename=_clean_name(upload.filename),
            purpose=_purpose(upload.fields),
            key_id=_key_id(key),
            expires_at=self._expiry(upload.fields),
        )
        return self._object(file)

    def _expiry(self, fields: dict[str, str]) -> float | None:
        """OpenAI's `expires_after`: an anchor and seconds."""
        anchor, seconds = fields.get("expires_after[anchor]"), fields.get("expires_after[seconds]")
        if anchor is None and seconds is None:
            return None
        if anchor not in (None, "created_at"):
            raise invalid("'expires_after[anchor]' can only be 'created_at'.", "expires_after[anchor]")
        if seconds is None or not seconds.isdecimal() or not _SHORTEST_LIFE <= int(seconds[:12]) <= _LONGEST_LIFE:
            raise invalid(
                f"'expires_after[seconds]' must be a whole number from {_SHORTEST_LIFE} to {_LONGEST_LIFE}.",
                "expires_after[seconds]",
            )
        return self._clock() + int(seconds)

    # ---------------------------------------------------------------- look

    async def _list(self, query: bytes, key: KeyRecord | None) -> dict[str, Any]:
        asked = parse_qs(query.decode("latin-1"), keep_blank_values=True)
        limit = asked.get("limit", ["10000"])[-1]
        if not limit.isdecimal() or not 1 <= int(limit[:6]) <= 10_000:
            raise invalid(f"'limit' is '{limit[:20]}'; it must be a whole number from 1 to 10000.", "limit")
        order = asked.get("order", ["desc"])[-1]
        if order not in ("asc", "desc"):
            raise invalid(f"'order' is '{order[:20]}'; it must be asc or desc.", "order")
        found = await self._files.list(
            _key_id(key),
            purpose=asked.get("purpose", [None])[-1],
            sha256=asked.get("sha256", [None])[-1],
            after=asked.get("after", [None])[-1],
            limit=int(limit) + 1,
            newest_first=order == "desc",
        )
        shown = found[: int(limit)]
        return {
            "object": "list",
            "data": [self._object(file) for file in shown],
            "first_id": shown[0].id if shown else None,
            "last_id": shown[-1].id if shown else None,
            "has_more": len(found) > len(shown),
        }

    async def _find(self, identifier: str, key: KeyRecord | None) -> StoredFile:
        file = await self._files.find(identifier, _key_id(key))
        if file is None:
            raise _no_such(identifier)
        return file

    def _object(self, file: StoredFile) -> dict[str, Any]:
        """OpenAI's file, and beside it what we know of the media."""
        artifact = file.artifact
        known = {
            "media_type": artifact.media_type,
            "width": artifact.width,
            "height": artifact.height,
            "duration": artifact.duration_s,
            "fps": artifact.fps,
            "expires_at": None if file.expires_at is None else int(file.expires_at),
        }
        return {
            "id": file.id,
            "object": "file",
            "bytes": artifact.size,
            "created_at": int(file.created_at),
            "filename": file.filename,
            "purpose": file.purpose,
            "status": "processed",
            "sha256": artifact.sha256,
            "artifact": artifact.id,
            "url": self._artifacts.sign(file.id),
        } | {name: value for name, value in known.items() if value is not None}

    # ---------------------------------------------------------------- down

    def _signed(self, query: bytes, identifier: str) -> bool:
        """Whether the URL itself gives access. Raises PolyrouteError(forbidden) for a signature that does not."""
        asked = parse_qs(query.decode("latin-1"), keep_blank_values=True)
        if "signature" not in asked:
            return False
        if not self._artifacts.verify(identifier, asked.get("expires", [""])[-1], asked["signature"][-1]):
            raise PolyrouteError(
                ErrorKind.FORBIDDEN, "The URL's signature is wrong or has expired: ask for the file's `url` anew."
            )
        return True

    async def send_artifact(self, scope: Scope, send: Send, identifier: str) -> None:
        """The bytes of an artifact, for a caller who may read it by another path's rules. Raises PolyrouteError(not_found)."""
        await self._content(scope, send, identifier, None)

    async def _content(self, scope: Scope, send: Send, identifier: str, key: KeyRecord | None) -> None:
        """The bytes, or the part of them that was asked for."""
        artifact, filename = await self._content_of(identifier, key)
        etag = f'"{artifact.sha256}"'.encode()
        selection = select(scope["headers"], etag, artifact.size)
        chunks = self._artifacts.open(artifact.id, selection.start, selection.stop)
        async with aclosing(chunks):
            whole = scope["method"] == "GET" and selection.stop > selection.start
            first = await anext(chunks, b"") if whole else b""  # what is wrong with the store shows before the answer
            headers = _content_headers(artifact, filename, etag, selection)
            await send({"type": "http.response.start", "status": selection.status, "headers": headers})
            if whole:
                await send({"type": "http.response.body", "body": first, "more_body": True})
                async for chunk in chunks:
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def _content_of(self, identifier: str, key: KeyRecord | None) -> tuple[Artifact, str | None]:
        """A file or artifact of this key; any without a key (open mode, or a signed URL) and for operators."""
        anything = key is None or key.operator
        file = await self._files.find(identifier, _key_id(key), any_key=anything)
        if file is not None:
            return file.artifact, file.filename
        artifact = await self._artifacts.owned(identifier, None if anything else _key_id(key))
        if artifact is None:
            raise _no_such(identifier)
        return artifact, None


def _content_headers(artifact: Artifact, filename: str | None, etag: bytes, selection: Selection) -> Headers:
    headers: Headers = [
        (b"etag", etag),
        (b"accept-ranges", b"bytes"),
        (b"cache-control", b"private, max-age=3600, immutable"),
    ]
    if selection.status == 304:
        return headers
    length = selection.stop - selection.start
    headers.append((b"content-length", b"%d" % length))
    if selection.status == 416:
        return [*headers, (b"content-range", b"bytes */%d" % artifact.size)]
    if selection.status == 206:
        shown = b"bytes %d-%d/%d" % (selection.start, selection.stop - 1, artifact.size)
        headers.append((b"content-range", shown))
    # Whatever was uploaded, a browser neither guesses at it nor runs it here.
    return [
        *headers,
        (b"content-type", artifact.media_type.encode()),
        (b"content-disposition", _disposition(artifact, filename)),
        (b"x-content-type-options", b"nosniff"),
        (b"content-security-policy", b"default-src 'none'; sandbox"),
    ]


def _disposition(artifact: Artifact, filename: str | None) -> bytes:
    kind = "inline" if artifact.family in _SHOWN else "attachment"
    if filename is None:
        return kind.encode()
    plain = _UNSAFE.sub("_", filename).encode("ascii", "replace").decode().replace("?", "_")
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='')}".encode()


def _purpose(fields: dict[str, str]) -> str:
    purpose = fields.get("purpose")
    if purpose not in PURPOSES:
        given = "is missing" if purpose is None else f"cannot be '{purpose[:80]}'"
        raise invalid(f"'purpose' {given}; possible are {', '.join(PURPOSES)}.", "purpose")
    return purpose


def _clean_name(name: str | None) -> str:
    """The last part of what was sent as a file name, without what would break a header or a path."""
    last = (name or "").replace("\\", "/").rpartition("/")[2]
    return _UNSAFE.sub("_", last)[:_LONGEST_NAME] or "file"


def _key_id(key: KeyRecord | None) -> str | None:
    return None if key is None else key.id


def _no_such(identifier: str) -> PolyrouteError:
    return PolyrouteError(ErrorKind.NOT_FOUND, f"No such File object: {identifier[:100]}", param="id")


def _too_large(limit: int) -> PolyrouteError:
    return PolyrouteError(
        ErrorKind.TOO_LARGE,
        f"The upload is larger than {limit / (1 << 20):g} MB, the limit of this gateway (artifacts.max_file_mb).",
        param="file",
    )


async def _answer_json(send: Send, value: dict[str, Any]) -> None:
    body = msgspec.json.encode(value)
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [_JSON, (b"content-length", b"%d" % len(body))],
        }
    )
    await send({"type": "http.response.body", "body": body})
