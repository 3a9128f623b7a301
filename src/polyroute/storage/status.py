"""What the ledger's writer says of itself, in a file beside the journals, for whoever answers operators."""

from __future__ import annotations

from pathlib import Path

import msgspec

NAME = "writer.status"
STALE_SECONDS = 10.0
"""A writer that said nothing for so long is not there."""


class WriterStatus(msgspec.Struct, frozen=True, kw_only=True):
    """`at` and `oldest` are seconds since the epoch; `written` counts the rows of `requests` since the writer began; `error` is
    why the database does not take any, None while it does."""

    at: float
    pid: int
    written: int = 0
    rows: int = 0
    bytes: int = 0
    oldest: float | None = None
    error: str | None = None


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(WriterStatus)


def write_status(folder: Path, status: WriterStatus) -> None:
    """Replace the file. Raises OSError."""
    aside = folder / f"{NAME}.part"
    aside.write_bytes(_encoder.encode(status))
    aside.replace(folder / NAME)


def read_status(folder: Path) -> WriterStatus | None:
    """None when no writer has said anything, or nothing that can be read."""
    try:
        return _decoder.decode((folder / NAME).read_bytes())
    except (OSError, msgspec.MsgspecError):
        return None
