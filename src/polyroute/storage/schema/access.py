"""Who may ask: keys, users and teams, and the counters by which other processes notice a change."""

from __future__ import annotations

import sqlalchemy as sa

from polyroute.storage.schema.columns import UtcTimestamp, metadata

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
