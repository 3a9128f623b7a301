"""Stored media, and the files that callers uploaded."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make room for artifacts."""
    moment = sa.Text() if op.get_bind().dialect.name == "sqlite" else sa.DateTime(timezone=True)
    op.create_table(
        "artifacts",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("blob", sa.Text, nullable=False),
        sa.Column("media_type", sa.Text, nullable=False),
        sa.Column("family", sa.Text),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("width", sa.BigInteger),
        sa.Column("height", sa.BigInteger),
        sa.Column("duration_s", sa.Double),
        sa.Column("fps", sa.Double),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("expires_at", moment),
        sa.Column("simulated", sa.Boolean, nullable=False),
        sa.Column("origin", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_artifacts"),
    )
    op.create_index("ix_artifacts_expires_at", "artifacts", ["expires_at"])
    op.create_table(
        "artifact_remains",
        sa.Column("blob", sa.Text, nullable=False),
        sa.Column("since", moment, nullable=False),
        sa.PrimaryKeyConstraint("blob", name="pk_artifact_remains"),
    )
    op.create_table(
        "files",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("artifact_id", sa.Text, nullable=False),
        sa.Column("key_id", sa.Text),
        sa.Column("filename", sa.Text, nullable=False),
        sa.Column("purpose", sa.Text, nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("expires_at", moment),
        sa.ForeignKeyConstraint(["artifact_id"], ["artifacts.id"], name="fk_files_artifact_id_artifacts"),
        sa.PrimaryKeyConstraint("id", name="pk_files"),
    )
    op.create_index("ix_files_key_id_created_at", "files", ["key_id", "created_at"])
    op.create_index("ix_files_artifact_id", "files", ["artifact_id"])
    op.create_index("ix_files_expires_at", "files", ["expires_at"])


def downgrade() -> None:
    """Forget them; the bytes stay where they are."""
    for name in ("files", "artifact_remains", "artifacts"):
        op.drop_table(name)
