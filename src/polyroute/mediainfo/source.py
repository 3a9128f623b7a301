"""Random access to a file's bytes, as the parsers want it."""

from __future__ import annotations

from typing import Protocol


class ByteSource(Protocol):
    """Bytes by their place."""

    @property
    def size(self) -> int:
        """How many there are."""

    def read(self, offset: int, length: int) -> bytes:
        """Up to `length` of them from `offset`; fewer at the end, none beyond it."""


class FileBytes:
    """A `ByteSource` over bytes that are in memory already."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    @property
    def size(self) -> int:
        """How many there are."""
        return len(self._data)

    def read(self, offset: int, length: int) -> bytes:
        """A part of them."""
        return self._data[offset : offset + length] if offset >= 0 else b""
