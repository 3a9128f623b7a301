"""Composing as a job over HTTP, with the real ffmpeg: every film is looked at with a real probe."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.eventually import eventually
from support.ffmpeg_runs import runs_below
from support.film_clips import FFMPEG, FFPROBE, clip, make, plays, probe
from support.gateway_process import GatewayProcess
from support.job_processes import JobHouse
from support.server_sent_events import events_of

LONG = 48
"""Seconds of a film that takes ffmpeg long enough to be interrupted."""
pytestmark = pytest.mark.skipif(FFMPEG is None or FFPROBE is None, reason="ffmpeg and ffprobe are not installed")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway that has ffmpeg and nothing else; what it works in lies in a folder of its own."""
    folder = tmp_path_factory.mktemp("compose")
    (folder / "scratch").mkdir()
    config, extra = {"providers": {"ffmpeg": {}}}, {"TMPDIR": str(folder / "scratch")}
    with GatewayProcess(folder, json.dumps(config), extra=extra) as process:
        yield process


@pytest.fixture
def caller(house: GatewayProcess) -> Iterator[httpx.Client]:
    """An HTTP client."""
    with httpx.Client(base_url=house.url, timeout=60, trust_env=False) as client:
        yield client


def upload(caller: httpx.Client, *files: Path) -> list[str]:
    """The ids of uploaded files."""
    ids = []
    for file in files:
        form = {"file": (file.name, file.read_bytes(), "application/octet-stream")}
        ids.append(caller.post("/v1/files", files=form, data={"purpose": "user_data"}).json()["id"])
    return ids


def long_timeline(caller: httpx.Client, folder: Path, seconds: float) -> dict[str, Any]:
    """One picture for so many seconds, which takes ffmpeg a while."""
    picture = make(folder / "green.png", "-f", "lavfi", "-i", "color=c=0x00ff00:s=64x36", "-frames:v", "1")
    [identifier] = upload(caller, picture)
    return {
        "timeline": {"clips": [{"source": identifier, "duration": seconds}], "width": 640, "height": 360, "fps": 30}
    }


def workspaces(scratch: Path) -> list[str]:
    """What is left of work on media in a temporary folder."""
    return [str(path) for path in scratch.rglob("*") if path.suffix != ".lease" and path.parent != scratch]


def test_five_clips_of_different_size_rate_and_sound_are_joined_by_a_job(
    caller: httpx.Client, house: GatewayProcess, tmp_path: Path
) -> None:
    clips = [
        clip(tmp_path / "a.mp4", 1.0, "320x180", "25", tone=440),
        clip(tmp_path / "b.mp4", 1.37, "640x360", "30000/1001", tone=None),
        clip(tmp_path / "c.webm", 0.9, "180x320", "24", tone=660, sample_rate=48_000),
        clip(tmp_path / "d.mov", 0.73, "322x182", "50", tone=880, sample_rate=22_050),
        clip(tmp_path / "e.mp4", 1.11, "480x480", "12", tone=550),
    ]
    told = [probe(file) for file in clips]
    length = sum(float(one["video"].get("duration") or one["format"]["duration"]) for one in told)
    timeline = {
        "clips": [{"source": one} for one in upload(caller, *clips)], "width": 640, "height": 360, "fps": 30
    }  # fmt: skip
    begun = caller.post("/v1/compose", json={"timeline": timeline, "async": True})
    assert (begun.status_code, begun.json()["task"], begun.json()["model"]) == (202, "compose", "compose")
    events = events_of(caller.get(begun.headers["location"] + "/events").text)
    percents = [data["percent"] for _, name, data in events if name == "progress"]
    assert percents == sorted(set(percents))
    assert 0 <= percents[0] <= percents[-1] <= 100
    assert [data["state"] for _, name, data in events if name == "state"] == ["queued", "running", "succeeded"]
    done = events[-1][2]
    assert (done["status"], done["percent"], done["provider"], done["attempts"]) == ("succeeded", 100.0, "ffmpeg", 1)
    (artifact,) = done["artifacts"]
    film = tmp_path / "film.mp4"
    film.write_bytes(caller.get(done["videoUrl"]).content)
    plays(film)
    found = probe(film)
    video, audio = found["video"], found["audio"]
    assert (video["width"], video["height"], video["r_frame_rate"]) == (640, 360, "30/1")
    assert abs(int(video["nb_read_frames"]) - length * 30) <= 1
    assert abs(float(found["format"]["duration"]) - length) <= 1 / 30
    assert abs(float(audio["duration"]) - float(video["duration"])) <= 1 / 30
    assert artifact["duration"] == pytest.approx(float(found["format"]["duration"]), abs=1 / 30)
    assert artifact["size"] == film.stat().st_size
    entry = house.entry(done["id"])
    assert (entry["status"], entry["operation"], entry["seconds"]) == (
        "COMPLETED", "compose", pytest.approx(length, abs=1 / 30)
    )  # fmt: skip
    assert workspaces(house.folder / "scratch") == []


