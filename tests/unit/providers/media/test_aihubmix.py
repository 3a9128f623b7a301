"""AiHubMix beyond OpenAI's paths, over the sandbox."""

from __future__ import annotations

from typing import Any

import pytest

from polyroute.ports import Options
from polyroute.providers.media.aihubmix import native_state
from polyroute.types.errors import AttemptFailed, ErrorKind, PolyrouteError
from polyroute.types.media import Handle, MediaInput, Outcome, Task
from support.media_files import PNG
from support.media_gateway import MediaGateway, media_gateway
from support.media_making import data_uri, make

PICTURE = MediaInput(role="image", url=data_uri(PNG, "image/png"))
SEEDANCE = "aihubmix/doubao-seedance-2-0"


async def sent(gateway: MediaGateway) -> dict[str, Any]:
    rows = [row for row in await gateway.seen("aihubmix") if row["method"] == "POST"]
    body: dict[str, Any] = rows[-1]["body"]
    return body


async def test_native_pictures_are_answered_at_once_and_fetched_with_the_key(gateway: MediaGateway) -> None:
    result = await make(
        gateway, Task.TEXT_TO_IMAGE, "aihubmix/gpt-image-2", prompt="a kite", width=1024, height=1024, quality="low"
    )
    assert result.made.artifacts[0].family == "image"
    body = await sent(gateway)
    assert body == {
        "model": "gpt-image-2", "prompt": "a kite", "async": False, "n": 1, "size": "1024x1024",
        "extra": {"quality": "low"},
    }  # fmt: skip
    assert any("/content/" in row["path"] for row in await gateway.seen("aihubmix"))


async def test_a_model_with_a_vendor_is_a_prediction(gateway: MediaGateway) -> None:
    model = "aihubmix/doubao/doubao-seedream-4-0"
    result = await make(gateway, Task.TEXT_TO_IMAGE, model, prompt="a kite", resolution="2K")
    assert result.made.artifacts[0].family == "image"
    assert await sent(gateway) == {"input": {"prompt": "a kite", "size": "2K"}}


@pytest.mark.parametrize(
    ("model", "task", "wanted"),
    [
        ("veo-3.1-generate-001", Task.TEXT_TO_VIDEO, {"seconds": 4, "size": "1280x720"}),
        ("sora-2", Task.IMAGE_TO_VIDEO, {"seconds": "4", "input_reference": {}}),
        ("wan2.7-t2v", Task.TEXT_TO_VIDEO, {"seconds": "4", "size": "1280x720"}),
        ("doubao-seedance-2-0", Task.IMAGE_TO_VIDEO, {"duration": 4, "ratio": "16:9"}),
        ("happyhorse-1.1", Task.IMAGE_TO_VIDEO, {"parameters": {"duration": 4, "aspect_ratio": "16:9"}}),
    ],
)
async def test_a_film_is_asked_for_in_its_makers_form(
    gateway: MediaGateway, model: str, task: Task, wanted: dict[str, Any]
) -> None:
    inputs = (PICTURE,) if task is Task.IMAGE_TO_VIDEO else ()
    target = f"aihubmix/{model}"
    result = await make(gateway, task, target, prompt="rain", duration=4, aspect_ratio="16:9", inputs=inputs)
    assert result.made.artifacts[0].family == "video"
    body = await sent(gateway)
    if "input_reference" in body:
        assert await gateway.download(body["input_reference"].pop("image_url")) == PNG
    assert {name: body[name] for name in wanted} == wanted
    assert "aspect_ratio" not in body


async def test_native_films_by_an_option(tmp_path: Any) -> None:
    options = {"providers": {"aihubmix": {"options": {"native_videos": True}}}}
    async with media_gateway(tmp_path, options) as gateway:
        result = await make(gateway, Task.IMAGE_TO_VIDEO, SEEDANCE, prompt="rain", inputs=(PICTURE,), duration=5)
        assert result.made.artifacts[0].family == "video"
        [frame] = (await sent(gateway))["frame_images"]
        assert frame["frame_type"] == "first_frame"
        assert await gateway.download(frame["image_url"]["url"]) == PNG


async def test_a_film_that_fails_is_made_by_the_next(gateway: MediaGateway) -> None:
    await gateway.fail("aihubmix", "job_failed", times=5)
    options = Options(fallbacks=("replicate/google/veo-3.1-fast",))
    assert (await make(gateway, Task.TEXT_TO_VIDEO, SEEDANCE, prompt="rain", options=options)).provider == "replicate"


async def test_veo_makes_no_film_of_a_picture_here(gateway: MediaGateway) -> None:
    with pytest.raises(PolyrouteError) as caught:
        await make(gateway, Task.IMAGE_TO_VIDEO, "aihubmix/veo-3.1-fast-generate-001", prompt="rain", inputs=(PICTURE,))
    assert caught.value.kind is ErrorKind.UNSUPPORTED
    assert await gateway.jobs("aihubmix") == []


def test_the_documented_object_is_understood() -> None:
    url = "https://aihubmix.com/ai/v1/images/t_1/content/res_1"
    job = {
        "id": "t_1", "object": "image", "model": "gpt-image-2", "status": "completed", "error": None,
        "output": [{"index": 0, "type": "file", "b64_json": None, "content_url": url}],
    }  # fmt: skip
    outcome = native_state(job, Handle(id="t_1", data={"kind": "images"}))
    assert isinstance(outcome, Outcome)
    assert (outcome.produced[0].url, outcome.produced[0].authenticated, outcome.usage.images) == (url, True, 1)


@pytest.mark.parametrize(
    ("job", "kind"),
    [
        ({"status": "failed", "error": {"code": "content_policy_violation"}}, ErrorKind.CONTENT_FILTERED),
        ({"status": "timeout"}, ErrorKind.GENERATION_FAILED),
        ({"status": "cancelled"}, ErrorKind.GENERATION_FAILED),
        ({"status": "completed", "output": []}, ErrorKind.BAD_RESPONSE),
    ],
)
def test_a_job_that_ends_badly(job: dict[str, Any], kind: ErrorKind) -> None:
    with pytest.raises(AttemptFailed) as caught:
        native_state(job, Handle(id="t_1", data={"kind": "videos"}))
    assert caught.value.failure.kind is kind
