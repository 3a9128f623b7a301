"""ElevenLabs: sound in every form, times, voices in pages, clones, and both ways to say no."""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from support.media_sandbox import Client

VOICE = "JBFqnCBsd6RMkjVDRZzb"
SPEAK = f"/elevenlabs/v1/text-to-speech/{VOICE}"
BODY = {"text": "Good morning, the tide is out.", "model_id": "eleven_flash_v2_5"}
Probe = Callable[[bytes], Awaitable[dict[str, Any]]]


@pytest.mark.parametrize(
    ("wanted", "codec"),
    [("mp3_44100_128", "mp3"), ("mp3_22050_32", "mp3"), ("wav_16000", "pcm_s16le"), ("opus_48000_64", "opus")],
)
async def test_speech_has_the_form_and_length_asked_for(client: Client, probe: Probe, wanted: str, codec: str) -> None:
    async with client.http.post(f"{SPEAK}?output_format={wanted}", json=BODY) as response:
        data = await response.read()
    assert (response.status, response.headers["character-cost"]) == (200, "15")
    seen = await probe(data)
    assert seen["streams"][0]["codec_name"] == codec
    assert float(seen["format"]["duration"]) == pytest.approx(1.8, abs=0.06)


async def test_a_stream_is_the_whole_in_pieces_and_samples_have_no_header(client: Client) -> None:
    whole = await client.call("POST", f"{SPEAK}?output_format=pcm_24000", BODY)
    assert len(whole) == 1.8 * 48_000
    async with client.http.post(f"{SPEAK}/stream?output_format=pcm_24000", json=BODY) as response:
        assert response.headers["transfer-encoding"] == "chunked"
        assert await response.read() == whole


async def test_times_come_whole_and_in_lines(client: Client) -> None:
    value = await client.call("POST", f"{SPEAK}/with-timestamps", BODY)
    assert "".join(value["alignment"]["characters"]) == BODY["text"]
    async with client.http.post(f"{SPEAK}/stream/with-timestamps", json=BODY) as response:
        rows = [json.loads(line) for line in (await response.text()).splitlines()]
    joined = b"".join(base64.b64decode(row["audio_base64"]) for row in rows)
    assert joined == base64.b64decode(value["audio_base64"])


async def test_text_goes_into_a_socket_and_sound_comes_out(client: Client) -> None:
    async with client.http.ws_connect(f"{SPEAK}/stream-input?model_id=eleven_flash_v2_5") as socket:
        for text in (" ", "Good ", "morning. ", ""):
            await socket.send_json({"text": text})
        pieces = [message.json() async for message in socket]
    assert pieces[-1] == {"isFinal": True}
    assert base64.b64decode(pieces[0]["audio"])[:3] == b"ID3"


async def test_voices_in_pages_and_a_clone_among_them(client: Client) -> None:
    first = await client.call("GET", "/elevenlabs/v2/voices?page_size=8")
    second = await client.call("GET", f"/elevenlabs/v2/voices?page_size=8&next_page_token={first['next_page_token']}")
    assert (len(first["voices"]), first["has_more"], second["has_more"]) == (8, True, False)
    assert first["total_count"] == len(first["voices"]) + len(second["voices"])
    form = aiohttp.FormData({"name": "Mine"})
    form.add_field("files", bytes(2000), filename="me.mp3", content_type="audio/mpeg")
    made = await client.call("POST", "/elevenlabs/v1/voices/add", form)
    found = await client.call("GET", "/elevenlabs/v2/voices?search=mine&category=cloned")
    assert [row["voice_id"] for row in found["voices"]] == [made["voice_id"]]
    await client.call("POST", f"/elevenlabs/v1/text-to-speech/{made['voice_id']}", BODY)
    assert await client.call("DELETE", f"/elevenlabs/v1/voices/{made['voice_id']}") == {"status": "ok"}
    await client.call("POST", f"/elevenlabs/v1/text-to-speech/{made['voice_id']}", BODY, 404)


async def test_refusals_come_in_both_envelopes(client: Client) -> None:
    old = await client.call("POST", "/elevenlabs/v1/text-to-speech/nobody", BODY, 404)
    assert set(old["detail"]) == {"status", "message"}
    new = await client.call("POST", SPEAK, {"text": "x" * 6000, "model_id": "eleven_v3"}, 400)
    assert (new["detail"]["type"], new["detail"]["code"]) == ("validation_error", "text_too_long")
    listed = await client.call("POST", SPEAK, {}, 422)
    assert listed["detail"][0]["loc"] == ["body", "text"]
    model = await client.call("POST", SPEAK, {"text": "x", "model_id": "eleven_nothing"}, 400)
    assert model["detail"]["code"] == "unsupported_model"
    wrong = await client.call("POST", f"{SPEAK}?output_format=mp3_1_1", BODY, 400)
    assert wrong["detail"]["code"] == "invalid_output_format"
    await client.control(faults={"kind": "status", "status": 429, "times": 1})
    assert (await client.call("POST", SPEAK, BODY, 429))["detail"]["code"] == "rate_limit_exceeded"
    await client.control(faults={"kind": "quota", "times": 1})
    assert (await client.call("POST", SPEAK, BODY, 402))["detail"]["code"] == "insufficient_credits"
    assert await client.jobs("elevenlabs") == []


async def test_a_transcript_looks_like_the_recorded_one(
    client: Client, recording: Callable[[str], dict[str, Any]]
) -> None:
    form = aiohttp.FormData({"model_id": "scribe_v2"})
    form.add_field("file", bytes(4000), filename="a.mp3", content_type="audio/mpeg")
    value = await client.call("POST", "/elevenlabs/v1/speech-to-text", form)
    real = recording("elevenlabs/transcription-words")["response"]["body_json"]
    assert set(real) <= set(value)
    assert set(real["words"][0]) == set(value["words"][0])
    again = await client.call("GET", f"/elevenlabs/v1/speech-to-text/transcripts/{value['transcription_id']}")
    assert again == value


@pytest.mark.parametrize(
    ("path", "body", "length"),
    [
        ("sound-generation", {"text": "rain", "duration_seconds": 4}, 4.0),
        ("music", {"prompt": "x", "music_length_ms": 9000}, 9.0),
    ],
)
async def test_effects_and_music_have_their_length(
    client: Client, probe: Probe, path: str, body: dict[str, Any], length: float
) -> None:
    data = await client.call("POST", f"/elevenlabs/v1/{path}", body)
    assert float((await probe(data))["format"]["duration"]) == pytest.approx(length, abs=0.05)
    (row,) = await client.jobs("elevenlabs")
    assert row["charged"] > 0


async def test_lengths_out_of_range_are_refused(client: Client) -> None:
    value = await client.call("POST", "/elevenlabs/v1/music", {"prompt": "x", "music_length_ms": 100}, 400)
    assert value["detail"]["param"] == "music_length_ms"
    value = await client.call("POST", "/elevenlabs/v1/sound-generation", {"text": "x", "duration_seconds": 99}, 400)
    assert value["detail"]["param"] == "duration_seconds"
