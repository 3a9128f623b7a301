"""What the ends of a provider's work mean, in the words of the error table (media.md 24)."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from polyroute.types.errors import AttemptFailed, ErrorKind, Failure

_MODERATED = re.compile(
    r"nsfw|sensitive|flagged|safety|moderat|content.?polic|inappropriate|prohibited|violat", re.IGNORECASE
)
_LONGEST_DETAIL = 2000


def is_moderation(text: str) -> bool:
    """Whether a provider's words speak of content that it refuses."""
    return _MODERATED.search(text) is not None


def filtered(detail: str = "", code: str | None = None) -> AttemptFailed:
    """The provider's moderation refused the prompt, an input or the result."""
    message = "The provider's safety check refused this."
    return AttemptFailed(
        Failure(kind=ErrorKind.CONTENT_FILTERED, message=message, code=code, detail=detail[:_LONGEST_DETAIL])
    )


def gone_wrong(what: str, detail: str = "", code: str | None = None) -> AttemptFailed:
    """Accepted work that came to nothing, or to a refusal where the provider's words say so."""
    if is_moderation(f"{code} {detail}"):
        return filtered(detail, code)
    return AttemptFailed(
        Failure(kind=ErrorKind.GENERATION_FAILED, message=what, code=code, detail=detail[:_LONGEST_DETAIL])
    )


def unreadable(what: str, detail: str = "") -> AttemptFailed:
    """An answer that is not what was due."""
    return AttemptFailed(Failure(kind=ErrorKind.BAD_RESPONSE, message=what, detail=detail[:_LONGEST_DETAIL]))


def read_moderation(status: int, body: bytes) -> Failure | None:
    """An error answer that speaks of content, in whatever shape; None for any other."""
    text = body[:_LONGEST_DETAIL].decode("utf-8", "replace")
    if status not in (400, 403, 422) or not is_moderation(text):
        return None
    return msgspec.structs.replace(filtered(text).failure, http_status=status)


def money(given: Any) -> Decimal | None:
    """An amount that a provider states; None for what is no number."""
    if given is None or isinstance(given, bool):
        return None
    try:
        found = Decimal(str(given))
    except InvalidOperation:
        return None
    return found if found.is_finite() and found >= 0 else None
