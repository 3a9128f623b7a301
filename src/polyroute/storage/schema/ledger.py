"""Requests, their attempts and decisions, and the labels that they were asked by."""

from __future__ import annotations

import sqlalchemy as sa

from polyroute.storage.schema.columns import Money, UtcTimestamp, metadata

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
