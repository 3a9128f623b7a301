"""Together as callers meet it, over the sandbox."""

from __future__ import annotations

import pytest

from polyroute.providers.media.fields import fill
from polyroute.providers.media.tables import load_table
from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.media import MediaRequest, Task
from support.media_files import PNG, mp4, wav
from support.media_gateway import MediaGateway
from support.media_work import ask, content_of, given, probe, recording, wire_of

IMAGE, VIDEO = given("image", PNG, "image/png"), given("video", mp4(), "video/mp4")
SOUND = given("audio", wav(1), "audio/wav")
FRAME = {**IMAGE, "role": "first_frame"}


KOKORO = "together/hexgrad/Kokoro-82M"


async def test_pictures_of_the_size_that_was_asked_for(gateway: MediaGateway) -> None:
    answer = await gateway.image("together/black-forest-labs/FLUX.1-schnell", size="640x480", n=2, output_format="png")
    assert len(answer.json()["data"]) == 2
    work = await ask(
        gateway,
        "together/black-forest-labs/FLUX.1-schnell",
        "text_to_image",
        prompt="x",
        aspect_ratio="16:9",
        format="png",
    )
    assert (work.artifact["width"], work.artifact["height"]) == (1360, 768)
    assert (await gateway.entry(answer))["images"] == 2


async def test_a_picture_from_a_picture(gateway: MediaGateway) -> None:
    work = await ask(
        gateway, "together/black-forest-labs/FLUX.1-kontext-pro", "image_to_image", prompt="blue", inputs=[IMAGE]
    )
    assert work.artifact["media_type"] == "image/jpeg"
    with pytest.raises(PolyrouteError) as refused:
        await ask(gateway, "together/Qwen/Qwen-Image-2", "image_to_image", prompt="blue", inputs=[IMAGE])
    assert refused.value.kind is ErrorKind.UNSUPPORTED


async def test_a_film_with_its_exact_cost(gateway: MediaGateway) -> None:
    work = await ask(
        gateway, "together/minimax/hailuo-02", "image_to_video", prompt="x", duration=3, width=640, height=360, fps=12,
        inputs=[{**IMAGE, "role": "last_frame"}, FRAME],
    )  # fmt: skip
    assert work.cost == pytest.approx(0.24)
    assert (work.artifact["width"], work.made["usage"]["video_seconds"], work.dropped) == (640, 3.0, [])
    told = probe(await content_of(gateway, work))
    assert not told or float(told["format"]["duration"]) == pytest.approx(3, abs=0.1)


@pytest.mark.parametrize(("form", "start"), [("mp3", (b"ID3", b"\xff")), ("wav", (b"RIFF",)), ("pcm", (b"",))])
async def test_speech_streams(gateway: MediaGateway, form: str, start: tuple[bytes, ...]) -> None:
    body = {"model": KOKORO, "input": "Good morning to you all.", "voice": "alloy", "response_format": form}
    answer = await gateway.post("/v1/audio/speech", json=body)
    assert answer.content.startswith(start)
    assert b"audio.tts.chunk" not in answer.content
    assert len(answer.content) > 2000
    assert "voice alloy became af_heart" in answer.headers["x-polyroute-notes"]


async def test_a_form_of_speech_that_it_does_not_make_is_named(gateway: MediaGateway) -> None:
    body = {"model": KOKORO, "input": "Good morning.", "voice": "alloy", "response_format": "opus"}
    error = (await gateway.post("/v1/audio/speech", 400, json=body)).json()["error"]
    assert error["param"] == "response_format"
    assert "'opus'; possible are mp3, wav, pcm" in error["message"]


async def test_a_transcript_as_subtitles(gateway: MediaGateway) -> None:
    files = {"file": ("a.wav", wav(1), "audio/wav")}
    data = {"model": "together/openai/whisper-large-v3", "response_format": "srt"}
    answer = await gateway.post("/v1/audio/transcriptions", files=files, data=data)
    assert answer.text.startswith("1\n00:00:00,000 --> ")
    work = await ask(gateway, "together/openai/whisper-large-v3", "translate", inputs=[SOUND], timestamps=["word"])
    assert work.made["transcript"]["words"]


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"kind": "moderation"}, ErrorKind.CONTENT_FILTERED),
        ({"kind": "invalid_key"}, ErrorKind.CREDENTIAL_REJECTED),
        ({"kind": "quota"}, ErrorKind.QUOTA_EXHAUSTED),
        ({"kind": "status", "status": 429, "retry_after": "0.1"}, ErrorKind.RATE_LIMITED),
    ],
)
async def test_what_goes_wrong_is_told_apart(gateway: MediaGateway, fault: dict, kind: ErrorKind) -> None:
    await gateway.control("together", faults=[fault])
    for model, task in (("black-forest-labs/FLUX.1-schnell", "text_to_image"), ("minimax/hailuo-02", "text_to_video")):
        with pytest.raises(PolyrouteError) as failed:
            await ask(gateway, f"together/{model}", task, prompt="x")
        assert {one.kind for one in failed.value.attempts} or {failed.value.kind} == {kind}


async def test_films_that_fail_and_films_that_are_lost(gateway: MediaGateway) -> None:
    for fault, kind in (
        ("job_failed", ErrorKind.GENERATION_FAILED),
        ("lost_after_acceptance", ErrorKind.UNKNOWN_OUTCOME),
    ):
        await gateway.fail("together", fault, times=1)
        with pytest.raises(PolyrouteError) as failed:
            await ask(gateway, "together/minimax/hailuo-02", "text_to_video", prompt="x")
        assert failed.value.attempts[0].kind is kind
        assert len(failed.value.attempts) == 1


async def test_models_and_voices_are_listed(gateway: MediaGateway) -> None:
    adapter, wire = wire_of(gateway, "together")
    assert "af_heart" in {voice.id for voice in await adapter.voices(wire)}
    assert await adapter.models(wire)


def test_a_picture_that_was_recorded() -> None:
    real = recording("together/image-images-generations-stabilityai-stable-diffusion-xl-base-1-0")
    sent = real["request"]["body_json"]
    spec = load_table("together").find(Task.TEXT_TO_IMAGE, sent["model"])
    assert spec is not None
    filled = fill(spec, MediaRequest(task=Task.TEXT_TO_IMAGE, prompt=sent["prompt"]), "together")
    assert {"model": sent["model"], **filled.fields} == sent


async def test_work_that_the_provider_does_not_know_at_first_is_waited_for(gateway: MediaGateway) -> None:
    await gateway.fail("together", "missing_at_first", polls=1, times=1)
    assert (await ask(gateway, "together/minimax/hailuo-02", "text_to_video", prompt="x")).artifact["size"] > 0
