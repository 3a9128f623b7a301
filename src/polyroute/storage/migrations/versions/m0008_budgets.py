"""Teams, users, budgets with their windows and leases, notifications and the outbox of webhooks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables; nobody has a budget yet."""
    on_sqlite = op.get_bind().dialect.name == "sqlite"
    moment = sa.Text() if on_sqlite else sa.DateTime(timezone=True)
    op.add_column("requests", sa.Column("credits", sa.Numeric(20, 10)))
    op.create_table(
        "teams",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_teams"),
    )
    op.create_table(
        "users",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("team", sa.Text),
        sa.Column("created_at", moment, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
    )
    op.create_table(
        "budgets",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("scope", sa.Text, nullable=False),
        sa.Column("subject", sa.Text),
        sa.Column("max_units", sa.BigInteger, nullable=False),
        sa.Column("terms", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_budgets"),
    )
    op.create_table(
        "budget_windows",
        sa.Column("budget_id", sa.Text, nullable=False),
        sa.Column("starts_at", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("spent", sa.BigInteger, nullable=False),
        sa.Column("leased", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("budget_id", "starts_at", name="pk_budget_windows"),
    )
    op.create_table(
        "budget_leases",
        sa.Column("worker", sa.Text, nullable=False),
        sa.Column("budget_id", sa.Text, nullable=False),
        sa.Column("starts_at", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("amount", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("worker", "budget_id", "starts_at", name="pk_budget_leases"),
    )
    op.create_table(
        "notifications",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("data", sa.Text, nullable=False),
        sa.Column("read_at", moment),
        sa.Column("spread", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_notifications"),
    )
    op.create_index("ix_notifications_created_at", "notifications", ["created_at"])
    op.create_table(
        "deliveries",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("secret", sa.Text),
        sa.Column("payload", sa.Text, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("due_at", sa.Double),
        sa.Column("delivered_at", moment),
        sa.Column("error", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_deliveries"),
    )
    op.create_index("ix_deliveries_due_at", "deliveries", ["due_at"])
    op.execute(sa.text("INSERT INTO revisions (name, value) VALUES ('budgets', 1)"))


def downgrade() -> None:
    """Forget all of it."""
    op.execute(sa.text("DELETE FROM revisions WHERE name = 'budgets'"))
    for table in ("deliveries", "notifications", "budget_leases", "budget_windows", "budgets", "users", "teams"):
        op.drop_table(table)
    op.drop_column("requests", "credits")
