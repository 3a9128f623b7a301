"""Opening the database: its schema is at head, or the start is refused with the way to mend it.

A start whose schema is at head costs one SELECT on the plain driver; SQLAlchemy and Alembic are imported only to migrate,
to administer, and to answer the control API.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol
from urllib.parse import unquote, urlsplit, urlunsplit

from polyroute.storage.media_rows import ARTIFACT_COLUMNS, FILE_COLUMNS
from polyroute.storage.rollups import ROLLUP_KEY, SERIES_COLUMNS, SUMS
from polyroute.storage.rows import ATTEMPT_COLUMNS, DECISION_COLUMNS, KEY_COLUMNS, MODEL_COLUMNS, REQUEST_COLUMNS
from polyroute.storage.totals import TOTALS_KEY, TOTALS_SUMS
from polyroute.storage.values import timestamp_text, timestamp_value

if TYPE_CHECKING:
    import sqlalchemy as sa

SCHEMA_HEAD = "0011"
"""The newest migration. A test compares it with what Alembic finds."""

_BUSY_SECONDS = 10.0
_USED_COLUMNS = {
    "requests": REQUEST_COLUMNS,
    "attempts": ATTEMPT_COLUMNS,
    "attempt_totals": TOTALS_KEY + TOTALS_SUMS,
    "rollup_series": SERIES_COLUMNS,
    "rollups": ROLLUP_KEY + SUMS,
    "ledger_marks": ("name", "value"),
    "ai_models": MODEL_COLUMNS,
    "decisions": DECISION_COLUMNS,
    "keys": KEY_COLUMNS,
    "revisions": ("name", "value"),
    "teams": ("id", "created_at"),
    "users": ("id", "team", "created_at"),
    "budgets": ("id", "source", "scope", "subject", "max_units", "terms"),
    "budget_windows": ("budget_id", "starts_at", "spent", "leased"),
    "budget_leases": ("worker", "budget_id", "starts_at", "amount", "expires_at"),
    "notifications": ("id", "created_at", "kind", "subject", "message", "data", "read_at", "spread"),
    "deliveries": ("id", "created_at", "url", "secret", "payload", "tries", "due_at", "delivered_at", "error"),
    "responses": ("id", "key_id", "expires_at", "response", "items"),
    "artifacts": ARTIFACT_COLUMNS,
    "artifact_remains": ("blob", "since"),
    "files": FILE_COLUMNS,
    "price_snapshots": ("id", "provider", "fetched_at", "source", "prices"),
    "adopted_prices": ("provider", "model", "price", "snapshot_id", "adopted_at"),
}
_PATIENCE: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "tcp_user_timeout": 20_000,
}
"""For PostgreSQL: a server that vanished without a word must not be waited for without end."""
_SQLITE_PRAGMAS = (
    "PRAGMA synchronous=NORMAL",
    "PRAGMA foreign_keys=ON",
    "PRAGMA wal_autocheckpoint=4000",  # pages: 16 MB, so that a page that fills up is copied once, not four times
)


class StorageError(Exception):
    """The database cannot be used as it is; the message says what to do about it."""


class Cursor(Protocol):
    """What we use of a DB-API cursor."""

    def fetchone(self) -> Any:
        """The next row or None."""

    def fetchall(self) -> list[Any]:
        """The remaining rows."""

    @property
    def rowcount(self) -> int:
        """Rows that the statement changed."""


class Driver:
    """One connection of the plain driver, for the hot writer and for watchers. Not shared between threads.

    SQL is written with `?` for parameters, which becomes the driver's own mark.
    """

    def __init__(self, kind: Literal["sqlite", "postgresql"], connection: Any) -> None:
        self.kind = kind
        self._connection = connection

    def sql(self, text: str) -> str:
        """The statement with the driver's parameter marks."""
        return text if self.kind == "sqlite" else text.replace("?", "%s")

    def execute(self, text: str, parameters: Sequence[Any] = ()) -> Cursor:
        """Run one statement that went through `sql`."""
        cursor: Cursor = self._connection.execute(text, parameters)
        return cursor

    def timestamp(self, seconds: float) -> str | datetime:
        """A moment as the driver binds it."""
        return timestamp_text(seconds) if self.kind == "sqlite" else timestamp_value(seconds)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything in the block or nothing. On SQLite the write lock is taken at once, never upgraded to."""
        self._connection.execute("BEGIN IMMEDIATE" if self.kind == "sqlite" else "BEGIN")
        try:
            yield
        except BaseException:
            with suppress(Exception):  # a connection that broke has nothing to roll back
                self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    @property
    def works(self) -> bool:
        """Whether the server is still at the other end; asks it where there is one."""
        if self.kind == "sqlite":
            return True
        try:
            self._connection.execute("SELECT 1")
        except Exception:  # noqa: BLE001 - whatever a driver raises, it does not work
            return False
        return True

    def close(self) -> None:
        """Give the connection back to the operating system."""
        self._connection.close()


class Database:
    """A database whose schema is at head. `path` is the file of an SQLite database."""

    def __init__(self, kind: Literal["sqlite", "postgresql"], url: str, path: Path | None) -> None:
        self.kind = kind
        self.url = url
        self.path = path

    def __repr__(self) -> str:
        return f"Database({display_url(self.url)!r})"

    def connect(self) -> Driver:
        """A new connection of the plain driver, in autocommit mode outside of `Driver.transaction`."""
        if self.kind == "sqlite":
            assert self.path is not None
            connection = sqlite3.connect(
                self.path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            try:
                _use_write_ahead_log(connection)
                for pragma in _SQLITE_PRAGMAS:
                    connection.execute(pragma)
            except BaseException:
                connection.close()
                raise
            return Driver("sqlite", connection)
        import psycopg  # noqa: PLC0415 - an optional extra

        return Driver("postgresql", psycopg.connect(self.url, autocommit=True, **_PATIENCE))

    @cached_property
    def engine(self) -> sa.Engine:
        """SQLAlchemy's view, made on first use."""
        from polyroute.storage.engine import create_engine  # noqa: PLC0415 - 0.3 s that a start must not pay

        return create_engine(self)

    def close(self) -> None:
        """Close pooled connections."""
        engine = self.__dict__.get("engine")
        if engine is not None:
            engine.dispose()


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Switch to WAL. Of several processes that do so at once, SQLite refuses all but one without waiting, so we wait."""
    deadline = time.monotonic() + _BUSY_SECONDS
    while connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def open_database(url: str) -> Database:
    """The database at `url` (`sqlite:///file` or `postgresql://…`), created or migrated as needed.

    Raises StorageError when it cannot be reached, is newer than this program, or is not ours; the message says what to do.
    """
    database = _parse(url)
    if database.path is not None:
        _make_folder(database.path)
    try:
        revision = _current_revision(database)
        if revision != SCHEMA_HEAD:
            from polyroute.storage.migrate import migrate  # noqa: PLC0415 - Alembic costs 0.6 s; a start at head needs none

            try:
                migrate(database)
            finally:
                database.close()  # the engine's connections; another use makes new ones
        _verify(database)
    except StorageError:
        raise
    except Exception as error:
        raise _explain(database, error) from error
    return database


def known_database(url: str) -> Database:
    """The database at `url`, whose schema somebody has brought to head already. Raises StorageError for a URL that is none."""
    return _parse(url)


def display_url(url: str) -> str:
    """The URL without its password."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    place = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{parts.username}:***@{place}"))


