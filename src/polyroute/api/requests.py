"""Reading a caller's HTTP request: head, credential, body."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol

import msgspec

from polyroute.engine.forms import Form
from polyroute.ports import Headers
from polyroute.types.errors import ErrorKind, PolyrouteError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_FORWARDED = frozenset({b"anthropic-beta", b"anthropic-version", b"openai-beta"})
"""Headers by which callers switch on features of their dialect; passed on to providers that speak it."""

_READ = _FORWARDED | {
    b"authorization", b"content-type", b"content-length", b"x-api-key", b"x-goog-api-key",
    b"expect", b"transfer-encoding", b"upgrade", b"prefer", b"idempotency-key",
}  # fmt: skip
_WISHES = frozenset({b"prefer", b"idempotency-key"})
"""Headers that say how a caller wants to be answered; only media work looks at them."""


_OF_FORMS = "server.max_upload_mb"
RUNNING = "polyroute.running"
"""The scope's key of the connection, on which the fast lane leaves its task."""


class Running(Protocol):
    """A connection that cancels the task which answers its request, and forgets it, when it is lost."""

    running: asyncio.Task[Any] | None


class ClientGone(Exception):
    """The caller closed the connection before its request was complete."""


class BegunError(Exception):
    """An answer cannot be replaced by another one once it has begun."""


class Head(msgspec.Struct):
    """What we read of a request's headers. `options` are `x-polyroute-*` without that prefix. `plain` is False for what
    only the general HTTP machinery serves: a body in chunks, `Expect`, an upgrade."""

    credential: str | None = None
    content_type: bytes = b""
    content_length: int | None = None
    options: dict[str, str] | None = None
    forward: Headers | None = None
    wishes: Headers | None = None
    plain: bool = True


def read_head(headers: Headers) -> Head:
    """One pass over the headers; their names are in lower case already."""
    head = Head()
    for name, value in headers:
        if name not in _READ:
            if name.startswith(b"x-polyroute-"):
                head.options = head.options or {}
                head.options[name[12:].decode("latin-1")] = value.decode("utf-8", "replace")
        elif name == b"authorization":
            if value[:7].lower() == b"bearer " and len(value) > 7:
                head.credential = value[7:].strip().decode("latin-1")
        elif name == b"content-type":
            head.content_type = value
        elif name == b"content-length":
            head.content_length = int(value)  # the parser lets only digits through
        elif name in (b"x-api-key", b"x-goog-api-key"):
            head.credential = head.credential or value.decode("latin-1")
        elif name in _FORWARDED:
            head.forward = head.forward or []
            head.forward.append((name, value))
        elif name in _WISHES:
            head.wishes = head.wishes or []
            head.wishes.append((name, value))
        else:
            head.plain = False
    return head


def too_large(limit: int, setting: str = "server.max_body_mb") -> PolyrouteError:
    """The refusal of a body over the limit, given in bytes."""
    return PolyrouteError(
        ErrorKind.TOO_LARGE,
        f"The request is larger than {limit / (1 << 20):g} MB, the limit of this gateway ({setting}).",
    )


async def read_body(receive: Receive, head: Head, limit: int) -> bytes:
    """The whole body. Raises PolyrouteError(too_large), ClientGone."""
    if head.content_length is not None and head.content_length > limit:
        raise too_large(limit)
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGone
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False):
        if len(body) > limit:
            raise too_large(limit)
        return body
    parts = [body]
    size = len(body)
    async for part in _rest(receive):
        size += len(part)
        if size > limit:
            raise too_large(limit)
        parts.append(part)
    return b"".join(parts)


async def read_form(receive: Receive, head: Head, limit: int) -> Form:
    """A multipart body, kept on disk when it is large. Raises PolyrouteError, ClientGone."""
    if head.content_length is not None and head.content_length > limit:
        raise too_large(limit, _OF_FORMS)
    form = Form(head.content_type.decode("latin-1"))
    size = 0
    try:
        async for part in _rest(receive):
            size += len(part)
            if size > limit:
                raise too_large(limit, _OF_FORMS)
            form.write(part)
        form.finish()
    except BaseException:
        form.close()
        raise
    return form


async def _rest(receive: Receive) -> Any:
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        more = message.get("more_body", False)
        yield message.get("body", b"")
