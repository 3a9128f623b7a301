"""Settled requests as database rows, and the statements that write them.

Rows go in by many at a time in one statement: the driver then releases the interpreter once for a block, not once for a
row, which is what keeps the event loop's thread undisturbed. A statement names only the columns that some row of its block
fills: most columns of a request belong to other operations than its own, and their NULLs would cost half of the writing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from itertools import chain
from typing import TYPE_CHECKING, Any

import msgspec

from polyroute.storage.values import money_text, timestamp_text
from polyroute.types.records import AttemptRecord, RequestRecord

if TYPE_CHECKING:
    from polyroute.storage.database import Driver

_FIELDS = tuple(field.name for field in msgspec.structs.fields(RequestRecord))
_ELSEWHERE = frozenset({"attempts", "shared_decision", "charges"})

REQUEST_COLUMNS = tuple(name for name in _FIELDS if name not in _ELSEWHERE)
"""The columns of `requests`: the record's fields, in their order, without those that have tables of their own."""

ATTEMPT_COLUMNS = (
    "request_id",
    "operation",
    "simulated",
    *(field.name for field in msgspec.structs.fields(AttemptRecord)),
)
"""The columns of `attempts`: what is copied from the request, then the record's fields in their order."""

MODEL_COLUMNS = ("id", "name", "provider", "operation")
"""The columns of `ai_models` that the writer fills."""

DECISION_COLUMNS = ("id", "decision")
"""The columns of `decisions`."""

KEY_COLUMNS = (
    "id",
    "name",
    "digest",
    "prefix",
    "created_at",
    "routes",
    "user_id",
    "revoked_at",
    "operator",
    "requests_per_minute",
    "tokens_per_minute",
    "concurrency",
)
"""The columns of `keys`: the fields of KeyRecord, its limits as one column each."""

BLOCK = 64
"""Most rows to a statement."""

_SIZES = (BLOCK, 8, 1)
"""Rows to a statement, largest first; few sizes, so that the driver's cache of prepared statements serves them."""
_MOST_SHAPES = 24
"""Sets of columns that have statements of their own; what comes after is written with all columns."""

_REST = sorted(map(_FIELDS.index, _ELSEWHERE), reverse=True)
_CREATED_AT = REQUEST_COLUMNS.index("created_at")
_MONEY_COLUMNS = tuple(
    REQUEST_COLUMNS.index(name) for name in ("cost_usd", "reported_credits", "priced_cost_usd", "credits")
)
_JSON_COLUMNS = tuple(REQUEST_COLUMNS.index(name) for name in ("drops", "dropped_parameters", "tags"))
_STARTED_AT = ATTEMPT_COLUMNS.index("started_at")
_ATTEMPT_COST = ATTEMPT_COLUMNS.index("cost_usd")

_json = msgspec.json.Encoder()
_values = msgspec.structs.astuple

Columns = list[Sequence[Any]]
"""Rows by column: the values of each column, in the order of the rows."""


class Notation(msgspec.Struct, frozen=True):
    """How a database is handed what is neither text nor number: moments, and documents that were encoded as JSON."""

    moment: Callable[[float], Any]
    document: Callable[[bytes], Any]


SQLITE = Notation(timestamp_text, bytes.decode)
POSTGRESQL = Notation(lambda seconds: timestamp_text(seconds) + "+00", msgspec.Raw)


def request_columns(records: Sequence[RequestRecord], notation: Notation) -> Columns:
    """The values of REQUEST_COLUMNS for some requests, at least one. An empty list or mapping is NULL."""
    columns: Columns = list(zip(*map(_values, records), strict=True))
    for index in _REST:
        del columns[index]
    columns[_CREATED_AT] = [notation.moment(moment) for moment in columns[_CREATED_AT]]
    for index in _MONEY_COLUMNS:
        columns[index] = _money(columns[index])
    for index in _JSON_COLUMNS:
        columns[index] = [notation.document(_json.encode(value)) if value else None for value in columns[index]]
    return columns


def attempt_columns(records: Sequence[RequestRecord], notation: Notation) -> Columns:
    """The values of ATTEMPT_COLUMNS for the attempts of some requests; no column when there are none."""
    rows = [
        (record.id, record.operation, record.simulated, *_values(attempt))
        for record in records
        for attempt in record.attempts
    ]
    if not rows:
        return []
    columns: Columns = list(zip(*rows, strict=True))
    columns[_STARTED_AT] = [notation.moment(moment) for moment in columns[_STARTED_AT]]
    columns[_ATTEMPT_COST] = _money([cost_of(record, attempt) for record in records for attempt in record.attempts])
    return columns


def cost_of(record: RequestRecord, attempt: AttemptRecord) -> Decimal | None:
    """What an attempt cost: the one that served carries the request's cost unless it has one of its own."""
    if attempt.cost_usd is None and attempt.outcome == "served":
        return record.cost_usd
    return attempt.cost_usd


def _money(amounts: Sequence[Decimal | None]) -> Sequence[str | None]:
    return [None if amount is None else money_text(amount) for amount in amounts]


