"""Luma's two APIs as callers meet them, over the sandbox."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from polyroute.providers.media.luma_answers import ended_badly, laid_over, read_refusal
from polyroute.types.errors import AttemptFailed, ErrorKind, PolyrouteError
from polyroute.types.media import Handle, MediaInput, MediaRequest, Outcome, Task
from support.media_files import PNG, mp4
from support.media_gateway import MediaGateway, media_gateway
from support.media_work import ask, content_of, given, probe, wire_of

IMAGE, VIDEO = given("image", PNG, "image/png"), given("video", mp4(), "video/mp4")
FIRST, LAST = {**IMAGE, "role": "first_frame"}, {**IMAGE, "role": "last_frame"}
REFERENCE = {**IMAGE, "role": "reference"}
FAR = {"role": "image", "url": "https://files.example/a.png"}
FAR_FILM = {"role": "video", "url": "https://files.example/a.mp4"}
AGENTS, DREAMS = "luma", "luma_dream_machine"


async def sent(gateway: MediaGateway, provider: str, task: str, model: str, **asked: Any) -> tuple[str, dict[str, Any]]:
    """Path and body of the order that a request becomes, as the sandbox accepted it."""
    adapter, wire = wire_of(gateway, provider)
    inputs = tuple(MediaInput(**one) for one in asked.pop("inputs", ()))
    request = MediaRequest(task=Task(task), inputs=inputs, **asked)
    maker = adapter.maker(request.task, model)
    orders: list[tuple[str, dict[str, Any]]] = []
    real = wire.call

    async def call(method: str, path: str, **more: Any) -> Any:
        if more.get("creates"):
            orders.append((path, more["json"]))
        return await real(method, path, **more)

    wire.call = call
    handle = await maker.submit(maker.fit(request, model).request, model, wire)
    assert isinstance(handle, Handle)
    return orders[0]


@pytest.mark.parametrize(
    ("model", "task", "asked", "kind", "many"),
    [
        ("luma/uni-1", "text_to_image", {"aspect_ratio": "16:9", "format": "jpeg", "style": "manga"}, "image/jpeg", 1),
        ("luma/uni-1-max", "text_to_image", {"inputs": [REFERENCE, REFERENCE]}, "image/png", 1),
        ("luma/uni-1", "image_to_image", {"inputs": [IMAGE, IMAGE]}, "image/png", 1),
        ("luma/uni-1/layering", "image_to_image", {"inputs": [IMAGE], "resolution": "1K"}, "image/png", 3),
        ("luma/ray-3.2", "text_to_video", {"duration": 5, "resolution": "360p", "loop": True}, "video/mp4", 1),
        ("luma/ray-3.2", "image_to_video", {"inputs": [FIRST, LAST], "resolution": "360p"}, "video/mp4", 1),
        ("luma/ray-3.2", "video_to_video", {"inputs": [VIDEO], "strength": 0.2, "resolution": "360p"}, "video/mp4", 1),
        ("luma/ray-3.2/reframe", "video_to_video", {"inputs": [VIDEO], "aspect_ratio": "9:16"}, "video/mp4", 1),
        ("luma_dream_machine/photon-1", "text_to_image", {"aspect_ratio": "9:21", "format": "png"}, "image/png", 1),
        ("luma_dream_machine/photon-1", "image_to_image", {"inputs": [IMAGE], "strength": 0.3}, "image/jpeg", 1),
        (
            "luma_dream_machine/photon-1/reframe",
            "image_to_image",
            {"inputs": [IMAGE], "aspect_ratio": "1:1"},
            "image/jpeg",
            1,
        ),
        ("luma_dream_machine/ray-2", "text_to_video", {"duration": 5, "camera": "push_in"}, "video/mp4", 1),
        ("luma_dream_machine/ray-2", "image_to_video", {"inputs": [FIRST, LAST], "loop": True}, "video/mp4", 1),
        ("luma_dream_machine/ray-flash-2", "video_to_video", {"inputs": [VIDEO], "strength": 1}, "video/mp4", 1),
        (
            "luma_dream_machine/ray-2/reframe",
            "video_to_video",
            {"inputs": [VIDEO], "aspect_ratio": "1:1"},
            "video/mp4",
            1,
        ),
    ],
)
async def test_every_task(
    gateway: MediaGateway, model: str, task: str, asked: dict[str, Any], kind: str, many: int
) -> None:
    work = await ask(gateway, model, task, prompt="a red fox", **asked)
    assert work.dropped == []
    assert [one["media_type"] for one in work.made["artifacts"]] == [kind] * many
    if task == "text_to_video":
        assert work.artifact["duration_s"] == pytest.approx(5, abs=0.1)
    if "aspect_ratio" in asked:
        width, _, height = asked["aspect_ratio"].partition(":")
        shape = work.artifact["width"] / work.artifact["height"]
        assert shape == pytest.approx(int(width) / int(height), rel=0.03)
