"""The lean way of inference requests, over real sockets: the same HTTP as uvicorn's own way, and cancelled with its caller."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyroute.api.exchange import Exchange
from polyroute.api.known_head import split_head
from polyroute.api.requests import BegunError, Receive, Scope, Send
from polyroute.api.server import Server, bind, make_server
from polyroute.types.operations import Dialect

Answering = Callable[[Exchange], Awaitable[None]]
PATIENCE = 10.0
JSON = [(b"content-type", b"application/json")]


class Lane:
    """Answers lean requests as a test says; what takes uvicorn's way is answered with `general`."""

    def __init__(self, answering: Answering) -> None:
        self.lean_paths: Mapping[bytes, tuple[str, Dialect]] = {b"/lean": ("/lean", Dialect.OPENAI_CHAT)}
        self.answering = answering
        self.ended = asyncio.Event()
        self.left: bool | None = None
        self.failed: Exception | None = None

    async def infer(self, exchange: Exchange, dialect: Dialect) -> None:
        """One lean request."""
        exchange.enter()
        try:
            await self.answering(exchange)
        except Exception as error:  # noqa: BLE001 - kept for the test
            self.failed = error
        finally:
            self.left = exchange.left
            exchange.leave()
            self.ended.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Everything else."""
        size = 0
        while True:
            message = await receive()
            size += len(message.get("body", b""))
            if not message.get("more_body"):
                break
        body = b"general %d" % size
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def serving(answering: Answering, keep_alive: float = 75) -> AsyncIterator[tuple[Lane, int, Server]]:
    lane = Lane(answering)
    listener = bind("127.0.0.1", 0)
    server = make_server(lane, lane=lane)
    server.config.timeout_keep_alive = keep_alive  # type: ignore[assignment]  # seconds are seconds
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield lane, listener.getsockname()[1], server
    finally:
        server.should_exit = True
        await asyncio.wait_for(task, PATIENCE)


async def echo(exchange: Exchange) -> None:
    await exchange.answer(200, JSON, b"lean " + await exchange.read_body(1 << 20))


def request(body: bytes = b"{}", *, path: str = "/lean", version: str = "1.1", more: str = "") -> bytes:
    head = f"POST {path} HTTP/{version}\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
    return (head + more + "\r\n").encode() + body


async def read_answer(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Head and body of an answer of known length."""
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
    length = re.search(rb"content-length: (\d+)", head)
    assert length is not None, head
    return head, await asyncio.wait_for(reader.readexactly(int(length[1])), PATIENCE)


async def read_rest(reader: asyncio.StreamReader) -> bytes:
    return await asyncio.wait_for(reader.read(), PATIENCE)


async def test_one_connection_carries_one_request_after_the_other() -> None:
    async with serving(echo) as (_, port, server):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number in range(3):
            writer.write(request(b"%d" % number))
            head, body = await read_answer(reader)
            assert head.startswith(b"HTTP/1.1 200 OK\r\ndate: ")
            assert b"content-type: application/json\r\n" in head
            assert b"connection:" not in head
            assert body == b"lean %d" % number
        assert server.server_state.total_requests == 3
        assert not server.server_state.tasks
        writer.close()


async def test_a_body_in_many_pieces_is_one_body() -> None:
    async with serving(echo) as (_, port, _server):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        data = request(b"0123456789" * 5000)
        for start in range(0, len(data), 7001):
            writer.write(data[start : start + 7001])
            await writer.drain()
            await asyncio.sleep(0)
        assert (await read_answer(reader))[1] == b"lean " + b"0123456789" * 5000
        writer.close()


@pytest.mark.parametrize(
    "data",
    [
        request(version="1.0"),
        request(path="/lean?x=1"),
        request(more="expect: 100-continue\r\n"),
        b"POST /lean HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        request(b" " * ((1 << 20) + 1)),
        request(path="/elsewhere"),
    ],
    ids=["http/1.0", "query", "expect", "chunked", "large", "path"],
)
async def test_everything_unusual_takes_the_general_way(data: bytes) -> None:
    async with serving(echo) as (lane, port, _server):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(data)
        if b"expect" in data:
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        size = (1 << 20) + 1 if len(data) > 1 << 20 else 2
        assert (await read_answer(reader))[1] == b"general %d" % size
        assert not lane.ended.is_set()
        writer.close()


async def test_a_caller_that_asks_for_it_gets_the_connection_closed() -> None:
    async with serving(echo) as (_, port, _server):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request(more="connection: close\r\n"))
        head, _ = await read_answer(reader)
        assert b"connection: close\r\n" in head
        assert await read_rest(reader) == b""
        writer.close()


