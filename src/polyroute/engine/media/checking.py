"""What is wrong with a call of OpenAI's media paths whoever answers it, seen before anybody is asked: a provider that speaks
the caller's dialect gets the caller's bytes as they are, and should not be the one to find out."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec

from polyroute.dialects.openai_media.requests import parse_media
from polyroute.engine.forms import Form, Upload
from polyroute.engine.media.inputs import Storage, check_family_of, read_data_uri
from polyroute.mediainfo import FileBytes, inspect_media, shows
from polyroute.ports import Call, Intake
from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.media import InputRole, MediaInput

ROLE_OF_FIELD: dict[str, InputRole] = {"file": "audio", "mask": "mask"}
"""What an upload is for, by its field; others are images."""


class UploadBytes:
    """An upload in its form, as `mediainfo.ByteSource`."""

    def __init__(self, form: Form, upload: Upload) -> None:
        self._form = form
        self._upload = upload

    @property
    def size(self) -> int:
        """How many bytes there are."""
        return self._upload.end - self._upload.start

    def read(self, offset: int, length: int) -> bytes:
        """A part of them."""
        if not 0 <= offset < self.size:
            return b""
        return self._form.part(self._upload.start + offset, min(length, self.size - offset))


async def check_call(call: Call, form: Form | None, storage: Storage) -> None:
    """Raises PolyrouteError(invalid_request) naming the field, its value and what is possible."""
    if form is None:
        request = parse_media(call.dialect, _values(call.fields or {}))
    else:
        uploads = form.uploads()
        inputs = [MediaInput(role=role_of(upload), artifact=upload.name) for upload in uploads]
        request = parse_media(call.dialect, form.values(), inputs)
        for upload in uploads:
            await asyncio.to_thread(_check_upload, form, upload, storage)
    for item in request.inputs:
        if item.url is None:
            continue
        if item.url[:5].lower() == "data:":
            content, declared = read_data_uri(item.url, item.role)
            _check_bytes(FileBytes(content), declared, item.role, item.role, storage)
        else:
            await storage.fetcher.check(item.url, item.role)


def role_of(upload: Upload) -> InputRole:
    """What an upload is for."""
    return ROLE_OF_FIELD.get(upload.name.removesuffix("[]"), "image")


def _check_upload(form: Form, upload: Upload, storage: Storage) -> None:
    name = upload.name.removesuffix("[]")
    _check_bytes(UploadBytes(form, upload), upload.media_type, role_of(upload), name, storage)


def _check_bytes(
    source: UploadBytes | FileBytes, declared: str | None, role: InputRole, param: str, storage: Storage
) -> None:
    if not source.size:
        raise PolyrouteError(ErrorKind.INVALID_REQUEST, f"'{param}' is empty.", param=param)
    facts = inspect_media(source, declared)
    if facts.media_type == "application/octet-stream" and not shows(declared):
        return  # a format that we do not know, and the provider may
    check_family_of(facts, role, param)
    storage.artifacts.check(facts, Intake(origin="upload", param=param))


def _values(fields: Mapping[str, msgspec.Raw]) -> dict[str, Any]:
    return {name: msgspec.json.decode(raw) for name, raw in fields.items()}
