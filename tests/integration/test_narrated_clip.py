"""The narrated clip of the examples, made on the sandbox from its first word to its last frame."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from support.film_clips import FFMPEG, FFPROBE, probe
from support.gateway_process import run_polyroute

EXAMPLES = Path(__file__).parents[2] / "examples"
TOPIC = "The lighthouse at the edge of the map"
pytestmark = pytest.mark.skipif(FFMPEG is None or FFPROBE is None, reason="ffmpeg and ffprobe are not installed")


def test_a_narrated_clip_is_made_on_the_sandbox(tmp_path: Path) -> None:
    done = run_polyroute(
        "pipeline", "run", str(EXAMPLES / "narrated-clip.yaml"),
        "--config", str(EXAMPLES / "narrated-clip.config.yaml"), "--sandbox",
        "--input", f"topic={TOPIC}", "--output", "clip.mp4", "--artifacts", "parts", folder=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("clip.mp4: video/mp4, 1280x720, 14.00 s"), done.stdout
    told = probe(tmp_path / "clip.mp4")
    picture, sound = told["video"], told["audio"]
    assert (picture["codec_name"], picture["width"], picture["height"]) == ("h264", 1280, 720)
    assert (
        int(picture["nb_read_frames"]) == 14 * 24
    )  # three scenes of five seconds, faded into each other for half a second
    assert float(sound["duration"]) == pytest.approx(14, abs=0.05)
    assert sorted(os.listdir(tmp_path / "parts")) == [
        "clip.mp4", "film_1.mp4", "film_2.mp4", "film_3.mp4", "music.mp3", "picture_1.webp", "picture_2.webp",
        "picture_3.webp", "script.txt", "voice_1.mp3", "voice_2.mp3", "voice_3.mp3",
    ]  # fmt: skip


def test_a_pipeline_that_makes_no_sense_is_said_so_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("steps: [{id: a, task: speech, model: speech, prompt: '{{b.text}}'}]\n")
    config = str(EXAMPLES / "narrated-clip.config.yaml")
    done = run_polyroute(
        "pipeline", "run", "broken.yaml", "--config", config, folder=tmp_path, extra={"OPENAI_API_KEY": "x"}
    )
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        1, "polyroute: 'steps[0].prompt': {{b.text}}: there is no step 'b'; there are input, a.",
    )  # fmt: skip
    (tmp_path / "broken.yaml").write_text("steps: [{id: a\n")
    done = run_polyroute("pipeline", "run", "broken.yaml", folder=tmp_path)
    assert (done.returncode, "broken.yaml" in done.stderr, "Traceback" in done.stderr) == (1, True, False)
