"""Single requests of the ledger, for operators who look at them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from polyroute.ports.analytics import RequestPage, RequestQuery
from polyroute.storage import schema
from polyroute.storage.database import Database
from polyroute.storage.export import FORMATS, TABLES, ExportError, plain_value, stream

_CONTENT = frozenset({"input_text", "output_text"})


class LedgerRows:
    """Implements `ports.RequestReader`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def page(self, query: RequestQuery) -> RequestPage:
        """Some requests, newest first. Raises ValueError for a column that is none, or a place that no page ended at."""
        table = schema.requests
        columns = [column for column in table.columns if column.name not in _CONTENT]
        chosen = sa.select(*columns).where(
            table.c.created_at >= datetime.fromtimestamp(query.since, UTC),
            table.c.created_at < datetime.fromtimestamp(query.until, UTC),
        )
        for name, wanted in query.filters.items():
            if name not in table.c:
                raise ValueError(f"requests have no {name!r}")
            chosen = chosen.where(table.c[name] == wanted)
        if query.after is not None:
            moment = datetime.fromisoformat(query.after[0])
            chosen = chosen.where(
                table.c.created_at <= moment,
                sa.or_(table.c.created_at < moment, table.c.id < query.after[1]),
            )
        chosen = chosen.order_by(table.c.created_at.desc(), table.c.id.desc()).limit(query.limit + 1)
        with self._database.engine.connect() as connection:
            found = connection.execute(chosen).mappings().all()
        more, found = len(found) > query.limit, found[: query.limit]
        return RequestPage(
            rows=[_plain(row) for row in found],
            after=(found[-1]["created_at"].isoformat(), found[-1]["id"]) if more else None,
        )

    def request(self, request_id: str) -> dict[str, Any] | None:
        """One request with all its columns and its attempts; None when the database has none of that id (yet)."""
        requests, attempts = schema.requests, schema.attempts
        with self._database.engine.connect() as connection:
            row = connection.execute(sa.select(requests).where(requests.c.id == request_id)).mappings().first()
            if row is None:
                return None
            tried = connection.execute(
                sa.select(attempts).where(attempts.c.request_id == request_id).order_by(attempts.c.number)
            ).mappings()
            return _plain(row) | {"attempts": [_plain(attempt) for attempt in tried]}

    def export(self, table: str, form: str, since: float, until: float) -> Iterator[bytes]:
        """Rows as bytes. Raises ValueError before the first."""
        if table not in TABLES or form not in FORMATS:
            raise ValueError(f"{' or '.join(TABLES)}, as csv or jsonl")
        try:
            return stream(self._database, table, form, since, until)
        except ExportError as error:
            raise ValueError(str(error)) from error


def _plain(row: sa.RowMapping) -> dict[str, Any]:
    return {name: plain_value(value) for name, value in row.items()}
