"""Snapshots of published prices, and what was adopted of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from polyroute.catalog.prices import CatalogPrices
from polyroute.catalog.token_prices import TokenPrices, installed_version, write_snapshot
from polyroute.storage.adopted import read_adopted
from polyroute.storage.database import Database
from polyroute.storage.published_prices import adopt_prices, drop_adopted, keep_snapshot, last_snapshot
from polyroute.types.usage import Price
from support.prepared_state import new_database

NOW = datetime(2026, 11, 21, 1, 0, tzinfo=UTC)


def database(folder: Path) -> Database:
    return new_database(folder / "prices.db")


def price(rate: str, version: str = "together list of 2026-11-21") -> Price:
    return Price(version=version, input=Decimal(rate), output=Decimal(rate), checked=NOW.date())


def test_the_same_prices_are_kept_once_with_the_later_time(tmp_path: Path) -> None:
    books = database(tmp_path)
    first = keep_snapshot(books, "together", "https://x", {"m": price("0.15")}, NOW)
    later = NOW + timedelta(days=1)
    again = keep_snapshot(books, "together", "https://x", {"m": price("0.15", "together list of 2026-11-22")}, later)
    other = keep_snapshot(books, "together", "https://x", {"m": price("0.16")}, NOW + timedelta(hours=1))
    assert first.id == again.id != other.id
    last = last_snapshot(books, "together")
    assert last is not None
    assert (last.id, last.fetched_at, last.prices["m"].input) == (first.id, later, Decimal("0.15"))
    assert last_snapshot(books, "openrouter") is None


def test_prices_hold_while_the_database_is_away(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_snapshot(TokenPrices(version=installed_version(), providers={}, format=2), tmp_path / "tokens")
    answers: list[dict[tuple[str, str], Price]] = [{("together", "m"): price("0.15")}]

    def read() -> dict[tuple[str, str], Price]:
        if not answers:
            raise OSError("the database is away")
        return answers.pop()

    kept = answers.pop()
    book = CatalogPrices(tmp_path / "tokens", adopted=read)
    assert book.price("openai", "tts-1") is not None
    assert book.price("together", "m") is None
    assert "the database is away" in caplog.text
    answers.append(kept)
    assert book.refresh()
    assert book.price("together", "m") == price("0.15")
    with pytest.raises(OSError, match="away"):
        book.refresh()
    assert book.price("together", "m") == price("0.15")


def test_adopted_prices_stand_before_the_tables_until_they_are_dropped(tmp_path: Path) -> None:
    books = database(tmp_path)
    write_snapshot(TokenPrices(version=installed_version(), providers={}, format=2), tmp_path / "tokens")
    book = CatalogPrices(tmp_path / "tokens", adopted=lambda: read_adopted(books))
    assert book.price("together", "m") is None
    snapshot = keep_snapshot(books, "together", "https://x", {"m": price("0.15"), "n": price("1")}, NOW)
    assert adopt_prices(books, snapshot, ["m"], NOW) == 1
    assert book.price("together", "m") is None
    assert book.refresh()
    assert book.price("together", "m") == price("0.15")
    assert book.price("together", "n") is None
    assert not book.refresh()
    assert adopt_prices(books, snapshot, ["m", "n"], NOW) == 2
    assert drop_adopted(books, "together", ["n"]) == 1
    assert set(read_adopted(books)) == {("together", "m")}
    assert drop_adopted(books, "together") == 1
    assert read_adopted(books) == {}
