"""The bare floor: the least that a Python proxy can do, to show what the HTTP server and our client cost by themselves.

`python benchmarks/floor.py --port 8100 --upstream http://127.0.0.1:9000/answer.json` forwards every POST to the upstream
URL and relays the answer as it arrives. It knows no keys, no routes and no ledger.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

import uvicorn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

from polyroute.ports import Timeouts, WireRequest
from polyroute.transport.http1 import Http1Transport
from polyroute.types.errors import AttemptFailed

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
TIMEOUTS = Timeouts()
DROPPED = {b"connection", b"transfer-encoding", b"keep-alive", b"date", b"server"}


class Floor:
    """An ASGI application that relays to one URL."""

    def __init__(self, upstream: str, transport: Http1Transport | None = None) -> None:
        self._upstream = upstream
        self._transport = transport or Http1Transport()

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        message = await receive()
        body: bytes = message["body"]
        while message["more_body"]:
            message = await receive()
            body += message["body"]
        deadline = asyncio.get_running_loop().time() + TIMEOUTS.total
        request = WireRequest("POST", self._upstream, [(b"content-type", b"application/json")], body)
        try:
            answer = await self._transport.send(request, TIMEOUTS, deadline)
        except AttemptFailed as error:
            await send({"type": "http.response.start", "status": 502, "headers": []})
            await send({"type": "http.response.body", "body": str(error).encode()})
            return
        try:
            headers = [field for field in answer.headers if field[0] not in DROPPED]
            await send({"type": "http.response.start", "status": answer.status, "headers": headers})
            while chunk := await answer.receive(deadline):
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            answer.abort()


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8100)
    parser.add_argument("--upstream", default=os.environ.get("UPSTREAM"), required="UPSTREAM" not in os.environ)
    arguments = parser.parse_args()
    uvicorn.run(
        Floor(arguments.upstream),
        host="127.0.0.1",
        port=arguments.port,
        loop="uvloop",
        http="httptools",
        lifespan="off",
        ws="none",
        access_log=False,
        log_level="warning",
        date_header=False,
        server_header=False,
    )


if __name__ == "__main__":
    main()
