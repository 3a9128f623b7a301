"""The seam through which workers tell each other what they know; beside `ports`, which it would make too long."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec


class Shared(msgspec.Struct, frozen=True):
    """What one worker says. `present`: its process is there, and told so within the last seconds."""

    name: str
    data: bytes
    present: bool


class StateExchange(Protocol):
    """How workers tell each other what they know. Each says one thing at a time, which outlives it; besides there is one
    board that all write to."""

    def join(self) -> bytes | None:
        """Take a place among the workers; what its last holder said. Raises OSError."""

    def tell(self, data: bytes | None) -> None:
        """Replace what this worker says; with None, only say that it is still there."""

    def hear(self) -> list[Shared]:
        """What others say, and what former ones left."""

    def leave(self) -> None:
        """Give the place back; what was said stays."""

    def read_board(self) -> bytes:
        """What stands on the board; empty when nothing does."""

    def change_board(self, change: Callable[[bytes], bytes]) -> None:
        """Replace what stands on it; nobody else does so meanwhile. Raises OSError."""
