"""The safe fetcher against servers that lie, dawdle, and point elsewhere."""

from __future__ import annotations

import asyncio
import base64
import gzip
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from polyroute.ports import FetchOrder, Intake
from polyroute.transport.fetch import FetchPolicy, SafeFetcher
from polyroute.transport.guard import read_allow_list
from polyroute.transport.tls import client_context
from polyroute.types.artifacts import Artifact
from polyroute.types.errors import AttemptFailed, ErrorKind, Failure, PolyrouteError
from support.hostile_server import Peer, answering, hostile_server
from support.media_files import PNG, mp4
from support.media_store import MediaStore, media_store
from support.warped_clock import warped_clock

INTAKE = Intake(origin="test", param="image")
LOCAL = read_allow_list(["127.0.0.1"])
"""127.0.0.1 stands for the public network; 127.0.0.2 stays forbidden."""


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[MediaStore]:
    async with media_store(tmp_path) as made:
        yield made


def ok(body: bytes, *headers: bytes, length: int | None = None) -> bytes:
    fields = b"".join(header + b"\r\n" for header in headers)
    return b"HTTP/1.1 200 OK\r\n%bcontent-length: %d\r\n\r\n" % (fields, len(body) if length is None else length) + body


def redirect(url: str) -> bytes:
    return b"HTTP/1.1 302 Found\r\nlocation: %b\r\ncontent-length: 0\r\n\r\n" % url.encode()


def fetcher(store: MediaStore, *, resolves: dict[str, Sequence[str]] | None = None, **policy: object) -> SafeFetcher:
    async def resolve(host: str, port: int) -> Sequence[str]:
        found = (resolves or {}).get(host)
        if found is None:
            raise OSError("no such name")
        return found

    return SafeFetcher(store.artifacts, FetchPolicy(**{"allowed": LOCAL, **policy}), resolve=resolve)  # type: ignore[arg-type]


def from_caller(url: str, **more: object) -> FetchOrder:
    return FetchOrder(**{"url": url, "intake": INTAKE, "from_caller": True, **more})  # type: ignore[arg-type]


async def refusal(made: SafeFetcher, order: FetchOrder) -> PolyrouteError:
    with pytest.raises(PolyrouteError) as caught:
        await made.fetch(order)
    return caught.value


async def failure(made: SafeFetcher, order: FetchOrder) -> Failure:
    with pytest.raises(AttemptFailed) as caught:
        await made.fetch(order)
    return caught.value.failure


async def test_what_is_fetched_is_in_the_store(store: MediaStore) -> None:
    async with hostile_server(answering(ok(PNG, b"content-type: text/html"))) as server:
        artifact = await fetcher(store).fetch(from_caller(f"{server.url}/a.mp4?x=1"))
    assert (artifact.media_type, artifact.width, artifact.height, artifact.size) == ("image/png", 3, 2, len(PNG))
    assert await store.content(artifact.id) == PNG


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.2/", "http://[::1]/", "http://[::ffff:127.0.0.2]/", "http://169.254.169.254/latest/meta-data",
        "http://10.0.0.1/", "http://[fd00:ec2::254]/", "http://rebinding.test/", "http://mixed.test/",
    ],
)  # fmt: skip
async def test_addresses_that_are_not_public_are_never_connected_to(store: MediaStore, url: str) -> None:
    names = {"rebinding.test": ["127.0.0.2"], "mixed.test": ["8.8.8.8", "10.0.0.7"]}
    error = await refusal(fetcher(store, resolves=names), from_caller(url))
    assert (error.kind, error.param) == (ErrorKind.INVALID_REQUEST, "image")
    assert "'image' cannot be fetched: '" in error.message
    assert "only public ones" in error.message
    assert store.stored() == []


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("file:///etc/passwd", "http:// or https://"), ("ftp://a/b", "http:// or https://"), ("image.png", "http://"),
        ("http://user:secret@a/", "user name"), ("http://a b/", "percent-encoded"), ("gopher://x", "http://"),
        ("http://nowhere.test/", "cannot be resolved"), ("data:image/png;base64,@@@@", "not valid base64"),
        ("data:image/png", "no comma"),
    ],
)  # fmt: skip
async def test_what_is_no_url_is_refused_without_repeating_it(store: MediaStore, url: str, words: str) -> None:
    error = await refusal(fetcher(store), from_caller(url))
    assert (error.kind, error.param) == (ErrorKind.INVALID_REQUEST, "image")
    assert words in error.message
    assert "secret" not in error.message


