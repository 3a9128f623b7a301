"""The ledger's rows on their way out: read a few at a time, so that any number of them takes the same memory.

Amounts are exact: decimal text in CSV and JSON Lines, decimal128 in Parquet. Moments are UTC.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import msgspec
import sqlalchemy as sa

from polyroute.storage import schema
from polyroute.storage.database import Database
from polyroute.storage.schema import Money, UtcTimestamp
from polyroute.storage.values import MONEY_SCALE

ExportTable = Literal["requests", "attempts"]
ExportFormat = Literal["csv", "jsonl", "parquet"]
TABLES: tuple[ExportTable, ...] = get_args(ExportTable)
FORMATS: tuple[ExportFormat, ...] = get_args(ExportFormat)

_PAGE = 1000
"""Requests that are read at a time."""

_json = msgspec.json.Encoder()
Row = tuple[Any, ...]


class ExportError(Exception):
    """The export cannot be made; the message says what to do about it."""


def columns_of(table: ExportTable) -> list[sa.Column[Any]]:
    """The columns that are exported, in their order."""
    return list((schema.requests if table == "requests" else schema.attempts).columns)


def pages(database: Database, table: ExportTable, since: float, until: float) -> Iterator[Sequence[Row]]:
    """Rows of the requests that were created from `since` to before `until` (seconds since the epoch), oldest first."""
    requests, attempts = schema.requests, schema.attempts
    begin, end = datetime.fromtimestamp(since, UTC), datetime.fromtimestamp(until, UTC)
    after: tuple[datetime, str] | None = None
    chosen = columns_of("requests") if table == "requests" else [requests.c.id, requests.c.created_at]
    while True:
        query = sa.select(*chosen).where(requests.c.created_at >= begin, requests.c.created_at < end)
        if after is not None:
            moment, identifier = after
            query = query.where(
                requests.c.created_at >= moment,
                sa.or_(requests.c.created_at > moment, requests.c.id > identifier),
            )
        with database.engine.connect() as connection:
            rows = connection.execute(query.order_by(requests.c.created_at, requests.c.id).limit(_PAGE)).all()
            found: Sequence[Any] = rows
            if table == "attempts" and rows:
                place = {row.id: at for at, row in enumerate(rows)}
                found = sorted(
                    connection.execute(sa.select(*columns_of("attempts")).where(attempts.c.request_id.in_(place))),
                    key=lambda row: (place[row.request_id], row.number),
                )
        if found:
            yield [tuple(row) for row in found]
        if len(rows) < _PAGE:
            return
        after = (rows[-1].created_at, rows[-1].id)


class Encoder(Protocol):
    """Rows into bytes, a page at a time."""

    def begin(self) -> bytes:
        """What comes before the first row."""

    def encode(self, rows: Sequence[Row]) -> bytes:
        """Some rows."""


class CsvEncoder:
    """RFC 4180 with a line of names; what is unknown is empty."""

    def __init__(self, columns: Sequence[sa.Column[Any]]) -> None:
        self._names = [column.name for column in columns]

    def begin(self) -> bytes:
        """The line of names."""
        return self._lines([self._names])

    def encode(self, rows: Sequence[Row]) -> bytes:
        """A line for each row."""
        return self._lines([[_text(value) for value in row] for row in rows])

    @staticmethod
    def _lines(rows: Sequence[Sequence[str]]) -> bytes:
        text = io.StringIO()
        csv.writer(text).writerows(rows)
        return text.getvalue().encode("utf-8", "replace")


class JsonLinesEncoder:
    """One JSON object a line; amounts are strings."""

    def __init__(self, columns: Sequence[sa.Column[Any]]) -> None:
        self._names = [column.name for column in columns]

    def begin(self) -> bytes:
        """Nothing."""
        return b""

    def encode(self, rows: Sequence[Row]) -> bytes:
        """A line for each row."""
        names = self._names
        return _json.encode_lines([dict(zip(names, map(plain_value, row), strict=True)) for row in rows])


def encoder_of(table: ExportTable, form: ExportFormat) -> Encoder:
    """How rows become bytes. Raises ExportError for a format that is no stream."""
    if form == "parquet":
        raise ExportError("Parquet is written to a file: polyroute export --format parquet --output FILE")
    return (CsvEncoder if form == "csv" else JsonLinesEncoder)(columns_of(table))


def stream(database: Database, table: ExportTable, form: ExportFormat, since: float, until: float) -> Iterator[bytes]:
    """The export as bytes. Raises ExportError, before the first of them, for a format that is no stream."""
    return _stream(pages(database, table, since, until), encoder_of(table, form))


def _stream(found: Iterator[Sequence[Row]], encoder: Encoder) -> Iterator[bytes]:
    if begin := encoder.begin():
        yield begin
    for rows in found:
        yield encoder.encode(rows)


def write_parquet(database: Database, table: ExportTable, since: float, until: float, file: Path) -> int:
    """Write a Parquet file; how many rows it has. Raises ExportError when its library is not installed."""
    try:
        import pyarrow as pa  # noqa: PLC0415 - an optional extra
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError as error:
        raise ExportError("Parquet needs its library: pip install 'polyroute[export]', or use csv or jsonl") from error
    columns = columns_of(table)
    form = pa.schema([(column.name, _arrow_type(pa, column)) for column in columns])
    written = 0
    with parquet.ParquetWriter(file, form, compression="zstd") as writer:
        for rows in pages(database, table, since, until):
            values = [pa.array([_arrow_value(row[at]) for row in rows], field.type) for at, field in enumerate(form)]
            writer.write_table(pa.Table.from_arrays(values, schema=form))
            written += len(rows)
    return written


def _arrow_type(pyarrow: Any, column: sa.Column[Any]) -> Any:
    kind = column.type
    if isinstance(kind, UtcTimestamp):
        return pyarrow.timestamp("us", tz="UTC")
    if isinstance(kind, Money):
        return pyarrow.decimal128(20, MONEY_SCALE)
    if isinstance(kind, sa.Boolean):
        return pyarrow.bool_()
    if isinstance(kind, sa.Integer):
        return pyarrow.int64()
    return pyarrow.float64() if isinstance(kind, sa.Float) else pyarrow.string()


def _arrow_value(value: Any) -> Any:
    return _json.encode(value).decode() if isinstance(value, dict | list) else value


def _text(value: Any) -> str:
    if value is None:
        return ""
    plain = plain_value(value)
    if isinstance(plain, bool):
        return "true" if plain else "false"
    return _json.encode(plain).decode() if isinstance(plain, dict | list) else str(plain)


def plain_value(value: Any) -> Any:
    """A column's value as JSON has it: an amount as decimal text without an exponent, a moment in ISO form."""
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime):
        return value.isoformat(timespec="microseconds").replace("+00:00", "Z")
    return value
