"""Frames of `application/vnd.amazon.eventstream`."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import msgspec


def event_stream_frame(message_type: str, name: str, payload: Any) -> bytes:
    """One frame of `application/vnd.amazon.eventstream`: two lengths, a CRC-32 of both, headers, payload, a CRC-32 of all."""
    kind = ":exception-type" if message_type == "exception" else ":event-type"
    headers = b""
    for key, value in ((kind, name), (":content-type", "application/json"), (":message-type", message_type)):
        headers += struct.pack("!B", len(key)) + key.encode() + struct.pack("!BH", 7, len(value)) + value.encode()
    body = msgspec.json.encode(payload)
    prelude = struct.pack("!II", 16 + len(headers) + len(body), len(headers))
    prelude += struct.pack("!I", zlib.crc32(prelude))
    message = prelude + headers + body
    return message + struct.pack("!I", zlib.crc32(message))
