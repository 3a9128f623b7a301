"""The provider of docs/adding-a-media-provider.md, run as it is written there."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
from aiohttp import web

from polyroute.catalog.rows import load_rows, parse_row
from polyroute.composition.app import build_app
from polyroute.composition.configuration import read_configuration
from polyroute.providers.media import registry
from support.media_files import mp4, png

PAGE = (Path(__file__).parents[2] / "docs" / "adding-a-media-provider.md").read_text(encoding="utf-8")
MODULE = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
ROW = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)


class Paintbox:
    """A server that speaks as the page says: an order waits, is painted, and is done at the third look."""

    def __init__(self) -> None:
        self.url = ""
        self.orders: list[dict[str, Any]] = []
        self.stopped: list[str] = []
        self.failing: str | None = None
        self._looks: dict[str, int] = {}

    async def order(self, request: web.Request) -> web.Response:
        assert request.headers["authorization"] == "Bearer pb-key"
        self.orders.append(await request.json())
        return web.json_response({"id": self.orders[-1]["id"]})

    async def look(self, request: web.Request) -> web.Response:
        name = request.match_info["id"]
        self._looks[name] = count = self._looks.get(name, 0) + 1
        if self.failing is not None:
            return web.json_response({"state": "failed", "reason": self.failing})
        if count < 3:
            states = {1: {"state": "waiting", "place": 2}, 2: {"state": "painting", "percent": 60, "again_in": 0.05}}
            return web.json_response(states[count])
        kind = "mp4" if "flipbook" in self.orders[-1]["model"] else "png"
        return web.json_response({"state": "done", "files": [f"{self.url}/files/{name}.{kind}"]})

    async def stop(self, request: web.Request) -> web.Response:
        self.stopped.append(request.match_info["id"])
        return web.Response(status=204)

    async def file(self, request: web.Request) -> web.Response:
        return web.Response(body=mp4() if request.path.endswith("mp4") else png(64, 36))


@pytest.fixture
async def paintbox() -> AsyncIterator[Paintbox]:
    box = Paintbox()
    server = web.Application()
    server.router.add_post("/v2/orders", box.order)
    server.router.add_get("/v2/orders/{id}", box.look)
    server.router.add_delete("/v2/orders/{id}", box.stop)
    server.router.add_get("/files/{name}", box.file)
    runner = web.AppRunner(server)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    box.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield box
    await runner.cleanup()


@pytest.fixture
async def caller(
    paintbox: Paintbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway that has the page's module and row."""
    (source,), (row,) = MODULE, ROW
    module = ModuleType("polyroute.providers.media.paintbox")
    exec(compile(source, "paintbox.py", "exec"), module.__dict__)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(registry._CLASSES, "paintbox", "paintbox:PaintboxMedia")
    rows = {**load_rows(), "paintbox": parse_row("paintbox", row)}
    monkeypatch.setattr("polyroute.composition.configuration.load_rows", lambda: rows)
    file = tmp_path / "polyroute.yaml"
    configuration = {
        "storage": {"database": f"sqlite:///{tmp_path / 'polyroute.db'}", "artifacts": str(tmp_path / "artifacts")},
        "fetch": {"allow": ["127.0.0.1"]},
        "defaults": {"retries": 0},
        "providers": {"paintbox": {"base_url": paintbox.url, "api_key": "pb-key"}},
    }
    file.write_text(json.dumps(configuration), encoding="utf-8")
    app = build_app(read_configuration(file))
    await app.start()
    transport = httpx.ASGITransport(app=app.application())
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway", timeout=30) as client:
            yield client
    finally:
        await app.stop()
        registry._adapter_class.cache_clear()


async def run(caller: httpx.AsyncClient, **order: Any) -> dict[str, Any]:
    """A job, when it is over."""
    answer = await caller.post("/v1/jobs", json=order, headers={"prefer": "wait=20"})
    told: dict[str, Any] = answer.json()
    return told


def test_it_is_about_a_hundred_lines() -> None:
    assert len(MODULE[0].splitlines()) <= 115


async def test_it_makes_pictures_and_films(caller: httpx.AsyncClient, paintbox: Paintbox) -> None:
    told = await run(
        caller, model="paintbox/gouache-2", task="text_to_image", prompt="a quay", aspect_ratio="16:9", style="cubist",
        options={"paintbox": {"brush": "wide"}},
    )  # fmt: skip
    assert (told["status"], told["dropped"], told["artifacts"][0]["width"]) == ("succeeded", ["style"], 64), told
    (order,) = paintbox.orders
    assert (order["model"], order["shape"], order["brush"]) == ("gouache-2", "16:9", "wide")
    film = await run(caller, model="paintbox/flipbook-1", task="image_to_video", image=told["artifacts"][0]["id"])
    assert (film["status"], film["artifacts"][0]["media_type"]) == ("succeeded", "video/mp4"), film
    assert paintbox.orders[1]["picture"].startswith("data:image/png;base64,")


async def test_what_it_refuses_and_what_fails_there_is_said(caller: httpx.AsyncClient, paintbox: Paintbox) -> None:
    refused = await run(caller, model="paintbox/gouache-2", task="text_to_image", prompt="a quay", aspect_ratio="2:1")
    assert (refused["error"]["param"], paintbox.orders) == ("aspect_ratio", [])
    paintbox.failing = "moderated"
    failed = await run(caller, model="paintbox/gouache-2", task="text_to_image", prompt="a quay")
    assert (failed["status"], failed["error"]["kind"]) == ("failed", "content_filtered"), failed
