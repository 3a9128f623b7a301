"""Work that nobody waits for is stopped at each provider that can be told; telling one that is done already does no harm."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from polyroute.types.media import Handle, MediaRequest, Outcome, Task
from support.media_gateway import MediaGateway
from support.media_making import make
from support.media_sandbox import until
from support.media_work import wire_of

FILM, PICTURE = Task.TEXT_TO_VIDEO, Task.TEXT_TO_IMAGE
TOLD = [
    ("aihubmix", FILM, "sora-2"), ("fal", PICTURE, "fal-ai/flux/schnell"), ("google", FILM, "veo-3.1-fast-generate-001"),
    ("google", FILM, "gemini-omni-1.1-flash"),
    ("openai", FILM, "sora-2"), ("piapi", FILM, "kling/video_generation"),
    ("replicate", PICTURE, "black-forest-labs/flux-schnell"), ("runpod", PICTURE, "black-forest-labs-flux-1-schnell"),
    ("comfyui", PICTURE, "sd_xl_base_1.0.safetensors"),
]  # fmt: skip
"""Automatic1111 works while it is asked: see its own tests."""
NEVER_TOLD = [
    ("aimlapi", FILM, "klingai/video-v3-pro-text-to-video"), ("bfl", PICTURE, "flux-2-pro"), ("kie", PICTURE, "nano-banana-2"),
    ("piapi", PICTURE, "Qubico/flux1-schnell/txt2img"), ("runware", PICTURE, "runware:101@1"),
    ("together", FILM, "minimax/hailuo-02"), ("xai", FILM, "grok-imagine-video-1.5"),
]  # fmt: skip


async def states(gateway: MediaGateway, provider: str) -> list[str]:
    return [job["state"] for job in await gateway.jobs(provider)]


async def is_polled(gateway: MediaGateway, provider: str) -> bool:
    """Whether the work was asked for since it was ordered."""
    methods = [row["method"] for row in await gateway.seen(provider)]
    return "POST" in methods and methods[-1] == "GET" and bool(await gateway.jobs(provider))


async def is_done(maker: Any, handle: Handle, wire: Any) -> bool:
    return isinstance(await maker.poll(handle, wire), Outcome)


async def submitted(gateway: MediaGateway, provider: str, task: Task, model: str) -> tuple[Any, Handle, Any]:
    adapter, wire = wire_of(gateway, provider)
    maker = adapter.maker(task, model)
    request = MediaRequest(task=task, prompt="a red fox", idempotency_key="0b8e3c66-5f0d-4a55-9f0e-5d3f8d9d7a10")
    handle = await maker.submit(request, model, wire)
    assert isinstance(handle, Handle), handle
    return maker, handle, wire


@pytest.mark.parametrize(("provider", "task", "model"), TOLD)
async def test_work_that_nobody_waits_for_is_stopped(
    gateway: MediaGateway, provider: str, task: Task, model: str
) -> None:
    await gateway.control(provider, job_seconds=60)
    waiting = asyncio.ensure_future(make(gateway, task, f"{provider}/{model}", prompt="a red fox"))
    await until(lambda: is_polled(gateway, provider))
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await states(gateway, provider) == ["canceled"]


@pytest.mark.parametrize(("provider", "task", "model"), TOLD)
async def test_stopping_what_is_done_does_no_harm(gateway: MediaGateway, provider: str, task: Task, model: str) -> None:
    await gateway.control(provider, job_seconds=0.3)
    maker, handle, wire = await submitted(gateway, provider, task, model)
    await until(lambda: is_done(maker, handle, wire))
    await maker.cancel(handle, wire)
    await maker.cancel(handle, wire)
    assert await states(gateway, provider) == ["succeeded"]


@pytest.mark.parametrize(("provider", "task", "model"), NEVER_TOLD)
async def test_who_cannot_be_told_is_not_asked(gateway: MediaGateway, provider: str, task: Task, model: str) -> None:
    await gateway.control(provider, job_seconds=60)
    maker, handle, wire = await submitted(gateway, provider, task, model)
    before = len(await gateway.seen(provider))
    await maker.cancel(handle, wire)
    assert len(await gateway.seen(provider)) == before
    assert "canceled" not in await states(gateway, provider)
