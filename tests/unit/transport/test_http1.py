"""What our own client promises beyond the port: its pool, its timers, its memory, and indifference to how bytes are split."""

from __future__ import annotations

import asyncio
import gc
import gzip
import itertools
import socket
from unittest.mock import Mock

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from polyroute.ports import Timeouts
from polyroute.transport.answer import HIGH_WATER, Http1Answer
from polyroute.transport.connection import Connection
from polyroute.transport.http1 import Http1Transport
from polyroute.types.errors import AttemptFailed, ErrorKind, Failure
from support.hostile_server import Peer, answering, hostile_server, repeating
from support.wire_calls import drain, failure_of, post, soon, whole

OK = b"HTTP/1.1 200 OK\r\n"
SIZED = OK + b"Content-Length: 5\r\n\r\nhello"

# ---------------------------------------------------------------- any split of the bytes

TEXT = b'data: {"delta":"\xc3\xa4"}\n\n' * 4
PACKED = gzip.compress(TEXT)
ANSWERS = {
    "sized": b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(TEXT) + TEXT,
    "chunked": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 \r\nX-Empty:\r\nTransfer-Encoding: chunked\r\n\r\n"
    + b"".join(b'%x;e="1"\r\n%b\r\n' % (len(part), part) for part in (TEXT[:3], TEXT[3:30], TEXT[30:]))
    + b"0\r\nX-Trailer: 1\r\n\r\n",
    "close": b"HTTP/1.0 500 Oh\r\nA: 1\r\na: 2\r\n\r\n" + TEXT,
    "gzip": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(PACKED) + PACKED,
    "cut": b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n" + TEXT,
    "cut-chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    "garbage": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nnonsense\r\n",
    "surplus": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\n\r\nhello",
    "nothing": b"",
    "half": b"HTTP/1.1 200 OK\r\nContent-Le",
}


def outcome(pieces: list[bytes]) -> tuple[object, ...]:
    """What a reader sees of an answer that arrives in these pieces, followed by a close."""

    async def run() -> tuple[object, ...]:
        connection = Connection(Mock(), asyncio.get_running_loop(), 65536)
        connection.connection_made(Mock())
        answer = Http1Answer(connection, bodiless=False)
        connection.begin(answer)
        for piece in pieces:
            if not connection.lost:
                connection.data_received(piece)
        if not connection.lost:
            connection.eof_received()
            connection.connection_lost(None)
        failure: Failure | None = None
        body = []
        try:
            if answer.status:
                answer.open()
            else:
                answer.check()
            while piece := await answer.receive(0.0):
                body.append(piece)
        except AttemptFailed as error:
            failure = error.failure
        return answer.status, answer.headers, b"".join(body), failure and failure.kind

    return uvloop.run(run())


EXPECTED = {name: outcome([raw]) for name, raw in ANSWERS.items()}


def test_the_whole_bytes_mean_what_they_should() -> None:
    assert EXPECTED["sized"][2:] == (TEXT, None)
    assert EXPECTED["chunked"] == (201, [(b"x-empty", b""), (b"transfer-encoding", b"chunked")], TEXT, None)
    assert EXPECTED["close"] == (500, [(b"a", b"1"), (b"a", b"2")], TEXT, None)
    assert EXPECTED["gzip"] == (200, [], TEXT, None)
    assert EXPECTED["cut"][2:] == (TEXT, ErrorKind.TRUNCATED)
    assert EXPECTED["cut-chunk"][2:] == (b"hello", ErrorKind.TRUNCATED)
    assert EXPECTED["garbage"][2:] == (b"hello", ErrorKind.BAD_RESPONSE)
    assert EXPECTED["surplus"][2:] == (b"hello", None)
    assert EXPECTED["nothing"] == (0, [], b"", ErrorKind.UNAVAILABLE)
    assert EXPECTED["half"] == (0, [], b"", ErrorKind.UNAVAILABLE)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(ANSWERS)), st.lists(st.integers(1, 400), max_size=12))
def test_any_split_of_the_bytes_means_the_same(name: str, cuts: list[int]) -> None:
    raw = ANSWERS[name]
    at = [0, *sorted({cut for cut in cuts if cut < len(raw)}), len(raw)]
    assert outcome([raw[start:end] for start, end in itertools.pairwise(at) if start < end]) == EXPECTED[name]


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300), st.booleans())
def test_no_bytes_break_the_client(noise: bytes, after_head: bool) -> None:
    raw = OK + b"Transfer-Encoding: chunked\r\n\r\n" + noise if after_head else noise
    status, _, _, failure = outcome([raw])
    assert failure in {None, ErrorKind.BAD_RESPONSE, ErrorKind.TRUNCATED, ErrorKind.UNAVAILABLE}
    assert status or failure


