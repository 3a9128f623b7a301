"""Films in OpenAI's form: at servers that speak it, and for callers who do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.media import MediaInput, Task
from support.media_files import mp4, png
from support.media_gateway import MediaGateway, media_gateway
from support.media_making import data_uri, make

FILM = MediaInput(role="video", url=data_uri(mp4(2.0), "video/mp4"))
FRAME = MediaInput(role="first_frame", url=data_uri(png(64, 36), "image/png"))


@pytest.fixture
async def studio(tmp_path: Path) -> AsyncIterator[MediaGateway]:
    """With a server of one's own that makes films as OpenAI did."""
    inner, outer = tmp_path / "inner", tmp_path / "outer"
    inner.mkdir()
    outer.mkdir()
    async with media_gateway(outer) as provider:
        url = f"{str(provider.sandbox.base_url).rstrip('/')}/openai/v1"
        entry = {"adapter": "openai_compatible", "base_url": url, "serves": ["video"], "api_key": "sk-x"}
        routes = {"video": {"operation": "video", "targets": ["studio/sora-2"]}}
        async with media_gateway(inner, {"providers": {"studio": entry}, "routes": routes}) as gateway:
            gateway.sandbox = provider.sandbox
            await gateway.control("*", job_seconds=0.05)
            yield gateway


async def posts(gateway: MediaGateway, provider: str) -> list[dict[str, Any]]:
    return [row for row in await gateway.seen(provider) if row["method"] == "POST"]


async def test_a_film_from_words(studio: MediaGateway) -> None:
    result = await make(
        studio, Task.TEXT_TO_VIDEO, "studio/sora-2", prompt="a red fox", duration=5, aspect_ratio="9:16"
    )
    [artifact] = result.made.artifacts
    assert (artifact.media_type, artifact.width, artifact.height) == ("video/mp4", 720, 1280)
    assert result.made.notes == ("duration 5 became 8",)
    assert (await posts(studio, "openai"))[0]["body"]["seconds"] == "8"


async def test_a_film_from_a_picture(studio: MediaGateway) -> None:
    result = await make(studio, Task.IMAGE_TO_VIDEO, "studio/sora-2", prompt="it runs", inputs=(FRAME,))
    assert result.made.artifacts[0].family == "video"


async def test_a_film_of_others_is_sent_to_be_edited(studio: MediaGateway) -> None:
    result = await make(studio, Task.VIDEO_TO_VIDEO, "studio/sora-2", prompt="at night", inputs=(FILM,))
    assert result.made.artifacts[0].family == "video"
    assert (await posts(studio, "openai"))[0]["path"].endswith("/videos/edits")


@pytest.mark.parametrize(
    ("fault", "kind"),
    [("moderation", ErrorKind.CONTENT_FILTERED), ("job_failed", ErrorKind.GENERATION_FAILED)],
)
async def test_how_a_film_fails(studio: MediaGateway, fault: str, kind: ErrorKind) -> None:
    await studio.fail("openai", fault)
    with pytest.raises(PolyrouteError) as caught:
        await make(studio, Task.TEXT_TO_VIDEO, "studio/sora-2", prompt="a red fox")
    assert kind in [attempt.kind for attempt in caught.value.attempts]


async def completed(gateway: MediaGateway, video: dict[str, Any]) -> dict[str, Any]:
    async with asyncio.timeout(15):
        while video["status"] in ("queued", "in_progress"):
            await asyncio.sleep(0.02)
            video = (await gateway.http.get(f"/v1/videos/{video['id']}")).json()
    assert video["status"] == "completed", video
    return video


async def test_a_remix_names_the_film_that_the_provider_made(studio: MediaGateway) -> None:
    made = await completed(studio, (await studio.post("/v1/videos", json={"prompt": "a red fox"})).json())
    remix = (await studio.post(f"/v1/videos/{made['id']}/remix", json={"prompt": "in blue"})).json()
    assert (await completed(studio, remix))["remixed_from_video_id"] == made["id"]
    last = (await posts(studio, "openai"))[-1]
    theirs = (await studio.jobs("openai"))[0]["id"]
    assert last["path"].endswith(f"/videos/{theirs}/remix")
    assert last["body"] == {"prompt": "in blue"}


async def test_edits_of_a_film_made_here_and_of_one_that_is_sent(studio: MediaGateway) -> None:
    made = await completed(studio, (await studio.post("/v1/videos", json={"prompt": "a red fox"})).json())
    body = {"prompt": "in blue", "video": {"id": made["id"]}}
    edit = (await studio.post("/v1/videos/edits", json=body)).json()
    assert (await completed(studio, edit))["remixed_from_video_id"] == made["id"]
    files = {"video": ("film.mp4", mp4(2.0), "video/mp4")}
    edit = (await studio.post("/v1/videos/edits", files=files, data={"prompt": "in green"})).json()
    assert (await completed(studio, edit))["remixed_from_video_id"] is None
    assert (await posts(studio, "openai"))[-1]["path"].endswith("/videos/edits")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"prompt": "in blue"}, "video"), ({"prompt": "in blue", "video": "video_1"}, "video"),
        ({"prompt": "in blue", "video": {"id": "video_none"}}, "id"),
    ],
)  # fmt: skip
async def test_what_cannot_be_edited_is_named(studio: MediaGateway, body: dict[str, Any], param: str) -> None:
    answer = await studio.http.post("/v1/videos/edits", json=body)
    assert answer.status_code in (400, 404)
    assert answer.json()["error"]["param"] == param
    assert await studio.jobs("openai") == []


async def test_aihubmix_changes_the_films_that_it_made_and_no_others(gateway: MediaGateway) -> None:
    video = {"model": "aihubmix/sora-2", "prompt": "a red fox", "seconds": "4"}
    made = await completed(gateway, (await gateway.post("/v1/videos", json=video)).json())
    remix = (await gateway.post(f"/v1/videos/{made['id']}/remix", json={"prompt": "in blue"})).json()
    await completed(gateway, remix)
    assert (await posts(gateway, "aihubmix"))[-1]["path"].endswith("/remix")
    with pytest.raises(PolyrouteError) as caught:
        await make(gateway, Task.VIDEO_TO_VIDEO, "aihubmix/sora-2", prompt="at night", inputs=(FILM,))
    assert caught.value.param == "video"


async def test_who_made_an_input_cannot_be_claimed(studio: MediaGateway) -> None:
    for claim in (
        {"inputs": [{"role": "video", "url": FILM.url, "made_by": "studio/video_of_others"}]},
        {"video": {"url": FILM.url, "made_by": "studio/video_of_others"}},
    ):
        order = {"model": "video", "task": "video_to_video", "prompt": "at night", **claim}
        assert (await studio.post("/v1/jobs", 400, json=order)).json()["error"]["param"] in ("inputs", "video")
    assert await studio.jobs("openai") == []
