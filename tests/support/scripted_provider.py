"""A provider that says byte for byte what a test wrote, and keeps byte for byte what it was sent."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

import msgspec


class Received(msgspec.Struct):
    """One request. Header names are in lower case."""

    target: str
    headers: dict[str, str]
    body: bytes


Script = bytes | Callable[[], bytes]
"""What to send, or what makes it when it is due."""


class ScriptedProvider:
    """Answers each connection's one request with the next script; the last script serves all further requests."""

    def __init__(self, *scripts: Script) -> None:
        self.received: list[Received] = []
        self._scripts = list(scripts)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def play(self, *scripts: Script) -> None:
        """Answer with these from now on."""
        self._scripts = list(scripts)

    @property
    def url(self) -> str:
        """A base URL without a path."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as reader:
                connection.settimeout(10)
                target = reader.readline().decode().split(" ")[1]
                headers: dict[str, str] = {}
                while (line := reader.readline().strip()) != b"":
                    name, _, value = line.decode("latin-1").partition(":")
                    headers[name.lower()] = value.strip()
                body = reader.read(int(headers.get("content-length", "0")))
                self.received.append(Received(target, headers, body))
                script = self._scripts.pop(0) if len(self._scripts) > 1 else self._scripts[0]
                connection.sendall(script if isinstance(script, bytes) else script())


def whole(body: bytes, *headers: str, status: str = "200 OK", media_type: str = "application/json") -> bytes:
    """The script of a whole answer."""
    lines = (
        f"HTTP/1.1 {status}",
        f"content-type: {media_type}",
        f"content-length: {len(body)}",
        "connection: close",
        *headers,
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


COMPLETION = (
    b'{"id":"c-1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant",'
    b'"content":"scripted"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}'
)
