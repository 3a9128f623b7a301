"""Figures and rows over HTTP: what reaches the reader, what comes out, and who may ask."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request

from polyroute.admin.analytics import analytics_routes
from polyroute.admin.app import build_admin
from polyroute.admin.explanations import Explanations
from polyroute.admin.requests import request_routes
from polyroute.catalog.model import Catalog, Defaults
from polyroute.ports import ProviderStats, StoredDecision
from polyroute.ports.analytics import (
    Percentiles,
    RequestPage,
    RequestQuery,
    Savings,
    Series,
    SeriesPoint,
    SeriesQuery,
)
from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.usage import Price

NOTHING = Percentiles(mean=None, p50=None, p90=None, p95=None, p99=None)
POINT = SeriesPoint(
    start="2026-11-20T00:00:00+01:00", group={"provider": None}, requests=3, completed=2, failed=1, cancelled=0,
    errors={"timeout": 1}, attempt_errors={}, fallbacks=1, fallback_rate=1 / 3, latency_ms=NOTHING, ttft_ms=NOTHING,
    tokens={"input": 5}, images=0, media_seconds=0.0, characters=0, cost_usd=Decimal("1E-9"), unpriced=1, estimated=0,
    savings=Savings(baseline_usd=Decimal("0.5"), saved_usd=Decimal("-0.1"), compared=1, not_compared=1),
)  # fmt: skip


class Reader:
    """Notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[SeriesQuery] = []
        self.pages: list[RequestQuery] = []

    def series(self, query: SeriesQuery) -> Series:
        self.asked.append(query)
        if query.time_zone == "Nowhere":
            raise ValueError("there is no time zone 'Nowhere'")
        return Series(
            since="a", until="b", interval=query.interval, time_zone=query.time_zone, incomplete_before=None,
            points=[POINT], total=POINT,
        )  # fmt: skip

    def page(self, query: RequestQuery) -> RequestPage:
        self.pages.append(query)
        return RequestPage(rows=[{"id": "r1"}], after=("2026-11-20T00:00:00+00:00", "r1"))

    def request(self, request_id: str) -> dict[str, Any] | None:
        return {"id": request_id, "attempts": []} if request_id == "r1" else None

    def export(self, table: str, form: str, since: float, until: float) -> Iterator[bytes]:
        yield f"{table} as {form}\n".encode()
        yield b"and more\n"

    def provider_stats(self) -> tuple[ProviderStats, ...]:
        return ()

    def decision(self, request_id: str) -> StoredDecision | None:
        return None


def application(reader: Reader, *, allowed: bool = True) -> FastAPI:
    def authorise(_request: Request) -> None:
        if not allowed:
            raise PolyrouteError(ErrorKind.FORBIDDEN, "not an operator's")

    def price(provider: str, model: str) -> Price | None:
        return Price(version="tables of today") if (provider, model) == ("openai", "x/y") else None

    catalog = Catalog(providers={}, routes={}, skipped=(), defaults=Defaults())
    return build_admin(
        reader, lambda: catalog, authorise, Explanations(reader, lambda _: None),
        routers=[analytics_routes(reader, price), request_routes(reader)],
    )  # fmt: skip


@pytest.fixture
def reader() -> Reader:
    return Reader()


async def ask(reader: Reader, path: str, *, allowed: bool = True, **query: Any) -> httpx.Response:
    transport = httpx.ASGITransport(application(reader, allowed=allowed))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        return await client.get(path, params=query)


