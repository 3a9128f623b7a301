"""`polyroute services` and `doctor` on local services, against the simulated ones and a simulated container engine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.command_line import run_here
from support.simulated_providers import SimulatedProviders


@pytest.fixture(scope="module")
def simulated() -> Iterator[SimulatedProviders]:
    with SimulatedProviders() as providers:
        yield providers


@pytest.fixture
def surroundings(simulated: SimulatedProviders, tmp_path: Path) -> dict[str, str]:
    """Both services switched on by their addresses alone; whisper has a container, and nothing listens for ComfyUI."""
    simulated.reset()
    (tmp_path / "polyroute.yaml").write_text(
        json.dumps(
            {
                "providers": {
                    "whisper": {"options": {"container": "whisper-exited"}},
                    "comfyui": {"base_url": "http://127.0.0.1:9", "options": {"container": "missing-one"}},
                    "automatic1111": {"base_url": "http://127.0.0.1:9"},
                }
            }
        )
    )
    return {
        "WHISPER_SERVICE_URL": f"{simulated.url}/whisper",
        "CHATTERBOX_DOCKER_URL": f"{simulated.url}/chatterbox",
        "DOCKER_HOST": f"{simulated.url}/docker",
    }


def listed(folder: Path, extra: dict[str, str]) -> dict[str, dict[str, Any]]:
    """`polyroute services list --json`, by provider."""
    done = run_here("services", "list", "--json", folder=folder, extra=extra)
    assert done.returncode == 0, done.stderr
    return {one["provider"]: one for one in json.loads(done.stdout)}


def test_each_service_tells_whether_it_runs_and_is_healthy_and_what_is_wrong(
    tmp_path: Path, surroundings: dict[str, str]
) -> None:
    found = listed(tmp_path, surroundings)
    for name in ("whisper", "chatterbox", "comfyui", "automatic1111"):
        assert {"running", "healthy", "error"} <= found[name].keys()
    told = {name: (one["running"], one["healthy"]) for name, one in found.items()}
    assert told["chatterbox"] == (True, True)
    assert found["chatterbox"]["error"] is None
    assert told["whisper"] == (False, False)
    assert found["whisper"]["state"] == "stopped"
    assert found["comfyui"]["error"] == "there is no container 'missing-one'"
    assert told["automatic1111"] == (False, False)
    assert found["automatic1111"]["error"]


def test_the_list_is_a_line_for_each(tmp_path: Path, surroundings: dict[str, str]) -> None:
    done = run_here("services", "list", folder=tmp_path, extra=surroundings)
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert "ready" in lines["chatterbox"]
    assert "running, healthy" in lines["chatterbox"]
    assert "not running, not healthy" in lines["comfyui"]
    assert lines["comfyui"].endswith("there is no container 'missing-one'")


def test_a_container_is_started_and_stopped_by_name(tmp_path: Path, surroundings: dict[str, str]) -> None:
    started = run_here("services", "start", "whisper", folder=tmp_path, extra=surroundings)
    assert (started.returncode, "running, healthy" in started.stdout) == (0, True), started
    assert listed(tmp_path, surroundings)["whisper"]["healthy"]
    stopped = run_here("services", "stop", "whisper", folder=tmp_path, extra=surroundings)
    assert (stopped.returncode, "not running" in stopped.stdout) == (0, True)
    assert not listed(tmp_path, surroundings)["whisper"]["running"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("chatterbox", "chatterbox has no container: name it as providers.chatterbox.options.container"),
        ("nobody", "no local service 'nobody' is on"),
        ("comfyui", "No such container"),
    ],
)
def test_what_cannot_be_started_says_why(tmp_path: Path, surroundings: dict[str, str], name: str, words: str) -> None:
    done = run_here("services", "start", name, folder=tmp_path, extra=surroundings)
    assert done.returncode == 2
    assert words in done.stderr


def test_without_an_engine_services_are_still_seen(tmp_path: Path, surroundings: dict[str, str]) -> None:
    surroundings["DOCKER_HOST"] = "http://127.0.0.1:9"
    found = listed(tmp_path, surroundings)
    assert found["whisper"]["running"]
    assert found["whisper"]["error"]
    refused = run_here("services", "start", "whisper", folder=tmp_path, extra=surroundings)
    assert refused.returncode == 2


def test_doctor_tells_of_services(tmp_path: Path, surroundings: dict[str, str]) -> None:
    done = run_here("doctor", folder=tmp_path, extra=surroundings)
    assert "service:       chatterbox is ready" in done.stdout
    assert "service:       whisper is stopped" in done.stdout
    assert "service:       comfyui is not_installed there is no container 'missing-one'" in done.stdout


def test_no_service_says_how_to_have_one(tmp_path: Path) -> None:
    (tmp_path / "polyroute.yaml").write_text("providers: {ffmpeg: {enabled: false}}")
    done = run_here("services", "list", folder=tmp_path, extra={"OPENAI_API_KEY": "sk-x"})
    assert done.returncode == 0
    assert "No local service is on: set WHISPER_SERVICE_URL, CHATTERBOX_DOCKER_URL" in done.stdout
