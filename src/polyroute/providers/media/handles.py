"""Handles of queued work that remember when they were given."""

from __future__ import annotations

import time
from typing import Any

from polyroute.ports import Reply
from polyroute.types.media import Handle

NOT_FOUND = 404
_SETTLING = 30.0
"""Seconds in which a provider may not yet know the work that it has just accepted."""


def new_handle(identifier: str, **data: Any) -> Handle:
    """A handle with what polling needs; None is left out."""
    kept = {name: value for name, value in data.items() if value is not None}
    return Handle(id=identifier, data={"since": time.time(), **kept})


def is_settling(handle: Handle, reply: Reply | None = None) -> bool:
    """Whether "no such work" may only mean "not yet". With a reply: whether it says so."""
    young = time.time() - float(handle.data.get("since", 0.0)) < _SETTLING
    return young and (reply is None or reply.status == NOT_FOUND)
