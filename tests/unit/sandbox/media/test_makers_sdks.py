"""The official clients of Luma and Runway, as strict as they can be made: what they send is taken, what they get they know."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import luma_agents
import lumaai
import pytest
import runwayml

from polyroute.sandbox.server import Running
from support.media_files import PNG
from support.media_sandbox import Client

FRAME = "https://files.example/a.png"
FILM = "https://files.example/a.mp4"
STRICT: dict[str, Any] = {"max_retries": 0, "_strict_response_validation": True}


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    """Closes every client at the end of the test."""
    async with AsyncExitStack() as closing:
        yield closing


async def test_dream_machine_in_its_sdk(sandbox: Running, client: Client, stack: AsyncExitStack) -> None:
    await client.control(job_seconds=0)
    base = f"{sandbox.url}/luma_dream_machine/dream-machine/v1"
    sdk = await stack.enter_async_context(lumaai.AsyncLumaAI(auth_token="k", base_url=base, **STRICT))
    keyframes: Any = {"frame0": {"type": "image", "url": FRAME}}
    film = await sdk.generations.create(model="ray-2", prompt="a sea", duration="5s", keyframes=keyframes, loop=True)
    done = await sdk.generations.get(film.id)
    assert (done.state, done.generation_type) == ("completed", "video")
    assert (await client.call("GET", done.assets.video))[4:8] == b"ftyp"
    larger = await sdk.generations.upscale(film.id, resolution="1080p", generation_type="upscale_video")
    loud = await sdk.generations.audio(film.id, prompt="waves", generation_type="add_audio")
    picture = await sdk.generations.image.create(model="photon-1", prompt="a sea", aspect_ratio="16:9", format="png")
    wide = await sdk.generations.image.reframe(
        model="photon-1", aspect_ratio="21:9", media={"url": FRAME}, generation_type="reframe_image"
    )
    changed = await sdk.generations.video.modify(
        model="ray-2", mode="flex_1", media={"url": FILM}, generation_type="modify_video"
    )
    square = await sdk.generations.video.reframe(
        model="ray-2", aspect_ratio="1:1", media={"url": FILM}, generation_type="reframe_video"
    )
    every = (larger, loud, picture, wide, changed, square)
    assert [(await sdk.generations.get(one.id)).state for one in every] == ["completed"] * 6
    assert (await sdk.generations.list(limit=2)).has_more
    assert "static" in await sdk.generations.concepts.list()
    assert (await sdk.credits.get()).credit_balance > 0
    await sdk.generations.delete(film.id)
    with pytest.raises(lumaai.NotFoundError):
        await sdk.generations.get(film.id)
    with pytest.raises(lumaai.BadRequestError):
        await sdk.generations.create(model="ray-2", prompt="a sea", duration="7s")
    await client.control(faults={"kind": "invalid_key"})
    with pytest.raises(lumaai.AuthenticationError):
        await sdk.generations.list()


async def test_agents_in_their_sdk(sandbox: Running, client: Client, stack: AsyncExitStack) -> None:
    await client.control(job_seconds=0)
    sdk = await stack.enter_async_context(
        luma_agents.AsyncLuma(auth_token="k", base_url=f"{sandbox.url}/luma/v1", **STRICT)
    )
    placed = await sdk.files.create(mime_type="image/png", size_bytes=len(PNG), purpose="input")
    assert (placed.state, placed.upload.method) == ("pending", "PUT")
    headers = {"authorization": "", **placed.upload.headers}
    await client.call("PUT", placed.upload.url, PNG, headers=headers)
    await sdk.files.complete(placed.id)
    assert (await sdk.files.get(placed.id)).state == "ready"
    made = await sdk.generations.create(prompt="x", type="image_edit", model="uni-1", source={"file_id": placed.id})
    first, second = await sdk.generations.get(made.id), await sdk.generations.get(made.id)
    assert (first.state, first.type) == ("completed", "image_edit")
    assert first.output[0].url != second.output[0].url
    assert (await client.call("GET", second.output[0].url))[:4] == b"\x89PNG"
    layers = await sdk.generations.create(prompt="x", type="layering", model="uni-1", source={"file_id": placed.id})
    assert [one.layer.index for one in (await sdk.generations.get(layers.id)).output] == [0, 1, 2]
    film = await sdk.generations.create(prompt="x", type="video", model="ray-3.2", video={"duration": "5s"})
    longer: Any = {"start_frame": {"generation_id": film.id}, "resolution": "360p"}
    assert (await sdk.generations.create(prompt="x", type="video", model="ray-3.2", video=longer)).state == "queued"
    await sdk.files.delete(placed.id)
    with pytest.raises(luma_agents.NotFoundError):
        await sdk.files.get(placed.id)
    await client.control(faults={"kind": "job_failed", "message": "budget_exhausted: no more", "times": 1})
    failed = await sdk.generations.create(prompt="x", type="image", model="uni-1")
    told = await sdk.generations.get(failed.id)
    assert (told.state, told.failure_code, told.failure_reason) == ("failed", "budget_exhausted", "no more")
    wrong: Any = {"duration": "10s", "loop": True}
    with pytest.raises(luma_agents.BadRequestError):
        await sdk.generations.create(prompt="x", type="video", model="ray-3.2", video=wrong)


async def test_runway_in_its_sdk(sandbox: Running, client: Client, stack: AsyncExitStack) -> None:
    await client.control(job_seconds=0)
    sdk = await stack.enter_async_context(
        runwayml.AsyncRunwayML(api_key="k", base_url=f"{sandbox.url}/runway", **STRICT)
    )
    upload = await sdk.uploads.create_ephemeral(file=("a.png", PNG, "image/png"))
    assert upload.uri.startswith("runway://")
    orders = [
        sdk.image_to_video.create(
            model="gen4.5", prompt_image=upload.uri, prompt_text="dolly in", ratio="1280:720", duration=5
        ),
        sdk.text_to_video.create(model="gen4.5", prompt_text="a sea", ratio="720:1280", duration=2),
        sdk.video_to_video.create(model="aleph2", video_uri=FILM, prompt_text="snow"),
        sdk.text_to_image.create(model="gen4_image", prompt_text="a sea", ratio="1080:1080"),
        sdk.image_upscale.create(model="magnific_precision_upscaler_v2", image_uri=FRAME, scale_factor=2),
        sdk.video_upscale.create(model="magnific_video_upscaler_creative", video_uri=FILM, resolution="720p"),
        sdk.text_to_speech.create(
            model="eleven_multilingual_v2", prompt_text="hi", voice={"type": "runway-preset", "preset_id": "Maya"}
        ),
        sdk.sound_effect.create(model="eleven_text_to_sound_v2", prompt_text="rain", duration=1.5),
        sdk.speech_to_speech.create(
            model="eleven_multilingual_sts_v2", media={"type": "audio", "uri": FILM},
            voice={"type": "runway-preset", "preset_id": "Maya"},
        ),
        sdk.voice_dubbing.create(model="eleven_voice_dubbing", audio_uri=FILM, target_lang="es"),
        sdk.voice_isolation.create(model="eleven_voice_isolation", audio_uri=FILM),
        sdk.video_to_audio.create(model="mirelo_sfx_2_0", video_uri=FILM, duration=2),
        sdk.character_performance.create(
            model="act_two", character={"type": "image", "uri": FRAME}, reference={"type": "video", "uri": FILM}
        ),
    ]  # fmt: skip
    tasks = [await sdk.tasks.retrieve(order.id) for order in await asyncio.gather(*orders)]
    assert [task.status for task in tasks] == ["SUCCEEDED"] * len(orders)
    assert (tasks[0].cost.credits, tasks[1].cost.credits) == (60, 24)
    assert (await client.call("GET", tasks[0].output[0]))[4:8] == b"ftyp"
    assert (await sdk.organization.retrieve()).credit_balance > 0
    await client.control(job_seconds=100)
    waiting = await sdk.text_to_image.create(model="gen4_image", prompt_text="a sea", ratio="1080:1080")
    states = []
    for seconds in (5, 10, 50):
        await client.control(advance=seconds)
        states.append(await sdk.tasks.retrieve(waiting.id))
    assert [one.status for one in states] == ["PENDING", "THROTTLED", "RUNNING"]
    assert states[0].estimated_cost.credits == 5
    await sdk.tasks.delete(waiting.id)
    gone = await sdk.tasks.retrieve(waiting.id)
    assert (gone.status, gone.cost.credits) == ("CANCELLED", 0)
    with pytest.raises(runwayml.BadRequestError):
        await sdk.text_to_video.create(model="gen4.5", prompt_text="a sea", ratio="1280:720", duration=11)
