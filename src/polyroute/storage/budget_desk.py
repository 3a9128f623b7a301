"""Budgets, users, teams and notifications as operators manage them, over the API and on the command line."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from polyroute.catalog.budgets import Surroundings, find_overlap, read_budget
from polyroute.catalog.inputs import BudgetEntry
from polyroute.catalog.model import Catalog
from polyroute.catalog.problems import Problems
from polyroute.ports.budgets import Notification
from polyroute.routing.windows import iso_moment, window_at
from polyroute.storage import outbox
from polyroute.storage.budgets import (
    announce,
    changing,
    delete_budget,
    list_budgets,
    list_teams,
    list_users,
    write_budget,
    write_team,
    write_user,
)
from polyroute.storage.database import Database, Driver
from polyroute.types.budgets import Budget, BudgetReport, Team, User, decimal_text
from polyroute.types.errors import ErrorKind, PolyrouteError

Found = TypeVar("Found")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+:-]{0,99}")
_FIELDS = frozenset(field.name for field in msgspec.structs.fields(BudgetEntry))


class Accounts:
    """Implements `ports.BudgetDesk` over a database. `catalog` gives the configuration of the moment."""

    def __init__(self, database: Database, catalog: Callable[[], Catalog]) -> None:
        self._database = database
        self._catalog = catalog

    # ---------------------------------------------------------------- budgets

    def list_budgets(self) -> Sequence[BudgetReport]:
        """All budgets with their current windows."""
        return self._read(lambda driver: [_report(driver, budget) for budget in list_budgets(driver)])

    def put_budget(self, values: Mapping[str, Any]) -> Budget:
        """Make a budget, or change the one of that id."""
        identifier = _checked(str(values.get("id", "")), "a budget's id")
        budget = self._parse(identifier, {name: value for name, value in values.items() if name != "id"})
        with changing(self._database) as driver:
            announce(driver)
            known = list_budgets(driver)
            before = next((one for one in known if one.id == identifier), None)
            if before is not None and before.source == "settings":
                raise _invalid(
                    f"the configuration owns the budget '{identifier}': change budgets.{identifier} there", "id"
                )
            other = find_overlap(budget, known)
            if other is not None:
                raise _invalid(
                    f"it overlaps with the budget '{other.id}': both are for {budget.holder}, by {budget.window}. Change "
                    f"that one, or choose another window, scope or subject",
                    "window",
                )
            self._check_subject(driver, budget)
            write_budget(driver, budget)
        return budget

    def remove_budget(self, identifier: str) -> None:
        """Remove a budget that the configuration does not own."""
        with changing(self._database) as driver:
            found = next((one for one in list_budgets(driver) if one.id == identifier), None)
            if found is None:
                raise _missing("budget", identifier)
            if found.source == "settings":
                raise _invalid(
                    f"the configuration owns the budget '{identifier}': remove budgets.{identifier} there", "id"
                )
            delete_budget(driver, identifier)
            announce(driver)

    def _parse(self, identifier: str, values: Mapping[str, Any]) -> Budget:
        unknown = sorted(values.keys() - _FIELDS)
        if unknown:
            raise _invalid(f"unknown field '{unknown[0]}'; there are {', '.join(sorted(_FIELDS))}", unknown[0])
        given = {name: value for name, value in values.items() if value is not None}
        try:
            entry = msgspec.convert(given, BudgetEntry)
        except msgspec.ValidationError as error:
            raise _invalid(str(error), "amount" if "amount" in str(error) else None) from error
        catalog, problems = self._catalog(), Problems()
        around = Surroundings(catalog.currencies, catalog.routes.keys())
        budget = read_budget(identifier, entry, around, problems, (), source="api")
        if budget is None:
            first = problems.found[0]
            words = "; ".join(
                f"{'.'.join(map(str, found.path))}: {found.message}"
                + (f", given {found.given}" if found.given else "")
                + (f"; did you mean {found.nearest}?" if found.nearest else "")
                + (f" (expected {found.expected})" if found.expected else "")
                for found in problems.found
            )
            raise _invalid(words, str(first.path[0]) if first.path else None)
        return budget

    def _check_subject(self, driver: Driver, budget: Budget) -> None:
        """Users, teams and keys are in the database: a name that is not there is a mistake."""
        tables = {
            "team": "SELECT id FROM teams WHERE id = ?",
            "user": "SELECT id FROM users WHERE id = ? UNION SELECT user_id FROM keys WHERE user_id = ?",
            "key": "SELECT id FROM keys WHERE id = ? UNION SELECT id FROM keys WHERE name = ?",
        }
        statement = tables.get(budget.scope)
        if statement is None:
            return
        values = (budget.subject,) * statement.count("?")
        if driver.execute(driver.sql(statement), values).fetchone() is None:
            make = {"team": "teams create", "user": "users create", "key": "keys create --name"}[budget.scope]
            raise _invalid(f"there is no {budget.holder}: `polyroute {make} {budget.subject}` makes one", "subject")

    # ---------------------------------------------------------------- users and teams

    def list_users(self) -> Sequence[User]:
        """All users."""
        return self._read(list_users)

    def put_user(self, identifier: str, team: str | None) -> User:
        """Make a user, or move the one of that id to a team."""
        _checked(identifier, "a user's id")
        with changing(self._database) as driver:
            announce(driver)
            if team is not None and all(one.id != team for one in list_teams(driver)):
                raise _invalid(f"there is no team '{team}': `polyroute teams create {team}` makes it", "team")
            write_user(driver, identifier, team)
            return next(one for one in list_users(driver) if one.id == identifier)

    def remove_user(self, identifier: str) -> None:
        """Remove one; keys that name it go on to count under its id."""
        with changing(self._database) as driver:
            if not driver.execute(driver.sql("DELETE FROM users WHERE id = ?"), (identifier,)).rowcount:
                raise _missing("user", identifier)
            announce(driver)

    def list_teams(self) -> Sequence[Team]:
        """All teams."""
        return self._read(list_teams)

    def put_team(self, identifier: str) -> Team:
        """Make a team."""
        _checked(identifier, "a team's id")
        with changing(self._database) as driver:
            announce(driver)
            write_team(driver, identifier)
            return next(one for one in list_teams(driver) if one.id == identifier)

    def remove_team(self, identifier: str) -> None:
        """Remove a team that has no users."""
        with changing(self._database) as driver:
            announce(driver)
            members = [user.id for user in list_users(driver) if user.team == identifier]
            if members:
                raise _invalid(f"the team '{identifier}' has users ({', '.join(members[:5])}): move them first", "id")
            if not driver.execute(driver.sql("DELETE FROM teams WHERE id = ?"), (identifier,)).rowcount:
                raise _missing("team", identifier)

    # ---------------------------------------------------------------- notifications

    def list_notifications(self, most: int, *, unread: bool) -> Sequence[Notification]:
        """The newest first."""
        return self._read(lambda driver: outbox.list_notifications(driver, most, unread=unread))

    def mark_read(self, identifier: str) -> Notification:
        """Somebody has seen it."""
        found = self._read(lambda driver: outbox.mark_read(driver, identifier))
        if found is None:
            raise _missing("notification", identifier)
        return found

    def _read(self, question: Callable[[Driver], Found]) -> Found:
        driver = self._database.connect()
        try:
            return question(driver)
        finally:
            driver.close()


def _report(driver: Driver, budget: Budget) -> BudgetReport:
    start, end = window_at(budget.window, budget.time_zone, time.time())
    row = driver.execute(
        driver.sql("SELECT spent, leased FROM budget_windows WHERE budget_id = ? AND starts_at = ?"), (budget.id, start)
    ).fetchone()
    spent, held = (0, 0) if row is None else (int(row[0]), int(row[1]))
    return BudgetReport(
        budget=budget, window_start=iso_moment(start, budget.time_zone),
        window_end=None if end is None else iso_moment(end, budget.time_zone),
        spent=decimal_text(spent), held=decimal_text(held), remaining=decimal_text(max(0, budget.limit - spent - held)),
    )  # fmt: skip


def _checked(name: str, what: str) -> str:
    if not _NAME.fullmatch(name):
        raise _invalid(f"{what} is 1 to 100 letters, digits or . _ @ + : -, and begins with a letter or digit", "id")
    return name


def _invalid(message: str, param: str | None) -> PolyrouteError:
    return PolyrouteError(ErrorKind.INVALID_REQUEST, message, param=param)


def _missing(what: str, identifier: str) -> PolyrouteError:
    return PolyrouteError(ErrorKind.NOT_FOUND, f"there is no {what} '{identifier}'", param="id")
