"""What both transports make of answers that break, and of kept connections that have gone bad."""

from __future__ import annotations

import asyncio

import pytest

from polyroute.ports import Transport
from polyroute.types.errors import ErrorKind
from support.hostile_server import Peer, answering, hostile_server, repeating
from support.wire_calls import CHUNKED, OK, SIZED, Upload, drain, failure_of, post, soon, whole


@pytest.mark.parametrize(
    "raw",
    [
        OK + b"Content-Length: 10\r\n\r\nhello",
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel",
    ],
    ids=["length", "between-chunks", "in-chunk"],
)
@pytest.mark.parametrize("reset", [False, True], ids=["fin", "rst"])
async def test_a_body_cut_short_is_truncated(transport: Transport, raw: bytes, reset: bool) -> None:
    received = asyncio.Event()

    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.send(raw)
        await received.wait()
        if reset:
            peer.reset()

    async with hostile_server(behave) as server:
        answer = await post(transport, server.url)
        assert (await answer.receive(soon())).startswith(b"hel")
        received.set()
        assert (await failure_of(drain(answer))).kind is ErrorKind.TRUNCATED
        received.clear()
        answer = await post(transport, server.url)
        received.set()
        assert (await failure_of(answer.read(soon(), 1000))).kind is ErrorKind.TRUNCATED


async def test_what_arrived_before_the_break_is_delivered(http1: Transport) -> None:
    async with hostile_server(answering(OK + b"Content-Length: 10\r\n\r\nhello")) as server:
        answer = await post(http1, server.url)
        assert await answer.receive(soon()) == b"hello"
        assert (await failure_of(answer.receive(soon()))).kind is ErrorKind.TRUNCATED


@pytest.mark.parametrize(
    "raw",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"<html>not http</html>\r\n\r\n",
        b"\0\1\2\3\r\n\r\n",
        OK + b"Content-Length: -1\r\n\r\n",
        OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        OK + b"no colon here\r\n\r\n",
        OK + b"x" * 70_000 + b": 1\r\n\r\n",
        OK + b"x-a: " + b"y" * 70_000 + b"\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    ],
    ids=["ssh", "html", "binary", "negative", "two-lengths", "no-colon", "huge-name", "huge-value", "101"],
)
async def test_garbage_is_a_bad_response(transport: Transport, raw: bytes) -> None:
    async with hostile_server(answering(raw, then=Peer.gone)) as server:
        assert (await failure_of(whole(transport, server.url))).kind is ErrorKind.BAD_RESPONSE


async def test_a_broken_chunk_is_a_bad_response(transport: Transport) -> None:
    raw = OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n"
    async with hostile_server(answering(raw, then=Peer.gone)) as server:
        assert (await failure_of(whole(transport, server.url))).kind is ErrorKind.BAD_RESPONSE


async def test_a_body_over_the_limit_is_a_bad_response(transport: Transport) -> None:
    left = asyncio.Event()

    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"400\r\n" + b"x" * 1024 + b"\r\n")
        await peer.gone()
        left.set()

    async with hostile_server(behave) as server:
        answer = await post(transport, server.url)
        assert (await failure_of(answer.read(soon(), 1023))).kind is ErrorKind.BAD_RESPONSE
        await asyncio.wait_for(left.wait(), 5)


@pytest.mark.parametrize("raw", [b"", b"HTTP/1.1 200 OK\r\nContent-"], ids=["nothing", "half-a-head"])
@pytest.mark.parametrize("reset", [False, True], ids=["fin", "rst"])
async def test_no_answer_is_unavailable(transport: Transport, raw: bytes, reset: bool) -> None:
    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.send(raw)
        if reset:
            peer.reset()

    async with hostile_server(behave) as server:
        assert (await failure_of(post(transport, server.url))).kind is ErrorKind.UNAVAILABLE
        assert server.connections == 1, "a new connection that closes is not tried again"


@pytest.mark.parametrize("reset", [False, True], ids=["fin", "rst"])
async def test_a_server_that_hangs_up_at_once_is_unavailable(transport: Transport, reset: bool) -> None:
    async def behave(peer: Peer) -> None:
        if reset:
            peer.reset()

    async with hostile_server(behave) as server:
        for _ in range(5):
            assert (await failure_of(post(transport, server.url))).kind is ErrorKind.UNAVAILABLE


async def test_nobody_there_is_unavailable(transport: Transport) -> None:
    async with hostile_server(answering(SIZED)) as server:
        pass
    failure = await failure_of(post(transport, server.url))
    assert failure.kind is ErrorKind.UNAVAILABLE
    assert str(server.port) not in failure.message
    assert str(server.port) in (failure.detail or "")


