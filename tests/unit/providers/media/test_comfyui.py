"""ComfyUI as callers meet it, over the sandbox."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path

import pytest

from polyroute.types.errors import PolyrouteError
from support.local_services import local_gateway
from support.media_files import png
from support.media_gateway import MediaGateway
from support.own_vocabulary import Watched, ask_in_own_words, until_begun

MODEL = "comfyui/sd_xl_base_1.0.safetensors"
PICTURE = "data:image/png;base64," + base64.b64encode(png(64, 64)).decode()
FILM = {
    "1": {"class_type": "EmptyLatentVideo", "inputs": {"width": "{width}", "height": "{height}", "length": 24}},
    "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "{prompt}"}},
    "3": {"class_type": "SaveVideo", "inputs": {"video": ["1", 0]}},
}


async def test_it_draws_with_the_built_in_graph(gateway: MediaGateway) -> None:
    answer = await gateway.image(MODEL, size="640x384", n=2)
    assert len(answer.json()["data"]) == 2
    assert base64.b64decode(answer.json()["data"][0]["b64_json"])[16:20] == (640).to_bytes(4, "big")
    [job] = await gateway.jobs("comfyui")
    assert job["state"] == "succeeded"


async def test_a_picture_and_what_was_drawn_of_it_go_both_ways(gateway: MediaGateway) -> None:
    request = {
        "task": "image_to_image",
        "prompt": "bluer",
        "inputs": [{"role": "image", "url": PICTURE}],
        "strength": 0.4,
    }
    made = await ask_in_own_words(gateway, MODEL, **request)
    assert made["artifacts"][0]["family"] == "image"
    assert [row for row in await gateway.seen("comfyui") if row["path"].endswith("/upload/image")]


async def test_the_socket_tells_how_far_it_is(gateway: MediaGateway) -> None:
    await gateway.control("*", job_seconds=2.5)
    watched = Watched()
    await ask_in_own_words(gateway, MODEL, watched, task="text_to_image", prompt="slow")
    percents = [one.percent for one in watched.seen if one.percent is not None]
    assert percents == sorted(percents)
    assert [percent for percent in percents if 0 < percent < 100]


async def test_workflows_come_from_the_request_or_the_configuration(tmp_path: Path, gateway: MediaGateway) -> None:
    made = await ask_in_own_words(
        gateway, "comfyui/own", task="text_to_video", prompt="waves", options={"comfyui": {"workflow": FILM}}, width=320,
        height=192,
    )  # fmt: skip
    assert made["artifacts"][0]["family"] == "video"
    (tmp_path / "second").mkdir()
    async with local_gateway(
        tmp_path / "second", {"comfyui": "comfyui"}, comfyui={"workflows": {"waves": FILM}}
    ) as own:
        made = await ask_in_own_words(
            own, "comfyui/waves", task="text_to_video", prompt="waves", negative_prompt="sand"
        )
        assert made["artifacts"][0]["family"] == "video"
        assert made["dropped"] == ["negative_prompt"]


async def test_without_a_workflow_for_it_the_task_is_refused(gateway: MediaGateway) -> None:
    with pytest.raises(PolyrouteError) as refused:
        await ask_in_own_words(gateway, "comfyui/own", task="text_to_video", prompt="waves")
    assert "options.comfyui.workflow" in refused.value.message
    assert not await gateway.jobs("comfyui")


async def test_a_checkpoint_that_is_not_there_is_told_and_the_next_target_asked(gateway: MediaGateway) -> None:
    answer = await gateway.http.post("/v1/images/generations", json={"model": "comfyui/no-such.ckpt", "prompt": "x"})
    assert answer.status_code == 404
    assert "ckpt_name" in answer.json()["error"]["message"]


async def test_work_that_fails_is_told(gateway: MediaGateway) -> None:
    await gateway.fail("comfyui", "job_failed", times=1)
    answer = await gateway.http.post("/v1/images/generations", json={"model": MODEL, "prompt": "x"})
    assert answer.status_code == 502
    assert "ComfyUI failed" in answer.json()["error"]["message"]


async def test_who_stops_waiting_stops_the_work(gateway: MediaGateway) -> None:
    await gateway.control("*", job_seconds=30)
    asked = asyncio.create_task(ask_in_own_words(gateway, MODEL, task="text_to_image", prompt="slow"))
    await until_begun(gateway, "comfyui", polled=True)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    [job] = await gateway.jobs("comfyui")
    assert job["state"] == "canceled"