async def test_a_name_is_resolved_once_and_the_connection_goes_where_it_was_checked(store: MediaStore) -> None:
    asked: list[str] = []

    async def rebinding(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["127.0.0.2"]

    hosts: list[bytes] = []

    async def behave(peer: Peer) -> None:
        _, headers, _ = await peer.request()
        hosts.append(headers[b"host"])
        await peer.send(ok(PNG))

    async with hostile_server(behave) as server:
        made = SafeFetcher(store.artifacts, FetchPolicy(allowed=LOCAL), resolve=rebinding)
        await made.fetch(from_caller(f"http://rebinding.test:{server.port}/a.png"))
        assert asked == ["rebinding.test"]
        assert hosts == [b"rebinding.test:%d" % server.port]
        await refusal(made, from_caller(f"http://rebinding.test:{server.port}/a.png"))


async def test_redirects_are_checked_each_and_counted(store: MediaStore) -> None:
    async with hostile_server(answering(redirect("http://169.254.169.254/latest/meta-data"))) as server:
        assert "link-local" in (await refusal(fetcher(store), from_caller(server.url))).message
    async with hostile_server(answering(redirect("file:///etc/passwd"))) as server:
        assert "http://" in (await refusal(fetcher(store), from_caller(server.url))).message
    async with hostile_server(answering(redirect("/again"))) as server:
        error = await refusal(fetcher(store, redirects=2), from_caller(server.url))
        assert ("redirected more than 2 times" in error.message, server.connections) == (True, 3)
    async with hostile_server(answering(ok(PNG))) as last, hostile_server(answering(redirect(last.url))) as first:
        assert (await fetcher(store).fetch(from_caller(first.url))).media_type == "image/png"


async def test_credentials_stay_with_the_host_that_they_are_for(store: MediaStore) -> None:
    seen: list[bytes | None] = []

    async def final(peer: Peer) -> None:
        _, headers, _ = await peer.request()
        seen.append(headers.get(b"authorization"))
        await peer.send(ok(PNG))

    async with hostile_server(final) as last:

        async def moving(peer: Peer) -> None:
            line, headers, _ = await peer.request()
            seen.append(headers.get(b"authorization"))
            await peer.send(redirect("/here" if b"/start" in line else last.url))

        async with hostile_server(moving) as first:
            headers = [(b"authorization", b"Bearer secret")]
            order = FetchOrder(url=f"{first.url}/start", intake=INTAKE, headers=headers, trusted=(first.url,))
            await fetcher(store).fetch(order)
    assert seen == [b"Bearer secret", b"Bearer secret", None]


async def test_providers_must_use_https_unless_they_are_trusted_or_allowed(store: MediaStore) -> None:
    async with hostile_server(answering(ok(PNG))) as server:
        public = fetcher(store, allowed=read_allow_list([]), resolves={"cdn.test": ["8.8.8.8"]})
        told = await failure(public, FetchOrder(url="http://cdn.test/a.png", intake=INTAKE))
        assert (told.kind, "only https" in told.message) == (ErrorKind.BAD_RESPONSE, True)
        closed = fetcher(store, allowed=read_allow_list([]))
        assert (await failure(closed, FetchOrder(url=server.url, intake=INTAKE))).kind is ErrorKind.BAD_RESPONSE
        await closed.fetch(FetchOrder(url=f"{server.url}/x", intake=INTAKE, trusted=(f"{server.url}/v1",)))
        await fetcher(store).fetch(FetchOrder(url=server.url, intake=INTAKE))
        other = f"http://127.0.0.1:{server.port + 1}/"
        assert (await failure(closed, FetchOrder(url=other, intake=INTAKE, trusted=(server.url,)))).kind is not None


async def test_https_is_checked_by_name_though_connected_by_address(store: MediaStore, tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "crt"), "-days", "2", "-subj", "/CN=x"]
    await asyncio.to_thread(
        subprocess.run, [*command, "-addext", "subjectAltName=DNS:cdn.test"], check=True, capture_output=True
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "crt", tmp_path / "key")

    async def resolve(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.1"]

    trusting = client_context(ca_file=str(tmp_path / "crt"))
    async with hostile_server(answering(ok(PNG)), context=context) as server:
        made = SafeFetcher(store.artifacts, FetchPolicy(allowed=LOCAL), resolve=resolve, ssl_context=trusting)
        await made.fetch(FetchOrder(url=f"https://cdn.test:{server.port}/", intake=INTAKE))
        wrong = FetchOrder(url=f"https://other.test:{server.port}/", intake=INTAKE)
        assert "TLS" in (await failure(made, wrong)).message


class Noticing:
    """A store that tells when the first bytes of a download have come."""

    def __init__(self, store: MediaStore) -> None:
        self.begun = asyncio.Event()
        self._put = store.artifacts.put

    async def put(self, chunks: AsyncIterator[bytes], intake: Intake) -> Artifact:
        async def noticed() -> AsyncIterator[bytes]:
            async for chunk in chunks:
                self.begun.set()
                yield chunk

        return await self._put(noticed(), intake)


async def test_a_drip_ends_at_the_deadline(store: MediaStore) -> None:
    with warped_clock() as clock:
        for order_timeout in (None, 40.0):
            noticing = Noticing(store)

            async def drip(peer: Peer, begun: asyncio.Event = noticing.begun) -> None:
                await peer.request()
                await peer.send(ok(PNG, length=100_000)[:-1])
                await begun.wait()
                clock.jump(61.0)
                while True:
                    await peer.send(b"x")
                    await asyncio.sleep(0)

            async with hostile_server(drip) as server:
                made = SafeFetcher(noticing, FetchPolicy(allowed=LOCAL, timeout=60.0, idle=1e6))  # type: ignore[arg-type] # as much as is used
                if order_timeout is None:
                    assert "the deadline passed" in (await refusal(made, from_caller(server.url))).message
                else:
                    order = FetchOrder(url=server.url, intake=INTAKE, timeout=order_timeout)
                    assert (await failure(made, order)).kind is ErrorKind.TIMEOUT
    assert store.stored() == []


async def test_silence_ends_a_download_before_its_deadline(store: MediaStore) -> None:
    async with hostile_server(answering(ok(PNG, length=100), then=Peer.gone)) as server:
        made = fetcher(store, idle=0.1, timeout=1e6)
        assert "timed out after 0.1 s" in (await refusal(made, from_caller(server.url))).message
    assert store.stored() == []


@pytest.mark.parametrize(
    "host",
    [
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "0x7f.1",
        "127.1",
        "localhost",
        "LOCALHOST",
        "[::ffff:7f00:1]",
        "[::]",
        "0",
    ],
)
async def test_loopback_in_every_spelling_is_loopback(store: MediaStore, host: str) -> None:
    async with hostile_server(answering(ok(PNG))) as server:
        port = server.url.rpartition(":")[2].strip("/")
        made = SafeFetcher(store.artifacts, FetchPolicy())  # with the system's own resolver
        for url in (f"http://{host}:{port}/a.png", f"https://{host}:{port}/a.png"):
            told = (await refusal(made, from_caller(url))).message
            assert "only public ones" in told or "cannot be resolved" in told or "is no" in told
            if host not in ("[::]", "0"):
                assert "loopback" in told
            with pytest.raises(PolyrouteError) as refused:
                await made.check(url, "image")
            assert refused.value.param == "image"
    assert store.stored() == []


async def test_a_redirect_may_lead_to_another_port_only_where_the_address_may_be_asked(store: MediaStore) -> None:
    async with hostile_server(answering(ok(PNG))) as inner:
        for target in (
            inner.url.replace("127.0.0.1", "127.0.0.2"),
            "http://[::ffff:127.0.0.2]/",
            "http://user:pw@8.8.8.8/",
        ):
            async with hostile_server(answering(redirect(target))) as server:
                error = await refusal(fetcher(store), from_caller(server.url))
                assert error.kind is ErrorKind.INVALID_REQUEST
                assert "pw" not in error.message
    assert store.stored() == []


async def test_what_is_only_checked_is_not_fetched(store: MediaStore) -> None:
    made = fetcher(store, resolves={"rebinding.test": ["10.0.0.1"], "fine.test": ["8.8.8.8"]})
    await made.check("https://fine.test/a.png", "image")
    await made.check("https://unknown.test/a.png", "image")
    with pytest.raises(PolyrouteError, match="private"):
        await made.check("https://rebinding.test/a.png", "image")
    with pytest.raises(PolyrouteError, match="http"):
        await made.check("file:///etc/passwd", "image")


async def test_a_length_that_lies_is_not_believed(store: MediaStore) -> None:
    async with hostile_server(answering(ok(PNG, length=len(PNG) + 1))) as server:
        assert "broke off" in (await refusal(fetcher(store), from_caller(server.url))).message
        told = await failure(fetcher(store), FetchOrder(url=server.url, intake=INTAKE))
        assert told.kind is ErrorKind.TRUNCATED
    async with hostile_server(answering(ok(PNG, length=1 << 40), then=Peer.gone)) as server:
        error = await refusal(fetcher(store, max_size=1 << 20), from_caller(server.url))
        assert (error.kind, "larger than 1 MB" in error.message) == (ErrorKind.TOO_LARGE, True)

    async def endless(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            await peer.send(b"10000\r\n" + bytes(0x10000) + b"\r\n")

    async with hostile_server(endless) as server:
        assert (await refusal(fetcher(store, max_size=1 << 20), from_caller(server.url))).kind is ErrorKind.TOO_LARGE
    assert store.stored() == []


async def test_a_small_answer_cannot_unpack_to_a_large_file(store: MediaStore) -> None:
    bomb = gzip.compress(bytes(20 << 20), 1)
    async with hostile_server(answering(ok(bomb, b"content-encoding: gzip"), then=Peer.gone)) as server:
        error = await refusal(fetcher(store, max_size=1 << 20), from_caller(server.url))
    assert error.kind is ErrorKind.TOO_LARGE
    assert store.stored() == []


async def test_a_page_where_a_video_was_due_is_no_video(store: MediaStore) -> None:
    page = b"<!DOCTYPE html><html><body>Sign in</body></html>"
    intake = Intake(origin="test", expected="video", param="video")
    async with hostile_server(answering(ok(page, b"content-type: video/mp4"))) as server:
        error = await refusal(fetcher(store), from_caller(server.url, intake=intake))
        assert "'video' is text/html; video is expected here: MP4" in error.message
        told = await failure(fetcher(store), FetchOrder(url=server.url, intake=intake))
        assert (told.kind, "text/html" in told.message) == (ErrorKind.BAD_RESPONSE, True)
    async with hostile_server(answering(ok(mp4(), b"content-type: text/html"))) as server:
        artifact = await fetcher(store).fetch(FetchOrder(url=server.url, intake=intake))
        assert (artifact.media_type, artifact.duration_s, artifact.fps) == ("video/mp4", 2.0, 25.0)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(404, ErrorKind.NOT_FOUND), (403, ErrorKind.NOT_FOUND), (410, ErrorKind.NOT_FOUND), (500, ErrorKind.UNAVAILABLE),
     (429, ErrorKind.UNAVAILABLE), (204, ErrorKind.BAD_RESPONSE), (400, ErrorKind.BAD_RESPONSE)],
)  # fmt: skip
async def test_answers_other_than_200(store: MediaStore, status: int, kind: ErrorKind) -> None:
    async with hostile_server(answering(b"HTTP/1.1 %d X\r\ncontent-length: 0\r\n\r\n" % status)) as server:
        told = await failure(fetcher(store), FetchOrder(url=server.url, intake=INTAKE))
        assert (told.kind, told.http_status) == (kind, status)
        error = await refusal(fetcher(store), from_caller(server.url))
        assert (error.kind, f"answered {status}" in error.message) == (ErrorKind.INVALID_REQUEST, True)


async def test_data_uris_are_files_too(store: MediaStore) -> None:
    made = fetcher(store)
    for url in (
        "data:image/jpeg;base64," + base64.b64encode(PNG).decode(),
        "data:;base64," + base64.b64encode(PNG).decode().rstrip("="),
    ):
        assert (await made.fetch(from_caller(url))).media_type == "image/png"
    plain = await made.fetch(from_caller("data:text/vtt,WEBVTT%0A%0A"))
    assert await store.content(plain.id) == b"WEBVTT\n\n"
    long = "data:image/png;base64," + "A" * (4 << 20)
    assert (await refusal(fetcher(store, max_size=1 << 20), from_caller(long))).kind is ErrorKind.TOO_LARGE
