"""The opaque state that real models put beside their reasoning, in a form that the sandbox can recognise as its own."""

from __future__ import annotations

import base64
import binascii
import re

from polyroute.sandbox.exchange import hexadecimal

_MARK = re.compile(rb"^sandbox:([a-z]+):[0-9a-f]{48}$")


def sign(maker: str, digest: str) -> str:
    """A signature that only `maker`'s API accepts back (base64)."""
    return base64.b64encode(f"sandbox:{maker}:{hexadecimal(digest, maker, 48)}".encode()).decode()


def is_signed_by(maker: str, signature: str) -> bool:
    """Whether the signature is one of ours, made by `maker`."""
    try:
        found = _MARK.match(base64.b64decode(signature, validate=True))
    except (binascii.Error, ValueError):
        return False
    return found is not None and found.group(1).decode() == maker
