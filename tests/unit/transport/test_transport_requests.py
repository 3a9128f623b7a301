"""What both transports send, and what they refuse to send."""

from __future__ import annotations

import asyncio

import pytest

from polyroute.ports import Transport
from polyroute.transport.client import ClientTransport
from polyroute.types.errors import ErrorKind
from support.hostile_server import Peer, answering, hostile_server
from support.wire_calls import SIZED, Upload, failure_of, post, soon, whole


@pytest.mark.parametrize("size", [0, 1, 1000, 70_000, 3_000_000])
async def test_sends_the_body_with_its_length(transport: Transport, size: int) -> None:
    seen = []

    async def behave(peer: Peer) -> None:
        seen.append(await peer.request())
        await peer.send(SIZED)

    body = b"z" * size
    async with hostile_server(behave) as server:
        assert await whole(transport, server.url + "/v1/chat?key=a%2Fb&n=1", body) == b"hello"
    line, headers, received = seen[0]
    assert line == b"POST /v1/chat?key=a%2Fb&n=1 HTTP/1.1"
    assert headers[b"host"] == f"127.0.0.1:{server.port}".encode()
    assert headers[b"content-length"] == str(size).encode()
    assert headers[b"content-type"] == b"application/json"
    assert headers[b"accept-encoding"] == b"identity"
    assert b"transfer-encoding" not in headers
    assert received == body


async def test_sends_a_long_body_block_by_block(transport: Transport) -> None:
    seen = []

    async def behave(peer: Peer) -> None:
        seen.append(await peer.request())
        await peer.send(SIZED)

    async with hostile_server(behave) as server:
        assert await whole(transport, server.url, Upload()) == b"hello"
    _, headers, received = seen[0]
    assert headers[b"content-length"] == str(40 * 65536).encode()
    assert received == b"x" * (40 * 65536)


async def test_a_body_that_changes_its_length_is_our_own_fault(transport: Transport) -> None:
    class Liar(Upload):
        @property
        def length(self) -> int:
            return 7

    async with hostile_server(answering(SIZED)) as server:
        assert (await failure_of(post(transport, server.url, Liar(b"12345", 1)))).kind is ErrorKind.INTERNAL
        assert (await failure_of(post(transport, server.url, Liar(b"12345", 2)))).kind is ErrorKind.INTERNAL


async def test_a_body_that_cannot_be_read_is_our_own_fault(transport: Transport) -> None:
    class Vanished(Upload):
        def chunks(self):
            yield b"x" * 65536
            raise FileNotFoundError("/secret/place")

    async with hostile_server(answering(SIZED)) as server:
        failure = await failure_of(post(transport, server.url, Vanished()))
    assert failure.kind is ErrorKind.INTERNAL
    assert "secret" not in failure.message


@pytest.mark.parametrize(
    "header", [(b"x-a", b"1\r\nx-b: 2"), (b"x-a", b"1\n2"), (b"x-a\r\nx-b", b"1"), (b"x-a", b"1\0"), (b"x a", b"1")]
)
async def test_refuses_header_injection(transport: Transport, header: tuple[bytes, bytes]) -> None:
    async with hostile_server(answering(SIZED)) as server:
        failure = await failure_of(post(transport, server.url, headers=[header]))
    assert failure.kind is ErrorKind.INVALID_REQUEST
    assert server.connections == 0


@pytest.mark.parametrize("name", [b"Host", b"content-length", b"Transfer-Encoding", b"connection"])
async def test_refuses_headers_that_are_the_transports_own(transport: Transport, name: bytes) -> None:
    failure = await failure_of(post(transport, "http://127.0.0.1:1", headers=[(name, b"1")]))
    assert failure.kind is ErrorKind.INVALID_REQUEST


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/a\r\nx: y",
        "http://127.0.0.1:1/a b",
        "http://127.0.0.1:1/é",
        "ftp://127.0.0.1/",
        "http:///path",
        "http://127.0.0.1:99999/",
        "http://user:s3cret@127.0.0.1/",
        "/relative",
        "http://[::1/",
        "http://" + "a" * 80 + ".invalid/",
    ],
)
async def test_refuses_urls_that_lead_nowhere(transport: Transport, url: str) -> None:
    failure = await failure_of(post(transport, url))
    assert failure.kind is ErrorKind.INVALID_REQUEST
    assert "s3cret" not in failure.message


async def test_ipv6_literals_work(transport: Transport) -> None:
    seen = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append((await Peer(reader, writer).request())[1][b"host"])
        writer.write(SIZED)
        await Peer(reader, writer).gone()
        writer.close()

    try:
        server = await asyncio.start_server(accept, "::1", 0)
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    port = server.sockets[0].getsockname()[1]
    assert await whole(transport, f"http://[::1]:{port}/") == b"hello"
    assert seen == [f"[::1]:{port}".encode()]
    await transport.aclose()
    server.close()
    await server.wait_closed()


# ---------------------------------------------------------------- early answers


@pytest.mark.parametrize("status", [b"413 Too Large", b"401 Unauthorized"])
async def test_an_early_answer_is_delivered(transport: Transport, status: bytes) -> None:
    upload = Upload(count=400)

    async def behave(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.send(b"HTTP/1.1 " + status + b"\r\nContent-Length: 4\r\nConnection: close\r\n\r\nno!!")
        await peer.gone()

    async with hostile_server(behave, receive_buffer=4096) as server:
        answer = await post(transport, server.url, upload)
        assert answer.status == int(status[:3])
        assert await answer.read(soon(), 100) == b"no!!"
        answer.abort()
    assert upload.given < 400


async def test_an_early_answer_before_a_close_is_delivered(transport: Transport) -> None:
    async def behave(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\nno!!")

    async with hostile_server(behave, receive_buffer=4096) as server:
        answer = await post(transport, server.url, Upload(count=400))
        assert answer.status == 413
        assert await answer.read(soon(), 100) == b"no!!"


# ---------------------------------------------------------------- proxies


async def test_the_aiohttp_transport_goes_through_a_proxy() -> None:
    seen = []

    async def behave(peer: Peer) -> None:
        seen.append(await peer.request())
        await peer.send(SIZED)

    async with hostile_server(behave) as proxy:
        transport = ClientTransport(proxy=proxy.url)
        assert await whole(transport, "http://provider.invalid/v1") == b"hello"
        await transport.aclose()
    assert seen[0][0] == b"POST http://provider.invalid/v1 HTTP/1.1"
    assert seen[0][1][b"host"] == b"provider.invalid"


async def test_a_proxy_that_refuses_is_unavailable() -> None:
    async def behave(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.send(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")

    async with hostile_server(behave) as proxy:
        transport = ClientTransport(proxy=proxy.url)
        assert (await failure_of(post(transport, "https://provider.invalid/v1"))).kind is ErrorKind.UNAVAILABLE
        await transport.aclose()
    transport = ClientTransport(proxy=proxy.url)
    assert (await failure_of(post(transport, "http://provider.invalid/v1"))).kind is ErrorKind.UNAVAILABLE
    await transport.aclose()
