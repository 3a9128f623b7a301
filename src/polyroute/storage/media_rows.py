"""Artifacts and callers' files as database rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from polyroute.storage.values import parse_timestamp
from polyroute.types.artifacts import Artifact, StoredFile

ARTIFACT_COLUMNS = ("blob", *(field.name for field in msgspec.structs.fields(Artifact)))
"""The columns of `artifacts`: where the bytes are, then the value's fields in their order."""

FILE_COLUMNS = ("id", "artifact_id", "key_id", "filename", "purpose", "created_at", "expires_at")
"""The columns of `files`."""

_MOMENTS = ("created_at", "expires_at")


class KeptArtifact(msgspec.Struct, frozen=True):
    """An artifact, and where the store has its bytes."""

    artifact: Artifact
    blob: str


def artifact_of(row: Sequence[Any]) -> KeptArtifact:
    """The artifact of a row of ARTIFACT_COLUMNS."""
    values = dict(zip(ARTIFACT_COLUMNS, row, strict=True))
    blob = values.pop("blob")
    for name in _MOMENTS:
        values[name] = seconds_of(values[name])
    values["simulated"] = bool(values["simulated"])
    return KeptArtifact(Artifact(**values), blob)


def file_of(row: Sequence[Any]) -> StoredFile:
    """The file of a row of FILE_COLUMNS, with its artifact's columns behind them."""
    width = len(FILE_COLUMNS)
    identifier, _, key_id, filename, purpose, created_at, expires_at = row[:width]
    return StoredFile(
        id=identifier,
        artifact=artifact_of(row[width:]).artifact,
        key_id=key_id,
        filename=filename,
        purpose=purpose,
        created_at=seconds_of(created_at) or 0.0,
        expires_at=seconds_of(expires_at),
    )


def seconds_of(moment: Any) -> float | None:
    """A moment as the driver gives it, in seconds since the epoch."""
    if moment is None:
        return None
    seconds: float = (parse_timestamp(moment) if isinstance(moment, str) else moment).timestamp()
    return seconds
