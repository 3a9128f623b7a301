"""Ledger and keys: the first schema.

Written out in full, not taken from `storage.schema`: a migration must not change when the schema moves on.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create everything."""
    moment = sa.Text() if op.get_bind().dialect.name == "sqlite" else sa.DateTime(timezone=True)
    money = sa.Numeric(20, 10)
    op.create_table(
        "ai_models",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("operation", sa.Text, nullable=False),
        sa.Column("token_cost", money),
        sa.PrimaryKeyConstraint("id", name="pk_ai_models"),
    )
    op.create_table(
        "requests",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("operation", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("requested_model", sa.Text, nullable=False),
        sa.Column("dialect", sa.Text, nullable=False),
        sa.Column("stream", sa.Boolean, nullable=False),
        sa.Column("user_id", sa.Text),
        sa.Column("key_id", sa.Text),
        sa.Column("model_id", sa.Text),
        sa.Column("route", sa.Text),
        sa.Column("policy", sa.Text),
        sa.Column("actual_provider", sa.Text),
        sa.Column("actual_model", sa.Text),
        sa.Column("finish_reason", sa.Text),
        sa.Column("input_tokens", sa.BigInteger),
        sa.Column("cache_read_tokens", sa.BigInteger),
        sa.Column("cache_write_5m_tokens", sa.BigInteger),
        sa.Column("cache_write_1h_tokens", sa.BigInteger),
        sa.Column("output_tokens", sa.BigInteger),
        sa.Column("reasoning_tokens", sa.BigInteger),
        sa.Column("audio_input_tokens", sa.BigInteger),
        sa.Column("audio_output_tokens", sa.BigInteger),
        sa.Column("images", sa.BigInteger),
        sa.Column("seconds", sa.Double),
        sa.Column("characters", sa.BigInteger),
        sa.Column("usage_estimated", sa.Boolean, nullable=False),
        sa.Column("usage_raw", sa.Text),
        sa.Column("cost_usd", money),
        sa.Column("cost_origin", sa.Text),
        sa.Column("price_version", sa.Text),
        sa.Column("latency_ms", sa.Double, nullable=False),
        sa.Column("ttft_ms", sa.Double),
        sa.Column("http_status", sa.Integer, nullable=False),
        sa.Column("error_kind", sa.Text),
        sa.Column("error_message", sa.Text),
        sa.Column("simulated", sa.Boolean, nullable=False),
        sa.Column("drops", sa.JSON),
        sa.Column("dropped_parameters", sa.JSON),
        sa.Column("tags", sa.JSON),
        sa.Column("input_text", sa.Text),
        sa.Column("output_text", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_requests"),
    )
    op.create_index("ix_requests_created_at", "requests", ["created_at"])
    op.create_table(
        "attempts",
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("operation", sa.Text, nullable=False),
        sa.Column("simulated", sa.Boolean, nullable=False),
        sa.Column("started_at", moment, nullable=False),
        sa.Column("duration_ms", sa.Double, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("credential", sa.Text),
        sa.Column("http_status", sa.Integer),
        sa.Column("error_kind", sa.Text),
        sa.Column("error_message", sa.Text),
        sa.Column("error_detail", sa.Text),
        sa.Column("input_tokens", sa.BigInteger),
        sa.Column("output_tokens", sa.BigInteger),
        sa.Column("cost_usd", money),
        sa.Column("upstream_request_id", sa.Text),
        sa.PrimaryKeyConstraint("request_id", "number", name="pk_attempts"),
        sa.ForeignKeyConstraint(
            ["request_id"], ["requests.id"], name="fk_attempts_request_id_requests", ondelete="CASCADE"
        ),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "attempt_totals",
        sa.Column("day", sa.Text, nullable=False),
        sa.Column("operation", sa.Text, nullable=False),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("error_kind", sa.Text, nullable=False),
        sa.Column("simulated", sa.Boolean, nullable=False),
        sa.Column("attempts", sa.BigInteger, nullable=False),
        sa.Column("priced", sa.BigInteger, nullable=False),
        sa.Column("cost_usd", money, nullable=False),
        sa.Column("duration_ms", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint(
            "day", "operation", "provider", "outcome", "error_kind", "simulated", name="pk_attempt_totals"
        ),
    )
    op.create_table(
        "keys",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("prefix", sa.Text, nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("routes", sa.JSON(none_as_null=True)),
        sa.Column("user_id", sa.Text),
        sa.Column("revoked_at", moment),
        sa.Column("operator", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_keys"),
        sa.UniqueConstraint("digest", name="uq_keys_digest"),
    )
    revisions = op.create_table(
        "revisions",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("value", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_revisions"),
    )
    op.bulk_insert(revisions, [{"name": "keys", "value": 0}])


def downgrade() -> None:
    """Remove everything, the ledger included."""
    for table in ("revisions", "keys", "attempt_totals", "attempts", "requests", "ai_models"):
        op.drop_table(table)
