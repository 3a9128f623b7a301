"""Gemini's other stream form: one growing JSON array, for callers who do not ask for `alt=sse`."""

from __future__ import annotations

from polyroute.dialects.sse import SseDecoder


class ArrayFraming:
    """Server-sent events → the elements of a JSON array; their JSON stays as it is."""

    def __init__(self) -> None:
        self._decoder = SseDecoder()
        self._begun = False

    def feed(self, data: bytes) -> bytes:
        """The elements that are complete now."""
        return b"".join(self._element(event.data) for event in self._decoder.feed(data))

    def close(self) -> bytes:
        """The end of the array."""
        rest = b"".join(self._element(event.data) for event in self._decoder.close())
        return rest + (b"]" if self._begun or rest else b"[]")

    def _element(self, data: bytes) -> bytes:
        opening = b",\r\n" if self._begun else b"["
        self._begun = True
        return opening + data
