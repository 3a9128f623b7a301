"""Records into rows, many in a transaction; a record that no database takes does not hold up the others."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from polyroute.storage.charges import write_charges
from polyroute.storage.database import Database, Driver
from polyroute.storage.frames import begin_file, encode_frame
from polyroute.storage.rollups import RollupWriter
from polyroute.storage.rows import (
    ATTEMPT_COLUMNS,
    DECISION_COLUMNS,
    MODEL_COLUMNS,
    POSTGRESQL,
    REQUEST_COLUMNS,
    SQLITE,
    Inserts,
    RecordsetInserts,
    attempt_columns,
    clean,
    decision_rows,
    model_row,
    request_columns,
)
from polyroute.storage.totals import UPSERT, Totals
from polyroute.types.records import RequestRecord

logger = logging.getLogger(__name__)

_REFUSED = (ValueError, TypeError, OverflowError, sqlite3.IntegrityError, sqlite3.DataError, sqlite3.InterfaceError)


class _KnownError(Exception):
    """Some request of a block is in the database already."""


class RowWriter:
    """Writes records through one connection of its own. Used by one thread at a time."""

    def __init__(self, database: Database, rejected: Path) -> None:
        self._driver: Driver = database.connect()
        self._rejected = rejected / "rejected.corrupt"
        self._notation = SQLITE if self._driver.kind == "sqlite" else POSTGRESQL
        inserts = Inserts if self._driver.kind == "sqlite" else RecordsetInserts
        self._requests = inserts(self._driver, "requests", REQUEST_COLUMNS)
        self._attempts = inserts(self._driver, "attempts", ATTEMPT_COLUMNS)
        self._models = inserts(self._driver, "ai_models", MODEL_COLUMNS)
        self._decisions = inserts(self._driver, "decisions", DECISION_COLUMNS)
        self._upsert = self._driver.sql(UPSERT)
        self._rollups = RollupWriter(self._driver)
        self._known_models: set[str] = set()

    def write(self, records: Sequence[RequestRecord]) -> int:
        """Put all records into the database in one transaction; how many it did not have.

        A record that the database will never take is cleaned, at worst kept in `rejected.corrupt`. Other errors of the
        database are raised, and nothing was written.
        """
        try:
            return self._write(records, self._requests.block)
        except _KnownError:
            return self._write_unknown(records)
        except Exception as error:
            if not _is_refusal(error):
                raise
        return sum(self._write_alone(record) for record in records)

    def close(self) -> None:
        """Close the connection."""
        self._driver.close()

    def _write_unknown(self, records: Sequence[RequestRecord]) -> int:
        """As `write`, for records of which the database has some: those are not counted a second time."""
        unknown = {record.id: record for record in records}
        for identifier in self._known(list(unknown)):
            del unknown[identifier]
        records = list(unknown.values())
        try:
            return self._write(records, self._requests.block)
        except _KnownError:  # another writer was faster with some
            return self._write(records, 1)
        except Exception as error:
            if not _is_refusal(error):
                raise
        return sum(self._write_alone(record) for record in records)

    def _write(self, records: Sequence[RequestRecord], step: int) -> int:
        """Write all in one transaction, `step` at a time; a small step also keeps this thread from holding the interpreter
        for long. Raises _KnownError, unless the step is 1, when one of them is not new."""
        notation = self._notation
        new_models: set[str] = set()
        added = 0
        totals = Totals()
        charged: list[RequestRecord] = []
        self._rollups.begin()
        with self._driver.transaction():
            for start in range(0, len(records), step):
                chunk = records[start : start + step]
                new = self._requests.run(request_columns(chunk, notation))
                if new != len(chunk):
                    if step > 1:
                        raise _KnownError
                    continue
                added += new
                self._attempts.run(attempt_columns(chunk, notation))
                if decisions := decision_rows(chunk):
                    self._decisions.run(list(zip(*decisions, strict=True)))
                totals.add(chunk)
                self._rollups.add(chunk)
                charged += [record for record in chunk if record.charges]
                new_models |= self._add_models(chunk)
            for row in totals.rows():
                self._driver.execute(self._upsert, row)
            self._rollups.write()
            if charged:
                write_charges(self._driver, charged)
        self._known_models |= new_models
        self._rollups.committed()
        return added

    def _known(self, identifiers: Sequence[str]) -> list[str]:
        marks = ",".join("?" * len(identifiers))
        statement = self._driver.sql(f"SELECT id FROM requests WHERE id IN ({marks})")  # noqa: S608 - marks only
        return [row[0] for row in self._driver.execute(statement, identifiers).fetchall()]

    def _add_models(self, records: Sequence[RequestRecord]) -> set[str]:
        unseen = {record.model_id: record for record in records if record.model_id not in self._known_models}
        rows = [row for record in unseen.values() if (row := model_row(record)) is not None]
        if rows:
            self._models.run(list(zip(*rows, strict=True)))
        return {row[0] for row in rows}

    def _write_alone(self, record: RequestRecord) -> int:
        try:
            return self._write([record], 1)
        except Exception as error:
            if not _is_refusal(error):
                raise
        record = clean(record)
        try:
            return self._write([record], 1)
        except Exception as error:
            if not _is_refusal(error):
                raise
            frame = encode_frame(record)
            with self._rejected.open("ab") as file:
                file.write(frame if file.tell() else begin_file() + frame)
            logger.error(  # noqa: TRY400 - the error's words suffice, and a traceback could show content
                "the database refuses the record of request %s (%s); it is kept in %s", record.id, error, self._rejected
            )
            return 0


def _is_refusal(error: BaseException) -> bool:
    """Whether the database will never take these values, however often they are offered."""
    if isinstance(error, _REFUSED):
        return True
    return any(kind.__name__ in ("DataError", "IntegrityError") for kind in type(error).__mro__)
