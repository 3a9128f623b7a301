"""Composing with the real ffmpeg: every file that comes out is looked at with a real probe."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
from contextlib import AsyncExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyroute.compose.planning import Bounds
from polyroute.providers.media.ffmpeg.adapter import Composing
from polyroute.providers.media.ffmpeg.lease import lease
from polyroute.providers.media.ffmpeg.process import Limits, run
from polyroute.providers.media.ffmpeg.tools import Tools, tools_for
from polyroute.types.errors import AttemptFailed, ErrorKind, PolyrouteError
from polyroute.types.media import MediaInput, MediaRequest, Progress, Task
from support.film_clips import FFMPEG, FFPROBE, clip, color_at, loudness, make, plays, probe, volume
from support.media_files import png

pytestmark = pytest.mark.skipif(FFMPEG is None or FFPROBE is None, reason="ffmpeg and ffprobe are not installed")


class Wire:
    """The part of a `MediaWire` that composing needs: files named by their artifact's id."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def input_path(self, item: MediaInput) -> tuple[Path, str]:
        return self.folder / (item.artifact or "").removeprefix("art_"), "video/mp4"

    def workspace(self) -> Path:
        return Path(tempfile.mkdtemp(prefix="work-", dir=self.folder))


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
    assert int(video["nb_read_frames"]) == round(
        (1.0 + float(probe(studio.folder / "b.mp4")["video"]["duration"])) * Fraction(30000, 1001)
    )


async def test_clips_before_and_after_and_gaps_between(studio: Studio) -> None:
    [film] = await studio.make(
        prepend=[{"source": "art_green.png", "duration": 0.5}],
        clips=[{"source": "art_red.mp4", "start": 0.5, "end": 1.5, "at": 1.0}],
        append=[{"source": "art_blue.mp4", "end": 0.5}],
        width=320, height=180, background="#ffffff", duration=3.0, fit="cover",
    )  # fmt: skip
    plays(film)
    assert frames_of(film) == 75
    seen = [color_at(film, moment, 160, 90) for moment in (0.2, 0.7, 1.5, 2.2, 2.8)]
    for shown, wanted in zip(
        seen, [(0, 255, 0), (255, 255, 255), (255, 0, 0), (0, 0, 255), (255, 255, 255)], strict=True
    ):
        assert all(abs(one - other) < 30 for one, other in zip(shown, wanted, strict=True)), seen
    assert volume(film, 0.55, 0.35) < -80
    assert volume(film, 1.1, 0.5) > -40


async def test_one_clip_fades_into_the_next_and_the_whole_is_shorter_by_that(studio: Studio) -> None:
    [film] = await studio.make(
        clips=[
            {"source": "art_red.mp4"},
            {"source": "art_blue.mp4", "transition": {"kind": "fade", "duration": 0.4}},
            {"source": "art_red.mp4", "end": 1.0},
        ]
    )
    plays(film)
    assert frames_of(film) == 50 + 50 - 10 + 25
    red, _, blue = color_at(film, 1.8, 100, 100)
    assert 60 < red < 200
    assert 60 < blue < 200
    told = probe(film)
    assert abs(float(told["audio"]["duration"]) - float(told["video"]["duration"])) < 0.03


async def test_speed_changes_picture_and_sound_alike(studio: Studio) -> None:
    [film] = await studio.make(
        clips=[{"source": "art_red.mp4", "speed": 2.0}, {"source": "art_blue.mp4", "speed": 0.4}]
    )
    plays(film)
    assert frames_of(film) == 25 + 125
    assert volume(film, 0.2, 0.6, band=440) > volume(film, 0.2, 0.6, band=880) + 10
    assert volume(film, 4.0, 1.5, band=880) > -40


