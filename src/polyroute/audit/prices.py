"""Prices that hold, and published ones: shown, fetched and compared, adopted."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from polyroute.catalog.charged import charged_targets
from polyroute.catalog.model import Catalog
from polyroute.catalog.published_prices import PRICE_LISTS, Change, changes_of, read_price_list
from polyroute.composition.configuration import make_catalog
from polyroute.composition.providers import live_providers
from polyroute.composition.stores import price_book
from polyroute.engine.runtime import SnapshotPrices
from polyroute.providers.asking import ask_provider
from polyroute.settings import Settings
from polyroute.storage.database import Database, open_database
from polyroute.storage.published_prices import Snapshot, adopt_prices, drop_adopted, keep_snapshot, last_snapshot
from polyroute.transport.client import ClientTransport
from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.usage import RATES, Price


class PriceDiff(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider publishes beside what the price book has. `changed` are models that have a price, `added` those that
    have none yet."""

    snapshot: Snapshot
    changed: tuple[Change, ...]
    added: tuple[Change, ...]

    @property
    def models(self) -> tuple[str, ...]:
        """Every model in which something is otherwise."""
        return tuple(dict.fromkeys(change.model for change in (*self.changed, *self.added)))


def open_prices(settings: Settings, sandbox_url: str | None = None) -> tuple[Database, Catalog, SnapshotPrices]:
    """The database, the catalog and the price book of a configuration."""
    catalog = make_catalog(settings, sandbox_url)
    database = open_database(settings.storage.database)
    return database, catalog, SnapshotPrices(catalog, price_book(database))


def check_publishes(catalog: Catalog, provider: str) -> None:
    """Raises PolyrouteError where a provider has no list that can be read, or is not on."""
    if provider not in PRICE_LISTS:
        raise PolyrouteError(
            ErrorKind.NOT_FOUND, f"{provider} publishes no prices that can be read; these do: {', '.join(PRICE_LISTS)}"
        )
    if provider not in catalog.providers:
        reason = next((row.reason for row in catalog.skipped if row.name == provider), "it is not configured")
        raise PolyrouteError(ErrorKind.NOT_FOUND, f"{provider} is not on: {reason}")


def fetch_prices(database: Database, catalog: Catalog, provider: str) -> Snapshot:
    """Ask the provider for its prices and keep them. Raises PolyrouteError."""
    check_publishes(catalog, provider)
    return asyncio.run(_fetch(database, catalog, provider))


async def _fetch(database: Database, catalog: Catalog, provider: str) -> Snapshot:
    live = live_providers(catalog)[provider]
    path, transport = PRICE_LISTS[provider].path, ClientTransport()
    credential = live.credentials[0] if live.credentials else None
    try:
        body = await ask_provider(live.row, path, credential, transport)
    finally:
        await transport.aclose()
    now = datetime.now(UTC)
    try:
        prices = read_price_list(provider, body, now.date())
    except ValueError as error:
        raise PolyrouteError(ErrorKind.BAD_RESPONSE, str(error)) from error
    if live.row.simulated:  # so that no ledger passes them off as the provider's
        prices = {
            model: msgspec.structs.replace(price, version=f"{price.version} (simulated)")
            for model, price in prices.items()
        }
    return keep_snapshot(database, provider, live.row.base_url + path, prices, now)


def kept_snapshot(database: Database, catalog: Catalog, provider: str) -> Snapshot:
    """What was last fetched. Raises PolyrouteError where nothing was."""
    check_publishes(catalog, provider)
    found = last_snapshot(database, provider)
    if found is None:
        raise PolyrouteError(
            ErrorKind.NOT_FOUND, f"nothing was fetched of {provider} yet: `polyroute prices diff --provider {provider}`"
        )
    return found


def diff_prices(prices: SnapshotPrices, snapshot: Snapshot, patterns: Sequence[str] = ()) -> PriceDiff:
    """Where a snapshot is otherwise than the price book, for models that fit one of the patterns (all without any)."""
    changed: list[Change] = []
    added: list[Change] = []
    for model, then in sorted(snapshot.prices.items()):
        if patterns and not any(fnmatchcase(model, pattern) for pattern in patterns):
            continue
        now = prices.bare_price(snapshot.provider, model)
        (added if now is None or not now.measures else changed).extend(changes_of(model, now, then))
    return PriceDiff(snapshot=snapshot, changed=tuple(changed), added=tuple(added))


