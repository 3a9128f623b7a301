"""A small, strict S3-compatible store over HTTP: it checks every signature with botocore, Amazon's own library."""

from __future__ import annotations

import hashlib
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

ACCESS_KEY, SECRET_KEY = "AKIATEST", "a/secret+key"


class S3Server:
    """`objects` by path. `faults` are taken by the next requests, one each: a status, `cut` (half of the body) or None."""

    def __init__(self, region: str = "eu-test-1") -> None:
        self.region = region
        self.objects: dict[str, bytes] = {}
        self.faults: list[int | str | None] = []
        self.asked: list[tuple[str, str, str | None]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                with suppress(BrokenPipeError, ConnectionResetError):
                    server.handle(self)

            do_GET = do_PUT = do_HEAD = do_DELETE = answer  # noqa: N815

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        """One request."""
        body = request.rfile.read(int(request.headers.get("content-length") or 0))
        self.asked.append((request.command, request.path, request.headers.get("range")))
        fault = self.faults.pop(0) if self.faults else None
        wrong = self._wrong(request, body)
        if isinstance(fault, int):
            self._reply(request, fault, b"<Error><Code>SlowDown</Code><Message>Reduce your rate.</Message></Error>")
        elif wrong is not None:
            self._reply(request, 403, f"<Error><Code>{wrong}</Code><Message>Not so.</Message></Error>".encode())
        elif request.command == "PUT":
            self.objects[request.path] = body
            self._reply(request, 200, b"")
        elif request.command == "DELETE":
            self.objects.pop(request.path, None)
            self._reply(request, 204, b"")
        elif request.path not in self.objects:
            self._reply(request, 404, b"<Error><Code>NoSuchKey</Code></Error>")
        else:
            data, status, first = self.objects[request.path], 200, 0
            if asked := request.headers.get("range"):
                start, _, end = asked.removeprefix("bytes=").partition("-")
                first, status = int(start), 206
                data = data[first : int(end) + 1]
            self._reply(request, status, data, cut=fault == "cut")

    def _reply(self, request: BaseHTTPRequestHandler, status: int, body: bytes, *, cut: bool = False) -> None:
        request.send_response(status)
        if status != 204:
            request.send_header("content-length", str(len(body)))
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(body[: len(body) // 2] if cut else body)
        if cut:
            request.close_connection = True

    def _wrong(self, request: BaseHTTPRequestHandler, body: bytes) -> str | None:
        """The code of what is wrong with a signature, None when nothing is."""
        stamp, told = request.headers.get("x-amz-date", ""), request.headers.get("authorization", "")
        with suppress(ValueError):
            moment = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            if abs(moment - datetime.now(UTC)) < timedelta(minutes=15):
                break_off = request.headers.get("x-amz-content-sha256") != hashlib.sha256(body).hexdigest()
                if break_off:
                    return "XAmzContentSHA256Mismatch"
                return (
                    None
                    if told.endswith(f"Signature={self._signature(request, body, stamp)}")
                    else "SignatureDoesNotMatch"
                )
        return "RequestTimeTooSkewed"

    def _signature(self, request: BaseHTTPRequestHandler, body: bytes, stamp: str) -> str:
        signed = request.headers.get("authorization", "").partition("SignedHeaders=")[2].partition(",")[0].split(";")
        headers = {name: request.headers[name] for name in signed if request.headers.get(name) is not None}
        host = request.headers["host"]
        made = AWSRequest(method=request.command, url=f"http://{host}{request.path}", data=body, headers=headers)
        made.context["timestamp"] = stamp
        auth = S3SigV4Auth(Credentials(ACCESS_KEY, SECRET_KEY), "s3", self.region)
        canonical = auth.canonical_request(made)
        return str(auth.signature(auth.string_to_sign(made, canonical), made))