async def test_overlays_lie_where_and_when_they_should(studio: Studio) -> None:
    [film] = await studio.make(
        clips=art("red.mp4"),
        overlays=[
            {"source": "art_green.png", "start": 0.4, "end": 1.2, "position": "top-right", "margin": 10},
            {"source": "art_blue.mp4", "start": 1.0, "end": 2.0, "width": 0.25, "position": {"x": 0, "y": 0}, "opacity": 0.5},
            {"text": "50% of: it's \\ {here}", "start": 0.0, "end": 0.8, "position": "bottom", "box": "white"},
        ],
    )  # fmt: skip
    plays(film)
    assert frames_of(film) == 50

    def near(moment: float, x: int, y: int, wanted: tuple[int, int, int]) -> bool:
        return all(abs(one - other) < 40 for one, other in zip(color_at(film, moment, x, y), wanted, strict=True))

    assert near(0.2, 300, 20, (255, 0, 0))
    assert near(0.8, 300, 20, (0, 255, 0))
    assert near(1.6, 300, 20, (255, 0, 0))
    assert near(1.6, 20, 20, (127, 0, 127))
    assert near(0.4, 160, 155, (255, 255, 255))
    assert near(1.2, 160, 155, (255, 0, 0))


async def test_sound_is_replaced_mixed_and_ducked(studio: Studio) -> None:
    music = {"source": "art_music.wav", "loop": True}
    [replaced] = await studio.make(clips=art("red.mp4"), audio=[{**music, "mode": "replace"}])
    plays(replaced)
    assert volume(replaced, band=1500) > volume(replaced, band=440) + 25
    [mixed] = await studio.make(clips=art("red.mp4"), audio=[{**music, "volume": 0.5, "at": 1.0}])
    assert volume(mixed, 0.0, 0.9, band=1500) < volume(mixed, 1.1, 0.8, band=1500) - 20
    assert volume(mixed, 1.1, 0.8, band=440) > -40
    spoken = {"source": "art_red.mp4", "end": 1.0}
    [ducked] = await studio.make(clips=[spoken], duration=3.0, audio=[{**music, "mode": "duck"}])
    assert volume(ducked, 0.3, 0.6, band=1500) < volume(ducked, 2.0, 0.8, band=1500) - 6
    assert frames_of(ducked) == 75


@pytest.mark.parametrize(
    ("form", "codec"), [("mp3", "mp3"), ("wav", "pcm_s16le"), ("m4a", "aac"), ("flac", "flac"), ("ogg", "opus")]
)
async def test_the_sound_alone_is_taken_out(studio: Studio, form: str, codec: str) -> None:
    [sound] = await studio.make(clips=[{"source": "art_red.mp4", "start": 0.5}, *art("music.wav")], format=form)
    plays(sound)
    told = probe(sound)
    assert told["video"] is None
    assert told["audio"]["codec_name"] == codec
    assert float(told["format"]["duration"]) == pytest.approx(2.5, abs=0.06)


async def test_loudness_is_made_what_was_asked_for(studio: Studio) -> None:
    [sound] = await studio.make(clips=[{"source": "art_red.mp4", "volume": 0.1}], loudness=-20, format="wav")
    assert loudness(sound) == pytest.approx(-20, abs=1)
    percents = [one.percent for one in studio.progress if one.percent is not None]
    assert percents == sorted(percents)


async def test_silence_stays_as_it_is_and_is_told(studio: Studio) -> None:
    request = MediaRequest(
        task=Task.COMPOSE, timeline={"clips": [{"source": "art_red.mp4", "volume": 0}], "loudness": -16}
    )
    outcome = await studio.maker.work(request, "ffmpeg", studio.wire, studio.report)
    assert outcome.notes == ("loudness was left as it is: there is nothing to hear",)


async def test_pictures_of_the_result_come_with_it_or_alone(studio: Studio) -> None:
    [film, first, second] = await studio.make(
        clips=art("red.mp4", "blue.mp4"), thumbnails={"count": 2, "width": 160, "format": "png"}
    )
    plays(film)
    assert frames_of(film) == 100
    for picture, wanted in ((first, 0), (second, 2)):
        told = probe(picture)["video"]
        assert (told["codec_name"], told["width"], told["height"]) == ("png", 160, 90)
        assert color_at(picture, 0, 80, 45)[wanted] > 200
    [alone] = await studio.make(clips=art("blue.mp4"), format="jpeg", thumbnails={"at": [1.0]})
    assert probe(alone)["video"]["codec_name"] == "mjpeg"
    assert color_at(alone, 0, 10, 10)[2] > 200


async def test_webm_and_blurred_edges(studio: Studio) -> None:
    [film] = await studio.make(
        clips=art("c.webm"), format="webm", width=320, height=180, fit="blur", fade_in=0.2, fade_out=0.2
    )
    plays(film)
    told = probe(film)
    assert (told["video"]["codec_name"], told["audio"]["codec_name"]) == ("vp9", "opus")
    assert max(color_at(film, 0.0, 160, 90)) < 40


