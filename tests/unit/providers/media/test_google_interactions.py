"""Google's films as interactions, and films made longer, over the sandbox; and what Google really said."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from polyroute.ports import Reply
from polyroute.providers.media.google import interactions
from polyroute.providers.media.handles import new_handle
from polyroute.types.errors import AttemptFailed, ErrorKind, PolyrouteError
from polyroute.types.media import Handle, MediaRequest, Task
from support.media_files import PNG, mp4, wav
from support.media_gateway import MediaGateway, media_gateway
from support.media_recordings import recording
from support.media_sandbox import until
from support.media_work import ask, content_of, given, probe, wire_of

OMNI = "google/gemini-omni-1.1-flash"
VEO = "google/veo-3.1-fast-generate-001"
IMAGE, OTHER, FILM = (
    given("first_frame", PNG, "image/png"), given("reference", PNG, "image/png"), given("video", mp4(), "video/mp4"),
)  # fmt: skip
PATIENT = {"defaults": {"breaker": {"failures": 100, "minimum": 100}}}


@pytest.fixture
async def patient(tmp_path: Path) -> AsyncIterator[MediaGateway]:
    """A gateway that goes on asking a provider that fails."""
    async with media_gateway(tmp_path, PATIENT) as made:
        yield made


async def orders(gateway: MediaGateway) -> list[dict[str, Any]]:
    """What was asked to be made."""
    rows = await gateway.seen("google")
    return [row["body"] for row in rows if row["path"].endswith(("/interactions", ":predictLongRunning"))]


async def test_every_task_of_omni(gateway: MediaGateway) -> None:
    for task, model, fields, mode, form in (
        ("text_to_video", OMNI, {"duration": 3, "aspect_ratio": "9:16"}, "text_to_video",
         {"duration": "3s", "aspect_ratio": "9:16"}),
        ("text_to_video", OMNI, {"inputs": [OTHER], "duration": 4, "resolution": "360p"}, "reference_to_video",
         {"duration": "4s", "resolution": "360p"}),
        ("image_to_video", OMNI, {"inputs": [IMAGE, OTHER], "width": 1280, "height": 720}, "image_to_video",
         {"aspect_ratio": "16:9", "resolution": "720p"}),
        ("image_to_video", "google/gemini-omni-1.2-flash", {"inputs": [IMAGE], "duration": 12}, "image_to_video",
         {"duration": "12s"}),
        ("video_to_video", OMNI, {"inputs": [FILM]}, "edit", {}),
        ("video_to_video", OMNI, {"inputs": [FILM], "duration": 5}, "extend", {"duration": "5s"}),
        ("upscale_video", OMNI, {"inputs": [FILM]}, "upscale", {"resolution": "1080p"}),
        ("upscale_video", OMNI, {"inputs": [FILM], "resolution": "4K"}, "upscale", {"resolution": "4k"}),
    ):  # fmt: skip
        words = {} if task == "upscale_video" else {"prompt": "waves"}
        work = await ask(gateway, model, task, **words, **fields)
        assert (mode, work.dropped) == (mode, [])
        assert work.artifact["media_type"] == "video/mp4"
        body = (await orders(gateway))[-1]
        assert body["generation_config"] == {"video_config": {"task": mode}}
        assert body["response_format"] == {"type": "video", "delivery": "uri", **form}, mode
        assert (body["background"], body["store"]) == (True, True)
        kinds = [block["type"] for block in body["input"]]
        assert kinds == [{"reference": "image", "first_frame": "image"}.get(one["role"], one["role"]) for one in
                         fields.get("inputs", ())] + (["text"] if words else [])  # fmt: skip
        if (told := probe(await content_of(gateway, work))) and fields.get("duration"):
            assert float(told["format"]["duration"]) == pytest.approx(fields["duration"], abs=0.2)


async def test_a_film_is_charged_by_its_tokens_and_fetched_with_the_key(gateway: MediaGateway) -> None:
    work = await ask(
        gateway, OMNI, "text_to_video", prompt="waves", duration=2, seed=3, negative_prompt="rain", sound=True
    )
    assert set(work.dropped) == {"seed", "negative_prompt"}
    assert "duration 2 became 3" in work.made["notes"]
    usage = work.made["usage"]
    assert (usage["video_seconds"], usage["image_output"]) == (3, 17376)
    assert float(work.headers["x-polyroute-cost-usd"]) == pytest.approx(17376 * 17.5e-6 + usage["input"] * 1.5e-6)
    assert [row for row in await gateway.seen("google") if ":download" in row["path"]]


async def test_a_conversation_goes_on_without_the_film(gateway: MediaGateway) -> None:
    options = {"google": {"previous_interaction_id": "v1_before", "response_format": {"delivery": "inline"}}}
    work = await ask(gateway, OMNI, "video_to_video", prompt="now at night", options=options)
    assert work.artifact["media_type"] == "video/mp4"
    body = (await orders(gateway))[-1]
    assert (body["previous_interaction_id"], body["response_format"]["delivery"]) == ("v1_before", "inline")
    assert body["response_format"]["type"] == "video"


async def test_what_omni_cannot_be_asked(gateway: MediaGateway) -> None:
    for task, fields, param in (
        ("video_to_video", {"prompt": "x"}, "video"),
        ("upscale_video", {}, "video"),
        ("image_to_video", {"prompt": "x"}, "first_frame"),
        ("text_to_video", {}, "prompt"),
        ("text_to_video", {"prompt": "x", "duration": 20}, "duration"),
    ):
        with pytest.raises(PolyrouteError) as refused:
            await ask(gateway, OMNI, task, **fields)
        kind = ErrorKind.UNSUPPORTED if param == "duration" else ErrorKind.INVALID_REQUEST
        assert (refused.value.kind, refused.value.param) == (kind, param)
    assert await orders(gateway) == []


async def test_a_film_of_veos_goes_on_for_seven_seconds(gateway: MediaGateway) -> None:
    work = await ask(gateway, VEO, "video_to_video", prompt="it lands", inputs=[FILM], duration=5, aspect_ratio="9:16")
    assert (work.dropped, work.made["notes"]) == (["aspect_ratio"], ["duration 5 became 7"])
    [body] = await orders(gateway)
    assert set(body["instances"][0]) == {"prompt", "video"}
    assert body["instances"][0]["video"]["uri"].split("/files/")[0].endswith("/google/v1beta")
    assert body["parameters"] == {}
    assert work.made["usage"]["video_seconds"] == 7
    assert float(work.headers["x-polyroute-cost-usd"]) == pytest.approx(0.7)


async def test_a_film_that_lies_at_google_is_named_and_not_sent(gateway: MediaGateway) -> None:
    own = f"{gateway.app.gateway.runtime.providers['google'].row.base_url}/files/abc"
    film = {"role": "video", "url": own, "media_type": "video/mp4"}
    await ask(gateway, VEO, "video_to_video", prompt="x", inputs=[film])
    await ask(gateway, OMNI, "video_to_video", prompt="x", inputs=[film])
    extended, edited = await orders(gateway)
    assert extended["instances"][0]["video"] == {"uri": own}
    assert edited["input"][0] == {"type": "video", "mime_type": "video/mp4", "uri": own}
    assert not [row for row in await gateway.seen("google") if "/upload/" in row["path"]]


async def test_what_goes_wrong_is_told_apart(patient: MediaGateway) -> None:
    for fault, kind in (
        ({"kind": "moderation"}, ErrorKind.CONTENT_FILTERED),
        ({"kind": "job_failed"}, ErrorKind.GENERATION_FAILED),
        ({"kind": "job_failed", "message": "blocked for safety reasons"}, ErrorKind.CONTENT_FILTERED),
        ({"kind": "lost_after_acceptance"}, ErrorKind.UNKNOWN_OUTCOME),
        ({"kind": "status", "status": 429, "retry_after": "0.01"}, ErrorKind.RATE_LIMITED),
        ({"kind": "status", "status": 503}, ErrorKind.UNAVAILABLE),
        ({"kind": "invalid_key"}, ErrorKind.CREDENTIAL_REJECTED),
    ):
        await patient.anew()
        await patient.control("google", operation="video", faults=[fault])
        with pytest.raises(PolyrouteError) as failed:
            await ask(patient, OMNI, "text_to_video", prompt="x")
        assert ({one.kind for one in failed.value.attempts} or {failed.value.kind}) == {kind}, fault


async def test_an_interaction_that_is_not_known_at_first_is_waited_for(gateway: MediaGateway) -> None:
    await gateway.fail("google", "missing_at_first", polls=2, times=1)
    assert (await ask(gateway, OMNI, "text_to_video", prompt="x")).artifact["size"] > 0


async def test_a_film_that_nobody_waits_for_is_cancelled(gateway: MediaGateway) -> None:
    await gateway.control("google", job_seconds=60)
    waiting = asyncio.ensure_future(ask(gateway, OMNI, "text_to_video", prompt="x"))

    async def polled() -> bool:
        return any(row["method"] == "GET" for row in await gateway.seen("google"))

    await until(polled)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert (await gateway.jobs("google"))[0]["state"] == "canceled"


async def test_another_provider_makes_the_film_that_failed(gateway: MediaGateway) -> None:
    await gateway.fail("google", "job_failed")
    work = await ask(
        gateway, OMNI, "text_to_video", prompt="x", polyroute={"fallbacks": ["xai/grok-imagine-video-1.5"]}
    )
    assert (work.headers["x-polyroute-provider"], work.headers["x-polyroute-attempts"]) == ("xai", "2")


SOUND = given("audio", wav(2.0), "audio/wav")
HEARD = "google/gemini-3.5-transcribe"


async def test_words_have_times_and_speakers_where_they_are_asked_for(gateway: MediaGateway) -> None:
    work = await ask(
        gateway, HEARD, "transcribe", inputs=[SOUND], timestamps=["word"], diarize=True, language="de", hints=["Ada"],
        prompt="A lecture.",
    )  # fmt: skip
    heard = work.made["transcript"]
    assert work.dropped == ["hints", "prompt"]
    assert " ".join(one["word"] for one in heard["words"]) == heard["text"]
    assert {one["speaker"] for one in heard["segments"]} == {"spk_1", "spk_2"}
    assert (heard["words"][0]["start"], heard["duration"], heard["language"]) == (0.0, 3.0, "de")
    body = (await orders(gateway))[-1]
    mode = {"type": "verbatim", "timestamp_granularities": ["word"], "diarization_mode": "speaker"}
    assert body["generation_config"]["transcription_config"] == {"mode": mode, "language_codes": ["de"]}
    assert (body["store"], "background" in body) == (False, False)
    assert float(work.headers["x-polyroute-cost-usd"]) > 0


async def test_a_transcript_that_comes_in_pieces_is_put_together(gateway: MediaGateway) -> None:
    work = await ask(gateway, f"{HEARD}-hops", "transcribe", inputs=[SOUND], timestamps=["word"])
    whole = await ask(gateway, HEARD, "transcribe", inputs=[SOUND], timestamps=["word"])
    assert len(work.made["transcript"]["words"]) == len(whole.made["transcript"]["words"])
    asked = (await orders(gateway))[:-1]
    assert len(asked) > 1
    assert [body.get("continuation_token") for body in asked] == [None, *(str(6 * n) for n in range(1, len(asked)))]
    assert {len(body["input"]) for body in asked} == {1}


async def test_subtitles(gateway: MediaGateway) -> None:
    files = {"file": ("talk.wav", wav(2.0), "audio/wav")}
    data = {"model": HEARD, "response_format": "vtt"}
    answer = await gateway.post("/v1/audio/transcriptions", files=files, data=data)
    assert answer.text.startswith("WEBVTT")
    assert "00:00:03.000" in answer.text


async def test_speech_comes_in_the_format_that_is_asked_for(gateway: MediaGateway) -> None:
    for form, rate, media_type, begin in (
        ("mp3", None, "audio/mpeg", b"ID3"),
        ("opus", None, "audio/ogg", b"OggS"),
        ("wav", 48000, "audio/wav", b"RIFF"),
        ("pcm", 16000, "audio/pcm;rate=16000", b""),
    ):
        body = {"model": "google/gemini-3.8-flash-tts", "input": "Good morning to everybody.", "voice": "puck"}
        body |= {"response_format": form, "instructions": "Whisper.", **({"sample_rate": rate} if rate else {})}
        answer = await gateway.post("/v1/audio/speech", json=body)
        assert answer.headers["content-type"].replace(" ", "") == media_type, form
        assert answer.content.startswith(begin), form
        assert "x-polyroute-notes" not in answer.headers
        asked = (await orders(gateway))[-1]
        assert asked["input"] == "Whisper.\n\nGood morning to everybody."
        assert asked["generation_config"]["speech_config"] == [{"voice": "Puck"}]
        assert asked["response_format"].get("sample_rate") == rate
        work = await ask(
            gateway, "google/gemini-3.8-flash-tts", "speech", prompt="Good morning.", format=form, sample_rate=rate
        )
        assert work.artifact["media_type"].startswith("audio/")
        assert work.made["usage"]["audio_output"] > 0


async def test_speech_that_breaks_off_is_no_speech(patient: MediaGateway) -> None:
    for fault, kind in (
        ({"kind": "cut", "after_tokens": 0}, ErrorKind.TRUNCATED),
        ({"kind": "moderation"}, ErrorKind.CONTENT_FILTERED),
        ({"kind": "job_failed"}, ErrorKind.GENERATION_FAILED),
    ):
        await patient.anew()
        await patient.control("google", operation="speech", faults=[fault])
        adapter, wire = wire_of(patient, "google")
        request = MediaRequest(task=Task.SPEECH, prompt="Good morning.", format="mp3")
        model = "gemini-3.8-flash-tts"
        with pytest.raises(AttemptFailed) as failed:
            stream = await adapter.maker(Task.SPEECH, model).stream(request, model, wire)
            assert [block async for block in stream.chunks()] == []
        assert failed.value.failure.kind in (kind, ErrorKind.UNAVAILABLE if kind is ErrorKind.TRUNCATED else kind)


async def test_a_voice_is_made_up_from_a_description(gateway: MediaGateway) -> None:
    work = await ask(gateway, "google/replicated", "clone_voice", prompt="old and kind", voice_name="Ada", voice="kore")
    assert work.made["voice"]["id"].startswith("voice_")
    [order] = [row["body"] for row in await gateway.seen("google") if row["path"].endswith("/voices")]
    assert order["voice"] == {
        "display_name": "Ada", "type": "prompted", "prompted": {"input": "old and kind", "base_voice": "Kore"},
    }  # fmt: skip


async def test_jpeg_comes_by_interactions(gateway: MediaGateway) -> None:
    answer = await gateway.image(
        "google/gemini-3.1-flash-image", n=2, seed=4, size="1792x1024", output_format="jpeg", response_format="url"
    )
    made = answer.json()["data"]
    assert [(await gateway.download(one["url"]))[:2] for one in made] == [b"\xff\xd8"] * 2
    bodies = await orders(gateway)
    assert {body["generation_config"]["seed"] for body in bodies} == {4, 5}
    form = {"type": "image", "mime_type": "image/jpeg", "aspect_ratio": "16:9", "image_size": "2K"}
    assert [body["response_format"] for body in bodies] == [form, form]
    assert (await gateway.entry(answer))["cost_usd"] == pytest.approx(2 * 0.0672, rel=0.05)
    refused = await gateway.image(
        "google/gemini-3.1-flash-image", 400, prompt="forbidden-content", output_format="jpeg"
    )
    assert refused.json()["error"]["code"] == "content_policy_violation"


async def test_a_lower_guard_is_asked_for(gateway: MediaGateway) -> None:
    answer = await gateway.image("google/gemini-3.1-flash-image", moderation="low")
    assert "x-polyroute-dropped" not in answer.headers
    [row] = [row["body"] for row in await gateway.seen("google") if row["method"] == "POST"]
    assert {one["threshold"] for one in row["safetySettings"]} == {"BLOCK_ONLY_HIGH"}


async def test_polls_that_google_refuses(gateway: MediaGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    adapter, wire = wire_of(gateway, "google")
    maker, said = adapter.maker(Task.TEXT_TO_VIDEO, "gemini-omni-1.1-flash"), list[Reply]()

    async def answered(*_: Any, **__: Any) -> Reply:
        return said[-1]

    monkeypatch.setattr(wire, "call", answered)
    said.append(Reply(400, [], b'{"error": {"message": "try again"}}'))
    assert (await maker.poll(Handle(id="v1_x"), wire)).state == "running"
    said.append(Reply(400, [], b'{"error": {"message": "Invalid interaction name."}}'))
    assert (await maker.poll(new_handle("v1_x"), wire)).state == "queued"
    with pytest.raises(AttemptFailed) as failed:
        await maker.poll(Handle(id="v1_x"), wire)
    assert failed.value.failure.kind is ErrorKind.GENERATION_FAILED


FILM_BLOCK = {"type": "video", "uri": "https://generativelanguage.googleapis.com/v1beta/files/x:download"}
MADE = [{"type": "model_output", "content": [FILM_BLOCK]}]


@pytest.mark.parametrize(
    ("told", "kind"),
    [
        ({"status": "failed", "errors": [{"code": "internal", "message": "no capacity"}]}, ErrorKind.GENERATION_FAILED),
        ({"status": "failed", "steps": [{"error": {"code": 3, "message": "violates our policy"}}]},
         ErrorKind.CONTENT_FILTERED),
        ({"status": "cancelled"}, ErrorKind.GENERATION_FAILED),
        ({"status": "requires_action"}, ErrorKind.GENERATION_FAILED),
        ({"status": "requires_continuation", "steps": MADE}, ErrorKind.GENERATION_FAILED),
        ({"status": "incomplete"}, ErrorKind.GENERATION_FAILED),
        ({"status": "budget_exceeded"}, ErrorKind.QUOTA_EXHAUSTED),
        ({"status": "dreaming"}, ErrorKind.BAD_RESPONSE),
    ],
)  # fmt: skip
def test_states_that_end_badly(told: dict[str, Any], kind: ErrorKind) -> None:
    assert interactions.state_of(told) is None
    with pytest.raises(AttemptFailed) as caught:
        interactions.check_over(told)
    assert caught.value.failure.kind is kind


def test_states_that_do_not() -> None:
    assert [interactions.state_of({"status": status}) for status in ("queued", "in_progress")] == ["queued", "running"]
    interactions.check_over({"status": "completed"})
    interactions.check_over({"status": "incomplete", "steps": MADE})
    [film] = interactions.media_of({"steps": MADE})
    assert (film.url, film.authenticated) == (f"{FILM_BLOCK['uri']}?alt=media", True)


def test_a_refusal_is_words_without_a_film() -> None:
    words = {"steps": [{"type": "model_output", "content": [{"type": "text", "text": "I cannot."}]}]}
    assert interactions.nothing_made(words).failure.kind is ErrorKind.CONTENT_FILTERED
    counted = {"usage": {"output_tokens_by_modality": [{"modality": "video", "tokens": 9}]}}
    assert interactions.nothing_made(counted).failure.kind is ErrorKind.GENERATION_FAILED


def test_an_interaction_that_google_recorded() -> None:
    told = recording("google/interactions-basic")["response"]["body_json"]
    interactions.check_over(told)
    assert interactions.text_of(told).startswith("Hello! I'm doing well")
    usage = interactions.usage_of(told)
    assert (usage.input, usage.output, usage.reasoning) == (7, 19, 32)
    assert list(interactions.media_of(told)) == []
