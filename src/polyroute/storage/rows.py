"""A settled request as database rows, and the statements that write them.

Rows go in by many at a time in one statement: the driver then releases the interpreter once for a block, not once for a
row, which is what keeps the event loop's thread undisturbed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from itertools import chain
from typing import TYPE_CHECKING, Any

import msgspec

from polyroute.storage.values import money_text
from polyroute.types.records import AttemptRecord, RequestRecord

if TYPE_CHECKING:
    from polyroute.storage.database import Driver

REQUEST_COLUMNS = tuple(field.name for field in msgspec.structs.fields(RequestRecord) if field.name != "attempts")
"""The columns of `requests`: the record's fields, in their order."""

ATTEMPT_COLUMNS = (
    "request_id",
    "operation",
    "simulated",
    *(field.name for field in msgspec.structs.fields(AttemptRecord)),
)
"""The columns of `attempts`: what is copied from the request, then the record's fields in their order."""

MODEL_COLUMNS = ("id", "name", "provider", "operation")
"""The columns of `ai_models` that the writer fills."""

KEY_COLUMNS = ("id", "name", "digest", "prefix", "created_at", "routes", "user_id", "revoked_at", "operator")
"""The columns of `keys`: the fields of KeyRecord."""

BLOCKS = (64, 8, 1)
"""Rows to a statement, largest first; few sizes, so that the driver's cache of prepared statements serves them."""

_CREATED_AT = REQUEST_COLUMNS.index("created_at")
_COST = REQUEST_COLUMNS.index("cost_usd")
_JSON_COLUMNS = tuple(REQUEST_COLUMNS.index(name) for name in ("drops", "dropped_parameters", "tags"))
_STARTED_AT = ATTEMPT_COLUMNS.index("started_at")
_ATTEMPT_COST = ATTEMPT_COLUMNS.index("cost_usd")

_json = msgspec.json.Encoder()


def request_row(record: RequestRecord, timestamp: Callable[[float], Any]) -> list[Any]:
    """The values of REQUEST_COLUMNS. An empty list or mapping is NULL."""
    row = list(msgspec.structs.astuple(record)[:-1])
    row[_CREATED_AT] = timestamp(record.created_at)
    if record.cost_usd is not None:
        row[_COST] = money_text(record.cost_usd)
    for index in _JSON_COLUMNS:
        row[index] = _json.encode(row[index]).decode() if row[index] else None
    return row


def attempt_row(record: RequestRecord, attempt: AttemptRecord, timestamp: Callable[[float], Any]) -> list[Any]:
    """The values of ATTEMPT_COLUMNS. The attempt that served carries the request's cost unless it has one of its own."""
    row = [record.id, record.operation, record.simulated, *msgspec.structs.astuple(attempt)]
    row[_STARTED_AT] = timestamp(attempt.started_at)
    cost = attempt.cost_usd
    if cost is None and attempt.outcome == "served":
        cost = record.cost_usd
    row[_ATTEMPT_COST] = None if cost is None else money_text(cost)
    return row


def model_row(record: RequestRecord) -> tuple[str, str, str, str] | None:
    """The label that the request names, for the case that no catalog has announced it; None when it names none."""
    if record.model_id is None:
        return None
    expected = record.attempts[0].provider if record.attempts else record.actual_provider
    return (record.model_id, record.requested_model, expected or "", record.operation)


class Inserts:
    """The statements that insert into one table, by block size; a row whose key is there already is left alone."""

    def __init__(self, driver: Driver, table: str, columns: Sequence[str]) -> None:
        marks = f"({','.join('?' * len(columns))})"
        self._driver = driver
        self._statements = [
            (
                size,
                driver.sql(
                    f"INSERT INTO {table} ({','.join(columns)}) VALUES {','.join([marks] * size)} ON CONFLICT DO NOTHING"  # noqa: S608 - names of our own
                ),
            )
            for size in BLOCKS
        ]

    def run(self, rows: Sequence[Sequence[Any]]) -> int:
        """Insert all rows; how many were new."""
        new = done = 0
        for size, statement in self._statements:
            while len(rows) - done >= size:
                block = rows[done : done + size]
                new += self._driver.execute(statement, list(chain.from_iterable(block))).rowcount
                done += size
        return new


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
