"""What the gateway adds to the time to the first byte of speech: `python -m benchmarks.speech`.

A provider that begins to speak at once is asked directly and through the gateway, in turns over kept connections, so that
what else the machine does falls on both; the figure is the difference of the medians. `relayed` is a provider that speaks
the caller's dialect, `translated` one that is asked through its media adapter (ElevenLabs' form).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.contenders import environment
from benchmarks.machine import Process, answers, cores, free_port, listens

_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: audio/mpeg\r\ntransfer-encoding: chunked\r\n\r\n"
_BLOCK = b"ID3\x04" + bytes(2044)
_SPOKEN = _HEAD + b"%x\r\n%b\r\n" % (len(_BLOCK), _BLOCK)
_REST = (b"%x\r\n%b\r\n" % (len(_BLOCK), _BLOCK)) * 4 + b"0\r\n\r\n"
_PATHS = {"relayed": "/v1/audio/speech", "translated": "/v1/text-to-speech/21m00Tcm4TlvDq8ikWAM/stream"}
_WARM_UP = 100


async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection of the provider: the first block at once, the rest a moment later."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.partition(b":")[2]))
            writer.write(_SPOKEN)
            await asyncio.sleep(0.002)
            writer.write(_REST)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def serve(port: int) -> None:
    """The provider."""
    server = await asyncio.start_server(speak, "127.0.0.1", port)
    await server.serve_forever()


class Asked:
    """A kept connection over which one request is made again and again."""

    def __init__(self, port: int, path: str, body: dict[str, object], key: str) -> None:
        data = json.dumps(body).encode()
        self._port = port
        self._request = (
            f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(data)}\r\n\r\n"
        ).encode() + data

    async def open(self) -> None:
        """Connect."""
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)

    async def first_byte(self) -> float:
        """Milliseconds to the first byte of sound; the rest is read outside the measurement."""
        began = time.perf_counter()
        self._writer.write(self._request)
        seen = b""
        while b"ID3" not in seen:
            block = await self._reader.read(65536)
            if not block or (seen and b" 200 " not in seen[:20]):
                raise RuntimeError(f"no speech came: {seen[:300]!r}")
            seen += block
        taken = (time.perf_counter() - began) * 1000
        while not seen.endswith(b"\r\n0\r\n\r\n"):
            seen += await self._reader.read(65536)
        return taken


async def compare(direct: Asked, through: Asked, rounds: int) -> tuple[float, float]:
    """Medians in milliseconds: directly, and what the gateway adds to it."""
    await direct.open()
    await through.open()
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds + _WARM_UP):
        for asked, kept in zip((direct, through), times, strict=True):
            taken = await asked.first_byte()
            if number >= _WARM_UP:
                kept.append(taken)
    alone, added = statistics.median(times[0]), statistics.median(times[1])
    return alone, added - alone


def main() -> None:
    """Measure both lanes and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--provider", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.provider:
        asyncio.run(serve(given.provider))
        return
    gateway_core, load_core = cores()
    with tempfile.TemporaryDirectory() as name:
        folder, upstream, port = Path(name), free_port(), free_port()
        url = f"http://127.0.0.1:{upstream}"
        providers = {
            "relayed": {"adapter": "openai_compatible", "base_url": f"{url}/v1", "api_key": "k", "serves": ["speech"]},
            "translated": {"adapter": "elevenlabs", "base_url": url, "api_key": "k"},
        }
        (folder / "polyroute.yaml").write_text(json.dumps({"auth": {"mode": "keys"}, "providers": providers}))
        made = subprocess.run(
            [sys.executable, "-m", "polyroute", "keys", "create", "--name", "benchmark"],
            cwd=folder, env=environment(), capture_output=True, text=True, check=True,
        )  # fmt: skip
        key = made.stdout.strip().splitlines()[-1]
        command = [sys.executable, "-m", "benchmarks.speech", "--provider", str(upstream)]
        provider = Process(command, load_core, folder=folder, environment=environment())
        command = [sys.executable, "-m", "polyroute", "serve", "--port", str(port)]
        gateway = Process(command, gateway_core, folder=folder, environment=environment())
        try:
            provider.wait_for(listens(upstream))
            gateway.wait_for(answers(port, b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"))
            for lane, path in _PATHS.items():
                body: dict[str, object] = {"model": f"{lane}/tts-1", "input": "Good morning.", "voice": "alloy"}
                direct = Asked(upstream, path, body, "k")
                through = Asked(port, "/v1/audio/speech", body, key)
                alone, added = asyncio.run(compare(direct, through, given.rounds))
                verdict = "reached" if added <= 1 else "missed"
                print(
                    f"{lane:10}  direct {alone:.2f} ms, the gateway adds {added:.2f} ms at the median (bar: 1 ms): {verdict}"
                )
        finally:
            gateway.stop()
            provider.stop()


if __name__ == "__main__":
    main()
