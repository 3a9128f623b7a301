"""Kie as callers meet it, over the sandbox."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from polyroute.providers.media.kie_answers import fault, product_report
from polyroute.types.errors import AttemptFailed, ErrorKind, PolyrouteError
from polyroute.types.media import MediaInput, MediaRequest, Task
from support.media_files import PNG, mp4, wav
from support.media_gateway import MediaGateway, media_gateway
from support.media_sandbox import Hooks
from support.media_work import ask, given, wire_of

IMAGE, VIDEO = given("image", PNG, "image/png"), given("video", mp4(), "video/mp4")
SOUND = given("audio", wav(1), "audio/wav")
FRAME = {**IMAGE, "role": "first_frame"}
PICTURE = "kie/nano-banana-2"


@pytest.mark.parametrize(
    ("task", "model", "asked", "kind"),
    [
        ("text_to_image", "nano-banana-2", {"aspect_ratio": "16:9", "resolution": "1K", "format": "png"}, "image/png"),
        ("image_to_image", "nano-banana-2", {"inputs": [IMAGE, IMAGE]}, "image/"),
        ("text_to_image", "gpt4o-image", {"n": 2, "aspect_ratio": "3:2"}, "image/"),
        ("text_to_image", "flux-kontext-pro", {"aspect_ratio": "16:9", "format": "jpeg"}, "image/jpeg"),
        ("text_to_image", "midjourney", {}, "image/"),
        ("upscale_image", "topaz/image-upscale", {"inputs": [IMAGE], "scale": 2}, "image/"),
        ("remove_background", "recraft/remove-background", {"inputs": [IMAGE]}, "image/"),
        ("image_to_video", "kling-3.0/video", {"inputs": [FRAME], "duration": 3, "sound": True}, "video/mp4"),
        ("text_to_video", "veo3_fast", {"aspect_ratio": "9:16"}, "video/mp4"),
        ("text_to_video", "runway", {"duration": 5, "resolution": "720p"}, "video/mp4"),
        ("video_to_video", "aleph", {"inputs": [VIDEO], "seed": 3}, "video/mp4"),
        ("animate", "infinitalk/from-audio", {"inputs": [IMAGE, SOUND]}, "video/mp4"),
        ("speech", "elevenlabs/text-to-speech-multilingual-v2", {"voice": "alloy", "format": "mp3"}, "audio/mpeg"),
        ("music", "V5", {"style": "jazz", "lyrics": "la la la"}, "audio/"),
        ("sound_effect", "elevenlabs/sound-effect-v2", {"duration": 1.5, "loop": True}, "audio/"),
    ],
)
async def test_every_task(gateway: MediaGateway, task: str, model: str, asked: dict[str, Any], kind: str) -> None:
    prompt = {} if task in ("upscale_image", "remove_background") else {"prompt": "a fox"}
    work = await ask(gateway, f"kie/{model}", task, **prompt, **asked)
    assert work.dropped == []
    assert work.artifact["media_type"].startswith(kind)
    assert len(work.made["artifacts"]) == asked.get("n", len(work.made["artifacts"]))
    if "duration" in asked:
        assert work.artifact["duration_s"] == pytest.approx(asked["duration"], abs=0.2)
    if "/" in model or "nano" in model:
        assert work.cost > 0


async def test_a_transcript(gateway: MediaGateway) -> None:
    work = await ask(gateway, "kie/elevenlabs/speech-to-text", "transcribe", inputs=[SOUND])
    assert work.made["transcript"]["text"].startswith("[simulated")


async def test_uploads_go_to_the_host_for_files(gateway: MediaGateway) -> None:
    adapter, wire = wire_of(gateway, "kie")
    request = MediaRequest(task=Task.IMAGE_TO_IMAGE, prompt="blue", inputs=(MediaInput(**IMAGE),))
    await adapter.maker(request.task, "nano-banana-2").submit(request, "nano-banana-2", wire)
    paths = [row["path"] for row in await gateway.seen("kie")]
    assert any(path.endswith("kieai.redpandaai.co/api/file-stream-upload") for path in paths)


@pytest.mark.parametrize(
    ("told", "kind"),
    [
        ({"kind": "moderation"}, ErrorKind.CONTENT_FILTERED),
        ({"kind": "invalid_key"}, ErrorKind.CREDENTIAL_REJECTED),
        ({"kind": "quota"}, ErrorKind.QUOTA_EXHAUSTED),
        ({"kind": "status", "status": 429, "retry_after": "0.1"}, ErrorKind.RATE_LIMITED),
        ({"kind": "status", "status": 455}, ErrorKind.UNAVAILABLE),
    ],
)
async def test_what_goes_wrong_is_told_apart(gateway: MediaGateway, told: dict, kind: ErrorKind) -> None:
    await gateway.control("kie", operation="image", faults=[told])
    with pytest.raises(PolyrouteError) as failed:
        await ask(gateway, PICTURE, "text_to_image", prompt="x")
    assert ({one.kind for one in failed.value.attempts} or {failed.value.kind}) == {kind}


@pytest.mark.parametrize("model", ["nano-banana-2", "gpt4o-image"])
@pytest.mark.parametrize(
    ("what", "kind"),
    [("job_failed", ErrorKind.GENERATION_FAILED), ("lost_after_acceptance", ErrorKind.UNKNOWN_OUTCOME)],
)
async def test_tasks_that_fail_and_tasks_that_are_lost(
    gateway: MediaGateway, model: str, what: str, kind: ErrorKind
) -> None:
    await gateway.fail("kie", what, times=1)
    with pytest.raises(PolyrouteError) as failed:
        await ask(gateway, f"kie/{model}", "text_to_image", prompt="x")
    assert [one.kind for one in failed.value.attempts] == [kind]
    assert len(await gateway.jobs("kie")) == 1


async def test_a_wrong_field_is_told_in_our_words(gateway: MediaGateway) -> None:
    with pytest.raises(PolyrouteError) as refused:
        await ask(gateway, PICTURE, "text_to_image", prompt="x", options={"kie": {"aspect_ratio": "wide"}})
    assert (refused.value.kind, refused.value.param) == (ErrorKind.INVALID_REQUEST, "aspect_ratio")


async def test_work_that_the_provider_does_not_know_at_first_is_waited_for(gateway: MediaGateway) -> None:
    await gateway.fail("kie", "missing_at_first", polls=1, times=1)
    assert (await ask(gateway, PICTURE, "text_to_image", prompt="x")).artifact["size"] > 0


@pytest.fixture
async def hooks() -> AsyncIterator[Hooks]:
    found = Hooks()
    application = web.Application()
    application.router.add_post("/hook", found.take)
    server = TestServer(application)
    await server.start_server()
    found.url = str(server.make_url("/hook"))
    yield found
    await server.close()


async def test_a_callback_counts_when_its_signature_holds(tmp_path: Path, hooks: Hooks) -> None:
    options = {"providers": {"kie": {"options": {"webhook_key": "sandbox-webhook-secret"}}}}
    async with media_gateway(tmp_path, options) as gateway:
        adapter, wire = wire_of(gateway, "kie", hooks.url)
        request = MediaRequest(task=Task.TEXT_TO_IMAGE, prompt="x")
        handle = await adapter.maker(request.task, "nano-banana-2").submit(request, "nano-banana-2", wire)
        named, body = await hooks.next()
        headers = [(name.encode(), value.encode()) for name, value in named.items()]
        assert (await adapter.callback(headers, body, wire, time.time())).handle_id == handle.id
        other = body.replace(handle.id.encode(), b"0" * len(handle.id))
        for content, now in ((other, time.time()), (body, time.time() + 400), (b"[]", time.time())):
            with pytest.raises(PolyrouteError) as refused:
                await adapter.callback(headers, content, wire, now)
            assert refused.value.kind is ErrorKind.UNAUTHORIZED


@pytest.mark.parametrize(
    "data",
    [
        {"successFlag": 1, "response": {"resultUrls": ["https://a.example/1"]}},
        {"successFlag": 1, "response": '{"resultUrls":"[\\"https://a.example/1\\"]"}'},
        {"successFlag": 1, "response": {"result_urls": ["https://a.example/1"]}},
        {"successFlag": 1, "response": {"resultImageUrl": "https://a.example/1"}},
        {"state": "success", "videoInfo": {"videoUrl": "https://a.example/1"}},
        {"successFlag": 1, "resultInfoJson": {"resultUrls": [{"resultUrl": "https://a.example/1"}]}},
        {"status": "SUCCESS", "response": {"sunoData": [{"audioUrl": "https://a.example/1", "duration": 3}]}},
    ],
)
def test_products_name_their_results_in_many_ways(data: dict[str, Any]) -> None:
    assert product_report(data).urls == ("https://a.example/1",)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        ({"successFlag": 3, "errorMessage": "boom"}, ErrorKind.GENERATION_FAILED),
        ({"successFlag": 2, "errorMessage": "flagged by moderation"}, ErrorKind.CONTENT_FILTERED),
        ({"status": "SENSITIVE_WORD_ERROR"}, ErrorKind.CONTENT_FILTERED),
        ({"status": "GENERATE_AUDIO_FAILED"}, ErrorKind.GENERATION_FAILED),
    ],
)
def test_products_fail_in_many_ways(data: dict[str, Any], kind: ErrorKind) -> None:
    with pytest.raises(AttemptFailed) as failed:
        product_report(data)
    assert failed.value.failure.kind is kind


def test_codes_of_bodies() -> None:
    kinds = {code: fault(code, "what", []).kind for code in (401, 402, 422, 433, 451, 501, 505, 531, 599)}
    assert [kind.value for kind in kinds.values()] == [
        "credential_rejected", "quota_exhausted", "invalid_request", "quota_exhausted", "invalid_request",
        "generation_failed", "unsupported", "generation_failed", "unavailable",
    ]  # fmt: skip
