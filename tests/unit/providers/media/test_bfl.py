"""Black Forest Labs as callers meet it, over the sandbox, and what it really said."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from polyroute.catalog.build import build_catalog
from polyroute.catalog.inputs import CatalogInput
from polyroute.catalog.rows import load_rows
from polyroute.ports import Reply
from polyroute.providers.media.bfl import BlackForestLabsMedia, Tasks
from polyroute.types.errors import AttemptFailed, ErrorKind, PolyrouteError
from polyroute.types.media import Handle, MediaRequest, Outcome, Progress, Task
from support.media_files import PNG
from support.media_gateway import MediaGateway, media_gateway
from support.media_recordings import recording
from support.media_sandbox import Hooks, until
from support.media_work import ask, given, wire_of

PRO = "bfl/flux-2-pro"
IMAGE, MASK, OTHER = (given(role, PNG, "image/png") for role in ("image", "mask", "reference"))


async def orders(gateway: MediaGateway) -> list[dict[str, Any]]:
    return [row for row in await gateway.seen("bfl") if row["method"] == "POST"]


async def test_a_picture_is_polled_where_the_answer_says_and_charged_by_its_credits(gateway: MediaGateway) -> None:
    answer = await gateway.image(PRO, size="1000x752", seed=3, output_format="png", response_format="url")
    assert (await gateway.download(answer.json()["data"][0]["url"])).startswith(b"\x89PNG")
    assert "width 1000 became 992" in answer.headers["x-polyroute-notes"]
    [order] = await orders(gateway)
    assert order["path"] == "/v1/flux-2-pro"
    assert order["body"] == {
        "prompt": "a red bicycle", "seed": 3, "width": 992, "height": 752, "output_format": "png",
    }  # fmt: skip
    polls = [row for row in await gateway.seen("bfl") if row["method"] == "GET"]
    assert polls
    assert {row["path"] for row in polls} == {"/api.us1.bfl.ai/v1/get_result"}
    entry = await gateway.entry(answer)
    assert (entry["actual_provider"], entry["images"], entry["cost_usd"]) == ("bfl", 1, pytest.approx(0.03))
    assert entry["cost_origin"] in ("reported", "simulated")


EVERY_TASK: list[tuple[str, str, dict[str, Any], dict[str, Any] | set[str]]] = [
    ("text_to_image", "flux-2-flex", {"steps": 20, "guidance": 4}, {"steps": 20, "guidance": 4}),
    ("text_to_image", "flux-2-klein-4b", {"moderation": "low"}, {"safety_tolerance": 5}),
    ("text_to_image", "flux-2-klein-9b", {"seed": 1}, {"seed": 1}),
    ("text_to_image", "flux-pro-1.1", {"width": 1440, "height": 720}, {"width": 1440, "height": 704}),
    ("text_to_image", "flux-pro-1.1-ultra", {"aspect_ratio": "21:9"}, {"aspect_ratio": "21:9"}),
    ("text_to_image", "flux-kontext-max", {"aspect_ratio": "3:4"}, {"aspect_ratio": "3:4"}),
    ("text_to_image", "flux-dev", {"format": "jpeg"}, {"output_format": "jpeg"}),
    ("image_to_image", "flux-2-max", {"inputs": [IMAGE, OTHER]}, {"input_image", "input_image_2"}),
    ("image_to_image", "flux-kontext-pro", {"inputs": [IMAGE]}, {"input_image"}),
    ("image_to_image", "flux-pro-1.1-ultra", {"inputs": [IMAGE]}, {"image_prompt"}),
    ("image_to_image", "flux-pro-1.0-expand", {"inputs": [IMAGE], "options": {"bfl": {"top": 64}}}, {"image", "top"}),
    ("edit_image", "flux-pro-1.0-fill", {"inputs": [IMAGE, MASK], "steps": 30}, {"image", "mask", "steps"}),
]  # fmt: skip
"""Task, model, what is asked, and what has to be in the order."""


async def test_every_task(gateway: MediaGateway) -> None:
    for task, model, fields, sent in EVERY_TASK:
        work = await ask(gateway, f"bfl/{model}", task, prompt="a fox", **fields)
        assert (model, work.dropped) == (model, [])
        assert work.artifact["media_type"].startswith("image")
        body = (await orders(gateway))[-1]["body"]
        assert (sent <= set(body)) if isinstance(sent, set) else (sent.items() <= body.items()), (model, set(body))
        assert float(work.headers["x-polyroute-cost-usd"]) > 0, model
    assert {model for _, model, _, _ in EVERY_TASK} >= {
        model for models in load_rows()["bfl"].media.values() for model in models if model != "flux-2-pro"
    }


async def test_what_a_model_does_not_take_is_told_or_refused(gateway: MediaGateway) -> None:
    work = await ask(gateway, PRO, "text_to_image", prompt="x", negative_prompt="y", n=2, quality="high")
    assert set(work.dropped) == {"negative_prompt", "n", "quality"}
    for model, task, fields, param in (
        ("flux-2-pro", "image_to_image", {"inputs": [IMAGE] * 9}, "image"),
        ("flux-pro-1.0-expand", "image_to_image", {"inputs": [IMAGE]}, "options"),
        ("flux-pro-1.0-fill", "edit_image", {}, "image"),
        ("flux-2-pro", "image_to_image", {}, "image"),
    ):
        with pytest.raises(PolyrouteError) as refused:
            await ask(gateway, f"bfl/{model}", task, prompt="x", **fields)
        assert refused.value.param == param
    assert len(await orders(gateway)) == 1


PATIENT = {"defaults": {"breaker": {"failures": 100, "minimum": 100}}}


async def test_what_goes_wrong_is_told_apart(tmp_path: Path) -> None:
    async with media_gateway(tmp_path, PATIENT) as gateway:
        for fault, kind in (
            ({"kind": "moderation"}, ErrorKind.CONTENT_FILTERED),
            ({"kind": "job_failed"}, ErrorKind.GENERATION_FAILED),
            ({"kind": "foreign_url"}, ErrorKind.GENERATION_FAILED),
            ({"kind": "lost_after_acceptance"}, ErrorKind.UNKNOWN_OUTCOME),
            ({"kind": "wrong_media_type"}, ErrorKind.BAD_RESPONSE),
            ({"kind": "status", "status": 429, "retry_after": "0.01"}, ErrorKind.RATE_LIMITED),
            ({"kind": "invalid_key"}, ErrorKind.CREDENTIAL_REJECTED),
        ):
            await gateway.anew()
            await gateway.control("bfl", operation="image", faults=[fault])
            with pytest.raises(PolyrouteError) as failed:
                await ask(gateway, PRO, "text_to_image", prompt="x")
            assert ({one.kind for one in failed.value.attempts} or {failed.value.kind}) == {kind}, fault


async def test_the_key_does_not_go_to_an_address_that_is_not_bfls(gateway: MediaGateway) -> None:
    """The order stands and may be charged: it is not placed again, and the next provider makes the picture."""
    await gateway.fail("bfl", "foreign_url")
    answer = await gateway.image(PRO, polyroute={"fallbacks": ["together/black-forest-labs/FLUX.1-schnell"]})
    assert (answer.headers["x-polyroute-provider"], answer.headers["x-polyroute-attempts"]) == ("together", "2")
    assert [row["method"] for row in await gateway.seen("bfl")] == ["POST"]


async def test_hostile_addresses_are_not_asked(gateway: MediaGateway) -> None:
    adapter, wire = wire_of(gateway, "bfl")
    maker = adapter.maker(Task.TEXT_TO_IMAGE, "flux-2-pro")
    for address in (
        "https://bfl.ai.example.com/v1/get_result?id=1", "http://api.bfl.ai/v1/get_result?id=1",
        "https://notbfl.ai/v1/get_result?id=1", "https://api.bfl.ai@example.com/v1/get_result?id=1",
        "http://169.254.169.254/latest/meta-data", "ftp://api.bfl.ai/x",
    ):  # fmt: skip
        with pytest.raises(AttemptFailed, match="not its own"):
            await maker.poll(Handle(id="1", data={"url": address}), wire)


async def test_words_that_are_refused_are_the_callers_error(gateway: MediaGateway) -> None:
    answer = await gateway.image(PRO, status=400, prompt="forbidden-content")
    assert answer.json()["error"]["code"] == "content_policy_violation"


async def test_a_wrong_field_is_told_in_our_words(gateway: MediaGateway) -> None:
    with pytest.raises(PolyrouteError) as refused:
        await ask(gateway, PRO, "text_to_image", prompt="x", options={"bfl": {"output_format": "tiff"}})
    assert (refused.value.kind, refused.value.param) == (ErrorKind.INVALID_REQUEST, "format")


@pytest.mark.parametrize(
    ("status", "body", "kind", "param"),
    [
        (
            400,
            {"error": "validation_error", "details": {"width": "not a multiple"}},
            ErrorKind.INVALID_REQUEST,
            "width",
        ),
        (400, {"error": "content_policy_violation"}, ErrorKind.CONTENT_FILTERED, None),
        (402, {"detail": "Insufficient credits"}, ErrorKind.QUOTA_EXHAUSTED, None),
        (404, {"detail": "Not Found"}, ErrorKind.MODEL_NOT_FOUND, None),
    ],
)
def test_error_bodies(status: int, body: dict[str, Any], kind: ErrorKind, param: str | None) -> None:
    catalog = build_catalog(load_rows(), CatalogInput(), {}, sandbox_url="http://127.0.0.1:1")
    adapter = BlackForestLabsMedia(catalog.providers["bfl"])
    failure = adapter.classify(status, [], json.dumps(body).encode())
    assert failure is not None
    assert (failure.kind, failure.param) == (kind, param)
    assert adapter.classify(500, [], b"{}") is None


async def test_a_task_that_is_not_known_at_first_is_waited_for(gateway: MediaGateway) -> None:
    await gateway.fail("bfl", "missing_at_first", polls=2, times=1)
    assert (await ask(gateway, PRO, "text_to_image", prompt="x")).artifact["size"] > 0


async def test_work_that_nobody_waits_for_is_let_go(gateway: MediaGateway) -> None:
    await gateway.control("bfl", job_seconds=60)
    waiting = asyncio.ensure_future(ask(gateway, PRO, "text_to_image", prompt="x"))

    async def polled() -> bool:
        return any(row["method"] == "GET" for row in await gateway.seen("bfl"))

    await until(polled)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


@pytest.fixture
async def hooks() -> AsyncIterator[Hooks]:
    found = Hooks()
    application = web.Application()
    application.router.add_post("/hook", found.take)
    server = TestServer(application)
    await server.start_server()
    found.url = str(server.make_url("/hook"))
    yield found
    await server.close()


async def test_a_callback_counts_when_its_signature_holds(gateway: MediaGateway, hooks: Hooks) -> None:
    adapter, wire = wire_of(gateway, "bfl", hooks.url)
    assert isinstance(adapter, BlackForestLabsMedia)
    maker = adapter.maker(Task.TEXT_TO_IMAGE, "flux-2-pro")
    assert isinstance(maker, Tasks)
    handle = await maker.submit(MediaRequest(task=Task.TEXT_TO_IMAGE, prompt="x"), "flux-2-pro", wire)
    named, body = await hooks.next()
    assert isinstance(handle, Handle)
    headers = [(name.encode(), value.encode()) for name, value in named.items()]
    assert (await adapter.callback(headers, body, wire, time.time())).handle_id == handle.id
    assert isinstance(await maker.poll(handle, wire), Outcome)
    for fields, content in ((headers, body.replace(b"Ready", b"ready")), ([], body)):
        with pytest.raises(PolyrouteError) as refused:
            await adapter.callback(fields, content, wire, time.time())
        assert refused.value.kind is ErrorKind.UNAUTHORIZED


async def test_polls_that_were_recorded(gateway: MediaGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    adapter, wire = wire_of(gateway, "bfl")
    maker = adapter.maker(Task.TEXT_TO_IMAGE, "flux-dev")
    states = []
    for number in (2, 3, 4):
        exchange = recording(f"bfl/image-text-to-image-default-black-forest-labs-text-to-image-{number}")
        real = exchange["response"]["body_json"]
        body = json.dumps(real).encode()

        async def answered(*_: Any, said: bytes = body, **__: Any) -> Reply:
            return Reply(200, [], said)

        monkeypatch.setattr(wire, "call", answered)
        states.append(await maker.poll(Handle(id=real["id"]), wire))
    assert [state.percent for state in states if isinstance(state, Progress)] == [30.0, 99.0]
    assert isinstance(states[2], Outcome)
    assert [one.url for one in states[2].produced] == [real["result"]["sample"]]
