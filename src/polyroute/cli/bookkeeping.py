"""What `polyroute db prune`, `db rollups` and `export` do."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from polyroute.composition.terms import retention_of
from polyroute.settings import Settings
from polyroute.storage.database import StorageError, open_database
from polyroute.storage.export import FORMATS, TABLES, ExportError, stream, write_parquet
from polyroute.storage.pruning import Pruned, Pruning, Retention
from polyroute.storage.upkeep import alone, recounting_of
from polyroute.types.moments import parse_moment, parse_span

_SECONDS_A_DAY = 86_400


def prune(settings: Settings, older_than: str | None, *, dry_run: bool) -> Pruned:
    """Delete requests that are older, and whatever else the configuration says is out of date; or only count them.

    Raises ValueError for what is no span of time, StorageError when another process is at it.
    """
    retention = retention_of(settings)
    if older_than is not None:
        retention = _shorter(retention, parse_span(older_than) / _SECONDS_A_DAY)
    database = open_database(settings.storage.database)
    try:
        pruning = Pruning(database, time.time())
        if dry_run:
            return pruning.preview(retention)
        with alone(database) as mine:
            if not mine:
                raise StorageError("another process is at the upkeep of this database; try again when it is done")
            return pruning.run(retention)
    finally:
        database.close()


def _shorter(retention: Retention, days: float) -> Retention:
    """The retention, with requests kept for these days."""
    return Retention(
        rows=days,
        content=retention.content,
        decisions=retention.decisions,
        minutes=retention.minutes,
        quarters=retention.quarters,
        hours=retention.hours,
    )


def recount(settings: Settings, *, rebuild: bool, tell: Callable[[float, float], None] | None = None) -> int | None:
    """Count the rollups, anew where they are counted already; None when there was nothing to do.

    Raises StorageError when another process is at it.
    """
    database = open_database(settings.storage.database)
    try:
        with alone(database) as mine:
            if not mine:
                raise StorageError("another process is at the upkeep of this database; try again when it is done")
            recounting = recounting_of(database, retention_of(settings), time.time())
            if not rebuild and not recounting.needed():
                return None
            return recounting.run(tell=tell)
    finally:
        database.close()


def export(settings: Settings, table: str, *, since: str, until: str, form: str, output: Path) -> None:
    """Write rows of the ledger to a file that appears when it is whole, or (`-`) to standard output.

    Raises ValueError and ExportError, saying what is wrong.
    """
    if table not in TABLES:
        raise ValueError(f"there is no {table!r} to export; there are {' and '.join(TABLES)}")
    if form not in FORMATS:
        raise ValueError(f"there is no format {form!r}; there are {', '.join(FORMATS)}")
    now = time.time()
    begin, end = parse_moment(since, now), parse_moment(until, now)
    if end <= begin:
        raise ValueError(f"nothing lies between {since} and {until}")
    database = open_database(settings.storage.database)
    try:
        if str(output) == "-":
            for data in stream(database, table, form, begin, end):
                sys.stdout.buffer.write(data)
            sys.stdout.flush()
            return
        descriptor, name = tempfile.mkstemp(prefix=f".{output.name}.", dir=output.parent)
        part = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                if form != "parquet":
                    file.writelines(stream(database, table, form, begin, end))
                    file.flush()
                    os.fsync(file.fileno())
            if form == "parquet":
                write_parquet(database, table, begin, end, part)
            part.replace(output)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise ExportError(f"{output} cannot be written: {error.strerror}") from error
    finally:
        database.close()
