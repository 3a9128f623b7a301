"""Budgets, users and teams as operators manage them, on both databases: what makes no sense is refused with the fix."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from polyroute.catalog.model import Catalog, Currency, Defaults
from polyroute.storage.budget_desk import Accounts
from polyroute.storage.budgets import read_book, sync_budgets
from polyroute.storage.database import Database
from polyroute.types.budgets import UNIT
from polyroute.types.errors import ErrorKind, PolyrouteError
from support.budget_samples import budget, declare

CATALOG = Catalog(
    providers={}, routes={}, skipped=(), defaults=Defaults(), currencies={"VND": Currency(26_000, date(2026, 11, 20))}
)


def desk(database: Database) -> Accounts:
    return Accounts(database, lambda: CATALOG)


def revision(database: Database) -> int:
    driver = database.connect()
    try:
        book = read_book(driver, None)
        assert book is not None
        return book.revision
    finally:
        driver.close()


def test_a_budget_is_made_changed_and_removed_and_workers_hear_of_it(either: Database) -> None:
    accounts, before = desk(either), revision(either)
    made = accounts.put_budget({"id": "vn", "amount": "52000 VND", "window": "week", "time_zone": "Asia/Ho_Chi_Minh"})
    assert (made.amount, made.currency, made.limit) == (Decimal(52000), "VND", 2 * UNIT)
    assert revision(either) > before
    accounts.put_budget({"id": "vn", "amount": "3 USD", "window": "week"})
    [report] = accounts.list_budgets()
    assert (report.budget.limit, report.remaining, report.spent, report.held) == (3 * UNIT, "3", "0", "0")
    accounts.remove_budget("vn")
    assert accounts.list_budgets() == []


@pytest.mark.parametrize(
    ("values", "param", "words"),
    [
        ({"amount": "-1 USD"}, "amount", "cannot be below zero"),
        ({"amount": "1 VDN"}, "amount", "did you mean VND?"),
        ({"amount": 5}, "amount", "Expected `str`"),
        ({"amount": "1 USD", "scope": "galaxy"}, "scope", "installation, team, user, key, route"),
        ({"amount": "1 USD", "scope": "team"}, "subject", "is required"),
        ({"amount": "1 USD", "scope": "team", "subject": "nobody"}, "subject", "polyroute teams create nobody"),
        ({"amount": "1 USD", "scope": "key", "subject": "k"}, "subject", "polyroute keys create --name k"),
        ({"amount": "1 USD", "window": "year"}, "window", "day, week, month, total"),
        ({"amount": "1 USD", "time_zone": "Asia/Saigonn"}, "time_zone", "did you mean Asia/Saigon?"),
        ({"amount": "1 USD", "soft_action": "downgrade", "soft_limit": 0.5}, "downgrade_to", "is required"),
        ({"amount": "1 USD", "soft_limit": 80.0}, "soft_limit", "0.8 for 80 %"),
        ({"amount": "1 USD", "alerts": (0.0,)}, "alerts", "above 0"),
        ({"amount": "1000000000 USD"}, "amount", "at most 900,000,000"),
        ({"amount": "1 USD", "colour": "red"}, "colour", "unknown field 'colour'"),
        ({"amount": "1 USD", "id": "no spaces"}, "id", "letters, digits"),
        ({"amount": "7 USD", "window": "day"}, "window", "overlaps with the budget 'all'"),
        ({"amount": "7 USD", "id": "all"}, "id", "the configuration owns the budget 'all'"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_fix(
    either: Database, values: dict[str, Any], param: str, words: str
) -> None:
    declare(either, budget())
    with pytest.raises(PolyrouteError, match=r".") as caught:
        desk(either).put_budget({"id": "new"} | values)
    assert caught.value.kind is ErrorKind.INVALID_REQUEST
    assert caught.value.param == param
    assert words in caught.value.message
    assert [report.budget.id for report in desk(either).list_budgets()] == ["all"]


def test_the_configuration_comes_first_and_rates_move_limits(either: Database) -> None:
    accounts = desk(either)
    accounts.put_budget({"id": "daily", "amount": "5 USD", "window": "day"})
    accounts.put_budget({"id": "weekly", "amount": "26000 VND", "window": "week"})
    assert sync_budgets(either, [budget()], {"VND": Currency(13_000, date(2026, 11, 21))}) == ["daily"]
    limits = {report.budget.id: report.budget.limit for report in accounts.list_budgets()}
    assert limits == {"all": UNIT, "weekly": 2 * UNIT}
    now = revision(either)
    sync_budgets(either, [budget()], {"VND": Currency(13_000, date(2026, 11, 21))})
    assert revision(either) == now, "nothing changed"
    sync_budgets(either, [], {})
    assert [report.budget.id for report in accounts.list_budgets()] == ["weekly"]
    with pytest.raises(PolyrouteError, match="there is no budget 'all'"):
        accounts.remove_budget("all")


def test_users_belong_to_teams_that_are_there(either: Database) -> None:
    accounts = desk(either)
    with pytest.raises(PolyrouteError, match="polyroute teams create research"):
        accounts.put_user("alice", "research")
    accounts.put_team("research")
    assert accounts.put_user("alice", "research").team == "research"
    with pytest.raises(PolyrouteError, match="has users \\(alice\\)"):
        accounts.remove_team("research")
    assert accounts.put_user("alice", None).team is None
    accounts.remove_team("research")
    accounts.remove_user("alice")
    assert (accounts.list_users(), accounts.list_teams()) == ([], [])
    with pytest.raises(PolyrouteError, match="there is no user 'alice'"):
        accounts.remove_user("alice")
