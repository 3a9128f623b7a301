"""What a caller's options change of a route's habits. Wishes that make no sense are refused."""

from __future__ import annotations

import msgspec

from polyroute.catalog.model import RESCUE_MODES, RescueMode
from polyroute.ports import Call, Timeouts
from polyroute.types.errors import ErrorKind, PolyrouteError


def patience(timeouts: Timeouts, call: Call) -> Timeouts:
    """The timers, with the caller's own for the whole. Raises PolyrouteError(invalid_request)."""
    wish = call.options.timeout
    if wish is None:
        return timeouts
    if not 0 < wish <= 86_400:
        raise PolyrouteError(
            ErrorKind.INVALID_REQUEST, "'polyroute.timeout' must be between 0 and 86400 seconds.", param="polyroute"
        )
    return msgspec.structs.replace(timeouts, total=min(wish, timeouts.total))


def rescue_mode(usual: RescueMode, call: Call) -> RescueMode:
    """What becomes of a stream that breaks: the caller's wish, else the route's. Raises PolyrouteError(invalid_request)."""
    wish = call.options.rescue
    if wish is None:
        return usual
    for mode in RESCUE_MODES:
        if wish == mode:
            return mode
    raise PolyrouteError(
        ErrorKind.INVALID_REQUEST, f"'polyroute.rescue' must be one of {', '.join(RESCUE_MODES)}.", param="polyroute"
    )