async def test_requests_that_are_sent_at_once_are_answered_in_their_order() -> None:
    gate = asyncio.Event()

    async def slow(exchange: Exchange) -> None:
        await gate.wait()
        await echo(exchange)

    async with serving(slow) as (_, port, _server):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request(b"first") + request(b"second") + request(b"third", path="/elsewhere"))
        await writer.drain()
        asyncio.get_running_loop().call_later(0.05, gate.set)
        assert [(await read_answer(reader))[1] for _ in range(3)] == [b"lean first", b"general 6", b"general 5"]
        writer.write(request(b"fourth"))
        assert (await read_answer(reader))[1] == b"lean fourth"
        writer.close()


async def test_the_task_is_cancelled_when_its_caller_leaves() -> None:
    begun = asyncio.Event()

    async def forever(exchange: Exchange) -> None:
        begun.set()
        await asyncio.Event().wait()

    async with serving(forever) as (lane, port, server):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request())
        await asyncio.wait_for(begun.wait(), PATIENCE)
        writer.close()
        await asyncio.wait_for(lane.ended.wait(), PATIENCE)
        assert lane.left is True
        assert not server.server_state.tasks


async def test_the_task_is_cancelled_in_the_middle_of_a_stream() -> None:
    async def endless(exchange: Exchange) -> None:
        await exchange.begin(200, JSON)
        await exchange.send(b"first")
        await asyncio.Event().wait()

    async with serving(endless) as (lane, port, _server):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request())
        assert (await reader.readuntil(b"5\r\nfirst\r\n")).startswith(b"HTTP/1.1 200 OK\r\n")
        writer.close()
        await asyncio.wait_for(lane.ended.wait(), PATIENCE)
        assert lane.left is True


async def test_a_stream_is_chunked_and_ends() -> None:
    async def stream(exchange: Exchange) -> None:
        await exchange.begin(200, JSON)
        for piece in (b"one", b"", b"twotwotwotwotwotwo"):
            await exchange.send(piece)
        await exchange.finish(b"end")

    async with serving(stream) as (_, port, _server):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(2):
            writer.write(request())
            received = await asyncio.wait_for(reader.readuntil(b"\r\n0\r\n\r\n"), PATIENCE)
            head, _, body = received.partition(b"\r\n\r\n")
            assert b"transfer-encoding: chunked" in head
            assert b"content-length" not in head
            assert body == b"3\r\none\r\n12\r\ntwotwotwotwotwotwo\r\n3\r\nend\r\n0\r\n\r\n"
        writer.close()


async def test_a_stream_that_breaks_off_does_not_look_whole() -> None:
    async def broken(exchange: Exchange) -> None:
        await exchange.begin(200, JSON)
        await exchange.send(b"one")
        with pytest.raises(BegunError):
            await exchange.answer(500, JSON, b"too late")

    async with serving(broken) as (lane, port, _server):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request())
        assert (await read_rest(reader)).endswith(b"\r\n\r\n3\r\none\r\n")
        assert lane.failed is None
        writer.close()


@pytest.mark.parametrize("value", [b"a\r\nset-cookie: x=1", b"a\nb", b"a\rb", b"a\0b"])
async def test_no_header_can_break_out_of_its_line(value: bytes) -> None:
    async def injected(exchange: Exchange) -> None:
        await exchange.answer(200, [(b"x-polyroute-model", value)], b"{}")

    async with serving(injected) as (lane, port, _server):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request())
        assert await read_rest(reader) == b""
        assert isinstance(lane.failed, ValueError)
        writer.close()


async def test_a_slow_reader_slows_the_stream_down() -> None:
    sent = 0
    total = 400

    async def gush(exchange: Exchange) -> None:
        nonlocal sent
        await exchange.begin(200, JSON)
        for _ in range(total):
            await exchange.send(b"x" * 65536)
            sent += 1
        await exchange.finish(b"")

    async with serving(gush) as (_, port, _server):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=4096)
        writer.write(request())
        seen = -1
        while seen != sent:  # until it stands still
            seen = sent
            await asyncio.sleep(0.05)
        assert 0 < sent < total
        received = 0
        while not (data := await asyncio.wait_for(reader.read(1 << 20), PATIENCE)).endswith(b"\r\n0\r\n\r\n"):
            received += len(data)
        assert received + len(data) > total * 65536
        assert sent == total
        writer.close()


async def test_a_server_that_stops_lets_the_answer_finish_and_closes() -> None:
    begun, gate = asyncio.Event(), asyncio.Event()

    async def slow(exchange: Exchange) -> None:
        begun.set()
        await gate.wait()
        await echo(exchange)

    async with serving(slow) as (_, port, server):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request(b"last"))
        await asyncio.wait_for(begun.wait(), PATIENCE)
        stopping = asyncio.create_task(server.shutdown())
        await asyncio.sleep(0)
        gate.set()
        head, body = await read_answer(reader)
        assert (b"connection: close" in head, body) == (True, b"lean last")
        assert await read_rest(reader) == b""
        await asyncio.wait_for(stopping, PATIENCE)
        writer.close()