# ---------------------------------------------------------------- what is not possible


@pytest.mark.parametrize(
    ("timeline", "param", "told"),
    [
        ({"clips": [{"source": "art_red.mp4", "end": 9.5}]}, "timeline.clips[0].end", "is 9.5; the input lasts 2.000 seconds"),
        ({"clips": [{"source": "art_red.mp4", "start": 3}]}, "timeline.clips[0].start", "the input lasts 2.000"),
        (
            {"clips": [{"source": "art_red.mp4"}, {"source": "art_blue.mp4", "at": 1.5}]},
            "timeline.clips[1].at", "clips cannot overlap",
        ),
        (
            {"clips": [{"source": "art_red.mp4"}], "overlays": [{"text": "x", "end": 5}]},
            "timeline.overlays[0].end", "is 5; the timeline lasts 2.000",
        ),
        (
            {"clips": [{"source": "art_red.mp4"}], "audio": [{"source": "art_b.mp4"}]},
            "timeline.audio[0].source", "has no sound",
        ),
        ({"clips": [{"source": "art_music.wav"}]}, "timeline.clips[0].source", "no picture"),
        ({"clips": [{"source": "art_b.mp4"}], "format": "mp3"}, "timeline.format", "no clip or track has any"),
        ({"clips": [{"source": "art_red.mp4"}], "duration": 1}, "timeline.duration", "the clips alone last 2.000"),
        ({"clips": [{"source": "art_red.mp4"}], "thumbnails": {"at": [2.0]}}, "timeline.thumbnails.at[0]", "lasts 2.000"),
        (
            {"clips": [{"source": "art_red.mp4"}, {"source": "art_d.mov", "transition": {"duration": 0.8}}]},
            "timeline.clips[1].transition.duration", "shorter than both clips",
        ),
        ({"clips": [{"source": "art_green.png", "duration": 500}]}, "timeline", "at most 120 are possible"),
    ],
)  # fmt: skip
async def test_what_overlaps_or_exceeds_is_named(
    studio: Studio, timeline: dict[str, Any], param: str, told: str
) -> None:
    with pytest.raises(PolyrouteError) as refused:
        await studio.make(**timeline)
    assert (refused.value.kind, refused.value.param) == (ErrorKind.INVALID_REQUEST, param)
    assert told in refused.value.message


