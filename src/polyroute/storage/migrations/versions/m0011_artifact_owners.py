"""Which keys an artifact belongs to."""

from __future__ import annotations

import re

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_ID = re.compile(r"\"(art_[0-9a-f]{40})\"")


def upgrade() -> None:
    """What jobs used and made belongs to the keys that ordered them; what came in otherwise is reached through its files."""
    op.create_table(
        "artifact_owners",
        sa.Column("artifact_id", sa.Text, nullable=False),
        sa.Column("key_id", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("artifact_id", "key_id", name="pk_artifact_owners"),
    )
    connection = op.get_bind()
    known = {row[0] for row in connection.execute(sa.text("SELECT id FROM artifacts"))}
    jobs = connection.execute(sa.text("SELECT key_id, request, result FROM jobs WHERE key_id IS NOT NULL"))
    owned = {
        (artifact_id, key_id)
        for key_id, *told in jobs
        for text in told
        for artifact_id in _ID.findall(text or "")
        if artifact_id in known
    }
    if owned:
        rows = [{"artifact": artifact_id, "key": key_id} for artifact_id, key_id in sorted(owned)]
        connection.execute(sa.text("INSERT INTO artifact_owners (artifact_id, key_id) VALUES (:artifact, :key)"), rows)


def downgrade() -> None:
    """Forget them."""
    op.drop_table("artifact_owners")
