"""Pictures, sound and transcripts are real files that other programs can read."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import shutil
import struct
import subprocess
import wave
import zlib
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from polyroute.sandbox.sound import FORMATS, spoken, spoken_seconds, wav_header

IMAGES = "/openai/v1/images/generations"
TEXT = "The tide is out and the harbour is quiet this morning."


def png_size(data: bytes) -> tuple[int, int]:
    """Width and height, with every checksum and the whole picture checked."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    place, size, pixels = 8, (0, 0), b""
    while place < len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        kind, body = data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        assert int.from_bytes(data[place + 8 + length : place + 12 + length], "big") == zlib.crc32(kind + body)
        if kind == b"IHDR":
            size = struct.unpack("!II", body[:8])
        pixels += body if kind == b"IDAT" else b""
        place += 12 + length
    assert len(zlib.decompress(pixels)) == (size[0] + 1) * size[1]
    return size


async def post(http: aiohttp.ClientSession, path: str, body: dict[str, Any]) -> Any:
    async with http.post(path, json=body) as response:
        assert response.status == 200, await response.text()
        return await response.json()


async def test_an_image_is_a_png_of_the_size_asked_for_and_always_the_same(http: aiohttp.ClientSession) -> None:
    body = {"model": "gpt-image-2", "prompt": "a harbour", "size": "1536x1024", "n": 2}
    first, second = await post(http, IMAGES, body), await post(http, IMAGES, body)
    assert first == second
    pictures = [base64.b64decode(item["b64_json"]) for item in first["data"]]
    assert [png_size(data) for data in pictures] == [(1536, 1024), (1536, 1024)]
    assert pictures[0] != pictures[1]
    assert first["usage"]["total_tokens"] == first["usage"]["input_tokens"] + first["usage"]["output_tokens"]


async def test_a_legacy_model_gives_an_address_that_serves_the_picture(http: aiohttp.ClientSession) -> None:
    value = await post(http, IMAGES, {"model": "dall-e-3", "prompt": "a harbour", "size": "256x256"})
    async with http.get(value["data"][0]["url"]) as response:
        assert response.content_type == "image/png"
        assert png_size(await response.read()) == (256, 256)
    assert value["data"][0]["revised_prompt"].startswith("[simulated openai/dall-e-3]")
    async with http.get("/_files/nonsense.png") as response:
        assert response.status == 404


async def test_an_image_stream_sends_partial_pictures_first(http: aiohttp.ClientSession) -> None:
    body = {"model": "gpt-image-2", "prompt": "x", "size": "64x64", "stream": True, "partial_images": 2}
    async with http.post(IMAGES, json=body) as response:
        events = [json.loads(line[6:]) for line in (await response.text()).split("\n") if line.startswith("data: ")]
    partial = "image_generation.partial_image"
    assert [event["type"] for event in events] == [partial, partial, "image_generation.completed"]
    assert all(png_size(base64.b64decode(event["b64_json"])) == (64, 64) for event in events)


async def test_an_edit_takes_a_multipart_image(http: aiohttp.ClientSession) -> None:
    form = aiohttp.FormData({"model": "gpt-image-2", "prompt": "add a boat", "size": "32x32"})
    form.add_field("image[]", b"\x89PNG....", filename="a.png", content_type="image/png")
    async with http.post("/openai/v1/images/edits", data=form) as response:
        value = await response.json()
        assert response.status == 200
    assert png_size(base64.b64decode(value["data"][0]["b64_json"])) == (32, 32)
    assert value["usage"]["input_tokens_details"]["image_tokens"] == 85
    async with http.post("/openai/v1/images/edits", data=aiohttp.FormData({"model": "m", "prompt": "x"})) as response:
        assert response.status == 400


@pytest.mark.parametrize("form", FORMATS)
async def test_speech_comes_in_pieces_in_the_form_asked_for(http: aiohttp.ClientSession, form: str) -> None:
    body = {"model": "tts-1", "voice": "alloy", "input": TEXT, "response_format": form}
    async with http.post("/openai/v1/audio/speech", json=body) as response:
        data = await response.read()
        assert response.headers["transfer-encoding"] == "chunked"
        assert response.content_type == spoken(TEXT, form)[0]
    assert data == spoken(TEXT, form)[1]


def test_a_wav_reads_back() -> None:
    with wave.open(io.BytesIO(spoken(TEXT, "wav")[1])) as sound:
        assert (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) == (24000, 1, 2)
        assert sound.getnframes() / 24000 == pytest.approx(spoken_seconds(TEXT))
        assert any(sound.readframes(sound.getnframes()))


