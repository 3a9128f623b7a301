"""Services of one's own: speech, pictures, containers."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import aiohttp
import pytest

from support.media_sandbox import Client, until


def recording_form(field: str, **fields: str) -> aiohttp.FormData:
    form = aiohttp.FormData(fields)
    form.add_field(field, bytes(4000), filename="a.wav", content_type="audio/wav")
    return form


async def test_whisper_answers_json_as_plain_text(client: Client) -> None:
    await client.control(job_seconds=0)
    query = "/whisper/asr?output=json&task=transcribe&word_timestamps=true"
    async with client.http.post(query, data=recording_form("audio_file")) as response:
        value = json.loads(await response.text())
        assert (response.content_type, response.headers["asr-engine"]) == ("text/plain", "openai_whisper")
    assert value["segments"][0]["words"][0]["start"] == 0
    assert b"-->" in await client.call("POST", "/whisper/asr?output=srt", recording_form("audio_file"))
    await client.call("POST", "/whisper/asr", recording_form("file"), 422)
    assert (await client.call("POST", "/whisper/detect-language", recording_form("audio_file")))[
        "language_code"
    ] == "en"
    assert (await client.call("GET", "/whisper/openapi.json"))["openapi"]


async def test_speaches_wants_its_models_downloaded_first(client: Client) -> None:
    path = "/speaches/v1/audio/transcriptions"
    await client.call("POST", path, recording_form("file", model="Systran/faster-whisper-tiny"), 404)
    await client.call("POST", "/speaches/v1/models/Systran/faster-whisper-tiny", status=201)
    assert (await client.call("POST", path, recording_form("file", model="Systran/faster-whisper-tiny")))["text"]
    assert (await client.call("GET", "/speaches/health")) == {"message": "OK"}
    body = {
        "model": "speaches-ai/Kokoro-82M-v1.0-ONNX",
        "input": "hello",
        "voice": "af_heart",
        "response_format": "wav",
    }
    assert (await client.call("POST", "/speaches/v1/audio/speech", body))[:4] == b"RIFF"
    listed = await client.call("GET", "/speaches/v1/models?task=text-to-speech")
    assert [row["id"] for row in listed["data"]] == ["speaches-ai/Kokoro-82M-v1.0-ONNX"]


async def test_chatterbox_clones_from_an_uploaded_recording(client: Client) -> None:
    await client.control(job_seconds=0)
    body = {"text": "hello you", "voice_mode": "clone", "reference_audio_filename": "a.wav", "output_format": "mp3"}
    await client.call("POST", "/chatterbox/tts", body, 404)
    kept = await client.call("POST", "/chatterbox/upload_reference", recording_form("files"))
    assert kept["all_reference_files"] == ["a.wav"]
    assert (await client.call("POST", "/chatterbox/tts", body))[:3] == b"ID3"
    await client.call("POST", "/chatterbox/tts", {"text": "x", "voice_mode": "predefined"}, 400)
    spoken = await client.call(
        "POST", "/chatterbox/v1/audio/speech", {"model": "chatterbox", "input": "x", "voice": "Emily.wav"}
    )
    assert spoken[:4] == b"RIFF"
    assert (await client.call("GET", "/chatterbox/api/model-info"))["loaded"] is True
    await client.control(faults={"kind": "status", "status": 503, "times": 1})
    assert "detail" in await client.call("POST", "/chatterbox/tts", body, 503)


GRAPH: dict[str, Any] = {
    "3": {"class_type": "KSampler", "inputs": {"seed": 1, "steps": 20}},
    "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 320, "height": 240, "batch_size": 2}},
    "9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "gw", "images": ["8", 0]}},
}


async def test_comfyui_tells_by_socket_and_has_its_history_at_the_end(client: Client) -> None:
    async with client.http.ws_connect("/comfyui/ws?clientId=gw-1") as socket:
        assert (await socket.receive_json())["type"] == "status"
        made = await client.call("POST", "/comfyui/prompt", {"prompt": GRAPH, "client_id": "gw-1"})
        path = f"/comfyui/history/{made['prompt_id']}"
        assert await client.call("GET", path) == {}
        assert len((await client.call("GET", "/comfyui/queue"))["queue_pending"]) == 1
        await client.control(advance=101)
        kinds, previews = [], 0
        while "execution_success" not in kinds:
            message = await asyncio.wait_for(socket.receive(), 5)
            if message.type is aiohttp.WSMsgType.BINARY:
                assert message.data[:8] == bytes((0, 0, 0, 1, 0, 0, 0, 1))
                previews += 1
            else:
                kinds.append(json.loads(message.data)["type"])
    assert (previews, kinds[0]) == (1, "execution_start")
    entry = (await client.call("GET", path))[made["prompt_id"]]
    assert entry["status"]["completed"] is True
    images = entry["outputs"]["9"]["images"]
    assert len(images) == 2
    data = await client.call("GET", f"/comfyui/view?filename={images[0]['filename']}&type=output&subfolder=")
    assert data[16:24] == (320).to_bytes(4, "big") + (240).to_bytes(4, "big")


async def test_comfyui_refuses_and_interrupts(client: Client) -> None:
    wrong = await client.call(
        "POST", "/comfyui/prompt", {"prompt": {"1": {"class_type": "NoSuchNode", "inputs": {}}}}, 400
    )
    assert wrong["error"]["type"] == "invalid_prompt"
    made = await client.call("POST", "/comfyui/prompt", {"prompt": GRAPH})
    await client.call("POST", "/comfyui/interrupt", {"prompt_id": made["prompt_id"]})
    entry = (await client.call("GET", f"/comfyui/history/{made['prompt_id']}"))[made["prompt_id"]]
    assert entry["status"]["messages"][0][0] == "execution_interrupted"


async def test_automatic1111_blocks_while_its_progress_is_told(client: Client) -> None:
    body = {"prompt": "x", "width": 256, "height": 128, "steps": 20, "batch_size": 2, "seed": 7}
    drawing = asyncio.create_task(client.call("POST", "/automatic1111/sdapi/v1/txt2img", body))
    await until(lambda: client.jobs("automatic1111"))
    await client.control(advance=50)
    told = await client.call("GET", "/automatic1111/sdapi/v1/progress?skip_current_image=true")
    assert (round(told["progress"], 1), told["state"]["sampling_step"], told["current_image"]) == (0.5, 10, None)
    assert not drawing.done()
    await client.control(advance=51)
    value = await drawing
    assert json.loads(value["info"])["all_seeds"] == [7, 8]
    assert base64.b64decode(value["images"][1])[:4] == b"\x89PNG"
    other = asyncio.create_task(client.call("POST", "/automatic1111/sdapi/v1/txt2img", {**body, "seed": 8}))

    async def two() -> bool:
        return len(await client.jobs("automatic1111")) == 2

    await until(two)
    await client.call("POST", "/automatic1111/sdapi/v1/interrupt")
    assert len((await other)["images"]) == 2


@pytest.mark.parametrize(
    ("name", "status", "health"),
    [
        ("tts-running", "running", "healthy"),
        ("tts-starting", "running", "starting"),
        ("tts-unhealthy", "running", "unhealthy"),
        ("tts-bare", "running", None),
        ("tts-exited", "exited", None),
        ("tts-created", "created", None),
        ("tts-restarting", "restarting", None),
        ("tts-dead", "dead", None),
    ],
)
async def test_a_container_is_as_its_name_says(client: Client, name: str, status: str, health: str | None) -> None:
    for base in ("/docker/v1.44", "/v1.44", ""):
        state = (await client.call("GET", f"{base}/containers/{name}/json"))["State"]
        assert (state["Status"], state.get("Health", {}).get("Status")) == (status, health)


async def test_a_container_is_started_once_and_stopped_once(client: Client) -> None:
    base = "/v1.44/containers/chatterbox"
    await client.call("POST", f"{base}/start", status=204)
    await client.call("POST", f"{base}/start", status=304)
    assert (await client.call("GET", f"{base}/json"))["State"]["Health"]["Status"] == "starting"
    await client.control(advance=1)
    assert (await client.call("GET", f"{base}/json"))["State"]["Health"]["Status"] == "healthy"
    await client.call("POST", f"{base}/stop?t=10", status=204)
    await client.call("POST", f"{base}/stop", status=304)
    assert (await client.call("GET", "/containers/missing/json", status=404))["message"] == "No such container: missing"
    assert await client.call("GET", "/_ping") == b"OK"
    assert (await client.call("GET", "/version"))["MinAPIVersion"] == "1.44"
    await client.call("POST", "/containers/nogpu-exited/start", status=500)
