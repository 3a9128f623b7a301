"""Durable jobs: what was asked for, every attempt with the provider's handle, and who works on it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from polyroute.storage.schema import Money, UtcTimestamp

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """The tables of jobs."""
    op.create_table(
        "jobs",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("key_id", sa.Text),
        sa.Column("user_id", sa.Text),
        sa.Column("task", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("surface", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("percent", sa.Double),
        sa.Column("provider", sa.Text),
        sa.Column("provider_model", sa.Text),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("cost_usd", Money),
        sa.Column("created_at", UtcTimestamp, nullable=False),
        sa.Column("started_at", UtcTimestamp),
        sa.Column("ended_at", UtcTimestamp),
        sa.Column("deadline", UtcTimestamp, nullable=False),
        sa.Column("request", sa.Text, nullable=False),
        sa.Column("options", sa.Text, nullable=False),
        sa.Column("details", sa.Text, nullable=False),
        sa.Column("result", sa.Text),
        sa.Column("error", sa.Text),
        sa.Column("webhook", sa.Text),
        sa.Column("idempotency", sa.Text),
        sa.Column("digest", sa.Text),
        sa.Column("executor", sa.Text),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("cancel_requested", sa.Boolean, nullable=False),
        sa.Column("abandoned", sa.Boolean, nullable=False),
        sa.Column("nudged", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
        sa.UniqueConstraint("idempotency", name="uq_jobs_idempotency"),
    )
    op.create_index("ix_jobs_state", "jobs", ["state"])
    op.create_index("ix_jobs_created_at", "jobs", ["created_at"])
    op.create_table(
        "job_attempts",
        sa.Column("job_id", sa.Text, nullable=False),
        sa.Column("number", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("credential", sa.Text),
        sa.Column("phase", sa.Text, nullable=False),
        sa.Column("idempotency_key", sa.Text),
        sa.Column("handle", sa.Text),
        sa.Column("handle_id", sa.Text),
        sa.Column("started_at", UtcTimestamp, nullable=False),
        sa.Column("ended_at", UtcTimestamp),
        sa.Column("http_status", sa.Integer),
        sa.Column("error_kind", sa.Text),
        sa.Column("error_message", sa.Text),
        sa.Column("error_detail", sa.Text),
        sa.PrimaryKeyConstraint("job_id", "number", name="pk_job_attempts"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_job_attempts_job_id_jobs", ondelete="CASCADE"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_job_attempts_handle_id", "job_attempts", ["handle_id"])
    op.create_table(
        "job_events",
        sa.Column("job_id", sa.Text, nullable=False),
        sa.Column("number", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("at", UtcTimestamp, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("data", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("job_id", "number", name="pk_job_events"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_job_events_job_id_jobs", ondelete="CASCADE"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "job_workers",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("about", sa.Text, nullable=False),
        sa.Column("heard_at", UtcTimestamp, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_job_workers"),
    )
    op.create_table(
        "job_leases",
        sa.Column("resource", sa.Text, nullable=False),
        sa.Column("slot", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("job_id", sa.Text, nullable=False),
        sa.Column("until", UtcTimestamp, nullable=False),
        sa.PrimaryKeyConstraint("resource", "slot", name="pk_job_leases"),
    )


def downgrade() -> None:
    """Forget all jobs."""
    for name in ("job_leases", "job_workers", "job_events", "job_attempts", "jobs"):
        op.drop_table(name)
