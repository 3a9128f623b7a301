"""OpenAI's media: films through their life, pictures in every form, variations, refusals."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from support.media_sandbox import Client

VIDEOS = "/openai/v1/videos"
IMAGES = "/openai/v1/images/generations"
Probe = Callable[[bytes], Awaitable[dict[str, Any]]]


async def test_a_film_is_queued_made_downloaded_remixed_and_deleted(client: Client, probe: Probe) -> None:
    body = {"model": "sora-2", "prompt": "a kite", "seconds": "8", "size": "1280x720"}
    made = await client.call("POST", VIDEOS, body)
    assert (made["object"], made["status"], made["seconds"], made["progress"]) == ("video", "queued", "8", 0)
    path = f"{VIDEOS}/{made['id']}"
    await client.call("GET", f"{path}/content", status=400)
    await client.control(advance=60)
    seen = await client.call("GET", path)
    assert (seen["status"], seen["progress"]) == ("in_progress", 60)
    await client.control(advance=60)
    assert (await client.call("GET", path))["status"] == "completed"
    film = await probe(await client.call("GET", f"{path}/content"))
    assert float(film["format"]["duration"]) == pytest.approx(8, abs=0.01)
    assert (film["streams"][0]["width"], film["streams"][0]["codec_name"]) == (1280, "h264")
    assert (await client.call("GET", f"{path}/content?variant=thumbnail"))[8:12] == b"WEBP"
    remix = await client.call("POST", f"{path}/remix", {"prompt": "at night"})
    assert remix["remixed_from_video_id"] == made["id"]
    page = await client.call("GET", f"{VIDEOS}?limit=1")
    assert (page["data"][0]["id"], page["has_more"]) == (remix["id"], True)
    assert (await client.call("DELETE", path))["deleted"] is True
    await client.call("GET", path, status=404)
    rows = await client.jobs("openai")
    assert [row["charged"] for row in rows] == [pytest.approx(0.8), 0.0]


async def test_a_download_without_the_key_is_refused(client: Client) -> None:
    await client.control(job_seconds=0)
    made = await client.call("POST", VIDEOS, {"model": "sora-2", "prompt": "a kite"})
    async with (
        aiohttp.ClientSession() as stranger,
        stranger.get(client.http._build_url(f"{VIDEOS}/{made['id']}/content")) as response,  # type: ignore[attr-defined]
    ):
        assert response.status == 401


@pytest.mark.parametrize(
    ("body", "field"), [({"seconds": "5"}, "seconds"), ({"size": "10x10"}, "size"), ({"prompt": ""}, "prompt")]
)
async def test_a_film_that_cannot_be_made_names_the_field(client: Client, body: dict[str, str], field: str) -> None:
    value = await client.call("POST", VIDEOS, {"model": "sora-2", "prompt": "x", **body}, 400)
    assert value["error"]["param"] == field
    assert await client.jobs("openai") == []


async def test_moderation_fails_a_film_and_refuses_a_picture(client: Client) -> None:
    await client.control(job_seconds=0, faults={"kind": "moderation"})
    made = await client.call("POST", VIDEOS, {"model": "sora-2", "prompt": "x"})
    seen = await client.call("GET", f"{VIDEOS}/{made['id']}")
    assert (seen["status"], seen["error"]["code"]) == ("failed", "moderation_blocked")
    value = await client.call("POST", IMAGES, {"model": "gpt-image-2", "prompt": "x"}, 400)
    assert (value["error"]["type"], value["error"]["code"]) == ("image_generation_user_error", "moderation_blocked")
    assert [row["charged"] for row in await client.jobs("openai")] == [0.0, 0.0]


@pytest.mark.parametrize(("form", "magic"), [("png", b"\x89PNG"), ("jpeg", b"\xff\xd8\xff"), ("webp", b"RIFF")])
async def test_a_picture_comes_in_the_form_asked_for(client: Client, probe: Probe, form: str, magic: bytes) -> None:
    body = {"model": "gpt-image-2", "prompt": "x", "size": "640x480", "output_format": form}
    value = await client.call("POST", IMAGES, body)
    data = base64.b64decode(value["data"][0]["b64_json"])
    assert (value["output_format"], data[: len(magic)]) == (form, magic)
    stream = (await probe(data))["streams"][0]
    assert (stream["width"], stream["height"]) == (640, 480)


async def test_a_size_or_voice_that_is_not_offered_is_refused(client: Client) -> None:
    value = await client.call("POST", IMAGES, {"model": "gpt-image-2", "prompt": "x", "size": "100x100"}, 400)
    assert value["error"]["param"] == "size"
    body = {"model": "tts-1", "input": "x", "voice": "nobody"}
    assert (await client.call("POST", "/openai/v1/audio/speech", body, 400))["error"]["param"] == "voice"


async def test_a_variation_takes_one_image(client: Client) -> None:
    form = aiohttp.FormData({"n": "2", "size": "256x256"})
    form.add_field("image", b"\x89PNG....", filename="a.png", content_type="image/png")
    value = await client.call("POST", "/openai/v1/images/variations", form)
    assert len(value["data"]) == 2


async def test_a_call_whose_answer_is_lost_is_counted(client: Client) -> None:
    await client.control(faults={"kind": "lost_after_acceptance", "times": 1})
    with pytest.raises(aiohttp.ClientError):
        await client.call("POST", IMAGES, {"model": "gpt-image-2", "prompt": "x"})
    await client.call("POST", IMAGES, {"model": "gpt-image-2", "prompt": "x"})
    rows = await client.jobs("openai")
    assert len({row["request_digest"] for row in rows}) == 1
    assert len({row["id"] for row in rows}) == 2


async def test_speakers_are_streamed_as_segments(client: Client, recording: Callable[[str], dict[str, Any]]) -> None:
    form = aiohttp.FormData(
        {"model": "gpt-4o-transcribe-diarize", "response_format": "diarized_json", "stream": "true"}
    )
    form.add_field("file", b"RIFF" + bytes(9000), filename="a.wav", content_type="audio/wav")
    told = (await client.call("POST", "/openai/v1/audio/transcriptions", form)).decode()
    name = "openai/transcription-stream-transcription-basic-functionality-streams-segments-labelled-with"
    real = recording(name)["response"]["body_text"]

    def kinds(text: str) -> list[str]:
        return sorted(
            {line.split('"type":"')[1].split('"')[0] for line in text.splitlines() if line.startswith("data: {")}
        )

    assert kinds(told) == kinds(real)
