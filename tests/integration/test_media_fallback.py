"""Every kind of media work when the provider that is asked first refuses it, keeps it waiting, fails it, or may have accepted
it: who does it then, what the file is, and what the ledger says of both."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import httpx
import pytest
import pytest_asyncio
from aiohttp import web

from polyroute.mediainfo.inspect import inspect_media
from polyroute.mediainfo.source import FileBytes
from polyroute.types.media import OPERATION_OF_TASK, Task
from support.film_clips import FFMPEG
from support.media_files import mp4, png, wav
from support.media_gateway import MediaGateway, media_gateway
from support.media_work import given

pytestmark = pytest.mark.asyncio(loop_scope="module")

PICTURE, SOUND = given("image", png(256, 256), "image/png"), given("audio", wav(2), "audio/wav")
FILM = given("video", mp4(), "video/mp4")
WORK: dict[str, dict[str, Any]] = {
    "text_to_image": {"prompt": "a fox"},
    "image_to_image": {"prompt": "in blue", "inputs": [PICTURE]},
    "edit_image": {"prompt": "with a hat", "inputs": [PICTURE, given("mask", png(256, 256), "image/png")]},
    "upscale_image": {"inputs": [PICTURE]},
    "remove_background": {"inputs": [PICTURE]},
    "text_to_video": {"prompt": "a fox runs"},
    "image_to_video": {"prompt": "it runs", "inputs": [{**PICTURE, "role": "first_frame"}]},
    "video_to_video": {"prompt": "in snow", "inputs": [FILM]},
    "animate": {"prompt": "she talks", "inputs": [PICTURE, SOUND]},
    "upscale_video": {"inputs": [FILM]},
    "speech": {"prompt": "The lamp is lit."},
    "clone_voice": {"voice_name": "mine", "inputs": [{**SOUND, "role": "reference_audio"}]},
    "transcribe": {"inputs": [SOUND]},
    "translate": {"inputs": [SOUND]},
    "music": {"prompt": "slow jazz"},
    "sound_effect": {"prompt": "a door"},
}


class Providers(NamedTuple):
    """Who refuses a task, keeps its caller waiting for the answer (where there is one that answers with the result), never
    ends it, fails it; and who does it then."""

    refuses: str
    silent: str | None
    stuck: str
    fails: str
    then: str


PROVIDERS: dict[str, Providers] = {
    "text_to_image": Providers("openrouter", "google", "fal", "kie", "runware"),
    "image_to_image": Providers("xai", "together", "kie", "fal", "replicate"),
    "edit_image": Providers("aihubmix", None, "fal", "piapi", "runware"),
    "upscale_image": Providers("aimlapi", None, "piapi", "kie", "replicate"),
    "remove_background": Providers("kie", None, "fal", "piapi", "replicate"),
    "text_to_video": Providers("google", None, "kie", "fal", "runpod"),
    "image_to_video": Providers("together", None, "piapi", "xai", "replicate"),
    "video_to_video": Providers("xai", None, "fal", "kie", "runware"),
    "animate": Providers("kie", None, "kie", "kie", "aimlapi"),
    "upscale_video": Providers("piapi", None, "fal", "piapi", "runware"),
    "speech": Providers("elevenlabs", "xai", "fal", "kie", "replicate"),
    "clone_voice": Providers("chatterbox", "chatterbox", "fal", "fal", "elevenlabs"),
    "transcribe": Providers("together", "google", "kie", "fal", "elevenlabs"),
    "translate": Providers("together", "together", "fal", "fal", "replicate"),
    "music": Providers("elevenlabs", "google", "kie", "piapi", "runware"),
    "sound_effect": Providers("elevenlabs", None, "kie", "fal", "runware"),
}
SILENT = [task for task, providers in PROVIDERS.items() if providers.silent]
UNREADABLE = ("empty", "garbage", "html", "in_band_error")


class Path(NamedTuple):
    """A call of OpenAI's paths: its route, who is asked first and then, and what is sent."""

    operation: str
    first: str
    then: str
    path: str
    asked: dict[str, Any]


