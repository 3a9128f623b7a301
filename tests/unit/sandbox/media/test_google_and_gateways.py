"""Google, OpenRouter, AiHubMix and RunPod: media in the answer, by operation, by address with a key."""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from support.media_sandbox import Client, Hooks

BASE = "/google/v1beta/models"
Probe = Callable[[bytes], Awaitable[dict[str, Any]]]
Recording = Callable[[str], dict[str, Any]]
PAINT = {"contents": [{"parts": [{"text": "a storm"}]}], "generationConfig": {"responseModalities": ["IMAGE"]}}


def speak(voice: str) -> dict[str, Any]:
    speech = {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": voice}}}
    config = {"responseModalities": ["AUDIO"], "speechConfig": speech}
    return {"contents": [{"parts": [{"text": "one two three"}]}], "generationConfig": config}


async def test_a_picture_comes_as_a_part_after_a_thought(client: Client, probe: Probe) -> None:
    config = {"responseModalities": ["IMAGE"], "imageConfig": {"aspectRatio": "16:9", "imageSize": "2K"}}
    value = await client.call(
        "POST", f"{BASE}/gemini-3-pro-image:generateContent", {**PAINT, "generationConfig": config}
    )
    thought, part = value["candidates"][0]["content"]["parts"]
    assert thought["thought"] is True
    seen = (await probe(base64.b64decode(part["inlineData"]["data"])))["streams"][0]
    assert seen["width"] / seen["height"] == pytest.approx(16 / 9, abs=0.02)
    assert value["usageMetadata"]["candidatesTokensDetails"][0]["modality"] == "IMAGE"
    events = await client.call("POST", f"{BASE}/gemini-2.5-flash-image:streamGenerateContent?alt=sse", PAINT)
    assert b"inlineData" in events
    wrong = {**PAINT, "generationConfig": {"imageConfig": {"aspectRatio": "7:3"}}}
    assert (await client.call("POST", f"{BASE}/gemini-3-pro-image:generateContent", wrong, 400))["error"]["status"]


async def test_a_refused_picture_is_a_good_answer_without_one(client: Client) -> None:
    await client.control(faults={"kind": "moderation"})
    value = await client.call("POST", f"{BASE}/gemini-2.5-flash-image:generateContent", PAINT)
    assert value["candidates"][0]["finishReason"] == "IMAGE_SAFETY"
    assert "content" not in value["candidates"][0]


async def test_speech_is_bare_samples(client: Client) -> None:
    value = await client.call("POST", f"{BASE}/gemini-3.8-flash-tts:generateContent", speak("Kore"))
    part = value["candidates"][0]["content"]["parts"][0]["inlineData"]
    assert part["mimeType"] == "audio/L16;codec=pcm;rate=24000"
    assert len(base64.b64decode(part["data"])) == 0.9 * 48_000
    await client.call("POST", f"{BASE}/gemini-3.8-flash-tts:generateContent", speak("Nobody"), 400)


async def test_a_film_is_an_operation_and_its_download_wants_the_key(
    client: Client, probe: Probe, recording: Recording
) -> None:
    body = {"instances": [{"prompt": "a wave"}], "parameters": {"durationSeconds": 4}}
    made = await client.call("POST", f"{BASE}/veo-3.1-generate-001:predictLongRunning", body)
    path = f"/google/v1beta/{made['name']}"
    assert await client.call("GET", path) == {"name": made["name"]}
    await client.control(advance=101)
    done = await client.call("GET", path)
    name = "google/video-basic-functionality-lite-generate-preview-can-animate-videos-3"
    real = recording(name)["response"]["body_json"]
    assert set(real["response"]) == set(done["response"])
    uri = done["response"]["generateVideoResponse"]["generatedSamples"][0]["video"]["uri"]
    seen = await probe(await client.call("GET", uri))
    assert float(seen["format"]["duration"]) == pytest.approx(4.0, abs=0.01)
    async with aiohttp.ClientSession() as stranger, stranger.get(uri) as response:
        assert response.status == 403
    async with client.http.get(uri, allow_redirects=False) as response:
        assert response.status == 302
    wrong = {**body, "parameters": {"durationSeconds": 5}}
    await client.call("POST", f"{BASE}/veo-3.1-generate-001:predictLongRunning", wrong, 400)


async def test_a_filtered_film_is_done_without_samples(client: Client) -> None:
    await client.control(job_seconds=0, faults={"kind": "moderation"})
    body = {"instances": [{"prompt": "x"}]}
    made = await client.call("POST", f"{BASE}/veo-3.1-generate-001:predictLongRunning", body)
    done = await client.call("GET", f"/google/v1beta/{made['name']}")
    found = done["response"]["generateVideoResponse"]
    assert (done["done"], found["raiMediaFilteredCount"], "generatedSamples" in found) == (True, 1, False)


async def test_imagen_files_and_voices(client: Client) -> None:
    body = {"instances": [{"prompt": "x"}], "parameters": {"sampleCount": 2, "aspectRatio": "4:3"}}
    value = await client.call("POST", f"{BASE}/imagen-4.0-generate-001:predict", body)
    assert [item["mimeType"] for item in value["predictions"]] == ["image/png"] * 2
    headers = {"x-goog-upload-command": "start", "x-goog-upload-header-content-type": "audio/mp3"}
    async with client.http.post("/google/upload/v1beta/files", json={"file": {}}, headers=headers) as response:
        url = response.headers["x-goog-upload-url"]
    file = (await client.call("POST", url, b"bytes", headers={"x-goog-upload-command": "upload, finalize"}))["file"]
    assert (file["mimeType"], file["sizeBytes"]) == ("audio/mp3", "5")
    assert (await client.call("GET", f"/google/v1beta/{file['name']}"))["state"] == "ACTIVE"
    sound = {"data": "AA", "mime_type": "audio/wav"}
    voice = {"voice": {"replicated": {"source_audio": sound, "consent_audio": sound}, "display_name": "Mine"}}
    assert (await client.call("POST", "/google/v1beta/voices", voice))["id"].startswith("voice_")


async def test_openrouters_pictures_look_like_the_recorded_ones(client: Client, recording: Recording) -> None:
    body = {"model": "google/gemini-3.1-flash-lite-image", "prompt": "x"}
    value = await client.call("POST", "/openrouter/api/v1/images", body)
    name = "openrouter/image-edit-functionality-with-reference-images-flash-lite-image-edits"
    real = recording(name)["response"]["body_json"]
    assert set(real) <= set(value)
    assert set(real["data"][0]) == set(value["data"][0])
    assert set(real["usage"]) <= set(value["usage"])


async def test_aihubmix_refuses_unknown_fields_and_guards_its_content(client: Client) -> None:
    body = {"model": "gpt-image-2", "prompt": "a kite", "size": "512x512", "async": True}
    value = await client.call("POST", "/aihubmix/ai/v1/images/generations", {**body, "quality": "low"}, 400)
    assert value["error"]["code"] == "schema_violation"
    made = await client.call("POST", "/aihubmix/ai/v1/images/generations", body)
    assert made["status"] == "pending"
    await client.control(advance=101)
    done = await client.call("GET", f"/aihubmix/ai/v1/images/{made['id']}")
    assert (await client.call("GET", done["output"][0]["content_url"]))[:4] == b"\x89PNG"
    async with aiohttp.ClientSession() as stranger, stranger.get(done["output"][0]["content_url"]) as response:
        assert response.status == 401
    film = await client.call("POST", "/aihubmix/v1/videos", {"model": "sora-2", "prompt": "x", "seconds": "4"})
    assert (await client.call("GET", f"/aihubmix/v1/videos/{film['id']}"))["status"] == "queued"
    drawn = await client.call("POST", "/aihubmix/v1/models/doubao/seedream-5/predictions", {"input": {"prompt": "x"}})
    assert (await client.call("GET", drawn["output"][0]["url"]))[:4] == b"\x89PNG"
    await client.call("POST", "/aihubmix/gemini/v1beta/models/gemini-3-pro-image:generateContent", PAINT)


async def test_runpods_public_endpoints_make_files_and_forget_them(client: Client, hooks: Hooks) -> None:
    slug = "/runpod/v2/black-forest-labs-flux-1-dev"
    made = await client.call("POST", f"{slug}/run", {"input": {"prompt": "x"}, "webhook": hooks.url})
    assert (await client.call("GET", f"{slug}/status/{made['id']}"))["status"] == "IN_QUEUE"
    await client.control(advance=101)
    done = await client.call("GET", f"{slug}/status/{made['id']}")
    assert (done["status"], done["output"]["cost"]) == ("COMPLETED", 0.02)
    assert (await client.call("GET", done["output"]["image_url"]))[:4] == b"\x89PNG"
    assert json.loads((await hooks.next())[1])["status"] == "COMPLETED"
    await client.control(advance=1801)
    await client.call("GET", f"{slug}/status/{made['id']}", status=404)
    film = await client.call("POST", "/runpod/v2/wan-2-6-t2v/run", {"input": {"prompt": "x"}})
    stopped = await client.call("POST", f"/runpod/v2/wan-2-6-t2v/cancel/{film['id']}")
    assert stopped["status"] == "CANCELLED"
    await client.control(job_seconds=0)
    spoken = await client.call("POST", "/runpod/v2/chatterbox-turbo/runsync", {"input": {"prompt": "hello"}})
    assert (await client.call("GET", spoken["output"]["audio_url"]))[:3] == b"ID3"


async def test_interactions_are_kept_cancelled_and_deleted(client: Client) -> None:
    base = "/google/v1beta/interactions"
    body = {"model": "gemini-omni-1.1-flash", "input": "a wave", "background": True}
    body["response_format"] = {"type": "video", "delivery": "uri", "duration": "3s", "resolution": "360p"}
    made = await client.call("POST", base, body)
    assert made["status"] in ("queued", "in_progress")
    other = await client.call("POST", base, body)
    assert (await client.call("POST", f"{base}/{other['id']}/cancel", {}))["status"] == "cancelled"
    await client.control(advance=101)
    done = await client.call("GET", f"{base}/{made['id']}")
    [block] = done["steps"][1]["content"]
    assert (done["status"], done["usage"]["output_tokens_by_modality"]) == (
        "completed", [{"modality": "video", "tokens": 3 * 5792}],
    )  # fmt: skip
    assert (await client.call("GET", block["uri"]))[4:8] == b"ftyp"
    await client.call("DELETE", f"{base}/{made['id']}")
    assert (await client.call("GET", f"{base}/{made['id']}", status=400))["error"]["message"].startswith("Invalid")
    for wrong in ({"duration": 3}, {"duration": "30s"}, {"resolution": "8k"}):
        changed = {**body, "response_format": {**body["response_format"], **wrong}}
        assert (await client.call("POST", base, changed, 400))["error"]["code"] == "invalid_request"
    await client.control(faults={"kind": "moderation", "times": 1})
    refused = await client.call("POST", base, {**body, "background": False})
    assert (refused["status"], refused["steps"][0]["content"][0]["type"]) == ("completed", "text")
