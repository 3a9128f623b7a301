"""A pipeline whose server is killed in each of its steps: it goes on where it was, and nothing is bought twice."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import httpx

from support.eventually import eventually
from support.gateway_process import GatewayProcess
from support.simulated_providers import SimulatedProviders

STEPS: list[dict[str, Any]] = [
    {"id": "script", "chat": "One sentence about {{input.topic}}.", "model": "openai/gpt-4o-mini"},
    {"id": "picture", "task": "text_to_image", "model": "replicate/black-forest-labs/flux-schnell",
     "prompt": "{{script.text}}"},
    {"id": "moving", "task": "image_to_video", "model": "replicate/kwaivgi/kling-v2.1", "prompt": "slowly",
     "inputs": {"first_frame": "{{picture.artifacts[0]}}"}},
    {"id": "voice", "task": "speech", "model": "replicate/suno-ai/bark", "prompt": "{{script.text}}",
     "needs": ["moving"]},
    {"id": "clip", "task": "compose", "model": "ffmpeg/ffmpeg", "timeline": {
        "clips": [{"source": "{{moving.artifacts[0]}}"}], "audio": [{"source": "{{voice.artifacts[0]}}"}]}},
]  # fmt: skip


def house(folder: Path, sandbox: SimulatedProviders) -> GatewayProcess:
    """A gateway that takes over from a dead one within a few seconds."""
    config = {
        "fetch": {"allow": ["127.0.0.1"]},
        "jobs": {"heartbeat": 0.3, "lost_after": 2.0},
        "providers": {
            "openai": {"base_url": f"{sandbox.url}/openai/v1", "api_key": "sk-x"},
            "replicate": {"base_url": f"{sandbox.url}/replicate/v1", "api_key": "r8_x"},
            "ffmpeg": {},
        },
    }
    return GatewayProcess(folder, json.dumps(config))


def test_a_pipeline_survives_kill_9_of_the_server_in_each_step(tmp_path: Path, sandbox: SimulatedProviders) -> None:
    sandbox.set("replicate", job_seconds=1.5)
    sandbox.set("openai", latency=1.0)
    started: list[GatewayProcess] = []

    def start() -> httpx.Client:
        process = house(tmp_path, sandbox)
        process.__enter__()
        started.append(process)
        return httpx.Client(base_url=process.url, timeout=30, trust_env=False)

    client = start()
    body = {"inputs": {"topic": {}}, "input": {"topic": "a lighthouse"}, "steps": STEPS}
    identifier = client.post("/v1/pipelines", json=body).json()["id"]
    killed: list[str] = []

    def look() -> dict[str, Any]:
        found: dict[str, Any] = client.get(f"/v1/pipelines/{identifier}").json()
        return found

    def under_way(name: str) -> bool:
        states = {step["id"]: step["status"] for step in look()["steps"]}
        assert "failed" not in states.values(), look()
        return states[name] != "waiting"

    try:
        for step in STEPS:
            eventually(lambda name=step["id"]: under_way(name), within=30)  # type: ignore[misc] # mypy does not infer defaults of lambdas
            client.close()
            started[-1].kill()
            killed.append(step["id"])
            client = start()
        told = client.get(f"/v1/pipelines/{identifier}", headers={"prefer": "wait=30"}).json()
        assert (told["status"], killed) == ("succeeded", [step["id"] for step in STEPS]), told
        content = client.get(told["videoUrl"]).content
        assert (len(content), content[4:8]) == (told["artifacts"][0]["size"], b"ftyp")
        with httpx.Client(trust_env=False) as control:
            given = control.get(f"{sandbox.url}/_control/jobs?provider=replicate").json()["jobs"]
        assert Counter(job["model"].split(":")[0] for job in given) == {
            "black-forest-labs/flux-schnell": 1, "kwaivgi/kling-v2.1": 1, "suno-ai/bark": 1,
        }  # fmt: skip
        rows = [started[-1].entry(step["job"]) for step in told["steps"]]
        assert {row["status"] for row in rows} == {"COMPLETED"}
    finally:
        client.close()
        started[-1].kill()
