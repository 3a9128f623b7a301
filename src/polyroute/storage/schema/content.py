"""What is kept for callers: answers that they may continue, files and what was made for them."""

from __future__ import annotations

import sqlalchemy as sa

from polyroute.storage.schema.columns import UtcTimestamp, metadata

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
