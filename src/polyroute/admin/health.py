"""Health, metrics and drills for operators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Response
from pydantic import BaseModel, ConfigDict, Field

from polyroute.catalog.model import Catalog
from polyroute.engine.drills import make_drill
from polyroute.engine.reporting import HealthDesk
from polyroute.telemetry import PROMETHEUS, render_metrics
from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.operations import Operation


class DrillOrder(BaseModel):
    """A fault to rehearse. `fault` is a status of 400 to 599, `timeout`, `reset` or `slow`; `for` is `5m`, `90s` or seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    provider: str
    fault: str | int = 503
    lasts: str | float = Field(default="5m", alias="for")
    seconds: float = Field(default=5.0, ge=0, le=600)
    operation: Operation | None = None


def health_routes(desk: HealthDesk, catalog: Callable[[], Catalog]) -> APIRouter:
    """The paths. Plain counters belong to the event loop, so all of them run there."""
    routes = APIRouter()

    @routes.get("/admin/api/health", tags=["health"], summary="Every provider, as all workers see it")
    async def health() -> Response:
        return _json(await desk.report())

    @routes.get("/metrics", tags=["health"], summary="Prometheus' text format")
    async def metrics() -> Response:
        return Response(render_metrics(await desk.measure()), headers={"content-type": PROMETHEUS})

    @routes.post(
        "/admin/api/providers/{provider}/release",
        tags=["health"],
        summary="Close its breakers and bench none of its credentials",
    )
    async def release(provider: Annotated[str, Path()]) -> Response:
        if not desk.release(provider):
            raise _unknown(provider, catalog())
        return _json(next(one for one in (await desk.report()).providers if one.provider == provider))

    @routes.post("/admin/api/drills", tags=["health"], status_code=201, summary="Rehearse a fault at a provider")
    async def begin(order: DrillOrder) -> Response:
        if order.provider not in catalog().providers:
            raise _unknown(order.provider, catalog())
        drill = make_drill(
            order.provider, str(order.fault), str(order.lasts), seconds=order.seconds, operation=order.operation
        )
        try:
            await desk.sharing.start_drill(drill)
        except OSError as error:
            raise PolyrouteError(ErrorKind.INTERNAL, f"the drill cannot be written down: {error.strerror}") from error
        return _json(drill, 201)

    @routes.delete("/admin/api/drills/{provider}", tags=["health"], summary="End a drill; `all` ends every one")
    async def end(provider: Annotated[str, Path()]) -> Response:
        return _json({"ended": await desk.sharing.end_drills(None if provider == "all" else provider)})

    return routes


def _unknown(provider: str, catalog: Catalog) -> PolyrouteError:
    names = ", ".join(catalog.providers)
    return PolyrouteError(
        ErrorKind.NOT_FOUND, f"no provider {provider!r} is on; those that are: {names}", param="provider"
    )


def _json(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")
