"""Pipelines as callers meet them, at the simulated providers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from support.eventually import eventually
from support.gateway_process import GatewayProcess
from support.simulated_providers import SimulatedProviders

FLUX, KLING = "black-forest-labs/flux-schnell", "kwaivgi/kling-v2.1"
SCHEMA = {
    "type": "object",
    "properties": {"scenes": {"type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 2}},
    "required": ["scenes"],
}
STEPS: list[dict[str, Any]] = [
    {"id": "script", "task": "chat", "model": "text", "prompt": "Two scenes about {{input.topic}}.", "schema": SCHEMA},
    {"id": "picture", "task": "text_to_image", "model": "picture",
     "prompt": "{{script.json.scenes[0]}}, {{input.style}}"},
    {"id": "moving", "task": "image_to_video", "model": "film", "prompt": "slowly",
     "inputs": {"first_frame": "{{picture.artifacts[0]}}"}},
    {"id": "voice", "task": "speech", "model": "voice", "prompt": "{{script.text}}"},
]  # fmt: skip
PIPELINE: dict[str, Any] = {
    "name": "scene",
    "inputs": {"topic": {"description": "what it is about"}, "style": {"default": "watercolour"}},
    "steps": STEPS,
    "output": "moving",
    "input": {"topic": "Lighthouses"},
}


@pytest.fixture(scope="module")
def house(simulated: SimulatedProviders, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway that works on its jobs itself."""
    config = {
        "fetch": {"allow": ["127.0.0.1"]},
        "defaults": {"retries": 0, "breaker": {"failures": 100_000, "minimum": 100_000}},
        "providers": {
            "openai": {"base_url": f"{simulated.url}/openai/v1", "api_key": "sk-x"},
            "groq": {"base_url": f"{simulated.url}/groq/openai/v1", "api_key": "gsk_x"},
            "replicate": {"base_url": f"{simulated.url}/replicate/v1", "api_key": "r8_x"},
            "elevenlabs": {"base_url": f"{simulated.url}/elevenlabs", "api_key": "xi"},
        },
        "routes": {
            "text": {"operation": "chat", "targets": ["openai/gpt-4o-mini", "groq/llama-3.3-70b-versatile"]},
            "picture": {"operation": "image", "targets": [f"replicate/{FLUX}"]},
            "film": {"operation": "video", "targets": [f"replicate/{KLING}"]},
            "voice": {
                "operation": "speech",
                "targets": ["elevenlabs/eleven_multilingual_v2", "replicate/suno-ai/bark"],
            },
        },
    }
    with GatewayProcess(tmp_path_factory.mktemp("pipelines"), json.dumps(config)) as process:
        yield process


@pytest.fixture
def caller(house: GatewayProcess, sandbox: SimulatedProviders) -> Iterator[httpx.Client]:
    """An HTTP client; the simulated providers are well and quick."""
    sandbox.set("*", job_seconds=0.2)
    with httpx.Client(base_url=house.url, timeout=40, trust_env=False) as client:
        yield client


def with_step(place: int, **changes: Any) -> dict[str, Any]:
    """The pipeline with one step changed; None takes a field out."""
    steps = [dict(step) for step in STEPS]
    steps[place] = {name: value for name, value in {**steps[place], **changes}.items() if value is not None}
    return {**PIPELINE, "steps": steps}


def run(caller: httpx.Client, body: dict[str, Any]) -> dict[str, Any]:
    """The pipeline, when nothing happens to it any more."""
    answer = caller.post("/v1/pipelines", json=body, headers={"prefer": "wait=30"})
    assert answer.status_code in (200, 202), answer.text
    told: dict[str, Any] = answer.json()
    assert told["status"] not in ("queued", "running"), told
    return told


