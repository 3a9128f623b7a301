"""The tables, as SQLAlchemy Core sees them: for migrations, the control API's queries, and whoever reads with Python.

The hot writer does not import this module (SQLAlchemy costs 0.3 s and 34 MB); `rows.py` holds its column lists, and a
test keeps the two equal. Types are chosen so that the same SQL reads well in the sqlite3 shell and on PostgreSQL.
"""

from __future__ import annotations

from polyroute.storage.schema.access import keys, revisions, teams, users
from polyroute.storage.schema.columns import Money, UtcTimestamp, metadata
from polyroute.storage.schema.content import artifact_owners, artifact_remains, artifacts, files, responses
from polyroute.storage.schema.ledger import ai_models, attempts, decisions, requests
from polyroute.storage.schema.money import (
    adopted_prices,
    budget_leases,
    budget_windows,
    budgets,
    deliveries,
    notifications,
    price_snapshots,
)
from polyroute.storage.schema.sums import attempt_totals, ledger_marks, rollup_series, rollups
from polyroute.storage.schema.work import job_attempts, job_events, job_leases, job_workers, jobs

__all__ = [
    "Money",
    "UtcTimestamp",
    "adopted_prices",
    "ai_models",
    "artifact_owners",
    "artifact_remains",
    "artifacts",
    "attempt_totals",
    "attempts",
    "budget_leases",
    "budget_windows",
    "budgets",
    "decisions",
    "deliveries",
    "files",
    "job_attempts",
    "job_events",
    "job_leases",
    "job_workers",
    "jobs",
    "keys",
    "ledger_marks",
    "metadata",
    "notifications",
    "price_snapshots",
    "requests",
    "responses",
    "revisions",
    "rollup_series",
    "rollups",
    "teams",
    "users",
]
