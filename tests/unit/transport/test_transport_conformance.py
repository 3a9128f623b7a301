"""What `ports.Transport` promises, asked of both implementations, of servers that behave badly."""

from __future__ import annotations

import asyncio
import gzip
import zlib

import pytest

from polyroute.ports import Timeouts, Transport
from polyroute.transport.fields import header_value
from polyroute.types.errors import ErrorKind
from support.hostile_server import Peer, answering, hostile_server, repeating
from support.wire_calls import drain, failure_of, post, soon, whole

OK = b"HTTP/1.1 200 OK\r\n"
SIZED = OK + b"Content-Length: 5\r\n\r\nhello"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"


class Upload:
    """A request body of `count` blocks that can be sent again."""

    def __init__(self, block: bytes = b"x" * 65536, count: int = 40) -> None:
        self._block = block
        self._count = count
        self.given = 0

    @property
    def length(self) -> int:
        return len(self._block) * self._count

    def chunks(self):
        for _ in range(self._count):
            self.given += 1
            yield self._block


# ---------------------------------------------------------------- requests


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


# ---------------------------------------------------------------- answers


@pytest.mark.parametrize(
    ("raw", "body"),
    [
        (SIZED, b"hello"),
        (CHUNKED, b"hello world"),
        (OK + b"Connection: close\r\n\r\nuntil the end", b"until the end"),
        (b"HTTP/1.0 200 OK\r\n\r\nold", b"old"),
        (b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", b"ok"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + SIZED, b"hello"),
        (OK + b"CONTENT-LENGTH: 2\r\nX-EMPTY:\r\n\r\nok", b"ok"),
        (OK + b'transfer-encoding: chunked\r\n\r\n3;ext="a;b"\r\nabc\r\n0;last\r\nX-Trailer: 1\r\n\r\n', b"abc"),
        (OK + b"Content-Length: 0\r\n\r\n", b""),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n", b""),
    ],
    ids=["sized", "chunked", "close", "1.0", "no-reason", "1xx", "upper", "extensions", "empty", "204", "304"],
)
@pytest.mark.parametrize("bytewise", [False, True], ids=["at-once", "bytewise"])
async def test_understands_every_framing(transport: Transport, raw: bytes, body: bytes, bytewise: bool) -> None:
    pieces = [raw[at : at + 1] for at in range(len(raw))] if bytewise else [raw]
    async with hostile_server(answering(*pieces)) as server:
        assert await whole(transport, server.url) == body
        assert await drain(await post(transport, server.url)) == body


async def test_headers_come_in_order_in_lower_case_and_keep_duplicates(transport: Transport) -> None:
    raw = OK + b"Set-Cookie: a\r\nX-One: 1\r\nset-cookie: b\r\nContent-Length: 0\r\n\r\n"
    async with hostile_server(answering(raw)) as server:
        answer = await post(transport, server.url)
        await drain(answer)
    assert answer.status == 200
    assert answer.headers == [
        (b"set-cookie", b"a"),
        (b"x-one", b"1"),
        (b"set-cookie", b"b"),
        (b"content-length", b"0"),
    ]
    assert header_value(answer.headers, b"set-cookie") == b"a"
    assert header_value(answer.headers, b"x-two") is None


async def test_head_has_no_body(transport: Transport) -> None:
    async with hostile_server(answering(OK + b"Content-Length: 1000\r\nContent-Encoding: gzip\r\n\r\n")) as server:
        answer = await post(transport, server.url, b"", method="HEAD")
        assert await answer.read(soon(), 100) == b""
        assert header_value(answer.headers, b"content-length") == b"1000"


async def test_a_piece_is_there_as_soon_as_it_arrived(transport: Transport) -> None:
    go_on = asyncio.Event()

    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK + b"Transfer-Encoding: chunked\r\n\r\n")
        await go_on.wait()
        for word in (b"one", b"two"):
            go_on.clear()
            await peer.send(b"3\r\n" + word + b"\r\n")
            await go_on.wait()
        await peer.send(b"0\r\n\r\n")

    async with hostile_server(behave) as server:
        answer = await post(transport, server.url)
        for word in (b"one", b"two", b""):
            go_on.set()
            assert await answer.receive(soon()) == word
        assert await answer.receive(soon()) == b""


async def test_redirects_are_not_followed(transport: Transport) -> None:
    raw = b"HTTP/1.1 307 Moved\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
    async with hostile_server(answering(raw)) as server:
        answer = await post(transport, server.url)
        assert await drain(answer) == b""
        assert answer.status == 307


# ---------------------------------------------------------------- compression that nobody asked for

TEXT = b"the same words again and again " * 500
RAW_DEFLATE = zlib.compressobj(wbits=-15)


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        (b"gzip", gzip.compress(TEXT)),
        (b"GZIP", gzip.compress(TEXT[:5000]) + gzip.compress(TEXT[5000:])),
        (b"deflate", zlib.compress(TEXT)),
        (b"deflate", RAW_DEFLATE.compress(TEXT) + RAW_DEFLATE.flush()),
        (b"identity", TEXT),
    ],
    ids=["gzip", "members", "zlib", "raw", "identity"],
)
async def test_compressed_answers_are_decoded(transport: Transport, encoding: bytes, packed: bytes) -> None:
    head = OK + b"Content-Encoding: %b\r\nContent-Length: %d\r\n\r\n" % (encoding, len(packed))
    pieces = [packed[at : at + 1] for at in range(40)] + [packed[40:]]
    async with hostile_server(answering(head, *pieces)) as server:
        answer = await post(transport, server.url)
        if encoding != b"identity":
            assert header_value(answer.headers, b"content-encoding") is None
            assert header_value(answer.headers, b"content-length") is None
        assert await drain(answer) == TEXT
        assert await whole(transport, server.url) == TEXT


async def test_an_encoding_that_we_do_not_know_is_a_bad_response(transport: Transport) -> None:
    raw = OK + b"Content-Encoding: br\r\nContent-Length: 3\r\n\r\nabc"
    async with hostile_server(answering(raw, then=Peer.gone)) as server:
        assert (await failure_of(post(transport, server.url))).kind is ErrorKind.BAD_RESPONSE


async def test_broken_compression(transport: Transport) -> None:
    packed = gzip.compress(TEXT)
    cut = OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % (len(packed) - 9) + packed[:-9]
    async with hostile_server(answering(cut)) as server:
        assert (await failure_of(whole(transport, server.url))).kind is ErrorKind.TRUNCATED
    lie = OK + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello"
    async with hostile_server(answering(lie)) as server:
        assert (await failure_of(whole(transport, server.url))).kind is ErrorKind.BAD_RESPONSE


async def test_a_compression_bomb_stops_at_the_limit(transport: Transport) -> None:
    packed = gzip.compress(bytes(50_000_000))
    raw = OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed) + packed
    async with hostile_server(answering(raw)) as server:
        answer = await post(transport, server.url)
        assert len(await answer.receive(soon())) <= 256 * 1024
        assert (await failure_of(answer.read(soon(), 1_000_000))).kind is ErrorKind.BAD_RESPONSE


# ---------------------------------------------------------------- answers that break


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


# ---------------------------------------------------------------- patience

BRIEF = 0.05


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
    async def behave(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        for _ in range(4):
            await peer.reader.readexactly(400 * 65536 // 4)
            await asyncio.sleep(0.1)  # the time that a slow line takes
        await peer.send(SIZED)

    async with hostile_server(behave) as server:
        assert await whole(transport, server.url, Upload(count=400), timeouts=Timeouts(headers=0.3)) == b"hello"


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