def steps_of(told: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Steps by their ids."""
    return {step["id"]: step for step in told["steps"]}


def submitted(sandbox: SimulatedProviders) -> list[dict[str, Any]]:
    """What Replicate was given to do."""
    with httpx.Client(trust_env=False) as client:
        found: list[dict[str, Any]] = client.get(f"{sandbox.url}/_control/jobs?provider=replicate").json()["jobs"]
        return found


def test_steps_use_what_earlier_steps_made_and_each_has_its_row(caller: httpx.Client, house: GatewayProcess) -> None:
    told = run(caller, PIPELINE)
    assert (told["status"], told["percent"], told["input"]["style"]) == ("succeeded", 100.0, "watercolour"), told
    steps = steps_of(told)
    assert [step["status"] for step in told["steps"]] == ["succeeded"] * 4
    assert json.loads(steps["script"]["text"])["scenes"][0]
    (clip,) = told["artifacts"]
    assert (clip["media_type"], clip["duration"]) == ("video/mp4", 5.0)
    assert clip == {**steps["moving"]["artifacts"][0], "url": clip["url"]}
    content = caller.get(told["videoUrl"]).content
    assert (len(content), content[4:8]) == (clip["size"], b"ftyp")
    rows = {name: house.entry(step["job"]) for name, step in steps.items()}
    assert {name: row["operation"] for name, row in rows.items()} == {
        "script": "chat", "picture": "image", "moving": "video", "voice": "speech",
    }  # fmt: skip
    assert {row["status"] for row in rows.values()} == {"COMPLETED"}
    known = [step["cost_usd"] for step in steps.values() if "cost_usd" in step]
    assert float(told["cost_usd"]) == pytest.approx(sum(map(float, known)))


def test_the_request_of_a_step_holds_what_the_step_before_it_said(caller: httpx.Client, house: GatewayProcess) -> None:
    told = run(caller, {**PIPELINE, "input": {"topic": "Harbours", "style": "ink"}})
    steps = steps_of(told)
    scene = json.loads(steps["script"]["text"])["scenes"][0]
    (row,) = house.sql("SELECT request FROM jobs WHERE id = ?", steps["picture"]["job"])
    assert json.loads(row["request"])["prompt"] == f"{scene}, ink"
    (row,) = house.sql("SELECT request FROM jobs WHERE id = ?", steps["moving"]["job"])
    assert json.loads(row["request"])["inputs"][0]["artifact"] == steps["picture"]["artifacts"][0]["id"]


def test_each_step_falls_back_by_its_own_route(
    caller: httpx.Client, house: GatewayProcess, sandbox: SimulatedProviders
) -> None:
    sandbox.break_down("openai", "status", status=500)
    sandbox.break_down("elevenlabs", "status", status=500)
    told = run(caller, PIPELINE)
    steps = steps_of(told)
    assert told["status"] == "succeeded", told
    assert (steps["script"]["provider"], steps["voice"]["provider"]) == ("groq", "replicate")
    assert [row["outcome"] for row in house.attempts(steps["voice"]["job"])] == ["failed", "served"]


def test_a_failed_step_keeps_what_is_done_and_resuming_buys_nothing_twice(
    caller: httpx.Client, sandbox: SimulatedProviders
) -> None:
    sandbox.set("replicate", operation="video", faults=[{"kind": "job_failed"}])
    failed = run(caller, PIPELINE)
    steps = steps_of(failed)
    assert (failed["status"], failed["error"]["kind"]) == ("failed", "generation_failed"), failed
    assert failed["error"]["message"].startswith("Step 'moving': ")
    assert [steps[name]["status"] for name in ("script", "picture", "voice")] == ["succeeded"] * 3
    assert steps["picture"]["artifacts"][0]["media_type"].startswith("image/")
    before = submitted(sandbox)
    sandbox.set("replicate", operation="video", faults=[])
    asked = sandbox.counters("openai")["requests"]
    again = caller.post(f"/v1/pipelines/{failed['id']}/resume")
    assert (again.status_code, again.headers["location"]) == (202, f"/v1/pipelines/{failed['id']}")
    done = caller.get(f"/v1/pipelines/{failed['id']}", headers={"prefer": "wait=30"}).json()
    assert (done["status"], done["round"]) == ("succeeded", 1), done
    assert len(submitted(sandbox)) == len(before) + 1
    assert sandbox.counters("openai")["requests"] == asked
    assert steps_of(done)["picture"]["artifacts"][0]["id"] == steps["picture"]["artifacts"][0]["id"]
    refused = caller.post(f"/v1/pipelines/{failed['id']}/resume")
    assert (refused.status_code, "succeeded" in refused.json()["error"]["message"]) == (409, True)


def test_an_optional_step_that_nobody_can_do_is_skipped(caller: httpx.Client, sandbox: SimulatedProviders) -> None:
    steps = [
        {"id": "still", "task": "text_to_image", "model": "picture", "prompt": "a quay"},
        {"id": "moving", "task": "image_to_video", "model": "no-such-route", "optional": True,
         "inputs": {"first_frame": "{{still.artifacts[0]}}"}},
        {"id": "broken", "task": "image_to_video", "model": "film", "optional": True,
         "inputs": {"first_frame": "{{still.artifacts[0]}}"}},
        {"id": "larger", "task": "upscale_image", "model": "replicate/nightmareai/real-esrgan",
         "inputs": {"image": "{{moving.artifacts[0] | broken.artifacts[0] | still.artifacts[0]}}"}},
    ]  # fmt: skip
    sandbox.set("replicate", operation="video", faults=[{"kind": "job_failed"}])
    told = run(caller, {"steps": steps})
    assert told["status"] == "succeeded", told
    assert [step["status"] for step in told["steps"]] == ["succeeded", "skipped", "skipped", "succeeded"]
    assert told["percent"] == 100.0


def test_events_tell_of_steps_and_progress(caller: httpx.Client) -> None:
    identifier = caller.post("/v1/pipelines", json=PIPELINE).json()["id"]
    text = caller.get(f"/v1/pipelines/{identifier}/events").text
    blocks = [dict(line.split(": ", 1) for line in block.splitlines() if ": " in line) for block in text.split("\n\n")]
    events = [(one["event"], json.loads(one["data"])) for one in blocks if "event" in one]
    name, whole = events[-1]
    assert (name, whole["status"], len(whole["steps"])) == ("pipeline", "succeeded", 4)
    told = [(data["step"], data["state"]) for name, data in events if name == "step"]
    assert (
        told.index(("picture", "succeeded")) < told.index(("moving", "running")) < told.index(("moving", "succeeded"))
    )
    percents = [data["percent"] for name, data in events if name == "progress"]
    assert len(percents) > 2
    assert percents == sorted(percents)
    assert "final" not in text


def test_cancelling_reaches_the_providers(caller: httpx.Client, sandbox: SimulatedProviders) -> None:
    sandbox.set("*", job_seconds=60)
    identifier = caller.post("/v1/pipelines", json=PIPELINE).json()["id"]
    eventually(lambda: [job for job in submitted(sandbox) if job["polls"]])
    told = caller.delete(f"/v1/pipelines/{identifier}").json()
    assert told["status"] == "cancelled", told
    assert steps_of(told)["picture"]["status"] == "cancelled"
    assert steps_of(told)["moving"]["status"] == "waiting"
    assert [job["state"] for job in submitted(sandbox)] == ["canceled"]


def test_a_step_of_unknown_acceptance_parks_the_pipeline_until_an_operator_decides(
    caller: httpx.Client, sandbox: SimulatedProviders
) -> None:
    sandbox.break_down("replicate", "lost_after_acceptance", times=1)
    parked = run(caller, PIPELINE)
    step = steps_of(parked)["picture"]
    assert (parked["status"], step["status"]) == ("needs_attention", "needs_attention"), parked
    assert "operator" in parked["note"]
    (known,) = submitted(sandbox)  # the operator looks at the provider's own list
    adopted = {"decision": "adopt", "handle": known["id"], "data": {"task": "text_to_image", "n": 1}}
    decided = caller.post(f"/admin/api/jobs/{step['job']}/resolve", json=adopted)
    assert decided.status_code == 200, decided.text
    done = caller.get(f"/v1/pipelines/{parked['id']}", headers={"prefer": "wait=30"}).json()
    assert done["status"] == "succeeded", done.get("error")


def test_the_same_idempotency_key_is_the_same_pipeline(caller: httpx.Client) -> None:
    headers = {"idempotency-key": "scene-1"}
    first = caller.post("/v1/pipelines", json=PIPELINE, headers=headers).json()["id"]
    assert caller.post("/v1/pipelines", json=PIPELINE, headers=headers).json()["id"] == first
    listed = caller.get("/v1/pipelines").json()["data"]
    assert [one["id"] for one in listed].count(first) == 1
    caller.delete(f"/v1/pipelines/{first}")


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        ({**PIPELINE, "steps": []}, "steps", "1 to 64"),
        ({**PIPELINE, "colour": "red"}, "colour", "there are name"),
        ({**PIPELINE, "output": "nothing"}, "output", "there are script, picture"),
        ({**PIPELINE, "input": {}}, "input.topic", "what it is about"),
        ({**PIPELINE, "input": {"topic": "x", "size": 1}}, "input.size", "takes topic, style"),
        ({**PIPELINE, "inputs": {**PIPELINE["inputs"], "mood": {}}}, "inputs.mood", "used by no step"),
        (with_step(0, id="Input Step"), "steps[0].id", "names are like"),
        (with_step(1, id="script"), "steps[1].id", "another step"),
        (with_step(1, task="text_to_smell"), "steps[1].task", "text_to_image"),
        (with_step(1, model="no-such-route"), "steps[1].model", "no-such-route"),
        (with_step(1, model="film"), "steps[1].model", "video"),
        (with_step(1, model=None), "steps[1].model", "route"),
        (with_step(1, prompt="{{scipt.text}}"), "steps[1].prompt", "there are input, script"),
        (with_step(1, prompt="{{script.artifacts[0]}}"), "steps[1].prompt", "has text, lines, json"),
        (with_step(1, prompt="{{input.tpoic}}"), "steps[1].prompt", "there are topic, style"),
        (with_step(1, prompt="{{ script.text() }}"), "steps[1].prompt", "is no template"),
        (with_step(1, needs=["moving"]), "steps[1].needs", "picture needs moving needs picture"),
        (with_step(1, needs=["nobody"]), "steps[1].needs", "no step 'nobody'"),
        (with_step(1, width=100_000), "steps[1].width", "16384"),
        (with_step(1, brightness=3), "steps[1].brightness", "no field"),
        (with_step(1, optional=True), "steps[2].first_frame", "is optional"),
        (with_step(2, inputs={"smell": "{{picture.artifacts[0]}}"}), "steps[2].inputs.smell", "first_frame"),
        (with_step(2, inputs=None), "steps[2].image", "required"),
        (with_step(0, colour="red"), "steps[0].colour", "prompt, system"),
        (with_step(0, polyroute={"policy": "best"}), "steps[0].polyroute.policy", "fastest"),
    ],
)
def test_what_makes_no_sense_is_refused_by_its_field_before_anybody_is_asked(
    caller: httpx.Client, sandbox: SimulatedProviders, body: dict[str, Any], param: str, words: str
) -> None:
    answer = caller.post("/v1/pipelines", json=body)
    error = answer.json()["error"]
    assert answer.status_code in (400, 404), error
    assert (error["param"], words in error["message"]) == (param, True), error
    assert sandbox.seen() == []
