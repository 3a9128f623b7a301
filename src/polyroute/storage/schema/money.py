"""Budgets, notifications and their deliveries, and prices that providers publish."""

from __future__ import annotations

import sqlalchemy as sa

from polyroute.storage.schema.columns import UtcTimestamp, metadata

# Amounts of budgets are whole numbers of 10^-10 US dollars, or credits: databases add them exactly.
budgets = sa.Table(
    "budgets",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("source", sa.Text, nullable=False, doc="`settings` or `api`: who owns it"),
    sa.Column("scope", sa.Text, nullable=False),
    sa.Column("subject", sa.Text),
    sa.Column("max_units", sa.BigInteger, nullable=False),
    sa.Column("terms", sa.Text, nullable=False, doc="all of it, as JSON"),
)

budget_windows = sa.Table(
    "budget_windows",
    metadata,
    sa.Column("budget_id", sa.Text, primary_key=True),
    sa.Column("starts_at", sa.BigInteger, primary_key=True, autoincrement=False, doc="seconds since the epoch"),
    sa.Column("spent", sa.BigInteger, nullable=False),
    sa.Column("leased", sa.BigInteger, nullable=False, doc="what workers hold: the sum of budget_leases"),
)

budget_leases = sa.Table(
    "budget_leases",
    metadata,
    sa.Column("worker", sa.Text, primary_key=True),
    sa.Column("budget_id", sa.Text, primary_key=True),
    sa.Column("starts_at", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("amount", sa.BigInteger, nullable=False),
    sa.Column("expires_at", sa.Double, nullable=False, doc="seconds since the epoch"),
)

notifications = sa.Table(
    "notifications",
    metadata,
    sa.Column("id", sa.Text, primary_key=True, doc="what makes it unique: it is told once"),
    sa.Column("created_at", UtcTimestamp, nullable=False, index=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("data", sa.Text, nullable=False, doc="JSON"),
    sa.Column("read_at", UtcTimestamp),
    sa.Column("spread", sa.Boolean, nullable=False, doc="whether the webhooks that want it are in `deliveries`"),
)

# The outbox: webhooks that are to be delivered, and what became of them.
deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("id", sa.Text, primary_key=True, doc="the receiver's `webhook-id`"),
    sa.Column("created_at", UtcTimestamp, nullable=False),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("secret", sa.Text, doc="NULL: the one of the configuration"),
    sa.Column("payload", sa.Text, nullable=False),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("due_at", sa.Double, index=True, doc="seconds since the epoch; NULL when nothing is left to do"),
    sa.Column("delivered_at", UtcTimestamp),
    sa.Column("error", sa.Text),
)

# Prices that providers publish themselves, as they were fetched: one row for each fetch that differed from the last.
price_snapshots = sa.Table(
    "price_snapshots",
    metadata,
    sa.Column("id", sa.Text, primary_key=True, doc="provider and digest of the prices"),
    sa.Column("provider", sa.Text, nullable=False),
    sa.Column("fetched_at", UtcTimestamp, nullable=False, doc="when these prices were last seen"),
    sa.Column("source", sa.Text, nullable=False, doc="the address that was asked"),
    sa.Column("prices", sa.Text, nullable=False, doc="JSON: rate cards by model id"),
)

# Rate cards that an operator took over from a snapshot; they stand before the price tables.
adopted_prices = sa.Table(
    "adopted_prices",
    metadata,
    sa.Column("provider", sa.Text, primary_key=True),
    sa.Column("model", sa.Text, primary_key=True),
    sa.Column("price", sa.Text, nullable=False, doc="JSON: the rate card"),
    sa.Column("snapshot_id", sa.Text, nullable=False),
    sa.Column("adopted_at", UtcTimestamp, nullable=False),
)
