"""Single requests of the ledger: a list to page through, one with its attempts, and all of them as a file."""

from __future__ import annotations

import base64
import binascii
import json
import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict

from polyroute.ports.analytics import RequestQuery, RequestReader
from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.moments import parse_moment

_MEDIA = {"csv": "text/csv", "jsonl": "application/x-ndjson"}


class RequestList(BaseModel):
    """Some requests, newest first: the columns of the ledger, without content. `next` is the `cursor` of the next page, null
    at the end."""

    model_config = ConfigDict(frozen=True)

    requests: list[dict[str, Any]]
    next: str | None


def request_routes(reader: RequestReader) -> APIRouter:
    """`/admin/api/requests` and `/admin/api/export`."""
    router = APIRouter(tags=["requests"])

    # Plain functions: the reader blocks, so each runs in a worker thread.
    @router.get("/admin/api/requests", summary="Settled requests, newest first")
    def requests(
        since: Annotated[str, Query(description="`7d`, `2026-11-20` or an ISO moment.")] = "7d",
        until: Annotated[str, Query(description="As `since`.")] = "now",
        provider: Annotated[str | None, Query(description="Who served.")] = None,
        model: Annotated[str | None, Query(description="The provider's model id.")] = None,
        requested_model: Annotated[str | None, Query(description="What the caller wrote in `model`.")] = None,
        route: str | None = None,
        key: Annotated[str | None, Query(description="Id of a key.")] = None,
        user: str | None = None,
        team: str | None = None,
        operation: str | None = None,
        status: Annotated[str | None, Query(description="COMPLETED, FAILED or CANCELLED.")] = None,
        error_kind: str | None = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
        cursor: Annotated[str | None, Query(description="`next` of the page before.")] = None,
    ) -> RequestList:
        chosen = {
            "actual_provider": provider, "actual_model": model, "requested_model": requested_model, "route": route,
            "key_id": key, "user_id": user, "team_id": team, "operation": operation, "status": status,
            "error_kind": error_kind,
        }  # fmt: skip
        begin, end = _span(since, until)
        try:
            page = reader.page(
                RequestQuery(
                    since=begin,
                    until=end,
                    filters={name: value for name, value in chosen.items() if value is not None},
                    after=None if cursor is None else _read_cursor(cursor),
                    limit=limit,
                )
            )
        except ValueError as error:
            raise PolyrouteError(ErrorKind.INVALID_REQUEST, str(error)) from error
        return RequestList(requests=page.rows, next=None if page.after is None else _cursor(page.after))

    @router.get("/admin/api/requests/{request_id}", summary="One request, with its attempts")
    def request(request_id: str) -> dict[str, Any]:
        found = reader.request(request_id)
        if found is None:
            raise PolyrouteError(
                ErrorKind.NOT_FOUND,
                f"there is no settled request {request_id[:80]!r} in the ledger's database; one that has just ended gets "
                "there within a second",
                param="id",
            )
        return found

    @router.get(
        "/admin/api/export/{table}",
        summary="Requests or attempts as a file",
        response_class=StreamingResponse,
        responses={200: {"content": {name: {} for name in _MEDIA.values()}}},
    )
    def export(
        table: Annotated[Literal["requests", "attempts"], Path()],
        since: Annotated[str, Query(description="`7d`, `2026-11-20` or an ISO moment.")] = "30d",
        until: Annotated[str, Query(description="As `since`.")] = "now",
        format: Annotated[Literal["csv", "jsonl"], Query()] = "csv",  # noqa: A002 - what callers write
    ) -> StreamingResponse:
        begin, end = _span(since, until)
        return StreamingResponse(
            reader.export(table, format, begin, end),
            media_type=_MEDIA[format],
            headers={"content-disposition": f'attachment; filename="{table}.{format}"'},
        )

    return router


def _span(since: str, until: str) -> tuple[float, float]:
    now = time.time()
    try:
        begin, end = parse_moment(since, now), parse_moment(until, now)
    except ValueError as error:
        raise PolyrouteError(ErrorKind.INVALID_REQUEST, str(error)) from error
    if begin >= end:
        raise PolyrouteError(ErrorKind.INVALID_REQUEST, "'until' must be after 'since'", param="until")
    return begin, end


def _cursor(after: tuple[str, str]) -> str:
    return base64.urlsafe_b64encode(json.dumps(after).encode()).decode().rstrip("=")


def _read_cursor(cursor: str) -> tuple[str, str]:
    """Raises ValueError for what never was a cursor."""
    try:
        moment, identifier = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError, TypeError) as error:
        raise ValueError("'cursor' must be the `next` of an earlier page") from error
    if not isinstance(moment, str) or not isinstance(identifier, str):
        raise ValueError("'cursor' must be the `next` of an earlier page")  # noqa: TRY004 - what it holds is the caller's
    return moment, identifier
