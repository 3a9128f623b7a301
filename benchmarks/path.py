"""What a whole chat costs the event loop, sockets left out: our server, engine and client, beside those of the bare floor.

`python -m benchmarks.path` feeds requests into the server's protocol and answers into the client's, 32 callers at a time, and
prints microseconds of CPU a request: those of the loop's thread, and those of the whole process (the ledger's writer included,
where it is a thread). Neither kernel nor network is in it, so it is steady where a benchmark over sockets is not.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvicorn
import uvloop
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from benchmarks.floor import Floor
from benchmarks.load import body, request
from benchmarks.upstream import ANSWER
from polyroute.api.lifecycle import Connection
from polyroute.api.server import make_server
from polyroute.composition.app import App, build_app
from polyroute.composition.configuration import read_configuration
from polyroute.transport.connection import Connection as Upstream
from polyroute.transport.http1 import Http1Transport

CALLERS = 32
_ANSWER = (
    b"HTTP/1.1 200 OK\r\nserver: nginx/1.22.1\r\ndate: Sat, 21 Nov 2026 00:00:00 GMT\r\ncontent-type: application/json\r\n"
    b"content-length: %d\r\nconnection: keep-alive\r\n\r\n%b" % (len(ANSWER), ANSWER)
)


class Wire(asyncio.Transport):
    """A transport whose peer gives its `answer` to what `ends` a message at the loop's next turn."""

    def __init__(self, protocol: Any, answer: Callable[[], bytes | None], ends: Callable[[bytes], bool]) -> None:
        super().__init__()
        self._protocol = protocol
        self._answer = answer
        self._ends = ends
        self._loop = asyncio.get_running_loop()

    def write(self, data: Any) -> None:
        """Bytes for the peer."""
        if self._ends(data):
            answer = self._answer()
            if answer is not None:
                self._loop.call_soon(self._protocol.data_received, answer)

    def writelines(self, list_of_data: Any) -> None:
        """Bytes for the peer."""
        self.write(b"".join(list_of_data))

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """It is its own socket."""
        return self if name == "socket" else default

    family = 2

    def getsockname(self) -> tuple[str, int]:
        """As a socket says it."""
        return "127.0.0.1", 1

    getpeername = getsockname

    def setsockopt(self, *_: Any) -> None:
        """There is nothing to set."""

    def abort(self) -> None:
        """Lose the connection."""
        self._loop.call_soon(self._protocol.connection_lost, None)

    def is_closing(self) -> bool:
        """It stays open."""
        return False

    def pause_reading(self) -> None:
        """Nothing comes unasked."""

    def resume_reading(self) -> None:
        """Nothing comes unasked."""


class WireTransport(Http1Transport):
    """Our client, connected to peers that answer at once."""

    async def _connect(
        self, origin: Any, loop: asyncio.AbstractEventLoop, patience: float, deadline: float
    ) -> Upstream:
        connection = Upstream(origin, loop, 65536)
        connection.connection_made(Wire(connection, lambda: _ANSWER, lambda _: True))
        return connection


class Callers:
    """Callers that ask again as soon as they are answered."""

    def __init__(self, asked: bytes, make: Callable[[], HttpToolsProtocol], ends: Callable[[bytes], bool]) -> None:
        self._asked = asked
        self._left = self._open = 0
        self._over: asyncio.Future[None] | None = None
        self._protocols = [make() for _ in range(CALLERS)]
        for protocol in self._protocols:
            protocol.connection_made(Wire(protocol, self._next, ends))

    def _next(self) -> bytes | None:
        if self._left:
            self._left -= 1
            return self._asked
        self._open -= 1
        if not self._open and self._over is not None:
            self._over.set_result(None)
        return None

    async def run(self, times: int) -> None:
        """So many requests."""
        loop = asyncio.get_running_loop()
        self._over = loop.create_future()
        self._left, self._open = times - CALLERS, CALLERS
        for protocol in self._protocols:
            loop.call_soon(protocol.data_received, self._asked)
        await self._over


async def measure(callers: Callers, times: int, rounds: int) -> tuple[float, float]:
    """Microseconds a request: of this thread, least of all rounds, and of the process, median."""
    await callers.run(max(times // 4, CALLERS))
    thread, process = [], []
    for _ in range(rounds):
        mine, whole = time.thread_time(), time.process_time()
        await callers.run(times)
        thread.append((time.thread_time() - mine) / times * 1e6)
        await asyncio.sleep(0.3)  # the ledger writes up what the journal holds
        process.append((time.process_time() - whole) / times * 1e6)
    return min(thread), statistics.median(process)


def prepare() -> tuple[App, str]:
    """A gateway in the working directory with a route of six targets, and a key for it."""
    providers = {
        name: {"adapter": "openai_compatible", "base_url": "http://127.0.0.1:9/v1", "api_key": "k", "serves": ["chat"]}
        for name in ("a", "b", "c")
    }
    routes = {
        "six": {"operation": "chat", "targets": [f"{name}/{model}" for model in ("m1", "m2") for name in providers]}
    }
    Path("polyroute.yaml").write_text(json.dumps({"auth": {"mode": "keys"}, "providers": providers, "routes": routes}))
    made = subprocess.run(
        [sys.executable, "-m", "polyroute", "keys", "create", "--name", "benchmark"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return build_app(read_configuration()), made.stdout.strip().splitlines()[-1]


async def gateway(app: App, key: str, size: int, times: int, rounds: int) -> tuple[float, float]:
    """What our whole path costs."""
    transport = WireTransport()
    transport.bind(asyncio.get_running_loop())
    app.gateway.transport = transport
    lane = app.application()
    server = make_server(lane, lane=lane)
    server.config.load()
    await app.start()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)

    def make() -> Connection:
        return Connection(server.config, server_state=server.server_state, app_state={})

    try:
        return await measure(Callers(request(1, body("six", size), key), make, lambda _: True), times, rounds)
    finally:
        await transport.aclose()
        await app.stop()


async def floor(size: int, times: int, rounds: int) -> tuple[float, float]:
    """What uvicorn and our client cost alone."""
    application = Floor("http://127.0.0.1:9/v1", WireTransport())
    config = uvicorn.Config(application, loop="uvloop", http="httptools", lifespan="off", ws="none",
                            access_log=False, log_level="warning", date_header=False, server_header=False)  # fmt: skip
    state = uvicorn.Server(config).server_state
    config.load()

    def make() -> HttpToolsProtocol:
        return HttpToolsProtocol(config, server_state=state, app_state={})

    # uvicorn writes the end of an answer, which is empty, by itself.
    return await measure(Callers(request(1, body("six", size), "none"), make, lambda data: not data), times, rounds)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.path", description=__doc__)
    parser.add_argument("--times", type=int, default=20_000, help="requests a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=1024, help="bytes of the prompt")
    arguments = parser.parse_args()
    rest = arguments.size, arguments.times, arguments.rounds
    with tempfile.TemporaryDirectory(prefix="polyroute-bench-") as folder:
        os.chdir(folder)
        app, key = prepare()
        bare = uvloop.run(floor(*rest))
        ours = uvloop.run(gateway(app, key, *rest))
    for name, (loop, whole) in (("floor", bare), ("gateway", ours)):
        print(f"{name:<8} loop {loop:5.1f} µs   process {whole:5.1f} µs")


if __name__ == "__main__":
    main()
