"""Luma's two APIs as callers meet them, over the sandbox."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from polyroute.catalog.build import build_catalog
from polyroute.catalog.inputs import CatalogInput
from polyroute.catalog.rows import load_rows
from polyroute.ports import Queued
from polyroute.providers.media.registry import build_media_adapter
from polyroute.types.errors import AttemptFailed, ErrorKind, PolyrouteError
from polyroute.types.media import Handle, MediaInput, MediaRequest, Outcome, Task
from support.media_files import PNG, mp4
from support.media_gateway import SHARED, MediaGateway, media_gateway
from support.media_work import ask, content_of, given, probe, wire_of
from support.replayed_wire import ReplayedWire

pytestmark = pytest.mark.asyncio(loop_scope="module")

IMAGE, VIDEO = given("image", PNG, "image/png"), given("video", mp4(), "video/mp4")
FIRST, LAST = {**IMAGE, "role": "first_frame"}, {**IMAGE, "role": "last_frame"}
REFERENCE = {**IMAGE, "role": "reference"}
FAR = {"role": "image", "url": "https://files.example/a.png"}
FAR_FILM = {"role": "video", "url": "https://files.example/a.mp4"}
ROWS = build_catalog(load_rows(), CatalogInput(), {}, sandbox_url="http://127.0.0.1:1").providers
AGENTS, DREAMS = "luma", "luma_dream_machine"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[MediaGateway]:
    """One gateway for all of them."""
    async with media_gateway(tmp_path_factory.mktemp("luma"), SHARED) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def gateway(house: MediaGateway) -> MediaGateway:
    """With a sandbox that has seen nothing yet."""
    await house.fresh()
    return house


async def ordered(provider: str, task: str, model: str, **asked: Any) -> tuple[str, dict[str, Any]]:
    """Path and body of the order that a request becomes."""
    wire = ReplayedWire({"response": {"status": 201, "body_json": {"id": "g1", "state": "queued"}}})
    inputs = tuple(MediaInput(**one) for one in asked.pop("inputs", ()))
    request = MediaRequest(task=Task(task), inputs=inputs, **asked)
    adapter = build_media_adapter(ROWS[provider])
    maker = None if adapter is None else adapter.maker(request.task, model)
    assert isinstance(maker, Queued)
    await maker.submit(maker.fit(request, model).request, model, wire)
    return wire.asked[0].path, wire.asked[0].json


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


async def test_a_film_of_ten_seconds_has_its_frames_pinned(gateway: MediaGateway) -> None:
    frames = [{**FAR, "role": "first_frame"}, {**FAR, "role": "last_frame"}]
    _, body = await ordered(AGENTS, "image_to_video", "ray-3.2", prompt="x", duration=8, loop=True, inputs=frames)
    reference = {"url": FAR["url"]}
    assert body == {
        "type": "video", "model": "ray-3.2", "prompt": "x",
        "video": {"duration": "10s", "keyframes": [reference, reference], "keyframe_indexes": [0, 240]},
    }  # fmt: skip
    work = await ask(gateway, "luma/ray-3.2", "text_to_video", prompt="x", duration=8, loop=True, resolution="360p")
    assert (work.dropped, work.made["notes"]) == (["loop"], ["duration 8 became 10"])
    assert work.made["usage"]["video_seconds"] == 10


async def test_references_are_addresses_bytes_or_uploaded_files(
    gateway: MediaGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, body = await ordered(AGENTS, "image_to_image", "uni-1", prompt="x", inputs=[FAR, IMAGE])
    assert body["source"] == {"url": FAR["url"]}
    assert (body["image_ref"][0]["media_type"], set(body["image_ref"][0])) == ("image/png", {"data", "media_type"})
    _, body = await ordered(AGENTS, "video_to_video", "ray-3.2", prompt="x", strength=0.99, inputs=[FAR_FILM])
    assert body["source"] == {"url": FAR_FILM["url"], "media_type": "video/mp4"}
    assert body["video"]["edit"]["strength"] == "reimagine_3"
    monkeypatch.setattr("polyroute.providers.media.luma._LARGEST_INLINE", 10)
    _, body = await sent(gateway, AGENTS, "video_to_video", "ray-3.2", prompt="x", inputs=[VIDEO])
    assert set(body["source"]) == {"file_id"}
    put = next(row for row in await gateway.seen("luma") if row["method"] == "PUT")
    assert "authorization" not in {name.lower() for name in put["headers"]}


async def test_options_lie_over_the_order_object_by_object(gateway: MediaGateway) -> None:
    earlier = await ask(gateway, "luma/ray-3.2", "text_to_video", prompt="x", resolution="360p")
    assert earlier.artifact["size"] > 0
    [job] = await gateway.jobs(AGENTS)
    more = {"luma": {"video": {"start_frame": {"generation_id": job["id"]}}, "user_id": "u1"}}
    _, body = await sent(gateway, AGENTS, "text_to_video", "ray-3.2", prompt="on", resolution="360p", options=more)
    assert body["video"] == {"resolution": "360p", "start_frame": {"generation_id": job["id"]}}
    assert body["user_id"] == "u1"


async def test_dream_machine_is_asked_in_its_own_words(gateway: MediaGateway) -> None:
    frames = [{**FAR, "role": "first_frame"}]
    path, body = await ordered(
        DREAMS, "image_to_video", "ray-2", prompt="x", duration=9, resolution="1080p", camera="orbit_left",
        inputs=frames,
    )  # fmt: skip
    assert (path, body) == (
        "/generations/video",
        {
            "model": "ray-2", "generation_type": "video", "prompt": "x", "duration": "9s", "resolution": "1080p",
            "concepts": [{"key": "orbit_left"}], "keyframes": {"frame0": {"type": "image", "url": FAR["url"]}},
        },
    )  # fmt: skip
    path, body = await ordered(DREAMS, "image_to_image", "photon-1", prompt="x", strength=0.3, inputs=[FAR])
    assert (path, body["modify_image_ref"]) == ("/generations/image", {"url": FAR["url"], "weight": 0.7})
    path, body = await ordered(DREAMS, "video_to_video", "ray-2", inputs=[FAR_FILM])
    assert (path, body["mode"], body["media"]) == ("/generations/video/modify", "flex_2", {"url": FAR_FILM["url"]})
    with pytest.raises(AttemptFailed) as refused:
        await sent(gateway, DREAMS, "image_to_image", "photon-1", prompt="x", inputs=[IMAGE])
    assert (refused.value.failure.kind, refused.value.failure.param) == (ErrorKind.UNSUPPORTED, "image")


async def test_what_luma_made_is_made_larger_and_gets_sound(gateway: MediaGateway) -> None:
    await ask(gateway, "luma_dream_machine/ray-2", "text_to_video", prompt="a sea", resolution="540p")
    [film] = await gateway.jobs(DREAMS)
    own = {"luma_dream_machine": {"generation_id": film["id"]}}
    larger = await ask(
        gateway, "luma_dream_machine/ray-2", "upscale_video", resolution="1080p", inputs=[VIDEO], options=own
    )
    assert (larger.artifact["height"], larger.dropped) == (1080, [])
    loud = await ask(
        gateway, "luma_dream_machine/ray-2/audio", "video_to_video", prompt="waves", inputs=[VIDEO], options=own
    )
    told = probe(await content_of(gateway, loud))
    assert not told or {one["codec_type"] for one in told["streams"]} == {"video", "audio"}
    paths = [row["path"].rpartition("/")[2] for row in await gateway.seen(DREAMS) if row["method"] == "POST"]
    assert paths == ["video", "upscale", "audio"]
    with pytest.raises(PolyrouteError) as unnamed:
        await ask(gateway, "luma_dream_machine/ray-2", "upscale_video", inputs=[VIDEO])
    assert (unnamed.value.kind, unnamed.value.param) == (ErrorKind.UNSUPPORTED, "video")


async def test_a_result_is_fetched_from_the_address_of_a_later_look(gateway: MediaGateway) -> None:
    await gateway.fail(AGENTS, "expired_url", times=1)
    work = await ask(gateway, "luma/uni-1", "text_to_image", prompt="x")
    assert work.artifact["size"] > 0
    [job] = await gateway.jobs(AGENTS)
    assert job["downloads"] == 2


@pytest.mark.parametrize(("model", "provider"), [("luma/uni-1", AGENTS), ("luma_dream_machine/photon-1", DREAMS)])
@pytest.mark.parametrize(
    ("told", "kind"),
    [
        ({"kind": "moderation"}, ErrorKind.CONTENT_FILTERED),
        ({"kind": "content_filter"}, ErrorKind.CONTENT_FILTERED),
        ({"kind": "invalid_key"}, ErrorKind.CREDENTIAL_REJECTED),
        ({"kind": "quota"}, ErrorKind.QUOTA_EXHAUSTED),
        ({"kind": "status", "status": 429, "retry_after": "0.1"}, ErrorKind.RATE_LIMITED),
        ({"kind": "status", "status": 503}, ErrorKind.UNAVAILABLE),
        ({"kind": "job_failed"}, ErrorKind.GENERATION_FAILED),
        ({"kind": "lost_after_acceptance"}, ErrorKind.UNKNOWN_OUTCOME),
        ({"kind": "wrong_media_type"}, ErrorKind.BAD_RESPONSE),
    ],
)
async def test_what_goes_wrong_is_told_apart(
    gateway: MediaGateway, model: str, provider: str, told: dict[str, Any], kind: ErrorKind
) -> None:
    await gateway.control(provider, operation="image", faults=[told])
    with pytest.raises(PolyrouteError) as failed:
        await ask(gateway, model, "text_to_image", prompt="x")
    assert ({one.kind for one in failed.value.attempts} or {failed.value.kind}) == {kind}


async def test_a_failed_generation_is_told_by_its_code(gateway: MediaGateway) -> None:
    await gateway.fail(AGENTS, "job_failed", times=1, message="corrupt_input: the picture is broken")
    with pytest.raises(PolyrouteError) as failed:
        await ask(gateway, "luma/uni-1", "image_to_image", prompt="x", inputs=[IMAGE])
    assert (failed.value.kind, failed.value.param) == (ErrorKind.INVALID_REQUEST, "image")


async def test_a_wrong_field_is_told_in_our_words(gateway: MediaGateway) -> None:
    for model, options in (
        ("luma/ray-3.2", {"luma": {"video": {"duration": "7s"}}}),
        ("luma_dream_machine/ray-2", {"luma_dream_machine": {"duration": "7s"}}),
    ):
        with pytest.raises(PolyrouteError) as refused:
            await ask(gateway, model, "text_to_video", prompt="x", options=options)
        assert (refused.value.kind, refused.value.param) == (ErrorKind.INVALID_REQUEST, "duration")


@pytest.mark.parametrize("told", [{"kind": "status", "status": 503}, {"kind": "job_failed"}])
async def test_the_next_provider_serves_when_luma_does_not(gateway: MediaGateway, told: dict[str, Any]) -> None:
    await gateway.control(AGENTS, operation="image", faults=[told])
    answer = await gateway.image("luma/uni-1", polyroute={"fallbacks": ["luma_dream_machine/photon-1"]})
    assert answer.headers["x-polyroute-provider"] == DREAMS


@pytest.mark.parametrize(("provider", "model"), [(AGENTS, "uni-1"), (DREAMS, "photon-1")])
async def test_work_that_the_provider_does_not_know_at_first_is_waited_for(
    gateway: MediaGateway, provider: str, model: str
) -> None:
    await gateway.fail(provider, "missing_at_first", polls=1, times=1)
    assert (await ask(gateway, f"{provider}/{model}", "text_to_image", prompt="x")).artifact["size"] > 0


async def test_a_picture_that_is_asked_for_at_once_is_there_at_once(gateway: MediaGateway) -> None:
    adapter, wire = wire_of(gateway, DREAMS)
    request = MediaRequest(task=Task.TEXT_TO_IMAGE, prompt="x", options={DREAMS: {"sync": True}})
    outcome = await adapter.maker(request.task, "photon-1").submit(request, "photon-1", wire)
    assert isinstance(outcome, Outcome)
    assert outcome.usage.images == 1


async def test_the_cost_of_luma_is_unknown_and_what_was_made_is_counted(gateway: MediaGateway) -> None:
    answer = await gateway.image("luma/uni-1", size="1024x1024")
    entry = await gateway.entry(answer)
    assert (entry["actual_provider"], entry["images"], entry["cost_usd"]) == (AGENTS, 1, None)
