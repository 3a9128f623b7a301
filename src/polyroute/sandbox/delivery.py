"""Sends a reply at the pace that is set, and breaks it in the way that is asked for."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Iterator

from aiohttp import web

from polyroute.sandbox.control import Fault, Pacing
from polyroute.sandbox.errors import ErrorAnswer
from polyroute.sandbox.exchange import Frame, Stream, Whole

SIMULATED = {"x-polyroute-simulated": "1"}
_DEFAULT_SECONDS = 20.0
_GARBAGE = b"\x00\xff\xfe{]not json, not an event\x80\x81\n\n<<<\n\n"
_HTML = (
    b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n"
    b"</body>\r\n</html>\r\n"
)


async def hang(fault: Fault) -> None:
    """Say nothing for the fault's time, or for ever."""
    if fault.seconds is None:
        await asyncio.Event().wait()
    else:
        await asyncio.sleep(fault.seconds)


def reset_connection(request: web.Request) -> None:
    """Close the connection so that the client sees a reset, not an end."""
    transport = request.transport
    if transport is None:
        return
    raw = transport.get_extra_info("socket")
    if raw is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


async def send_error(request: web.Request, error: ErrorAnswer, headers: dict[str, str]) -> web.StreamResponse:
    """The provider's error as a whole answer."""
    everything = {**headers, **error.headers, **SIMULATED}
    return web.Response(body=error.body, status=error.status, headers=everything, content_type=error.content_type)


async def send_spoiled(
    request: web.Request, fault: Fault, content_type: str, headers: dict[str, str]
) -> web.StreamResponse:
    """A body that is none: garbage, nothing, or a page for people."""
    headers = {**headers, **SIMULATED}
    if fault.kind == "html":
        headers["content-type"] = "text/html"
        return web.Response(body=_HTML, status=fault.status or 200, headers=headers)
    headers["content-type"] = content_type
    return web.Response(body=_GARBAGE if fault.kind == "garbage" else b"", headers=headers)


async def send_whole(
    request: web.Request, reply: Whole, pacing: Pacing, fault: Fault | None, headers: dict[str, str]
) -> web.StreamResponse:
    """A reply in one body, after the time that its tokens would have taken."""
    kind = fault.kind if fault is not None else None
    wait = reply.tokens / pacing.tokens_per_second if pacing.tokens_per_second else 0.0
    if fault is not None and kind in ("slow_first_token", "stall"):
        wait += _DEFAULT_SECONDS if fault.seconds is None else fault.seconds
    if wait:
        await asyncio.sleep(wait)
    everything = {**headers, **reply.headers, **SIMULATED, "content-type": reply.content_type}
    if kind == "cut":
        response = web.StreamResponse(status=reply.status, headers=everything)
        response.content_length = max(2, len(reply.body))
        await response.prepare(request)
        await response.write(reply.body[: len(reply.body) // 2])
        _abort(request)
        return response
    body = reply.body[: len(reply.body) // 2] if kind == "malformed_chunk" else reply.body
    return web.Response(body=body, status=reply.status, headers=everything)


async def send_stream(
    request: web.Request,
    reply: Stream,
    pacing: Callable[[], Pacing],
    fault: Fault | None,
    headers: dict[str, str],
    *,
    error: ErrorAnswer | None,
) -> web.StreamResponse:
    """A reply in pieces. `error` is what an in-band error says; `pacing` may change while the pieces are sent."""
    response = web.StreamResponse(headers={**headers, **reply.headers, **SIMULATED, "content-type": reply.content_type})
    if "event-stream" in reply.content_type:
        response.headers["cache-control"] = "no-cache"
    await response.prepare(request)
    kind = fault.kind if fault is not None else None
    if fault is not None and kind == "slow_first_token":
        await asyncio.sleep(_DEFAULT_SECONDS if fault.seconds is None else fault.seconds)
    sent = 0
    struck = fault is None or kind not in ("stall", "cut", "in_band_error", "malformed_chunk")
    for frame in _without_end(reply.frames) if kind == "missing_done" else reply.frames:
        if fault is not None and not struck and (sent >= fault.after_tokens or frame.last):
            struck = True
            match kind:
                case "stall":
                    await asyncio.sleep(_DEFAULT_SECONDS if fault.seconds is None else fault.seconds)
                case "cut":
                    _abort(request)
                    return response
                case "in_band_error" if error is not None:
                    await response.write(error.frame)
                    await response.write_eof()
                    return response
                case "malformed_chunk":
                    await response.write(_broken(frame.data))
                    continue
        if frame.tokens and (pace := pacing().tokens_per_second):
            await asyncio.sleep(frame.tokens / pace)
        await response.write(frame.data)
        sent += frame.tokens
    await response.write_eof()
    return response


def _abort(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


def _without_end(frames: Iterator[Frame]) -> Iterator[Frame]:
    return (frame for frame in frames if not frame.last)


def _broken(data: bytes) -> bytes:
    """Half an event, with a proper ending, so that only the JSON in it is broken."""
    text = data.rstrip(b"\n")
    return text[: max(len(text) // 2, 8)] + data[len(text) :]
