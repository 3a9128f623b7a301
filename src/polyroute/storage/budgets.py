"""Budgets, users and teams in the database."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import msgspec

from polyroute.catalog.budgets import convert_limit
from polyroute.catalog.model import Currency
from polyroute.storage.database import Database, Driver
from polyroute.storage.values import moment_seconds
from polyroute.types.budgets import Budget, BudgetBook, Team, User

_TERMS = msgspec.json.Decoder(Budget)
_COLUMNS = ("id", "source", "scope", "subject", "max_units", "terms")
_UPSERT = (
    f"INSERT INTO budgets ({','.join(_COLUMNS)}) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "  # noqa: S608 - names of our own
    + ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS[1:])
)


def read_terms(text: str) -> Budget:
    """The budget that a row's `terms` describe."""
    return _TERMS.decode(text)


@contextmanager
def changing(database: Database) -> Iterator[Driver]:
    """A transaction that may change budgets, users or teams: whoever did calls `announce` in it."""
    driver = database.connect()
    try:
        with driver.transaction():
            yield driver
    finally:
        driver.close()


def announce(driver: Driver) -> None:
    """Tell all workers to read budgets again; also makes those who change budgets take turns on PostgreSQL."""
    driver.execute("UPDATE revisions SET value = value + 1 WHERE name = 'budgets'")


def read_book(driver: Driver, revision: int | None) -> BudgetBook | None:
    """All budgets and the teams of users, or None when nothing changed since `revision`."""
    row = driver.execute("SELECT value FROM revisions WHERE name = 'budgets'").fetchone()
    now = 0 if row is None else int(row[0])
    if now == revision:
        return None
    # The revision is read before the budgets: a change in between is seen as a change the next time.
    teams = driver.execute("SELECT id, team FROM users WHERE team IS NOT NULL").fetchall()
    return BudgetBook(revision=now, budgets=tuple(list_budgets(driver)), teams=dict(teams))


def list_budgets(driver: Driver) -> list[Budget]:
    """All budgets by id."""
    return [read_terms(row[0]) for row in driver.execute("SELECT terms FROM budgets ORDER BY id").fetchall()]


def write_budget(driver: Driver, budget: Budget) -> None:
    """Make a budget, or change the one of that id. What was spent stays spent."""
    terms = msgspec.json.encode(budget).decode()
    driver.execute(driver.sql(_UPSERT), (budget.id, budget.source, budget.scope, budget.subject, budget.limit, terms))


def delete_budget(driver: Driver, identifier: str) -> None:
    """Remove a budget, its windows and what was leased of them."""
    for table, column in (("budget_leases", "budget_id"), ("budget_windows", "budget_id"), ("budgets", "id")):
        driver.execute(driver.sql(f"DELETE FROM {table} WHERE {column} = ?"), (identifier,))  # noqa: S608 - names of our own


def sync_budgets(database: Database, declared: Iterable[Budget], currencies: Mapping[str, Currency]) -> list[str]:
    """Bring the configuration's budgets into the database: new and changed ones are written, those that are gone are
    removed, and the limits of the others follow the exchange rates. Gives the ids of API budgets that had to give way to
    one of the same id or the same scope and window."""
    from polyroute.catalog.budgets import find_overlap  # noqa: PLC0415 - only for this

    wanted = {budget.id: budget for budget in declared}
    displaced: list[str] = []
    with changing(database) as driver:
        known = {budget.id: budget for budget in list_budgets(driver)}
        changed = False
        for budget in known.values():
            if budget.id in wanted:
                if budget.source == "api":
                    displaced.append(budget.id)
            elif budget.source == "settings" or find_overlap(budget, wanted.values()) is not None:
                if budget.source == "api":
                    displaced.append(budget.id)
                delete_budget(driver, budget.id)
                changed = True
            else:
                wanted[budget.id] = convert_limit(budget, currencies)
        for identifier in sorted(wanted):
            if known.get(identifier) != wanted[identifier]:
                write_budget(driver, wanted[identifier])
                changed = True
        if changed:
            announce(driver)
    return displaced


# ---------------------------------------------------------------- users and teams


def list_users(driver: Driver) -> list[User]:
    """All users by id."""
    rows = driver.execute("SELECT id, team, created_at FROM users ORDER BY id").fetchall()
    return [User(id=row[0], team=row[1], created_at=moment_seconds(row[2])) for row in rows]


def list_teams(driver: Driver) -> list[Team]:
    """All teams by id."""
    rows = driver.execute("SELECT id, created_at FROM teams ORDER BY id").fetchall()
    return [Team(id=row[0], created_at=moment_seconds(row[1])) for row in rows]


def write_user(driver: Driver, identifier: str, team: str | None) -> None:
    """Make a user, or move the one of that id to a team."""
    driver.execute(
        driver.sql(
            "INSERT INTO users (id, team, created_at) VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET team = excluded.team"
        ),
        (identifier, team, driver.timestamp(time.time())),
    )


def write_team(driver: Driver, identifier: str) -> None:
    """Make a team, unless there is one of that id."""
    driver.execute(
        driver.sql("INSERT INTO teams (id, created_at) VALUES (?, ?) ON CONFLICT DO NOTHING"),
        (identifier, driver.timestamp(time.time())),
    )
