"""Server-sent events as a test reads them."""

from __future__ import annotations

import json
from typing import Any


def events_of(text: str) -> list[tuple[int | None, str, dict[str, Any]]]:
    """Server-sent events: id, name, data."""
    found = []
    for block in text.strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if fields:
            found.append((int(fields["id"]) if "id" in fields else None, fields["event"], json.loads(fields["data"])))
    return found
