"""OpenAI's own paths as the target of callers who speak another dialect, and ElevenLabs behind OpenAI's."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.media_files import wav
from support.media_gateway import MediaGateway, media_gateway

SPEECH = {"input": "Good morning to everybody.", "voice": "alloy"}


async def test_speech_is_spoken_by_elevenlabs_and_handed_on_as_it_comes(gateway: MediaGateway) -> None:
    answer = await gateway.post("/v1/audio/speech", json={"model": "speech", **SPEECH})
    assert answer.headers["content-type"] == "audio/mpeg"
    assert answer.headers["x-polyroute-provider"] == "elevenlabs"
    assert answer.content[:3] in (b"ID3", b"\xff\xfb\x90")
    entry = await gateway.entry(answer)
    assert (entry["characters"], entry["status"], entry["simulated"]) == (len(SPEECH["input"]), "COMPLETED", 1)


async def test_the_next_provider_speaks_when_the_first_is_down(gateway: MediaGateway) -> None:
    await gateway.fail("elevenlabs", "status", status=503)
    answer = await gateway.post("/v1/audio/speech", json={"model": "speech", **SPEECH})
    assert answer.headers["x-polyroute-provider"] != "elevenlabs"
    assert answer.content


async def test_a_voice_that_is_not_there_is_refused_with_its_name(gateway: MediaGateway) -> None:
    body = {"model": "elevenlabs/eleven_flash_v2_5", "input": "Hello", "voice": "Nobody At All"}
    answer = await gateway.post("/v1/audio/speech", 400, json=body)
    assert "'Nobody At All'" in answer.json()["error"]["message"]


@pytest.mark.parametrize(("form", "start"), [("srt", "1\n00:00:0"), ("vtt", "WEBVTT\n"), ("text", "[simulated")])
async def test_a_transcript_in_every_form_whoever_heard_it(gateway: MediaGateway, form: str, start: str) -> None:
    files = {"file": ("talk.wav", wav(2.0), "audio/wav")}
    data = {"model": "elevenlabs/scribe_v2", "response_format": form}
    answer = await gateway.post("/v1/audio/transcriptions", files=files, data=data)
    assert answer.text.startswith(start)


async def test_words_and_segments_have_their_times(gateway: MediaGateway) -> None:
    files = {"file": ("talk.wav", wav(2.0), "audio/wav")}
    data = {
        "model": "elevenlabs/scribe_v2", "response_format": "verbose_json", "timestamp_granularities[]": ["word", "segment"],
    }  # fmt: skip
    answer = (await gateway.post("/v1/audio/transcriptions", files=files, data=data)).json()
    assert answer["segments"][-1]["end"] == pytest.approx(answer["words"][-1]["end"])
    assert " ".join(word["word"] for word in answer["words"]) == answer["text"]


async def test_what_is_no_sound_is_refused_before_anybody_is_asked(gateway: MediaGateway) -> None:
    files = {"file": ("talk.wav", b"<html>no sound</html>", "audio/wav")}
    answer = await gateway.post("/v1/audio/transcriptions", 400, files=files, data={"model": "elevenlabs/scribe_v2"})
    assert "file" in answer.json()["error"]["message"]
    assert await gateway.seen("elevenlabs") == []


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 11}, "n"), ({"n": "two"}, "n"), ({"size": "huge"}, "size"), ({"prompt": ""}, "prompt"),
        ({"output_format": "bmp"}, "output_format"), ({"background": "pink"}, "background"),
        ({"size": "1x100000"}, "size"),
    ],
)  # fmt: skip
async def test_bad_fields_are_named_and_nothing_is_submitted(
    gateway: MediaGateway, fields: dict[str, object], param: str
) -> None:
    model = "replicate/black-forest-labs/flux-schnell"
    answer = await gateway.image(model, status=400, **fields)
    error = answer.json()["error"]
    assert error["param"] == param
    assert f"'{param}'" in error["message"]
    assert await gateway.jobs("replicate") == []


async def test_a_server_of_ones_own_is_asked_over_openais_paths(tmp_path: Path) -> None:
    async with media_gateway(tmp_path) as outer:
        url = str(outer.sandbox.base_url)
        folder = tmp_path / "own"
        folder.mkdir()
        own = {"adapter": "openai_compatible", "base_url": f"{url}/openai/v1", "serves": ["image"], "api_key": "sk-x"}
        routes = {"mine": {"operation": "image", "targets": ["mine_server/gpt-image-2"]}}
        async with media_gateway(folder, {"providers": {"mine_server": own}, "routes": routes}) as gateway:
            answer = await gateway.image("mine")
            assert answer.headers["x-polyroute-provider"] == "mine_server"
            assert answer.json()["data"][0]["b64_json"]
