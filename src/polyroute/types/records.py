"""What the ledger keeps: one record for a request, one for each of its attempts."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

from polyroute.types.budgets import Charge
from polyroute.types.limits import Limits

RequestStatus = Literal["COMPLETED", "FAILED", "CANCELLED", "PROCESSING"]
AttemptOutcome = Literal["served", "failed", "cancelled"]


class AttemptRecord(msgspec.Struct, kw_only=True, array_like=True, omit_defaults=True):
    """One try of one target. Times: `started_at` in seconds since the epoch, durations in milliseconds."""

    number: int
    provider: str
    model: str
    started_at: float
    outcome: AttemptOutcome = "failed"
    duration_ms: float = 0.0
    credential: str | None = None
    http_status: int | None = None
    error_kind: str | None = None
    error_message: str | None = None
    error_detail: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: Decimal | None = None
    upstream_request_id: str | None = None


class RequestRecord(msgspec.Struct, kw_only=True, array_like=True, omit_defaults=True):
    """One settled request: the row of `requests` and its `attempts`. The journal holds exactly this, so fields are only
    ever appended, with a default. Times as in AttemptRecord; tokens in the disjoint buckets of Usage."""

    id: str
    created_at: float
    operation: str
    status: RequestStatus
    requested_model: str
    dialect: str
    stream: bool = False
    user_id: str | None = None
    key_id: str | None = None
    model_id: str | None = None
    route: str | None = None
    policy: str | None = None
    actual_provider: str | None = None
    actual_model: str | None = None
    finish_reason: str | None = None
    input_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_5m_tokens: int | None = None
    cache_write_1h_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    audio_input_tokens: int | None = None
    audio_output_tokens: int | None = None
    images: int | None = None
    seconds: float | None = None
    characters: int | None = None
    usage_estimated: bool = False
    usage_raw: str | None = None
    cost_usd: Decimal | None = None
    cost_origin: str | None = None
    price_version: str | None = None
    latency_ms: float = 0.0
    ttft_ms: float | None = None
    http_status: int = 200
    error_kind: str | None = None
    error_message: str | None = None
    simulated: bool = False
    drops: list[tuple[str, str]] = msgspec.field(default_factory=list)
    dropped_parameters: list[str] = msgspec.field(default_factory=list)
    tags: dict[str, str] = msgspec.field(default_factory=dict)
    input_text: str | None = None
    output_text: str | None = None
    attempts: list[AttemptRecord] = msgspec.field(default_factory=list)
    decision: str | None = None
    """The decision behind the plan: its JSON, or the id of one in the table `decisions`."""
    shared_decision: str | None = None
    """The JSON of the decision that `decision` names, with the first request of a process that names it."""
    credits: Decimal | None = None
    """What the caller was charged in credits; None where credits play no part."""
    charges: list[Charge] = msgspec.field(default_factory=list)
    """What it used up of budgets."""
    image_input_tokens: int | None = None
    image_output_tokens: int | None = None
    image_size: str | None = None
    image_quality: str | None = None
    megapixels: float | None = None
    video_seconds: float | None = None
    video_size: str | None = None
    provider_requests: int | None = None
    web_searches: int | None = None
    compute_seconds: float | None = None
    hardware: str | None = None
    service_tier: str | None = None
    reported_credits: Decimal | None = None
    priced_cost_usd: Decimal | None = None
    """What the price table says, where `cost_usd` is what the provider reported."""


class KeyRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A key that we issued. `digest` is the HMAC-SHA-256 of the key; the key itself is never stored. `routes` is None when
    every route is allowed. `operator` keys may use the operators' API. Times are seconds since the epoch."""

    id: str
    name: str
    digest: bytes
    prefix: str
    created_at: float
    routes: tuple[str, ...] | None = None
    user_id: str | None = None
    revoked_at: float | None = None
    operator: bool = False
    limits: Limits | None = None


def label_id(operation: str, name: str) -> str:
    """The `ai_models.id` of a label that callers use, for `RequestRecord.model_id`: the same in every process and start."""
    return f"{operation}:{name}"
