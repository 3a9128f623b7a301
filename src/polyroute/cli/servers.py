"""The commands that run until told to stop: `polyroute serve`, `worker` and `sandbox`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from polyroute.cli.options import Config, read_settings, refuse


def register(app: typer.Typer) -> None:
    """Add the commands to the program's."""
    for command in (serve, worker, sandbox):
        app.command()(command)


def serve(
    config: Config = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="server.host")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.", show_default="server.port")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Worker processes.", show_default="server.workers")] = None,
    sandbox: Annotated[bool, typer.Option("--sandbox", help="Ask simulated providers, started beside it.")] = False,
    sandbox_if_no_keys: Annotated[
        bool, typer.Option("--sandbox-if-no-keys", help="As --sandbox, where no provider is on.")
    ] = False,
) -> None:  # fmt: skip
    """Start the gateway."""
    from polyroute.cli import serving  # noqa: PLC0415

    chosen = {"server.host": host, "server.port": port, "server.workers": workers}
    settings = read_settings(config, **chosen)
    raise typer.Exit(serving.serve(settings, sandbox=sandbox, sandbox_if_no_keys=sandbox_if_no_keys))


def worker(
    config: Config = None,
    sandbox: Annotated[
        str | None, typer.Option("--sandbox", metavar="URL", help="Ask the simulated providers at this address.")
    ] = None,
) -> None:
    """Work on durable jobs, beside gateways that share the database and the artifact store."""
    from polyroute.cli import serving  # noqa: PLC0415

    raise typer.Exit(serving.work(read_settings(config), sandbox))


def sandbox(
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 9900,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    latency: Annotated[float, typer.Option(min=0, help="Seconds before every answer.")] = 0.0,
    tokens_per_second: Annotated[float, typer.Option(min=0, help="Pace of streams; 0 is as fast as can be.")] = 200.0,
    exit_with_stdin: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    """Start the simulated providers."""
    from polyroute.sandbox.control import SandboxOptions  # noqa: PLC0415
    from polyroute.sandbox.server import run  # noqa: PLC0415

    def announce(url: str) -> None:
        typer.echo(url)
        sys.stdout.flush()
        typer.echo(f"Simulated providers listen at {url} ({url}/_control sets faults).", err=True)

    simulated = SandboxOptions(latency=latency, tokens_per_second=tokens_per_second)
    try:
        run(host, port, simulated, exit_with_stdin=exit_with_stdin, on_ready=announce)
    except OSError as error:
        refuse(f"polyroute sandbox: cannot listen on {host}:{port}: {error.strerror}", error)
