"""The user-facing labels in the database, so that `requests.model_id` joins with a name and an expected provider."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import msgspec

from polyroute.catalog.model import Catalog
from polyroute.storage.database import Database
from polyroute.storage.values import money_text
from polyroute.types.operations import Operation
from polyroute.types.records import label_id


class ModelRow(msgspec.Struct, frozen=True, kw_only=True):
    """One label that callers use: a route, or `provider/model`. `provider` is the one expected to serve it, the first
    target's; `token_cost` is in credits."""

    id: str
    name: str
    provider: str
    operation: str
    token_cost: Decimal | None = None


def model_rows(catalog: Catalog) -> list[ModelRow]:
    """The labels that a catalog announces: its routes. `provider/model` and bare ids are labelled by the writer when they
    are first used."""
    priced = catalog.credits
    rows = [
        ModelRow(
            id=label_id(route.operation, route.name),
            name=route.name,
            provider=(route.targets or route.fallbacks)[0].provider,
            operation=route.operation,
            token_cost=priced.get(route.name),
        )
        for route in catalog.routes.values()
        if route.targets or route.fallbacks
    ]
    for label in priced.keys() - catalog.routes.keys():
        name, _, model = label.partition("/")
        provider = catalog.providers.get(name)
        told = () if provider is None else [one for one, ids in provider.models.items() if model in ids]
        rows += [
            ModelRow(id=label_id(one, label), name=label, provider=name, operation=one, token_cost=priced[label])
            for one in told or (Operation.CHAT,)
        ]
    return rows


def sync_models(database: Database, rows: Iterable[ModelRow]) -> None:
    """Write the labels of a catalog. Labels that it no longer has stay: the ledger names them."""
    driver = database.connect()
    try:
        statement = driver.sql(
            "INSERT INTO ai_models (id, name, provider, operation, token_cost) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (id) DO UPDATE SET name = excluded.name, provider = excluded.provider, "
            "operation = excluded.operation, token_cost = excluded.token_cost"
        )
        with driver.transaction():
            for row in sorted(rows, key=lambda row: row.id):  # one order for all workers: no deadlock
                cost = None if row.token_cost is None else money_text(row.token_cost)
                driver.execute(statement, (row.id, row.name, row.provider, row.operation, cost))
    finally:
        driver.close()