CALLS = {
    "picture": Path(
        "image", "openrouter/google/gemini-3.1-flash-lite-image", "runware/runware:101@1", "/v1/images/generations",
        {"json": {"prompt": "a fox", "response_format": "url"}},
    ),
    "voice": Path(
        "speech", "xai/grok-tts", "elevenlabs/eleven_multilingual_v2", "/v1/audio/speech",
        {"json": {"input": "The lamp is lit.", "voice": "alloy"}},
    ),
    "words": Path(
        "transcription", "google/gemini-3.5-transcribe", "elevenlabs/scribe_v2", "/v1/audio/transcriptions",
        {"files": {"file": ("talk.wav", wav(2), "audio/wav")}},
    ),
}  # fmt: skip

REFUSALS: tuple[tuple[dict[str, Any], set[str]], ...] = (
    ({"kind": "status", "status": 429}, {"rate_limited"}),
    ({"kind": "status", "status": 503}, {"unavailable", "rate_limited"}),
    ({"kind": "invalid_key"}, {"credential_rejected"}),
)
TROUBLES: tuple[tuple[dict[str, Any], set[str]], ...] = (
    ({"kind": "status", "status": 503}, {"unavailable", "rate_limited"}),
    ({"kind": "hang", "seconds": 20}, {"timeout"}),
    ({"kind": "empty"}, {"bad_response"}),
)
QUICK = ("openrouter", "xai", "together", "google", "chatterbox")
PATIENT = {"retries": 0, "breaker": {"failures": 100_000, "minimum": 100_000}}
CONFIGURATION: dict[str, Any] = {
    "defaults": {
        **PATIENT,
        "bench": {"rejected": 0.001, "quota": 0.001, "rate_limited": 0.001, "longest": 0.001},
    },
    "routes": {name: {"operation": call.operation, "targets": [call.first, call.then]} for name, call in CALLS.items()},
    "providers": {name: {"timeouts": {"total": 0.3}} for name in ("fal", "kie", "piapi")}
    | {name: {"timeouts": {"headers": 0.2, "result": 0.2}} for name in QUICK},
}
"""Who is stuck gets 0.3 seconds, who is silent 0.2; who does the work then has all the time in the world."""


class House:
    """One gateway over one sandbox, and a composing service beside it that is told how to fail."""

    def __init__(self, gateway: MediaGateway, studio: Studio) -> None:
        self.gateway = gateway
        self.studio = studio

    def target(self, provider: str, task: str) -> str:
        """The model that a provider does a task with unless one is named."""
        row = self.gateway.app.gateway.runtime.providers[provider].row
        return f"{provider}/{row.media[Task(task)][0]}"

    async def job(self, task: str, first: str, then: str, **fields: Any) -> dict[str, Any]:
        """A job of `first`, with `then` to fall back on, when it has ended or is parked."""
        order = {
            "model": self.target(first, task), "task": task, "polyroute": {"fallbacks": [self.target(then, task)]}, **fields
        }  # fmt: skip
        answer = await self.gateway.http.post("/v1/jobs", json=order, headers={"prefer": "wait=20"})
        assert answer.status_code < 300, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def call(self, route: str, path: str, **asked: Any) -> httpx.Response:
        """A call of one of OpenAI's paths, answered."""
        body = {"json": {"model": route, **asked["json"]}} if "json" in asked else {**asked, "data": {"model": route}}
        answer = await self.gateway.http.post(path, **body)
        assert answer.status_code == 200, answer.text
        return answer

    async def check_ledger(self, identifier: str, first: str, then: str, kinds: set[str]) -> None:
        """The ledger has both attempts: the first failed for this reason and cost nothing, the second served."""
        entry, (failed, served) = await self.gateway.ledger(identifier)
        assert (entry["status"], entry["actual_provider"]) == ("COMPLETED", then)
        assert (failed["provider"], failed["outcome"], failed["cost_usd"]) == (first, "failed", None)
        assert failed["error_kind"] in kinds, failed
        assert (served["provider"], served["outcome"], served["error_kind"]) == (then, "served", None)
        assert entry["cost_usd"] == served["cost_usd"]

    async def check_result(self, task: str, done: dict[str, Any]) -> None:
        """What came out is a whole file of the right kind, or what was said, or the voice."""
        if task in ("transcribe", "translate"):
            assert done["text"]
            return
        if task == "clone_voice":
            assert done["voice"]["id"]
            return
        assert "artifacts" in done, done["error"]
        artifact = done["artifacts"][0]
        content = await self.gateway.download(artifact["url"])
        assert hashlib.sha256(content).hexdigest() == artifact["sha256"]
        facts = inspect_media(FileBytes(content))
        kind = {"music": "audio", "speech": "audio", "compose": "video"}
        assert facts.family == kind.get(OPERATION_OF_TASK[Task(task)], OPERATION_OF_TASK[Task(task)])
        assert facts.width if facts.family == "image" else facts.duration_s


