"""What both transports make of answers, however they are framed and packed."""

from __future__ import annotations

import asyncio
import gzip
import zlib

import pytest

from polyroute.ports import Transport
from polyroute.transport.fields import header_value
from polyroute.types.errors import ErrorKind
from support.hostile_server import Peer, answering, hostile_server
from support.wire_calls import CHUNKED, OK, SIZED, drain, failure_of, post, soon, whole


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
