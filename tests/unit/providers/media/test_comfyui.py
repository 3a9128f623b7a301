"""ComfyUI as callers meet it, over the sandbox."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import pytest

from polyroute.ports import Reply
from polyroute.providers.media.comfyui import Graphs
from polyroute.types.errors import PolyrouteError
from polyroute.types.media import MediaRequest, Task
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


async def test_work_whose_acceptance_was_lost_is_found_again(gateway: MediaGateway) -> None:
    await gateway.fail("comfyui", "lost_after_acceptance", times=1)
    body = {"model": MODEL, "task": "text_to_image", "prompt": "once"}
    job = (await gateway.post("/v1/jobs", json=body, headers={"prefer": "wait=20"})).json()
    assert job["status"] == "succeeded", job
    [made] = await gateway.jobs("comfyui")
    assert made["state"] == "succeeded"


class OlderServer:
    """A wire to a server that gave an id of its own to what it had queued for us."""

    def __init__(self, client: str | None, *, over: bool) -> None:
        self.row = [7, "its-own-id", {}, {"client_id": client}, []]
        self.over = over
        self.posted: list[str] = []

    async def call(self, method: str, path: str, **more: Any) -> Reply:
        told: dict[str, Any] = {"queue_running": [] if self.over else [self.row], "queue_pending": []}
        if path == "/history":
            told = {"its-own-id": {"prompt": self.row}} if self.over else {}
        if method == "POST":
            self.posted.append(path)
            told = {"prompt_id": "a-new-id"}
        return Reply(200, [], json.dumps(told).encode())


@pytest.mark.parametrize("over", [False, True], ids=["queued", "over"])
async def test_a_server_that_gives_ids_of_its_own_is_asked_by_our_clients_id(over: bool) -> None:
    key = "0b5f1f5e-7c2f-4a3e-9d3b-2f8f6a1c9e55"
    request = MediaRequest(task=Task.TEXT_TO_IMAGE, prompt="once", idempotency_key=key)
    graphs = Graphs("comfyui", {})
    for client, expected, posted in (
        (f"polyroute-{key}", "its-own-id", []),
        ("somebody-else", "a-new-id", ["/prompt"]),
    ):
        wire = OlderServer(client, over=over)
        handle = await graphs.submit(request, "model", wire)  # type: ignore[arg-type] # as much of a wire as is used
        assert (handle.id, wire.posted) == (expected, posted)
