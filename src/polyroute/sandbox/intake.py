"""Takes a request in: its body, its form, its credential."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec
from aiohttp import BodyPartReader, web

from polyroute.sandbox.errors import Refused, invalid
from polyroute.sandbox.exchange import Json, Upload
from polyroute.sandbox.profiles import Profile

_HEAD = 64
_LARGEST_FIELD = 1 << 20
_LARGEST_KEPT = 1 << 18


async def read_form(request: web.Request) -> tuple[Json, tuple[Upload, ...]]:
    """The fields and files of a multipart form. Files are measured; only small ones are kept."""
    fields: Json = {}
    uploads: list[Upload] = []
    async for part in await request.multipart():
        if not isinstance(part, BodyPartReader) or part.name is None:
            continue
        if part.filename is None:
            value = (await part.read()).decode("utf-8", "replace")[:_LARGEST_FIELD]
            _add(fields, part.name, value)
            continue
        head, size, digest, kept = b"", 0, hashlib.sha256(), bytearray()
        while chunk := await part.read_chunk(65_536):
            head = head or chunk[:_HEAD]
            size += len(chunk)
            if size <= _LARGEST_KEPT:
                kept += chunk
            digest.update(chunk)
        kind = part.headers.get("content-type", "application/octet-stream")
        uploads.append(
            Upload(
                field=part.name,
                filename=part.filename,
                content_type=kind,
                size=size,
                head=head,
                digest=digest.hexdigest(),
                data=bytes(kept) if size <= _LARGEST_KEPT else None,
            )
        )
    return fields, tuple(uploads)


def _add(fields: Json, name: str, value: str) -> None:
    if name in fields:
        before = fields[name]
        fields[name] = [*(before if isinstance(before, list) else [before]), value]
    else:
        fields[name] = value


def read_json(raw: bytes) -> Json:
    """The JSON object of a body; an empty body is an empty object."""
    if not raw.strip():
        return {}
    try:
        value: Any = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise invalid(
            "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP library "
            "correctly. The API expects a JSON payload, but what was sent was not valid JSON.)"
        ) from error
    if not isinstance(value, dict):
        raise invalid("The request body must be a JSON object.")
    return value


def check_credential(profile: Profile, headers: Mapping[str, str], query: Mapping[str, str]) -> None:
    """Refuse a request without a credential, and one whose credential contains the word `invalid`."""
    if not profile.auth:
        return
    found = next((value for kind in profile.auth if (value := _credential(kind, headers, query))), None)
    if found is None:
        raise Refused("no_credential")
    if "invalid" in found.lower():
        raise Refused("credential")


def _credential(kind: str, headers: Mapping[str, str], query: Mapping[str, str]) -> str | None:
    authorization = headers.get("authorization", "")
    match kind:
        case "bearer":
            scheme, _, token = authorization.partition(" ")
            return token.strip() or None if scheme.lower() == "bearer" else None
        case "key":
            scheme, _, token = authorization.partition(" ")
            return token.strip() or None if scheme.lower() == "key" else None
        case "signature":
            return authorization if authorization.startswith("AWS4-HMAC-SHA256") else None
        case "query":
            return query.get("key")
        case _:
            return headers.get(kind)
