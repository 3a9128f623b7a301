"""ffmpeg as a service: a Polyroute that has nothing else works on the compose jobs of another one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.eventually import eventually
from support.film_clips import FFMPEG, FFPROBE, clip, make, plays, probe
from support.forgetful_proxy import ForgetfulProxy
from support.gateway_process import GatewayProcess
from support.server_sent_events import events_of

pytestmark = pytest.mark.skipif(FFMPEG is None or FFPROBE is None, reason="ffmpeg and ffprobe are not installed")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A Polyroute with ffmpeg alone."""
    with GatewayProcess(tmp_path_factory.mktemp("service"), json.dumps({"providers": {"ffmpeg": {}}})) as process:
        yield process


@pytest.fixture(scope="module")
def proxy(service: GatewayProcess) -> Iterator[ForgetfulProxy]:
    """Stands before the service."""
    with ForgetfulProxy(service.url) as between:
        yield between


@pytest.fixture(scope="module")
def front(proxy: ForgetfulProxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A Polyroute without a configuration that was told where to compose."""
    extra = {"FFMPEG_SERVICE_URL": proxy.url, "FFMPEG_BINARY": "/nonexistent"}
    with GatewayProcess(tmp_path_factory.mktemp("front"), extra=extra) as process:
        yield process


@pytest.fixture
def caller(front: GatewayProcess, proxy: ForgetfulProxy) -> Iterator[httpx.Client]:
    """A client of the front; the proxy has counted nothing yet."""
    proxy.seen.clear()
    with httpx.Client(base_url=front.url, timeout=60, trust_env=False) as client:
        yield client


def upload(caller: httpx.Client, *files: Path) -> list[dict[str, Any]]:
    """Clips of these files."""
    found = []
    for file in files:
        form = {"file": (file.name, file.read_bytes(), "application/octet-stream")}
        identifier = caller.post("/v1/files", files=form, data={"purpose": "user_data"}).json()["id"]
        found.append({"source": identifier})
    return found


def green(caller: httpx.Client, folder: Path, seconds: float, shade: str = "00ff00") -> dict[str, Any]:
    """A film of one picture."""
    picture = make(folder / "green.png", "-f", "lavfi", "-i", f"color=c=0x{shade}:s=64x36", "-frames:v", "1")
    [source] = upload(caller, picture)
    return {"clips": [{**source, "duration": seconds}], "width": 1280, "height": 720, "fps": 30}


def test_the_service_makes_the_film_and_the_front_keeps_it(
    caller: httpx.Client, front: GatewayProcess, service: GatewayProcess, proxy: ForgetfulProxy, tmp_path: Path
) -> None:
    clips = upload(
        caller, clip(tmp_path / "a.mp4", 1.0, "320x180", "25"), clip(tmp_path / "b.webm", 0.8, "160x120", "24")
    )
    order = {"timeline": {"clips": clips, "width": 320, "height": 180, "fps": 25}}
    identifier = caller.post("/v1/compose", json=order).json()["id"]
    events = events_of(caller.get(f"/v1/jobs/{identifier}/events").text)
    done = events[-1][2]
    assert (done["status"], done["provider"], done["attempts"]) == ("succeeded", "ffmpeg", 1), done
    film = tmp_path / "film.mp4"
    film.write_bytes(caller.get(done["videoUrl"]).content)
    plays(film)
    assert int(probe(film)["video"]["nb_read_frames"]) == 45
    percents = [data["percent"] for _, name, data in events if name == "progress"]
    assert percents == sorted(set(percents))
    (theirs,) = httpx.get(f"{service.url}/v1/jobs", trust_env=False).json()["data"]
    assert (theirs["status"], theirs["artifacts"][0]["sha256"]) == ("succeeded", done["artifacts"][0]["sha256"])
    assert (proxy.seen["POST /v1/files"], proxy.seen["POST /v1/jobs"]) == (2, 1)
    assert front.entry(identifier)["actual_provider"] == "ffmpeg"


def test_an_order_whose_answer_is_lost_is_sent_again_and_begun_once(
    caller: httpx.Client, service: GatewayProcess, proxy: ForgetfulProxy, tmp_path: Path
) -> None:
    before = len(service.sql("SELECT id FROM jobs"))
    order = {"timeline": green(caller, tmp_path, 0.5, "11ff11")}
    proxy.lose("POST /v1/jobs")
    key = {"idempotency-key": "only-once", "prefer": "wait=30"}
    done = caller.post("/v1/compose", json=order, headers=key).json()
    assert (done["status"], done["provider"]) == ("succeeded", "ffmpeg"), done
    assert (proxy.seen["POST /v1/files"], proxy.seen["POST /v1/jobs"]) == (1, 2)
    assert len(service.sql("SELECT id FROM jobs")) == before + 1
    again = caller.post("/v1/compose", json=order, headers=key)
    assert (again.status_code, again.json()["id"]) == (200, done["id"])
    another = caller.post("/v1/compose", json=order, headers={"prefer": "wait=30"}).json()
    assert another["status"] == "succeeded"
    assert proxy.seen["POST /v1/files"] == 1  # the service still has the picture
    assert len(service.sql("SELECT id FROM jobs")) == before + 2


def test_who_deletes_the_job_stops_the_service(
    caller: httpx.Client, service: GatewayProcess, proxy: ForgetfulProxy, tmp_path: Path
) -> None:
    identifier = caller.post("/v1/compose", json={"timeline": green(caller, tmp_path, 3000)}).json()["id"]
    running = "SELECT id FROM jobs WHERE state = 'running'"
    eventually(lambda: service.sql(running) and [path for path in proxy.seen if path.startswith("GET /v1/jobs/")])
    assert caller.delete(f"/v1/jobs/{identifier}").json()["status"] == "cancelled"
    assert service.sql(running) == []
    assert service.sql("SELECT state FROM jobs ORDER BY created_at DESC LIMIT 1") == [{"state": "cancelled"}]


def test_a_bad_timeline_is_told_in_the_services_words(caller: httpx.Client, tmp_path: Path) -> None:
    [source] = upload(caller, clip(tmp_path / "a.mp4", 1.0))
    failed = caller.post(
        "/v1/compose", json={"timeline": {"clips": [{**source, "end": 30}]}}, headers={"prefer": "wait=30"}
    )
    error = failed.json()["error"]
    assert (error["kind"], error["param"]) == ("invalid_request", "timeline.clips[0].end"), failed.json()


def test_a_service_that_dies_is_waited_for_and_then_the_work_is_done_here(tmp_path: Path) -> None:
    for name in ("service", "front"):
        (tmp_path / name).mkdir()
    idle = {"providers": {"ffmpeg": {}}, "jobs": {"worker": False}}  # it takes jobs, and none is done when it dies
    with GatewayProcess(tmp_path / "service", json.dumps(idle)) as service:
        config = {
            "jobs": {"patience": 4, "local_slots": 2},
            "defaults": {"retries": 0},
            "providers": {"studio": {"adapter": "ffmpeg", "base_url": service.url}, "ffmpeg": {}},
            "routes": {"compose": {"operation": "compose", "targets": ["studio/ffmpeg", "ffmpeg/ffmpeg"]}},
        }
        with (
            GatewayProcess(tmp_path / "front", json.dumps(config)) as front,
            httpx.Client(base_url=front.url, timeout=60, trust_env=False) as caller,
        ):
            timeline = green(caller, tmp_path, 0.5)
            falls_back = caller.post("/v1/compose", json={"timeline": timeline}).json()["id"]
            alone = caller.post("/v1/compose", json={"timeline": timeline, "model": "studio/ffmpeg"}).json()["id"]
            eventually(lambda: len(front.sql("SELECT 1 FROM job_attempts WHERE phase = 'submitted'")) == 2)
            service.kill()
            wait = {"prefer": "wait=40"}
            done = caller.get(f"/v1/jobs/{falls_back}", headers=wait).json()
            assert (done["status"], done["provider"], done["attempts"]) == ("succeeded", "ffmpeg", 2), done
            tried = [(row["provider"], row["outcome"], row["error_kind"]) for row in front.attempts(falls_back)]
            assert tried == [("studio", "failed", "timeout"), ("ffmpeg", "served", None)]
            failed = caller.get(f"/v1/jobs/{alone}", headers=wait).json()
            assert (failed["status"], failed["error"]["kind"]) == ("failed", "timeout"), failed
            later = caller.post("/v1/compose", json={"timeline": timeline}, headers=wait).json()
            assert (later["status"], later["provider"]) == ("succeeded", "ffmpeg"), later
            first, second = front.attempts(later["id"])
            assert (first["provider"], second["provider"]) == ("studio", "ffmpeg")
            assert first["error_kind"] in (
                "unavailable",
                "timeout",
            )  # it is looked for until its patience ends, at most
            assert second["error_kind"] is None
