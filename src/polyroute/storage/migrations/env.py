"""Alembic's entry: the caller hands over an open connection and its transaction."""

from __future__ import annotations

from alembic import context

from polyroute.storage.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    compare_type=True,
)
context.run_migrations()
