"""Both transports against servers that people run."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn

from polyroute.ports import Transport
from polyroute.transport.client import ClientTransport
from polyroute.transport.fields import header_value
from polyroute.transport.http1 import Http1Transport
from polyroute.transport.tls import client_context
from polyroute.types.errors import ErrorKind
from support.hostile_server import hostile_server, repeating
from support.wire_calls import drain, failure_of, post, soon, whole

# ---------------------------------------------------------------- uvicorn

cancelled = threading.Event()
started = threading.Event()


async def application(scope, receive, send) -> None:
    """Echoes, counts, or waits until its caller leaves."""
    body = b""
    while True:
        message = await receive()
        body += message["body"]
        if not message["more_body"]:
            break
    kind = b"text/event-stream" if scope["path"] == "/stream" else b"application/octet-stream"
    if scope["path"] != "/hang-before":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
    if scope["path"] == "/stream":
        for number in range(20):
            await send({"type": "http.response.body", "body": b"data: %d\n\n" % number, "more_body": True})
            await asyncio.sleep(0)
        await send({"type": "http.response.body", "body": b""})
    elif scope["path"].startswith("/hang"):
        started.set()
        assert (await receive())["type"] == "http.disconnect"
        cancelled.set()
    else:
        await send({"type": "http.response.body", "body": scope["query_string"] + b"|" + body})


@pytest.fixture(scope="module")
def uvicorn_url() -> Iterator[str]:
    """Uvicorn in a thread."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    config = uvicorn.Config(application, lifespan="off", log_level="error", ws="none", loop="uvloop")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(10)
    assert not thread.is_alive()


@pytest.mark.parametrize("size", [0, 10, 5_000_000])
async def test_uvicorn_echoes(transport: Transport, uvicorn_url: str, size: int) -> None:
    body = bytes(range(256)) * (size // 256 + 1)
    body = body[:size]
    assert await whole(transport, uvicorn_url + "/echo?a=%20b", body) == b"a=%20b|" + body


async def test_uvicorn_streams(transport: Transport, uvicorn_url: str) -> None:
    answers = await asyncio.gather(*[post(transport, uvicorn_url + "/stream") for _ in range(20)])
    bodies = await asyncio.gather(*[drain(answer) for answer in answers])
    assert set(bodies) == {b"".join(b"data: %d\n\n" % number for number in range(20))}
    assert {header_value(answer.headers, b"content-type") for answer in answers} == {b"text/event-stream"}


@pytest.mark.parametrize("path", ["/hang-before", "/hang-in-body"])
async def test_uvicorn_learns_that_its_caller_left(transport: Transport, uvicorn_url: str, path: str) -> None:
    cancelled.clear()
    started.clear()

    async def call() -> None:
        await (await post(transport, uvicorn_url + path)).read(soon(), 100)

    task = asyncio.create_task(call())
    assert await asyncio.to_thread(started.wait, 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(cancelled.wait, 5)


# ---------------------------------------------------------------- nginx

NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
CONFIGURATION = """
{user} daemon off; worker_processes 1; pid {root}/pid; error_log {root}/error.log;
events {{ worker_connections 64; }}
http {{
  access_log off; keepalive_requests 3;
  client_body_temp_path {root}/a; proxy_temp_path {root}/b; fastcgi_temp_path {root}/c;
  uwsgi_temp_path {root}/d; scgi_temp_path {root}/e;
  server {{
    listen 127.0.0.1:{port}; root {root}; client_max_body_size 1k;
    location /json {{ default_type application/json; return 200 '{{"connection":$connection}}'; }}
    location /gzip/ {{ alias {root}/; gzip on; gzip_min_length 1; gzip_types *; }}
  }}
}}
"""


@pytest.fixture(scope="module")
def nginx_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Nginx with a static answer and a large file."""
    if not Path(NGINX).exists():
        pytest.skip("nginx is not installed")
    root = tmp_path_factory.mktemp("nginx")
    user = "user root;" if os.geteuid() == 0 else ""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (root / "large").write_bytes(b"0123456789abcdef" * 200_000)
    (root / "nginx.conf").write_text(CONFIGURATION.format(root=root, port=port, user=user))
    process = subprocess.Popen([NGINX, "-p", str(root), "-c", str(root / "nginx.conf")], stderr=subprocess.DEVNULL)
    try:
        while not (root / "pid").exists() or not (root / "pid").read_text():
            if process.poll() is not None:
                pytest.skip("nginx does not start here: " + (root / "error.log").read_text()[-200:])
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


async def test_nginx_answers_and_keeps_connections(transport: Transport, nginx_url: str) -> None:
    seen = [await whole(transport, nginx_url + "/json") for _ in range(7)]
    assert len(set(seen)) == 3, "three requests a connection, as nginx was told"


async def test_nginx_serves_a_large_file(transport: Transport, nginx_url: str) -> None:
    answer = await post(transport, nginx_url + "/large", b"", method="GET")
    assert len(await drain(answer)) == 3_200_000
    answer = await post(
        transport, nginx_url + "/gzip/large", b"", method="GET", headers=[(b"accept-encoding", b"gzip")]
    )
    assert await answer.read(soon(), 10**7) == b"0123456789abcdef" * 200_000
    answer = await post(transport, nginx_url + "/large", b"", method="HEAD")
    assert header_value(answer.headers, b"content-length") == b"3200000"
    assert await drain(answer) == b""


async def test_nginx_refuses_a_large_body_early(transport: Transport, nginx_url: str) -> None:
    answer = await post(transport, nginx_url + "/json", bytes(3_000_000))
    assert answer.status == 413
    answer.abort()
    assert (await whole(transport, nginx_url + "/json")).startswith(b'{"connection":')


# ---------------------------------------------------------------- TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ssl.SSLContext]:
    """A self-signed certificate for 127.0.0.1: its file, and the server's context."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    root = tmp_path_factory.mktemp("tls")
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", str(root / "key"), "-out", str(root / "crt"), "-days", "2", "-subj", "/CN=polyroute.test"]
    subprocess.run([*command, "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(root / "crt", root / "key")
    return str(root / "crt"), context


@pytest.mark.parametrize("make", [Http1Transport, ClientTransport])
async def test_tls(make: type[Http1Transport], certificate: tuple[str, ssl.SSLContext]) -> None:
    authority, context = certificate
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
    async with hostile_server(repeating(answer), context=context) as server:
        for trusting in (client_context(ca_file=authority), client_context(verify=False)):
            transport = make(ssl_context=trusting)
            opened = server.connections
            for _ in range(3):
                assert await whole(transport, server.url, bytes(200_000)) == b"hello"
            assert server.connections == opened + 1
            await transport.aclose()
        transport = make()
        failure = await failure_of(post(transport, server.url))
        assert failure.kind is ErrorKind.UNAVAILABLE
        assert "TLS" in failure.message
        await transport.aclose()
        transport = make(ssl_context=client_context(ca_file=authority))
        wrong = server.url.replace("127.0.0.1", "localhost")
        assert (await failure_of(post(transport, wrong))).kind is ErrorKind.UNAVAILABLE
        await transport.aclose()
