"""A gateway in this process whose providers are the sandbox's, asked over HTTP as callers do."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx

from polyroute.composition.app import build_app
from polyroute.composition.configuration import read_configuration
from polyroute.engine.media.tracking import Untracked
from polyroute.sandbox.control import SandboxOptions
from polyroute.sandbox.server import start
from support.prepared_state import prepare

SHARED: dict[str, Any] = {"defaults": {"breaker": {"failures": 100_000, "minimum": 100_000}}}
"""A gateway that several tests share must not learn from what goes wrong in one of them."""


class MediaGateway:
    """`http` asks the gateway, `control` tells the sandbox."""

    def __init__(self, http: httpx.AsyncClient, sandbox: httpx.AsyncClient, folder: Path, app: Any) -> None:
        self.http = http
        self.sandbox = sandbox
        self.app = app
        self._folder = folder

    async def post(self, path: str, status: int = 200, **arguments: Any) -> httpx.Response:
        """A call with its status checked."""
        answer = await self.http.post(path, **arguments)
        assert answer.status_code == status, (answer.status_code, answer.text[:600])
        return answer

    async def image(self, model: str, status: int = 200, **fields: Any) -> httpx.Response:
        """`/v1/images/generations`."""
        body = {"model": model, "prompt": "a red bicycle", **fields}
        return await self.post("/v1/images/generations", status, json=body)

    async def control(self, provider: str, **command: Any) -> None:
        """`POST /_control`."""
        answer = await self.sandbox.post("/_control", json={"provider": provider, **command})
        assert answer.status_code == 200, answer.text

    async def fresh(self) -> None:
        """Forget what the sandbox was told, given and asked, and which credentials it refused, for the next test of those
        that share a gateway."""
        for provider in self.app.gateway.runtime.providers.values():
            provider.access.pool.release(asyncio.get_running_loop().time())
        answer = await self.sandbox.delete("/_control")
        assert answer.status_code == 200, answer.text
        await self.control("*", job_seconds=0.05)

    async def fail(self, provider: str, kind: str, **fault: Any) -> None:
        """Arm one fault of calls (as `POST /_control` takes it)."""
        await self.control(provider, faults=[{"kind": kind, **fault}])

    async def reset(self) -> None:
        """Everything in the sandbox is well, and nothing was asked."""
        answer = await self.sandbox.delete("/_control")
        assert answer.status_code < 300, answer.text

    async def anew(self) -> None:
        """As `reset`, with jobs as quick as they were at the beginning."""
        await self.reset()
        await self.control("*", job_seconds=0.05)

    async def jobs(self, provider: str) -> list[dict[str, Any]]:
        """What the provider was given to do."""
        found: list[dict[str, Any]] = (await self.sandbox.get(f"/_control/jobs?provider={provider}")).json()["jobs"]
        return found

    async def seen(self, provider: str) -> list[dict[str, Any]]:
        """Requests that came to a provider."""
        rows: list[dict[str, Any]] = (await self.sandbox.get("/_requests")).json()["requests"]
        return [row for row in rows if row["provider"] == provider]

    async def download(self, url: str) -> bytes:
        """What an answer points at."""
        path = "/" + url.split("/", 3)[3]
        answer = await self.http.get(path)
        assert answer.status_code == 200, (url, answer.status_code, answer.text[:300])
        return answer.content

    async def entry(self, answer: httpx.Response) -> dict[str, Any]:
        """The ledger's row of a request, when it is written."""
        entry, _ = await self.ledger(answer.headers["x-polyroute-request-id"])
        return entry

    async def ledger(self, identifier: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """The ledger's row of a request or job, and those of its attempts, when they are written."""
        async with asyncio.timeout(10):
            while True:
                with sqlite3.connect(self._folder / "polyroute.db") as database:
                    database.row_factory = sqlite3.Row
                    row = database.execute("select * from requests where id = ?", (identifier,)).fetchone()
                    tried = database.execute(
                        "select * from attempts where request_id = ? order by number", (identifier,)
                    ).fetchall()
                if row is not None:
                    return dict(row), [dict(one) for one in tried]
                await asyncio.sleep(0.02)


@asynccontextmanager
async def media_gateway(folder: Path, configuration: dict[str, Any] | None = None) -> AsyncIterator[MediaGateway]:
    """Jobs at the simulated providers take a twentieth of a second, unless `control` says otherwise, and are looked at
    as often as that needs, not at the pace of the real providers."""
    with quick_looks():
        async with _started(folder, configuration) as gateway:
            yield gateway


@contextmanager
def quick_looks() -> Iterator[None]:
    """Work that is waited for is looked at every fiftieth of a second."""

    async def look_soon(_: Untracked, seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.02))

    with patch.object(Untracked, "woken", look_soon):
        yield


@asynccontextmanager
async def _started(folder: Path, configuration: dict[str, Any] | None) -> AsyncIterator[MediaGateway]:
    sandbox = await start(options=SandboxOptions(tokens_per_second=0, requests_kept=2000))
    file = folder / "polyroute.yaml"
    storage = {"database": f"sqlite:///{folder / 'polyroute.db'}", "artifacts": str(folder / "artifacts")}
    file.write_text(json.dumps({"storage": storage, **(configuration or {})}), encoding="utf-8")
    prepare(folder / "polyroute.db")
    app = build_app(read_configuration(file), sandbox_url=sandbox.url)
    await app.start()
    transport = httpx.ASGITransport(app=app.application())
    try:
        async with (
            httpx.AsyncClient(transport=transport, base_url="http://gateway", timeout=30) as http,
            httpx.AsyncClient(base_url=sandbox.url, timeout=30, trust_env=False) as control,
        ):
            gateway = MediaGateway(http, control, folder, app)
            await gateway.control("*", job_seconds=0.05)
            yield gateway
    finally:
        await app.stop()
        await sandbox.stop()
