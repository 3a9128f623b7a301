"""Budgets and notifications as the engine and the surfaces ask for them; all blocking, called from worker threads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from polyroute.types.budgets import Budget, BudgetBook, BudgetReport, Grant, Team, User, WindowState

WindowKey = tuple[str, int]
"""A budget's id and the start of one of its windows."""


class BudgetBank(Protocol):
    """Where workers get their slices of budgets. Used by one thread at a time. Raises whatever the database does."""

    worker: str
    """This worker's name, which its charges carry."""

    def read(self, revision: int | None) -> BudgetBook | None:
        """All budgets, or None when nothing changed since that revision."""

    def lease(self, budget: Budget, window: int, wanted: int, needed: int) -> Grant:
        """Up to `wanted` units, at least `needed`, or nothing: never more than the budget still has."""

    def give_back(self, key: WindowKey, amount: int) -> None:
        """Units that this worker does not need."""

    def renew(self, keys: Sequence[WindowKey]) -> Mapping[WindowKey, WindowState]:
        """Keep this worker's leases from expiring, end those that did, and look at windows."""

    def tell_exhausted(self, budget: Budget, window: int, message: str) -> None:
        """Notify, once in a window, that requests are refused."""

    def close(self) -> None:
        """Give everything back and leave."""


class Notification(msgspec.Struct, frozen=True, kw_only=True):
    """Something that operators should know. `key` makes it unique: it is told once."""

    id: str
    created_at: float
    kind: str
    subject: str
    message: str
    data: dict[str, Any] = {}
    read_at: float | None = None


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook that is due. `tries` counts this one. `secret` None means the one of the configuration for this URL."""

    id: str
    url: str
    payload: bytes
    tries: int
    secret: str | None = None


class Outbox(Protocol):
    """Webhooks that are still to be delivered; what is in it outlives a restart."""

    def deliver(
        self, url: str, event: str, data: Mapping[str, Any], *, secret: str | None = None, identifier: str | None = None
    ) -> str:
        """Have an event delivered; gives the id that its receiver sees. Durable when it returns. What has the same `identifier`
        is delivered once."""

    def spread(self, targets: Sequence[tuple[str, tuple[str, ...]]]) -> int:
        """Put notifications that were not looked at yet into the outbox, for each (URL, kinds that it wants; none: all);
        how many deliveries that made."""

    def claim(self, most: int) -> list[Delivery]:
        """Deliveries that are due; nobody else gets them for a while."""

    def finish(self, delivery: Delivery, *, error: str | None, retry_in: float | None) -> None:
        """How it went: delivered (no error), to be tried again in so many seconds, or given up (None)."""


class BudgetDesk(Protocol):
    """What the operators' API does with budgets, users, teams and notifications.

    Raises PolyrouteError: `invalid_request` with the fix, `not_found`.
    """

    def list_budgets(self) -> Sequence[BudgetReport]:
        """All budgets with their current windows."""

    def put_budget(self, values: Mapping[str, Any]) -> Budget:
        """Make a budget, or change the one of that id."""

    def remove_budget(self, identifier: str) -> None:
        """Remove a budget that the configuration does not own."""

    def list_users(self) -> Sequence[User]:
        """All users."""

    def put_user(self, identifier: str, team: str | None) -> User:
        """Make a user, or move the one of that id to a team."""

    def remove_user(self, identifier: str) -> None:
        """Remove one; keys that name it go on to count under its id."""

    def list_teams(self) -> Sequence[Team]:
        """All teams."""

    def put_team(self, identifier: str) -> Team:
        """Make a team."""

    def remove_team(self, identifier: str) -> None:
        """Remove a team that has no users."""

    def list_notifications(self, most: int, *, unread: bool) -> Sequence[Notification]:
        """The newest first."""

    def mark_read(self, identifier: str) -> Notification:
        """Somebody has seen it."""