async def test_a_question_reaches_the_reader_as_it_was_meant(reader: Reader) -> None:
    answer = await ask(
        reader, "/admin/api/analytics", interval="day", since="2026-11-19", until="2026-11-20T00:00:00+01:00",
        group_by=["provider, model", "tag:env"], user=["anna", "bob"], tag="env:prod", time_zone="Europe/Berlin",
        baseline="openai/x/y",
    )  # fmt: skip
    assert answer.status_code == 200, answer.text
    (query,) = reader.asked
    assert query.group_by == ("provider", "model", "tag:env")
    assert query.filters == {"user": ["anna", "bob"], "tag": ["env:prod"]}
    assert (query.until - query.since, query.time_zone, query.interval) == (23 * 3600, "Europe/Berlin", "day")
    assert query.baseline is not None
    body = answer.json()
    assert body["baseline"] == {"target": "openai/x/y", "price_version": "tables of today"}
    assert body["points"][0]["cost_usd"] == "0.000000001"
    assert body["total"]["savings"] == {
        "baseline_usd": "0.5", "saved_usd": "-0.1", "compared": 1, "not_compared": 1,
    }  # fmt: skip


@pytest.mark.parametrize(("interval", "hours"), [("minute", 1), ("hour", 24), ("day", 720), ("total", 24)])
async def test_without_a_time_it_is_the_last(reader: Reader, interval: str, hours: int) -> None:
    await ask(reader, "/admin/api/analytics", interval=interval)
    assert reader.asked[0].until - reader.asked[0].since == hours * 3600
    assert reader.asked[0].baseline is None


async def test_a_sheet_has_a_line_for_each_point(reader: Reader) -> None:
    answer = await ask(reader, "/admin/api/analytics", format="csv", group_by="provider")
    names, line = answer.text.splitlines()
    found = dict(zip(names.split(","), line.split(","), strict=False))
    assert (found["start"], found["provider"], found["requests"]) == ("2026-11-20T00:00:00+01:00", "", "3")
    assert found["cost_usd"] == "0.000000001"


@pytest.mark.parametrize(
    ("path", "query", "words"),
    [
        ("/admin/api/analytics", {"time_zone": "Nowhere"}, "Nowhere"),
        ("/admin/api/analytics", {"since": "soon"}, "7d"),
        ("/admin/api/analytics", {"baseline": "gpt"}, "provider/model"),
        ("/admin/api/requests", {"cursor": "e30"}, "cursor"),
        ("/admin/api/requests", {"since": "1h", "until": "2h"}, "after"),
        ("/admin/api/export/requests", {"until": "later"}, "7d"),
    ],
)
async def test_what_makes_no_sense_is_refused_in_words(
    reader: Reader, path: str, query: dict[str, str], words: str
) -> None:
    answer = await ask(reader, path, **query)
    assert answer.status_code == 400
    assert words in answer.json()["error"]["message"]


async def test_a_page_leads_to_the_next(reader: Reader) -> None:
    first = (await ask(reader, "/admin/api/requests", provider="openai", key="k", limit=1)).json()
    assert reader.pages[0].filters == {"actual_provider": "openai", "key_id": "k"}
    await ask(reader, "/admin/api/requests", cursor=first["next"])
    assert reader.pages[1].after == ("2026-11-20T00:00:00+00:00", "r1")


async def test_one_request_and_none(reader: Reader) -> None:
    assert (await ask(reader, "/admin/api/requests/r1")).json()["id"] == "r1"
    missing = await ask(reader, "/admin/api/requests/r2")
    assert missing.status_code == 404
    assert "within a second" in missing.json()["error"]["message"]


async def test_a_download_is_streamed_under_its_name(reader: Reader) -> None:
    answer = await ask(reader, "/admin/api/export/attempts", format="jsonl")
    assert answer.text == "attempts as jsonl\nand more\n"
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    assert 'filename="attempts.jsonl"' in answer.headers["content-disposition"]


@pytest.mark.parametrize(
    "path",
    ["/admin/api/analytics", "/admin/api/requests", "/admin/api/requests/r1", "/admin/api/export/requests"],
)
async def test_only_operators_may_ask(reader: Reader, path: str) -> None:
    answer = await ask(reader, path, allowed=False)
    assert answer.status_code == 403
    assert reader.asked == reader.pages == []
