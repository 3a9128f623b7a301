"""Rollups of requests, and marks of how far the ledger's upkeep has come."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_DIMENSIONS = (
    "provider",
    "model",
    "route",
    "key_id",
    "user_id",
    "team_id",
    "operation",
    "status",
    "error_kind",
    "tag_name",
    "tag_value",
)
_COUNTS = (
    "requests",
    "fallbacks",
    "failed_attempts",
    "unpriced",
    "estimated",
    "unmetered",
    "input_tokens",
    "cache_read_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "output_tokens",
    "reasoning_tokens",
    "audio_input_tokens",
    "audio_output_tokens",
    "images",
    "media_ms",
    "characters",
    "cost_e10",
    "latency_us",
    "ttft_us",
    *(f"latency_{number:02}" for number in range(41)),
    *(f"ttft_{number:02}" for number in range(41)),
)


def upgrade() -> None:
    """Empty rollups; requests that are there already are counted by the upkeep of the first start."""
    op.create_table(
        "rollup_series",
        sa.Column("id", sa.BigInteger, nullable=False, autoincrement=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in _DIMENSIONS),
        sa.Column("simulated", sa.Boolean, nullable=False),
        sa.Column("priced", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_rollup_series"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "rollups",
        sa.Column("level", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("start", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("series", sa.BigInteger, nullable=False, autoincrement=False),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in _COUNTS),
        sa.PrimaryKeyConstraint("level", "start", "series", name="pk_rollups"),
        sqlite_with_rowid=False,
    )
    marks = op.create_table(
        "ledger_marks",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_ledger_marks"),
    )
    if op.get_bind().execute(sa.text("SELECT 1 FROM requests LIMIT 1")).first() is None:
        op.bulk_insert(marks, [{"name": "rollups_counted", "value": "from the first request on"}])


def downgrade() -> None:
    """Forget the rollups."""
    for table in ("ledger_marks", "rollups", "rollup_series"):
        op.drop_table(table)
