"""What a key may use."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_COLUMNS = ("requests_per_minute", "tokens_per_minute", "concurrency")


def upgrade() -> None:
    """Room for the limits; keys that exist have none."""
    for name in _COLUMNS:
        op.add_column("keys", sa.Column(name, sa.BigInteger))


def downgrade() -> None:
    """Forget the limits."""
    for name in _COLUMNS:
        op.drop_column("keys", name)
