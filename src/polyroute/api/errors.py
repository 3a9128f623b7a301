"""Errors as answers: the body in the caller's dialect, the headers the same in all."""

from __future__ import annotations

import math

from polyroute.dialects.registry import codec, is_chat
from polyroute.ports import Headers
from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.operations import Dialect


def render_error(dialect: Dialect, error: PolyrouteError) -> bytes:
    """The body of an error answer; the media paths answer in OpenAI's shape."""
    return codec(dialect if is_chat(dialect) else Dialect.OPENAI_CHAT).render_error(error)


def error_headers(error: PolyrouteError) -> Headers:
    """Media type, request id, attempts, and how long to wait where that is known."""
    headers: Headers = [(b"content-type", b"application/json")]
    if error.request_id is not None:
        headers.append((b"x-polyroute-request-id", error.request_id.encode()))
    if error.attempts:
        headers.append((b"x-polyroute-attempts", b"%d" % len(error.attempts)))
    if error.retry_after is not None:
        headers.append((b"retry-after", b"%d" % max(0, math.ceil(error.retry_after))))
    headers += error.headers
    if error.kind is ErrorKind.TOO_LARGE:
        headers.append((b"connection", b"close"))  # the rest of the body is not read
    return headers
