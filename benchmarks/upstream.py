"""A provider that costs next to nothing: whole answers at once, streams at the pace that the request's model names.

`python -m benchmarks.upstream PORT`. A model `whole` (or any other) gets a whole answer, `stream-31-5` a stream of 31 events
with 5 ms between them.
"""

from __future__ import annotations

import asyncio
import re
import sys
from typing import cast

import uvloop

ANSWER = (
    b'{"id":"chatcmpl-9","object":"chat.completion","created":1795000000,"model":"gpt-4o-mini","choices":[{"index":0,'
    b'"logprobs":null,"finish_reason":"stop","message":{"role":"assistant","content":"Hello there, how can I help you '
    b'today?","refusal":null}}],"usage":{"prompt_tokens":120,"completion_tokens":40,"total_tokens":160,'
    b'"prompt_tokens_details":{"cached_tokens":64},"completion_tokens_details":{"reasoning_tokens":24}}}'
)
WHOLE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(ANSWER), ANSWER)
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_CHUNK = (
    b'{"id":"chatcmpl-9","object":"chat.completion.chunk","created":1795000000,"model":"gpt-4o-mini","choices":[{"index":0,'
    b'"delta":%b,"logprobs":null,"finish_reason":%b}]}'
)
_MODEL = re.compile(rb'"model":\s*"stream-(\d+)-(\d+)"')
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


def _event(data: bytes) -> bytes:
    event = b"data: " + data + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(event), event)


def stream(events: int) -> list[bytes]:
    """The writes of a stream: its head with the first event, `events` in all, then the end."""
    first = _HEAD + _event(_CHUNK % (b'{"role":"assistant","content":"Hello"}', b"null"))
    middle = _event(_CHUNK % (b'{"content":" there"}', b"null"))
    last = _event(_CHUNK % (b"{}", b'"stop"'))
    return [first, *[middle] * (events - 2), last + _event(b"[DONE]") + b"0\r\n\r\n"]


class Upstream(asyncio.Protocol):
    """One connection of the provider."""

    def __init__(self) -> None:
        self._received = b""
        self._streams: dict[int, list[bytes]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A connection."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Part of a request: they are small, and sent one after the other."""
        self._received += data
        head = self._received.find(b"\r\n\r\n")
        found = _LENGTH.search(self._received) if head >= 0 else None
        if head < 0 or len(self._received) < head + 4 + (int(found[1]) if found else 0):
            return
        request, self._received = self._received, b""
        model = _MODEL.search(request)
        if model is None:
            self._transport.write(WHOLE)
            return
        events, pause = int(model[1]), int(model[2]) / 1000
        self._send(self._streams.setdefault(events, stream(events)), 0, pause)

    def _send(self, writes: list[bytes], index: int, pause: float) -> None:
        self._transport.write(writes[index])
        if index + 1 < len(writes):
            self._timer = asyncio.get_running_loop().call_later(pause, self._send, writes, index + 1, pause)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody reads any more."""
        if self._timer is not None:
            self._timer.cancel()


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", port, backlog=2048)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
