"""AUTOMATIC1111 as callers meet it, over the sandbox."""

from __future__ import annotations

import asyncio
import base64

import pytest

from polyroute.types.errors import PolyrouteError
from support.media_files import png
from support.media_gateway import MediaGateway
from support.own_vocabulary import Watched, ask_in_own_words, until_begun

MODEL = "automatic1111/default"
PICTURE = "data:image/png;base64," + base64.b64encode(png(64, 64)).decode()


async def test_it_draws_what_was_asked_for(gateway: MediaGateway) -> None:
    answer = await gateway.image(MODEL, size="512x768", n=2)
    pictures = [base64.b64decode(one["b64_json"]) for one in answer.json()["data"]]
    assert len(pictures) == 2
    assert pictures[0][16:24] == (512).to_bytes(4, "big") + (768).to_bytes(4, "big")
    [call] = [row for row in await gateway.seen("automatic1111") if row["path"].endswith("/txt2img")]
    assert call["method"] == "POST"


async def test_the_progress_of_a_call_that_blocks_is_told_and_grows(gateway: MediaGateway) -> None:
    await gateway.control("*", job_seconds=1.6)
    watched = Watched()
    request = {
        "task": "image_to_image",
        "prompt": "bluer",
        "inputs": [{"role": "image", "url": PICTURE}],
        "strength": 0.4,
    }
    made = await ask_in_own_words(gateway, MODEL, watched, **request)
    assert made["artifacts"][0]["media_type"] == "image/png"
    percents = [one.percent for one in watched.seen if one.percent is not None]
    assert percents == sorted(percents)
    assert percents
    [job] = await gateway.jobs("automatic1111")
    assert job["state"] == "succeeded"


async def test_it_enlarges(gateway: MediaGateway) -> None:
    request = {"task": "upscale_image", "inputs": [{"role": "image", "url": PICTURE}], "scale": 2}
    made = await ask_in_own_words(gateway, "automatic1111/Lanczos", **request)
    assert made["artifacts"][0]["width"] == 1024


async def test_who_stops_waiting_interrupts_it(gateway: MediaGateway) -> None:
    await gateway.control("*", job_seconds=30)
    asked = asyncio.create_task(ask_in_own_words(gateway, MODEL, task="text_to_image", prompt="slow"))
    await until_begun(gateway, "automatic1111")
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    [job] = await gateway.jobs("automatic1111")
    assert job["state"] == "canceled"


async def test_sizes_that_it_cannot_draw_are_named_and_not_sent(gateway: MediaGateway) -> None:
    with pytest.raises(PolyrouteError) as refused:
        await ask_in_own_words(gateway, MODEL, task="text_to_image", prompt="x", width=16, height=512)
    assert (refused.value.param, refused.value.status) == ("width", 400)
    assert not await gateway.jobs("automatic1111")


async def test_an_unknown_checkpoint_is_told_apart(gateway: MediaGateway) -> None:
    answer = await gateway.http.post(
        "/v1/images/generations", json={"model": "automatic1111/no-such-model", "prompt": "x", "size": "512x512"}
    )
    assert answer.status_code == 404
