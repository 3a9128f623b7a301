"""Local services: what their containers and their own answers say together, and starting and stopping them."""

from __future__ import annotations

from pathlib import Path

import pytest

from polyroute.engine.services import judge_service
from polyroute.ports.services import ContainerState
from polyroute.transport.docker import DockerEngine
from polyroute.types.errors import AttemptFailed, ErrorKind
from support.local_services import local_gateway


@pytest.mark.parametrize(
    ("state", "wrong", "judged"),
    [
        (None, None, ("ready", True)),
        (None, "no answer", ("unreachable", False)),
        (ContainerState(status="running", health="healthy"), None, ("ready", True)),
        (ContainerState(status="running"), None, ("ready", True)),
        (ContainerState(status="running"), "refused", ("running_not_ready", True)),
        (ContainerState(status="running", health="starting"), "refused", ("starting", True)),
        (ContainerState(status="running", health="unhealthy", told="curl: (7)"), None, ("unhealthy", True)),
        (ContainerState(status="restarting", restarts=7), "x", ("crash_looping", False)),
        (ContainerState(status="exited", exit_code=137), "x", ("stopped", False)),
        (ContainerState(status="created"), "x", ("stopped", False)),
        (ContainerState(status="paused"), "x", ("paused", False)),
    ],
)
def test_the_table_of_states(state: ContainerState | None, wrong: str | None, judged: tuple[str, bool]) -> None:
    told, running, error = judge_service(state, wrong)
    assert (told, running) == judged
    assert (error is None) == (told == "ready")


SERVICES = {"whisper": "whisper", "chatterbox": "chatterbox", "comfyui": "comfyui", "automatic1111": "automatic1111"}


async def test_health_tells_each_service(tmp_path: Path) -> None:
    async with local_gateway(tmp_path, {**SERVICES, "ollama": "ollama"}) as gateway:
        await gateway.fail("comfyui", "status", status=500, times=50)
        told = (await gateway.http.get("/admin/api/health")).json()["services"]
        found = {one["provider"]: one for one in told}
        assert set(found) >= {*SERVICES, "ollama"}
        for name in ("whisper", "chatterbox", "automatic1111", "ollama"):
            assert (found[name]["running"], found[name]["healthy"], found[name]["error"]) == (True, True, None), found[
                name
            ]
        assert (found["comfyui"]["running"], found["comfyui"]["healthy"]) == (False, False)
        assert found["comfyui"]["error"]


async def test_containers_are_seen_started_and_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"whisper": {"container": "whisper-exited"}, "chatterbox": {"container": "missing-one"}}
    async with local_gateway(tmp_path, SERVICES, **options) as gateway:
        docker = str(gateway.sandbox.base_url).rstrip("/") + "/docker"
        monkeypatch.setattr("polyroute.composition.control.container_engine", lambda _settings: DockerEngine(docker))
        found = {one["provider"]: one for one in (await gateway.http.get("/admin/api/services")).json()["services"]}
        assert (found["whisper"]["state"], found["whisper"]["running"]) == ("stopped", False)
        assert found["chatterbox"]["state"] == "not_installed"
        started = (await gateway.http.post("/admin/api/services/whisper/start")).json()
        assert (started["state"], started["healthy"]) == ("ready", True)
        again = await gateway.http.post("/admin/api/services/whisper/start")
        assert again.status_code == 200
        stopped = (await gateway.http.post("/admin/api/services/whisper/stop")).json()
        assert stopped["state"] == "stopped"
        assert (await gateway.http.post("/admin/api/services/comfyui/start")).status_code == 400
        assert (await gateway.http.post("/admin/api/services/openai/start")).status_code == 404
        refused = await gateway.http.post("/admin/api/services/chatterbox/start")
        assert refused.status_code == 404
        assert "No such container" in refused.json()["error"]["message"]


async def test_an_engine_that_is_not_there_is_told() -> None:
    engine = DockerEngine("unix:///nonexistent/docker.sock")
    with pytest.raises(AttemptFailed) as failed:
        await engine.inspect("whisper")
    assert failed.value.failure.kind is ErrorKind.UNAVAILABLE


@pytest.mark.parametrize("name", ["../images", "a/b", "", "x?all=1"])
async def test_only_names_of_containers_are_asked_for(name: str) -> None:
    with pytest.raises(AttemptFailed) as failed:
        await DockerEngine("http://127.0.0.1:9").stop(name)
    assert failed.value.failure.kind is ErrorKind.INVALID_REQUEST
