"""Settled requests for tests of what lies behind the ledger."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from polyroute.types.records import AttemptRecord, RequestRecord


def attempt(number: int = 1, provider: str = "aimlapi", **changes: Any) -> AttemptRecord:
    """One attempt that served, unless `changes` says otherwise."""
    values: dict[str, Any] = {
        "number": number,
        "provider": provider,
        "model": "gpt-4o-mini",
        "started_at": 1_790_000_000.25,
        "outcome": "served",
        "duration_ms": 120.0,
    }
    return AttemptRecord(**(values | changes))


def settled(identifier: str = "req_1", **changes: Any) -> RequestRecord:
    """One request that a provider served, unless `changes` says otherwise."""
    values: dict[str, Any] = {
        "id": identifier,
        "created_at": 1_790_000_000.123456,
        "operation": "chat",
        "status": "COMPLETED",
        "requested_model": "text",
        "dialect": "openai_chat",
        "model_id": "chat:text",
        "actual_provider": "aimlapi",
        "actual_model": "gpt-4o-mini",
        "input_tokens": 12,
        "output_tokens": 30,
        "cost_usd": Decimal("0.0000198"),
        "latency_ms": 130.5,
        "attempts": [attempt()],
    }
    return RequestRecord(**(values | changes))
