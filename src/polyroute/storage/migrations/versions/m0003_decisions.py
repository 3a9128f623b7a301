"""The decision behind each request's plan."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make room for decisions; earlier requests have none."""
    op.create_table(
        "decisions",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("decision", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_decisions"),
    )
    op.add_column("requests", sa.Column("decision", sa.Text))


def downgrade() -> None:
    """Forget them."""
    op.drop_column("requests", "decision")
    op.drop_table("decisions")
