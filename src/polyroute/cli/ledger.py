"""The ledger: `polyroute db`, which keeps its database in shape, and `polyroute export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polyroute.cli.options import Config, read_settings, refuse

db_app = typer.Typer(help="The ledger's database.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands to the program's."""
    app.add_typer(db_app, name="db")
    app.command()(export)


@db_app.command("upgrade")
def db_upgrade(config: Config = None) -> None:
    """Bring the database to the newest schema (`serve` does so too)."""
    from polyroute.storage.database import SCHEMA_HEAD, display_url, open_database  # noqa: PLC0415

    url = read_settings(config).storage.database
    open_database(url).close()
    typer.echo(f"{display_url(url)} is at schema {SCHEMA_HEAD}.")


@db_app.command("prune")
def db_prune(
    older_than: Annotated[
        str | None,
        typer.Option(help="Delete requests older than this: 90d, 12w.", show_default="storage.retention.rows_days"),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be deleted.")] = False,
    config: Config = None,
) -> None:
    """Delete old requests in small batches, while the gateway goes on; the sums that analytics reads stay."""
    from polyroute.cli import bookkeeping  # noqa: PLC0415

    try:
        pruned = bookkeeping.prune(read_settings(config), older_than, dry_run=dry_run)
    except ValueError as error:
        refuse(str(error), error)
    typer.echo(
        f"{'would delete' if dry_run else 'deleted'}: {pruned.requests} requests with {pruned.attempts} attempts, "
        f"the content of {pruned.contents} and the decisions of {pruned.decisions} more, {pruned.rollups} rollups"
    )


@db_app.command("rollups")
def db_rollups(
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Count anew what is counted already.")] = False,
    config: Config = None,
) -> None:
    """Count the requests that the sums for analytics lack (the running gateway does so too), or all of them anew."""
    from polyroute.cli import bookkeeping  # noqa: PLC0415

    counted = bookkeeping.recount(read_settings(config), rebuild=rebuild)
    typer.echo("Every request is counted." if counted is None else f"{counted} requests were counted.")


def export(
    table: Annotated[str, typer.Argument(help="requests or attempts.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write; `-` is standard output.")],
    since: Annotated[str, typer.Option(help="From when on: 7d, 2026-11-20, 2026-11-20T21:00:00+01:00.")] = "30d",
    until: Annotated[str, typer.Option(help="To before when.")] = "now",
    form: Annotated[str, typer.Option("--format", help="csv, jsonl or parquet.")] = "csv",
    config: Config = None,
) -> None:
    """Write requests or attempts of the ledger to a file."""
    from polyroute.cli import bookkeeping  # noqa: PLC0415
    from polyroute.storage.export import ExportError  # noqa: PLC0415

    try:
        bookkeeping.export(read_settings(config), table, since=since, until=until, form=form, output=output)
    except (ValueError, ExportError) as error:
        refuse(str(error), error)
