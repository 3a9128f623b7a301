"""Services on one's own machines, for operators."""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import APIRouter, Path, Response

from polyroute.engine.services import ServiceDesk


def service_routes(desk: ServiceDesk) -> APIRouter:
    """The paths."""
    routes = APIRouter()

    @routes.get("/admin/api/services", tags=["services"], summary="Local services: running, healthy, what is wrong")
    async def services() -> Response:
        return _json({"services": await desk.report()})

    @routes.post("/admin/api/services/{provider}/start", tags=["services"], summary="Start its container")
    async def start(provider: Annotated[str, Path()]) -> Response:
        return _json(await desk.start(provider))

    @routes.post("/admin/api/services/{provider}/stop", tags=["services"], summary="Stop its container")
    async def stop(provider: Annotated[str, Path()]) -> Response:
        return _json(await desk.stop(provider))

    return routes


def _json(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")
