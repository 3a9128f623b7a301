"""The commands `polyroute budgets`, `users`, `teams` and `notifications`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from polyroute.cli.options import (
    AsJson,
    Config,
    open_ledger,
    print_json,
    print_table,
    read_catalog,
    refusals_in_words,
    refuse,
)

if TYPE_CHECKING:
    from polyroute.ports.budgets import BudgetDesk

budgets_app = typer.Typer(help="What may be spent, by whom, in which window.", no_args_is_help=True)
users_app = typer.Typer(help="Users, to whom keys belong and requests are counted.", no_args_is_help=True)
teams_app = typer.Typer(help="Teams, to which users belong.", no_args_is_help=True)
notifications_app = typer.Typer(help="What operators should know, newest first.", no_args_is_help=True)


@contextmanager
def open_desk(config: Path | None) -> Iterator[BudgetDesk]:
    """Budgets and people in the database; what it refuses is said without a traceback."""
    from polyroute.storage.budget_desk import Accounts  # noqa: PLC0415 - `--help` must not load everything
    from polyroute.storage.budgets import sync_budgets  # noqa: PLC0415

    settings, catalog = read_catalog(config)
    database = open_ledger(settings)
    try:
        with refusals_in_words():
            sync_budgets(database, catalog.budgets.values(), catalog.currencies)
            yield Accounts(database, lambda: catalog)
    finally:
        database.close()


# ---------------------------------------------------------------- budgets


@budgets_app.command("list")
def budgets_list(config: Config = None, as_json: AsJson = False) -> None:
    """List all budgets with their current windows."""
    with open_desk(config) as desk:
        reports = desk.list_budgets()
    if as_json:
        print_json(reports)
        return
    print_table(
        ("id", "for", "amount", "spent", "held", "left", "soft", "renews", "from"),
        [
            (
                one.budget.id, "all" if one.budget.scope == "installation" else one.budget.holder,
                f"{one.budget.amount} {one.budget.currency}/{one.budget.window}",
                one.spent, one.held, one.remaining + ("" if one.budget.hard else " (soft only)"),
                "" if one.budget.soft_limit is None else f"{one.budget.soft_limit:.0%} {one.budget.soft_action}",
                (one.window_end or "never")[:10], one.budget.source,
            )
            for one in reports
        ],
    )  # fmt: skip


@budgets_app.command("set")
def budgets_set(
    identifier: Annotated[str, typer.Argument(metavar="ID", help="Its name; an existing one is changed.")],
    amount: Annotated[str, typer.Option(help="`30 USD`, `500000 VND`, `1000 credits`.")],
    team: Annotated[str | None, typer.Option(help="For a team.")] = None,
    user: Annotated[str | None, typer.Option(help="For a user.")] = None,
    key: Annotated[str | None, typer.Option(help="For a key, by its id or name.")] = None,
    route: Annotated[str | None, typer.Option(help="For a route.")] = None,
    window: Annotated[str, typer.Option(help="day, week, month or total.")] = "month",
    time_zone: Annotated[str, typer.Option(help="Where days begin: Asia/Ho_Chi_Minh.")] = "UTC",
    soft_limit: Annotated[float | None, typer.Option(help="Share from which on the soft action holds: 0.8.")] = None,
    soft_action: Annotated[str, typer.Option(help="warn, cheapest or downgrade.")] = "warn",
    downgrade_to: Annotated[str | None, typer.Option(help="The route of `downgrade`.")] = None,
    hard: Annotated[bool, typer.Option("--hard/--soft-only", help="Whether requests beyond it are refused.")] = True,
    unpriced: Annotated[str, typer.Option(help="refuse or allow targets whose price is unknown.")] = "refuse",
    database_away: Annotated[
        str, typer.Option(help="refuse or allow requests that cannot be checked, while the database is away.")
    ] = "refuse",
    alert: Annotated[
        list[float] | None, typer.Option(help="Share at which to notify; may stand several times.")
    ] = None,
    config: Config = None,
) -> None:
    """Make a budget for the whole installation, or for a team, user, key or route."""
    subjects = {"team": team, "user": user, "key": key, "route": route}
    named = {scope: subject for scope, subject in subjects.items() if subject is not None}
    if len(named) > 1:
        refuse(f"a budget is for one of {', '.join(named)}, not for several")
    scope, subject = next(iter(named.items()), ("installation", None))
    with open_desk(config) as desk:
        budget = desk.put_budget(
            {
                "id": identifier, "amount": amount, "scope": scope, "subject": subject, "window": window,
                "time_zone": time_zone, "soft_limit": soft_limit, "soft_action": soft_action,
                "downgrade_to": downgrade_to, "hard": hard, "unpriced": unpriced, "database_away": database_away,
                "alerts": tuple(alert) if alert else (0.8, 1.0),
            }
        )  # fmt: skip
    typer.echo(
        f"{budget.id}: {budget.amount} {budget.currency} by {budget.window} for {budget.holder}. "
        "Gateways that run know of it within a second."
    )


@budgets_app.command("delete")
def budgets_delete(identifier: Annotated[str, typer.Argument(metavar="ID")], config: Config = None) -> None:
    """Remove a budget that the configuration does not own, with what was counted."""
    with open_desk(config) as desk:
        desk.remove_budget(identifier)
    typer.echo(f"{identifier} is removed.")


# ---------------------------------------------------------------- users and teams


@users_app.command("list")
def users_list(config: Config = None, as_json: AsJson = False) -> None:
    """List all users."""
    with open_desk(config) as desk:
        users = desk.list_users()
    if as_json:
        print_json(users)
    else:
        print_table(("id", "team"), [(user.id, user.team or "") for user in users])


@users_app.command("create")
def users_create(
    identifier: Annotated[str, typer.Argument(metavar="ID")],
    team: Annotated[str | None, typer.Option(help="The team that the user belongs to.")] = None,
    config: Config = None,
) -> None:
    """Make a user, or move the one of that id to a team. `polyroute keys create --user ID` gives it a key."""
    with open_desk(config) as desk:
        user = desk.put_user(identifier, team)
    typer.echo(f"{user.id}" + (f" is in team {user.team}." if user.team else " is in no team."))


@users_app.command("delete")
def users_delete(identifier: Annotated[str, typer.Argument(metavar="ID")], config: Config = None) -> None:
    """Remove a user; its keys go on to count under its id."""
    with open_desk(config) as desk:
        desk.remove_user(identifier)
    typer.echo(f"{identifier} is removed.")


@teams_app.command("list")
def teams_list(config: Config = None, as_json: AsJson = False) -> None:
    """List all teams and their users."""
    with open_desk(config) as desk:
        teams, users = desk.list_teams(), desk.list_users()
    if as_json:
        print_json(teams)
        return
    members = {team.id: ", ".join(user.id for user in users if user.team == team.id) for team in teams}
    print_table(("id", "users"), [(team.id, members[team.id]) for team in teams])


@teams_app.command("create")
def teams_create(identifier: Annotated[str, typer.Argument(metavar="ID")], config: Config = None) -> None:
    """Make a team."""
    with open_desk(config) as desk:
        desk.put_team(identifier)
    typer.echo(f"{identifier} is there; `polyroute users create NAME --team {identifier}` fills it.")


@teams_app.command("delete")
def teams_delete(identifier: Annotated[str, typer.Argument(metavar="ID")], config: Config = None) -> None:
    """Remove a team that has no users."""
    with open_desk(config) as desk:
        desk.remove_team(identifier)
    typer.echo(f"{identifier} is removed.")


# ---------------------------------------------------------------- notifications


@notifications_app.command("list")
def notifications_list(
    most: Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many.")] = 20,
    unread: Annotated[bool, typer.Option("--unread", help="Only those that nobody has seen.")] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """List notifications."""
    from datetime import UTC, datetime  # noqa: PLC0415

    with open_desk(config) as desk:
        found = desk.list_notifications(most, unread=unread)
    if as_json:
        print_json(found)
        return
    print_table(
        ("at", "kind", "what"),
        [
            (datetime.fromtimestamp(one.created_at, UTC).strftime("%Y-%m-%d %H:%M"), one.kind, one.message)
            for one in found
        ],
    )
