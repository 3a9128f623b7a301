"""The operators' API over a reader and a catalog, as HTTP."""

from __future__ import annotations

import asyncio
import json
from types import MappingProxyType
from typing import Any

import pytest
from fastapi import Request

from polyroute.admin.app import build_admin
from polyroute.admin.explanations import Explanations
from polyroute.catalog.model import Catalog, Defaults, Provider
from polyroute.ports import ProviderStats
from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.operations import Operation, ProviderKind


def provider(name: str, priority: dict[Operation, int], serves: set[Operation], *, enabled: bool = True) -> Provider:
    nothing: Any = MappingProxyType({})
    return Provider(
        name=name, kind=ProviderKind.DIRECT, adapter="openai_compatible", base_url="http://127.0.0.1", auth="bearer",
        endpoints=(), credentials=(), serves=frozenset(serves), priority=priority, default_models=nothing,
        models=nothing, quirks=nothing, headers=nothing, capabilities=frozenset(), timeouts=None, enabled=enabled,
        simulated=False, built_in=True, options=nothing, source=None, checked=None,
    )  # fmt: skip


def catalog(*providers: Provider) -> Catalog:
    return Catalog(
        providers={one.name: one for one in providers}, routes=MappingProxyType({}), skipped=(), defaults=Defaults()
    )


def figures(name: str, successes: int, failures: int, cost: float | None, **changes: Any) -> ProviderStats:
    values: dict[str, Any] = {"category": "TEXT", "unpriced": 0, "avg_time": 1250.4}
    return ProviderStats(
        provider=name,
        requests=successes + failures,
        successes=successes,
        failures=failures,
        total_cost=cost,
        **(values | changes),
    )


TEXT = {Operation.CHAT}
CATALOG = catalog(
    provider("piapi", {Operation.CHAT: 2}, TEXT),
    provider("aimlapi", {Operation.CHAT: 1}, TEXT | {Operation.IMAGE}),
    provider("groq", {}, TEXT),
    provider("replicate", {Operation.IMAGE: 1, Operation.SPEECH: 2}, {Operation.IMAGE, Operation.SPEECH}),
)


class Reader:
    def __init__(self, *rows: ProviderStats) -> None:
        self.rows = rows

    def provider_stats(self) -> tuple[ProviderStats, ...]:
        return self.rows


class NoDecisions:
    """A ledger without requests."""

    def decision(self, request_id: str) -> None:
        return None


def allow(_request: Request) -> None:
    return None


def get(path: str, *rows: ProviderStats, known: Catalog = CATALOG, authorise: Any = allow) -> tuple[int, Any]:
    """One GET through the ASGI application."""
    admin = build_admin(Reader(*rows), lambda: known, authorise, Explanations(NoDecisions(), lambda _: None))
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "path": path,
        "raw_path": path.encode(), "query_string": b"", "headers": [], "scheme": "http", "root_path": "",
        "server": ("127.0.0.1", 80), "client": ("127.0.0.1", 1),
    }  # fmt: skip
    asyncio.run(admin(scope, receive, send))
    body = b"".join(message.get("body", b"") for message in sent)
    try:
        return sent[0]["status"], json.loads(body)
    except ValueError:
        return sent[0]["status"], body.decode()


def test_statistics_have_the_agreed_shape() -> None:
    status, body = get("/api/providers/stats/TEXT", figures("aimlapi", 44, 1, 0.0675))
    assert status == 200
    assert body[0] == {
        "category": "TEXT",
        "provider": "aimlapi",
        "priority": 1,
        "enabled": True,
        "requests": 45,
        "successes": 44,
        "failures": 1,
        "successRate": 97.78,
        "totalCost": 0.0675,
        "avgCost": 0.0015,
        "avgTime": 1250,
    }


