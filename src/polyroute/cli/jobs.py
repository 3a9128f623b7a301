"""`polyroute jobs`: what there is, what needs attention, and deciding on it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer

from polyroute.cli.options import AsJson, Config, open_ledger, print_table, read_settings, refuse

if TYPE_CHECKING:
    from polyroute.storage.job_pipelines import PipelineTable
    from polyroute.types.jobs import Job

jobs_app = typer.Typer(help="Durable jobs: slow image, video and audio work.", no_args_is_help=True)

JobId = Annotated[str, typer.Argument(help="The job's id.")]

Result = TypeVar("Result")


def _with_table(config: Path | None, work: Callable[[PipelineTable], Awaitable[Result]]) -> Result:
    from polyroute.storage.job_pipelines import PipelineTable  # noqa: PLC0415 - `--help` must not load everything

    settings = read_settings(config)
    table = PipelineTable(open_ledger(settings), settings.jobs.lost_after)

    async def run() -> Result:
        return await work(table)

    try:
        return asyncio.run(run())
    finally:
        table.close()


@jobs_app.command("list")
def jobs_list(
    state: Annotated[str | None, typer.Option(help="Only those in this state, e.g. needs_attention.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many, newest first.")] = 50,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first."""
    from polyroute.types.jobs import JobState  # noqa: PLC0415

    if state is not None and state not in [one.value for one in JobState]:
        refuse(f"there is no state {state}; there are {', '.join(JobState)}")
    states = [] if state is None else [JobState(state)]
    found = _with_table(config, lambda table: table.list(any_key=True, states=states, limit=limit))
    if as_json:
        typer.echo(json.dumps([_values(job) for job in found], indent=2))
        return
    print_table(("id", "state", "task", "model", "at", "tries", "made", "error"), map(_row, found))


@jobs_app.command("show")
def jobs_show(job_id: JobId, config: Config = None) -> None:
    """Show a job with its attempts and what happened to it, as JSON."""

    async def look(table: PipelineTable) -> dict[str, Any] | None:
        import msgspec  # noqa: PLC0415

        job = await table.get(job_id)
        if job is None:
            return None
        attempts = [msgspec.to_builtins(one) for one in await table.attempts(job_id)]
        events = [msgspec.to_builtins(one) for one in await table.events(job_id)]
        return {**_values(job), "attempts_made": attempts, "events": events}

    found = _with_table(config, look)
    if found is None:
        _unknown(job_id)
    typer.echo(json.dumps(found, indent=2, default=str))


@jobs_app.command("cancel")
def jobs_cancel(job_id: JobId, config: Config = None) -> None:
    """Ask for a job to be stopped, at its provider too; the worker that has it does so within a second."""
    job = _with_table(config, lambda table: table.request_cancel(job_id))
    if job is None:
        _unknown(job_id)
    typer.echo(f"{job_id} has ended already ({job.state})." if job.ended else f"{job_id} is being cancelled.")


@jobs_app.command("resolve")
def jobs_resolve(
    job_id: JobId,
    decision: Annotated[
        str,
        typer.Argument(
            help="retry (it was not accepted: submit it again, or look again at work whose handle is known), adopt (it was "
            "accepted, as --handle) or abandon (give it up)."
        ),
    ],
    handle: Annotated[str | None, typer.Option(help="The provider's id of the accepted work, for adopt.")] = None,
    data: Annotated[str | None, typer.Option(help="What the handle holds besides, as a JSON object.")] = None,
    config: Config = None,
) -> None:
    """Decide on a job that needs attention, because nobody knows whether a provider accepted it."""
    from polyroute.types.media import Handle  # noqa: PLC0415

    if decision not in ("retry", "adopt", "abandon"):
        refuse(f"{decision!r} is no decision; there are retry, adopt and abandon")
    if (decision == "adopt") != (handle is not None):
        refuse("adopt takes --handle ID, the others take none")
    try:
        given = None if handle is None else Handle(id=handle, data=json.loads(data) if data else {})
    except ValueError as error:
        refuse(f"--data is no JSON: {error}", error)
    job = _with_table(config, lambda table: table.resolve(job_id, decision, given, time.time()))  # type: ignore[arg-type] # checked above
    if job is None:
        refuse(f"There is no job {job_id} that needs attention.")
    typer.echo(f"{job_id} goes on.")


def _row(job: Job) -> tuple[str, ...]:
    where = "" if job.provider is None else f"{job.provider}/{job.provider_model}"
    error = "" if job.error is None else f"{job.error.kind}: {job.error.message}"
    made = _moment(job.order.created_at)
    return (job.id, job.state, job.order.task, job.order.model, where, str(job.attempts), made, error)


def _values(job: Job) -> dict[str, Any]:
    return {
        "id": job.id, "state": job.state.value, "task": job.order.task.value, "model": job.order.model,
        "surface": job.order.surface, "key_id": job.order.key_id, "provider": job.provider,
        "provider_model": job.provider_model, "attempts": job.attempts, "percent": job.percent,
        "created_at": _moment(job.order.created_at), "started_at": _moment(job.started_at),
        "ended_at": _moment(job.ended_at), "deadline": _moment(job.order.deadline), "executor": job.executor,
        "cost_usd": None if job.cost_usd is None else str(job.cost_usd),
        "error": None if job.error is None else {"kind": job.error.kind, "message": job.error.message},
        "artifacts": [] if job.result is None else [one.id for one in job.result.artifacts],
    }  # fmt: skip


def _moment(seconds: float | None) -> str:
    return "" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _unknown(job_id: str) -> NoReturn:
    refuse(f"There is no job {job_id}; `polyroute jobs list` shows them.")
