"""`polyroute pipeline … --url`: the command line as a client of a gateway elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from polyroute.storage.database import open_database
from polyroute.storage.keys import create_key, load_pepper
from support.command_line import run_here
from support.eventually import eventually
from support.gateway_process import GatewayProcess
from support.simulated_providers import SimulatedProviders

PIPELINE: dict[str, Any] = {
    "name": "postcard",
    "inputs": {"topic": {"description": "what it shows"}},
    "steps": [
        {"id": "words", "chat": "Describe {{input.topic}}.", "model": "openai/gpt-4o-mini"},
        {"id": "card", "task": "text_to_image", "model": "replicate/black-forest-labs/flux-schnell",
         "prompt": "{{words.text}}"},
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def house(simulated: SimulatedProviders, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway that asks for keys."""
    config = {
        "auth": {"mode": "keys"},
        "fetch": {"allow": ["127.0.0.1"]},
        "defaults": {"retries": 0, "breaker": {"failures": 100_000, "minimum": 100_000}},
        "providers": {
            "openai": {"base_url": f"{simulated.url}/openai/v1", "api_key": "sk-x"},
            "replicate": {"base_url": f"{simulated.url}/replicate/v1", "api_key": "r8_x"},
        },
    }
    with GatewayProcess(tmp_path_factory.mktemp("command"), json.dumps(config)) as process:
        yield process


@pytest.fixture(scope="module")
def key(house: GatewayProcess) -> str:
    """A key of that gateway, which it has heard of."""
    database = open_database(f"sqlite:///{house.folder}/polyroute.db")
    made, _ = create_key(database, load_pepper(None, house.folder / "polyroute.pepper"), name="command")
    database.close()
    headers = {"authorization": f"Bearer {made}"}
    eventually(lambda: httpx.get(f"{house.url}/v1/models", headers=headers, trust_env=False).status_code == 200)
    return made


@pytest.fixture
def folder(tmp_path: Path, sandbox: SimulatedProviders) -> Path:
    """A folder with a pipeline and nothing else; the simulated providers are well and quick."""
    sandbox.set("*", job_seconds=0.1)
    (tmp_path / "postcard.yaml").write_text(yaml.safe_dump(PIPELINE), encoding="utf-8")
    return tmp_path


def test_a_pipeline_is_run_elsewhere_and_its_results_are_brought_here(
    house: GatewayProcess, key: str, folder: Path
) -> None:
    done = run_here(
        "pipeline", "run", "postcard.yaml", "--url", house.url + "/", "--input", "topic=a quay", "--output", "card.webp",
        "--artifacts", "parts", folder=folder, extra={"POLYROUTE_KEY": key},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (folder / "card.webp").read_bytes()[8:12] == b"WEBP"
    assert done.stdout.startswith("card.webp: image/webp, ")
    assert sorted(path.name for path in (folder / "parts").iterdir()) == ["card.webp", "words.txt"]
    assert (folder / "parts" / "card.webp").read_bytes() == (folder / "card.webp").read_bytes()
    assert not (folder / "polyroute.db").exists()  # nothing was started here
    lines = done.stderr.splitlines()
    identifier = lines[0].removeprefix("pipeline ")
    assert "words: succeeded openai/gpt-4o-mini" in lines
    told = json.loads(
        run_here("pipeline", "show", identifier, "--url", house.url, "--key", key, folder=folder).stdout
    )  # fmt: skip
    assert (told["status"], [step["status"] for step in told["steps"]]) == ("succeeded", ["succeeded"] * 2)


def test_what_failed_elsewhere_is_told_and_taken_up_again(
    house: GatewayProcess, key: str, folder: Path, sandbox: SimulatedProviders
) -> None:
    sandbox.break_down("replicate", "job_failed")
    asked = ("--url", house.url, "--key", key)
    failed = run_here("pipeline", "run", "postcard.yaml", *asked, "-i", "topic=a quay", folder=folder)
    assert failed.returncode == 1
    assert "polyroute: the pipeline is failed: Step 'card': " in failed.stderr
    identifier = failed.stderr.splitlines()[0].removeprefix("pipeline ")
    sandbox.mend("replicate")
    chats = sandbox.counters("openai")["requests"]
    done = run_here("pipeline", "resume", identifier, *asked, "--output", "card.webp", folder=folder)
    assert done.returncode == 0, done.stderr
    assert (folder / "card.webp").stat().st_size
    assert sandbox.counters("openai")["requests"] == chats
    again = run_here("pipeline", "resume", identifier, *asked, folder=folder)
    assert (again.returncode, "can be taken up again" in again.stderr) == (1, True), again.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", "postcard.yaml"), "'input.topic' is required: what it shows"),
        (("run", "postcard.yaml", "-i", "topic=x", "-i", "size=3"), "takes topic"),
        (("run", "postcard.yaml", "-i", "topic"), "it must be NAME=VALUE"),
        (("run", "postcard.yaml", "-i", "topic=x", "--key", "pr-wrong"), "This key is not known here"),
        (("show", "pipe_nobody"), "There is no pipeline 'pipe_nobody'"),
    ],
)
def test_refusals_are_told_in_one_line(
    house: GatewayProcess, key: str, folder: Path, arguments: tuple[str, ...], words: str
) -> None:
    done = run_here("pipeline", *arguments, "--url", house.url, folder=folder, extra={"POLYROUTE_KEY": key})
    assert (done.returncode, words in done.stderr, done.stderr.count("\n")) == (1, True, 1), done.stderr


def test_an_address_where_nobody_is_is_told(folder: Path) -> None:
    done = run_here("pipeline", "run", "postcard.yaml", "-i", "topic=x", "--url", "http://127.0.0.1:9", folder=folder)
    assert (done.returncode, "127.0.0.1:9" in done.stderr) == (1, True), done.stderr
    assert "Traceback" not in done.stderr
