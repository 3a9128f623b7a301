"""Replicate as callers meet it, over the sandbox."""

from __future__ import annotations

import base64

import pytest

from support.media_files import PNG
from support.media_gateway import MediaGateway

FLUX = "replicate/black-forest-labs/flux-schnell"


async def test_a_picture_is_made_stored_and_priced(gateway: MediaGateway) -> None:
    answer = await gateway.image(FLUX, size="1024x768", n=2, output_format="png", response_format="url")
    made = answer.json()
    assert len(made["data"]) == 2
    picture = await gateway.download(made["data"][0]["url"])
    assert picture.startswith(b"\x89PNG")
    [job] = await gateway.jobs("replicate")
    assert job["state"] == "succeeded"
    entry = await gateway.entry(answer)
    assert (entry["actual_provider"], entry["images"], entry["status"]) == ("replicate", 2, "COMPLETED")
    assert entry["cost_usd"] == pytest.approx(0.006)


async def test_a_picture_from_a_picture_is_uploaded_and_made_by_the_model_for_that(gateway: MediaGateway) -> None:
    files = {"image": ("start.png", PNG, "image/png")}
    answer = await gateway.post("/v1/images/edits", files=files, data={"model": "image", "prompt": "make it blue"})
    assert answer.headers["x-polyroute-provider"] == "replicate"
    assert answer.headers["x-polyroute-model"] == "black-forest-labs/flux-kontext-pro"
    assert base64.b64decode(answer.json()["data"][0]["b64_json"])
    assert (await gateway.entry(answer))["actual_model"] == "black-forest-labs/flux-kontext-pro"


async def test_what_the_model_cannot_honour_is_told(gateway: MediaGateway) -> None:
    answer = await gateway.image(FLUX, quality="high", aspect_ratio="7:4")
    assert answer.headers["x-polyroute-dropped"] == "quality"
    assert "aspect_ratio 7:4 became 16:9" in answer.headers["x-polyroute-notes"]


async def test_what_the_model_cannot_make_at_all_is_the_callers_error(gateway: MediaGateway) -> None:
    for fields, param, words in (
        ({"n": 6}, "n", "'n' is 6; possible is at most 4"),
        ({"output_format": "gif"}, "output_format", "'gif'; possible are png, jpeg, webp"),
        ({"aspect_ratio": "5:1"}, "aspect_ratio", "'5:1'; possible are 1:1"),
    ):
        error = (await gateway.image(FLUX, 400, **fields)).json()["error"]
        assert (error["param"], error["code"]) == (param, "unsupported_parameter")
        assert words in error["message"]
    assert await gateway.jobs("replicate") == []


async def test_the_next_provider_serves_when_the_job_fails(gateway: MediaGateway) -> None:
    await gateway.fail("replicate", "job_failed", times=1)
    answer = await gateway.image("image")
    assert (answer.headers["x-polyroute-provider"], answer.headers["x-polyroute-attempts"]) == ("openai", "2")


async def test_a_refusal_by_the_safety_check_is_the_callers_error(gateway: MediaGateway) -> None:
    await gateway.fail("replicate", "moderation", times=5)
    answer = await gateway.image(FLUX, status=400)
    assert answer.json()["error"]["code"] == "content_policy_violation"
