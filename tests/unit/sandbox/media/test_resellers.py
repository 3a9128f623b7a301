"""Together, xAI, Kie, PiAPI and AI/ML API: each way to submit, to wait, to say what it cost and to refuse."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from support.media_sandbox import Client, Hooks

Probe = Callable[[bytes], Awaitable[dict[str, Any]]]
Recording = Callable[[str], dict[str, Any]]


async def test_together_makes_pictures_and_films_with_their_cost(
    client: Client, probe: Probe, recording: Recording
) -> None:
    body = {"model": "black-forest-labs/FLUX.1-schnell", "prompt": "x", "response_format": "base64", "n": 2}
    value = await client.call("POST", "/together/v1/images/generations", body)
    real = recording("together/image-images-generations-stabilityai-stable-diffusion-xl-base-1-0")["response"][
        "body_json"
    ]
    assert set(real) <= set(value)
    assert set(real["data"][0]) <= set(value["data"][0])
    assert base64.b64decode(value["data"][1]["b64_json"])[:2] == b"\xff\xd8"
    film = {"model": "minimax/hailuo-02", "prompt": "x", "seconds": "6", "width": 1366, "height": 768, "fps": 25}
    made = await client.call("POST", "/together/v2/videos", film)
    path = f"/together/v2/videos/{made['id']}"
    assert (made["status"], made["size"]) == ("in_progress", "1366x768")
    await client.control(advance=101)
    done = await client.call("GET", path)
    seen = await probe(await client.call("GET", done["outputs"]["video_url"]))
    assert (seen["streams"][0]["width"], seen["streams"][0]["avg_frame_rate"]) == (1366, "25/1")
    assert float(seen["format"]["duration"]) == pytest.approx(6.0, abs=0.01)
    rows = await client.jobs("together")
    assert rows[-1]["charged"] == done["outputs"]["cost"] == 0.48
    wrong = await client.call("POST", "/together/v2/videos", {**film, "seconds": "900"}, 400)
    assert wrong["error"]["param"] == "seconds"


async def test_together_speaks_whole_and_in_events(client: Client) -> None:
    body = {"model": "hexgrad/Kokoro-82M", "input": "hello there", "voice": "af_heart(2)+af_bella(1)"}
    whole = await client.call("POST", "/together/v1/audio/speech", body)
    events = (await client.call("POST", "/together/v1/audio/speech", {**body, "stream": True})).decode().split("\n\n")
    assert events[-2] == "data: [DONE]"
    pieces = [base64.b64decode(json.loads(event[6:])["b64"]) for event in events[:-2]]
    assert b"".join(pieces) == whole
    assert (await client.call("POST", "/together/v1/audio/speech", {**body, "voice": "nobody"}, 400))["error"][
        "param"
    ] == "voice"


async def test_xai_answers_202_with_nothing_while_a_film_waits(client: Client, probe: Probe) -> None:
    body = {"model": "grok-imagine-video", "prompt": "x", "duration": 6, "resolution": "720p"}
    made = await client.call("POST", "/xai/v1/videos/generations", body)
    path = f"/xai/v1/videos/{made['request_id']}"
    assert await client.call("GET", path, status=202) == b""
    await client.control(advance=60)
    assert (await client.call("GET", path))["progress"] == 60
    await client.control(advance=60)
    done = await client.call("GET", path)
    assert (done["status"], done["usage"]["cost_in_usd_ticks"]) == ("done", 4_200_000_000)
    seen = await probe(await client.call("GET", done["video"]["url"]))
    assert (seen["streams"][0]["height"], float(seen["format"]["duration"])) == (720, pytest.approx(6.0, abs=0.01))
    assert (await client.call("POST", "/xai/v1/videos/generations", {**body, "duration": 99}, 400))["error"]


async def test_xai_pictures_speech_and_transcripts_look_like_the_recorded_ones(
    client: Client, recording: Recording
) -> None:
    edit = {
        "model": "grok-imagine-image",
        "prompt": "x",
        "image": {"url": "data:image/png;base64,AA", "type": "image_url"},
    }
    value = await client.call("POST", "/xai/v1/images/edits", edit)
    name = "xai/image-edit-functionality-with-reference-images-grok-imagine-image-quality-s"
    real = recording(name)["response"]["body_json"]
    assert set(real) <= set(value)
    assert set(real["data"][0]) <= set(value["data"][0])
    assert (await client.call("POST", "/xai/v1/tts", {"text": "hello"}))[:3] == b"ID3"
    form = aiohttp.FormData({"language": "en"})
    form.add_field("file", bytes(100), filename="a.wav", content_type="audio/wav")
    heard = await client.call("POST", "/xai/v1/stt", form)
    told = recording("xai/transcription-basic-functionality-grok-stt-can-transcribe-with-language-hint")
    assert set(told["response"]["body_json"]) <= set(heard)


async def test_xai_says_in_a_good_answer_that_moderation_refused(client: Client) -> None:
    await client.control(job_seconds=0, faults={"kind": "moderation"})
    value = await client.call("POST", "/xai/v1/images/generations", {"model": "grok-imagine-image", "prompt": "x"})
    assert (value["data"][0]["respect_moderation"], value["usage"]["cost_in_usd_ticks"]) == (False, 0)
    made = await client.call("POST", "/xai/v1/videos/generations", {"model": "grok-imagine-video", "prompt": "x"})
    seen = await client.call("GET", f"/xai/v1/videos/{made['request_id']}")
    assert (seen["status"], seen["video"]["respect_moderation"]) == ("done", False)


async def test_kie_puts_results_into_text_and_errors_into_200(client: Client, hooks: Hooks) -> None:
    body = {"model": "nano-banana-2", "input": {"prompt": "a teapot", "aspect_ratio": "1:1"}, "callBackUrl": hooks.url}
    made = await client.call("POST", "/kie/api/v1/jobs/createTask", body)
    path = f"/kie/api/v1/jobs/recordInfo?taskId={made['data']['taskId']}"
    assert [made["code"], (await client.call("GET", path))["data"]["state"]] == [200, "waiting"]
    await client.control(advance=50)
    assert (await client.call("GET", path))["data"]["state"] == "generating"
    await client.control(advance=51)
    headers, told = await hooks.next()
    signed = f"{made['data']['taskId']}.{headers['x-webhook-timestamp']}".encode()
    digest = hmac.new(b"sandbox-webhook-secret", signed, hashlib.sha256).digest()
    assert headers["x-webhook-signature"] == base64.b64encode(digest).decode()
    record = (await client.call("GET", path))["data"]
    assert json.loads(told)["data"]["taskId"] == record["taskId"]
    assert json.loads(record["param"])["model"] == "nano-banana-2"
    assert (await client.call("GET", json.loads(record["resultJson"])["resultUrls"][0]))[:4] == b"\x89PNG"
    assert (await client.call("POST", "/kie/api/v1/jobs/createTask", {"model": "x", "input": {}}))["code"] == 422
    await client.control(faults=[{"kind": "quota", "times": 1}, {"kind": "status", "status": 429, "times": 1}])
    assert (await client.call("POST", "/kie/api/v1/jobs/createTask", body))["code"] == 402
    assert (await client.call("POST", "/kie/api/v1/jobs/createTask", body))["code"] == 429
    assert (await client.call("GET", "/kie/api/v1/chat/credit"))["data"] == 5000


@pytest.mark.parametrize(
    ("create", "read", "body", "find"),
    [
        ("veo/generate", "veo/record-info", {"prompt": "x"}, lambda data: data["response"]["resultUrls"][0]),
        (
            "gpt4o-image/generate",
            "gpt4o-image/record-info",
            {"prompt": "x", "size": "3:2"},
            lambda data: data["response"]["result_urls"][0],
        ),
        (
            "flux/kontext/generate",
            "flux/kontext/record-info",
            {"prompt": "x"},
            lambda data: data["response"]["resultImageUrl"],
        ),
        ("generate", "generate/record-info", {"prompt": "x"}, lambda data: data["response"]["sunoData"][1]["audioUrl"]),
        ("runway/generate", "runway/record-detail", {"prompt": "x"}, lambda data: data["videoInfo"]["videoUrl"]),
        (
            "mj/generate",
            "mj/record-info",
            {"prompt": "x"},
            lambda data: data["resultInfoJson"]["resultUrls"][3]["resultUrl"],
        ),
    ],
)
async def test_kies_products_end_each_in_their_own_way(
    client: Client, create: str, read: str, body: dict[str, Any], find: Callable[[Any], str]
) -> None:
    await client.control(job_seconds=0)
    made = await client.call("POST", f"/kie/api/v1/{create}", body)
    record = await client.call("GET", f"/kie/api/v1/{read}?taskId={made['data']['taskId']}")
    assert len(await client.call("GET", find(record["data"]))) > 100


async def test_piapi_varies_its_spelling_and_the_place_of_its_results(client: Client, hooks: Hooks) -> None:
    config = {"webhook_config": {"endpoint": hooks.url, "secret": "tell-nobody"}}
    given = {"version": "2.6", "prompt": "rain", "duration": 5, "aspect_ratio": "16:9"}
    body = {"model": "kling", "task_type": "video_generation", "input": given, "config": config}
    made = (await client.call("POST", "/piapi/api/v1/task", body))["data"]
    assert (made["status"], made["meta"]["usage"]["consume"]) == ("pending", 0)
    path, seen = f"/piapi/api/v1/task/{made['task_id']}", []
    for seconds in (5, 10, 50, 50):
        await client.control(advance=seconds)
        seen.append((await client.call("GET", path))["data"])
    assert [item["status"] for item in seen] == ["Pending", "Staged", "processing", "Completed"]
    assert seen[-1]["meta"]["usage"]["consume"] == 5_000_000
    url = seen[-1]["output"]["works"][0]["video"]["resource_without_watermark"]
    assert (await client.call("GET", url))[4:8] == b"ftyp"
    headers, told = await hooks.next()
    assert (headers["x-webhook-secret"], json.loads(told)["data"]["task_id"]) == ("tell-nobody", made["task_id"])
    await client.call("DELETE", path, status=400)
    queued = (await client.call("POST", "/piapi/api/v1/task", {**body, "config": {}}))["data"]
    await client.call("DELETE", f"/piapi/api/v1/task/{queued['task_id']}")
    picture = {
        "model": "Qubico/flux1-dev",
        "task_type": "txt2img",
        "input": {"prompt": "x", "width": 512, "height": 512},
    }
    await client.control(job_seconds=0)
    made = (await client.call("POST", "/piapi/api/v1/task", picture))["data"]
    done = (await client.call("GET", f"/piapi/api/v1/task/{made['task_id']}"))["data"]
    assert (await client.call("GET", done["output"]["image_url"]))[:4] == b"\x89PNG"


async def test_aimlapi_says_what_was_spent(client: Client) -> None:
    await client.control(job_seconds=0)
    film = {"model": "klingai/video-v3-pro-text-to-video", "prompt": "a paper boat", "duration": 5}
    made = await client.call("POST", "/aimlapi/v2/video/generations", film)
    done = await client.call("GET", f"/aimlapi/v2/video/generations?generation_id={made['id']}")
    assert (done["status"], done["meta"]["usage"]["usd_spent"]) == ("completed", 0.5)
    assert (await client.call("GET", done["video"]["url"]))[4:8] == b"ftyp"
    picture = {"model": "flux/schnell", "prompt": "x", "image_size": {"width": 512, "height": 256}}
    value = await client.call("POST", "/aimlapi/v1/images/generations", picture)
    assert (value["meta"]["usage"]["usd_spent"], "url" in value["data"][0]) == (0.02, True)
    song = await client.call("POST", "/aimlapi/v2/generate/audio", {"model": "minimax/music-2.6", "prompt": "x"})
    heard = await client.call("GET", f"/aimlapi/v2/generate/audio?generation_id={song['id']}")
    assert heard["audio_file"]["content_type"] == "audio/mpeg"
    assert (await client.call("POST", "/aimlapi/v1/tts", {"model": "openai/tts-1", "text": "hello"}))[:3] == b"ID3"
    asked = await client.call("POST", "/aimlapi/v1/stt/create", {"model": "nova-3", "url": "https://example.com/a.mp3"})
    assert (await client.call("GET", f"/aimlapi/v1/stt/{asked['generation_id']}"))["status"] == "completed"
    wrong = await client.call("POST", "/aimlapi/v2/video/generations", {"model": "x/y-video"}, 400)
    assert {"message", "path", "requestId", "statusCode", "timestamp"} <= set(wrong)
