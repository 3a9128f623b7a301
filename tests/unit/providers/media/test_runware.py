"""Runware as callers meet it, over the sandbox's socket and REST."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from polyroute.ports import Options
from polyroute.providers.media.runware.errors import kind_of
from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.media import MediaInput, Task
from support.media_files import PNG, mp4, openai_mask, wav
from support.media_gateway import MediaGateway, media_gateway
from support.media_making import data_uri, make

FLUX = "runware/runware:101@1"
SEEDANCE = "runware/bytedance:seedance@2.0"
PICTURE = MediaInput(role="image", url=data_uri(PNG, "image/png"))


@pytest.fixture
async def rest(tmp_path: Path) -> AsyncIterator[MediaGateway]:
    options = {"providers": {"runware": {"options": {"transport": "rest"}}}}
    async with media_gateway(tmp_path, options) as made:
        yield made


async def test_many_pictures_at_once_share_one_socket(gateway: MediaGateway) -> None:
    asked = [gateway.image(FLUX, prompt=f"owl {number}", n=2, output_format="png") for number in range(8)]
    for answer in await asyncio.gather(*asked):
        assert [base64.b64decode(row["b64_json"])[:4] for row in answer.json()["data"]] == [b"\x89PNG"] * 2
    rows = await gateway.seen("runware")
    assert [row["method"] for row in rows] == ["GET"]
    assert len(await gateway.jobs("runware")) == 8


async def test_what_runware_charged_is_the_cost(gateway: MediaGateway) -> None:
    answer = await gateway.image(FLUX, n=2, size="1000x700", seed=5)
    entry = await gateway.entry(answer)
    assert entry["cost_usd"] == pytest.approx(0.0038)
    assert "size 1000x700 became 1024x704" in answer.headers["x-polyroute-notes"]


async def test_a_task_whose_acceptance_is_lost_is_not_started_twice(gateway: MediaGateway) -> None:
    await gateway.fail("runware", "lost_after_acceptance", times=1)
    answer = await gateway.image(FLUX)
    assert answer.json()["data"][0]["b64_json"]
    assert answer.headers["x-polyroute-attempts"] == "1"
    assert len(await gateway.jobs("runware")) == 1
    assert len([row for row in await gateway.seen("runware") if row["method"] == "GET"]) == 2


async def test_a_task_that_is_unknown_at_first_is_asked_for_again(gateway: MediaGateway) -> None:
    await gateway.fail("runware", "missing_at_first", times=1, polls=2)
    assert (await gateway.image(FLUX)).json()["data"]


async def test_a_picture_is_edited_under_a_mask(gateway: MediaGateway) -> None:
    files = {"image": ("a.png", PNG, "image/png"), "mask": ("m.png", openai_mask(64, 64), "image/png")}
    answer = await gateway.post("/v1/images/edits", files=files, data={"model": FLUX, "prompt": "a blue door"})
    assert answer.json()["data"][0]["b64_json"]


@pytest.mark.parametrize(
    ("task", "model", "fields", "family"),
    [
        (Task.UPSCALE_IMAGE, "runware/runware:500@1", {"inputs": (PICTURE,), "scale": 2}, "image"),
        (Task.REMOVE_BACKGROUND, "runware/runware:112@1", {"inputs": (PICTURE,)}, "image"),
        (Task.IMAGE_TO_IMAGE, "runware/bfl:5@1", {"inputs": (PICTURE,), "prompt": "in winter"}, "image"),
        (Task.TEXT_TO_VIDEO, SEEDANCE, {"prompt": "rain", "duration": 5, "sound": True}, "video"),
        (Task.IMAGE_TO_VIDEO, SEEDANCE, {"prompt": "rain", "inputs": (PICTURE,), "aspect_ratio": "9:16"}, "video"),
        (
            Task.VIDEO_TO_VIDEO, "runware/runway:aleph@2.0",
            {"prompt": "rain", "inputs": (MediaInput(role="video", url=data_uri(mp4(), "video/mp4")),)}, "video",
        ),
        (Task.SPEECH, "runware/minimax:speech@2.8", {"prompt": "Hello there.", "format": "wav", "speed": 1.2}, "audio"),
        (
            Task.SPEECH, "runware/alibaba:qwen@3-tts-1.7b-base",
            {"prompt": "Hi.", "inputs": (MediaInput(role="reference_audio", url=data_uri(wav(1.0), "audio/wav")),)},
            "audio",
        ),
        (Task.MUSIC, "runware/minimax:music@2.6", {"prompt": "a waltz", "duration": 12, "lyrics": "la la"}, "audio"),
        (Task.SOUND_EFFECT, "runware/mirelo:1@1", {"prompt": "a door", "duration": 10}, "audio"),
    ],
)  # fmt: skip
async def test_every_task(gateway: MediaGateway, task: Task, model: str, fields: dict[str, Any], family: str) -> None:
    result = await make(gateway, task, model, **fields)
    assert [artifact.family for artifact in result.made.artifacts] == [family]
    assert result.made.usage.reported_cost_usd
    assert (await gateway.jobs("runware"))[0]["state"] == "succeeded"


async def test_a_film_has_the_length_and_shape_that_were_asked_for(gateway: MediaGateway) -> None:
    made = (await make(gateway, Task.TEXT_TO_VIDEO, SEEDANCE, prompt="rain", duration=4, aspect_ratio="9:16")).made
    [film] = made.artifacts
    assert (film.width, film.height, film.duration_s) == (720, 1280, pytest.approx(4, abs=0.1))
    assert made.usage.seconds == 4


@pytest.mark.parametrize(
    ("fault", "kind"),
    [("moderation", ErrorKind.CONTENT_FILTERED), ("job_failed", ErrorKind.GENERATION_FAILED)],
)
async def test_a_task_that_fails_says_why(gateway: MediaGateway, fault: str, kind: ErrorKind) -> None:
    await gateway.fail("runware", fault, times=5)
    with pytest.raises(PolyrouteError) as caught:
        await make(gateway, Task.TEXT_TO_VIDEO, SEEDANCE, prompt="rain")
    assert kind in (caught.value.kind, *(attempt.kind for attempt in caught.value.attempts))
    assert len(await gateway.jobs("runware")) == 1


async def test_another_provider_makes_what_runware_failed_at(gateway: MediaGateway) -> None:
    await gateway.fail("runware", "job_failed", times=5)
    options = Options(fallbacks=("replicate/google/veo-3.1-fast",))
    assert (await make(gateway, Task.TEXT_TO_VIDEO, SEEDANCE, prompt="rain", options=options)).provider == "replicate"


async def test_a_bad_length_is_named_with_what_is_possible(gateway: MediaGateway) -> None:
    with pytest.raises(PolyrouteError) as caught:
        await make(gateway, Task.TEXT_TO_VIDEO, SEEDANCE, prompt="rain", duration=500)
    assert (caught.value.kind, caught.value.param) == (ErrorKind.INVALID_REQUEST, "duration")
    assert "5, 10" in caught.value.message
    assert await gateway.jobs("runware") == []


async def test_over_rest_it_is_the_same(rest: MediaGateway) -> None:
    answer = await rest.image(FLUX, n=2)
    assert len(answer.json()["data"]) == 2
    assert {row["method"] for row in await rest.seen("runware")} == {"POST"}
    with pytest.raises(PolyrouteError) as caught:
        await make(rest, Task.TEXT_TO_VIDEO, SEEDANCE, prompt="rain", duration=500)
    assert caught.value.param == "duration"


@pytest.mark.parametrize(
    ("code", "accepted", "kind"),
    [
        ("contentPolicyViolation", True, ErrorKind.CONTENT_FILTERED),
        ("invalidApiKey", False, ErrorKind.CREDENTIAL_REJECTED),
        ("insufficientCredits", False, ErrorKind.QUOTA_EXHAUSTED),
        ("rateLimitExceeded", False, ErrorKind.RATE_LIMITED),
        ("invalidModel", False, ErrorKind.MODEL_NOT_FOUND),
        ("unsupportedOutputType", False, ErrorKind.UNSUPPORTED),
        ("missingPositivePrompt", False, ErrorKind.INVALID_REQUEST),
        ("noAvailableServer", False, ErrorKind.UNAVAILABLE),
        ("noAvailableServer", True, ErrorKind.GENERATION_FAILED),
        ("timeoutProvider", True, ErrorKind.GENERATION_FAILED),
        ("somethingNew", True, ErrorKind.GENERATION_FAILED),
    ],
)
def test_each_code_has_its_kind(code: str, accepted: bool, kind: ErrorKind) -> None:
    assert kind_of(code, accepted=accepted) is kind
