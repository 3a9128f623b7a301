"""Runway as callers meet it, over the sandbox."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from polyroute.catalog.build import build_catalog
from polyroute.catalog.inputs import CatalogInput
from polyroute.catalog.rows import load_rows
from polyroute.ports import Timeouts, WireRequest, WireResponse
from polyroute.providers.media.runway import RunwayMedia
from polyroute.types.errors import AttemptFailed, ErrorKind, Failure, PolyrouteError
from polyroute.types.media import Handle, MediaInput, MediaRequest, Outcome, Progress, Task
from support.media_files import PNG, mp4, wav
from support.media_gateway import SHARED, MediaGateway, media_gateway
from support.media_work import ask, given, wire_of
from support.replayed_wire import ReplayedWire

pytestmark = pytest.mark.asyncio(loop_scope="module")

IMAGE, VIDEO = given("image", PNG, "image/png"), given("video", mp4(), "video/mp4")
FIRST, LAST = {**IMAGE, "role": "first_frame"}, {**IMAGE, "role": "last_frame"}
REFERENCE, SOUND = {**IMAGE, "role": "reference"}, given("audio", wav(1), "audio/wav")
VOICE = {**SOUND, "role": "reference_audio"}
FAR, FAR_FILM = "https://files.example/a.png", "https://files.example/a.mp4"
ROW = build_catalog(load_rows(), CatalogInput(), {}, sandbox_url="http://127.0.0.1:1").providers["runway"]
PICTURE, FILM = "runway/gen4_image", "runway/gen4.5"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[MediaGateway]:
    """One gateway for all of them."""
    async with media_gateway(tmp_path_factory.mktemp("runway"), SHARED) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def gateway(house: MediaGateway) -> MediaGateway:
    """With a sandbox that has seen nothing yet."""
    await house.fresh()
    return house


async def ordered(task: str, model: str, **asked: Any) -> tuple[str, dict[str, Any]]:
    """Path and body of the order that a request becomes."""
    wire = ReplayedWire({"response": {"status": 200, "body_json": {"id": "t1"}}})
    inputs = tuple(MediaInput(**one) for one in asked.pop("inputs", ()))
    request = MediaRequest(task=Task(task), inputs=inputs, **asked)
    maker = RunwayMedia(ROW).maker(request.task, model)
    assert maker is not None
    await maker.submit(maker.fit(request, model).request, model, wire)
    return wire.asked[0].path, wire.asked[0].json


async def sent(gateway: MediaGateway, task: str, model: str, **asked: Any) -> tuple[str, dict[str, Any]]:
    """Path and body of the order that a request becomes, as the sandbox accepted it."""
    adapter, wire = wire_of(gateway, "runway")
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
    assert isinstance(await maker.submit(maker.fit(request, model).request, model, wire), Handle)
    return orders[0]


@pytest.mark.parametrize(
    ("model", "task", "asked", "kind"),
    [
        (
            "gen4.5",
            "text_to_video",
            {"duration": 2, "aspect_ratio": "9:16", "seed": 3, "moderation": "low"},
            "video/mp4",
        ),
        ("gen4.5", "image_to_video", {"inputs": [FIRST], "duration": 2, "aspect_ratio": "1:1"}, "video/mp4"),
        ("gen4_turbo", "image_to_video", {"inputs": [FIRST], "duration": 2}, "video/mp4"),
        ("veo3.1_fast", "image_to_video", {"inputs": [FIRST, LAST], "duration": 4, "sound": True}, "video/mp4"),
        ("seedance2_fast", "text_to_video", {"inputs": [REFERENCE], "duration": 4, "resolution": "480p"}, "video/mp4"),
        ("hailuo3", "text_to_video", {"aspect_ratio": "16:9", "resolution": "768p", "duration": 3}, "video/mp4"),
        ("wan3", "image_to_video", {"inputs": [FIRST], "resolution": "480p", "duration": 2}, "video/mp4"),
        ("kling2.5_turbo_pro", "text_to_video", {"guidance": 0.5, "resolution": "720p"}, "video/mp4"),
        ("aleph2", "video_to_video", {"inputs": [VIDEO], "seed": 1}, "video/mp4"),
        ("seedance2_mini", "video_to_video", {"inputs": [VIDEO], "duration": 4, "resolution": "480p"}, "video/mp4"),
        ("act_two", "animate", {"inputs": [IMAGE, VIDEO]}, "video/mp4"),
        ("magnific_video_upscaler_creative", "upscale_video", {"inputs": [VIDEO], "resolution": "720p"}, "video/mp4"),
        ("enhance_frame_rate", "upscale_video", {"inputs": [VIDEO], "fps": 30}, "video/mp4"),
        ("gen4_image", "text_to_image", {"aspect_ratio": "1:1", "seed": 7}, "image/png"),
        ("gen4_image_turbo", "image_to_image", {"inputs": [IMAGE, REFERENCE], "aspect_ratio": "16:9"}, "image/png"),
        ("seedream5_pro", "text_to_image", {"n": 2, "format": "jpeg", "resolution": "1K"}, "image/jpeg"),
        ("magnific_precision_upscaler_v2", "upscale_image", {"inputs": [IMAGE], "scale": 2}, "image/png"),
        ("eleven_multilingual_v2", "speech", {"voice": "Rachel", "format": "mp3"}, "audio/mpeg"),
        ("eleven_v3", "speech", {"voice": "Kirk", "speed": 1.1, "language": "en", "seed": 1}, "audio/mpeg"),
        ("seed_audio", "speech", {"inputs": [VOICE], "format": "wav", "sample_rate": 24000}, "audio/"),
        ("eleven_text_to_sound_v2", "sound_effect", {"duration": 1.5, "loop": True}, "audio/mpeg"),
        ("mirelo_sfx_2_0", "sound_effect", {"duration": 2, "format": "wav", "n": 2, "negative_prompt": "x"}, "audio/"),
    ],
)
async def test_every_task(gateway: MediaGateway, model: str, task: str, asked: dict[str, Any], kind: str) -> None:
    wordless = {} if task.startswith(("upscale", "animate")) else {"prompt": "a red fox"}
    work = await ask(gateway, f"runway/{model}", task, **wordless, **asked)
    assert work.dropped == []
    assert work.artifact["media_type"].startswith(kind)
    assert len(work.made["artifacts"]) == asked.get("n", 1)
    assert work.made["usage"]["reported_credits"]
    if "duration" in asked:
        assert work.artifact["duration_s"] == pytest.approx(asked["duration"], abs=0.2)
    if "aspect_ratio" in asked:
        width, _, height = asked["aspect_ratio"].partition(":")
        shape = work.artifact["width"] / work.artifact["height"]
        assert shape == pytest.approx(int(width) / int(height), rel=0.03)


@pytest.mark.parametrize(
    ("model", "task", "asked", "path", "told"),
    [
        (
            "eleven_multilingual_sts_v2", "speech", {"inputs": [SOUND], "voice": "Maya"}, "/v1/speech_to_speech",
            {"voice": {"type": "runway-preset", "presetId": "Maya"}},
        ),
        (
            "eleven_voice_dubbing", "speech", {"inputs": [SOUND], "language": "es", "speakers": 2}, "/v1/voice_dubbing",
            {"targetLang": "es", "numSpeakers": 2},
        ),
        ("eleven_voice_isolation", "speech", {"inputs": [SOUND]}, "/v1/voice_isolation", {}),
        ("mirelo_sfx_2_0", "sound_effect", {"inputs": [VIDEO], "duration": 2}, "/v1/video_to_audio", {"duration": 2}),
    ],
)  # fmt: skip
async def test_recordings_and_films_are_worked_on_without_words(
    gateway: MediaGateway, model: str, task: str, asked: dict[str, Any], path: str, told: dict[str, Any]
) -> None:
    body = {"model": f"runway/{model}", "task": task, "inputs": asked["inputs"], "async": False}
    body |= {name: value for name, value in asked.items() if name != "inputs"}
    job = (await gateway.post("/v1/jobs", json=body)).json()
    assert job["artifacts"][0]["media_type"].startswith("audio/")
    found, order = await sent(gateway, task, model, **asked)
    assert found == path
    assert {name: order[name] for name in told} == told


async def test_orders_are_in_its_own_words() -> None:
    frame = {"role": "first_frame", "url": FAR}
    assert await ordered(
        "image_to_video", "gen4.5", prompt="slow dolly in", duration=5, width=1280, height=720, inputs=[frame]
    ) == (
        "/v1/image_to_video",
        {
            "model": "gen4.5", "promptText": "slow dolly in", "ratio": "1280:720", "duration": 5,
            "promptImage": [{"uri": FAR, "position": "first"}],
        },
    )  # fmt: skip
    film = {"role": "video", "url": FAR_FILM}
    _, body = await ordered("video_to_video", "aleph2", prompt="snow", aspect_ratio="9:16", inputs=[film])
    assert body == {"model": "aleph2", "promptText": "snow", "targetAspectRatio": "9:16", "videoUri": FAR_FILM}
    _, body = await ordered("animate", "act_two", inputs=[{"role": "image", "url": FAR}, film])
    assert body == {
        "model": "act_two", "character": {"type": "image", "uri": FAR}, "reference": {"type": "video", "uri": FAR_FILM},
    }  # fmt: skip
    references = [{"role": "image", "url": FAR}, {"role": "reference", "url": FAR}]
    _, body = await ordered("image_to_image", "gen4_image", prompt="x", inputs=references)
    assert (body["referenceImages"], body["ratio"]) == ([{"uri": FAR}, {"uri": FAR}], "1920:1080")


@pytest.mark.parametrize(
    ("model", "asked", "ratio", "notes"),
    [
        ("gen4.5", {}, "1280:720", []),
        ("gen4.5", {"aspect_ratio": "3:2"}, "1280:720", ["aspect_ratio 3:2 became 1280:720"]),
        ("veo3.1", {"aspect_ratio": "16:9", "resolution": "1080p"}, "1920:1080", []),
        ("veo3.1", {"width": 720, "height": 1280}, "720:1280", []),
        ("seedance2", {"aspect_ratio": "4:3", "resolution": "1080p"}, "1664:1248", []),
        ("seedance2", {}, None, []),
        ("seedance2_fast", {"width": 1000, "height": 1000}, "960:960", ["size 1000x1000 became 960x960"]),
    ],
)
async def test_sizes_are_the_nearest_that_a_model_has(
    gateway: MediaGateway, model: str, asked: dict[str, Any], ratio: str | None, notes: list[str]
) -> None:
    adapter, _ = wire_of(gateway, "runway")
    request = MediaRequest(task=Task.TEXT_TO_VIDEO, prompt="x", duration=4, **asked)
    fitted = adapter.maker(request.task, model).fit(request, model)
    assert (fitted.dropped, list(fitted.notes)) == ((), notes)
    _, body = await sent(gateway, "text_to_video", model, prompt="x", duration=4, **asked)
    assert body.get("ratio") == ratio


async def test_what_it_cannot_do_is_told_or_refused(gateway: MediaGateway) -> None:
    work = await ask(
        gateway, FILM, "text_to_video", prompt="x", duration=1, negative_prompt="rain", resolution="huge", fps=30
    )
    assert set(work.dropped) == {"negative_prompt", "resolution", "fps"}
    assert "duration 1 became 2" in work.made["notes"]
    for fields, param in (
        ({"prompt": "x" * 1001}, "prompt"),
        ({"prompt": "x", "inputs": [SOUND]}, "audio"),
        ({"prompt": "x", "duration": 30}, "duration"),
        ({"prompt": "x", "resolution": "1080p"}, "resolution"),
        ({"prompt": "x", "aspect_ratio": "1:1"}, "aspect_ratio"),
        ({"prompt": "x", "width": 4000, "height": 2250}, "width"),
    ):
        with pytest.raises(PolyrouteError) as refused:
            await ask(gateway, FILM, "text_to_video", **fields)
        assert (refused.value.kind, refused.value.param) == (ErrorKind.UNSUPPORTED, param)
    speech = await ask(gateway, "runway/eleven_multilingual_v2", "speech", prompt="hello", voice="alloy")
    assert "voice alloy became Maya" in speech.made["notes"]


async def test_what_is_large_is_uploaded_without_the_credential(
    gateway: MediaGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polyroute.providers.media.runway._LARGEST_DATA_URI", 100)
    _, body = await sent(gateway, "video_to_video", "aleph2", prompt="snow", inputs=[VIDEO])
    assert body["videoUri"].startswith("runway://")
    put = next(row for row in await gateway.seen("runway") if row["path"].endswith("/put"))
    assert "authorization" not in {name.lower() for name in put["headers"]}


async def test_files_may_be_put_elsewhere_but_without_the_credential(
    gateway: MediaGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[WireRequest] = []

    class Storage:
        async def send(self, request: WireRequest, timeouts: Timeouts, deadline: float) -> WireResponse:
            seen.append(request)
            raise AttemptFailed(Failure(kind=ErrorKind.INVALID_REQUEST, message="taken note of", http_status=400))

    _, wire = wire_of(gateway, "runway")
    monkeypatch.setattr(wire, "_transport", Storage())
    elsewhere = "https://bucket.s3.amazonaws.com/put"
    asked = [
        (elsewhere, True),
        (elsewhere, False),
        ("https://files.example/put", True),
        ("http://x.amazonaws.com/", True),
    ]
    for url, anonymous in asked:
        with pytest.raises(AttemptFailed) as failed:
            await wire.call("POST", url, body=b"x", anonymous=anonymous)
        refused = failed.value.failure.kind is ErrorKind.BAD_RESPONSE
        assert refused == ((url, anonymous) != (elsewhere, True))
    [request] = seen
    assert b"authorization" not in dict(request.headers)


async def test_a_task_waits_is_throttled_runs_and_says_what_it_took(gateway: MediaGateway) -> None:
    await gateway.control("runway", job_seconds=100)
    adapter, wire = wire_of(gateway, "runway")
    request = MediaRequest(task=Task.TEXT_TO_VIDEO, prompt="x", duration=5)
    maker = adapter.maker(request.task, "gen4.5")
    handle = await maker.submit(request, "gen4.5", wire)
    seen = []
    for seconds in (5, 10, 50):
        await gateway.control("runway", advance=seconds)
        seen.append(await maker.poll(handle, wire))
    assert seen == [Progress(state="queued"), Progress(state="queued"), Progress(state="running", percent=65.0)]
    await gateway.control("runway", advance=50)
    first, second = await maker.poll(handle, wire), await maker.poll(handle, wire)
    assert isinstance(first, Outcome)
    assert isinstance(second, Outcome)
    assert first.produced != second.produced
    assert (first.usage.reported_credits, first.usage.video_seconds, first.usage.video_size) == (60, 5, "720p")


async def test_a_task_that_was_cancelled_is_no_result(gateway: MediaGateway) -> None:
    await gateway.control("runway", job_seconds=100)
    adapter, wire = wire_of(gateway, "runway")
    request = MediaRequest(task=Task.TEXT_TO_IMAGE, prompt="x")
    maker = adapter.maker(request.task, "gen4_image")
    handle = await maker.submit(request, "gen4_image", wire)
    await maker.cancel(handle, wire)
    [job] = await gateway.jobs("runway")
    assert (job["state"], job["charged"]) == ("canceled", 0)
    with pytest.raises(AttemptFailed) as ended:
        await maker.poll(handle, wire)
    assert ended.value.failure.kind is ErrorKind.GENERATION_FAILED
    await maker.cancel(Handle(id="nothing"), wire)


async def test_credits_are_money_in_the_ledger(gateway: MediaGateway) -> None:
    answer = await gateway.image(PICTURE)
    entry = await gateway.entry(answer)
    assert (entry["actual_provider"], entry["images"], entry["reported_credits"]) == ("runway", 1, pytest.approx(5))
    assert entry["cost_usd"] == pytest.approx(0.05)


async def test_a_result_is_fetched_from_the_address_of_a_later_look(gateway: MediaGateway) -> None:
    await gateway.fail("runway", "expired_url", times=1)
    assert (await ask(gateway, PICTURE, "text_to_image", prompt="x")).artifact["size"] > 0


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
        ({"kind": "job_failed", "message": "INPUT_PREPROCESSING.SAFETY.TEXT"}, ErrorKind.CONTENT_FILTERED),
        ({"kind": "job_failed", "message": "INPUT_PREPROCESSING.INTERNAL"}, ErrorKind.GENERATION_FAILED),
        ({"kind": "job_failed", "message": "ASSET.INVALID"}, ErrorKind.INVALID_REQUEST),
        ({"kind": "lost_after_acceptance"}, ErrorKind.UNKNOWN_OUTCOME),
        ({"kind": "wrong_media_type"}, ErrorKind.BAD_RESPONSE),
    ],
)
async def test_what_goes_wrong_is_told_apart(gateway: MediaGateway, told: dict[str, Any], kind: ErrorKind) -> None:
    await gateway.control("runway", operation="image", faults=[told])
    with pytest.raises(PolyrouteError) as failed:
        await ask(gateway, PICTURE, "text_to_image", prompt="x")
    assert ({one.kind for one in failed.value.attempts} or {failed.value.kind}) == {kind}


@pytest.mark.parametrize(
    ("options", "param"),
    [({"duration": 30}, "duration"), ({"ratio": "wide"}, "aspect_ratio"), ({"promptText": ""}, "prompt")],
)
async def test_a_wrong_field_is_told_in_our_words(gateway: MediaGateway, options: dict[str, Any], param: str) -> None:
    with pytest.raises(PolyrouteError) as refused:
        await ask(gateway, FILM, "text_to_video", prompt="x", options={"runway": options})
    assert (refused.value.kind, refused.value.param) == (ErrorKind.INVALID_REQUEST, param)


async def test_issues_name_the_field(gateway: MediaGateway) -> None:
    adapter, _ = wire_of(gateway, "runway")
    body = b'{"error":"Validation of body failed","issues":[{"path":["contentModeration"],"message":"Invalid"}]}'
    failure = adapter.classify(400, [], body)
    assert (failure.kind, failure.param) == (ErrorKind.INVALID_REQUEST, "moderation")
    assert adapter.classify(401, [], b"{}") is None
    assert adapter.classify(400, [], b"no json").kind is ErrorKind.INVALID_REQUEST


@pytest.mark.parametrize("told", [{"kind": "status", "status": 503}, {"kind": "job_failed"}])
async def test_the_next_provider_serves_when_runway_does_not(gateway: MediaGateway, told: dict[str, Any]) -> None:
    await gateway.control("runway", operation="image", faults=[told])
    answer = await gateway.image(PICTURE, polyroute={"fallbacks": ["luma/uni-1"]})
    assert answer.headers["x-polyroute-provider"] == "luma"


async def test_work_that_the_provider_does_not_know_at_first_is_waited_for(gateway: MediaGateway) -> None:
    await gateway.fail("runway", "missing_at_first", polls=1, times=1)
    assert (await ask(gateway, PICTURE, "text_to_image", prompt="x")).artifact["size"] > 0


async def test_its_voices_are_listed_and_speak_over_openais_path(gateway: MediaGateway) -> None:
    listed = (await gateway.http.get("/v1/voices?provider=runway")).json()
    assert {"Maya", "Rachel"} <= {one["id"] for one in listed["data"]}
    body = {"model": "runway/eleven_multilingual_v2", "input": "Good morning.", "voice": "Rachel"}
    answer = await gateway.post("/v1/audio/speech", json=body)
    assert answer.headers["content-type"].startswith("audio/")
