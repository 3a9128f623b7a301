"""Decoding of compressed answers, which we never ask for and some servers send."""

from __future__ import annotations

import zlib

from polyroute.ports import Headers
from polyroute.transport.failures import bad_response, describe, truncated
from polyroute.types.errors import AttemptFailed

_AUTOMATIC = 32 + zlib.MAX_WBITS
_RAW = -zlib.MAX_WBITS
BLOCK = 256 * 1024
"""Largest number of bytes that one step of decoding makes, so that a small answer cannot fill the memory."""


class ContentDecoder:
    """Takes gzip or deflate apart as it arrives, a bounded block at a time."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(_AUTOMATIC)
        self._begun = False
        self._held = b""
        self.pending = b""
        """Input that waits because the block was full."""

    def decode(self, data: bytes) -> bytes:
        """The next bytes, at most a block of them; call again with b"" while `pending` is not empty."""
        data = self._held + self.pending + data
        self._held = self.pending = b""
        if not data:
            return b""
        if self._inflate.eof:
            self._inflate = zlib.decompressobj(_AUTOMATIC)
            self._begun = False
        if not self._begun and len(data) < 2:
            self._held = data  # the format shows in two bytes
            return b""
        try:
            decoded = self._decompress(data)
        except zlib.error as error:
            raise AttemptFailed(bad_response("the answer is not compressed as it says", describe(error))) from None
        self._begun = True
        self.pending = self._inflate.unconsumed_tail or self._inflate.unused_data
        return decoded

    def _decompress(self, data: bytes) -> bytes:
        try:
            return self._inflate.decompress(data, BLOCK)
        except zlib.error:
            if self._begun:
                raise
            # "deflate" means zlib's format, but some servers send it without zlib's header.
            self._inflate = zlib.decompressobj(_RAW)
            return self._inflate.decompress(data, BLOCK)

    def finish(self) -> None:
        """The input ended. Raises AttemptFailed (`truncated`) when it ended early."""
        if self._held or (self._begun and not self._inflate.eof):
            raise AttemptFailed(truncated("compressed data ended early"))


def open_decoder(headers: Headers) -> tuple[ContentDecoder | None, Headers]:
    """The decoder that an answer needs, and its headers without those that no longer hold once it is decoded.

    Raises AttemptFailed (`bad_response`) for an encoding that we cannot decode.
    """
    encodings = [value.strip().lower() for name, value in headers if name == b"content-encoding"]
    encodings = [encoding for encoding in encodings if encoding not in {b"", b"identity"}]
    if not encodings:
        return None, headers
    if encodings[0] not in {b"gzip", b"x-gzip", b"deflate"} or len(encodings) > 1:
        named = b", ".join(encodings).decode("latin-1")
        raise AttemptFailed(bad_response("the answer is compressed in a way that was not asked for", named))
    kept = [field for field in headers if field[0] not in {b"content-encoding", b"content-length"}]
    return ContentDecoder(), kept