# ---------------------------------------------------------------- the pool


async def test_the_connection_used_last_is_used_first(http1: Http1Transport) -> None:
    served: list[int] = []

    async def behave(peer: Peer) -> None:
        number = server.connections
        while True:
            await peer.request()
            served.append(number)
            await peer.send(SIZED)

    async with hostile_server(behave) as server:
        first = await post(http1, server.url)
        second = await post(http1, server.url)
        await asyncio.gather(*[whole(http1, server.url) for _ in range(3)])
        served.clear()
        for _ in range(3):
            await whole(http1, server.url)
        assert len(set(served)) == 1
        assert await first.read(soon(), 10) == await second.read(soon(), 10) == b"hello"


async def test_no_more_connections_are_kept_than_asked_for() -> None:
    transport = Http1Transport(max_idle_per_origin=2)
    together = asyncio.Barrier(5)
    closed = asyncio.Semaphore(0)

    async def behave(peer: Peer) -> None:
        await peer.request()
        await together.wait()
        await peer.send(SIZED)
        await peer.gone()
        closed.release()

    async with hostile_server(behave) as server:
        await asyncio.gather(*[whole(transport, server.url) for _ in range(5)])
        for _ in range(3):
            await asyncio.wait_for(closed.acquire(), 5)
        assert closed.locked()
        await transport.aclose()
        for _ in range(2):
            await asyncio.wait_for(closed.acquire(), 5)


async def test_an_idle_connection_is_closed_when_it_expires() -> None:
    transport = Http1Transport(idle_expiry=0.05)
    left = asyncio.Event()

    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.send(SIZED)
        await peer.gone()
        left.set()

    async with hostile_server(behave) as server:
        assert await whole(transport, server.url) == b"hello"
        assert not left.is_set()
        await asyncio.wait_for(left.wait(), 5)
        assert await whole(transport, server.url) == b"hello"
        assert server.connections == 2
        await transport.aclose()


async def test_a_connection_too_old_is_not_used(http1: Http1Transport, monkeypatch: pytest.MonkeyPatch) -> None:
    async with hostile_server(repeating(SIZED)) as server:
        assert await whole(http1, server.url) == b"hello"
        monkeypatch.setattr(http1._pool, "expiry", 0.0)
        assert await whole(http1, server.url) == b"hello"
        assert server.connections == 2