@pytest.mark.parametrize(
    "content",
    [b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:9,\nred.mp4\n", b"ffconcat version 1.0\nfile red.mp4\n", bytes(4000)],
)
async def test_files_that_point_at_others_are_not_read(studio: Studio, content: bytes) -> None:
    (studio.folder / "evil.mp4").write_bytes(content)
    with pytest.raises(PolyrouteError) as refused:
        await studio.make(clips=art("evil.mp4"))
    assert refused.value.param == "timeline.clips[0].source"


async def test_a_run_that_takes_too_long_is_ended(studio: Studio) -> None:
    slow = Studio(studio.folder, wall=0.05)
    with pytest.raises(AttemptFailed) as failed:
        await slow.make(clips=[{"source": "art_green.png", "duration": 100}], width=1920, height=1080)
    assert failed.value.failure.kind is ErrorKind.TIMEOUT


async def test_processor_time_and_size_have_an_end(studio: Studio) -> None:
    busy = Studio(studio.folder, cpu=1)
    with pytest.raises(AttemptFailed) as failed:
        await busy.make(clips=[{"source": "art_green.png", "duration": 110}], width=1920, height=1080, fit="blur")
    assert failed.value.failure.kind is ErrorKind.GENERATION_FAILED
    assert "1 seconds of processor time" in failed.value.failure.message
    small = Studio(studio.folder, output=20_000)
    with pytest.raises(AttemptFailed) as failed:
        await small.make(clips=art("a.mp4", "b.mp4", "d.mov"))
    assert failed.value.failure.kind is ErrorKind.GENERATION_FAILED


async def test_who_stops_waiting_stops_the_work(studio: Studio) -> None:
    started = asyncio.Event()
    seen: list[float] = []

    async def report(progress: Progress) -> None:
        if progress.percent:
            seen.append(progress.percent)
            started.set()

    timeline = {"clips": [{"source": "art_green.png", "duration": 110}], "width": 480, "height": 270}
    work = asyncio.create_task(
        studio.maker.work(MediaRequest(task=Task.COMPOSE, timeline=timeline), "ffmpeg", studio.wire, report)
    )
    await asyncio.wait_for(started.wait(), 30)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert not _running(studio.folder)


def _running(folder: Path) -> list[str]:
    """Command lines of processes that work in a folder."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                line = (process / "cmdline").read_bytes().decode("utf-8", "replace")
            except OSError:
                continue
            if str(folder) in line and "ffmpeg" in line:
                found.append(line)
    return found


async def test_the_processors_are_leased_to_so_many_at_once() -> None:
    name = f"test-{os.getpid()}"
    waited = asyncio.Event()

    async def waiting() -> None:
        waited.set()

    async def third() -> None:
        async with lease(name, 2, waiting):
            pass

    async with AsyncExitStack() as stack:
        await stack.enter_async_context(lease(name, 2, waiting))
        await stack.enter_async_context(lease(name, 2, waiting))
        assert not waited.is_set()
        task = asyncio.create_task(third())
        await asyncio.wait_for(waited.wait(), 5)
        assert not task.done()
    await asyncio.wait_for(task, 5)


async def test_a_program_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(AttemptFailed) as failed:
        await run("/nonexistent/ffmpeg", ("-version",), Limits(), folder=tmp_path)
    assert failed.value.failure.kind is ErrorKind.UNAVAILABLE


async def test_the_program_sees_nothing_of_our_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "swordfish")
    script = tmp_path / "ffmpeg"
    script.write_text(
        f"#!{sys.executable}\nimport os, sys\nsys.stderr.write(repr(dict(os.environ)))\n", encoding="utf-8"
    )
    script.chmod(0o755)
    done = await run(str(script), (), Limits(), folder=tmp_path)
    assert done.code == 0
    assert "swordfish" not in done.told


async def test_the_wheels_ffmpeg_does_without_ffprobe(studio: Studio) -> None:
    shutil.copy(FFMPEG or "", studio.folder / "ffmpeg")
    tools = tools_for(str(studio.folder / "ffmpeg"))
    assert tools.ffprobe is None
    alone = Studio(studio.folder, tools)
    [film] = await alone.make(clips=art("a.mp4", "b.mp4", "green.png"), width=320, height=180)
    plays(film)
    assert probe(film)["video"]["r_frame_rate"] == "30000/1001"


AWKWARD = (
    "it's \"quoted\" \u2018twice\u2019", "a:b=c;d,e|f", "100% %{pts} %{expr:1+1} %%", "one\ntwo\r\nthree\ttab",
    "\\ \\\\ \\n [in][out]",
    "{curly} $HOME `id` $(id)", "שלום עולם مرحبا", "😀👩‍👩‍👧 é́́ \U0001d4b3", "\u2028\u2029\u200b\ufeff\u202e",
    "\x01\x07\x1b[31m", " ", "'",
)  # fmt: skip


@settings(max_examples=5, deadline=None, derandomize=True)
@given(
    st.lists(
        st.sampled_from(AWKWARD) | st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40),
        min_size=4, max_size=8,
    )
)  # fmt: skip
def test_no_text_breaks_the_graph(texts: list[str]) -> None:
    """Drawn by the real ffmpeg, whatever it says; with its box, so that something is seen of every one."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "grey.png").write_bytes(png(64, 48))
        overlays = [{"text": text, "position": "top", "box": "red", "font_size": 10} for text in texts]
        studio = Studio(Path(folder))
        clips = [{"source": "art_grey.png", "duration": 0.1}]
        [picture] = asyncio.run(studio.make(clips=clips, overlays=overlays, format="png", fps=10))
        assert probe(picture)["video"]["width"] == 64


async def test_every_awkward_text_is_drawn(clips: Path, tmp_path: Path) -> None:
    overlays = [
        {"text": text, "position": {"x": 0, "y": 20 * number}, "box": "red"} for number, text in enumerate(AWKWARD)
    ]
    studio = Studio(tmp_path)
    shutil.copy(clips / "grey.png", tmp_path / "grey.png")
    [film] = await studio.make(
        clips=[{"source": "art_grey.png", "duration": 0.2}], overlays=overlays, width=320, height=260, fps=10
    )
    plays(film)
