"""Load: callers on raw connections, in this process; wrk, where it is installed, for as many requests as a server can take."""

from __future__ import annotations

import asyncio
import re
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import msgspec
import uvloop

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_END = b"0\r\n\r\n"
_WORDS = b"The quick brown fox jumps over the lazy dog and then writes a report about it. "


class Figures(msgspec.Struct, frozen=True):
    """What one round of load saw. Times in seconds; `bad` counts answers that were not whole and good."""

    count: int
    bad: int
    seconds: float
    p50: float
    first_p50: float = 0.0
    chunks: int = 0

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.count / self.seconds if self.seconds else 0.0


def body(model: str, size: int, *, stream: bool = False) -> bytes:
    """A chat request with a prompt of `size` bytes."""
    prompt = (_WORDS * (size // len(_WORDS) + 1))[:size]
    flag = b',"stream":true,"stream_options":{"include_usage":true}' if stream else b""
    return b'{"model":"%b","messages":[{"role":"user","content":"%b"}]%b}' % (model.encode(), prompt, flag)


def request(port: int, data: bytes, key: str, headers: Mapping[str, str] | None = None) -> bytes:
    """The request's bytes."""
    more = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nauthorization: Bearer {key}\r\n{more}"
        f"content-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
    )
    return head.encode() + data


class Caller(asyncio.Protocol):
    """Sends the same request over one connection, again and again, until it is told to stop."""

    def __init__(self, data: bytes, times: int) -> None:
        self._data = data
        self._left = times
        self._received = b""
        self._begun = 0.0
        self._first = 0.0
        self.latencies: list[float] = []
        self.firsts: list[float] = []
        self.bad = 0
        self.chunks = 0
        self.stopping = False
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        self._ask()

    def _ask(self) -> None:
        self._received = b""
        self._first = 0.0
        self._left -= 1
        self._begun = time.perf_counter()
        self._transport.write(self._data)

    def data_received(self, data: bytes) -> None:
        """Part of an answer."""
        self.chunks += 1
        received = self._received = self._received + data if self._received else data
        if not self._first and b'"content":' in received:
            self._first = time.perf_counter()
        head = received.find(b"\r\n\r\n")
        if head < 0:
            return
        length = _LENGTH.search(received, 0, head)
        if not (received.endswith(_END) if length is None else len(received) >= head + 4 + int(length[1])):
            return
        now = time.perf_counter()
        self.latencies.append(now - self._begun)
        self.firsts.append(self._first - self._begun)
        whole = b"[DONE]" in received if length is None else b'"finish_reason"' in received
        self.bad += not (received.startswith(b"HTTP/1.1 200") and whole)
        if self._left > 0 and not self.stopping:
            self._ask()
        else:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """The end, or the server's refusal to go on."""
        if not self.latencies:
            self.bad += 1
        if not self.done.done():
            self.done.set_result(None)


async def _run(port: int, data: bytes, callers: int, seconds: float, times: int, ramp: float) -> Figures:
    loop = asyncio.get_running_loop()
    running: list[Caller] = []
    begun = time.perf_counter()
    for _ in range(callers):
        caller = Caller(data, times)
        running.append(caller)
        await loop.create_connection(lambda one=caller: one, "127.0.0.1", port)  # type: ignore[misc] # bound at once
        if ramp:
            await asyncio.sleep(ramp / callers)
    if seconds:
        await asyncio.sleep(seconds)
        for caller in running:
            caller.stopping = True
    await asyncio.wait_for(asyncio.gather(*[caller.done for caller in running]), 20)
    latencies = [one for caller in running for one in caller.latencies]
    firsts = [one for caller in running for one in caller.firsts]
    return Figures(
        count=len(latencies),
        bad=sum(caller.bad for caller in running),
        seconds=time.perf_counter() - begun,
        p50=statistics.median(latencies) if latencies else 0.0,
        first_p50=statistics.median(firsts) if firsts else 0.0,
        chunks=sum(caller.chunks for caller in running),
    )


def run(
    port: int, data: bytes, *, callers: int, seconds: float = 0.0, times: int = 1 << 60, ramp: float = 0.0
) -> Figures:
    """So many callers at once, for so many seconds or until each has asked so many times; they begin within `ramp` s."""
    return uvloop.run(_run(port, data, callers, seconds, times, ramp))


def run_wrk(
    wrk: str, port: int, data: bytes, key: str, *, callers: int, seconds: int, folder: Path,
    headers: Mapping[str, str] | None = None,
) -> Figures:  # fmt: skip
    """The same by wrk, which takes less of the core than callers in Python do."""
    script = folder / "request.lua"
    payload = folder / "request.json"
    payload.write_bytes(data)
    more = "".join(f'wrk.headers["{name}"] = [[{value}]]\n' for name, value in (headers or {}).items())
    script.write_text(
        'wrk.method = "POST"\n'
        'wrk.headers["content-type"] = "application/json"\n'
        f'wrk.headers["authorization"] = "Bearer {key}"\n{more}'
        f'local file = io.open("{payload}", "rb")\nwrk.body = file:read("*a")\nfile:close()\n'
    )
    told = subprocess.run(
        [wrk, "-t1", f"-c{callers}", f"-d{seconds}", "--latency", "-s", str(script),
         f"http://127.0.0.1:{port}/v1/chat/completions"],
        capture_output=True, text=True, check=True, timeout=60,
    ).stdout  # fmt: skip
    count, spent = re.search(r"(\d+) requests in ([\d.]+)", told), re.search(r"Requests/sec: +([\d.]+)", told)
    p50 = re.search(r"50% +([\d.]+)(us|ms|s)", told)
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", told)
    assert count is not None
    assert spent is not None
    assert p50 is not None
    return Figures(
        count=int(count[1]),
        bad=int(bad[1]) if bad else 0,
        seconds=int(count[1]) / float(spent[1]) if float(spent[1]) else 0.0,
        p50=float(p50[1]) * {"us": 1e-6, "ms": 1e-3, "s": 1.0}[p50[2]],
    )


def median(values: Sequence[float]) -> float:
    """The median; 0.0 of nothing."""
    return statistics.median(values) if values else 0.0
