"""What all tables share: their register, and the types of moments and money."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeEngine

from polyroute.storage.values import MONEY_SCALE, parse_timestamp, timestamp_text

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class UtcTimestamp(sa.types.TypeDecorator[datetime]):
    """A moment. `timestamptz` on PostgreSQL; on SQLite the text `2026-11-20 21:12:48.123456`, always UTC."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Text on SQLite, under a name that its users expect to see."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(sa.Text())
        return dialect.type_descriptor(sa.DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Aware datetimes only: a naive one has no moment."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a timestamp needs a time zone")
        return timestamp_text(value.timestamp()) if dialect.name == "sqlite" else value.astimezone(UTC)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Aware datetimes in UTC."""
        if value is None:
            return None
        return parse_timestamp(value) if isinstance(value, str) else value.astimezone(UTC)


class Money(sa.types.TypeDecorator[Decimal]):
    """An amount in USD with ten decimal places. SQLite keeps it as a number that its own SUM understands, exact up to
    fifteen significant digits."""

    impl = sa.Numeric(20, MONEY_SCALE)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """On SQLite the driver's own number, without SQLAlchemy's warning about floats."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(sa.Numeric(20, MONEY_SCALE, asdecimal=False))
        return dialect.type_descriptor(sa.Numeric(20, MONEY_SCALE))

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Any:
        """Floats are not money."""
        if value is None:
            return None
        return float(value) if dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        """Decimal on both databases."""
        return None if value is None else Decimal(str(value)).quantize(Decimal(1).scaleb(-MONEY_SCALE))
