"""What the ledger says was consumed at one provider, attempt by attempt: everything that a provider may charge."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import sqlalchemy as sa

from polyroute.accounting.comparing import Consumption
from polyroute.storage.database import Database
from polyroute.storage.schema import attempts

_AT_ONCE = 5000


def consumption(
    database: Database, provider: str, since: datetime, until: datetime, *, simulated: bool = False
) -> Iterator[Consumption]:
    """Attempts that began within the time and were answered, or of which something was received. Their id is the one that
    the provider gave."""
    table = attempts
    received = sa.or_(table.c.outcome == "served", table.c.input_tokens.is_not(None), table.c.cost_usd.is_not(None))
    query = (
        sa.select(
            table.c.started_at, table.c.model, table.c.upstream_request_id, table.c.input_tokens, table.c.output_tokens,
            table.c.cost_usd,
        )
        .where(table.c.provider == provider, table.c.simulated == simulated, received)
        .where(table.c.started_at >= since, table.c.started_at < until)
    )  # fmt: skip
    with database.engine.connect() as connection:
        result = connection.execution_options(yield_per=_AT_ONCE).execute(query)
        for started_at, model, identifier, input_tokens, output_tokens, cost in result:
            yield Consumption(
                day=started_at.date().isoformat(), model=model, id=identifier, input_tokens=input_tokens,
                output_tokens=output_tokens, cost_usd=cost,
            )  # fmt: skip
