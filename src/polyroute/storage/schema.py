"""The tables, as SQLAlchemy Core sees them: for migrations, the control API's queries, and whoever reads with Python.

The hot writer does not import this module (SQLAlchemy costs 0.3 s and 34 MB); `rows.py` holds its column lists, and a
test keeps the two equal. Types are chosen so that the same SQL reads well in the sqlite3 shell and on PostgreSQL.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeEngine

from polyroute.storage.rollups import DIMENSIONS, SUMS
from polyroute.storage.values import MONEY_SCALE, parse_timestamp, timestamp_text

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class UtcTimestamp(sa.types.TypeDecorator[datetime]):
    """A moment. `timestamptz` on PostgreSQL; on SQLite the text `2026-11-20 21:12:48.123456`, always UTC."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Text on SQLite, under a name that its users expect to see."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(sa.Text())
        return dialect.type_descriptor(sa.DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Aware datetimes only: a naive one has no moment."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a timestamp needs a time zone")
        return timestamp_text(value.timestamp()) if dialect.name == "sqlite" else value.astimezone(UTC)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Aware datetimes in UTC."""
        if value is None:
            return None
        return parse_timestamp(value) if isinstance(value, str) else value.astimezone(UTC)


class Money(sa.types.TypeDecorator[Decimal]):
    """An amount in USD with ten decimal places. SQLite keeps it as a number that its own SUM understands, exact up to
    fifteen significant digits."""

    impl = sa.Numeric(20, MONEY_SCALE)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """On SQLite the driver's own number, without SQLAlchemy's warning about floats."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(sa.Numeric(20, MONEY_SCALE, asdecimal=False))
        return dialect.type_descriptor(sa.Numeric(20, MONEY_SCALE))

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Any:
        """Floats are not money."""
        if value is None:
            return None
        return float(value) if dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        """Decimal on both databases."""
        return None if value is None else Decimal(str(value)).quantize(Decimal(1).scaleb(-MONEY_SCALE))


ai_models = sa.Table(
    "ai_models",
    metadata,
    sa.Column("id", sa.Text, primary_key=True, doc="operation:name"),
    sa.Column("name", sa.Text, nullable=False, doc="what callers write in `model`"),
    sa.Column("provider", sa.Text, nullable=False, doc="the provider that is expected to serve it: the first target's"),
    sa.Column("operation", sa.Text, nullable=False),
    sa.Column("token_cost", Money, doc="what users are charged for one use, in credits"),
)

