"""Deadlines, callers that leave, and slow readers, for both transports."""

from __future__ import annotations

import asyncio

import pytest

from polyroute.ports import Timeouts, Transport
from polyroute.transport.http1 import Http1Transport
from polyroute.types.errors import ErrorKind
from support.hostile_server import Peer, hostile_server
from support.warped_clock import warped_clock
from support.wire_calls import OK, SIZED, Upload, failure_of, post, soon, whole

BRIEF = 0.05


async def test_a_deadline_that_has_passed_sends_nothing(transport: Transport) -> None:
    requests = 0

    async def behave(peer: Peer) -> None:
        nonlocal requests
        while True:
            await peer.request()
            requests += 1
            await peer.send(SIZED)

    async with hostile_server(behave) as server:
        assert await whole(transport, server.url) == b"hello"
        assert (await failure_of(post(transport, server.url, within=-1))).kind is ErrorKind.TIMEOUT
        assert await whole(transport, server.url) == b"hello"
    assert requests == 2


async def test_headers_that_do_not_come_time_out(transport: Transport) -> None:
    left = asyncio.Event()

    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.gone()
        left.set()

    async with hostile_server(behave) as server:
        failure = await failure_of(post(transport, server.url, timeouts=Timeouts(headers=BRIEF)))
        assert failure.kind is ErrorKind.TIMEOUT
        assert "0.05 s" in failure.message
        assert "headers" in failure.message
        await asyncio.wait_for(left.wait(), 5)
        left.clear()
        failure = await failure_of(post(transport, server.url, within=BRIEF))
        assert failure.kind is ErrorKind.TIMEOUT
        assert "deadline" in failure.message
        assert "headers" in failure.message
        await asyncio.wait_for(left.wait(), 5)


@pytest.mark.parametrize("way", ["read", "receive"])
async def test_a_body_that_stalls_times_out(transport: Transport, way: str) -> None:
    left = asyncio.Event()

    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK + b"Content-Length: 10\r\n\r\nhello")
        await peer.gone()
        left.set()

    async with hostile_server(behave) as server:
        answer = await post(transport, server.url)
        if way == "read":
            failure = await failure_of(answer.read(soon(BRIEF), 100))
        else:
            assert await answer.receive(soon()) == b"hello"
            failure = await failure_of(answer.receive(soon(BRIEF)))
        assert failure.kind is ErrorKind.TIMEOUT
        assert "body" in failure.message
        await asyncio.wait_for(left.wait(), 5)


async def test_a_body_that_trickles_cannot_outlast_the_deadline(transport: Transport) -> None:
    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK + b"Content-Length: 1000000\r\n\r\n")
        while True:
            await peer.send(b"x")
            await asyncio.sleep(0.005)

    async with hostile_server(behave) as server:
        answer = await post(transport, server.url)
        start = soon(0)
        assert (await failure_of(answer.read(soon(BRIEF), 10**7))).kind is ErrorKind.TIMEOUT
        assert soon(0) - start < 1


async def test_a_tls_handshake_that_hangs_times_out_while_connecting(transport: Transport) -> None:
    left = asyncio.Event()

    async def behave(peer: Peer) -> None:
        await peer.gone()
        left.set()

    async with hostile_server(behave) as server:
        url = server.url.replace("http:", "https:")
        failure = await failure_of(post(transport, url, timeouts=Timeouts(connect=BRIEF)))
        assert failure.kind is ErrorKind.TIMEOUT
        assert "connecting" in failure.message
        if isinstance(
            transport, Http1Transport
        ):  # aiohttp leaves a half-made TLS connection to the loop's own patience
            await asyncio.wait_for(left.wait(), 5)


async def test_a_server_that_reads_nothing_times_out_while_sending(transport: Transport) -> None:
    async def behave(peer: Peer) -> None:
        await asyncio.Event().wait()

    async with hostile_server(behave, receive_buffer=4096) as server:
        for body in (Upload(count=400), bytes(30_000_000)):
            failure = await failure_of(post(transport, server.url, body, timeouts=Timeouts(headers=BRIEF)))
            assert failure.kind is ErrorKind.TIMEOUT
            assert "sent" in failure.message


async def test_a_slow_upload_is_not_a_missing_answer(transport: Transport) -> None:
    quarter = 400 * 65536 // 4  # more than lies between the two sides, so that each means that more was sent
    with warped_clock() as clock:

        async def behave(peer: Peer) -> None:
            await peer.reader.readuntil(b"\r\n\r\n")
            for _ in range(4):
                await peer.reader.readexactly(quarter)
                clock.jump(0.6 * 60.0)  # the time that a slow line takes
            await peer.send(SIZED)

        async with hostile_server(behave, receive_buffer=4096) as server:
            timeouts = Timeouts(connect=60.0, headers=60.0, idle=60.0, total=1e6)
            assert await whole(transport, server.url, Upload(count=400), timeouts=timeouts, within=1e6) == b"hello"


# ---------------------------------------------------------------- callers that leave


@pytest.mark.parametrize("phase", ["headers", "half-headers", "body", "reading", "sending", "tls"])
async def test_a_cancelled_call_leaves_nothing_running(transport: Transport, phase: str) -> None:
    reached, left = asyncio.Event(), asyncio.Event()

    async def behave(peer: Peer) -> None:
        if phase == "tls":
            await peer.reader.read(100)
        elif phase == "sending":
            await peer.reader.readuntil(b"\r\n\r\n")
        else:
            await peer.request()
        if phase in {"half-headers", "body", "reading"}:
            await peer.send(OK)
        if phase in {"body", "reading"}:
            await peer.send(b"Content-Length: 10\r\n\r\n")
        reached.set()
        await peer.gone()
        left.set()

    async def call(url: str) -> None:
        answer = await post(transport, url, Upload(count=400) if phase == "sending" else b"{}")
        if phase == "reading":
            await answer.read(soon(), 100)
        else:
            await answer.receive(soon())

    async with hostile_server(behave, receive_buffer=4096 if phase == "sending" else None) as server:
        task = asyncio.create_task(call(server.url.replace("http:", "https:") if phase == "tls" else server.url))
        await reached.wait()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(left.wait(), 1)
        assert server.connections == 1


# ---------------------------------------------------------------- slow readers


async def test_a_slow_reader_holds_back_the_server(transport: Transport) -> None:
    given = 0
    stalled = asyncio.Event()

    async def behave(peer: Peer) -> None:
        nonlocal given
        await peer.request()
        await peer.send(OK + b"Content-Length: 50000000\r\n\r\n")
        peer.writer.transport.set_write_buffer_limits(0)
        while given < 50_000_000:
            peer.writer.write(bytes(100_000))
            given += 100_000
            drained = asyncio.ensure_future(peer.writer.drain())
            if not (await asyncio.wait([drained], timeout=0.3))[0]:
                stalled.set()
            await drained

    async with hostile_server(behave) as server:
        answer = await post(transport, server.url)
        await asyncio.wait_for(stalled.wait(), 10)
        assert given < 20_000_000, "what the kernel's buffers hold, and a little"
        assert len(await answer.receive(soon())) < 1_000_000
        assert len(await answer.read(soon(20), 10**8)) > 40_000_000
