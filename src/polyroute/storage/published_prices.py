"""Published prices in the database: snapshots of what was fetched, and the rate cards that were adopted from them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

import msgspec
import sqlalchemy as sa

from polyroute.storage.database import Database
from polyroute.storage.engine import writing
from polyroute.storage.schema import adopted_prices, price_snapshots
from polyroute.types.usage import Price

_PRICES = msgspec.json.Decoder(dict[str, Price])


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A provider's published prices, as they were last seen at a moment."""

    id: str
    provider: str
    fetched_at: datetime
    source: str
    prices: dict[str, Price]


def keep_snapshot(
    database: Database, provider: str, source: str, prices: Mapping[str, Price], now: datetime
) -> Snapshot:
    """Keep what was fetched. Prices that were seen before keep their row, with the later time."""
    rates = {model: msgspec.structs.replace(price, version="", checked=None) for model, price in prices.items()}
    digest = hashlib.blake2b(msgspec.json.encode(rates, order="sorted"), digest_size=8).hexdigest()
    identifier = f"{provider}-{digest}"
    values = {
        "id": identifier, "provider": provider, "fetched_at": now, "source": source,
        "prices": msgspec.json.encode(prices, order="sorted").decode(),
    }  # fmt: skip
    with writing(database.engine).begin() as connection:
        known = connection.execute(
            sa.update(price_snapshots).where(price_snapshots.c.id == identifier).values(fetched_at=now)
        )
        if not known.rowcount:
            connection.execute(sa.insert(price_snapshots).values(values))
    return Snapshot(id=identifier, provider=provider, fetched_at=now, source=source, prices=dict(prices))


def last_snapshot(database: Database, provider: str) -> Snapshot | None:
    """What was last seen of a provider; None before anything was fetched."""
    table = price_snapshots
    query = sa.select(table).where(table.c.provider == provider).order_by(table.c.fetched_at.desc()).limit(1)
    with database.engine.connect() as connection:
        row = connection.execute(query).first()
    if row is None:
        return None
    return Snapshot(
        id=row.id,
        provider=row.provider,
        fetched_at=row.fetched_at,
        source=row.source,
        prices=_PRICES.decode(row.prices),
    )


def adopt_prices(database: Database, snapshot: Snapshot, models: Iterable[str], now: datetime | None = None) -> int:
    """Take over the snapshot's rate cards of these models, in place of earlier ones; how many."""
    moment = now or datetime.now(UTC)
    rows = [
        {
            "provider": snapshot.provider, "model": model, "snapshot_id": snapshot.id, "adopted_at": moment,
            "price": msgspec.json.encode(snapshot.prices[model]).decode(),
        }
        for model in models
    ]  # fmt: skip
    with writing(database.engine).begin() as connection:
        for row in rows:
            connection.execute(
                sa.delete(adopted_prices).where(
                    adopted_prices.c.provider == row["provider"], adopted_prices.c.model == row["model"]
                )
            )
        if rows:
            connection.execute(sa.insert(adopted_prices), rows)
    return len(rows)


def drop_adopted(database: Database, provider: str, models: Iterable[str] | None = None) -> int:
    """Go back to the price tables for these models of a provider, or all; how many rate cards that were."""
    statement = sa.delete(adopted_prices).where(adopted_prices.c.provider == provider)
    if models is not None:
        statement = statement.where(adopted_prices.c.model.in_(list(models)))
    with writing(database.engine).begin() as connection:
        return connection.execute(statement).rowcount
