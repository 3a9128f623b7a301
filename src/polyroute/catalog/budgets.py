"""Budgets as they are written, in the configuration or over the API, made into budgets that hold; pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from decimal import ROUND_FLOOR, Decimal
from typing import Literal, TypeVar
from zoneinfo import available_timezones

import msgspec

from polyroute.catalog.inputs import BudgetEntry
from polyroute.catalog.model import Currency
from polyroute.catalog.problems import Problems, find_nearest
from polyroute.types.budgets import (
    CREDITS,
    LARGEST,
    SCOPES,
    SOFT_ACTIONS,
    UNIT,
    WINDOWS,
    Budget,
    Scope,
    SoftAction,
    WindowKind,
)

_AMOUNT = re.compile(r"\s*([+-]?\d{1,15}(?:\.\d{1,10})?)\s*([A-Za-z]{3,7})\s*")
_EXAMPLES = '"30 USD", "500000 VND" or "1000 credits"'
Path = tuple[str | int, ...]
Word = TypeVar("Word", bound=str)


class Surroundings(msgspec.Struct, frozen=True):
    """What a budget may refer to: exchange rates, and the names of routes."""

    currencies: Mapping[str, Currency]
    routes: Collection[str]


def read_budget(
    identifier: str, entry: BudgetEntry, around: Surroundings, problems: Problems, path: Path,
    source: Literal["settings", "api"] = "settings",
) -> Budget | None:  # fmt: skip
    """The budget, or None and what is wrong with it under `path`."""
    before = len(problems.found)
    scope: Scope = _choice(entry.scope, SCOPES, "installation", (*path, "scope"), problems)
    window: WindowKind = _choice(entry.window, WINDOWS, "month", (*path, "window"), problems)
    action: SoftAction = _choice(entry.soft_action, SOFT_ACTIONS, "warn", (*path, "soft_action"), problems)
    unpriced = _choice(entry.unpriced, _UNPRICED, "refuse", (*path, "unpriced"), problems)
    found = _read_amount(entry.amount, around.currencies, (*path, "amount"), problems)
    _check_subject(scope, entry.subject, around, path, problems)
    _check_soft(action, entry, around, path, problems)
    if not all(0 < share <= 10 for share in entry.alerts):
        problems.note((*path, "alerts"), "shares of the amount, each above 0", expected="[0.5, 0.8, 1.0], for example")
    if entry.time_zone not in available_timezones():
        problems.note(
            (*path, "time_zone"), "unknown time zone", given=entry.time_zone, expected="a name such as Asia/Ho_Chi_Minh",
            nearest=find_nearest(entry.time_zone, available_timezones()),
        )  # fmt: skip
    if found is None or len(problems.found) > before:
        return None
    amount, currency, limit = found
    return Budget(
        id=identifier, scope=scope, subject=entry.subject, amount=amount, currency=currency, limit=limit, window=window,
        time_zone=entry.time_zone, soft_limit=entry.soft_limit, soft_action=action, downgrade_to=entry.downgrade_to,
        hard=entry.hard, unpriced=unpriced, alerts=tuple(sorted(set(entry.alerts))), source=source,
    )  # fmt: skip


_UNPRICED: tuple[Literal["refuse", "allow"], ...] = ("refuse", "allow")


def _choice(given: str, choices: tuple[Word, ...], usual: Word, path: Path, problems: Problems) -> Word:
    for choice in choices:
        if given == choice:
            return choice
    problems.add(path, "wrong value", given=given, choices=choices)
    return usual


def _check_subject(
    scope: Scope, subject: str | None, around: Surroundings, path: Path, problems: Problems
) -> None:  # fmt: skip
    if scope == "installation":
        if subject is not None:
            problems.note((*path, "subject"), "a budget of the installation has no subject", expected="leave it out")
    elif not subject:
        problems.note((*path, "subject"), f"is required: which {scope} the budget is for")
    elif scope == "route" and subject not in around.routes and "/" not in subject:
        problems.add((*path, "subject"), "there is no such route", given=subject, choices=sorted(around.routes))


def _check_soft(
    action: SoftAction, entry: BudgetEntry, around: Surroundings, path: Path, problems: Problems
) -> None:  # fmt: skip
    if entry.soft_limit is not None and not 0 < entry.soft_limit <= 1:
        problems.note((*path, "soft_limit"), "a share of the amount", expected="more than 0, at most 1: 0.8 for 80 %")
    if action != "warn" and entry.soft_limit is None:
        problems.note((*path, "soft_limit"), f"is required for soft_action {action}", expected="0.8, for example")
    if action == "downgrade":
        if entry.downgrade_to is None:
            problems.note((*path, "downgrade_to"), "is required for soft_action downgrade: the name of a route")
        elif entry.downgrade_to not in around.routes:
            problems.add(
                (*path, "downgrade_to"),
                "there is no such route",
                given=entry.downgrade_to,
                choices=sorted(around.routes),
            )
    elif entry.downgrade_to is not None:
        problems.note((*path, "downgrade_to"), "belongs to `soft_action: downgrade`")


def _read_amount(
    text: str, currencies: Mapping[str, Currency], path: Path, problems: Problems
) -> tuple[Decimal, str, int] | None:
    """Amount, currency, and the same in units. None and a problem for anything else."""
    found = _AMOUNT.fullmatch(text[:80])
    if found is None:
        problems.note(path, "no amount with its currency", given=text[:80], expected=_EXAMPLES)
        return None
    amount, currency = Decimal(found[1]), found[2].upper()
    if amount < 0:
        problems.note(path, "a budget cannot be below zero", given=text[:80], expected=f"0 or more: {_EXAMPLES}")
        return None
    if currency in ("CREDIT", CREDITS):
        currency, worth = CREDITS, amount
    elif currency == "USD":
        worth = amount
    elif currency in currencies:
        worth = amount / Decimal(str(currencies[currency].per_usd))
    else:
        known = ["USD", *currencies, "credits"]
        problems.note(
            path, f"unknown currency {currency}", given=text[:80], nearest=find_nearest(currency, known),
            expected=f"one of {', '.join(known)}, or its rate under currencies.{currency}",
        )  # fmt: skip
        return None
    if worth > LARGEST:
        problems.note(path, "more than can be counted", given=text[:80], expected=f"at most {LARGEST:,} USD or credits")
        return None
    return amount, currency, int((worth * UNIT).to_integral_value(ROUND_FLOOR))


def convert_limit(budget: Budget, currencies: Mapping[str, Currency]) -> Budget:
    """The budget with its limit at the exchange rate of the moment; as it was where there is no rate any more."""
    currency = currencies.get(budget.currency)
    if currency is None:
        return budget
    worth = budget.amount / Decimal(str(currency.per_usd)) * UNIT
    return msgspec.structs.replace(budget, limit=int(worth.to_integral_value(ROUND_FLOOR)))


def find_overlap(budget: Budget, others: Iterable[Budget]) -> Budget | None:
    """A budget of the same scope, window and kind of amount: two of them would both want to be the limit."""
    for other in others:
        same = (other.scope, other.subject, other.window) == (budget.scope, budget.subject, budget.window)
        if same and other.id != budget.id and other.in_credits == budget.in_credits:
            return other
    return None


def read_budgets(entries: Mapping[str, BudgetEntry], around: Surroundings, problems: Problems) -> dict[str, Budget]:
    """The configuration's `budgets` by name."""
    found: dict[str, Budget] = {}
    for name, entry in entries.items():
        path = ("budgets", name)
        budget = read_budget(name, entry, around, problems, path)
        if budget is None:
            continue
        other = find_overlap(budget, found.values())
        if other is not None:
            problems.note(
                path, f"overlaps with budgets.{other.id}: both are for {budget.holder}, by {budget.window}",
                expected="one of the two; or another window, scope or subject",
            )  # fmt: skip
        else:
            found[name] = budget
    return found


def read_credits(entries: Mapping[str, Decimal], problems: Problems) -> dict[str, Decimal]:
    """The configuration's `credits` by label."""
    for name, price in entries.items():
        if not price.is_finite() or price < 0:
            problems.note(("credits", name), "a price in credits cannot be below zero", given=str(price))
        elif price > LARGEST:
            problems.note(("credits", name), "more than can be counted", given=str(price))
    return dict(entries)
