"""fal as callers meet it, over the sandbox."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from decimal import Decimal

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from polyroute.ports import Reply
from polyroute.providers.media.ed25519 import verifies
from polyroute.providers.media.fal_answers import outcome_of, read_failure
from polyroute.providers.media.fields import fill
from polyroute.providers.media.tables import load_table
from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.media import Handle, MediaInput, MediaRequest, Task
from support.media_files import PNG, mp4, wav
from support.media_gateway import MediaGateway
from support.media_sandbox import Hooks, until
from support.media_work import Work, ask, content_of, given, probe, recording, wire_of

FLUX = "fal/fal-ai/flux/schnell"
IMAGE, VIDEO, SOUND = (
    given("image", PNG, "image/png"),
    given("video", mp4(), "video/mp4"),
    given("audio", wav(1), "audio/wav"),
)
SPOKEN = {**SOUND, "role": "reference_audio"}
FRAME = {**IMAGE, "role": "first_frame"}


async def test_a_picture_is_made_stored_and_charged_by_what_fal_says(gateway: MediaGateway) -> None:
    answer = await gateway.image(FLUX, size="1024x768", n=2, output_format="png", response_format="url")
    made = answer.json()["data"]
    assert len(made) == 2
    assert (await gateway.download(made[0]["url"])).startswith(b"\x89PNG")
    entry = await gateway.entry(answer)
    assert (entry["actual_provider"], entry["images"]) == ("fal", 2)
    assert entry["cost_usd"] == pytest.approx(2 * 1024 * 768 / 1e6 * 0.025, rel=1e-3)
    [submitted] = [row for row in await gateway.seen("fal") if row["method"] == "POST"]
    assert submitted["path"].endswith("/queue.fal.run/fal-ai/flux/schnell")


@pytest.mark.parametrize(
    ("task", "model", "fields", "kind"),
    [
        ("image_to_image", "fal-ai/flux-pro/kontext", {"inputs": [IMAGE]}, "image"),
        ("edit_image", "fal-ai/flux-pro/v1/fill", {"inputs": [IMAGE, {**IMAGE, "role": "mask"}]}, "image"),
        ("upscale_image", "fal-ai/topaz/upscale/image", {"inputs": [IMAGE], "scale": 2}, "image"),
        ("remove_background", "fal-ai/birefnet/v2", {"inputs": [IMAGE]}, "image"),
        ("text_to_video", "fal-ai/veo3.1", {"duration": 4, "resolution": "720p"}, "video"),
        ("image_to_video", "fal-ai/kling-video/v3/pro/image-to-video", {"inputs": [FRAME], "duration": 3}, "video"),
        ("video_to_video", "fal-ai/luma-dream-machine/ray-2/modify", {"inputs": [VIDEO]}, "video"),
        ("animate", "fal-ai/kling-video/lipsync/audio-to-video", {"inputs": [VIDEO, SOUND]}, "video"),
        ("upscale_video", "fal-ai/topaz/upscale/video", {"inputs": [VIDEO], "scale": 2}, "video"),
        ("speech", "fal-ai/minimax/speech-2.8-hd", {"voice": "alloy", "speed": 1.5}, "audio"),
        ("speech", "fal-ai/elevenlabs/tts/multilingual-v2", {"voice": "Rachel", "format": "mp3"}, "audio"),
        ("speech", "fal-ai/chatterbox/text-to-speech", {"inputs": [SPOKEN]}, "audio"),
        ("music", "fal-ai/elevenlabs/music", {"duration": 5}, "audio"),
        ("music", "fal-ai/stable-audio", {"duration": 5}, "audio"),
        ("sound_effect", "fal-ai/elevenlabs/sound-effects/v2", {"duration": 1.5, "loop": True}, "audio"),
    ],
)
async def test_every_task(gateway: MediaGateway, task: str, model: str, fields: dict, kind: str) -> None:
    prompt = {} if task in ("remove_background", "upscale_image", "upscale_video", "animate") else {"prompt": "a fox"}
    work = await ask(gateway, f"fal/{model}", task, **prompt, **fields)
    assert work.dropped == []
    assert work.artifact["media_type"].startswith(kind)
    assert work.cost > 0
    told = probe(await content_of(gateway, work))
    if told and kind != "image" and fields.get("duration"):
        assert float(told["format"]["duration"]) == pytest.approx(fields["duration"], abs=0.2)


async def test_uploads_go_to_fals_storage_and_their_address_to_the_model(gateway: MediaGateway) -> None:
    adapter, wire = wire_of(gateway, "fal")
    model = "fal-ai/flux-pro/kontext"
    request = MediaRequest(task=Task.IMAGE_TO_IMAGE, prompt="blue", inputs=(MediaInput(**IMAGE),))
    await adapter.maker(request.task, model).submit(request, model, wire)
    assert {row["path"].lstrip("/") for row in await gateway.seen("fal")} == {
        "rest.fal.ai/storage/auth/token", "v3.fal.media/files/upload", "queue.fal.run/fal-ai/flux-pro/kontext",
    }  # fmt: skip


async def test_transcripts_have_words_when_they_are_asked_for(gateway: MediaGateway) -> None:
    for model in ("fal-ai/whisper", "fal-ai/elevenlabs/speech-to-text/scribe-v2"):
        work = await ask(gateway, f"fal/{model}", "transcribe", inputs=[SOUND], timestamps=["word"])
        heard = work.made["transcript"]
        assert (len(heard["words"]), heard["duration"]) == (len(heard["text"].split()), 3.0)
    work = await ask(gateway, "fal/fal-ai/whisper", "translate", inputs=[SOUND])
    assert work.made["transcript"]["segments"][0]["end"] == 3.0
    assert work.made["transcript"]["language"] == "en"


async def test_a_voice_is_cloned(gateway: MediaGateway) -> None:
    work = await ask(gateway, "fal/fal-ai/minimax/voice-clone", "clone_voice", inputs=[SPOKEN], voice_name="Anna")
    assert work.made["voice"]["id"].startswith("Voice")
    assert work.made["voice"]["cloned"]


async def test_what_a_model_does_not_take_is_told_or_refused(gateway: MediaGateway) -> None:
    work = await ask(
        gateway, "fal/fal-ai/veo3.1", "text_to_video", prompt="x", duration=5, fps=30, width=1920, height=1080
    )
    assert work.dropped == ["fps"]
    assert "duration 5 became 6" in work.made["notes"]
    with pytest.raises(PolyrouteError) as refused:
        await ask(gateway, "fal/fal-ai/veo3.1", "text_to_video", prompt="x", inputs=[SOUND])
    assert (refused.value.kind, refused.value.param) == (ErrorKind.UNSUPPORTED, "audio")


async def test_a_request_that_failed_is_served_by_the_next(gateway: MediaGateway) -> None:
    await gateway.fail("fal", "job_failed")
    answer = await gateway.image(FLUX, polyroute={"fallbacks": ["together/black-forest-labs/FLUX.1-schnell"]})
    assert (answer.headers["x-polyroute-provider"], answer.headers["x-polyroute-attempts"]) == ("together", "2")
    with pytest.raises(PolyrouteError) as failed:
        await ask(gateway, FLUX, "text_to_image", prompt="x")
    assert failed.value.attempts[0].kind is ErrorKind.GENERATION_FAILED
    assert len(failed.value.attempts) == 1


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"kind": "moderation"}, ErrorKind.CONTENT_FILTERED),
        ({"kind": "invalid_key"}, ErrorKind.CREDENTIAL_REJECTED),
        ({"kind": "quota"}, ErrorKind.QUOTA_EXHAUSTED),
        ({"kind": "status", "status": 429, "retry_after": "0.1"}, ErrorKind.RATE_LIMITED),
        ({"kind": "lost_after_acceptance"}, ErrorKind.UNKNOWN_OUTCOME),
        ({"kind": "wrong_media_type"}, ErrorKind.BAD_RESPONSE),
    ],
)
async def test_what_goes_wrong_is_told_apart(gateway: MediaGateway, fault: dict, kind: ErrorKind) -> None:
    await gateway.control("fal", operation="image", faults=[fault])
    with pytest.raises(PolyrouteError) as failed:
        await ask(gateway, FLUX, "text_to_image", prompt="x")
    kinds = {one.kind for one in failed.value.attempts} or {failed.value.kind}
    assert kinds == {kind}


async def test_a_wrong_field_is_told_in_our_words(gateway: MediaGateway) -> None:
    with pytest.raises(PolyrouteError) as refused:
        await ask(gateway, FLUX, "text_to_image", prompt="x", options={"fal": {"image_size": "huge"}})
    assert (refused.value.kind, refused.value.param) == (ErrorKind.INVALID_REQUEST, "size")


async def test_addresses_on_a_foreign_host_are_not_followed(gateway: MediaGateway) -> None:
    await gateway.fail("fal", "foreign_url", times=1)
    assert isinstance(await ask(gateway, FLUX, "text_to_image", prompt="x"), Work)


async def was_polled(gateway: MediaGateway) -> bool:
    return any(row["method"] == "GET" for row in await gateway.seen("fal"))


async def test_work_that_nobody_waits_for_is_cancelled(gateway: MediaGateway) -> None:
    await gateway.control("fal", job_seconds=60)
    waiting = asyncio.ensure_future(ask(gateway, FLUX, "text_to_image", prompt="x"))
    await until(lambda: was_polled(gateway))
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert (await gateway.jobs("fal"))[0]["state"] == "canceled"


async def test_the_models_are_listed_with_what_they_are_for(gateway: MediaGateway) -> None:
    adapter, wire = wire_of(gateway, "fal")
    listed = dict(await adapter.models(wire))
    assert "fal-ai/flux/dev" in listed


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


async def test_a_callback_counts_when_its_signature_holds(gateway: MediaGateway, hooks: Hooks) -> None:
    adapter, wire = wire_of(gateway, "fal", hooks.url)
    request = MediaRequest(task=Task.TEXT_TO_IMAGE, prompt="x")
    handle = await adapter.maker(request.task, "fal-ai/flux/dev").submit(request, "fal-ai/flux/dev", wire)
    named, body = await hooks.next()
    headers = [(name.encode(), value.encode()) for name, value in named.items()]
    assert (await adapter.callback(headers, body, wire, time.time())).handle_id == handle.id
    forged = body.replace(b'"OK"', b'"KO"')
    stale = [(name, b"12345" if name.endswith(b"timestamp") else value) for name, value in headers]
    for fields, content, now in (
        (headers, forged, time.time()),
        (headers, body, time.time() + 400),
        (stale, body, 12345),
    ):
        with pytest.raises(PolyrouteError) as refused:
            await adapter.callback(fields, content, wire, now)
        assert refused.value.kind is ErrorKind.UNAUTHORIZED


@pytest.mark.parametrize("name", ["image-flux-dev", "image-fal-ai-kolors", "image-fal-ai-playground-v25"])
def test_pictures_that_were_recorded(name: str) -> None:
    real = recording(f"fal/{name}")
    handle = Handle(id="r", data={"task": "text_to_image", "model": "fal-ai/flux/dev"})
    reply = Reply(200, [(b"x-fal-billable-units", b"0.7864")], json.dumps(real["response"]["body_json"]).encode())
    outcome = outcome_of(reply, handle, Decimal("0.025"))
    assert [one.url for one in outcome.produced] == [one["url"] for one in real["response"]["body_json"]["images"]]
    assert outcome.usage.image_size in ("1024x768", "1024x1024")
    assert outcome.usage.reported_cost_usd == Decimal("0.01966")
    spec = load_table("fal").find(Task.TEXT_TO_IMAGE, "fal-ai/flux/dev")
    sent = real["request"]["body_json"]
    assert spec is not None
    filled = fill(spec, MediaRequest(task=Task.TEXT_TO_IMAGE, prompt=sent["prompt"]), "fal")
    assert filled.fields == {"prompt": sent["prompt"]}


def test_a_transcript_that_was_recorded() -> None:
    real = recording("fal/transcription-fal-ai-wizper")["response"]["body_json"]
    handle = Handle(id="r", data={"task": "transcribe", "model": "fal-ai/wizper"})
    heard = outcome_of(Reply(200, [], json.dumps(real).encode()), handle, None).transcript
    assert heard is not None
    assert (heard.text, heard.duration, heard.segments[0].start) == (real["text"], 9.62, 0.36)


def test_an_error_that_was_recorded() -> None:
    real = recording("fal/error-422-image-validation-2")["response"]
    failure = read_failure(real["status"], [], json.dumps(real["body_json"]).encode())
    assert failure is not None
    assert (failure.kind, failure.param) == (ErrorKind.INVALID_REQUEST, "loras")


def test_signatures_are_those_of_the_standard() -> None:
    """RFC 8032, 7.1, test 2."""
    key = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
    signature = bytes.fromhex(
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )
    assert verifies(key, signature, b"\x72")
    assert not verifies(key, signature, b"\x73")
    assert not verifies(key, signature[:32] + bytes(32), b"\x72")
    assert not verifies(key[:31], signature, b"\x72")
    assert not verifies(b"\xff" * 32, signature, b"\x72")


async def test_work_that_the_provider_does_not_know_at_first_is_waited_for(gateway: MediaGateway) -> None:
    await gateway.fail("fal", "missing_at_first", polls=1, times=1)
    assert (await ask(gateway, FLUX, "text_to_image", prompt="x")).artifact["size"] > 0
