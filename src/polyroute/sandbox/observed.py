"""The last requests that the sandbox has seen, without their secrets."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from polyroute.sandbox.exchange import Upload

_SECRET_HEADERS = {"authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie", "proxy-authorization"}
_SECRET_HEADERS |= {"x-amz-security-token", "xi-api-key", "x-key"}
_LARGEST_BODY = 262_144


class Observed:
    """A bounded log, oldest first."""

    def __init__(self, size: int) -> None:
        self._rows: deque[dict[str, Any]] = deque(maxlen=max(1, size))

    def note(
        self,
        method: str,
        path: str,
        *,
        provider: str,
        operation: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
    ) -> dict[str, Any]:
        """Log a request as it arrives; what is learnt later is put into the row that is returned."""
        row: dict[str, Any] = {
            "at": datetime.now(UTC).isoformat(),
            "provider": provider,
            "operation": operation,
            "method": method,
            "path": path,
            "query": {name: _fingerprint(value) if name == "key" else value for name, value in query.items()},
            "headers": redacted(headers),
            "outcome": "open",
        }
        self._rows.append(row)
        return row

    def rows(self, provider: str | None = None) -> list[dict[str, Any]]:
        """What is kept, of one provider or of all."""
        return [row for row in self._rows if provider is None or row["provider"] == provider]

    def clear(self) -> None:
        """Forget everything."""
        self._rows.clear()


def redacted(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers with each secret replaced by a fingerprint, so that two credentials can be told apart and neither read."""
    return {name: _fingerprint(value) if name in _SECRET_HEADERS else value for name, value in headers.items()}


def _fingerprint(value: str) -> str:
    return f"[redacted sha256:{hashlib.sha256(value.encode()).hexdigest()[:12]}]"


def body_note(body: Any, size: int, uploads: tuple[Upload, ...]) -> dict[str, Any]:
    """The row's keys for a body: as JSON when it is small enough, files by their facts."""
    note: dict[str, Any] = {"body": body if size <= _LARGEST_BODY else f"[{size} bytes]"}
    if uploads:
        note["files"] = [
            {"field": item.field, "filename": item.filename, "content_type": item.content_type, "size": item.size}
            for item in uploads
        ]
    return note
