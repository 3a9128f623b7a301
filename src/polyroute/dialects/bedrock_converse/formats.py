"""Bedrock's short names of formats, by media type and back."""

from __future__ import annotations

import re

IMAGE_TYPES = {"png": "image/png", "jpeg": "image/jpeg", "gif": "image/gif", "webp": "image/webp"}
DOCUMENT_TYPES = {
    "pdf": "application/pdf",
    "txt": "text/plain",
    "md": "text/markdown",
    "html": "text/html",
    "csv": "text/csv",
    "doc": "application/msword",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "xls": "application/vnd.ms-excel",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
IMAGE_FORMATS = {media_type: name for name, media_type in IMAGE_TYPES.items()} | {"image/jpg": "jpeg"}
DOCUMENT_FORMATS = {media_type: name for name, media_type in DOCUMENT_TYPES.items()}

_FORBIDDEN = re.compile(r"[^A-Za-z0-9\s\-()\[\]]")
_SPACES = re.compile(r"\s+")


def document_name(filename: str | None, number: int) -> str:
    """A name that Bedrock takes: letters, digits, single spaces, hyphens, parentheses and brackets, at most 200."""
    name = _SPACES.sub(" ", _FORBIDDEN.sub(" ", filename or "")).strip()[:200].strip()
    return name or f"document {number}"
