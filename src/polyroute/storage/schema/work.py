"""Durable jobs, their attempts and events, and the processes that work on them."""

from __future__ import annotations

import sqlalchemy as sa

from polyroute.storage.schema.columns import Money, UtcTimestamp, metadata

# Durable jobs. A job's row in `requests` has the same id and is written when the job ends.
jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("key_id", sa.Text),
    sa.Column("user_id", sa.Text),
    sa.Column("task", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False, doc="what the caller wrote"),
    sa.Column("surface", sa.Text, nullable=False, doc="the API through which it was asked for"),
    sa.Column("state", sa.Text, nullable=False, index=True),
    sa.Column("percent", sa.Double),
    sa.Column("provider", sa.Text, doc="who works or worked on it"),
    sa.Column("provider_model", sa.Text),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("cost_usd", Money),
    sa.Column("created_at", UtcTimestamp, nullable=False, index=True),
    sa.Column("started_at", UtcTimestamp),
    sa.Column("ended_at", UtcTimestamp),
    sa.Column("deadline", UtcTimestamp, nullable=False),
    sa.Column("request", sa.Text, nullable=False, doc="types.media.MediaRequest as JSON"),
    sa.Column("options", sa.Text, nullable=False, doc="the caller's `polyroute` object"),
    sa.Column("details", sa.Text, nullable=False, doc="what the surface needs to show it, as JSON"),
    sa.Column("result", sa.Text, doc="types.media.Made as JSON"),
    sa.Column("error", sa.Text, doc="types.jobs.JobError as JSON"),
    sa.Column("webhook", sa.Text, doc="types.jobs.JobWebhook as JSON"),
    sa.Column("idempotency", sa.Text, unique=True, doc="the key that asked, and its Idempotency-Key"),
    sa.Column("digest", sa.Text, doc="of the request that came with the Idempotency-Key"),
    sa.Column("executor", sa.Text, doc="the worker that has it"),
    sa.Column("epoch", sa.Integer, nullable=False, doc="how many workers have had it"),
    sa.Column("cancel_requested", sa.Boolean, nullable=False),
    sa.Column("abandoned", sa.Boolean, nullable=False, doc="an operator gave up an unknown acceptance"),
    sa.Column("nudged", sa.Boolean, nullable=False, doc="its provider has reported back"),
)

job_attempts = sa.Table(
    "job_attempts",
    metadata,
    sa.Column("job_id", sa.Text, sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("provider", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("credential", sa.Text),
    sa.Column("phase", sa.Text, nullable=False, doc="types.jobs.Phase"),
    sa.Column("idempotency_key", sa.Text, doc="what was sent with it"),
    sa.Column("handle", sa.Text, doc="the provider's reference, types.media.Handle as JSON"),
    sa.Column("handle_id", sa.Text, index=True, doc="its id, by which the provider reports back"),
    sa.Column("started_at", UtcTimestamp, nullable=False),
    sa.Column("ended_at", UtcTimestamp),
    sa.Column("http_status", sa.Integer),
    sa.Column("error_kind", sa.Text),
    sa.Column("error_message", sa.Text),
    sa.Column("error_detail", sa.Text),
    sqlite_with_rowid=False,
)

job_events = sa.Table(
    "job_events",
    metadata,
    sa.Column("job_id", sa.Text, sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("at", UtcTimestamp, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("data", sa.Text, nullable=False, doc="JSON"),
    sqlite_with_rowid=False,
)

# The processes that work on jobs; one that has not been heard of for a while has lost its jobs to the others.
job_workers = sa.Table(
    "job_workers",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("about", sa.Text, nullable=False, doc="host and process"),
    sa.Column("heard_at", UtcTimestamp, nullable=False),
)

# Places at what all workers of all machines share: a local provider's compute.
job_leases = sa.Table(
    "job_leases",
    metadata,
    sa.Column("resource", sa.Text, primary_key=True),
    sa.Column("slot", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("job_id", sa.Text, nullable=False),
    sa.Column("until", UtcTimestamp, nullable=False),
)
