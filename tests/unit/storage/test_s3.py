"""Artifacts in an S3-compatible store, whose signatures Amazon's own library checks."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from polyroute.ports import Intake
from polyroute.storage.s3 import S3Blobs, S3Place
from polyroute.transport.client import ClientTransport
from polyroute.transport.sigv4 import SigningKey
from polyroute.types.errors import ErrorKind, PolyrouteError
from support.media_store import media_store
from support.s3_server import ACCESS_KEY, SECRET_KEY, S3Server

DATA = random.Random(7).randbytes(700_000)
INTAKE = Intake(origin="test")


@pytest.fixture
def bucket() -> Iterator[S3Server]:
    with S3Server() as server:
        yield server


def blobs_in(bucket: S3Server, scratch: Path, *, secret: str = SECRET_KEY, prefix: str = "a b/ü") -> S3Blobs:
    async def at_once(seconds: float) -> None:
        assert seconds > 0

    place = S3Place(bucket="media", prefix=prefix, endpoint=bucket.url, region=bucket.region, path_style=True)
    return S3Blobs(place, SigningKey(ACCESS_KEY, secret), ClientTransport(), scratch, pause=at_once)


async def test_up_down_by_parts_and_gone(bucket: S3Server, tmp_path: Path) -> None:
    async with media_store(tmp_path, blobs=blobs_in(bucket, tmp_path / "scratch")) as store:
        artifact = await store.artifacts.put(DATA, INTAKE)
        [path] = bucket.objects
        assert path.startswith(f"/media/a%20b/%C3%BC/{artifact.sha256[:2]}/{artifact.sha256}.")
        assert bucket.objects[path] == DATA
        assert await store.content(artifact.id) == DATA
        assert await store.content(artifact.id, 100_000, 100_010) == DATA[100_000:100_010]
        assert bucket.asked[-1][2] == "bytes=100000-100009"
        async with store.artifacts.path(artifact.id) as local:
            assert (local.suffix, local.read_bytes() == DATA) == (".bin", True)
        assert not local.exists()
        await store.artifacts.put(DATA, INTAKE)
        assert [method for method, _, _ in bucket.asked].count("PUT") == 1, "the same bytes are not sent again"
        assert await store.artifacts.delete(artifact.id)
        assert bucket.objects == {}
        assert list((tmp_path / "scratch").iterdir()) == []


async def test_an_overloaded_store_is_asked_again_and_a_broken_download_goes_on(
    bucket: S3Server, tmp_path: Path
) -> None:
    async with media_store(tmp_path, blobs=blobs_in(bucket, tmp_path / "scratch")) as store:
        bucket.faults = [503, 500]
        artifact = await store.artifacts.put(DATA, INTAKE)
        bucket.faults = [503, "cut", "cut"]
        assert await store.content(artifact.id) == DATA
        starts = [int((asked or "bytes=0-").removeprefix("bytes=").partition("-")[0]) for _, _, asked in bucket.asked]
        assert max(starts) > 0, "it went on from where it was"


async def test_a_store_that_cannot_be_used_leaves_nothing_behind(bucket: S3Server, tmp_path: Path, caplog) -> None:
    async with media_store(tmp_path, blobs=blobs_in(bucket, tmp_path / "scratch", secret="wrong")) as store:
        with pytest.raises(PolyrouteError) as caught:
            await store.artifacts.put(DATA, INTAKE)
        assert (caught.value.kind, "wrong" in caught.value.message) == (ErrorKind.INTERNAL, False)
        assert "SignatureDoesNotMatch" in caplog.text
        assert list((tmp_path / "scratch").iterdir()) == []
        assert await store.artifacts.list() == []
    async with media_store(tmp_path, blobs=blobs_in(bucket, tmp_path / "scratch")) as store:
        bucket.faults = [503] * 10
        with pytest.raises(PolyrouteError):
            await store.artifacts.put(DATA, INTAKE)
        bucket.faults = []
        assert (await store.artifacts.put(DATA, INTAKE)).size == len(DATA)


async def test_an_object_that_is_gone_is_not_found_and_stored_anew(bucket: S3Server, tmp_path: Path) -> None:
    async with media_store(tmp_path, blobs=blobs_in(bucket, tmp_path / "scratch", prefix="")) as store:
        artifact = await store.artifacts.put(DATA, INTAKE)
        bucket.objects.clear()
        with pytest.raises(PolyrouteError) as caught:
            await store.content(artifact.id)
        assert caught.value.kind is ErrorKind.NOT_FOUND
        again = await store.artifacts.put(DATA, INTAKE)
        assert (again.id, await store.content(again.id) == DATA) == (artifact.id, True)


def test_the_bucket_is_in_the_host_where_the_store_wants_it_so() -> None:
    place = S3Place(bucket="media", prefix="p", endpoint="https://s3.eu.amazonaws.com", region="eu", path_style=False)
    assert place.url("abcd.1") == "https://media.s3.eu.amazonaws.com/p/ab/abcd.1"
