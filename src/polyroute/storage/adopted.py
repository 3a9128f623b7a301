"""The published prices that hold, read on the plain driver: a start must not load SQLAlchemy for them."""

from __future__ import annotations

import logging

import msgspec

from polyroute.storage.database import Database
from polyroute.types.usage import Price

logger = logging.getLogger(__name__)
_PRICE = msgspec.json.Decoder(Price)


def read_adopted(database: Database) -> dict[tuple[str, str], Price]:
    """Every rate card that was adopted, by provider and model. One that cannot be read is left out, with a warning."""
    driver = database.connect()
    try:
        rows = driver.execute("SELECT provider, model, price FROM adopted_prices").fetchall()
    finally:
        driver.close()
    found: dict[tuple[str, str], Price] = {}
    for provider, model, price in rows:
        try:
            found[provider, model] = _PRICE.decode(price)
        except msgspec.DecodeError as error:
            logger.warning("the adopted price of %s/%s cannot be read and is left out: %s", provider, model, error)
    return found
