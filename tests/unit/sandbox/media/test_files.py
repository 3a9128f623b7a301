"""The files are real: players and decoders read them whole; and every way in which a download can go wrong."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from polyroute.sandbox.media.artifacts import Artifact, audio, image, video
from support.media_sandbox import Client

Probe = Callable[[bytes], Awaitable[dict[str, Any]]]
FLUX = "/replicate/v1/models/black-forest-labs/flux-1.1-pro/predictions"
FILMS = [
    video("a", 1280, 720, 8.0, 24.0),
    video("b", 1366, 768, 6.0, 25.0, sound=False),
    video("c", 1920, 1080, 2.0, 30.0),
    video("d", 64, 48, 1.5, 24.0),
    video("e", 720, 1280, 5.0, 60.0),
]
SOUNDS = [
    audio(3.3, form, rate, kbits) for form, rate, kbits in [("mp3", 44_100, 128), ("mp3", 22_050, 32), ("wav", 8000, 0)]
]
SOUNDS += [audio(2.1, "opus"), audio(2.1, "flac", 24_000), audio(3.3, "mp3", 48_000, 320)]
PICTURES = [
    image(f"p{form}{wide}", wide, high, form)
    for form in ("png", "jpeg", "webp")
    for wide, high in [(640, 360), (77, 55)]
]


async def decoded(artifact: Artifact, folder: Path) -> bytes:
    """What ffmpeg complains about when it decodes all of the file."""
    if shutil.which("ffmpeg") is None:
        pytest.skip("ffmpeg is not installed")
    file = folder / f"file.{artifact.extension}"
    file.write_bytes(artifact.content())
    command = ["ffmpeg", "-v", "error", "-i", str(file), "-f", "null", "-"]
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    _, complaints = await process.communicate()
    assert process.returncode == 0
    return complaints


@pytest.mark.parametrize("artifact", FILMS, ids=str)
async def test_a_film_is_whole_and_has_its_size_length_and_rate(
    artifact: Artifact, probe: Probe, tmp_path: Path
) -> None:
    seen = await probe(artifact.content())
    picture = seen["streams"][0]
    assert (picture["codec_name"], picture["width"], picture["height"]) == ("h264", artifact.width, artifact.height)
    assert float(seen["format"]["duration"]) == pytest.approx(artifact.seconds, abs=0.01)
    assert int(picture["nb_frames"]) == round(artifact.seconds * artifact.frames_a_second)
    assert len(seen["streams"]) == (2 if artifact.sound else 1)
    assert seen["format"]["tags"]["comment"] == "Simulated by the Polyroute sandbox"
    assert await decoded(artifact, tmp_path) == b""


@pytest.mark.parametrize("artifact", SOUNDS, ids=str)
async def test_sound_is_whole_and_has_its_length(artifact: Artifact, probe: Probe, tmp_path: Path) -> None:
    seen = await probe(artifact.content())
    assert float(seen["format"]["duration"]) == pytest.approx(
        artifact.seconds, abs=0.2 if artifact.form == "flac" else 0.05
    )
    if artifact.form in ("mp3", "wav"):
        assert int(seen["streams"][0]["sample_rate"]) == artifact.rate
        assert any("imulated" in str(value) for value in seen["format"]["tags"].values())
    assert await decoded(artifact, tmp_path) == b""


@pytest.mark.parametrize("artifact", PICTURES, ids=str)
async def test_a_picture_has_its_size(artifact: Artifact, probe: Probe) -> None:
    stream = (await probe(artifact.content()))["streams"][0]
    assert (stream["width"], stream["height"]) == (artifact.width, artifact.height)


def test_files_are_the_same_every_time_and_differ_by_seed() -> None:
    assert video("a", 320, 180, 1.0) == video("a", 320, 180, 1.0)
    assert video("a", 320, 180, 1.0).content() != video("b", 320, 180, 1.0).content()
    assert image("a", 64, 64, "jpg").content() != image("b", 64, 64, "jpg").content()


async def made(client: Client, kind: str) -> str:
    await client.control(job_seconds=0, faults={"kind": kind})
    value = await client.call("POST", FLUX, {"input": {"prompt": "x"}}, 201, headers={"prefer": "wait"})
    output: str = value["output"]
    return output


async def test_downloads_go_wrong_as_asked(client: Client) -> None:
    async with client.http.get(await made(client, "redirected_file"), allow_redirects=False) as response:
        assert (response.status, response.headers["location"][:22]) == (302, "http://169.254.169.254")
    async with client.http.get(await made(client, "huge_file")) as response:
        assert int(response.headers["content-length"]) > 1 << 40
        with pytest.raises(aiohttp.ClientError):
            await response.read()
    async with client.http.get(await made(client, "cut_file")) as response:
        with pytest.raises(aiohttp.ClientError):
            await response.read()
    async with client.http.get(await made(client, "slow_file")) as response:
        assert len(await response.content.readany()) <= 1024 < int(response.headers["content-length"])
    assert (await made(client, "foreign_url")).startswith("https://files.example.invalid/")
    async with client.http.get(await made(client, "wrong_media_type")) as response:
        assert (response.content_type, (await response.read())[:9]) == ("image/webp", b"<!doctype")


async def test_a_part_of_a_file_can_be_asked_for(client: Client) -> None:
    url = await made(client, "duplicate_callback")
    whole = await client.call("GET", url)
    part = await client.call("GET", url, status=206, headers={"range": "bytes=4-11"})
    assert part == whole[4:12]
