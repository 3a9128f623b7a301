"""Settled requests in the order of their time, with what is needed to plan them again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec
import sqlalchemy as sa

from polyroute.storage.database import Database
from polyroute.storage.schema import attempts, decisions, requests
from polyroute.types.usage import Usage

_AT_ONCE = 500
"""Requests to a query; SQLite takes no more than 999 parameters on old systems."""


class PastAttempt(msgspec.Struct, frozen=True):
    """One try of one target, `provider/model`; it took `seconds`."""

    target: str
    outcome: str
    error_kind: str | None
    seconds: float
    output_tokens: int | None


class PastRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A settled request. `decision` is `routing.decision`'s JSON, None where it was refused before it was planned."""

    id: str
    created_at: datetime
    operation: str
    status: str
    error_kind: str | None
    stream: bool
    route: str | None
    policy: str | None
    served: str | None
    usage: Usage
    cost_usd: Decimal | None
    seconds: float
    ttft: float | None
    decision: bytes | None
    attempts: tuple[PastAttempt, ...]


_USAGE = {
    "input": "input_tokens", "cache_read": "cache_read_tokens", "cache_write_5m": "cache_write_5m_tokens",
    "cache_write_1h": "cache_write_1h_tokens", "output": "output_tokens", "reasoning": "reasoning_tokens",
    "audio_input": "audio_input_tokens", "audio_output": "audio_output_tokens", "image_input": "image_input_tokens",
    "image_output": "image_output_tokens", "images": "images", "image_size": "image_size", "image_quality": "image_quality",
    "megapixels": "megapixels", "seconds": "seconds", "video_seconds": "video_seconds", "video_size": "video_size",
    "characters": "characters", "requests": "provider_requests", "web_searches": "web_searches", "tier": "service_tier",
}  # fmt: skip


def past_requests(
    database: Database, since: datetime, until: datetime, *, route: str | None = None, simulated: bool = False
) -> Iterator[PastRequest]:
    """Requests that came within the time, oldest first; of one route where it is given. Read in blocks, each in a
    transaction of its own."""
    table = requests
    told = sa.func.coalesce(decisions.c.decision, table.c.decision).label("told")
    columns = [table.c[name] for name in _USAGE.values()]
    query = (
        sa.select(
            table.c.id, table.c.created_at, table.c.operation, table.c.status, table.c.error_kind, table.c.stream,
            table.c.route, table.c.policy, table.c.actual_provider, table.c.actual_model, table.c.cost_usd,
            table.c.latency_ms, table.c.ttft_ms, told, *columns,
        )
        .select_from(table.outerjoin(decisions, decisions.c.id == table.c.decision))
        .where(table.c.created_at < until, table.c.simulated == simulated)
        .order_by(table.c.created_at, table.c.id)
        .limit(_AT_ONCE)
    )  # fmt: skip
    if route is not None:
        query = query.where(table.c.route == route)
    behind: sa.ColumnElement[bool] = table.c.created_at >= since
    while True:
        with database.engine.connect() as connection:
            rows = connection.execute(query.where(behind)).all()
            tries = _attempts(connection, [row.id for row in rows])
        for row in rows:
            yield _request(row, tuple(tries[row.id]))
        if len(rows) < _AT_ONCE:
            return
        last = rows[-1]
        behind = sa.or_(
            table.c.created_at > last.created_at,
            sa.and_(table.c.created_at == last.created_at, table.c.id > last.id),
        )


def _attempts(connection: sa.Connection, identifiers: list[str]) -> dict[str, list[PastAttempt]]:
    found: dict[str, list[PastAttempt]] = defaultdict(list)
    if not identifiers:
        return found
    table = attempts
    query = (
        sa.select(
            table.c.request_id, table.c.provider, table.c.model, table.c.outcome, table.c.error_kind, table.c.duration_ms,
            table.c.output_tokens,
        )
        .where(table.c.request_id.in_(identifiers))
        .order_by(table.c.request_id, table.c.number)
    )  # fmt: skip
    for identifier, provider, model, outcome, error_kind, duration, output in connection.execute(query):
        attempt = PastAttempt(f"{provider}/{model}", outcome, error_kind, duration / 1000, output)
        found[identifier].append(attempt)
    return found


def _request(row: Any, tries: tuple[PastAttempt, ...]) -> PastRequest:
    values = row._mapping  # noqa: SLF001 - its public name in SQLAlchemy
    decision = values["told"]
    counted = {ours: values[theirs] for ours, theirs in _USAGE.items()}
    return PastRequest(
        id=values["id"], created_at=values["created_at"], operation=values["operation"], status=values["status"],
        error_kind=values["error_kind"], stream=values["stream"], route=values["route"], policy=values["policy"],
        served=None if values["actual_provider"] is None else f"{values['actual_provider']}/{values['actual_model']}",
        usage=Usage(**counted), cost_usd=values["cost_usd"], seconds=values["latency_ms"] / 1000,
        ttft=None if values["ttft_ms"] is None else values["ttft_ms"] / 1000,
        # An id without its decision explains nothing; every decision is a JSON array.
        decision=decision.encode() if decision is not None and decision.startswith("[") else None,
        attempts=tries,
    )  # fmt: skip
