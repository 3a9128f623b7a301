"""What the gateway adds to the time to the first byte of speech, and what a large recording costs it in memory.

A provider that begins to speak at once is asked directly and through the gateway, in turns over kept connections, so that
what else the machine does falls on both; the figure is the difference of the medians. `relayed` is a provider that speaks
the caller's dialect, `translated` one that is asked through its media adapter (ElevenLabs' form).
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import statistics
import struct
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from benchmarks.contenders import environment
from benchmarks.machine import Process, answers, cores, free_port, listens

_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: audio/mpeg\r\ntransfer-encoding: chunked\r\n\r\n"
_BLOCK = b"ID3\x04" + bytes(2044)
_SPOKEN = _HEAD + b"%x\r\n%b\r\n" % (len(_BLOCK), _BLOCK)
_REST = (b"%x\r\n%b\r\n" % (len(_BLOCK), _BLOCK)) * 4 + b"0\r\n\r\n"
_WORDS = b'{"text":"words","language_code":"eng","words":[]}'
_TEXT = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(_WORDS), _WORDS)
_RECORDING = 100 << 20
_PATHS = {"relayed": "/v1/audio/speech", "translated": "/v1/text-to-speech/21m00Tcm4TlvDq8ikWAM/stream"}
_WARM_UP = 100


async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection of the provider: the first block at once, the rest a moment later."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            left = int(length.partition(b":")[2])
            while left:
                left -= len(await reader.readexactly(min(left, 1 << 20)))
            if b"speech-to-text" in head or b"transcriptions" in head:
                writer.write(_TEXT)
                continue
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


class Found(msgspec.Struct, frozen=True):
    """Milliseconds to the first byte, directly and added to it, by lane; megabytes that a recording of 100 MB adds to the
    gateway's resident memory."""

    first_byte: dict[str, tuple[float, float]]
    growth: dict[str, float]


def measure_speech(folder: Path, rounds: int) -> Found:
    """Both lanes."""
    gateway_core, load_core = cores()
    upstream, port = free_port(), free_port()
    url = f"http://127.0.0.1:{upstream}"
    served = ["speech", "transcription"]
    providers = {
        "relayed": {"adapter": "openai_compatible", "base_url": f"{url}/v1", "api_key": "k", "serves": served},
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
    first_byte: dict[str, tuple[float, float]] = {}
    growth: dict[str, float] = {}
    try:
        provider.wait_for(listens(upstream))
        gateway.wait_for(answers(port, b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"))
        for lane, path in _PATHS.items():
            body: dict[str, object] = {"model": f"{lane}/tts-1", "input": "Good morning.", "voice": "alloy"}
            direct = Asked(upstream, path, body, "k")
            through = Asked(port, "/v1/audio/speech", body, key)
            first_byte[lane] = asyncio.run(compare(direct, through, rounds))
        for lane in _PATHS:
            upload(port, key, f"{lane}/scribe_v2", 1 << 20)
            gateway.forget_peak()
            before = gateway.memory("VmHWM")
            upload(port, key, f"{lane}/scribe_v2", _RECORDING)
            growth[lane] = gateway.memory("VmHWM") - before
    finally:
        gateway.stop()
        provider.stop()
    return Found(first_byte, growth)


def upload(port: int, key: str, model: str, size: int) -> None:
    """Have a silent recording of so many bytes transcribed."""
    fields = f'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\n{model}\r\n'
    fields += '--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\nContent-Type: audio/wav\r\n\r\n'
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 8000, 16_000, 2, 16)
    head = struct.pack("<4sI4s", b"RIFF", 36 + size, b"WAVE") + form + struct.pack("<4sI", b"data", size)
    start, end = fields.encode() + head, b"\r\n--b--\r\n"
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.putrequest("POST", "/v1/audio/transcriptions")
    connection.putheader("authorization", f"Bearer {key}")
    connection.putheader("content-type", "multipart/form-data; boundary=b")
    connection.putheader("content-length", str(len(start) + size + len(end)))
    connection.endheaders()
    connection.send(start)
    for left in range(size, 0, -(1 << 20)):
        connection.send(bytes(min(left, 1 << 20)))
    connection.send(end)
    answer = connection.getresponse()
    told = answer.read()
    if answer.status != 200:
        raise RuntimeError(f"no transcript came: {answer.status} {told[:300]!r}")
    connection.close()


def main() -> None:
    """The provider that is measured with."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--provider", type=int, required=True, help="the port that it listens on")
    asyncio.run(serve(parser.parse_args().provider))


if __name__ == "__main__":
    main()