def _parse(url: str) -> Database:
    scheme, separator, rest = url.partition("://")
    if scheme == "sqlite" and separator and rest.startswith("/") and "?" not in rest:
        name = unquote(rest[1:])
        if name in ("", ":memory:"):
            raise StorageError("a ledger in memory would not outlive the process: use a file, sqlite:///polyroute.db")
        return Database("sqlite", url, Path(name))
    if scheme in ("postgresql", "postgres", "postgresql+psycopg") and rest:
        try:
            import psycopg  # noqa: F401, PLC0415 - only to see whether it is there
        except ImportError as error:
            raise StorageError(
                "PostgreSQL needs its driver: pip install 'polyroute[postgres]', or use sqlite:///polyroute.db"
            ) from error
        return Database("postgresql", f"postgresql://{rest}", None)
    raise StorageError(
        f"{display_url(url)!r} is no database that Polyroute knows: write sqlite:///polyroute.db (a file beside you), "
        "sqlite:////var/lib/polyroute.db (an absolute path) or postgresql://user:password@host/name"
    )


def _make_folder(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"the folder of the database {path} cannot be made: {error.strerror}") from error


def _current_revision(database: Database) -> str | None:
    """The migration that the schema stands at, None when the question cannot be answered with one value."""
    driver = database.connect()
    try:
        rows = driver.execute("SELECT version_num FROM alembic_version").fetchall()
        return str(rows[0][0]) if len(rows) == 1 else None
    except Exception as error:
        if is_missing_table(error):
            return None
        raise
    finally:
        driver.close()


def _verify(database: Database) -> None:
    """Ask for every column that we use, and for no row."""
    driver = database.connect()
    try:
        for table, columns in _USED_COLUMNS.items():
            driver.execute(f"SELECT {','.join(columns)} FROM {table} LIMIT 0")  # noqa: S608 - names of our own
    except Exception as error:
        if is_missing_table(error) or "no such column" in str(error) or type(error).__name__ == "UndefinedColumn":
            raise StorageError(
                f"the database says that its schema is {SCHEMA_HEAD}, but it is not whole ({_first_line(error)}): restore "
                "a backup, or point storage.database at a new file or database"
            ) from error
        raise
    finally:
        driver.close()


def is_missing_table(error: BaseException) -> bool:
    """Whether the database answered that a table does not exist."""
    return "no such table" in str(error) or type(error).__name__ == "UndefinedTable"


def _explain(database: Database, error: Exception) -> StorageError:
    where = str(database.path) if database.path is not None else display_url(database.url)
    text = _first_line(error)
    if "file is not a database" in text:
        fix = "it is no SQLite file; move it away or point storage.database at another file"
    elif "malformed" in text:
        fix = "the file is damaged; restore a backup, or save what is left with: sqlite3 FILE .recover"
    elif "readonly" in text or "unable to open" in text:
        fix = "the file and its folder must be writable by the user that runs Polyroute"
    elif database.kind == "postgresql":
        fix = "check that the server runs and that the user may connect and create tables"
    else:
        fix = "check the disk and the file's permissions"
    return StorageError(f"the database {where} cannot be used: {text}. What to do: {fix}")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
