"""PiAPI as callers meet it, over the sandbox."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.media import MediaInput, MediaRequest, Task
from support.media_files import PNG, mp4, wav
from support.media_gateway import MediaGateway
from support.media_sandbox import Hooks, until
from support.media_work import ask, given, wire_of

IMAGE, VIDEO = given("image", PNG, "image/png"), given("video", mp4(), "video/mp4")
SPOKEN = given("reference_audio", wav(1), "audio/wav")
FRAME = {**IMAGE, "role": "first_frame"}
FLUX, KLING = "piapi/Qubico/flux1-schnell/txt2img", "piapi/kling/video_generation"


@pytest.mark.parametrize(
    ("task", "model", "asked", "kind"),
    [
        ("text_to_image", "Qubico/flux1-schnell/txt2img", {"width": 640, "height": 480}, "image/"),
        ("text_to_image", "gemini/nano-banana-2", {"n": 2, "aspect_ratio": "16:9", "format": "png"}, "image/png"),
        ("image_to_image", "Qubico/flux1-dev/img2img", {"inputs": [IMAGE], "strength": 0.5}, "image/"),
        (
            "edit_image",
            "Qubico/flux1-dev-advanced/fill-inpaint",
            {"inputs": [IMAGE, {**IMAGE, "role": "mask"}]},
            "image/",
        ),
        ("upscale_image", "Qubico/image-toolkit/upscale", {"inputs": [IMAGE], "scale": 2}, "image/"),
        ("remove_background", "Qubico/image-toolkit/background-remove", {"inputs": [IMAGE]}, "image/"),
        ("text_to_video", "kling/video_generation", {"duration": 5, "aspect_ratio": "9:16"}, "video/mp4"),
        ("image_to_video", "luma/video_generation", {"inputs": [FRAME], "duration": 5}, "video/mp4"),
        ("text_to_video", "veo3.1/veo3.1-video", {"duration": 4, "resolution": "720p"}, "video/mp4"),
        ("upscale_video", "Qubico/video-toolkit/upscale", {"inputs": [VIDEO]}, "video/mp4"),
        ("speech", "Qubico/tts/zero-shot", {"inputs": [SPOKEN], "format": "mp3"}, "audio/"),
        ("music", "music-u/generate_music", {"format": "mp3"}, "audio/"),
        ("music", "Qubico/ace-step/txt2audio", {"duration": 6, "lyrics": "la"}, "audio/"),
        ("sound_effect", "Qubico/mmaudio/video2audio", {"inputs": [VIDEO]}, "audio/"),
    ],
)
async def test_every_task(gateway: MediaGateway, task: str, model: str, asked: dict[str, Any], kind: str) -> None:
    prompt = {} if task in ("upscale_image", "remove_background", "upscale_video") else {"prompt": "a fox"}
    work = await ask(gateway, f"piapi/{model}", task, **prompt, **asked)
    assert work.dropped == []
    assert work.artifact["media_type"].startswith(kind)
    assert len(work.made["artifacts"]) == asked.get("n", 1)
    assert work.cost > 0
    if "width" in asked:
        assert (work.artifact["width"], work.artifact["height"]) == (asked["width"], asked["height"])
    if "duration" in asked:
        assert work.artifact["duration_s"] == pytest.approx(asked["duration"], abs=0.2)


async def test_uploads_go_to_the_host_for_files(gateway: MediaGateway) -> None:
    adapter, wire = wire_of(gateway, "piapi")
    request = MediaRequest(task=Task.IMAGE_TO_IMAGE, prompt="blue", inputs=(MediaInput(**IMAGE),))
    await adapter.maker(request.task, "gemini/nano-banana-2").submit(request, "gemini/nano-banana-2", wire)
    paths = [row["path"] for row in await gateway.seen("piapi")]
    assert any(path.endswith("upload.theapi.app/api/ephemeral_resource") for path in paths)


@pytest.mark.parametrize(
    ("told", "kind"),
    [
        ({"kind": "moderation"}, ErrorKind.CONTENT_FILTERED),
        ({"kind": "invalid_key"}, ErrorKind.CREDENTIAL_REJECTED),
        ({"kind": "quota"}, ErrorKind.QUOTA_EXHAUSTED),
        ({"kind": "status", "status": 429, "retry_after": "0.1"}, ErrorKind.RATE_LIMITED),
        ({"kind": "job_failed"}, ErrorKind.GENERATION_FAILED),
        ({"kind": "lost_after_acceptance"}, ErrorKind.UNKNOWN_OUTCOME),
    ],
)
async def test_what_goes_wrong_is_told_apart(gateway: MediaGateway, told: dict, kind: ErrorKind) -> None:
    await gateway.control("piapi", operation="image", faults=[told])
    with pytest.raises(PolyrouteError) as failed:
        await ask(gateway, FLUX, "text_to_image", prompt="x")
    assert ({one.kind for one in failed.value.attempts} or {failed.value.kind}) == {kind}
    assert len(await gateway.jobs("piapi")) <= 1


async def test_a_wrong_field_is_told_in_our_words(gateway: MediaGateway) -> None:
    with pytest.raises(PolyrouteError) as refused:
        await ask(gateway, KLING, "text_to_video", prompt="x", options={"piapi": {"aspect_ratio": "wide"}})
    assert (refused.value.kind, refused.value.param) == (ErrorKind.INVALID_REQUEST, "aspect_ratio")


async def test_work_that_the_provider_does_not_know_at_first_is_waited_for(gateway: MediaGateway) -> None:
    await gateway.fail("piapi", "missing_at_first", polls=1, times=1)
    assert (await ask(gateway, FLUX, "text_to_image", prompt="x")).artifact["size"] > 0


async def was_polled(gateway: MediaGateway) -> bool:
    return any(row["method"] == "GET" for row in await gateway.seen("piapi"))


async def test_work_that_nobody_waits_for_is_cancelled_where_that_is_possible(gateway: MediaGateway) -> None:
    await gateway.control("piapi", job_seconds=60)
    waiting = asyncio.ensure_future(ask(gateway, KLING, "text_to_video", prompt="x"))
    await until(lambda: was_polled(gateway))
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert [job["state"] for job in await gateway.jobs("piapi")] == ["canceled"]


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


async def test_a_callback_counts_when_it_knows_the_secret(gateway: MediaGateway, hooks: Hooks) -> None:
    adapter, wire = wire_of(gateway, "piapi", hooks.url)
    request = MediaRequest(task=Task.TEXT_TO_IMAGE, prompt="x")
    handle = await adapter.maker(request.task, "gemini/nano-banana-2").submit(request, "gemini/nano-banana-2", wire)
    named, body = await hooks.next()
    headers = [(name.encode(), value.encode()) for name, value in named.items()]
    assert (await adapter.callback(headers, body, wire, time.time())).handle_id == handle.id
    assert wire.secret is not None
    assert wire.secret not in str(named)
    wrong = [(name, b"x" if name == b"x-webhook-secret" else value) for name, value in headers]
    for fields, content in ((wrong, body), ([], body), (headers, b"{}")):
        with pytest.raises(PolyrouteError) as refused:
            await adapter.callback(fields, content, wire, time.time())
        assert refused.value.kind is ErrorKind.UNAUTHORIZED
