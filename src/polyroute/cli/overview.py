"""What there is and what would happen: `polyroute models`, `explain`, `doctor` and `drill`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from polyroute.cli.options import AsJson, Config, read_catalog, refusals_in_words, refuse


def register(app: typer.Typer) -> None:
    """Add the commands to the program's."""
    for command in (models, explain, doctor, drill):
        app.command()(command)


def models(config: Config = None, as_json: AsJson = False) -> None:
    """List every name that callers can use."""
    from polyroute.cli import inspection  # noqa: PLC0415

    rows = inspection.models(read_catalog(config)[1])
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    else:
        inspection.print_models(rows)


def explain(
    route: Annotated[str, typer.Argument(help="A route, provider/model, or model id.")],
    body: Annotated[
        Path | None,
        typer.Option("--body", help="A request as it would be sent, as a JSON file; `-` is standard input."),
    ] = None,
    dialect: Annotated[
        str | None,
        typer.Option("--dialect", help="Wire format of the body.", show_default="OpenAI's for the operation"),
    ] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Show what would be tried for a route or a request, in which order, and why the rest would not. Nothing is sent."""
    from polyroute.cli import inspection  # noqa: PLC0415
    from polyroute.routing.explanation import explain as in_words  # noqa: PLC0415
    from polyroute.types.operations import Dialect  # noqa: PLC0415

    settings, catalog = read_catalog(config)
    try:
        content = None if body is None else sys.stdin.buffer.read() if str(body) == "-" else body.read_bytes()
        spoken = None if dialect is None else Dialect(dialect)
    except OSError as error:
        refuse(f"{body} cannot be read: {error.strerror}", error)
    except ValueError as error:
        refuse(f"there is no dialect {dialect}; there are {', '.join(Dialect)}", error)
    with refusals_in_words():
        decision = inspection.explain(catalog, route, content, spoken, settings.storage.database)
    if as_json:
        typer.echo(json.dumps(in_words(decision), indent=2))
    else:
        inspection.print_decision(decision, catalog)


def doctor(
    config: Config = None,
    live: Annotated[
        bool, typer.Option("--live", help="Also ask each provider, with each credential, for its free list of models.")
    ] = False,
) -> None:
    """Check configuration, credentials and database; say what is wrong and how to mend it."""
    from polyroute.cli import inspection  # noqa: PLC0415

    settings, catalog = read_catalog(config)
    problems = inspection.doctor(settings, catalog)
    if live:
        problems += inspection.check_live_all(catalog)
    if problems:
        raise typer.Exit(1)


def drill(
    provider: Annotated[str | None, typer.Option(help="At which provider; with --end all when left out.")] = None,
    fault: Annotated[str, typer.Option(help="A status of 400 to 599, timeout, reset or slow.")] = "503",
    lasts: Annotated[str, typer.Option("--for", help="How long: 90s, 5m, 1h; it ends by itself.")] = "5m",
    seconds: Annotated[float, typer.Option(min=0, max=600, help="How slow `slow` is.")] = 5.0,
    end: Annotated[bool, typer.Option("--end", help="End it now.")] = False,
    config: Config = None,
) -> None:
    """Rehearse an outage: put a fault in front of a provider in the gateway that runs with this configuration."""
    from polyroute.cli import inspection  # noqa: PLC0415
    from polyroute.engine.drills import make_drill  # noqa: PLC0415

    settings, catalog = read_catalog(config)
    with refusals_in_words():
        if end:
            typer.echo(f"{inspection.end_drills(settings, provider)} drill(s) ended.")
            return
        inspection.start_drill(settings, catalog, make_drill(provider or "", fault, lasts, seconds=seconds))
    typer.echo(f"{provider}: {fault} for {lasts}. `polyroute drill --end --provider {provider}` ends it sooner.")