class Studio:
    """A composing service of which only the first answers are worth something. `mode` says how it goes on."""

    def __init__(self) -> None:
        self.mode = "refuses"
        self.cancelled = 0

    def application(self) -> web.Application:
        """As far as a composing provider needs it."""
        served = web.Application()
        served.router.add_get("/v1/files", self._list)
        served.router.add_post("/v1/files", self._upload)
        served.router.add_post("/v1/jobs", self._order)
        served.router.add_get("/v1/jobs/{id}", self._look)
        served.router.add_delete("/v1/jobs/{id}", self._cancel)
        return served

    async def _list(self, request: web.Request) -> web.Response:
        return web.json_response({"data": []})

    async def _upload(self, request: web.Request) -> web.Response:
        await request.read()
        return web.json_response({"id": "file-1", "artifact": "art_1"})

    async def _order(self, request: web.Request) -> web.Response:
        return web.json_response({"id": "job_1"}, status=503 if self.mode == "refuses" else 202)

    async def _look(self, request: web.Request) -> web.Response:
        status = "failed" if self.mode == "fails" else "running"
        return web.json_response({"status": status, "error": {"message": "out of disk"}})

    async def _cancel(self, request: web.Request) -> web.Response:
        self.cancelled += 1
        return web.json_response({"status": "cancelled"})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def everything(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """For all tests of this module."""
    studio = Studio()
    runner = web.AppRunner(studio.application())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    row = {
        "adapter": "ffmpeg", "base_url": f"http://127.0.0.1:{runner.addresses[0][1]}", "api_key": "pk",
        "timeouts": {"total": 0.8},
    }  # fmt: skip
    configuration = {**CONFIGURATION, "providers": {**CONFIGURATION["providers"], "studio": row}}
    async with media_gateway(tmp_path_factory.mktemp("fallback"), configuration) as gateway:
        yield House(gateway, studio)
    await runner.cleanup()


@pytest_asyncio.fixture(loop_scope="module")
async def house(everything: House) -> House:
    """All providers are well, quick, and have been given nothing."""
    await everything.gateway.reset()
    await everything.gateway.control("*", job_seconds=0.02)
    return everything


@pytest.mark.parametrize("task", WORK)
async def test_a_refusal(house: House, task: str) -> None:
    providers, place = PROVIDERS[task], list(WORK).index(task)
    fault, kinds = REFUSALS[place % len(REFUSALS)]
    await house.gateway.control(providers.refuses, faults=[fault])
    done = await house.job(task, providers.refuses, providers.then, **WORK[task])
    await house.check_result(task, done)
    await house.check_ledger(done["id"], providers.refuses, providers.then, kinds)
    assert await house.gateway.jobs(providers.refuses) == []


@pytest.mark.parametrize("task", SILENT)
async def test_no_answer_in_time_where_the_answer_is_the_result(house: House, task: str) -> None:
    providers = PROVIDERS[task]
    assert providers.silent is not None
    await house.gateway.fail(providers.silent, "hang", seconds=20)
    done = await house.job(task, providers.silent, providers.then, **WORK[task])
    await house.check_result(task, done)
    await house.check_ledger(done["id"], providers.silent, providers.then, {"timeout"})


@pytest.mark.parametrize("task", WORK)
async def test_accepted_work_that_does_not_end(house: House, task: str) -> None:
    providers = PROVIDERS[task]
    await house.gateway.fail(providers.stuck, "stuck")
    done = await house.job(task, providers.stuck, providers.then, **WORK[task])
    await house.check_result(task, done)
    await house.check_ledger(done["id"], providers.stuck, providers.then, {"timeout"})
    [left] = await house.gateway.jobs(providers.stuck)
    assert (left["cancels"], left["charged"]) == (1 if providers.stuck == "fal" else 0, 0)  # the others cannot stop it


@pytest.mark.parametrize("task", WORK)
async def test_accepted_work_that_fails(house: House, task: str) -> None:
    providers = PROVIDERS[task]
    await house.gateway.fail(providers.fails, "job_failed")
    done = await house.job(task, providers.fails, providers.then, **WORK[task])
    await house.check_result(task, done)
    await house.check_ledger(done["id"], providers.fails, providers.then, {"generation_failed"})
    [failed] = await house.gateway.jobs(providers.fails)
    assert (failed["state"], failed["charged"]) == ("failed", 0)


@pytest.mark.parametrize("task", WORK)
async def test_work_that_may_have_been_accepted_is_nobody_elses(house: House, task: str) -> None:
    providers = PROVIDERS[task]
    await house.gateway.fail(providers.fails, "lost_after_acceptance")
    parked = await house.job(task, providers.fails, providers.then, **WORK[task])
    assert (parked["status"], parked["error"]["kind"]) == ("needs_attention", "unknown_outcome")
    assert len(await house.gateway.jobs(providers.fails)) == 1
    assert await house.gateway.jobs(providers.then) == []


@pytest.mark.parametrize("provider", ["together", "xai"])
async def test_an_answer_that_is_lost_may_have_been_charged_and_is_nobody_elses(house: House, provider: str) -> None:
    await house.gateway.fail(provider, "reset")
    parked = await house.job("text_to_image", provider, "runware", **WORK["text_to_image"])
    assert (parked["status"], parked["error"]["kind"]) == ("needs_attention", "unknown_outcome")
    assert await house.gateway.jobs("runware") == []


@pytest.mark.parametrize("task", SILENT)
async def test_answers_that_are_no_result(house: House, task: str) -> None:
    providers, place = PROVIDERS[task], SILENT.index(task)
    assert providers.silent is not None
    await house.gateway.fail(providers.silent, UNREADABLE[place % len(UNREADABLE)])
    done = await house.job(task, providers.silent, providers.then, **WORK[task])
    await house.check_result(task, done)
    await house.check_ledger(done["id"], providers.silent, providers.then, {"bad_response"})


@pytest.mark.skipif(FFMPEG is None, reason="ffmpeg is not installed")
@pytest.mark.parametrize(
    ("mode", "kind"), [("refuses", "unavailable"), ("stuck", "timeout"), ("fails", "generation_failed")]
)
async def test_a_composing_service_that_cannot(house: House, mode: str, kind: str) -> None:
    house.studio.mode, house.studio.cancelled = mode, 0
    timeline = {"clips": [{"source": 0, "duration": 0.2}], "width": 64, "height": 36, "fps": 10}
    done = await house.job("compose", "studio", "ffmpeg", timeline=timeline, inputs=[PICTURE])
    await house.check_result("compose", done)
    await house.check_ledger(done["id"], "studio", "ffmpeg", {kind})
    assert house.studio.cancelled == (mode == "stuck")


@pytest.mark.parametrize(("fault", "kinds"), TROUBLES, ids=[fault["kind"] for fault, _ in TROUBLES])
@pytest.mark.parametrize("route", CALLS)
async def test_calls_of_openais_paths(house: House, route: str, fault: dict[str, Any], kinds: set[str]) -> None:
    call = CALLS[route]
    first, then = call.first.partition("/")[0], call.then.partition("/")[0]
    await house.gateway.control(first, faults=[fault])
    answer = await house.call(route, call.path, **call.asked)
    if route == "words":
        assert answer.json()["text"]
    elif route == "voice":
        assert inspect_media(FileBytes(answer.content)).duration_s
    else:
        content = await house.gateway.download(answer.json()["data"][0]["url"])
        assert inspect_media(FileBytes(content)).family == "image"
    await house.check_ledger(answer.headers["x-polyroute-request-id"], first, then, kinds)
