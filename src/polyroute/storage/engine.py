"""The SQLAlchemy engine over a database: for migrations, administration and the control API, never for the hot writer."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import event

if TYPE_CHECKING:
    from polyroute.storage.database import Database


def create_engine(database: Database) -> sa.Engine:
    """A pooled synchronous engine. SQLite connections get our pragmas and take the write lock when a transaction of
    `writing(engine)` begins."""
    if database.kind == "postgresql":
        return sa.create_engine(database.url.replace("postgresql://", "postgresql+psycopg://", 1), pool_pre_ping=True)
    engine = sa.create_engine(f"sqlite:///{database.path}", connect_args={"timeout": 10.0})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def writing(engine: sa.Engine) -> sa.Engine:
    """The engine for transactions that write: on SQLite they wait for the write lock at their start, because a lock that
    is upgraded in mid-transaction fails instead of waiting."""
    return engine.execution_options(polyroute_writing=True)


def _prepare_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves
    for pragma in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=NORMAL", "PRAGMA foreign_keys=ON"):
        connection.execute(pragma)


def _begin_sqlite(connection: sa.Connection) -> None:
    immediate = connection.get_execution_options().get("polyroute_writing", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")
