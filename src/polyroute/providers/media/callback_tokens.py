"""Reports of providers that sign nothing: the address that they report to carries a token of ours, made from the credential
that the work was ordered with. It holds for one piece of work and for a day."""

from __future__ import annotations

import hashlib
import hmac
import time

from polyroute.ports import CALLBACK_TOKEN, Headers, MediaWire
from polyroute.types.errors import ErrorKind, PolyrouteError

_LASTS = 86_400.0
_DIGITS = 32


def address_with_token(wire: MediaWire, work: str) -> str | None:
    """Where the provider may report on this work; None when we cannot be reached. `work` is our own name for it."""
    if wire.callback_url is None or not wire.secret:
        return None
    until = str(int(time.time() + _LASTS))
    return f"{wire.callback_url}/{work}.{until}.{_mark(wire, work, until)}"


def check_token(headers: Headers, wire: MediaWire, now: float) -> str:
    """Our name for the work that a report is about. Raises PolyrouteError(unauthorized) when its token is missing, not ours
    or too old."""
    token = next((value.decode("latin-1") for name, value in headers if name == CALLBACK_TOKEN), "")
    work, _, rest = token.partition(".")
    until, _, mark = rest.partition(".")
    if not wire.secret or not hmac.compare_digest(_mark(wire, work, until).encode(), mark.encode("latin-1")):
        raise PolyrouteError(ErrorKind.UNAUTHORIZED, "The callback's token does not hold.")
    if int(until) < now:
        raise PolyrouteError(ErrorKind.UNAUTHORIZED, "The callback is too old.")
    return work


def _mark(wire: MediaWire, work: str, until: str) -> str:
    text = f"polyroute callbacks\n{work}\n{until}".encode()
    return hmac.new((wire.secret or "").encode(), text, hashlib.sha256).hexdigest()[:_DIGITS]
