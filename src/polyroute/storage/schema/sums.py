"""What requests and attempts add up to, and how far the upkeep of the ledger has come."""

from __future__ import annotations

import sqlalchemy as sa

from polyroute.storage.rollups import DIMENSIONS, SUMS
from polyroute.storage.schema.columns import Money, metadata

# Sums over `attempts`, kept by the ledger's writer in the transaction that inserts them, so that figures over any number
# of requests are read from a few rows.
attempt_totals = sa.Table(
    "attempt_totals",
    metadata,
    sa.Column("day", sa.Text, primary_key=True, doc="of the start, UTC: 2026-11-20"),
    sa.Column("operation", sa.Text, primary_key=True),
    sa.Column("provider", sa.Text, primary_key=True),
    sa.Column("outcome", sa.Text, primary_key=True),
    sa.Column("error_kind", sa.Text, primary_key=True, doc="empty when there was none"),
    sa.Column("simulated", sa.Boolean, primary_key=True),
    sa.Column("attempts", sa.BigInteger, nullable=False),
    sa.Column("priced", sa.BigInteger, nullable=False, doc="attempts whose cost is known"),
    sa.Column("cost_usd", Money, nullable=False, doc="of the priced ones"),
    sa.Column("duration_ms", sa.Double, nullable=False),
)

# See `rollups.py`: what requests add up to, by bucket of time and by series.
rollup_series = sa.Table(
    "rollup_series",
    metadata,
    sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False, doc="made from the words of the dimensions"),
    *(sa.Column(name, sa.Text, nullable=False, doc="empty where there is none") for name in DIMENSIONS),
    sa.Column("simulated", sa.Boolean, nullable=False),
    sa.Column("priced", sa.Boolean, nullable=False, doc="whether the cost of its requests is known"),
    sqlite_with_rowid=False,
)

rollups = sa.Table(
    "rollups",
    metadata,
    sa.Column(
        "level", sa.Integer, primary_key=True, autoincrement=False, doc="seconds to a bucket: 60, 900, 3600 or 86400"
    ),
    sa.Column(
        "start", sa.BigInteger, primary_key=True, autoincrement=False, doc="of the bucket, seconds since the epoch"
    ),
    sa.Column("series", sa.BigInteger, primary_key=True, autoincrement=False, doc="rollup_series.id"),
    *(sa.Column(name, sa.BigInteger, nullable=False) for name in SUMS),
    sqlite_with_rowid=False,
)

# How far the upkeep of the ledger has come: what was pruned, whether the rollups count everything.
ledger_marks = sa.Table(
    "ledger_marks",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)
