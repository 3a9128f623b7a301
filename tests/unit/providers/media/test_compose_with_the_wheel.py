"""The ffmpeg that the extra `media` brings, without any of the system's: it comes alone, and tells itself what files are."""

from __future__ import annotations

from pathlib import Path

import pytest

from polyroute.mediainfo import FileBytes, inspect_media
from polyroute.providers.media.ffmpeg.tools import find_ffmpeg, probe, tools_for
from support.media_files import png, wav
from support.media_gateway import media_gateway

wheel = pytest.importorskip("imageio_ffmpeg")


def test_it_is_found_where_the_system_has_none() -> None:
    found = find_ffmpeg("/nonexistent")
    assert found is not None
    assert Path(found) == Path(wheel.get_ffmpeg_exe())
    assert tools_for(found).ffprobe is None


async def test_it_tells_what_files_are(tmp_path: Path) -> None:
    tools = tools_for(wheel.get_ffmpeg_exe())
    (tmp_path / "a.png").write_bytes(png(40, 24))
    (tmp_path / "a.wav").write_bytes(wav(1.5))
    picture = await probe(tools, tmp_path / "a.png", "picture")
    assert (picture.width, picture.height, picture.still, picture.audio) == (40, 24, True, False)
    sound = await probe(tools, tmp_path / "a.wav", "sound")
    assert (sound.picture, sound.audio, round(sound.duration or 0, 2)) == (False, True, 1.5)


async def test_it_composes_through_the_gateway(tmp_path: Path) -> None:
    options = {"providers": {"ffmpeg": {"options": {"binary": wheel.get_ffmpeg_exe()}}}}
    async with media_gateway(tmp_path, options) as gateway:
        ids = []
        for name, content in (("a.png", png(64, 48)), ("a.wav", wav(1.0))):
            upload = {"file": (name, content, "application/octet-stream")}
            made = await gateway.post("/v1/files", files=upload, data={"purpose": "user_data"})
            ids.append(made.json()["id"])
        timeline = {
            "clips": [{"source": ids[0], "duration": 0.6}], "audio": [{"source": ids[1], "end": 0.6}],
            "overlays": [{"text": "50% of “it”: it's real", "position": "bottom"}], "fps": 25, "loudness": -16,
        }  # fmt: skip
        job = await gateway.post("/v1/compose", headers={"prefer": "wait=30"}, json={"timeline": timeline})
        told = job.json()
        assert told["status"] == "succeeded", told
        [artifact] = told["artifacts"]
        film = await gateway.download(artifact["url"])
    facts = inspect_media(FileBytes(film))
    assert (facts.media_type, facts.width, facts.height, facts.fps) == ("video/mp4", 64, 48, 25.0)
    assert facts.duration_s == pytest.approx(0.6, abs=0.06)