async def test_a_connection_that_rests_too_long_is_closed_and_a_busy_one_is_not() -> None:
    gate = asyncio.Event()

    async def slow(exchange: Exchange) -> None:
        await gate.wait()
        await echo(exchange)

    async with serving(slow, keep_alive=0.1) as (_, port, _server):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        gate.set()
        writer.write(request(b"one"))
        await read_answer(reader)
        gate.clear()
        writer.write(request(b"two"))
        asyncio.get_running_loop().call_later(0.3, gate.set)
        assert (await read_answer(reader))[1] == b"lean two"
        assert await read_rest(reader) == b""
        writer.close()


async def tell(exchange: Exchange) -> None:
    """Answer with all that was understood of a request."""
    head = exchange.head
    told = (
        exchange.path,
        head.credential,
        head.content_type,
        head.options,
        head.forward,
        await exchange.read_body(1 << 20),
    )
    await exchange.answer(200, JSON, repr(told).encode())


def asked(key: str, body: bytes, more: str = "") -> bytes:
    return request(body, more=f"Authorization: Bearer {key}\r\n{more}")


def told(key: str, body: bytes, options: dict[str, str] | None = None, forward: object = None) -> bytes:
    return repr(("/lean", key, b"application/json", options, forward, body)).encode()


async def test_requests_with_the_same_head_differ_in_their_bodies() -> None:
    async with serving(tell) as (_, port, server):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for body in (b"one", b"three", b"", b"x" * 20_000, b"a\r\n\r\nb", b"one"):
            writer.write(asked("k", body))
            assert (await read_answer(reader))[1] == told("k", body)
        assert server.server_state.total_requests == 6
        writer.close()


async def test_a_head_that_changes_is_read_anew_each_time() -> None:
    async with serving(tell) as (_, port, _server):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number in range(30):
            writer.write(asked(f"key-{number % 3}", b"a", f"x-polyroute-user: u{number}\r\n"))
            assert (await read_answer(reader))[1] == told(f"key-{number % 3}", b"a", {"user": f"u{number}"})
        for key in ("k1", "k2", "k2", "k1", "k1"):
            writer.write(asked(key, b"b"))
            assert (await read_answer(reader))[1] == told(key, b"b")
        writer.close()


async def test_a_request_behind_another_one_does_not_lend_its_head() -> None:
    gate = asyncio.Event()

    async def slow(exchange: Exchange) -> None:
        await gate.wait()
        await tell(exchange)

    async with serving(slow) as (_, port, _server):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(asked("first", b"a"))
        await writer.drain()
        writer.write(asked("second", b"a"))
        await writer.drain()
        asyncio.get_running_loop().call_later(0.05, gate.set)
        assert (await read_answer(reader))[1] == told("first", b"a")
        assert (await read_answer(reader))[1] == b"general 1"
        for key in ("second", "second", "first"):
            writer.write(asked(key, b"c"))
            assert (await read_answer(reader))[1] == told(key, b"c")
        writer.close()


@pytest.mark.parametrize("cut", [1, 30, 80, 100, -2, -1])
async def test_a_known_head_may_come_in_pieces_or_with_more_behind_it(cut: int) -> None:
    async with serving(tell) as (_, port, _server):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(3):
            writer.write(asked("k", b"body"))
            assert (await read_answer(reader))[1] == told("k", b"body")
        data = asked("k", b"in pieces")
        writer.write(data[:cut])
        await writer.drain()
        await asyncio.sleep(0.01)  # the rest is to be another read of the server's
        writer.write(data[cut:] + asked("k", b"behind"))
        assert (await read_answer(reader))[1] == told("k", b"in pieces")
        assert (await read_answer(reader))[1] == b"general 6"
        writer.close()


@pytest.mark.parametrize("length", ["4 ", "+4", "0x4", "04", "4, 4", "", "-1", "99999999999999999999"])
async def test_a_length_that_is_none_is_refused_behind_a_known_head(length: str) -> None:
    async with serving(tell) as (lane, port, _server):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(2):
            writer.write(asked("k", b"body"))
            assert (await read_answer(reader))[1] == told("k", b"body")
        lane.ended.clear()
        writer.write(asked("k", b"body").replace(b"content-length: 4\r\n", f"content-length: {length}\r\n".encode()))
        if length in ("4 ", "04"):
            assert (await read_answer(reader))[1] == told("k", b"body")
        else:
            writer.write_eof()
            assert b" 200 " not in await read_rest(reader)
            assert not lane.ended.is_set()
        writer.close()


@given(st.binary(max_size=60), st.binary(max_size=30))
def test_only_a_head_with_one_length_and_its_body_is_split(noise: bytes, body: bytes) -> None:
    data = b"POST / HTTP/1.1\r\nContent-Length: %d\r\nx: y\r\n\r\n%b" % (len(body), body)
    assert split_head(data) == (b"POST / HTTP/1.1\r\nContent-Length: ", b"\r\nx: y\r\n\r\n")
    assert split_head(data + b"!") is None
    assert split_head(data.replace(b"x: y", b"content-length: 0")) is None
    assert split_head(noise) is None