async def test_bytes_that_nobody_asked_for_close_an_idle_connection(http1: Http1Transport) -> None:
    left = asyncio.Event()

    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.send(SIZED)
        await finished.wait()
        await peer.send(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        await peer.gone()
        left.set()

    finished = asyncio.Event()
    async with hostile_server(behave) as server:
        assert await whole(http1, server.url) == b"hello"
        finished.set()
        await asyncio.wait_for(left.wait(), 5)
        assert await whole(http1, server.url) == b"hello"
        assert server.connections == 2


async def test_closing_the_transport_fails_the_calls_under_way(http1: Http1Transport) -> None:
    reached = asyncio.Event()

    async def behave(peer: Peer) -> None:
        await peer.request()
        reached.set()
        await peer.gone()

    async with hostile_server(behave) as server:
        task = asyncio.create_task(post(http1, server.url))
        await reached.wait()
        await http1.aclose()
        assert (await failure_of(task)).kind is ErrorKind.UNAVAILABLE


def test_a_transport_may_move_to_another_loop() -> None:
    transport = Http1Transport()

    async def call() -> bytes:
        async with hostile_server(repeating(SIZED)) as server:
            return await whole(transport, server.url)

    async def close() -> None:
        await transport.aclose()

    with asyncio.Runner() as first:
        assert first.run(call()) == b"hello"
    with asyncio.Runner() as second:
        assert second.run(call()) == b"hello"
        second.run(close())


# ---------------------------------------------------------------- connecting


async def hanging_listener() -> tuple[socket.socket, list[socket.socket]]:
    """A port where a connect is never accepted: its queue is full."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    fillers = []
    for _ in range(4):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(listener.getsockname())
        fillers.append(filler)
    return listener, fillers


async def test_a_connect_that_hangs_times_out_and_can_be_cancelled(http1: Http1Transport) -> None:
    listener, fillers = await hanging_listener()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    try:
        failure = await failure_of(post(http1, url, timeouts=Timeouts(connect=0.05)))
        assert failure.kind is ErrorKind.TIMEOUT
        assert "0.05 s while connecting" in failure.message
        failure = await failure_of(post(http1, url, within=0.05))
        assert "the deadline passed while connecting" in failure.message
        task = asyncio.create_task(post(http1, url))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not http1._pool.open
    finally:
        for opened in (listener, *fillers):
            opened.close()


@pytest.mark.parametrize("steps", range(8))
async def test_a_call_cancelled_while_connecting_leaves_nothing_open(http1: Http1Transport, steps: int) -> None:
    async def behave(peer: Peer) -> None:
        await peer.gone()

    async with hostile_server(behave) as server:
        task = asyncio.create_task(post(http1, server.url))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(http1.aclose(), 5)
        assert not http1._pool.open


# ---------------------------------------------------------------- memory and time


async def test_a_slow_reader_holds_little(http1: Http1Transport) -> None:
    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK + b"Content-Length: 20000000\r\n\r\n" + bytes(20_000_000))

    async with hostile_server(behave) as server:
        answer = await post(http1, server.url)
        total = 0
        largest = 0
        while piece := await answer.receive(soon()):
            largest = max(largest, len(piece))
            total += len(piece)
            for _ in range(3):
                await asyncio.sleep(0)
        assert total == 20_000_000
        assert largest <= HIGH_WATER + 256 * 1024, "the mark, and what one read of the socket brings"


@pytest.mark.parametrize(
    "endless",
    [b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", b"X-Header: 1\r\n", b"x"],
    ids=["interim", "headers", "one-header"],
)
async def test_endless_heads_are_cut_off(http1: Http1Transport, endless: bytes) -> None:
    async def behave(peer: Peer) -> None:
        await peer.request()
        if not endless.startswith(b"HTTP"):
            await peer.send(OK)
        while True:
            await peer.send(endless * 50)

    async with hostile_server(behave) as server:
        assert (await failure_of(post(http1, server.url))).kind is ErrorKind.BAD_RESPONSE


@pytest.mark.parametrize("endless", [b"0\r\nX: " + b"y" * 1000, b"5;" + b"e" * 1000], ids=["trailer", "extension"])
async def test_endless_framing_is_cut_off(http1: Http1Transport, endless: bytes) -> None:
    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK + b"Transfer-Encoding: chunked\r\n\r\n" + endless)
        while True:
            await peer.send(b"z" * 1000)

    async with hostile_server(behave) as server:
        assert (await failure_of(whole(http1, server.url))).kind is ErrorKind.BAD_RESPONSE


async def test_the_header_limit_is_the_callers() -> None:
    transport = Http1Transport(max_header_bytes=100)
    async with hostile_server(answering(OK + b"Content-Length: 2000\r\n\r\n" + b"x" * 2000)) as server:
        assert len(await whole(transport, server.url)) == 2000
    async with hostile_server(answering(OK + b"X: " + b"y" * 100 + b"\r\nContent-Length: 0\r\n\r\n")) as server:
        assert (await failure_of(whole(transport, server.url))).kind is ErrorKind.BAD_RESPONSE
    await transport.aclose()


async def test_each_wait_has_its_own_deadline(http1: Http1Transport) -> None:
    """The connection's one timer is armed for the earliest deadline, and neither a later nor an earlier one is missed."""

    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK + b"Content-Length: 10\r\n\r\n")
        for _ in range(4):
            await asyncio.sleep(0.03)
            await peer.send(b"x")
        await peer.gone()

    async with hostile_server(behave) as server:
        answer = await post(http1, server.url, timeouts=Timeouts(headers=0.06))
        for _ in range(4):
            assert await answer.receive(soon(1)) == b"x"
        start = soon(0)
        assert (await failure_of(answer.receive(soon(0.05)))).kind is ErrorKind.TIMEOUT
        assert 0.04 < soon(0) - start < 1


async def test_bytes_that_arrive_with_the_deadline_count_as_arrived() -> None:
    connection = Connection(Mock(), asyncio.get_running_loop(), 65536)
    connection.connection_made(Mock())
    answer = Http1Answer(connection, bodiless=False)
    connection.begin(answer)
    connection.data_received(OK + b"Content-Length: 2\r\n\r\n")
    reader = asyncio.create_task(answer.receive(soon(0)))
    await asyncio.sleep(0)
    connection.data_received(b"a")
    connection._tick()
    assert await reader == b"a"
    connection.data_received(b"b")
    assert await answer.receive(soon()) == b"b"


async def test_an_unknown_transfer_encoding_is_a_bad_response(http1: Http1Transport) -> None:
    async with hostile_server(answering(OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n")) as server:
        assert (await failure_of(post(http1, server.url))).kind is ErrorKind.BAD_RESPONSE


async def test_nothing_is_left_behind(http1: Http1Transport) -> None:
    async with hostile_server(answering(OK + b"Content-Length: 9\r\n\r\nhello")) as server:
        for _ in range(20):
            answer = await post(http1, server.url)
            with pytest.raises(AttemptFailed):
                await drain(answer)
            del answer
        await http1.aclose()
    gc.collect()
    assert not [thing for thing in gc.get_objects() if isinstance(thing, Http1Answer)]