def test_a_job_that_is_deleted_ends_its_ffmpeg(caller: httpx.Client, house: GatewayProcess, tmp_path: Path) -> None:
    body = long_timeline(caller, tmp_path, 3000)
    identifier = caller.post("/v1/compose", json=body).json()["id"]
    scratch = house.folder / "scratch"
    eventually(lambda: runs_below(scratch), within=20)
    assert caller.delete(f"/v1/jobs/{identifier}").json()["status"] == "cancelled"
    assert (runs_below(scratch), workspaces(scratch)) == ([], [])
    assert house.entry(identifier)["status"] == "CANCELLED"


def test_a_timeline_that_makes_no_sense_is_refused_by_its_field(caller: httpx.Client) -> None:
    overlapping = {"clips": [{"source": "file-a", "start": 3, "end": 2}]}
    refused = caller.post("/v1/compose", json={"timeline": overlapping})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "timeline.clips[0].end")
    assert caller.get("/v1/jobs", params={"status": "queued,running,failed"}).json()["data"] == []


def test_a_worker_killed_while_ffmpeg_works_leaves_the_film_to_another(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    config = {
        "storage": {"database": "sqlite:///polyroute.db"},
        "providers": {"ffmpeg": {}},
        "jobs": {"worker": False, "heartbeat": 0.3, "lost_after": 1.5},
    }
    with JobHouse(tmp_path, config, workers=1, extra={"TMPDIR": str(scratch)}) as running, running.client() as caller:
        body = long_timeline(caller, tmp_path, LONG)
        identifier = caller.post("/v1/compose", json=body).json()["id"]
        eventually(lambda: (caller.get(f"/v1/jobs/{identifier}").json().get("percent") or 0) > 2, within=20)
        assert len(runs_below(scratch)) == 1
        running.workers[0].kill()
        eventually(lambda: not runs_below(scratch))  # the kernel ends what worked for it
        assert workspaces(scratch)
        running.workers[0].start()
        events = events_of(caller.get(f"/v1/jobs/{identifier}/events").text)
        done = events[-1][2]
        assert (done["status"], done["attempts"], len(done["artifacts"])) == ("succeeded", 1, 1), done
        percents = [data["percent"] for _, name, data in events if name == "progress"]
        assert percents == sorted(set(percents))
        film = tmp_path / "film.mp4"
        film.write_bytes(caller.get(done["videoUrl"]).content)
        assert int(probe(film)["video"]["nb_read_frames"]) == LONG * 30
        made = running.gateway.sql("SELECT id FROM artifacts WHERE family = 'video'")
        assert [row["id"] for row in made] == [done["artifacts"][0]["id"]]
        assert running.gateway.entry(identifier)["status"] == "COMPLETED"
        assert [row["outcome"] for row in running.gateway.attempts(identifier)] == ["served"]
        assert (runs_below(scratch), workspaces(scratch)) == ([], [])
        halves = [file for file in (tmp_path / "artifacts" / ".incoming").iterdir() if file.stat().st_nlink == 1]
        assert halves == []  # second names of whole inputs are cleared up a day later