# model_id, key_id, user_id and team_id are no foreign keys: a ledger takes every settled request, whatever became of the key or
# label that it names.
requests = sa.Table(
    "requests",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("created_at", UtcTimestamp, nullable=False),
    sa.Column("operation", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("requested_model", sa.Text, nullable=False),
    sa.Column("dialect", sa.Text, nullable=False),
    sa.Column("stream", sa.Boolean, nullable=False),
    sa.Column("user_id", sa.Text),
    sa.Column("key_id", sa.Text),
    sa.Column("model_id", sa.Text),
    sa.Column("route", sa.Text),
    sa.Column("policy", sa.Text),
    sa.Column("actual_provider", sa.Text),
    sa.Column("actual_model", sa.Text),
    sa.Column("finish_reason", sa.Text),
    sa.Column("input_tokens", sa.BigInteger),
    sa.Column("cache_read_tokens", sa.BigInteger),
    sa.Column("cache_write_5m_tokens", sa.BigInteger),
    sa.Column("cache_write_1h_tokens", sa.BigInteger),
    sa.Column("output_tokens", sa.BigInteger),
    sa.Column("reasoning_tokens", sa.BigInteger),
    sa.Column("audio_input_tokens", sa.BigInteger),
    sa.Column("audio_output_tokens", sa.BigInteger),
    sa.Column("images", sa.BigInteger),
    sa.Column("seconds", sa.Double),
    sa.Column("characters", sa.BigInteger),
    sa.Column("usage_estimated", sa.Boolean, nullable=False),
    sa.Column("usage_raw", sa.Text),
    sa.Column("cost_usd", Money),
    sa.Column("cost_origin", sa.Text),
    sa.Column("price_version", sa.Text),
    sa.Column("latency_ms", sa.Double, nullable=False),
    sa.Column("ttft_ms", sa.Double),
    sa.Column("http_status", sa.Integer, nullable=False),
    sa.Column("error_kind", sa.Text),
    sa.Column("error_message", sa.Text),
    sa.Column("simulated", sa.Boolean, nullable=False),
    sa.Column("drops", sa.JSON, doc="[[target, reason], …]"),
    sa.Column("dropped_parameters", sa.JSON, doc="[name, …]"),
    sa.Column("tags", sa.JSON, doc="{name: value}"),
    sa.Column("input_text", sa.Text),
    sa.Column("output_text", sa.Text),
    sa.Column("decision", sa.Text, doc="its JSON, or the id of one in `decisions`"),
    sa.Column("credits", Money, doc="what the caller was charged in credits"),
    sa.Column("image_input_tokens", sa.BigInteger),
    sa.Column("image_output_tokens", sa.BigInteger),
    sa.Column("image_size", sa.Text),
    sa.Column("image_quality", sa.Text),
    sa.Column("megapixels", sa.Double),
    sa.Column("video_seconds", sa.Double),
    sa.Column("video_size", sa.Text),
    sa.Column("provider_requests", sa.BigInteger, doc="charged calls, where one answer took several"),
    sa.Column("web_searches", sa.BigInteger),
    sa.Column("compute_seconds", sa.Double),
    sa.Column("hardware", sa.Text),
    sa.Column("service_tier", sa.Text, doc="batch, flex …; NULL is the usual one"),
    sa.Column("reported_credits", Money, doc="what the provider charged, in units of its own"),
    sa.Column("priced_cost_usd", Money, doc="by the price table, where cost_usd is reported"),
    sa.Column("team_id", sa.Text, doc="the team of its user at the time"),
    # Each index costs every request; figures by provider come from attempt_totals instead.
    sa.Index(None, "created_at"),
)

# Decisions that many requests share: `requests.decision` names them.
decisions = sa.Table(
    "decisions",
    metadata,
    sa.Column("id", sa.Text, primary_key=True, doc="digest of the decision"),
    sa.Column("decision", sa.Text, nullable=False),
)

attempts = sa.Table(
    "attempts",
    metadata,
    sa.Column("request_id", sa.Text, sa.ForeignKey("requests.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("provider", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("operation", sa.Text, nullable=False, doc="the request's, so that statistics need no join"),
    sa.Column("simulated", sa.Boolean, nullable=False, doc="the request's"),
    sa.Column("started_at", UtcTimestamp, nullable=False),
    sa.Column("duration_ms", sa.Double, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("credential", sa.Text),
    sa.Column("http_status", sa.Integer),
    sa.Column("error_kind", sa.Text),
    sa.Column("error_message", sa.Text),
    sa.Column("error_detail", sa.Text),
    sa.Column("input_tokens", sa.BigInteger),
    sa.Column("output_tokens", sa.BigInteger),
    sa.Column("cost_usd", Money, doc="for the attempt that served: the request's"),
    sa.Column("upstream_request_id", sa.Text),
    sqlite_with_rowid=False,
)

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

keys = sa.Table(
    "keys",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("digest", sa.LargeBinary, nullable=False, unique=True, doc="HMAC-SHA-256 of the key under the pepper"),
    sa.Column("prefix", sa.Text, nullable=False, doc="the key's first characters, to recognise it by"),
    sa.Column("created_at", UtcTimestamp, nullable=False),
    sa.Column("routes", sa.JSON(none_as_null=True), doc="[name, …]; NULL allows every route"),
    sa.Column("user_id", sa.Text),
    sa.Column("revoked_at", UtcTimestamp),
    sa.Column("operator", sa.Boolean, nullable=False, doc="may use the operators' API"),
    sa.Column("requests_per_minute", sa.BigInteger, doc="NULL is without limit"),
    sa.Column("tokens_per_minute", sa.BigInteger, doc="NULL is without limit"),
    sa.Column("concurrency", sa.BigInteger, doc="requests at once; NULL is without limit"),
)

# One counter for each kind of state that other processes watch; whoever changes that state raises it in the same
# transaction, so that a watcher needs one cheap look.
revisions = sa.Table(
    "revisions",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.BigInteger, nullable=False),
)

# Answers of /v1/responses that callers may continue: content, kept for as long as the retention setting says.
responses = sa.Table(
    "responses",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("key_id", sa.Text),
    sa.Column("expires_at", UtcTimestamp, nullable=False, index=True),
    sa.Column("response", sa.Text, nullable=False),
    sa.Column("items", sa.Text, nullable=False),
)

teams = sa.Table(
    "teams",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("created_at", UtcTimestamp, nullable=False),
)

users = sa.Table(
    "users",
    metadata,
    sa.Column("id", sa.Text, primary_key=True, doc="what keys.user_id and requests.user_id name"),
    sa.Column("team", sa.Text),
    sa.Column("created_at", UtcTimestamp, nullable=False),
)

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

artifacts = sa.Table(
    "artifacts",
    metadata,
    sa.Column("id", sa.Text, primary_key=True, doc="`art_` and the start of the hash"),
    sa.Column("sha256", sa.Text, nullable=False),
    sa.Column("blob", sa.Text, nullable=False, doc="where its bytes are in the store; never used again once deleted"),
    sa.Column("media_type", sa.Text, nullable=False, doc="told from the bytes"),
    sa.Column("family", sa.Text, doc="image, audio, video or text"),
    sa.Column("size", sa.BigInteger, nullable=False, doc="bytes"),
    sa.Column("width", sa.BigInteger),
    sa.Column("height", sa.BigInteger),
    sa.Column("duration_s", sa.Double),
    sa.Column("fps", sa.Double),
    sa.Column("created_at", UtcTimestamp, nullable=False),
    sa.Column("expires_at", UtcTimestamp, index=True, doc="NULL is never; a file that names it holds it longer"),
    sa.Column("simulated", sa.Boolean, nullable=False),
    sa.Column("origin", sa.Text, nullable=False),
)

# Blobs that belong to no artifact: on their way in since then, or (long ago) waiting to be deleted.
artifact_remains = sa.Table(
    "artifact_remains",
    metadata,
    sa.Column("blob", sa.Text, primary_key=True),
    sa.Column("since", UtcTimestamp, nullable=False),
)

# Whose artifacts are: the same bytes may be several keys'. A key also has those that its files name.
artifact_owners = sa.Table(
    "artifact_owners",
    metadata,
    sa.Column("artifact_id", sa.Text, primary_key=True),
    sa.Column("key_id", sa.Text, primary_key=True),
)

# What callers uploaded: their names for artifacts.
files = sa.Table(
    "files",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("artifact_id", sa.Text, sa.ForeignKey("artifacts.id"), nullable=False, index=True),
    sa.Column("key_id", sa.Text),
    sa.Column("filename", sa.Text, nullable=False),
    sa.Column("purpose", sa.Text, nullable=False),
    sa.Column("created_at", UtcTimestamp, nullable=False),
    sa.Column("expires_at", UtcTimestamp, index=True),
    sa.Index(None, "key_id", "created_at"),
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

# Durable jobs. A job's row in `requests` has the same id and is written when the job ends.
jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("key_id", sa.Text),
    sa.Column("user_id", sa.Text),
    sa.Column("task", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False, doc="what the caller wrote"),
    sa.Column("surface", sa.Text, nullable=False, doc="the API through which it was asked for"),
    sa.Column("state", sa.Text, nullable=False, index=True),
    sa.Column("percent", sa.Double),
    sa.Column("provider", sa.Text, doc="who works or worked on it"),
    sa.Column("provider_model", sa.Text),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("cost_usd", Money),
    sa.Column("created_at", UtcTimestamp, nullable=False, index=True),
    sa.Column("started_at", UtcTimestamp),
    sa.Column("ended_at", UtcTimestamp),
    sa.Column("deadline", UtcTimestamp, nullable=False),
    sa.Column("request", sa.Text, nullable=False, doc="types.media.MediaRequest as JSON"),
    sa.Column("options", sa.Text, nullable=False, doc="the caller's `polyroute` object"),
    sa.Column("details", sa.Text, nullable=False, doc="what the surface needs to show it, as JSON"),
    sa.Column("result", sa.Text, doc="types.media.Made as JSON"),
    sa.Column("error", sa.Text, doc="types.jobs.JobError as JSON"),
    sa.Column("webhook", sa.Text, doc="types.jobs.JobWebhook as JSON"),
    sa.Column("idempotency", sa.Text, unique=True, doc="the key that asked, and its Idempotency-Key"),
    sa.Column("digest", sa.Text, doc="of the request that came with the Idempotency-Key"),
    sa.Column("executor", sa.Text, doc="the worker that has it"),
    sa.Column("epoch", sa.Integer, nullable=False, doc="how many workers have had it"),
    sa.Column("cancel_requested", sa.Boolean, nullable=False),
    sa.Column("abandoned", sa.Boolean, nullable=False, doc="an operator gave up an unknown acceptance"),
    sa.Column("nudged", sa.Boolean, nullable=False, doc="its provider has reported back"),
)

job_attempts = sa.Table(
    "job_attempts",
    metadata,
    sa.Column("job_id", sa.Text, sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("provider", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("credential", sa.Text),
    sa.Column("phase", sa.Text, nullable=False, doc="types.jobs.Phase"),
    sa.Column("idempotency_key", sa.Text, doc="what was sent with it"),
    sa.Column("handle", sa.Text, doc="the provider's reference, types.media.Handle as JSON"),
    sa.Column("handle_id", sa.Text, index=True, doc="its id, by which the provider reports back"),
    sa.Column("started_at", UtcTimestamp, nullable=False),
    sa.Column("ended_at", UtcTimestamp),
    sa.Column("http_status", sa.Integer),
    sa.Column("error_kind", sa.Text),
    sa.Column("error_message", sa.Text),
    sa.Column("error_detail", sa.Text),
    sqlite_with_rowid=False,
)

job_events = sa.Table(
    "job_events",
    metadata,
    sa.Column("job_id", sa.Text, sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("at", UtcTimestamp, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("data", sa.Text, nullable=False, doc="JSON"),
    sqlite_with_rowid=False,
)

# The processes that work on jobs; one that has not been heard of for a while has lost its jobs to the others.
job_workers = sa.Table(
    "job_workers",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("about", sa.Text, nullable=False, doc="host and process"),
    sa.Column("heard_at", UtcTimestamp, nullable=False),
)

# Places at what all workers of all machines share: a local provider's compute.
job_leases = sa.Table(
    "job_leases",
    metadata,
    sa.Column("resource", sa.Text, primary_key=True),
    sa.Column("slot", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("job_id", sa.Text, nullable=False),
    sa.Column("until", UtcTimestamp, nullable=False),
)
