"""Prices as one request sees them: the configuration's own first, then the tables' with the provider's mark-up."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from polyroute.catalog.build import build_catalog
from polyroute.catalog.inputs import read_input
from polyroute.catalog.rows import load_rows
from polyroute.engine.runtime import SnapshotPrices
from polyroute.types.usage import Price

TABLE = Price(version="table 1", input=Decimal(2), output=Decimal(8))


class Tables:
    """A price book that knows one price for everything."""

    loaded = True

    def price(self, provider: str, model: str) -> Price | None:
        return None if model == "unknown" else TABLE


def prices(**openrouter: object) -> SnapshotPrices:
    given = read_input({"providers": {"openrouter": {"credentials": ["k"], **openrouter}}})
    return SnapshotPrices(build_catalog(load_rows(), given, {}), Tables())


def test_a_mark_up_is_part_of_the_price_and_named_with_its_date() -> None:
    book = prices(mark_up=1.055, mark_up_date=date(2026, 11, 1))
    price = book.price("openrouter", "m")
    assert price is not None
    assert (price.input, price.output) == (Decimal("2.110"), Decimal("8.440"))
    assert price.version == "table 1, x 1.055 of 2026-11-01"
    assert book.price("openrouter", "m") is price
    assert book.price("openai", "m") is TABLE
    assert book.price("openrouter", "unknown") is None


def test_comparing_puts_the_mark_up_on_itself() -> None:
    assert prices(mark_up=1.055).bare_price("openrouter", "m") is TABLE


def test_a_price_of_the_configuration_wins_and_bears_no_mark_up() -> None:
    own = {"m": {"price": {"date": date(2026, 11, 20), "input": Decimal(1), "output": Decimal(1)}}}
    price = prices(mark_up=2.0, model_facts=own).price("openrouter", "m")
    assert price is not None
    assert (price.input, price.version) == (Decimal(1), "configuration 2026-11-20")
