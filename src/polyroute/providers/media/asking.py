"""Asking once for what is answered at once: the engine, not the wire, decides what becomes of a failure."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from polyroute.ports import FormPart, Headers, MediaWire, Reply

_LARGEST_ANSWER = 256 << 20
_PATIENCE = 600.0
"""Seconds for the body of an answer; the engine's own deadline comes first."""


async def ask_once(
    wire: MediaWire, path: str, *, json: Any = None, form: tuple[FormPart, ...] | None = None,
    headers: Headers | None = None, query: Mapping[str, str] | None = None,
) -> Reply:  # fmt: skip
    """A POST that is not repeated: where it might be charged twice, or another target should have its turn at once.

    Raises AttemptFailed.
    """
    response = await wire.open("POST", path, json=json, form=form, headers=headers, query=query)
    try:
        body = await response.read(asyncio.get_running_loop().time() + _PATIENCE, _LARGEST_ANSWER)
        return Reply(response.status, response.headers, body)
    except BaseException:
        response.abort()
        raise
