"""OpenRouter's pictures: over the sandbox, and as they were recorded."""

from __future__ import annotations

from decimal import Decimal

import pytest

from polyroute.providers.media.openrouter import outcome_of
from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.media import MediaInput, MediaRequest, Task
from support.media_files import PNG
from support.media_gateway import MediaGateway
from support.media_making import data_uri, make
from support.media_recordings import recording

MODEL = "openrouter/google/gemini-3.1-flash-lite-image"
RECORDED = "openrouter/image-edit-functionality-with-reference-images-flash-lite-image-edits"


async def test_a_picture_is_changed_with_the_body_that_was_recorded(gateway: MediaGateway) -> None:
    sent = recording(RECORDED)["request"]["body_json"]
    files = {"image": ("logo.png", PNG, "image/png")}
    answer = await gateway.post("/v1/images/edits", files=files, data={"model": MODEL, "prompt": sent["prompt"]})
    assert answer.headers["x-polyroute-provider"] == "openrouter"
    assert answer.json()["data"][0]["b64_json"]
    body = (await gateway.seen("openrouter"))[-1]["body"]
    assert body.keys() == sent.keys()
    assert body["model"] == sent["model"]
    [reference], [recorded] = body["input_references"], sent["input_references"]
    assert (reference.keys(), reference["type"]) == (recorded.keys(), recorded["type"])
    assert (await gateway.download(reference["image_url"]["url"])) == PNG
    assert (await gateway.entry(answer))["cost_usd"] == pytest.approx(0.0336)


async def test_the_recorded_answer_is_understood() -> None:
    answer = recording(RECORDED)["response"]["body_json"]
    outcome = outcome_of(answer, MediaRequest(task=Task.IMAGE_TO_IMAGE, prompt="green"))
    [picture] = outcome.produced
    assert picture.media_type == "image/jpeg"
    assert (picture.data or b"")[:2] == b"\xff\xd8"
    usage = outcome.usage
    assert (usage.input, usage.output, usage.image_output, usage.images) == (1125, 0, 1120, 1)
    assert usage.reported_cost_usd == Decimal("0.03388125")


async def test_pictures_from_words_in_our_own_vocabulary(gateway: MediaGateway) -> None:
    result = await make(
        gateway, Task.TEXT_TO_IMAGE, MODEL, prompt="a kite", n=2, aspect_ratio="16:9", format="png", steps=3
    )
    assert [artifact.media_type for artifact in result.made.artifacts] == ["image/png"] * 2
    assert result.made.dropped == ("steps",)
    assert result.made.usage.reported_cost_usd == Decimal("0.0672")


async def test_a_mask_is_not_ignored(gateway: MediaGateway) -> None:
    inputs = tuple(MediaInput(role=role, url=data_uri(PNG, "image/png")) for role in ("image", "mask"))
    with pytest.raises(PolyrouteError) as caught:
        await make(gateway, Task.EDIT_IMAGE, MODEL, prompt="a kite", inputs=inputs)
    assert caught.value.kind is ErrorKind.UNSUPPORTED
    assert await gateway.seen("openrouter") == []


async def test_a_refusal_is_the_callers_error(gateway: MediaGateway) -> None:
    answer = await gateway.image(MODEL, status=400, prompt="forbidden-content")
    assert answer.json()["error"]["code"] == "content_policy_violation"
