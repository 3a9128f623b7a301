"""Usage of images and video in buckets of its own, cost by the table beside cost as reported, and published prices."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def _columns() -> list[sa.Column[object]]:
    return [
        sa.Column("image_input_tokens", sa.BigInteger),
        sa.Column("image_output_tokens", sa.BigInteger),
        sa.Column("image_size", sa.Text),
        sa.Column("image_quality", sa.Text),
        sa.Column("megapixels", sa.Double),
        sa.Column("video_seconds", sa.Double),
        sa.Column("video_size", sa.Text),
        sa.Column("provider_requests", sa.BigInteger),
        sa.Column("web_searches", sa.BigInteger),
        sa.Column("compute_seconds", sa.Double),
        sa.Column("hardware", sa.Text),
        sa.Column("service_tier", sa.Text),
        sa.Column("reported_credits", sa.Numeric(20, 10)),
        sa.Column("priced_cost_usd", sa.Numeric(20, 10)),
    ]


def upgrade() -> None:
    """Room for all of it; of earlier requests it is not known."""
    moment = sa.Text() if op.get_bind().dialect.name == "sqlite" else sa.DateTime(timezone=True)
    for column in _columns():
        op.add_column("requests", column)
    op.create_table(
        "price_snapshots",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("fetched_at", moment, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("prices", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_price_snapshots"),
    )
    op.create_table(
        "adopted_prices",
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("price", sa.Text, nullable=False),
        sa.Column("snapshot_id", sa.Text, nullable=False),
        sa.Column("adopted_at", moment, nullable=False),
        sa.PrimaryKeyConstraint("provider", "model", name="pk_adopted_prices"),
    )


def downgrade() -> None:
    """Forget it."""
    op.drop_table("adopted_prices")
    op.drop_table("price_snapshots")
    for column in _columns():
        op.drop_column("requests", column.name)
