"""Asking once for what is answered at once: the engine, not the wire, decides what becomes of a failure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from polyroute.ports import FormPart, Headers, MediaWire, Reply


async def ask_once(
    wire: MediaWire, path: str, *, json: Any = None, form: tuple[FormPart, ...] | None = None,
    headers: Headers | None = None, query: Mapping[str, str] | None = None,
) -> Reply:  # fmt: skip
    """A POST that is never sent again by itself: it might be charged twice, and another target may have its turn at once.

    Raises AttemptFailed; `unknown_outcome` where a job can wait until somebody finds out whether a lost answer was charged.
    """
    return await wire.call("POST", path, json=json, form=form, headers=headers, query=query, creates=True)
