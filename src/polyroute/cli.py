"""The `polyroute` command."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from polyroute import __version__

if TYPE_CHECKING:
    from polyroute.catalog.model import Catalog
    from polyroute.settings import Settings

app = typer.Typer(
    name="polyroute",
    help="One address for every AI provider: fallback across providers, every request in the ledger.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
keys_app = typer.Typer(help="Keys that callers present (auth.mode: keys).", no_args_is_help=True)
db_app = typer.Typer(help="The ledger's database.", no_args_is_help=True)
app.add_typer(keys_app, name="keys")
app.add_typer(db_app, name="db")

DEFAULT_CONFIG = Path("polyroute.yaml")

Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="Configuration file.", show_default="polyroute.yaml, where there is one"),
]


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


def read_settings(config: Path | None) -> tuple[Settings, Path | None]:
    """The settings and the file that they came from, if any."""
    from polyroute.settings import load_settings  # noqa: PLC0415

    path = config or (DEFAULT_CONFIG if DEFAULT_CONFIG.exists() else None)
    return load_settings(path), path


# ---------------------------------------------------------------- serve


@app.command()
def serve(
    config: Config = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="server.host")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.", show_default="server.port")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Worker processes.", show_default="server.workers")] = None,
    sandbox: Annotated[bool, typer.Option("--sandbox", help="Send everything to simulated providers, started beside the gateway.")] = False,
    sandbox_if_no_keys: Annotated[bool, typer.Option("--sandbox-if-no-keys", help="As --sandbox, where no provider is configured.")] = False,
) -> None:  # fmt: skip
    """Start the gateway."""
    from polyroute import serving  # noqa: PLC0415

    settings, path = read_settings(config)
    settings = settings.with_server(host=host, port=port, workers=workers)
    raise typer.Exit(serving.serve(settings, path, sandbox=sandbox, sandbox_if_no_keys=sandbox_if_no_keys))


@app.command()
def sandbox(
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 9900,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    latency: Annotated[float, typer.Option(min=0, help="Seconds before every answer.")] = 0.0,
    tokens_per_second: Annotated[float, typer.Option(min=0, help="Pace of streams; 0 is as fast as can be.")] = 200.0,
    exit_with_stdin: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    """Start the simulated providers."""
    from polyroute.sandbox.server import SandboxOptions, run  # noqa: PLC0415

    run(
        host,
        port,
        SandboxOptions(latency=latency, tokens_per_second=tokens_per_second),
        exit_with_stdin=exit_with_stdin,
    )
