"""Stored media as the settings put it together."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from polyroute.composition.media import Media, open_blobs
from polyroute.ports import FetchOrder, Intake
from polyroute.settings import Settings, load_settings
from polyroute.storage.database import StorageError
from polyroute.types.errors import PolyrouteError
from support.hostile_server import answering, hostile_server
from support.media_files import PNG
from support.prepared_state import new_database
from support.s3_server import ACCESS_KEY, SECRET_KEY, S3Server


def settings_of(folder: Path, text: str, environment: dict[str, str] | None = None) -> Settings:
    path = folder / "polyroute.yaml"
    path.write_text(text)
    return load_settings(path, environment or {})


def media_of(folder: Path, text: str, environment: dict[str, str] | None = None) -> Media:
    database = new_database(folder / "media.db")
    return Media(settings_of(folder, text, environment), database, lambda: b"pepper" * 6)


async def test_what_has_expired_goes_while_the_gateway_serves(tmp_path: Path) -> None:
    media = media_of(tmp_path, f"storage: {{artifacts: {tmp_path}/files}}\nartifacts: {{prune_every: 0.01}}\n")
    made = await media.artifacts.put(PNG, Intake(origin="test", retain=-1))
    looked, prune = asyncio.Event(), media.artifacts.prune

    async def watched() -> tuple[int, int]:
        found = await prune()
        looked.set()
        return found

    media.artifacts.prune = watched  # type: ignore[method-assign]
    media.start()
    await asyncio.wait_for(looked.wait(), 20)
    assert await media.artifacts.stat(made.id) is None
    await media.stop()
    assert not [path for path in (tmp_path / "files").rglob("*") if path.is_file()]


async def test_the_limits_of_fetching_are_those_of_the_settings(tmp_path: Path) -> None:
    text = f"storage: {{artifacts: {tmp_path}/files}}\nfetch: {{allow: [127.0.0.1], max_size_mb: 1}}\n"
    media = media_of(tmp_path, text)
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n"
    intake = Intake(origin="test")
    async with hostile_server(answering(answer % len(PNG) + PNG)) as server:
        assert (await media.fetcher.fetch(FetchOrder(url=server.url, intake=intake))).media_type == "image/png"
    async with hostile_server(answering(answer % ((1 << 20) + 1))) as server:
        with pytest.raises(PolyrouteError, match="larger than 1 MB"):
            await media.fetcher.fetch(FetchOrder(url=server.url, intake=intake, from_caller=True))
    with pytest.raises(PolyrouteError, match=r"fetch\.allow"):
        await media.fetcher.fetch(FetchOrder(url="http://127.0.0.2/", intake=intake, from_caller=True))
    await media.stop()


async def test_a_bucket_by_its_settings(tmp_path: Path) -> None:
    with S3Server() as bucket:
        text = f"storage: {{artifacts: s3://media/own, s3: {{endpoint: '{bucket.url}/', region: {bucket.region}}}}}\n"
        environment = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
        media = media_of(tmp_path, text, environment)
        made = await media.artifacts.put(PNG, Intake(origin="test"))
        assert [path.startswith("/media/own/") for path in bucket.objects] == [True]
        assert b"".join([block async for block in media.artifacts.open(made.id)]) == PNG
        await media.stop()


def test_a_bucket_without_credentials_is_refused_with_what_to_do(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "storage: {artifacts: s3://media, s3: {secret_key: hidden-secret}}\n")
    with pytest.raises(StorageError, match="AWS_ACCESS_KEY_ID") as caught:
        open_blobs(settings)
    assert "hidden-secret" not in str(caught.value)