async def test_an_unknown_host_is_unavailable(transport: Transport) -> None:
    assert (await failure_of(post(transport, "http://nowhere.invalid/"))).kind is ErrorKind.UNAVAILABLE


async def test_plain_text_instead_of_tls_is_unavailable(transport: Transport) -> None:
    async def behave(peer: Peer) -> None:
        await peer.reader.read(10)
        await peer.send(SIZED)

    async with hostile_server(behave) as server:
        failure = await failure_of(post(transport, server.url.replace("http:", "https:")))
    assert failure.kind is ErrorKind.UNAVAILABLE


# ---------------------------------------------------------------- kept connections


async def test_a_connection_is_used_again(transport: Transport) -> None:
    async with hostile_server(repeating(CHUNKED)) as server:
        for _ in range(5):
            assert await whole(transport, server.url) == b"hello world"
    assert server.connections == 1


@pytest.mark.parametrize(
    "raw",
    [
        OK + b"Connection: close\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        SIZED + b"HTTP/1.1 200 OK\r\n\r\n",
    ],
    ids=["close", "1.0", "second-answer"],
)
async def test_a_dirty_connection_is_not_used_again(transport: Transport, raw: bytes) -> None:
    async with hostile_server(repeating(raw)) as server:
        for _ in range(3):
            assert await whole(transport, server.url) == b"hello"
    assert server.connections == 3


async def test_a_stale_connection_is_replaced(transport: Transport) -> None:
    seen = []

    async def behave(peer: Peer) -> None:
        seen.append((await peer.request())[2])
        await peer.send(SIZED)
        if len(seen) == 1:
            await peer.reader.readexactly(1)
            peer.reset()
        else:
            await peer.gone()

    async with hostile_server(behave) as server:
        assert await whole(transport, server.url, b"first") == b"hello"
        assert await whole(transport, server.url, b"second") == b"hello"
    assert seen == [b"first", b"second"]
    assert server.connections == 2


async def test_a_stale_connection_is_replaced_for_a_long_body_too(transport: Transport) -> None:
    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.send(SIZED)
        if server.connections == 1:
            await peer.reader.readexactly(1)
            peer.reset()
        else:
            await peer.gone()

    async with hostile_server(behave) as server:
        assert await whole(transport, server.url, b"first") == b"hello"
        assert await whole(transport, server.url, Upload()) == b"hello"


async def test_a_request_is_sent_again_only_once_and_only_unanswered(transport: Transport) -> None:
    async def behave(peer: Peer) -> None:
        await peer.request()
        if server.connections == 1:
            await peer.send(SIZED)
            await peer.request()

    async with hostile_server(behave) as server:
        assert await whole(transport, server.url) == b"hello"
        assert (await failure_of(post(transport, server.url))).kind is ErrorKind.UNAVAILABLE
        assert server.connections == 2

    async def half(peer: Peer) -> None:
        await peer.request()
        await peer.send(SIZED)
        await peer.request()
        await peer.send(OK[:10])

    async with hostile_server(half) as server:
        assert await whole(transport, server.url) == b"hello"
        assert (await failure_of(post(transport, server.url))).kind is ErrorKind.UNAVAILABLE
        assert server.connections == 1


async def test_a_connection_closed_while_idle_leaves_the_pool(transport: Transport) -> None:
    async with hostile_server(answering(SIZED)) as server:
        for _ in range(3):
            assert await whole(transport, server.url) == b"hello"


async def test_after_an_abort_the_connection_is_closed(transport: Transport) -> None:
    left = asyncio.Event()

    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK + b"Content-Length: 10\r\n\r\nhello")
        await peer.gone()
        left.set()

    async with hostile_server(behave) as server:
        answer = await post(transport, server.url)
        answer.abort()
        answer.abort()
        await asyncio.wait_for(left.wait(), 5)


async def test_an_abort_after_the_end_harms_nobody(transport: Transport) -> None:
    async with hostile_server(repeating(SIZED)) as server:
        first = await post(transport, server.url)
        assert await first.read(soon(), 100) == b"hello"
        second = await post(transport, server.url)
        first.abort()
        assert await second.read(soon(), 100) == b"hello"
    assert server.connections == 1


async def test_a_closed_transport_sends_nothing(transport: Transport) -> None:
    async with hostile_server(repeating(SIZED)) as server:
        assert await whole(transport, server.url) == b"hello"
        await transport.aclose()
        assert (await failure_of(post(transport, server.url))).kind is ErrorKind.UNAVAILABLE
