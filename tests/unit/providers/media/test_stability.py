"""Stability AI as callers meet it, over the sandbox."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from polyroute.catalog.build import build_catalog
from polyroute.catalog.inputs import CatalogInput
from polyroute.catalog.rows import load_rows
from polyroute.providers.media.stability import StabilityMedia
from polyroute.types.errors import ErrorKind, PolyrouteError
from support.media_files import PNG, wav
from support.media_gateway import MediaGateway, media_gateway
from support.media_sandbox import until
from support.media_work import ask, content_of, given, probe

CORE = "stability/stable-image-core"
IMAGE, MASK, STYLE = (given(role, PNG, "image/png") for role in ("image", "mask", "reference"))
SOUND = given("audio", wav(6), "audio/wav")
OTHERS = {"stable-image-core", "sd3.5-large"}
"""Models that other tests ask."""


async def posted(gateway: MediaGateway) -> list[dict[str, Any]]:
    return [row for row in await gateway.seen("stability") if row["method"] == "POST"]


async def test_pictures_are_one_call_each_and_are_charged_by_the_table(gateway: MediaGateway) -> None:
    answer = await gateway.image(CORE, size="1280x720", n=2, seed=7, output_format="webp", response_format="url")
    made = answer.json()["data"]
    assert [(await gateway.download(one["url"]))[8:12] for one in made] == [b"WEBP"] * 2
    calls = await posted(gateway)
    assert {row["path"] for row in calls} == {"/v2beta/stable-image/generate/core"}
    assert sorted(row["body"]["seed"] for row in calls) == ["7", "8"]
    assert {row["body"]["aspect_ratio"] for row in calls} == {"16:9"}
    entry = await gateway.entry(answer)
    assert (entry["actual_provider"], entry["images"], entry["cost_usd"]) == ("stability", 2, pytest.approx(0.06))


EVERY_TASK: list[tuple[str, str, dict[str, Any], float | None]] = [
    ("text_to_image", "stable-image-ultra", {"prompt": "a fox", "aspect_ratio": "21:9"}, 0.08),
    ("text_to_image", "sd3.5-large-turbo", {"prompt": "a fox", "guidance": 5, "format": "jpeg"}, 0.04),
    ("image_to_image", "sd3.5-medium", {"prompt": "a fox", "inputs": [IMAGE], "strength": 0.4}, 0.035),
    ("image_to_image", "stable-image-ultra", {"prompt": "a fox", "inputs": [IMAGE]}, 0.08),
    ("image_to_image", "control/structure", {"prompt": "a fox", "inputs": [IMAGE], "style": "anime"}, 0.05),
    ("image_to_image", "control/sketch", {"prompt": "a fox", "inputs": [IMAGE]}, 0.05),
    ("image_to_image", "control/style", {"prompt": "x", "inputs": [IMAGE], "aspect_ratio": "4:5"}, 0.05),
    ("image_to_image", "control/style-transfer", {"inputs": [IMAGE, STYLE], "strength": 0.5}, None),
    ("edit_image", "edit/inpaint", {"prompt": "a hat", "inputs": [IMAGE, MASK], "negative_prompt": "fur"}, 0.05),
    ("edit_image", "edit/erase", {"inputs": [IMAGE, MASK]}, 0.05),
    ("edit_image", "edit/outpaint", {"inputs": [IMAGE], "options": {"stability": {"left": 200}}}, None),
    ("edit_image", "edit/search-and-replace",
     {"prompt": "a cat", "inputs": [IMAGE], "options": {"stability": {"search_prompt": "dog"}}}, 0.05),
    ("image_to_image", "edit/search-and-recolor",
     {"prompt": "red", "inputs": [IMAGE], "options": {"stability": {"select_prompt": "car"}}}, None),
    ("image_to_image", "edit/replace-background-and-relight", {"prompt": "a beach", "inputs": [IMAGE, STYLE]}, None),
    ("remove_background", "edit/remove-background", {"inputs": [IMAGE], "format": "webp"}, 0.05),
    ("upscale_image", "upscale/fast", {"inputs": [IMAGE], "scale": 4}, 0.02),
    ("upscale_image", "upscale/conservative", {"prompt": "a fox", "inputs": [IMAGE], "strength": 0.3}, 0.40),
    ("upscale_image", "upscale/creative", {"prompt": "a fox", "inputs": [IMAGE], "style": "anime"}, 0.60),
    ("music", "stable-audio-2.5", {"prompt": "a tango", "duration": 3, "format": "wav", "steps": 8}, 0.20),
    ("music", "stable-audio-2", {"prompt": "a tango", "duration": 2, "inputs": [SOUND], "strength": 0.5}, 0.20),
    ("sound_effect", "stable-audio-2.5", {"prompt": "a door", "duration": 2}, 0.20),
]  # fmt: skip
"""Task, model, what is asked, and what it costs by the dated table; None where no price is stated."""


async def test_every_task(gateway: MediaGateway) -> None:
    for task, model, fields, cost in EVERY_TASK:
        work = await ask(gateway, f"stability/{model}", task, **fields)
        sound = task in ("music", "sound_effect")
        assert (model, work.dropped) == (model, [])
        assert work.artifact["media_type"].startswith("audio" if sound else "image"), model
        if sound and (told := probe(await content_of(gateway, work))):
            assert float(told["format"]["duration"]) == pytest.approx(fields["duration"], abs=0.1)
        charged = work.headers.get("x-polyroute-cost-usd")
        assert (None if charged is None else float(charged)) == (None if cost is None else pytest.approx(cost)), model
    assert {model for _, model, _, _ in EVERY_TASK} >= {
        model for models in load_rows()["stability"].media.values() for model in models if model not in OTHERS
    }


async def test_the_form_is_what_the_endpoint_asks_for(gateway: MediaGateway) -> None:
    files = {"image": ("start.png", PNG, "image/png")}
    data = {"model": "stability/sd3.5-large", "prompt": "make it blue", "size": "1024x768"}
    answer = await gateway.post("/v1/images/edits", files=files, data=data)
    assert answer.headers["x-polyroute-dropped"] == "size"
    [call] = await posted(gateway)
    assert call["body"] == {
        "mode": "image-to-image", "model": "sd3.5-large", "prompt": "make it blue", "strength": "0.65",
    }  # fmt: skip


async def test_what_an_endpoint_cannot_do_is_told_or_refused(gateway: MediaGateway) -> None:
    work = await ask(gateway, CORE, "text_to_image", prompt="x", guidance=3, style="baroque", quality="high")
    assert set(work.dropped) == {"guidance", "quality", "style"}
    for model, fields, param in (
        ("edit/outpaint", {"inputs": [IMAGE]}, "options"),
        ("edit/search-and-replace", {"inputs": [IMAGE]}, "options"),
        ("stable-image-core", {"n": 11}, "n"),
    ):
        task = "edit_image" if "edit" in model else "text_to_image"
        with pytest.raises(PolyrouteError) as refused:
            await ask(gateway, f"stability/{model}", task, prompt="x", **fields)
        assert (refused.value.kind, refused.value.param) == (ErrorKind.UNSUPPORTED, param)
    assert len(await posted(gateway)) == 1


async def kinds_of(
    gateway: MediaGateway, fault: dict[str, Any], model: str, task: str, **fields: Any
) -> set[ErrorKind]:
    """What each attempt says when the provider has this fault."""
    await gateway.anew()
    await gateway.control("stability", operation="image", faults=[fault])
    with pytest.raises(PolyrouteError) as failed:
        await ask(gateway, f"stability/{model}", task, **fields)
    return {one.kind for one in failed.value.attempts} or {failed.value.kind}


PATIENT = {"defaults": {"breaker": {"failures": 100, "minimum": 100}}}


@pytest.fixture
async def patient(tmp_path: Path) -> AsyncIterator[MediaGateway]:
    """A gateway that goes on asking a provider that fails."""
    async with media_gateway(tmp_path, PATIENT) as made:
        yield made


async def test_what_goes_wrong_is_told_apart(patient: MediaGateway) -> None:
    for fault, kind in (
        ({"kind": "moderation"}, ErrorKind.CONTENT_FILTERED),
        ({"kind": "content_filter"}, ErrorKind.CONTENT_FILTERED),
        ({"kind": "status", "status": 503}, ErrorKind.UNAVAILABLE),
        ({"kind": "garbage"}, ErrorKind.BAD_RESPONSE),
        ({"kind": "wrong_media_type"}, ErrorKind.BAD_RESPONSE),
        ({"kind": "status", "status": 429, "retry_after": "0.01"}, ErrorKind.RATE_LIMITED),
        ({"kind": "quota"}, ErrorKind.QUOTA_EXHAUSTED),
    ):
        assert await kinds_of(patient, fault, "stable-image-core", "text_to_image", prompt="x") == {kind}, fault


async def test_what_goes_wrong_with_the_one_that_is_polled(patient: MediaGateway) -> None:
    for fault, kind in (
        ({"kind": "job_failed"}, ErrorKind.GENERATION_FAILED),
        ({"kind": "moderation"}, ErrorKind.CONTENT_FILTERED),
        ({"kind": "lost_after_acceptance"}, ErrorKind.UNKNOWN_OUTCOME),
        ({"kind": "invalid_key"}, ErrorKind.CREDENTIAL_REJECTED),
    ):
        found = await kinds_of(patient, fault, "upscale/creative", "upscale_image", prompt="x", inputs=[IMAGE])
        assert found == {kind}, fault
        assert len(await posted(patient)) == 1


async def test_words_that_are_refused_are_the_callers_error(gateway: MediaGateway) -> None:
    answer = await gateway.image(CORE, status=400, prompt="forbidden-content")
    assert answer.json()["error"]["code"] == "content_policy_violation"


async def test_a_wrong_field_is_told_in_our_words(gateway: MediaGateway) -> None:
    with pytest.raises(PolyrouteError) as refused:
        await ask(gateway, CORE, "text_to_image", prompt="x", options={"stability": {"output_format": "tiff"}})
    assert (refused.value.kind, refused.value.param) == (ErrorKind.INVALID_REQUEST, "format")


@pytest.mark.parametrize(
    ("status", "name", "kind", "wait"),
    [
        (413, "payload_too_large", ErrorKind.UNSUPPORTED, None),
        (422, "invalid_language", ErrorKind.UNSUPPORTED, None),
        (429, "rate_limit_exceeded", ErrorKind.RATE_LIMITED, 60.0),
        (401, "unauthorized", ErrorKind.CREDENTIAL_REJECTED, None),
        (403, "content_moderation", ErrorKind.CONTENT_FILTERED, None),
    ],
)
def test_error_bodies(status: int, name: str, kind: ErrorKind, wait: float | None) -> None:
    catalog = build_catalog(load_rows(), CatalogInput(), {}, sandbox_url="http://127.0.0.1:1")
    adapter = StabilityMedia(catalog.providers["stability"])
    body = json.dumps({"id": "1", "name": name, "errors": ["what was wrong"]}).encode()
    failure = adapter.classify(status, [], body)
    assert failure is not None
    assert (failure.kind, failure.retry_after) == (kind, wait)
    assert adapter.classify(500, [], body) is None
    assert adapter.classify(status, [], b"<html>") is None


async def test_some_pictures_are_better_than_none(gateway: MediaGateway) -> None:
    await gateway.fail("stability", "moderation", times=1)
    work = await ask(gateway, CORE, "text_to_image", prompt="x", n=3)
    assert len(work.made["artifacts"]) == 2
    assert "2 of 3 pictures were made" in work.made["notes"]


async def test_work_that_nobody_waits_for_is_let_go(gateway: MediaGateway) -> None:
    await gateway.control("stability", job_seconds=60)
    creative = {"prompt": "x", "inputs": [IMAGE]}
    waiting = asyncio.ensure_future(ask(gateway, "stability/upscale/creative", "upscale_image", **creative))

    async def polled() -> bool:
        return any(row["method"] == "GET" for row in await gateway.seen("stability"))

    await until(polled)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_another_provider_upscales_what_failed_here(gateway: MediaGateway) -> None:
    await gateway.fail("stability", "job_failed")
    work = await ask(
        gateway, "stability/upscale/creative", "upscale_image", prompt="x", inputs=[IMAGE],
        polyroute={"fallbacks": ["fal/fal-ai/clarity-upscaler"]},
    )  # fmt: skip
    assert (work.headers["x-polyroute-provider"], work.headers["x-polyroute-attempts"]) == ("fal", "2")
