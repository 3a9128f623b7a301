"""Stored media: what an artifact is, and what is known of a file before anybody decodes it."""

from __future__ import annotations

from typing import Literal

import msgspec

MediaFamily = Literal["image", "audio", "video", "text"]
"""What kind of thing a file is, as far as an operation cares."""


class MediaFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the first bytes of a file tell. Dimensions in pixels, duration in seconds; None where the format does not say
    so cheaply."""

    media_type: str
    family: MediaFamily | None
    width: int | None = None
    height: int | None = None
    duration_s: float | None = None
    fps: float | None = None


class Artifact(msgspec.Struct, frozen=True, kw_only=True):
    """A stored file. The same bytes are the same artifact: `id` is `art_` and the start of `sha256` (hex).

    `media_type` was told from the bytes. `size` is in bytes, dimensions in pixels, times in seconds (moments since the
    epoch). `expires_at` is until when it is kept on its own, None for ever; files that callers uploaded hold it longer.
    `origin` says where it came from in a few words for operators (`upload`, `job vid_…`, `fetch cdn.example.com`), never
    with a secret in it. `simulated` is true of what the sandbox made.
    """

    id: str
    media_type: str
    family: MediaFamily | None
    size: int
    sha256: str
    created_at: float
    width: int | None = None
    height: int | None = None
    duration_s: float | None = None
    fps: float | None = None
    expires_at: float | None = None
    simulated: bool = False
    origin: str = ""


class StoredFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that a caller uploaded: a name of theirs for an artifact. Moments are seconds since the epoch."""

    id: str
    artifact: Artifact
    key_id: str | None
    filename: str
    purpose: str
    created_at: float
    expires_at: float | None = None
