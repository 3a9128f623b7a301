"""Vendors' own clients for pictures, films and sound: what they send and parse is what the sandbox must take and say."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from typing import Any

import elevenlabs
import fal_client
import httpx
import pytest
import replicate
import runware
from elevenlabs.core.api_error import ApiError
from elevenlabs.types import VoiceSettings
from fal_client import client as fal_addresses
from google import genai
from google.genai import errors as google_errors
from google.genai import types
from replicate.exceptions import ModelError, ReplicateError
from runware.types import IAudioInference, IImageBackgroundRemoval, IImageInference, IImageUpscale, IVideoInference

from polyroute.mediainfo.inspect import inspect_media
from polyroute.mediainfo.source import FileBytes
from polyroute.sandbox.media.callbacks import SHARED_SECRET
from polyroute.sandbox.media.callbacks import elevenlabs as sign
from polyroute.sandbox.server import Running
from support.media_files import png, wav

pytestmark = pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning")

PICTURE, TALK = png(64, 64), wav(2)


@pytest.fixture
async def web(sandbox: Running) -> AsyncIterator[httpx.AsyncClient]:
    """Downloads results, and tells the sandbox what to do."""
    async with httpx.AsyncClient(base_url=sandbox.url, trust_env=False, timeout=20) as client:
        await client.post("/_control", json={"provider": "*", "job_seconds": 0.05})
        yield client


async def kind_of(web: httpx.AsyncClient, url: str) -> str:
    """What a result is, from its bytes."""
    answer = await web.get(url)
    assert answer.status_code == 200, url
    return inspect_media(FileBytes(answer.content)).media_type


async def fail(web: httpx.AsyncClient, provider: str, kind: str, **more: Any) -> None:
    """Arm a fault for the next request or job."""
    await web.post("/_control", json={"provider": provider, "faults": {"kind": kind, "times": 1, **more}})


# ---------------------------------------------------------------- fal


@pytest.fixture
async def fal(
    sandbox: Running, web: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[fal_client.AsyncClient]:
    """fal's client with our hosts in place of fal's."""
    base = f"{sandbox.url}/fal"
    monkeypatch.setattr(fal_addresses, "RUN_URL_FORMAT", f"{base}/run/")
    monkeypatch.setattr(fal_addresses, "QUEUE_URL_FORMAT", f"{base}/queue/")
    monkeypatch.setattr(fal_addresses, "REST_URL", f"{base}/rest")
    monkeypatch.setattr(fal_addresses, "CDN_URL", f"{base}/v3.fal.media")
    client = fal_client.AsyncClient(key="key:secret")
    yield client
    await (await client._client).aclose()


async def test_fal_queues_follows_and_gives_the_result(fal: fal_client.AsyncClient, web: httpx.AsyncClient) -> None:
    seen: list[Any] = []
    made = await fal.subscribe("fal-ai/flux/schnell", {"prompt": "a fox"}, with_logs=True, on_queue_update=seen.append)
    assert made["images"][0]["width"]
    assert await kind_of(web, made["images"][0]["url"]) == "image/jpeg"
    assert isinstance(seen[-1], fal_client.Completed)


async def test_fal_runs_at_once_uploads_and_cancels(fal: fal_client.AsyncClient, web: httpx.AsyncClient) -> None:
    url = await fal.upload(PICTURE, "image/png", file_name="fox.png")
    assert await kind_of(web, url) == "image/png"
    made = await fal.run("fal-ai/birefnet/v2", {"image_url": url})
    assert await kind_of(web, made["image"]["url"])
    await web.post("/_control", json={"provider": "fal", "job_seconds": 60})
    handle = await fal.submit("fal-ai/veo3.1", {"prompt": "a fox runs"})
    assert isinstance(await handle.status(), fal_client.Queued | fal_client.InProgress)
    await handle.cancel()
    jobs = (await web.get("/_control/jobs?provider=fal")).json()["jobs"]
    assert jobs[-1]["state"] == "canceled"


async def test_fals_errors_are_its_clients_exceptions(fal: fal_client.AsyncClient, web: httpx.AsyncClient) -> None:
    with pytest.raises(fal_client.FalClientHTTPError) as refused:
        await fal.run("fal-ai/flux/schnell", {})
    assert refused.value.status_code == 422
    await fail(web, "fal", "moderation")
    handle = await fal.submit("fal-ai/flux/schnell", {"prompt": "a fox"})
    with pytest.raises(fal_client.FalClientHTTPError) as filtered:
        await handle.get()
    assert "content" in str(filtered.value)


# ---------------------------------------------------------------- Replicate


@pytest.fixture
async def predictions(sandbox: Running, web: httpx.AsyncClient) -> replicate.Client:
    """Replicate's client."""
    return replicate.Client(api_token="r8_test", base_url=f"{sandbox.url}/replicate")


