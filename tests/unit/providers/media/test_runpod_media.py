"""RunPod's public endpoints over the sandbox, and what workers of one's own return."""

from __future__ import annotations

import base64
from decimal import Decimal
from typing import Any

import pytest

from polyroute.ports import Options
from polyroute.providers.media.runpod import read_job
from polyroute.types.errors import AttemptFailed, ErrorKind, PolyrouteError
from polyroute.types.media import Handle, MediaInput, Outcome, Produced, Progress, Task
from support.media_files import PNG, wav
from support.media_gateway import MediaGateway
from support.media_making import data_uri, make

FLUX = "runpod/black-forest-labs-flux-1-schnell"
PICTURE = MediaInput(role="image", url=data_uri(PNG, "image/png"))
RECORDING = MediaInput(role="reference_audio", url=data_uri(wav(1.0), "audio/wav"))


async def test_a_picture_at_the_price_that_runpod_states(gateway: MediaGateway) -> None:
    answer = await gateway.image(FLUX, size="1024x768", seed=3)
    assert answer.json()["data"][0]["b64_json"]
    [job] = await gateway.jobs("runpod")
    entry = await gateway.entry(answer)
    assert (entry["images"], entry["cost_usd"]) == (1, pytest.approx(job["cost"]))
    row = next(row for row in await gateway.seen("runpod") if row["path"].endswith("/run"))
    assert row["path"].endswith("/v2/black-forest-labs-flux-1-schnell/run")
    assert row["body"] == {"input": {"prompt": "a red bicycle", "width": 1024, "height": 768, "seed": 3}}


@pytest.mark.parametrize(
    ("task", "model", "fields", "family"),
    [
        (Task.IMAGE_TO_IMAGE, "qwen-image-edit", {"prompt": "blue", "inputs": (PICTURE,)}, "image"),
        (Task.TEXT_TO_IMAGE, "my-comfyui-worker", {"prompt": "blue"}, "image"),
        (Task.TEXT_TO_VIDEO, "wan-2-6-t2v", {"prompt": "rain", "duration": 5}, "video"),
        (Task.IMAGE_TO_VIDEO, "kling-v2-1-i2v-pro", {"prompt": "rain", "inputs": (PICTURE,)}, "video"),
        (Task.SPEECH, "chatterbox-turbo", {"prompt": "Hello.", "inputs": (RECORDING,)}, "audio"),
        (Task.SPEECH, "minimax-speech-02-hd", {"prompt": "Hello.", "voice": "Wise_Woman", "speed": 3}, "audio"),
    ],
)
async def test_every_task(gateway: MediaGateway, task: Task, model: str, fields: dict[str, Any], family: str) -> None:
    result = await make(gateway, task, f"runpod/{model}", **fields)
    assert [artifact.family for artifact in result.made.artifacts] == [family]


async def test_a_transcript(gateway: MediaGateway) -> None:
    files = {"file": ("talk.wav", wav(2.0), "audio/wav")}
    answer = await gateway.post("/v1/audio/transcriptions", files=files, data={"model": "runpod/whisper"})
    assert answer.json()["text"]


async def test_the_next_provider_serves_when_the_job_fails(gateway: MediaGateway) -> None:
    await gateway.fail("runpod", "job_failed", times=5)
    options = Options(fallbacks=("replicate/google/veo-3.1-fast",))
    result = await make(gateway, Task.TEXT_TO_VIDEO, "runpod/wan-2-6-t2v", prompt="rain", options=options)
    assert result.provider == "replicate"
    assert len(await gateway.jobs("runpod")) == 1


async def test_a_picture_that_an_endpoint_needs_is_asked_for(gateway: MediaGateway) -> None:
    with pytest.raises(PolyrouteError, match="needs 'image'"):
        await make(gateway, Task.IMAGE_TO_IMAGE, "runpod/qwen-image-edit", prompt="blue")
    assert await gateway.jobs("runpod") == []


HANDLE = Handle(id="job-1", data={"endpoint": "worker", "task": "text_to_image"})
TEXT = base64.b64encode(PNG).decode()


@pytest.mark.parametrize(
    ("output", "produced"),
    [
        ({"image_url": "https://image.example/job-1.jpeg", "cost": 0.021}, Produced(url="https://image.example/job-1.jpeg")),
        ({"images": [{"filename": "a.png", "type": "base64", "data": TEXT}]}, Produced(data=PNG)),
        ({"images": [{"filename": "a.png", "type": "s3_url", "data": "https://s3.example/a.png"}]}, Produced(url="https://s3.example/a.png")),
        ({"images": [{"image": f"data:image/png;base64,{TEXT}"}]}, Produced(url=f"data:image/png;base64,{TEXT}")),
        ([{"image": TEXT}], Produced(data=PNG)),
        (TEXT, Produced(data=PNG)),
        ({"result": "https://video.example/a.mp4"}, Produced(url="https://video.example/a.mp4")),
    ],
)  # fmt: skip
def test_whatever_a_worker_returns(output: Any, produced: Produced) -> None:
    outcome = read_job({"id": "job-1", "status": "COMPLETED", "output": output, "executionTime": 3391}, HANDLE)
    assert isinstance(outcome, Outcome)
    assert outcome.produced == (produced,)
    assert outcome.usage.reported_cost_usd == (Decimal("0.021") if "cost" in output else None)


@pytest.mark.parametrize("status", ["IN_QUEUE", "IN_PROGRESS", "RUNNING"])
def test_a_job_under_way(status: str) -> None:
    assert isinstance(read_job({"id": "job-1", "status": status}, HANDLE), Progress)


@pytest.mark.parametrize(
    ("job", "kind"),
    [
        ({"status": "FAILED", "error": "CUDA out of memory"}, ErrorKind.GENERATION_FAILED),
        ({"status": "FAILED", "error": "NSFW content detected"}, ErrorKind.CONTENT_FILTERED),
        ({"status": "TIMED_OUT"}, ErrorKind.GENERATION_FAILED),
        ({"status": "CANCELLED"}, ErrorKind.GENERATION_FAILED),
        ({"status": "COMPLETED", "output": {"error": "no workflow"}}, ErrorKind.GENERATION_FAILED),
        ({"status": "COMPLETED", "output": {"images": []}}, ErrorKind.BAD_RESPONSE),
        ({"status": "COMPLETED", "output": {"image": "%" * 99}}, ErrorKind.BAD_RESPONSE),
    ],
)
def test_a_job_that_ends_badly(job: dict[str, Any], kind: ErrorKind) -> None:
    with pytest.raises(AttemptFailed) as caught:
        read_job(job, HANDLE)
    assert caught.value.failure.kind is kind
