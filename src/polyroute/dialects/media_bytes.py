"""Base64 media in requests: what kind of image it is, and whether it is base64 at all."""

from __future__ import annotations

import base64
import binascii
import re

from polyroute.dialects.media_types import sniff_media_type

_DATA_URL = re.compile(r"data:([^;,]*)((?:;[^;,]*)*?)(;base64)?,", re.IGNORECASE)


def sniff_image(data: str) -> str | None:
    """The media type of a base64 image by its first bytes."""
    found = sniff_media_type(data)
    return found if found is not None and found.startswith("image/") else None


def is_base64(data: str) -> bool:
    """Whether a text is plain, padded base64."""
    try:
        binascii.a2b_base64(data, strict_mode=True)
    except (binascii.Error, ValueError):
        return False
    return bool(data)


def split_data_url(url: str) -> tuple[str | None, str] | None:
    """Media type and base64 of a data URL; None for anything else."""
    found = _DATA_URL.match(url)
    if found is None or not found.group(3):
        return None
    return found.group(1) or None, url[found.end() :]


def decoded_text(data: str) -> str | None:
    """The text that base64 holds, None when it is no UTF-8."""
    try:
        return base64.b64decode(data).decode("utf-8")
    except (binascii.Error, ValueError):
        return None
