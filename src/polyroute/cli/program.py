"""The program: every command in its place, and the errors that the user can mend."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from polyroute.cli import ledger, money, overview, servers
from polyroute.cli.artifacts import artifacts_app
from polyroute.cli.budgets import budgets_app, notifications_app, teams_app, users_app
from polyroute.cli.jobs import jobs_app
from polyroute.cli.keys import keys_app
from polyroute.cli.pipelines import pipelines_app
from polyroute.cli.services import services_app
from polyroute.types.version import __version__

app = typer.Typer(
    name="polyroute",
    help="One address for every AI provider: fallback across providers, every request in the ledger.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
servers.register(app)
overview.register(app)
app.add_typer(keys_app, name="keys")
ledger.register(app)
app.add_typer(budgets_app, name="budgets")
app.add_typer(users_app, name="users")
app.add_typer(teams_app, name="teams")
app.add_typer(notifications_app, name="notifications")
app.add_typer(artifacts_app, name="artifacts")
app.add_typer(jobs_app, name="jobs")
app.add_typer(pipelines_app, name="pipeline")
app.add_typer(services_app, name="services")
money.register(app)


def main() -> None:
    """The entry point: errors that the user can mend are shown without a traceback."""
    from polyroute.settings import ConfigurationError  # noqa: PLC0415 - `--help` must not load everything
    from polyroute.storage.database import StorageError  # noqa: PLC0415

    try:
        app()
    except (ConfigurationError, StorageError) as error:
        print(f"polyroute: {error}", file=sys.stderr)  # noqa: T201 (this is the command's own voice)
        sys.exit(2)


def version_wanted(wanted: bool) -> None:
    """`--version`."""
    if wanted:
        typer.echo(f"polyroute {__version__}")
        raise typer.Exit


@app.callback()
def options(
    _: Annotated[
        bool, typer.Option("--version", callback=version_wanted, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Options of all commands."""
