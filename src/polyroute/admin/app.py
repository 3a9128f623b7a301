"""The operators' API: what each provider did, cost, and which one to prefer. Imported on first use only."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Path, Request
from fastapi.responses import JSONResponse

from polyroute.admin.explanations import Explanations
from polyroute.admin.health import health_routes
from polyroute.admin.providers import ProviderReport, Recommendation, cheapest_first, recommend, report
from polyroute.catalog.model import Catalog
from polyroute.engine.reporting import HealthDesk
from polyroute.ports import LedgerReader
from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.operations import Category

Authorise = Callable[[Request], Awaitable[None] | None]
"""Lets a request through by returning; raises PolyrouteError (unauthorized, forbidden) otherwise."""


def build_admin(
    reader: LedgerReader,
    catalog: Callable[[], Catalog],
    authorise: Authorise,
    explanations: Explanations,
    desk: HealthDesk | None = None,
    routers: Sequence[APIRouter] = (),
    described: Mapping[str, Any] | None = None,
) -> FastAPI:
    """The ASGI application under `/api`, `/admin/api` and `/metrics`. `catalog` gives the one of the moment; `routers`
    are further endpoints, `described` an OpenAPI document of what others serve. Every endpoint asks `authorise` first."""
    admin = FastAPI(
        title="Polyroute operators' API",
        openapi_url="/api/openapi.json",
        docs_url="/api/docs",
        redoc_url=None,
        dependencies=[Depends(_asking(authorise))],
    )
    admin.add_exception_handler(PolyrouteError, _render_error)
    admin.add_exception_handler(404, _render_not_found)

    if desk is not None:
        admin.include_router(health_routes(desk, catalog))

    for router in routers:
        admin.include_router(router)

    # Plain functions: the reader blocks, so each runs in a worker thread.
    @admin.get("/api/providers/stats", tags=["providers"], summary="All categories")
    def stats() -> list[ProviderReport]:
        return report(reader.provider_stats(), catalog())

    @admin.get("/api/providers/stats/{category}", tags=["providers"], summary="One category")
    def stats_of(category: CategoryName) -> list[ProviderReport]:
        wanted = _category(category)
        return [row for row in report(reader.provider_stats(), catalog()) if row.category == wanted]

    @admin.get("/api/providers/cost/{category}", tags=["providers"], summary="One category, cheapest first")
    def cost_of(category: CategoryName) -> list[ProviderReport]:
        wanted = _category(category)
        return cheapest_first([row for row in report(reader.provider_stats(), catalog()) if row.category == wanted])

    @admin.get(
        "/api/providers/recommended/{category}",
        tags=["providers"],
        summary="The cheapest that is reliable",
        response_model_exclude_unset=True,  # `reason` belongs to null only
    )
    def recommended(category: CategoryName) -> Recommendation:
        wanted = _category(category)
        return recommend([row for row in report(reader.provider_stats(), catalog()) if row.category == wanted])

    @admin.get("/admin/api/requests/{request_id}/explain", tags=["requests"], summary="Why it went where it went")
    def explain(request_id: str) -> dict[str, Any]:
        return explanations.explain(request_id)

    if described is not None:
        own = admin.openapi

        def whole() -> dict[str, Any]:
            """Our own paths and those of others on one page."""
            if admin.openapi_schema is None:
                schema = own()
                schema["paths"] |= described["paths"]
                parts = schema.setdefault("components", {}).setdefault("schemas", {})
                admin.openapi_schema = {**schema, "components": {"schemas": described["components"]["schemas"] | parts}}
            return admin.openapi_schema

        admin.openapi = whole  # type: ignore[method-assign] # as FastAPI says that it is to be done
    return admin


CategoryName = Annotated[str, Path(description=" | ".join(Category))]


def _category(name: str) -> Category:
    try:
        return Category(name.upper())
    except ValueError:
        raise PolyrouteError(
            ErrorKind.NOT_FOUND,
            f"there is no category {name!r}; valid ones are {', '.join(Category)}",
            param="category",
        ) from None


def _asking(authorise: Authorise) -> Callable[[Request], Awaitable[None]]:
    async def ask(request: Request) -> None:
        answer = authorise(request)
        if answer is not None:
            await answer

    return ask


async def _render_error(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, PolyrouteError)
    return _error_answer(error)


async def _render_not_found(request: Request, _error: Exception) -> JSONResponse:
    return _error_answer(PolyrouteError(ErrorKind.NOT_FOUND, f"there is nothing at {request.url.path}; see /api/docs"))


def _error_answer(error: PolyrouteError) -> JSONResponse:
    body = {"message": error.message, "type": error.kind, "param": error.param, "code": error.code or error.kind}
    return JSONResponse({"error": body}, status_code=error.status)
