"""AI/ML API as callers meet it, over the sandbox."""

from __future__ import annotations

from typing import Any

import pytest

from polyroute.types.errors import ErrorKind, PolyrouteError
from support.media_files import PNG, wav
from support.media_gateway import MediaGateway
from support.media_work import ask, given, wire_of

IMAGE = given("image", PNG, "image/png")
FRAME = {**IMAGE, "role": "first_frame"}
SOUND = given("audio", wav(1), "audio/wav")
FILM = "aimlapi/klingai/video-v3-pro-text-to-video"


@pytest.mark.parametrize(
    ("task", "model", "asked", "kind"),
    [
        ("text_to_image", "flux/schnell", {"width": 640, "height": 480, "n": 2, "format": "png"}, "image/png"),
        ("text_to_image", "openai/gpt-image-2", {"width": 1536, "height": 1024, "quality": "low"}, "image/"),
        ("image_to_image", "google/nano-banana-pro", {"inputs": [IMAGE, IMAGE], "resolution": "1K"}, "image/"),
        ("image_to_image", "flux/kontext-pro/image-to-image", {"inputs": [IMAGE], "seed": 3}, "image/"),
        ("upscale_image", "topaz-labs/sharpen", {"inputs": [IMAGE]}, "image/"),
        ("text_to_video", "google/veo-3.1-t2v", {"duration": 4, "aspect_ratio": "9:16", "sound": False}, "video/mp4"),
        ("image_to_video", "google/veo-3.1-i2v", {"inputs": [FRAME], "duration": 4}, "video/mp4"),
        ("speech", "elevenlabs/eleven_multilingual_v2", {"voice": "alloy", "format": "mp3"}, "audio/mpeg"),
        ("speech", "minimax/speech-2.8-hd", {"voice": "Wise_Woman"}, "audio/"),
        ("music", "minimax/music-2.6", {"lyrics": "la la la", "duration": 6}, "audio/"),
    ],
)
async def test_every_task(gateway: MediaGateway, task: str, model: str, asked: dict[str, Any], kind: str) -> None:
    work = await ask(gateway, f"aimlapi/{model}", task, prompt="a fox", **asked)
    assert work.dropped == []
    assert work.artifact["media_type"].startswith(kind)
    assert len(work.made["artifacts"]) == asked.get("n", 1)
    if "elevenlabs" not in model:
        assert work.cost > 0
    if "width" in asked:
        assert (work.artifact["width"], work.artifact["height"]) == (asked["width"], asked["height"])
    if "duration" in asked:
        assert work.artifact["duration_s"] == pytest.approx(asked["duration"], abs=0.2)


async def test_a_transcript(gateway: MediaGateway) -> None:
    work = await ask(gateway, "aimlapi/nova-3", "transcribe", inputs=[SOUND], language="en")
    assert work.made["transcript"]["text"].startswith("[simulated")
    assert work.made["transcript"]["duration"] == 3.0
    assert work.cost == pytest.approx(0.001)


@pytest.mark.parametrize("model", ["aimlapi/flux/schnell", FILM])
@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"kind": "moderation"}, ErrorKind.CONTENT_FILTERED),
        ({"kind": "invalid_key"}, ErrorKind.CREDENTIAL_REJECTED),
        ({"kind": "quota"}, ErrorKind.QUOTA_EXHAUSTED),
        ({"kind": "status", "status": 429, "retry_after": "0.1"}, ErrorKind.RATE_LIMITED),
    ],
)
async def test_what_goes_wrong_is_told_apart(gateway: MediaGateway, model: str, fault: dict, kind: ErrorKind) -> None:
    await gateway.control("aimlapi", faults=[fault])
    with pytest.raises(PolyrouteError) as failed:
        await ask(gateway, model, "text_to_video" if model == FILM else "text_to_image", prompt="x")
    assert ({one.kind for one in failed.value.attempts} or {failed.value.kind}) == {kind}


@pytest.mark.parametrize(
    ("fault", "kind"),
    [("job_failed", ErrorKind.GENERATION_FAILED), ("lost_after_acceptance", ErrorKind.UNKNOWN_OUTCOME)],
)
async def test_films_that_fail_and_films_that_are_lost(gateway: MediaGateway, fault: str, kind: ErrorKind) -> None:
    await gateway.fail("aimlapi", fault, times=1)
    with pytest.raises(PolyrouteError) as failed:
        await ask(gateway, FILM, "text_to_video", prompt="x")
    assert [one.kind for one in failed.value.attempts] == [kind]
    assert len(await gateway.jobs("aimlapi")) == 1


async def test_a_wrong_field_is_told_in_our_words(gateway: MediaGateway) -> None:
    with pytest.raises(PolyrouteError) as refused:
        await ask(gateway, FILM, "text_to_video", prompt="x", options={"aimlapi": {"aspect_ratio": "wide"}})
    assert (refused.value.kind, refused.value.param) == (ErrorKind.INVALID_REQUEST, "aspect_ratio")


async def test_work_that_the_provider_does_not_know_at_first_is_waited_for(gateway: MediaGateway) -> None:
    await gateway.fail("aimlapi", "missing_at_first", polls=1, times=1)
    assert (await ask(gateway, FILM, "text_to_video", prompt="x")).artifact["size"] > 0


async def test_the_models_are_listed(gateway: MediaGateway) -> None:
    adapter, wire = wire_of(gateway, "aimlapi")
    assert await adapter.models(wire)