async def test_replicate_runs_a_model_and_waits(predictions: replicate.Client, web: httpx.AsyncClient) -> None:
    [made] = await predictions.async_run("black-forest-labs/flux-schnell", input={"prompt": "a fox"})
    assert await kind_of(web, made) == "image/webp"


async def test_replicate_creates_reloads_lists_and_cancels(
    predictions: replicate.Client, web: httpx.AsyncClient
) -> None:
    await web.post("/_control", json={"provider": "replicate", "job_seconds": 60})
    made = await predictions.models.predictions.async_create(
        "google/veo-3.1-fast", input={"prompt": "a fox runs"}, wait=False
    )
    await made.async_reload()
    assert made.status in ("starting", "processing")
    assert made.id in [one.id for one in await predictions.predictions.async_list()]
    await made.async_cancel()
    await made.async_reload()
    assert made.status == "canceled"


async def test_replicate_uploads_files_and_knows_models(predictions: replicate.Client, web: httpx.AsyncClient) -> None:
    kept = await predictions.files.async_create(io.BytesIO(PICTURE))
    assert kept.size == len(PICTURE)
    made = await predictions.async_run("nightmareai/real-esrgan", input={"image": kept.urls["get"]})
    assert await kind_of(web, made)
    model = await predictions.models.async_get("black-forest-labs/flux-schnell")
    assert (model.owner, model.name) == ("black-forest-labs", "flux-schnell")
    assert (await predictions.webhooks.default.async_secret()).key.startswith("whsec_")


async def test_replicates_errors_are_its_clients_exceptions(
    predictions: replicate.Client, web: httpx.AsyncClient
) -> None:
    with pytest.raises(ReplicateError) as refused:
        await predictions.async_run("black-forest-labs/flux-schnell", input={})
    assert refused.value.status == 422
    await fail(web, "replicate", "job_failed", message="out of memory")
    with pytest.raises(ModelError, match="out of memory"):
        await predictions.async_run("black-forest-labs/flux-schnell", input={"prompt": "a fox"})


# ---------------------------------------------------------------- ElevenLabs


@pytest.fixture
async def eleven(sandbox: Running, web: httpx.AsyncClient) -> AsyncIterator[elevenlabs.AsyncElevenLabs]:
    """ElevenLabs' client."""
    async with httpx.AsyncClient(timeout=20) as transport:
        yield elevenlabs.AsyncElevenLabs(
            api_key="xi-test", base_url=f"{sandbox.url}/elevenlabs", httpx_client=transport
        )


async def test_elevenlabs_speaks_sings_and_makes_noises(eleven: elevenlabs.AsyncElevenLabs) -> None:
    voice = (await eleven.voices.search()).voices[0]
    settings = VoiceSettings(stability=0.5, speed=1.1)
    spoken = eleven.text_to_speech.convert(
        voice.voice_id, text="The lamp is lit.", model_id="eleven_flash_v2_5", voice_settings=settings
    )
    streamed = eleven.text_to_speech.stream(voice.voice_id, text="The lamp is lit.", output_format="mp3_44100_128")
    noise = eleven.text_to_sound_effects.convert(text="a door", duration_seconds=1.5)
    song = eleven.music.compose(prompt="slow jazz", music_length_ms=3000)
    for sound in (spoken, streamed, noise, song):
        content = b"".join([block async for block in sound])
        facts = inspect_media(FileBytes(content))
        assert facts.media_type == "audio/mpeg"
        assert facts.duration_s
    timed = await eleven.text_to_speech.convert_with_timestamps(voice.voice_id, text="The lamp is lit.")
    assert timed.alignment is not None
    assert "".join(timed.alignment.characters) == "The lamp is lit."


async def test_elevenlabs_listens_and_clones(eleven: elevenlabs.AsyncElevenLabs) -> None:
    heard = await eleven.speech_to_text.convert(model_id="scribe_v2", file=("talk.wav", TALK), diarize=True)
    assert heard.text
    assert [word.type for word in heard.words][:2] == ["word", "spacing"]
    assert (await eleven.speech_to_text.transcripts.get(heard.transcription_id)).text == heard.text
    cloned = await eleven.voices.ivc.create(name="mine", files=[("mine.wav", TALK)])
    assert (await eleven.voices.get(cloned.voice_id)).name == "mine"
    await eleven.voices.delete(cloned.voice_id)
    with pytest.raises(ApiError) as gone:
        await eleven.voices.get(cloned.voice_id)
    assert gone.value.status_code in (400, 404)


