"""The ledger beside a provider's own record, by day and model."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from polyroute.accounting.comparing import Comparison, Consumption, Line, Total, compare
from polyroute.accounting.exports import read_export
from polyroute.catalog.model import Catalog
from polyroute.composition.providers import live_providers
from polyroute.ports import Credential
from polyroute.providers.usage_records import ADMIN_KEYS, Fetched, fetch_record
from polyroute.storage.accounts import consumption
from polyroute.storage.database import Database
from polyroute.transport.client import ClientTransport
from polyroute.types.errors import ErrorKind, PolyrouteError

_SHOWN_IDS = 20


class Reconciliation(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it. `tolerance` is a share: 0.01 for one per cent."""

    provider: str
    since: datetime
    until: datetime
    source: str
    comparison: Comparison
    tolerance: Decimal
    notes: tuple[str, ...]

    @property
    def drifting(self) -> tuple[Line, ...]:
        """The lines in which the two sides are apart."""
        return tuple(line for line in self.comparison.lines if line.differs(self.tolerance))


def reconcile_with_provider(
    database: Database, catalog: Catalog, environment: Mapping[str, str], provider: str, since: datetime, until: datetime,
    *, tolerance: Decimal, by_id: bool = False, simulated: bool = False,
) -> Reconciliation:  # fmt: skip
    """Ask the provider. Raises PolyrouteError where it is not on, keeps no record or refuses."""
    if provider not in catalog.providers:
        reason = next((row.reason for row in catalog.skipped if row.name == provider), "it is not configured")
        raise PolyrouteError(ErrorKind.NOT_FOUND, f"{provider} is not on: {reason}")
    ours = list(consumption(database, provider, since, until, simulated=simulated))
    fetched = asyncio.run(_fetch(catalog, environment, provider, ours, since, until, by_id=by_id))
    return Reconciliation(
        provider=provider, since=since, until=until, source=fetched.source, tolerance=tolerance, notes=fetched.notes,
        comparison=compare(ours, fetched.rows, by_id=fetched.by_id),
    )  # fmt: skip


