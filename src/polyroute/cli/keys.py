"""`polyroute keys`: issuing, listing, assigning and revoking the keys that callers present."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from polyroute.cli.options import Config, open_ledger, print_table, read_catalog, read_settings, refuse

if TYPE_CHECKING:
    from polyroute.types.limits import Limits
    from polyroute.types.records import KeyRecord

keys_app = typer.Typer(help="Keys that callers present (auth.mode: keys).", no_args_is_help=True)


@keys_app.command("create")
def keys_create(
    name: Annotated[str, typer.Option(help="Whose key it is.")],
    routes: Annotated[str | None, typer.Option(help="Routes that it may use, separated by commas; all when left out.")] = None,
    user: Annotated[str | None, typer.Option(help="User to whom its requests are counted.")] = None,
    operator: Annotated[bool, typer.Option("--operator", help="It may also use the operators' API.")] = False,
    rpm: Annotated[int | None, typer.Option(min=1, help="Requests a minute.", show_default="no limit")] = None,
    tpm: Annotated[int | None, typer.Option(min=1, help="Tokens a minute.", show_default="no limit")] = None,
    concurrency: Annotated[int | None, typer.Option(min=1, help="Requests at once.", show_default="no limit")] = None,
    config: Config = None,
) -> None:  # fmt: skip
    """Issue a key and print it, once."""
    from polyroute.composition.stores import key_storage  # noqa: PLC0415
    from polyroute.storage.keys import create_key  # noqa: PLC0415
    from polyroute.types.limits import Limits  # noqa: PLC0415

    settings, catalog = read_catalog(config)
    allowed = None if routes is None else tuple(part.strip() for part in routes.split(",") if part.strip())
    for route in allowed or ():
        if route not in catalog.routes and "/" not in route:
            typer.echo(f"note: there is no route '{route}' in this configuration", err=True)
    database, pepper = key_storage(settings)
    limits = Limits(requests_per_minute=rpm, tokens_per_minute=tpm, concurrency=concurrency)
    key, record = create_key(
        database, pepper, name=name, routes=allowed, user_id=user, operator=operator, limits=limits
    )
    typer.echo(f"{record.id} for '{record.name}'. This is the key; it is shown this once:", err=True)
    typer.echo(key)


@keys_app.command("list")
def keys_list(config: Config = None) -> None:
    """List the keys that were issued."""
    from datetime import UTC, datetime  # noqa: PLC0415

    from polyroute.storage.keys import list_keys  # noqa: PLC0415

    def row(key: KeyRecord) -> tuple[str, ...]:
        routes = "all" if key.routes is None else ", ".join(key.routes)
        created = datetime.fromtimestamp(key.created_at, UTC).strftime("%Y-%m-%d %H:%M")
        state = "revoked" if key.revoked_at is not None else "operator" if key.operator else "active"
        limits = describe_limits(key.limits)
        return (key.id, key.name, key.prefix + "…", routes, limits, key.user_id or "", created, state)

    columns = ("id", "name", "begins with", "routes", "limits", "user", "created", "state")
    print_table(columns, map(row, list_keys(open_ledger(read_settings(config)))))


def describe_limits(limits: Limits | None) -> str:
    """In a few words: `60 rpm, 4 at once`."""
    if limits is None:
        return ""
    told = (
        (limits.requests_per_minute, "rpm"),
        (limits.tokens_per_minute, "tpm"),
        (limits.concurrency, "at once"),
    )
    return ", ".join(f"{number} {unit}" for number, unit in told if number is not None)


@keys_app.command("assign")
def keys_assign(
    key: Annotated[str, typer.Argument(help="Its id, its name, or what it begins with.")],
    user: Annotated[
        str | None, typer.Option(help="The user that it belongs to from now on; none when left out.")
    ] = None,
    config: Config = None,
) -> None:
    """Give a key to a user; its requests count for that user, and for the user's team."""
    from polyroute.storage.keys import assign_key  # noqa: PLC0415

    record = assign_key(open_ledger(read_settings(config)), key, user)
    if record is None:
        refuse(f"There is no one active key '{key}'; `polyroute keys list` shows them.")
    typer.echo(f"{record.id} ('{record.name}') belongs to {record.user_id or 'nobody'}.")


@keys_app.command("revoke")
def keys_revoke(
    key: Annotated[str, typer.Argument(help="Its id, its name, or what it begins with.")], config: Config = None
) -> None:
    """Revoke a key; every worker refuses it within two seconds."""
    from polyroute.storage.keys import revoke_key  # noqa: PLC0415

    record = revoke_key(open_ledger(read_settings(config)), key)
    if record is None:
        refuse(f"There is no one active key '{key}'; `polyroute keys list` shows them.")
    typer.echo(f"{record.id} ('{record.name}') is revoked.")