def test_an_mp3_is_frames_from_end_to_end() -> None:
    data = spoken(TEXT, "mp3")[1]
    assert {data[place : place + 4] for place in range(0, len(data), 96)} == {bytes((0xFF, 0xF3, 0x44, 0xC0))}
    assert len(data) / 96 * 576 / 24000 == pytest.approx(spoken_seconds(TEXT), abs=0.03)


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
@pytest.mark.parametrize("form", [form for form in FORMATS if form != "pcm"])
async def test_ffmpeg_decodes_every_form_without_a_complaint(tmp_path: Path, form: str) -> None:
    file = tmp_path / f"speech.{form}"
    file.write_bytes(spoken(TEXT, form)[1])
    command = ["ffmpeg", "-v", "error", "-i", str(file), "-f", "s16le", "-ar", "24000", "-"]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, check=True)
    assert len(done.stdout) / 48000 == pytest.approx(spoken_seconds(TEXT), abs=0.2)
    assert done.stderr == b""


async def test_speech_as_events(http: aiohttp.ClientSession) -> None:
    body = {
        "model": "gpt-4o-mini-tts",
        "voice": "alloy",
        "input": TEXT,
        "stream_format": "sse",
        "response_format": "wav",
    }
    async with http.post("/openai/v1/audio/speech", json=body) as response:
        events = [json.loads(line[6:]) for line in (await response.text()).split("\n") if line.startswith("data: ")]
    audio = b"".join(base64.b64decode(event["audio"]) for event in events[:-1])
    assert audio == spoken(TEXT, "wav")[1]
    assert events[-1]["type"] == "speech.audio.done"


async def transcribe(
    http: aiohttp.ClientSession, what: str = "transcriptions", **fields: str
) -> aiohttp.ClientResponse:
    form = aiohttp.FormData(fields)
    sound = wav_header(96_000) + bytes(96_000)
    form.add_field("file", sound, filename="two-seconds.wav", content_type="audio/wav")
    return await http.post(f"/openai/v1/audio/{what}", data=form)


async def test_a_transcript_in_every_form(http: aiohttp.ClientSession) -> None:
    async with await transcribe(http, model="whisper-1") as response:
        value = await response.json()
    text = (
        "[simulated openai/whisper-1] transcribed two-seconds.wav: 96044 bytes, 2.0 seconds. Nobody has listened to it."
    )
    assert value == {"text": text, "usage": {"type": "duration", "seconds": 2}}
    async with await transcribe(http, model="whisper-1", response_format="text") as response:
        assert await response.text() == text + "\n"
    async with await transcribe(http, model="whisper-1", response_format="srt") as response:
        assert (await response.text()).startswith("1\n00:00:00,000 --> 00:00:02,000\n[simulated")
    async with await transcribe(http, model="whisper-1", response_format="vtt") as response:
        assert (await response.text()).startswith("WEBVTT\n\n00:00:00.000 --> 00:00:02.000\n")
    fields = {"model": "whisper-1", "response_format": "verbose_json", "timestamp_granularities[]": "word"}
    async with await transcribe(http, **fields) as response:
        value = await response.json()
    assert (value["duration"], value["language"]) == (2.0, "english")
    assert value["words"][-1]["end"] == pytest.approx(2.0, abs=0.01)
    assert "segments" not in value
    async with await transcribe(http, model="gpt-transcribe", stream="true") as response:
        events = [json.loads(line[6:]) for line in (await response.text()).split("\n") if line.startswith("data: ")]
    assert "".join(event["delta"] for event in events[:-1]) == events[-1]["text"]
    async with await transcribe(http, "translations", model="whisper-1") as response:
        assert "translated two-seconds.wav" in (await response.json())["text"]


async def test_a_transcription_without_a_file_is_refused(http: aiohttp.ClientSession) -> None:
    form = aiohttp.FormData({"model": "whisper-1"}, default_to_multipart=True)
    async with http.post("/openai/v1/audio/transcriptions", data=form) as response:
        assert response.status == 400
        assert (await response.json())["error"]["param"] == "file"


async def test_embeddings_as_numbers_and_as_base64_are_the_same(http: aiohttp.ClientSession) -> None:
    path, body = (
        "/openai/v1/embeddings",
        {"model": "text-embedding-3-small", "input": ["tide", "tide table"], "dimensions": 64},
    )
    numbers = await post(http, path, body)
    packed = await post(http, path, {**body, "encoding_format": "base64"})
    vectors = [item["embedding"] for item in numbers["data"]]
    for vector, item in zip(vectors, packed["data"], strict=True):
        assert list(struct.unpack("<64f", base64.b64decode(item["embedding"]))) == pytest.approx(vector)
        assert sum(value * value for value in vector) == pytest.approx(1.0)
    unlike = (await post(http, path, {**body, "input": "quite another thing"}))["data"][0]["embedding"]

    def likeness(one: list[float], other: list[float]) -> float:
        return sum(a * b for a, b in zip(one, other, strict=True))

    assert likeness(vectors[0], vectors[1]) > likeness(vectors[0], unlike)


async def test_moderation_flags_what_names_itself(http: aiohttp.ClientSession) -> None:
    value = await post(http, "/openai/v1/moderations", {"input": ["a calm sea", "graphic violence"]})
    assert [result["flagged"] for result in value["results"]] == [False, True]
    assert value["results"][1]["categories"]["violence"] is True
