"""Where a Responses stream stands when another renderer has to go on with it: its event numbers and item ids."""

from __future__ import annotations

import re
from typing import Any

import msgspec

_NUMBER = re.compile(rb'"sequence_number": ?(\d+)')
_EVENT = re.compile(rb"^data: ?(.*\"response\.output_item\.added\".*)$", re.MULTILINE)


class ResponsesPlace:
    """Follows the bytes of a stream, in whole events: `following` is the next event's number, `items` are the ids of the
    output items by their place."""

    def __init__(self) -> None:
        self.following: int | None = None
        self.items: dict[int, str] = {}

    def read(self, data: bytes) -> None:
        """Take the next bytes."""
        for match in _NUMBER.finditer(data):
            self.following = int(match[1]) + 1
        for match in _EVENT.finditer(data):
            try:
                event: dict[str, Any] = msgspec.json.decode(match[1])
                self.items[event["output_index"]] = event["item"]["id"]
            except (msgspec.DecodeError, KeyError, TypeError):
                continue
