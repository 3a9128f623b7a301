"""The artifact store: what goes in comes out, once, for as long as it should, whatever breaks in between."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from polyroute.ports import Intake
from polyroute.storage import schema
from polyroute.storage.media_rows import ARTIFACT_COLUMNS, FILE_COLUMNS
from polyroute.types.errors import ErrorKind, PolyrouteError
from support.media_files import PNG, mp4, png, wav
from support.media_store import MediaStore, media_store

INTAKE = Intake(origin="test")
UPLOAD = Intake(origin="upload", retain=3600)


class Clock:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(tmp_path: Path, database_url: str, clock: Clock) -> AsyncIterator[MediaStore]:
    async with media_store(tmp_path, clock=clock, url=database_url) as made:
        yield made


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def breaking(part: bytes) -> AsyncIterator[bytes]:
    yield part
    raise ConnectionResetError


async def refusal(store: MediaStore, data: bytes, **intake: object) -> PolyrouteError:
    with pytest.raises(PolyrouteError) as caught:
        await store.artifacts.put(data, Intake(**{"origin": "test", "param": "image", **intake}))  # type: ignore[arg-type]
    return caught.value


def test_the_columns_are_the_tables() -> None:
    assert {*ARTIFACT_COLUMNS} == {column.name for column in schema.artifacts.columns}
    assert {*FILE_COLUMNS} == {column.name for column in schema.files.columns}


async def test_what_goes_in_comes_out_with_what_it_is(store: MediaStore, clock: Clock) -> None:
    artifact = await store.artifacts.put(pieces(PNG[:5], b"", PNG[5:]), INTAKE)
    digest = hashlib.sha256(PNG).hexdigest()
    assert artifact.id == f"art_{digest[:40]}"
    assert (artifact.sha256, artifact.size, artifact.media_type) == (digest, len(PNG), "image/png")
    assert (artifact.family, artifact.width, artifact.height) == ("image", 3, 2)
    assert (artifact.created_at, artifact.expires_at, artifact.origin) == (clock.now, clock.now + 1000, "test")
    assert await store.artifacts.stat(artifact.id) == artifact
    assert await store.content(artifact.id) == PNG
    assert await store.content(artifact.id, 1, 4) == b"PNG"
    assert await store.content(artifact.id, 60, 9999) == PNG[60:]
    async with store.artifacts.path(artifact.id) as path:
        assert (path.suffix, path.read_bytes()) == (".png", PNG)
        assert path.stat().st_mode & 0o222 == 0
        await store.artifacts.delete(artifact.id)
        assert path.read_bytes() == PNG, "it lasts as long as it is used"
    assert store.stored() == []


async def test_the_same_bytes_are_stored_once_and_kept_for_the_longer_time(store: MediaStore, clock: Clock) -> None:
    first = await store.artifacts.put(PNG, INTAKE)
    clock.now += 10
    again = await store.artifacts.put(pieces(PNG), Intake(origin="other", retain=5))
    assert (again.id, again.expires_at, len(store.stored())) == (first.id, first.expires_at, 1)
    longer = await store.artifacts.put(PNG, Intake(origin="other", retain=5000))
    assert longer.expires_at == clock.now + 5000


async def test_the_same_bytes_at_once_are_stored_once(store: MediaStore) -> None:
    made = await asyncio.gather(*(store.artifacts.put(wav(0.5), INTAKE) for _ in range(8)))
    assert len({artifact.id for artifact in made}) == 1
    assert len(store.stored()) == 1
    assert await store.content(made[0].id) == wav(0.5)


async def test_what_broke_off_leaves_nothing_behind(store: MediaStore) -> None:
    with pytest.raises(ConnectionResetError):
        await store.artifacts.put(breaking(PNG), INTAKE)
    assert store.stored() == []


async def test_a_crash_before_the_row_is_cleared_up_a_day_later(store: MediaStore, clock: Clock) -> None:
    async def crash(name: str, file: Path, sha256: str) -> None:
        await type(store.blobs).add(store.blobs, name, file, sha256)
        raise SystemExit

    store.blobs.add = crash  # type: ignore[method-assign]
    store.index.abandon = lambda blob: None  # type: ignore[method-assign] # as when the process is killed
    with pytest.raises(SystemExit):
        await store.artifacts.put(PNG, INTAKE)
    half = store.folder / ".incoming" / "half"
    half.write_bytes(b"x")
    assert len(store.stored()) == 2
    clock.now += 3600
    await store.artifacts.prune()
    assert len(store.stored()) == 2
    clock.now = half.stat().st_ctime + 2 * 86_400
    await store.artifacts.prune()
    assert store.stored() == []


async def test_bytes_that_an_operator_deleted_are_not_found_and_stored_anew(store: MediaStore) -> None:
    artifact = await store.artifacts.put(PNG, INTAKE)
    store.stored()[0].unlink()
    with pytest.raises(PolyrouteError, match="gone from the store"):
        await store.content(artifact.id)
    with pytest.raises(PolyrouteError, match="gone from the store"):
        async with store.artifacts.path(artifact.id):
            pass
    assert (await store.artifacts.put(PNG, INTAKE)).id == artifact.id
    assert await store.content(artifact.id) == PNG


async def test_limits(store: MediaStore) -> None:
    big = await refusal(store, bytes((10 << 20) + 1))
    assert (big.kind, big.param, "larger than 10 MB" in big.message) == (ErrorKind.TOO_LARGE, "image", True)
    assert (await refusal(store, b"12345", limit=4)).kind is ErrorKind.TOO_LARGE
    assert "is empty" in (await refusal(store, b"")).message
    assert "1001 x 1000 pixels" in (await refusal(store, png(1001, 1000))).message
    assert "broken or cut off" in (await refusal(store, PNG[:18])).message
    wrong = await refusal(store, wav(0.1), expected="image")
    assert "'image' is audio/wav; image is expected here: PNG" in wrong.message
    assert "of an unknown format" in (await refusal(store, bytes(100), expected="video", declared="video/mp4")).message
    assert store.stored() == []


async def test_what_expires_is_pruned_and_what_is_kept_is_not(store: MediaStore, clock: Clock) -> None:
    short = await store.artifacts.put(PNG, Intake(origin="test", retain=10))
    kept = await store.artifacts.put(wav(0.1), Intake(origin="test", retain=10))
    held = await store.artifacts.put(mp4(), Intake(origin="test", retain=10))
    await store.artifacts.keep(kept.id, clock.now + 500)
    await store.files.add(held, filename="a.mp4", purpose="user_data", key_id="k")
    assert await store.artifacts.prune() == (0, 0)
    clock.now += 11
    assert await store.artifacts.prune() == (1, len(PNG))
    assert await store.artifacts.stat(short.id) is None
    assert not await store.artifacts.delete(held.id), "a file holds it"
    clock.now += 1000
    assert await store.artifacts.prune() == (1, kept.size)
    assert await store.content(held.id) == mp4()


async def test_a_store_without_retention_keeps_for_ever(tmp_path: Path, clock: Clock) -> None:
    async with media_store(tmp_path, clock=clock, retain=None) as store:
        artifact = await store.artifacts.put(PNG, INTAKE)
        clock.now += 1e9
        assert await store.artifacts.prune() == (0, 0)
        again = await store.artifacts.put(PNG, Intake(origin="x", retain=5))
        assert (artifact.expires_at, again.expires_at) == (None, None)


async def test_files_belong_to_keys_expire_and_take_their_bytes_along(store: MediaStore, clock: Clock) -> None:
    artifact = await store.artifacts.put(PNG, UPLOAD)
    mine = await store.files.add(artifact, filename="a.png", purpose="vision", key_id="k1")
    theirs = await store.files.add(
        artifact, filename="b.png", purpose="vision", key_id=None, expires_at=clock.now + 7200
    )
    assert await store.files.find(mine.id, "k1") == mine
    assert await store.files.find(mine.id, "k2") is None
    assert await store.files.find(mine.id, None) is None
    assert await store.files.find(mine.id, None, any_key=True) == mine
    assert await store.files.list("k1") == [mine]
    assert not await store.files.remove(mine.id, "k2")
    assert await store.files.remove(mine.id, "k1")
    assert await store.content(artifact.id) == PNG, "another file holds it"
    clock.now += 7201
    assert await store.files.find(theirs.id, None) is None
    assert await store.artifacts.prune() == (1, len(PNG))
    last = await store.files.add(await store.artifacts.put(PNG, UPLOAD), filename="c", purpose="batch", key_id="k")
    assert await store.files.remove(last.id, "k")
    assert store.stored() == [], "nothing else keeps it, so it goes at once"
    produced = await store.artifacts.put(PNG, INTAKE)
    named = await store.files.add(produced, filename="d", purpose="batch", key_id="k")
    await store.files.remove(named.id, "k")
    assert await store.content(produced.id) == PNG, "what a job made stays for its own time"


async def test_urls_are_signed_for_one_file_and_a_time(store: MediaStore, clock: Clock) -> None:
    path = store.artifacts.sign("art_1", 100)
    _, _, query = path.partition("?expires=")
    expires, _, signature = query.partition("&signature=")
    assert path.startswith("/v1/files/art_1/content?")
    assert store.artifacts.verify("art_1", expires, signature)
    assert not store.artifacts.verify("art_2", expires, signature)
    assert not store.artifacts.verify("art_1", str(int(expires) + 1), signature)
    assert not store.artifacts.verify("art_1", expires, signature[:-1] + "ü")
    assert not store.artifacts.verify("art_1", "", "")
    clock.now += 101
    assert not store.artifacts.verify("art_1", expires, signature)


async def test_a_folder_that_cannot_be_written_is_ours_to_mend(tmp_path: Path, caplog) -> None:
    if os.geteuid() == 0:
        (tmp_path / "artifacts").write_text("a file where the folder should be")
    else:
        (tmp_path / "artifacts").mkdir(mode=0o500)
    async with media_store(tmp_path) as store:
        with pytest.raises(PolyrouteError) as caught:
            await store.artifacts.put(PNG, INTAKE)
    assert caught.value.kind is ErrorKind.INTERNAL
    assert str(tmp_path) not in caught.value.message
    assert "artifact store cannot be used" in caplog.text
