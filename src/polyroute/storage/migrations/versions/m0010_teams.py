"""The team to which a request was counted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Requests of before belong to no team."""
    op.add_column("requests", sa.Column("team_id", sa.Text))


def downgrade() -> None:
    """Forget the teams of requests."""
    op.drop_column("requests", "team_id")
