"""OpenAI's image variations and streams for its callers, whoever answers them."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from support.media_files import png, wav
from support.media_gateway import MediaGateway, media_gateway
from support.media_recordings import recording

PICTURE = {"image": ("otter.png", png(64, 64), "image/png")}
SOUND = {"file": ("talk.wav", wav(2.0), "audio/wav")}


def events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line.removeprefix("data: ")) for line in text.splitlines() if line.startswith("data: ")]


@pytest.fixture
async def own(tmp_path: Path) -> AsyncIterator[MediaGateway]:
    """With a server of one's own that speaks OpenAI's dialects, as DALL-E 2 did."""
    inner, outer = tmp_path / "inner", tmp_path / "outer"
    inner.mkdir()
    outer.mkdir()
    async with media_gateway(outer) as provider:
        url = f"{str(provider.sandbox.base_url).rstrip('/')}/openai/v1"
        entry = {"adapter": "openai_compatible", "base_url": url, "serves": ["image"], "api_key": "sk-x"}
        routes = {"image": {"operation": "image", "targets": ["studio/dall-e-2"]}}
        async with media_gateway(inner, {"providers": {"studio": entry}, "routes": routes}) as gateway:
            gateway.sandbox = provider.sandbox
            yield gateway


async def test_a_variation_is_relayed_to_who_makes_variations(own: MediaGateway) -> None:
    data = {"model": "studio/dall-e-2", "n": "2", "size": "256x256"}
    answer = await own.post("/v1/images/variations", files=PICTURE, data=data)
    assert answer.headers["x-polyroute-provider"] == "studio"
    assert len(answer.json()["data"]) == 2
    [row] = [row for row in await own.seen("openai") if row["method"] == "POST"]
    assert row["path"].endswith("/images/variations")
    assert row["body"] == {"model": "dall-e-2", "n": "2", "size": "256x256"}


async def test_a_recorded_call_goes_out_as_it_came_with_the_model_that_it_did_not_name(own: MediaGateway) -> None:
    sent = recording("openai/image-edit-images-variations-image-png")["request"]
    content = base64.b64decode(sent["body_base64"])
    headers = {"content-type": sent["headers"]["content-type"]}
    answer = await own.post("/v1/images/variations", content=content, headers=headers)
    assert answer.headers["x-polyroute-model"] == "dall-e-2"
    [row] = [row for row in await own.seen("openai") if row["method"] == "POST"]
    assert row["body"] == {"model": "dall-e-2", "n": "2", "size": "256x256"}


@pytest.mark.parametrize(
    ("model", "provider"),
    [("openai/gpt-image-2", "openai"), ("fal/fal-ai/flux-pro/kontext", "fal"), ("aihubmix/gpt-image-2", "aihubmix")],
)
async def test_where_there_are_no_variations_the_picture_is_worked_on_with_words_of_ours(
    gateway: MediaGateway, model: str, provider: str
) -> None:
    answer = await gateway.post("/v1/images/variations", files=PICTURE, data={"model": model, "size": "1024x1024"})
    assert answer.headers["x-polyroute-provider"] == provider
    assert base64.b64decode(answer.json()["data"][0]["b64_json"])[:4] in (b"\x89PNG", b"RIFF", b"\xff\xd8\xff\xe0")
    row = next(row for row in await gateway.seen(provider) if row["method"] == "POST" and "prompt" in row["body"])
    assert row["body"]["prompt"].startswith("A variation")


async def test_the_next_provider_varies_the_picture_when_the_first_is_down(gateway: MediaGateway) -> None:
    await gateway.fail("fal", "status", status=503, times=9)
    data = {"model": "fal/fal-ai/flux-pro/kontext", "polyroute": '{"fallbacks": ["xai/grok-imagine-image"]}'}
    answer = await gateway.post("/v1/images/variations", files=PICTURE, data=data)
    assert answer.headers["x-polyroute-provider"] == "xai"


async def test_a_variation_needs_its_picture(gateway: MediaGateway) -> None:
    answer = await gateway.post("/v1/images/variations", 400, files={"size": (None, "256x256")})
    assert answer.json()["error"]["param"] == "image"


async def test_partial_pictures_of_openai_reach_the_caller(gateway: MediaGateway) -> None:
    answer = await gateway.image("openai/gpt-image-2", stream=True, partial_images=2)
    kinds = [event["type"] for event in events(answer.text)]
    assert kinds == [*["image_generation.partial_image"] * 2, "image_generation.completed"]


async def test_a_picture_of_who_shows_no_partial_ones_ends_the_stream(gateway: MediaGateway) -> None:
    answer = await gateway.image("xai/grok-imagine-image", stream=True, partial_images=2)
    [event] = events(answer.text)
    assert event["type"] == "image_generation.completed"
    assert base64.b64decode(event["b64_json"])


@pytest.mark.parametrize(
    "model", ["openai/gpt-4o-mini-tts", "elevenlabs/eleven_flash_v2_5", "fal/fal-ai/minimax/speech-2.8-hd"]
)
async def test_speech_as_events_whoever_speaks(gateway: MediaGateway, model: str) -> None:
    body = {"model": model, "input": "Good morning to everybody.", "voice": "alloy", "stream_format": "sse"}
    answer = await gateway.post("/v1/audio/speech", json=body)
    assert answer.headers["content-type"].startswith("text/event-stream")
    told = events(answer.text)
    sound = b"".join(base64.b64decode(event["audio"]) for event in told[:-1])
    assert sound.startswith((b"ID3", b"\xff\xfb", b"\xff\xf3"))
    assert {event["type"] for event in told[:-1]} == {"speech.audio.delta"}
    assert told[-1]["type"] == "speech.audio.done"


@pytest.mark.parametrize("model", ["openai/gpt-4o-transcribe", "elevenlabs/scribe_v2", "replicate/openai/whisper"])
async def test_a_transcript_as_events_whoever_heard_it(gateway: MediaGateway, model: str) -> None:
    data = {"model": model, "stream": "true"}
    answer = await gateway.post("/v1/audio/transcriptions", files=SOUND, data=data)
    assert answer.headers["content-type"].startswith("text/event-stream")
    told = events(answer.text)
    assert told[-1]["type"] == "transcript.text.done"
    assert "".join(event["delta"] for event in told[:-1]) == told[-1]["text"]


async def test_who_said_what_is_told_as_events_too(gateway: MediaGateway) -> None:
    data = {"model": "elevenlabs/scribe_v2", "stream": "true", "response_format": "diarized_json"}
    answer = await gateway.post("/v1/audio/transcriptions", files=SOUND, data=data)
    first = events(answer.text)[0]
    assert (first["type"], first["speaker"]) == ("transcript.text.segment", "speaker_0")
