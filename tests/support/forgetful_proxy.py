"""A proxy in front of an HTTP service that counts what goes through, and loses answers where it is told."""

from __future__ import annotations

import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import httpx

_OWN = frozenset({"connection", "transfer-encoding", "content-length", "content-encoding", "date", "server"})


class ForgetfulProxy:
    """`seen` counts requests by method and path; `lose("POST /v1/jobs")` passes the next such one on and breaks off instead
    of answering."""

    def __init__(self, service: str) -> None:
        self.seen: Counter[str] = Counter()
        self._lost: list[str] = []
        proxy, client = self, httpx.Client(base_url=service, timeout=30, trust_env=False)
        self._client = client

        class Handler(BaseHTTPRequestHandler):
            def _pass_on(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                body = self.rfile.read(length) if length else b""
                name = f"{self.command} {urlsplit(self.path).path}"
                proxy.seen[name] += 1
                headers = {
                    key: value for key, value in self.headers.items() if key.lower() not in ("host", "connection")
                }
                try:
                    answer = client.request(self.command, self.path, content=body, headers=headers)
                except httpx.HTTPError:
                    self.close_connection = True  # the service is not there
                    return
                self.close_connection = True
                if name in proxy._lost:
                    proxy._lost.remove(name)
                    return
                self.send_response(answer.status_code)
                for key, value in answer.headers.items():
                    if key.lower() not in _OWN:
                        self.send_header(key, value)
                self.send_header("content-length", str(len(answer.content)))
                self.end_headers()
                self.wfile.write(answer.content)

            do_GET = do_POST = do_DELETE = _pass_on  # noqa: N815 - names of the standard library

            def log_message(self, *_: object) -> None:
                """Silence."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def lose(self, name: str) -> None:
        """The answer to the next such request never arrives."""
        self._lost.append(name)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._client.close()