def decision_rows(records: Sequence[RequestRecord]) -> list[tuple[str, str]]:
    """The decisions that some requests bring along for themselves and others."""
    return [
        (record.decision, record.shared_decision)
        for record in records
        if record.shared_decision is not None and record.decision is not None
    ]


def model_row(record: RequestRecord) -> tuple[str, str, str, str] | None:
    """The label that the request names, for the case that no catalog has announced it; None when it names none."""
    if record.model_id is None:
        return None
    expected = record.attempts[0].provider if record.attempts else record.actual_provider
    return (record.model_id, record.requested_model, expected or "", record.operation)


class Inserts:
    """Inserts rows into one table; a row whose key is there already is left alone. `block` rows should come at once."""

    block = BLOCK

    def __init__(self, driver: Driver, table: str, names: Sequence[str]) -> None:
        self._driver = driver
        self._table = table
        self._names = names
        self._all = tuple(range(len(names)))
        self._statements: dict[tuple[int, ...], dict[int, str]] = {}

    def run(self, columns: Columns) -> int:
        """Insert all rows; how many were new."""
        if not columns:
            return 0
        count = len(columns[0])
        used = tuple([at for at, values in enumerate(columns) if values[0] is not None or values.count(None) != count])
        if used not in self._statements:
            used = self._add(used)
        statements, width = self._statements[used], len(used)
        values = list(chain.from_iterable(zip(*[columns[at] for at in used], strict=True)))
        new = done = 0
        for size, statement in statements.items():
            while count - done >= size:
                block = values if size == count else values[done * width : (done + size) * width]
                new += self._driver.execute(statement, block).rowcount
                done += size
        return new

    def _add(self, used: tuple[int, ...]) -> tuple[int, ...]:
        """Make the statements for a set of columns, or for all when there are many sets already; the set that it was."""
        if len(self._statements) >= _MOST_SHAPES:
            used = self._all
        names = ",".join(self._names[at] for at in used)
        marks = f"({','.join('?' * len(used))})"
        self._statements[used] = {
            size: self._driver.sql(
                f"INSERT INTO {self._table} ({names}) VALUES {','.join([marks] * size)} ON CONFLICT DO NOTHING"  # noqa: S608 - names of our own
            )
            for size in _SIZES
        }
        return used


class RecordsetInserts:
    """As Inserts, for PostgreSQL: all rows are one parameter, a JSON document that the server takes apart by the table's own
    types. That costs this side a tenth of binding every value."""

    block = 1024

    def __init__(self, driver: Driver, table: str, names: Sequence[str]) -> None:
        self._driver = driver
        self._table = table
        self._names = names
        self._statements: dict[tuple[str, ...], str] = {}

    def run(self, columns: Columns) -> int:
        """Insert all rows; how many were new."""
        if not columns:
            return 0
        used = [at for at, values in enumerate(columns) if values[0] is not None or values.count(None) != len(values)]
        names = tuple(self._names[at] for at in used)
        rows = [dict(zip(names, row, strict=True)) for row in zip(*[columns[at] for at in used], strict=True)]
        statement = self._statements.get(names)
        if statement is None:
            if len(self._statements) >= _MOST_SHAPES:
                self._statements.clear()
            listed = ",".join(names)
            statement = self._statements[names] = (
                f"INSERT INTO {self._table} ({listed}) SELECT {listed} "  # noqa: S608 - names of our own
                f"FROM json_populate_recordset(NULL::{self._table}, %s::json) ON CONFLICT DO NOTHING"
            )
        return self._driver.execute(statement, (_json.encode(rows).decode(),)).rowcount


_LARGEST_INTEGER = 2**63 - 1


def clean(record: RequestRecord) -> RequestRecord:
    """The record with what no database stores replaced: lone surrogates and NUL in text, numbers beyond 64 bits."""
    return msgspec.structs.replace(
        record,
        **_clean_fields(record),
        attempts=[msgspec.structs.replace(attempt, **_clean_fields(attempt)) for attempt in record.attempts],
        drops=[(_clean_text(target), _clean_text(reason)) for target, reason in record.drops],
        dropped_parameters=[_clean_text(name) for name in record.dropped_parameters],
        tags={_clean_text(name): _clean_text(value) for name, value in record.tags.items()},
    )


def _clean_fields(record: msgspec.Struct) -> dict[str, Any]:
    changed: dict[str, Any] = {}
    for name in record.__struct_fields__:
        value = getattr(record, name)
        if isinstance(value, str):
            changed[name] = _clean_text(value)
        elif isinstance(value, bool):
            continue
        elif isinstance(value, int) and not -_LARGEST_INTEGER <= value <= _LARGEST_INTEGER:
            changed[name] = None
        elif isinstance(value, float) and not abs(value) < float("inf"):
            changed[name] = 0.0 if name in ("created_at", "started_at", "latency_ms", "duration_ms") else None
        elif isinstance(value, Decimal) and not value.is_finite():
            changed[name] = None
    return changed


def _clean_text(text: str) -> str:
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")
