"""A gateway whose providers are local services only: the sandbox's, at addresses of their own."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from polyroute.composition.app import build_app
from polyroute.composition.configuration import read_configuration
from polyroute.sandbox.control import SandboxOptions
from polyroute.sandbox.server import start
from support.media_gateway import MediaGateway, quick_looks
from support.prepared_state import prepare


@asynccontextmanager
async def local_gateway(
    folder: Path, services: dict[str, str], **options: dict[str, Any]
) -> AsyncIterator[MediaGateway]:
    """`services` are providers by the name of the sandbox's service that each is; `options` are those of providers."""
    with quick_looks():
        async with _started(folder, services, options) as gateway:
            yield gateway


@asynccontextmanager
async def _started(
    folder: Path, services: dict[str, str], options: dict[str, dict[str, Any]]
) -> AsyncIterator[MediaGateway]:
    sandbox = await start(options=SandboxOptions(tokens_per_second=0, requests_kept=2000))
    providers = {
        name: {"base_url": f"{sandbox.url}/{simulated}", "options": options.get(name, {})}
        for name, simulated in services.items()
    }
    file = folder / "polyroute.yaml"
    storage = {"database": f"sqlite:///{folder / 'polyroute.db'}", "artifacts": str(folder / "artifacts")}
    file.write_text(json.dumps({"storage": storage, "providers": providers}), encoding="utf-8")
    prepare(folder / "polyroute.db")
    app = build_app(read_configuration(file))
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
