"""Jobs and their attempts as database rows."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec

from polyroute.storage.database import Driver
from polyroute.storage.values import MONEY_SCALE, money_text, parse_timestamp
from polyroute.types.jobs import Job, JobAttempt, JobError, JobEvent, JobOrder, JobState, JobWebhook
from polyroute.types.media import Handle, Made, MediaRequest, Task

JOB_COLUMNS = (
    "id", "key_id", "user_id", "task", "model", "surface", "state", "percent", "provider", "provider_model", "attempts",
    "cost_usd", "created_at", "started_at", "ended_at", "deadline", "request", "options", "details", "result", "error",
    "webhook", "idempotency", "digest", "executor", "epoch", "cancel_requested", "abandoned", "nudged",
)  # fmt: skip
JOB_ATTEMPT_COLUMNS = (
    "job_id", "number", "provider", "model", "credential", "phase", "idempotency_key", "handle", "handle_id",
    "started_at", "ended_at", "http_status", "error_kind", "error_message", "error_detail",
)  # fmt: skip
EVENT_COLUMNS = ("job_id", "number", "at", "name", "data")

_request = msgspec.json.Decoder(MediaRequest)
_made = msgspec.json.Decoder(Made)
_error = msgspec.json.Decoder(JobError)
_webhook = msgspec.json.Decoder(JobWebhook)
_handle = msgspec.json.Decoder(Handle)


def encode(value: Any) -> str:
    """A value as JSON text."""
    return msgspec.json.encode(value).decode()


def encode_or_none(value: Any) -> str | None:
    """A value as JSON text, NULL for None."""
    return None if value is None else encode(value)


def seconds(value: Any) -> float | None:
    """A moment as either driver gives it → seconds since the epoch."""
    if value is None:
        return None
    return (parse_timestamp(value) if isinstance(value, str) else value).timestamp()


def idempotency_of(order: JobOrder) -> str | None:
    """What is unique among jobs: a caller's key is theirs alone."""
    return None if order.idempotency_key is None else f"{order.key_id or ''}:{order.idempotency_key}"


def new_job_values(order: JobOrder, driver: Driver) -> tuple[Any, ...]:
    """The values of JOB_COLUMNS for a job that nobody has begun."""
    return (
        order.id, order.key_id, order.user_id, order.task.value, order.model, order.surface, JobState.QUEUED.value, None,
        None, None, 0, None, driver.timestamp(order.created_at), None, None, driver.timestamp(order.deadline),
        encode(order.request), order.options.decode(), encode(order.details), None, None, encode_or_none(order.webhook),
        idempotency_of(order), order.digest, None, 0, False, False, False,
    )  # fmt: skip


def read_job(row: Sequence[Any]) -> Job:
    """A row of JOB_COLUMNS."""
    at = dict(zip(JOB_COLUMNS, row, strict=True))
    idempotency = at["idempotency"]
    order = JobOrder(
        id=at["id"], task=Task(at["task"]), model=at["model"], request=_request.decode(at["request"]),
        created_at=seconds(at["created_at"]) or 0.0, deadline=seconds(at["deadline"]) or 0.0, surface=at["surface"],
        options=at["options"].encode(), key_id=at["key_id"], user_id=at["user_id"],
        details=msgspec.json.decode(at["details"]),
        webhook=None if at["webhook"] is None else _webhook.decode(at["webhook"]),
        idempotency_key=None if idempotency is None else idempotency.partition(":")[2], digest=at["digest"],
    )  # fmt: skip
    return Job(
        order=order, state=JobState(at["state"]), percent=at["percent"], provider=at["provider"],
        provider_model=at["provider_model"], attempts=at["attempts"],
        result=None if at["result"] is None else _made.decode(at["result"]),
        error=None if at["error"] is None else _error.decode(at["error"]),
        cost_usd=_money(at["cost_usd"]), started_at=seconds(at["started_at"]), ended_at=seconds(at["ended_at"]),
        executor=at["executor"], epoch=at["epoch"], cancel_requested=bool(at["cancel_requested"]),
        abandoned=bool(at["abandoned"]),
    )  # fmt: skip


def _money(value: Any) -> Decimal | None:
    return None if value is None else Decimal(str(value)).quantize(Decimal(1).scaleb(-MONEY_SCALE))


def money_value(amount: Decimal | None) -> str | None:
    """An amount as the drivers bind it."""
    return None if amount is None else money_text(amount)


def attempt_values(job_id: str, attempt: JobAttempt, driver: Driver) -> tuple[Any, ...]:
    """The values of JOB_ATTEMPT_COLUMNS."""
    return (
        job_id, attempt.number, attempt.provider, attempt.model, attempt.credential, attempt.phase,
        attempt.idempotency_key, encode_or_none(attempt.handle), None if attempt.handle is None else attempt.handle.id,
        driver.timestamp(attempt.started_at), None if attempt.ended_at is None else driver.timestamp(attempt.ended_at),
        attempt.http_status, attempt.error_kind, _plain(attempt.error_message), _plain(attempt.error_detail),
    )  # fmt: skip


def _plain(text: str | None) -> str | None:
    """Text without what no database stores."""
    return None if text is None else text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def read_attempt(row: Sequence[Any]) -> JobAttempt:
    """A row of JOB_ATTEMPT_COLUMNS."""
    at = dict(zip(JOB_ATTEMPT_COLUMNS, row, strict=True))
    del at["job_id"], at["handle_id"]
    at["handle"] = None if at["handle"] is None else _handle.decode(at["handle"])
    at["started_at"], at["ended_at"] = seconds(at["started_at"]) or 0.0, seconds(at["ended_at"])
    return JobAttempt(**at)


def read_event(row: Sequence[Any]) -> JobEvent:
    """A row of EVENT_COLUMNS."""
    _, number, at, name, data = row
    return JobEvent(number=number, at=seconds(at) or 0.0, name=name, data=msgspec.json.decode(data))