def adopt_diff(database: Database, diff: PriceDiff) -> int:
    """Take over everything that the diff shows; how many models."""
    return adopt_prices(database, diff.snapshot, diff.models)


def forget_prices(database: Database, provider: str, models: Sequence[str]) -> int:
    """Back to the price tables; how many rate cards that were."""
    return drop_adopted(database, provider, models or None)


def print_diff(diff: PriceDiff, *, everything: bool) -> None:
    """Rate by rate, with the change in per cent."""
    console = Console()
    told = diff.snapshot
    console.print(
        f"{told.provider}: {len(told.prices)} prices of {told.source}, {told.fetched_at:%Y-%m-%d %H:%M} UTC "
        f"(snapshot {told.id})",
        highlight=False,
    )
    shown = (*diff.changed, *diff.added) if everything else diff.changed
    if shown:
        table = Table(box=None, pad_edge=False)
        for column in ("model", "rate", "now", "published", "change"):
            table.add_column(column, overflow="fold")
        for change in shown:
            table.add_row(
                change.model, change.rate, _amount(change.now), _amount(change.then), _share(change.now, change.then)
            )
        console.print(table)
    new = len({change.model for change in diff.added})
    if not diff.changed:
        console.print("No price that holds is otherwise.", highlight=False)
    if new and not everything:
        console.print(f"models without a price that have one there: {new} (--all shows them)", highlight=False)


def diff_values(diff: PriceDiff) -> dict[str, Any]:
    """The diff as JSON has it."""

    def rows(changes: Iterable[Change]) -> list[dict[str, Any]]:
        return [
            {"model": one.model, "rate": one.rate, "now": _text(one.now), "published": _text(one.then)}
            for one in changes
        ]

    told = diff.snapshot
    return {
        "provider": told.provider, "snapshot": told.id, "fetched_at": told.fetched_at.isoformat(), "source": told.source,
        "changed": rows(diff.changed), "added": rows(diff.added),
    }  # fmt: skip


def shown_targets(catalog: Catalog, names: Sequence[str]) -> list[tuple[str, str]]:
    """The targets that are asked for, or without names all that routes and defaults name."""
    if names:
        return [(name.partition("/")[0], name.partition("/")[2]) for name in names]
    return charged_targets(catalog)


def price_rows(prices: SnapshotPrices, targets: Iterable[tuple[str, str]]) -> list[dict[str, Any]]:
    """The rate cards that hold, as rows; a target without one has no rates and no version."""
    rows: list[dict[str, Any]] = []
    for provider, model in targets:
        price = prices.price(provider, model)
        row: dict[str, Any] = {
            "provider": provider,
            "model": model,
            "version": None if price is None else price.version,
        }
        row["rates"] = {} if price is None else _rates(price)
        rows.append(row)
    return rows


def _rates(price: Price) -> dict[str, Any]:
    rates: dict[str, Any] = {name: _text(rate) for name in RATES if (rate := getattr(price, name)) is not None}
    for name in ("images", "videos"):
        for size, quality, rate in getattr(price, name):
            rates[f"{name[:-1]} {size or 'any'} {quality or ''}".strip()] = _text(rate)
    for hardware, rate in price.compute:
        rates[f"second on {hardware or 'any'}"] = _text(rate)
    for tier, factor in price.factors:
        rates[f"{tier} factor"] = _text(factor)
    for start, above in price.tiers:
        rates |= {f"{name} from {start}": rate for name, rate in _rates(above).items()}
    return rates


def print_prices(rows: Iterable[dict[str, Any]]) -> None:
    """As a table; what has no price says so."""
    table = Table(box=None, pad_edge=False)
    for column in ("target", "prices in USD (tokens by the million)", "of"):
        table.add_column(column, overflow="fold")
    for row in rows:
        told = ", ".join(f"{name} {rate}" for name, rate in row["rates"].items())
        table.add_row(
            f"{row['provider']}/{row['model']}", told or "[yellow]no price: cost is NULL[/yellow]", row["version"] or ""
        )
    Console().print(table)


def _text(amount: Decimal | None) -> str | None:
    if amount is None:
        return None
    short = amount.normalize()
    return f"{round(short, 12).normalize():f}"


def _amount(amount: Decimal | None) -> str:
    return "none" if amount is None else f"${_text(amount)}"


def _share(now: Decimal | None, then: Decimal | None) -> str:
    if not now or then is None:
        return "new" if now is None else ""
    return f"{(then - now) / now * 100:+.1f} %"
