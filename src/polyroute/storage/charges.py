"""Charges of settled requests: from leases to what is spent, in the transaction that writes the requests' rows.

A request's row is inserted once, however often its journal is replayed, and so are its charges. Every transaction touches
windows in one order, and of each the window before its leases, so that no two of them wait for each other.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from polyroute.storage.database import Driver
from polyroute.storage.notices import insert_notification
from polyroute.types.budgets import Budget
from polyroute.types.records import RequestRecord

_SPEND = (
    "INSERT INTO budget_windows (budget_id, starts_at, spent, leased) VALUES (?, ?, ?, 0) "
    "ON CONFLICT (budget_id, starts_at) DO UPDATE SET spent = budget_windows.spent + excluded.spent "
    "RETURNING spent"
)
_TAKE = (
    "UPDATE budget_leases SET amount = amount - ? WHERE worker = ? AND budget_id = ? AND starts_at = ? AND amount >= ?"
)
_RELEASE = "UPDATE budget_windows SET leased = leased - ? WHERE budget_id = ? AND starts_at = ?"


def write_charges(driver: Driver, records: Iterable[RequestRecord]) -> None:
    """Put the charges of records that were just inserted into their windows; called within that transaction.

    What was held of a lease that has expired meanwhile is spent all the same. Notifications for the alerts that were
    passed are written with it.
    """
    spent: dict[tuple[str, int], int] = {}
    held: dict[tuple[str, int], dict[str, int]] = {}
    for record in records:
        for charge in record.charges:
            key = (charge.budget, charge.window)
            spent[key] = spent.get(key, 0) + charge.spent
            if charge.held:
                leases = held.setdefault(key, {})
                leases[charge.worker] = leases.get(charge.worker, 0) + charge.held
    spend, take, release = driver.sql(_SPEND), driver.sql(_TAKE), driver.sql(_RELEASE)
    for key in sorted(spent):
        after = int(driver.execute(spend, (*key, spent[key])).fetchall()[0][0])
        for worker, amount in sorted(held.get(key, {}).items()):
            if driver.execute(take, (amount, worker, *key, amount)).rowcount:
                driver.execute(release, (amount, *key))
        if spent[key]:
            _alert(driver, key, after - spent[key], after)


def _alert(driver: Driver, key: tuple[str, int], before: int, after: int) -> None:
    """Notify of the alerts that lie between two sums."""
    from polyroute.storage.budgets import read_terms  # noqa: PLC0415 - that module needs this one's neighbours

    row = driver.execute(driver.sql("SELECT terms FROM budgets WHERE id = ?"), (key[0],)).fetchone()
    if row is None:
        return
    budget = read_terms(row[0])
    for share, kind in alerts_between(budget, before, after):
        what = "soft limit" if kind == "budget.soft_limit" else "alert"
        insert_notification(
            driver,
            f"{kind}:{key[0]}:{key[1]}:{share:g}",
            kind,
            key[0],
            f"{share:.0%} of budget '{budget.id}' ({budget.holder}, {budget.amount} {budget.currency}, {budget.window}) "
            f"is used up: {budget.words(after)} of {budget.words(budget.limit)} ({what}).",
            {
                "budget": budget.id, "scope": budget.scope, "subject": budget.subject, "window_start": key[1],
                "share": share, "spent": budget.words(after), "amount": f"{budget.amount} {budget.currency}",
            },
        )  # fmt: skip


def alerts_between(budget: Budget, before: int, after: int) -> list[tuple[float, str]]:
    """The shares at which to notify that are reached by `after` and were not by `before`, each with its kind."""
    soft = [] if budget.soft_limit is None else [(budget.soft_limit, "budget.soft_limit")]
    shares = [*soft, *((share, "budget.alert") for share in budget.alerts)]
    found = []
    for share, kind in shares:
        level = int(Decimal(str(share)) * budget.limit)
        if before < level <= after:
            found.append((share, kind))
    return found
