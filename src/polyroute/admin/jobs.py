"""Durable jobs for operators: what there is, what needs attention, and deciding on it."""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from polyroute.ports.jobs import JobStore
from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.jobs import Job, JobState
from polyroute.types.media import Handle


class JobDecision(BaseModel):
    """What becomes of a job that needs attention. `retry`: its provider did not accept it, so it is submitted again (work
    whose handle is known is looked at again); `adopt`: it was accepted under `handle`; `abandon`: it is given up."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    decision: Literal["retry", "adopt", "abandon"]
    handle: str | None = Field(default=None, description="The provider's id of the accepted work, for `adopt`.")
    data: dict[str, Any] = Field(default_factory=dict, description="What the handle holds besides.")


class JobList(BaseModel):
    """Jobs, newest first."""

    model_config = ConfigDict(frozen=True)

    jobs: list[dict[str, Any]]


def job_routes(store: JobStore) -> APIRouter:
    """`/admin/api/jobs`."""
    router = APIRouter(tags=["jobs"], prefix="/admin/api/jobs")

    @router.get("", summary="Jobs of all keys, newest first")
    async def jobs(
        state: Annotated[JobState | None, Query(description="Only those in this state.")] = None,
        after: Annotated[str | None, Query(description="Id of the last job of the page before.")] = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
    ) -> JobList:
        states = [] if state is None else [state]
        found = await store.list(any_key=True, states=states, after=after, limit=limit)
        return JobList(jobs=[_values(job) for job in found])

    @router.get("/{job_id}", summary="One job with its attempts and what happened to it")
    async def job(job_id: str) -> dict[str, Any]:
        found = await store.get(job_id)
        if found is None:
            raise _unknown(job_id)
        return {
            **_values(found),
            "request": msgspec.to_builtins(found.order.request),
            "attempts_made": [msgspec.to_builtins(one) for one in await store.attempts(job_id)],
            "events": [msgspec.to_builtins(one) for one in await store.events(job_id)],
        }

    @router.post("/{job_id}/resolve", summary="Decide on a job that needs attention")
    async def resolve(job_id: str, decision: JobDecision) -> dict[str, Any]:
        if (decision.decision == "adopt") != (decision.handle is not None):
            raise PolyrouteError(
                ErrorKind.INVALID_REQUEST, "'handle' belongs to 'adopt', and 'adopt' needs it.", param="handle"
            )
        handle = None if decision.handle is None else Handle(id=decision.handle, data=decision.data)
        found = await store.resolve(job_id, decision.decision, handle, time.time())
        if found is None:
            raise PolyrouteError(
                ErrorKind.NOT_FOUND, f"There is no job {job_id[:80]!r} that needs attention.", param="id"
            )
        return _values(found)

    @router.delete("/{job_id}", summary="Ask for a job to be stopped, at its provider too")
    async def cancel(job_id: str) -> dict[str, Any]:
        found = await store.request_cancel(job_id)
        if found is None:
            raise _unknown(job_id)
        return _values(found)

    return router


def _unknown(job_id: str) -> PolyrouteError:
    return PolyrouteError(ErrorKind.NOT_FOUND, f"There is no job {job_id[:80]!r}.", param="id")


def _values(job: Job) -> dict[str, Any]:
    order = job.order
    return {
        "id": job.id, "state": job.state, "task": order.task, "model": order.model, "surface": order.surface,
        "key_id": order.key_id, "user_id": order.user_id, "provider": job.provider,
        "provider_model": job.provider_model, "attempts": job.attempts, "percent": job.percent,
        "created_at": order.created_at, "started_at": job.started_at, "ended_at": job.ended_at,
        "deadline": order.deadline, "executor": job.executor, "cancel_requested": job.cancel_requested,
        "cost_usd": None if job.cost_usd is None else str(job.cost_usd),
        "error": None if job.error is None else msgspec.to_builtins(job.error),
        "artifacts": [] if job.result is None else [one.id for one in job.result.artifacts],
    }  # fmt: skip
