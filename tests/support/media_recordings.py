"""One recorded exchange with a real media provider."""

from __future__ import annotations

import json
from typing import Any

import pytest

from support.recordings import recordings_folder


def recording(identifier: str) -> dict[str, Any]:
    """The exchange as it was recorded; the test is skipped where the recordings are not there."""
    folder = recordings_folder()
    if folder is None:
        pytest.skip("the recordings of real providers are not beside the repository")
    found: dict[str, Any] = json.loads((folder / f"{identifier}.json").read_text(encoding="utf-8"))
    return found