def reconcile_with_export(
    database: Database, provider: str, path: Path, columns: Mapping[str, str], since: datetime, until: datetime,
    *, tolerance: Decimal, simulated: bool = False,
) -> Reconciliation:  # fmt: skip
    """Read the provider's export. Raises PolyrouteError that says what of it cannot be read."""
    try:
        exported = read_export(path.read_text("utf-8", "replace"), columns)
    except OSError as error:
        raise PolyrouteError(ErrorKind.INVALID_REQUEST, f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise PolyrouteError(ErrorKind.INVALID_REQUEST, f"{path}: {error}") from error
    first, last = since.date().isoformat(), until.date().isoformat()
    theirs = [row for row in exported if first <= row.day <= last]
    ours = list(consumption(database, provider, since, until, simulated=simulated))
    by_id = bool(theirs) and all(row.id is not None for row in theirs)
    outside = len(exported) - len(theirs)
    notes = (f"{outside} rows of the file are of other days",) if outside else ()
    return Reconciliation(
        provider=provider, since=since, until=until, source=path.name, tolerance=tolerance, notes=notes,
        comparison=compare(ours, theirs, by_id=by_id),
    )  # fmt: skip


async def _fetch(
    catalog: Catalog, environment: Mapping[str, str], provider: str, ours: Sequence[Consumption], since: datetime,
    until: datetime, *, by_id: bool,
) -> Fetched:  # fmt: skip
    live = live_providers(catalog)[provider]
    admin = environment.get(ADMIN_KEYS.get(provider, ""))
    credential = live.credentials[0] if live.credentials else None
    if admin and not live.row.simulated:
        credential = Credential(f"{provider}#admin", admin)
    transport = ClientTransport()
    try:
        return await fetch_record(
            live.row, credential, transport, since, until, [row.id for row in ours if row.id is not None], by_id=by_id
        )
    except PolyrouteError as error:
        if error.kind is ErrorKind.UNAUTHORIZED and provider in ADMIN_KEYS:
            raise PolyrouteError(
                error.kind, f"{error.message}: its record wants an administrator's key, in {ADMIN_KEYS[provider]}"
            ) from error
        raise
    finally:
        await transport.aclose()


def report_values(found: Reconciliation) -> dict[str, Any]:
    """The report as JSON has it."""

    def total(one: Total) -> dict[str, Any]:
        return {
            "requests": one.requests, "input_tokens": one.input_tokens, "output_tokens": one.output_tokens,
            "cost_usd": None if one.cost_usd is None else f"{one.cost_usd:f}", "unpriced": one.unpriced,
        }  # fmt: skip

    lines = [
        {
            "day": line.day, "model": line.model, "ours": total(line.ours), "theirs": total(line.theirs),
            "drift_usd": None if line.drift_usd is None else f"{line.drift_usd:f}",
            "only_ours": list(line.only_ours), "only_theirs": list(line.only_theirs),
            "differs": line.differs(found.tolerance),
        }
        for line in found.comparison.lines
    ]  # fmt: skip
    return {
        "provider": found.provider, "since": found.since.isoformat(), "until": found.until.isoformat(),
        "source": found.source, "tolerance": float(found.tolerance), "notes": list(found.notes), "lines": lines,
        "ours": total(found.comparison.ours), "theirs": total(found.comparison.theirs), "drifting": len(found.drifting),
    }  # fmt: skip


def print_report(found: Reconciliation) -> None:
    """A line for each day and model, ours / theirs."""
    console = Console()
    console.print(
        f"{found.provider}, {found.since:%Y-%m-%d %H:%M} to {found.until:%Y-%m-%d %H:%M} UTC: the ledger beside {found.source}",
        highlight=False,
    )
    table = Table(box=None, pad_edge=False)
    for column in ("day", "model", "requests", "prompt tokens", "answer tokens", "cost USD", "drift USD", ""):
        table.add_column(column, overflow="fold")
    for line in found.comparison.lines:
        marks = [] if not line.differs(found.tolerance) else ["[red]differs[/red]"]
        if line.ours.unpriced:
            marks.append(f"{line.ours.unpriced} unpriced")
        table.add_row(line.day, line.model, *_pairs(line.ours, line.theirs), _money(line.drift_usd), ", ".join(marks))
    total = found.comparison
    table.add_row("all", "", *_pairs(total.ours, total.theirs), _money(_drift(total)), "")
    console.print(table)
    for line in found.comparison.lines:
        for told, ids in (("only in the ledger", line.only_ours), ("only at the provider", line.only_theirs)):
            if ids:
                more = f" and {len(ids) - _SHOWN_IDS} more" if len(ids) > _SHOWN_IDS else ""
                console.print(f"{line.day} {line.model}, {told}: {', '.join(ids[:_SHOWN_IDS])}{more}", highlight=False)
    for note in found.notes:
        console.print(f"note: {note}", highlight=False)
    told = f"{len(found.drifting)} of {len(total.lines)} lines differ by more than {found.tolerance * 100:f} %."
    console.print(told if total.lines else "Neither side has anything.", highlight=False)


def _pairs(ours: Total, theirs: Total) -> tuple[str, ...]:
    counts = [
        f"{_count(getattr(ours, name))} / {_count(getattr(theirs, name))}"
        for name in ("requests", "input_tokens", "output_tokens")
    ]
    return (*counts, f"{_money(ours.cost_usd)} / {_money(theirs.cost_usd)}")


def _drift(found: Comparison) -> Decimal | None:
    if found.ours.cost_usd is None or found.theirs.cost_usd is None:
        return None
    return found.ours.cost_usd - found.theirs.cost_usd


def _count(value: int | None) -> str:
    return "?" if value is None else f"{value}"


def _money(value: Decimal | None) -> str:
    return "?" if value is None else f"{round(value, 6) + 0:f}"  # + 0: no minus before nothing
