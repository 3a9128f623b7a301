"""Budgets: limits in money or credits over windows of time, and the charges that use them up."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal, get_args

import msgspec

Scope = Literal["installation", "team", "user", "key", "route"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
WindowKind = Literal["day", "week", "month", "total"]
WINDOWS: tuple[WindowKind, ...] = get_args(WindowKind)
SoftAction = Literal["warn", "cheapest", "downgrade"]
SOFT_ACTIONS: tuple[SoftAction, ...] = get_args(SoftAction)

CREDITS = "CREDITS"
"""The currency of budgets that count what labels cost in credits, not what providers cost."""

UNIT = 10**10
"""Units to a US dollar or a credit. Databases add whole numbers exactly; the ledger's costs have ten decimal places, so
that what a budget has spent is to the last digit the sum of its requests' costs."""

LARGEST = 900_000_000
"""The most that a budget can hold, in US dollars or credits: 64 bits of units."""


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """What a scope may spend in a window.

    `subject` names the team, user, key or route. `amount` is in `currency`; `limit` is the same in units of a US dollar or of
    a credit. `soft_limit` and `alerts` are shares of the amount. `source` says who owns it: the configuration, or the API.
    """

    id: str
    scope: Scope
    subject: str | None
    amount: Decimal
    currency: str
    limit: int
    window: WindowKind = "month"
    time_zone: str = "UTC"
    soft_limit: float | None = None
    soft_action: SoftAction = "warn"
    downgrade_to: str | None = None
    hard: bool = True
    unpriced: Literal["refuse", "allow"] = "refuse"
    alerts: tuple[float, ...] = (0.8, 1.0)
    source: Literal["settings", "api"] = "settings"

    @property
    def in_credits(self) -> bool:
        """Whether it counts credits, not money."""
        return self.currency == CREDITS

    @property
    def holder(self) -> str:
        """Whose it is, in words: `team research`."""
        return "this installation" if self.scope == "installation" else f"{self.scope} {self.subject}"

    def words(self, units: int) -> str:
        """Units as an amount that its owner reads: `29.99 USD`, `12 credits`. Budgets in another currency are counted in
        US dollars."""
        return format_units(units, in_credits=self.in_credits)


def format_units(units: int, *, in_credits: bool) -> str:
    """`12.5 credits`, `0.0021 USD`."""
    return f"{decimal_text(units)} {'credits' if in_credits else 'USD'}"


def decimal_text(units: int) -> str:
    """Units as a decimal number in US dollars or credits, without needless zeros."""
    whole, rest = divmod(abs(units), UNIT)
    text = f"{whole}.{rest:010}".rstrip("0").rstrip(".") if rest else str(whole)
    return f"-{text}" if units < 0 else text


class Charge(msgspec.Struct, frozen=True, array_like=True):
    """What one request used up of one budget, as the journal keeps it: `spent` units in the window that began at `window`
    (seconds since the epoch), of which `held` come out of the lease of `worker`."""

    budget: str
    window: int
    spent: int
    held: int = 0
    worker: str = ""


class WindowState(msgspec.Struct, frozen=True):
    """What the database knows of a budget's window, in units. `leased` is what workers hold of it, `own` what the asking
    worker does."""

    spent: int = 0
    leased: int = 0
    own: int = 0


class Grant(msgspec.Struct, frozen=True):
    """What a worker got of a window, in units (0: not even the least that it needed), and the window after that."""

    granted: int
    state: WindowState


class BudgetBook(msgspec.Struct, frozen=True, kw_only=True):
    """All budgets, and the team of each user that has one. `revision` tells books apart."""

    revision: int
    budgets: tuple[Budget, ...] = ()
    teams: dict[str, str] = {}


class User(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody to whom requests are counted. Keys name users by id."""

    id: str
    team: str | None
    created_at: float


class Team(msgspec.Struct, frozen=True, kw_only=True):
    """Users with budgets in common."""

    id: str
    created_at: float


class BudgetReport(msgspec.Struct, frozen=True, kw_only=True):
    """A budget and its current window. Amounts are decimal texts in US dollars, or in credits; moments are ISO 8601."""

    budget: Budget
    window_start: str
    window_end: str | None
    spent: str
    held: str
    remaining: str
