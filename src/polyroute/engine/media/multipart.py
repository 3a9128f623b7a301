"""Multipart forms for providers, built without holding their files in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from polyroute.ports import Body, FormPart


class MultipartBody:
    """A `ports.Body` of some parts; can be sent again."""

    def __init__(self, parts: tuple[FormPart, ...]) -> None:
        names = "\0".join(f"{part.name}\0{part.filename or ''}" for part in parts)
        self._boundary = f"polyroute-{hashlib.blake2b(names.encode(), digest_size=16).hexdigest()}"
        self._pieces: list[bytes | Body] = []
        for part in parts:
            self._pieces += [
                self._head(part),
                part.value.encode() if isinstance(part.value, str) else part.value,
                b"\r\n",
            ]
        self._pieces.append(f"--{self._boundary}--\r\n".encode())

    @property
    def content_type(self) -> bytes:
        """The media type with its boundary."""
        return f"multipart/form-data; boundary={self._boundary}".encode()

    @property
    def length(self) -> int:
        """Size in bytes."""
        return sum(len(piece) if isinstance(piece, bytes) else piece.length for piece in self._pieces)

    def chunks(self) -> Iterator[bytes]:
        """The form from its start, in blocks."""
        for piece in self._pieces:
            if isinstance(piece, bytes):
                yield piece
            else:
                yield from piece.chunks()

    def _head(self, part: FormPart) -> bytes:
        lines = f'--{self._boundary}\r\nContent-Disposition: form-data; name="{_quoted(part.name)}"'
        if part.filename is not None:
            lines += f'; filename="{_quoted(part.filename)}"'
        if part.media_type is not None:
            lines += f"\r\nContent-Type: {part.media_type}"
        return f"{lines}\r\n\r\n".encode()


def _quoted(text: str) -> str:
    """As browsers write it: quotes and line ends percent-encoded."""
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
