"""Composing with the real ffmpeg: every file that comes out is looked at with a real probe."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from polyroute.compose.planning import Bounds
from polyroute.providers.media.ffmpeg.adapter import Composing
from polyroute.providers.media.ffmpeg.lease import lease
from polyroute.providers.media.ffmpeg.process import Limits, run
from polyroute.providers.media.ffmpeg.tools import Tools, tools_for
from polyroute.types.errors import AttemptFailed, ErrorKind, PolyrouteError
from polyroute.types.media import MediaInput, MediaRequest, Progress, Task
from support.film_clips import FFMPEG, FFPROBE, clip, color_at, make, plays, probe, volume
from support.media_files import png

pytestmark = pytest.mark.skipif(FFMPEG is None or FFPROBE is None, reason="ffmpeg and ffprobe are not installed")


class Wire:
    """The part of a `MediaWire` that composing needs: files named by their artifact's id."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.made = 0

    async def input_path(self, item: MediaInput) -> tuple[Path, str]:
        return self.folder / (item.artifact or "").removeprefix("art_"), "video/mp4"

    def workspace(self) -> Path:
        self.made += 1
        path = self.folder / f"work-{self.made}"
        path.mkdir()
        return path


class Studio:
    """Composes in a folder."""

    def __init__(self, folder: Path, tools: Tools | None = None, **limits: Any) -> None:
        self.folder = folder
        self.wire: Any = Wire(folder)
        self.progress: list[Progress] = []
        self.maker = Composing(tools or tools_for(FFMPEG or ""), Limits(**limits), Bounds(seconds=120), 2)

    async def report(self, progress: Progress) -> None:
        self.progress.append(progress)

    async def make(self, **timeline: Any) -> list[Path]:
        request = MediaRequest(task=Task.COMPOSE, timeline=timeline)
        outcome = await self.maker.work(self.maker.fit(request, "ffmpeg").request, "ffmpeg", self.wire, self.report)
        return [Path(one.path or "") for one in outcome.produced]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five clips of different size, rate and sound, two pictures and sounds."""
    folder = tmp_path_factory.mktemp("clips")
    clip(folder / "a.mp4", 1.0, "320x180", "25", tone=440)
    clip(folder / "b.mp4", 1.37, "640x360", "30000/1001", tone=None)
    clip(folder / "c.webm", 0.9, "180x320", "24", tone=660, sample_rate=48_000)
    clip(folder / "d.mov", 0.73, "322x182", "50", tone=880, sample_rate=22_050)
    clip(folder / "e.mp4", 1.11, "480x480", "12", tone=550)
    clip(folder / "red.mp4", 2.0, "320x180", "25", color="red", tone=440)
    clip(folder / "blue.mp4", 2.0, "320x180", "25", color="blue", tone=880)
    make(folder / "music.wav", "-f", "lavfi", "-i", "sine=frequency=1500:duration=1")
    make(folder / "green.png", "-f", "lavfi", "-i", "color=c=0x00ff00:s=40x40", "-frames:v", "1")
    (folder / "grey.png").write_bytes(png(64, 48))
    return folder


@pytest.fixture
def studio(clips: Path, tmp_path: Path) -> Studio:
    """The clips, linked into a folder of the test's own."""
    for file in clips.iterdir():
        os.link(file, tmp_path / file.name)
    return Studio(tmp_path)


def art(*names: str) -> list[dict[str, Any]]:
    return [{"source": f"art_{name}"} for name in names]


def frames_of(path: Path) -> int:
    return int(probe(path)["video"]["nb_read_frames"])


async def test_five_clips_of_different_size_rate_and_sound_become_one_film(studio: Studio) -> None:
    names = ["a.mp4", "b.mp4", "c.webm", "d.mov", "e.mp4"]
    lengths = []
    for name in names:
        told = probe(studio.folder / name)
        lengths.append(float(told["video"].get("duration") or told["format"]["duration"]))
    [film] = await studio.make(clips=art(*names), fps=30, width=640, height=360)
    plays(film)
    told = probe(film)
    video, audio = told["video"], told["audio"]
    assert (video["width"], video["height"], video["r_frame_rate"], video["pix_fmt"]) == (640, 360, "30/1", "yuv420p")
    assert abs(int(video["nb_read_frames"]) - sum(lengths) * 30) <= 1
    assert float(video["duration"]) == pytest.approx(int(video["nb_read_frames"]) / 30, abs=1e-4)
    assert abs(float(audio["duration"]) - float(video["duration"])) <= 1 / 30
    assert abs(float(told["format"]["duration"]) - sum(lengths)) <= 1 / 30
    percents = [one.percent for one in studio.progress if one.percent is not None]
    assert percents == sorted(percents)
    assert percents[0] == 0
    assert percents[-1] > 50


async def test_size_and_rate_are_those_of_the_largest_and_fastest_clip(studio: Studio) -> None:
    [film] = await studio.make(clips=art("a.mp4", "b.mp4"))
    video = probe(film)["video"]
    assert (video["width"], video["height"], video["r_frame_rate"]) == (640, 360, "30000/1001")
    assert int(video["nb_read_frames"]) == round((1.0 + float(probe(studio.folder / "b.mp4")["video"]["duration"])) * Fraction(30000, 1001))
