"""Providers that report back: a report whose signature holds ends the job at once; a forged, an old and a repeated one
change nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import pytest_asyncio
from aiohttp import web

from polyroute.engine.media import errands, making
from polyroute.providers.media import fal, kie, piapi, replicate, runpod
from polyroute.providers.media.elevenlabs.scribe import ReportedScribe
from polyroute.providers.media.runware import adapter as runware
from polyroute.sandbox.media.callbacks import SHARED_SECRET
from support.media_files import wav
from support.media_gateway import MediaGateway, media_gateway
from support.media_work import given

pytestmark = pytest.mark.asyncio(loop_scope="module")

TALK = given("audio", wav(2), "audio/wav")
Report = tuple[str, dict[str, str], bytes]


class Reporter(NamedTuple):
    """A provider, work that it reports on, the field of the headers (None: the address) that says that it is the provider,
    and the maker whose polls are not to come first."""

    model: str
    task: str
    mark: str | None
    maker: type


REPORTERS = {
    "replicate": Reporter("google/veo-3.1-fast", "text_to_video", "webhook-signature", replicate.Predictions),
    "fal": Reporter("fal-ai/flux/schnell", "text_to_image", "x-fal-webhook-signature", fal.Requests),
    "kie": Reporter("V5", "music", "x-webhook-signature", kie.Jobs),
    "piapi": Reporter("kling/video_generation", "text_to_video", "x-webhook-secret", piapi.Tasks),
    "elevenlabs": Reporter("scribe_v2", "transcribe", "elevenlabs-signature", ReportedScribe),
    "runware": Reporter("bytedance:seedance@2.0", "text_to_video", None, runware.Tasks),
    "runpod": Reporter("wan-2-6-t2v", "text_to_video", None, runpod.Endpoints),
}


class Door:
    """The public address of a gateway: keeps what providers report until the test lets it through."""

    def __init__(self) -> None:
        self.reports: asyncio.Queue[Report] = asyncio.Queue()
        self.gateway: MediaGateway | None = None
        self._opened = asyncio.Event()

    def close(self) -> None:
        """Let nothing through for now."""
        self._opened = asyncio.Event()
        self.reports = asyncio.Queue()

    def open(self) -> None:
        """Let through what waits."""
        self._opened.set()

    async def take(self, request: web.Request) -> web.Response:
        """A report comes in."""
        report = (request.path, {name.lower(): value for name, value in request.headers.items()}, await request.read())
        await self.reports.put(report)
        await self._opened.wait()
        return web.Response(status=await self.pass_on(report))

    async def pass_on(self, report: Report) -> int:
        """What the gateway says to it."""
        assert self.gateway is not None
        path, headers, body = report
        kept = {name: value for name, value in headers.items() if name not in ("host", "content-length", "connection")}
        return (await self.gateway.http.post(path, headers=kept, content=body)).status_code


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def door(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Door]:
    """In front of a gateway that knows its own public address."""
    door = Door()
    served = web.Application()
    served.router.add_post("/{path:.*}", door.take)
    runner = web.AppRunner(served)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    hook = {
        "webhook_id": f"{url}/v1/callbacks/elevenlabs",
        "webhook_secret": SHARED_SECRET,
    }  # its id is its address here
    configuration = {
        "server": {"public_url": url},
        "providers": {"kie": {"options": {"webhook_key": SHARED_SECRET}}, "elevenlabs": {"options": hook}},
    }
    async with media_gateway(tmp_path_factory.mktemp("callbacks"), configuration) as gateway:
        door.gateway = gateway
        yield door
    await runner.cleanup()


@pytest.fixture
def no_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody asks how far the work is for half a minute."""
    monkeypatch.setattr(making, "_PACE_OF_SIMULATED", (30.0, 30.0))
    for reporter in REPORTERS.values():
        monkeypatch.setattr(reporter.maker, "pace", (30.0, 30.0))


def forged(report: Report, mark: str | None) -> Report:
    """The same, from somebody who does not know the secret."""
    path, headers, body = report
    if mark is None:
        return path[:-1] + ("0" if path[-1] != "0" else "1"), headers, body
    value = headers[mark]
    other = "Q" if value[-2] != "Q" else "U"
    return path, {**headers, mark: value[:-2] + other + value[-1]}, body


@pytest.mark.usefixtures("no_polls")
@pytest.mark.parametrize("provider", REPORTERS)
async def test_a_report_ends_the_job_and_nothing_else_does(
    door: Door, provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway, reporter = door.gateway, REPORTERS[provider]
    assert gateway is not None
    door.close()
    await gateway.reset()
    await gateway.control("*", job_seconds=0.3)
    order = {"model": f"{provider}/{reporter.model}", "task": reporter.task}
    order |= {"inputs": [TALK]} if reporter.task == "transcribe" else {"prompt": "a fox"}
    identifier = (await gateway.post("/v1/jobs", 202, json=order)).json()["id"]
    report = await asyncio.wait_for(door.reports.get(), 10)

    async def stands() -> tuple[str, int]:
        job = (await gateway.http.get(f"/v1/jobs/{identifier}")).json()
        return job["status"], (await gateway.jobs(provider))[0]["polls"]

    before = await stands()
    assert before == ("running", 0)
    assert await door.pass_on(forged(report, reporter.mark)) == 401
    missing = {name: value for name, value in report[1].items() if name != reporter.mark}
    bare = f"/v1/callbacks/{provider}"
    assert await door.pass_on((bare, missing, report[2])) == 401
    with monkeypatch.context() as later:
        tomorrow = SimpleNamespace(time=lambda: time.time() + 90_000, monotonic=time.monotonic)
        later.setattr(errands, "time", tomorrow)
        assert await door.pass_on(report) == 401
    assert await stands() == before

    door.open()
    answer = await gateway.http.get(f"/v1/jobs/{identifier}", headers={"prefer": "wait=15"})
    done = answer.json()
    assert (done["status"], done["attempts"]) == ("succeeded", 1)
    entries, after = await gateway.ledger(identifier), await stands()
    assert await door.pass_on(report) == 200  # once more
    assert await gateway.ledger(identifier) == entries
    assert await stands() == after
    assert len(await gateway.jobs(provider)) == 1
