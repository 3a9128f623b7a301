"""xAI as callers meet it, over the sandbox."""

from __future__ import annotations

import pytest

from polyroute.providers.media.fields import fill, place
from polyroute.providers.media.tables import load_table
from polyroute.providers.media.xai import read_transcript
from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.media import MediaInput, MediaRequest, Task
from support.media_files import PNG, mp4, wav
from support.media_gateway import MediaGateway
from support.media_work import ask, content_of, given, probe, recording, wire_of

IMAGE, VIDEO = given("image", PNG, "image/png"), given("video", mp4(), "video/mp4")
SOUND = given("audio", wav(1), "audio/wav")
FRAME = {**IMAGE, "role": "first_frame"}


PICTURE, FILM = "xai/grok-imagine-image", "xai/grok-imagine-video"


async def test_pictures_with_their_exact_cost(gateway: MediaGateway) -> None:
    answer = await gateway.image(PICTURE, size="1792x1024", n=2, seed=5)
    assert len(answer.json()["data"]) == 2
    assert answer.headers["x-polyroute-dropped"] == "seed"
    entry = await gateway.entry(answer)
    assert (entry["images"], entry["cost_usd"]) == (2, pytest.approx(0.04))
    work = await ask(gateway, PICTURE, "text_to_image", prompt="x", width=1920, height=1080, quality="low")
    assert work.artifact["width"] / work.artifact["height"] == pytest.approx(16 / 9, abs=0.02)


async def test_an_edit_is_json(gateway: MediaGateway) -> None:
    files = [("image[]", ("a.png", PNG, "image/png")), ("image[]", ("b.png", PNG, "image/png"))]
    answer = await gateway.post("/v1/images/edits", files=files, data={"model": PICTURE, "prompt": "make it blue"})
    assert answer.headers["x-polyroute-provider"] == "xai"
    [row] = await gateway.seen("xai")
    assert row["path"].endswith("/images/edits")


async def test_an_edit_as_it_was_recorded(gateway: MediaGateway) -> None:
    sent = recording("xai/image-edit-functionality-with-reference-images-grok-imagine-image-quality-s")["request"][
        "body_json"
    ]
    spec = load_table("xai").find(Task.IMAGE_TO_IMAGE, sent["model"])
    assert spec is not None
    pictures = tuple(MediaInput(role="image", url=one["url"]) for one in sent["images"])
    request = MediaRequest(task=Task.IMAGE_TO_IMAGE, prompt=sent["prompt"], inputs=pictures)
    _, wire = wire_of(gateway, "xai")
    placed = await place(fill(spec, request, "xai"), wire)
    assert {key: placed[key] for key in ("prompt",)} == {"prompt": sent["prompt"]}
    assert [one["type"] for one in placed["images"]] == [one["type"] for one in sent["images"]]
    assert [one["url"][:40] for one in placed["images"]] == [one["url"][:40] for one in sent["images"]]


async def test_a_film_from_a_picture(gateway: MediaGateway) -> None:
    work = await ask(
        gateway,
        FILM,
        "image_to_video",
        prompt="x",
        duration=2.4,
        width=1280,
        height=720,
        negative_prompt="rain",
        inputs=[FRAME],
    )
    assert work.dropped == ["negative_prompt"]
    assert work.artifact["height"] == 720
    assert work.cost == pytest.approx(2 * 0.07 + 0.002)
    told = probe(await content_of(gateway, work))
    assert not told or float(told["format"]["duration"]) == pytest.approx(2, abs=0.1)


async def test_films_are_changed_and_made_longer(gateway: MediaGateway) -> None:
    await ask(gateway, FILM, "video_to_video", prompt="x", inputs=[VIDEO])
    await ask(gateway, FILM, "video_to_video", prompt="x", duration=2, inputs=[VIDEO])
    paths = {row["path"].rpartition("/")[2] for row in await gateway.seen("xai") if row["method"] == "POST"}
    assert paths == {"edits", "extensions"}


async def test_speech_and_its_transcript(gateway: MediaGateway) -> None:
    body = {"model": "xai/grok-tts", "input": "Good morning.", "voice": "alloy", "response_format": "wav"}
    answer = await gateway.post("/v1/audio/speech", json=body)
    assert answer.content.startswith(b"RIFF")
    files = {"file": ("a.wav", answer.content, "audio/wav")}
    data = {"model": "xai/grok-voice-transcribe-2.0", "response_format": "verbose_json", "language": "en"}
    heard = (await gateway.post("/v1/audio/transcriptions", files=files, data=data)).json()
    assert heard["duration"] == 3.0
    assert heard["segments"]


def test_a_transcript_that_was_recorded() -> None:
    real = recording("xai/transcription-basic-functionality-grok-stt-can-transcribe-with-language-hint")
    heard = read_transcript(real["response"]["body_json"])
    assert (len(heard.words), heard.duration, heard.language) == (9, 3.7, "en")
    assert [one.text for one in heard.segments] == [heard.text]


def test_speech_as_it_was_recorded() -> None:
    sent = recording("xai/speech-basic-functionality-grok-tts-can-speak")["request"]["body_json"]
    spec = load_table("xai").find(Task.SPEECH, "grok-tts")
    assert spec is not None
    assert fill(spec, MediaRequest(task=Task.SPEECH, prompt=sent["text"]), "xai").fields == sent


@pytest.mark.parametrize("task", ["text_to_image", "text_to_video"])
@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"kind": "moderation"}, ErrorKind.CONTENT_FILTERED),
        ({"kind": "invalid_key"}, ErrorKind.CREDENTIAL_REJECTED),
        ({"kind": "status", "status": 429, "retry_after": "0.1"}, ErrorKind.RATE_LIMITED),
    ],
)
async def test_what_goes_wrong_is_told_apart(gateway: MediaGateway, task: str, fault: dict, kind: ErrorKind) -> None:
    await gateway.control("xai", faults=[fault])
    with pytest.raises(PolyrouteError) as failed:
        await ask(gateway, FILM if "video" in task else PICTURE, task, prompt="x")
    assert ({one.kind for one in failed.value.attempts} or {failed.value.kind}) == {kind}


async def test_films_that_fail_and_films_that_are_lost(gateway: MediaGateway) -> None:
    for fault, kind in (
        ("job_failed", ErrorKind.GENERATION_FAILED),
        ("lost_after_acceptance", ErrorKind.UNKNOWN_OUTCOME),
    ):
        await gateway.fail("xai", fault, times=1)
        with pytest.raises(PolyrouteError) as failed:
            await ask(gateway, FILM, "text_to_video", prompt="x")
        assert failed.value.attempts[0].kind is kind


async def test_the_models_are_listed(gateway: MediaGateway) -> None:
    adapter, wire = wire_of(gateway, "xai")
    assert await adapter.models(wire)


async def test_work_that_the_provider_does_not_know_at_first_is_waited_for(gateway: MediaGateway) -> None:
    await gateway.fail("xai", "missing_at_first", polls=1, times=1)
    assert (await ask(gateway, FILM, "text_to_video", prompt="x")).artifact["size"] > 0
