"""The words in which a network client says that an attempt failed."""

from __future__ import annotations

from polyroute.types.errors import AttemptFailed, ErrorKind, Failure

BEFORE = "before the request was sent"
CONNECTING = "while connecting"
SENDING = "while the request was being sent"
HEADERS = "while waiting for the answer's headers"
BODY = "while reading the answer's body"


def timed_out(phase: str, patience: float | None = None) -> Failure:
    """A wait that lasted too long: `patience` seconds of its own, or until the attempt's deadline when None."""
    message = f"the deadline passed {phase}" if patience is None else f"timed out after {patience:g} s {phase}"
    return Failure(kind=ErrorKind.TIMEOUT, message=message, unsent=phase in (BEFORE, CONNECTING))


def unavailable(message: str, detail: str | None = None, *, unsent: bool = False) -> Failure:
    """Nobody answered. `detail` may name the address, which callers do not get to see."""
    return Failure(kind=ErrorKind.UNAVAILABLE, message=message, detail=detail, unsent=unsent)


def truncated(detail: str | None = None) -> Failure:
    """The answer broke off after its headers."""
    return Failure(kind=ErrorKind.TRUNCATED, message="the answer broke off before its end", detail=detail)


def bad_response(message: str, detail: str | None = None) -> Failure:
    """What arrived is not an HTTP answer that we can use."""
    return Failure(kind=ErrorKind.BAD_RESPONSE, message=message, detail=detail)


def too_long(limit: int) -> Failure:
    """A body over the reader's limit in bytes."""
    return bad_response(f"the answer is longer than {limit} bytes")


def refused(message: str) -> AttemptFailed:
    """A request that must not be sent."""
    return AttemptFailed(Failure(kind=ErrorKind.INVALID_REQUEST, message=message))


def describe(error: BaseException | None) -> str | None:
    """An exception's type and text, for records."""
    if error is None:
        return None
    return f"{type(error).__name__}: {error}"[:500]