async def test_elevenlabs_errors_are_its_clients_exceptions(
    eleven: elevenlabs.AsyncElevenLabs, web: httpx.AsyncClient
) -> None:
    with pytest.raises(ApiError) as unknown:
        async for _ in eleven.text_to_speech.convert("no-such-voice-at-all", text="hello"):
            pass
    assert unknown.value.status_code in (400, 404)
    await fail(web, "elevenlabs", "quota")
    with pytest.raises(ApiError) as empty:
        async for _ in eleven.text_to_sound_effects.convert(text="a door"):
            pass
    assert empty.value.status_code in (401, 402)


def test_elevenlabs_own_check_of_callbacks_takes_the_sandboxes(sandbox: Running) -> None:
    body = json.dumps({"type": "speech_to_text_transcription", "data": {"request_id": "r"}}).encode()
    header = sign(body)["elevenlabs-signature"]
    client = elevenlabs.ElevenLabs(api_key="xi-test", base_url=sandbox.url)
    event = client.webhooks.construct_event(rawBody=body.decode(), sig_header=header, secret=SHARED_SECRET)
    assert event["data"] == {"request_id": "r"}
    forged = header[:-1] + ("0" if header[-1] != "0" else "1")
    with pytest.raises(Exception, match=r"[Ss]ignature"):
        client.webhooks.construct_event(rawBody=body.decode(), sig_header=forged, secret=SHARED_SECRET)


# ---------------------------------------------------------------- Runware


@pytest.fixture
async def socket(sandbox: Running, web: httpx.AsyncClient) -> AsyncIterator[runware.Runware]:
    """Runware's client, over its WebSocket."""
    url = f"ws{sandbox.url.removeprefix('http')}/runware/v1"
    client = runware.Runware(api_key="rw-test", url=url)
    await client.connect()
    yield client
    await client.disconnect()


async def test_runware_makes_all_sorts_on_one_socket(socket: runware.Runware, web: httpx.AsyncClient) -> None:
    pictures, film, song = await asyncio.gather(
        socket.imageInference(
            IImageInference(model="runware:101@1", positivePrompt="a fox", width=512, height=512, numberResults=2)
        ),
        socket.videoInference(
            IVideoInference(
                model="bytedance:seedance@2.0", positivePrompt="a fox runs", duration=5, width=864, height=480
            )
        ),
        socket.audioInference(
            IAudioInference(model="minimax:music@2.6", positivePrompt="slow jazz", duration=10, includeCost=True)
        ),
    )
    assert len(pictures) == 2
    assert [await kind_of(web, one.imageURL) for one in pictures] == ["image/jpeg"] * 2
    [film] = await socket.getResponse(taskUUID=film.taskUUID)
    assert await kind_of(web, film.videoURL) == "video/mp4"
    assert await kind_of(web, song[0].audioURL) == "audio/mpeg"
    assert song[0].cost > 0


async def test_runware_upscales_and_cuts_out(socket: runware.Runware, web: httpx.AsyncClient) -> None:
    [made] = await socket.imageInference(IImageInference(model="runware:101@1", positivePrompt="a fox"))
    [larger] = await socket.imageUpscale(
        IImageUpscale(inputImage=made.imageURL, upscaleFactor=2, model="runware:500@1")
    )
    [cut] = await socket.imageBackgroundRemoval(
        IImageBackgroundRemoval(inputImage=made.imageURL, model="runware:112@1")
    )
    assert await kind_of(web, larger.imageURL)
    assert await kind_of(web, cut.imageURL)


async def test_runwares_errors_are_its_clients_exceptions(socket: runware.Runware) -> None:
    with pytest.raises(Exception, match="model"):
        await socket.imageInference(IImageInference(model="no-such-model:1@1", positivePrompt="a fox"))


# ---------------------------------------------------------------- Google


@pytest.fixture
async def gemini(sandbox: Running, web: httpx.AsyncClient) -> AsyncIterator[genai.Client]:
    """Google's client."""
    client = genai.Client(api_key="sk-test", http_options=types.HttpOptions(base_url=f"{sandbox.url}/google"))
    yield client
    client.close()
    await client.aio.aclose()


async def test_google_paints_and_speaks(gemini: genai.Client) -> None:
    painted = await gemini.aio.models.generate_content(model="gemini-3.1-flash-image", contents="a fox")
    blob = next(part.inline_data for part in painted.candidates[0].content.parts if part.inline_data)
    assert inspect_media(FileBytes(blob.data)).media_type == blob.mime_type
    speech = await gemini.aio.models.generate_content(
        model="gemini-3.8-flash-tts",
        contents="The lamp is lit.",
        config=types.GenerateContentConfig(response_modalities=["AUDIO"]),
    )
    assert speech.candidates[0].content.parts[0].inline_data.mime_type.startswith("audio/")
    with pytest.raises(google_errors.ClientError):
        await gemini.aio.models.generate_content(model="no-such-model", contents="a fox")
