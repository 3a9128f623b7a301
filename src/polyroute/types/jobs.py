"""Durable slow work: what a job is, what became of it, and what is told of it on the way."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Any, Literal

import msgspec

from polyroute.types.media import Handle, Made, MediaRequest, Task


class JobState(StrEnum):
    """Where a job stands. `needs_attention`: a provider may or may not have accepted it, and only an operator can say."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    NEEDS_ATTENTION = "needs_attention"


TERMINAL = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED})
"""States that a job never leaves."""

Surface = Literal["jobs", "videos", "compose", "images", "audio", "pipelines"]
"""The API through which a job was asked for."""

Phase = Literal["intent", "submitted", "succeeded", "failed", "unknown"]
"""How far an attempt of a job got. `intent`: it is about to be submitted; `submitted`: the provider accepted it, and the
handle is known; `unknown`: it was sent, and nobody knows whether it was accepted."""

Resolution = Literal["retry", "adopt", "abandon"]
"""What an operator may decide of a job that needs attention."""


class TargetError(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one target answered."""

    provider: str
    model: str
    kind: str
    message: str


class JobError(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why a job ended without a result, in words for callers."""

    kind: str
    message: str
    param: str | None = None
    attempts: tuple[TargetError, ...] = ()


class JobWebhook(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where the end of a job is reported. `secret` (base64, after `whsec_`) signs the report; without one the gateway's own
    is used."""

    url: str
    secret: str | None = None

    def __repr__(self) -> str:
        return f"JobWebhook({self.url!r})"


class JobOrder(msgspec.Struct, frozen=True, kw_only=True):
    """A job as it was asked for. `options` is the caller's `polyroute` object as JSON. Moments in seconds since the epoch.

    `details` belongs to the surface: what it needs to show the job in its own words. `idempotency_key` is the caller's; the
    same key with the same `digest` is the same job.
    """

    id: str
    task: Task
    model: str
    request: MediaRequest
    created_at: float
    deadline: float
    surface: Surface = "jobs"
    options: bytes = b"{}"
    key_id: str | None = None
    user_id: str | None = None
    details: dict[str, Any] = msgspec.field(default_factory=dict)
    webhook: JobWebhook | None = None
    idempotency_key: str | None = None
    digest: str | None = None


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A job as it stands. `provider` and `provider_model` are who works or worked on it, `attempts` how many were begun;
    `percent` 0 to 100. `executor` is the worker that has it, `epoch` counts the workers that had it. `abandoned`: an operator
    gave up an unknown acceptance."""

    order: JobOrder
    state: JobState = JobState.QUEUED
    percent: float | None = None
    provider: str | None = None
    provider_model: str | None = None
    attempts: int = 0
    result: Made | None = None
    error: JobError | None = None
    cost_usd: Decimal | None = None
    started_at: float | None = None
    ended_at: float | None = None
    executor: str | None = None
    epoch: int = 0
    cancel_requested: bool = False
    abandoned: bool = False

    @property
    def id(self) -> str:
        """Its id."""
        return self.order.id

    @property
    def ended(self) -> bool:
        """Whether nothing will happen to it any more."""
        return self.state in TERMINAL


class JobAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """One try of one target within a job, kept so that another worker can go on with it. Moments in seconds since the
    epoch."""

    number: int
    provider: str
    model: str
    phase: Phase
    started_at: float
    credential: str | None = None
    idempotency_key: str | None = None
    handle: Handle | None = None
    ended_at: float | None = None
    http_status: int | None = None
    error_kind: str | None = None
    error_message: str | None = None
    error_detail: str | None = None


class JobEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened to a job: `state`, `progress`, `log`, `preview` or `attempt`. `number` counts from 1."""

    number: int
    at: float
    name: str
    data: dict[str, Any]
