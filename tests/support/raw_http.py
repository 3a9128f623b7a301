"""HTTP by hand: requests that no client library would send."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Any

import msgspec


class RawAnswer(msgspec.Struct, frozen=True):
    """What came back until the server was done with it. Header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def error(self) -> dict[str, Any]:
        """The `error` object of the body."""
        found: dict[str, Any] = msgspec.json.decode(self.body)["error"]
        return found


def exchange(address: tuple[str, int], request: bytes) -> RawAnswer:
    """Send bytes on a new connection and read one answer; status 0 where the server only hung up."""
    with socket.create_connection(address, timeout=10) as connection:
        with suppress(BrokenPipeError, ConnectionResetError):  # it may have answered already
            connection.sendall(request)
        received = b""
        while b"\r\n\r\n" not in received:
            piece = _receive(connection)
            if not piece:
                return RawAnswer(0, {}, received)
            received += piece
        head, _, body = received.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        due = int(headers.get("content-length", "0"))
        while len(body) < due:
            piece = _receive(connection)
            if not piece:
                break
            body += piece
        return RawAnswer(int(lines[0].split(" ")[1]), headers, body)


def _receive(connection: socket.socket) -> bytes:
    try:
        return connection.recv(65536)
    except ConnectionResetError:
        return b""


def post(path: str, body: bytes, *headers: str, content_type: str = "application/json") -> bytes:
    """The bytes of a POST."""
    lines = (
        f"POST {path} HTTP/1.1",
        "host: gateway",
        f"content-type: {content_type}",
        f"content-length: {len(body)}",
        *headers,
    )
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body