def test_all_categories_are_there_in_order_with_the_never_used() -> None:
    status, body = get("/api/providers/stats", figures("piapi", 1, 0, 1.0), figures("gone", 2, 0, 1.0))
    assert status == 200
    assert [(row["category"], row["provider"], row["priority"], row["enabled"]) for row in body] == [
        ("TEXT", "aimlapi", 1, True),
        ("TEXT", "piapi", 2, True),
        ("TEXT", "groq", None, True),
        ("TEXT", "gone", None, False),
        ("IMAGE", "replicate", 1, True),
        ("IMAGE", "aimlapi", None, True),
        ("AUDIO", "replicate", 2, True),
    ]
    unused = body[0]
    assert (unused["requests"], unused["successes"], unused["failures"], unused["totalCost"]) == (0, 0, 0, 0.0)
    assert (unused["successRate"], unused["avgCost"], unused["avgTime"]) == (None, None, None)


def test_one_category_only() -> None:
    _, body = get("/api/providers/stats/image")
    assert {row["category"] for row in body} == {"IMAGE"}
    _, body = get("/api/providers/stats/VIDEO")
    assert body == []


def test_unknown_cost_is_null_and_not_averaged_over() -> None:
    _, body = get(
        "/api/providers/stats/TEXT", figures("aimlapi", 3, 0, None, unpriced=3), figures("piapi", 4, 0, 1.0, unpriced=2)
    )
    assert [(row["totalCost"], row["avgCost"]) for row in body[:2]] == [(None, None), (1.0, 0.5)]


def test_cost_is_cheapest_first_and_unknown_last() -> None:
    _, body = get(
        "/api/providers/cost/TEXT",
        figures("aimlapi", 1, 0, 3.0),
        figures("piapi", 1, 0, 2.0),
        figures("groq", 1, 0, None, unpriced=1),
    )
    assert [row["provider"] for row in body] == ["piapi", "aimlapi", "groq"]


def test_the_cheapest_reliable_provider_is_recommended() -> None:
    answer = get(
        "/api/providers/recommended/TEXT",
        figures("groq", 80, 20, 0.001),  # at 80 %, not above
        figures("aimlapi", 9, 1, 3.0),
        figures("piapi", 10, 0, 2.0),
        figures("gone", 10, 0, 0.1),  # not in the catalog any more
    )
    assert answer == (200, {"recommended": "piapi"})


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "no enabled provider has served"),
        ([figures("aimlapi", 1, 1, 1.0)], "above 80 %"),
        ([figures("aimlapi", 2, 0, None, unpriced=2)], "is unknown"),
    ],
)
def test_none_is_recommended_with_a_reason(rows: list[ProviderStats], words: str) -> None:
    status, body = get("/api/providers/recommended/TEXT", *rows)
    assert status == 200
    assert body["recommended"] is None
    assert words in body["reason"]


@pytest.mark.parametrize("path", ["stats", "cost", "recommended"])
def test_an_unknown_category_is_not_found_with_the_valid_names(path: str) -> None:
    status, body = get(f"/api/providers/{path}/SMELL")
    assert status == 404
    assert "'SMELL'" in body["error"]["message"]
    assert "TEXT, IMAGE, VIDEO, AUDIO" in body["error"]["message"]
    assert (body["error"]["type"], body["error"]["param"]) == ("not_found", "category")


def test_an_unknown_path_is_not_found_in_the_same_shape() -> None:
    status, body = get("/api/providers")
    assert status == 404
    assert body["error"]["type"] == "not_found"


@pytest.mark.parametrize("path", ["stats", "stats/TEXT", "cost/TEXT", "recommended/TEXT"])
def test_every_endpoint_asks_for_authority(path: str) -> None:
    async def refuse(_request: Request) -> None:
        raise PolyrouteError(ErrorKind.FORBIDDEN, "an administrator's key is needed")

    status, body = get(f"/api/providers/{path}", authorise=refuse)
    assert status == 403
    assert body["error"]["message"] == "an administrator's key is needed"


def test_the_interface_is_described() -> None:
    status, body = get("/api/openapi.json")
    assert status == 200
    assert set(body["paths"]) == {
        "/api/providers/stats",
        "/api/providers/stats/{category}",
        "/api/providers/cost/{category}",
        "/api/providers/recommended/{category}",
        "/admin/api/requests/{request_id}/explain",
    }
    assert get("/api/docs")[0] == 200
