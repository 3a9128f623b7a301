"""The `polyroute` command."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from polyroute import money_cli
from polyroute.artifacts_cli import artifacts_app
from polyroute.budgeting import budgets_app, notifications_app, teams_app, users_app
from polyroute.jobs_cli import jobs_app
from polyroute.pipelines_cli import pipelines_app
from polyroute.services_cli import services_app
from polyroute.types.version import __version__

if TYPE_CHECKING:
    from polyroute.catalog.model import Catalog
    from polyroute.settings import Settings
    from polyroute.types.limits import Limits

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
app.add_typer(budgets_app, name="budgets")
app.add_typer(users_app, name="users")
app.add_typer(teams_app, name="teams")
app.add_typer(notifications_app, name="notifications")
app.add_typer(artifacts_app, name="artifacts")
app.add_typer(jobs_app, name="jobs")
app.add_typer(pipelines_app, name="pipeline")
app.add_typer(services_app, name="services")

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


def read_settings(config: Path | None, **overrides: object) -> Settings:
    """The settings; `overrides` are options of the command line, None where not given."""
    from polyroute.app import read_configuration  # noqa: PLC0415

    return read_configuration(config, {key: value for key, value in overrides.items() if value is not None})


# ---------------------------------------------------------------- serve


@app.command()
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
    from polyroute import serving  # noqa: PLC0415

    chosen = {"server.host": host, "server.port": port, "server.workers": workers}
    settings = read_settings(config, **chosen)
    raise typer.Exit(serving.serve(settings, sandbox=sandbox, sandbox_if_no_keys=sandbox_if_no_keys))


@app.command()
def worker(
    config: Config = None,
    sandbox: Annotated[
        str | None, typer.Option("--sandbox", metavar="URL", help="Ask the simulated providers at this address.")
    ] = None,
) -> None:
    """Work on durable jobs, beside gateways that share the database and the artifact store."""
    from polyroute import serving  # noqa: PLC0415

    raise typer.Exit(serving.work(read_settings(config), sandbox))


@app.command()
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
        typer.echo(f"polyroute sandbox: cannot listen on {host}:{port}: {error.strerror}", err=True)
        raise typer.Exit(2) from error


# ---------------------------------------------------------------- what there is


def read_catalog(config: Path | None) -> tuple[Settings, Catalog]:
    """Settings, and what exists under them."""
    from polyroute.app import make_catalog  # noqa: PLC0415

    settings = read_settings(config)
    return settings, make_catalog(settings)


AsJson = Annotated[bool, typer.Option("--json", help="As JSON, for programs.")]


@app.command()
def models(config: Config = None, as_json: AsJson = False) -> None:
    """List every name that callers can use."""
    from polyroute import inspection  # noqa: PLC0415

    rows = inspection.models(read_catalog(config)[1])
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    else:
        inspection.print_models(rows)


@app.command()
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
    from polyroute import inspection  # noqa: PLC0415
    from polyroute.routing.explanation import explain as in_words  # noqa: PLC0415
    from polyroute.types.errors import PolyrouteError  # noqa: PLC0415
    from polyroute.types.operations import Dialect  # noqa: PLC0415

    settings, catalog = read_catalog(config)
    try:
        content = None if body is None else sys.stdin.buffer.read() if str(body) == "-" else body.read_bytes()
        spoken = None if dialect is None else Dialect(dialect)
        decision = inspection.explain(catalog, route, content, spoken, settings.storage.database)
    except PolyrouteError as error:
        typer.echo(error.message, err=True)
        raise typer.Exit(2) from error
    except OSError as error:
        typer.echo(f"{body} cannot be read: {error.strerror}", err=True)
        raise typer.Exit(2) from error
    except ValueError as error:
        typer.echo(f"there is no dialect {dialect}; there are {', '.join(Dialect)}", err=True)
        raise typer.Exit(2) from error
    if as_json:
        typer.echo(json.dumps(in_words(decision), indent=2))
    else:
        inspection.print_decision(decision, catalog)


@app.command()
def doctor(
    config: Config = None,
    live: Annotated[
        bool, typer.Option("--live", help="Also ask each provider, with each credential, for its free list of models.")
    ] = False,
) -> None:
    """Check configuration, credentials and database; say what is wrong and how to mend it."""
    from polyroute import inspection  # noqa: PLC0415

    settings, catalog = read_catalog(config)
    problems = inspection.doctor(settings, catalog)
    if live:
        problems += inspection.check_live_all(catalog)
    if problems:
        raise typer.Exit(1)


@app.command()
def drill(
    provider: Annotated[str | None, typer.Option(help="At which provider; with --end all when left out.")] = None,
    fault: Annotated[str, typer.Option(help="A status of 400 to 599, timeout, reset or slow.")] = "503",
    lasts: Annotated[str, typer.Option("--for", help="How long: 90s, 5m, 1h; it ends by itself.")] = "5m",
    seconds: Annotated[float, typer.Option(min=0, max=600, help="How slow `slow` is.")] = 5.0,
    end: Annotated[bool, typer.Option("--end", help="End it now.")] = False,
    config: Config = None,
) -> None:
    """Rehearse an outage: put a fault in front of a provider in the gateway that runs with this configuration."""
    from polyroute import inspection  # noqa: PLC0415
    from polyroute.engine.drills import make_drill  # noqa: PLC0415
    from polyroute.types.errors import PolyrouteError  # noqa: PLC0415

    settings, catalog = read_catalog(config)
    try:
        if end:
            typer.echo(f"{inspection.end_drills(settings, provider)} drill(s) ended.")
            return
        inspection.start_drill(settings, catalog, make_drill(provider or "", fault, lasts, seconds=seconds))
    except PolyrouteError as error:
        typer.echo(error.message, err=True)
        raise typer.Exit(2) from error
    typer.echo(f"{provider}: {fault} for {lasts}. `polyroute drill --end --provider {provider}` ends it sooner.")


# ---------------------------------------------------------------- keys


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
    from polyroute.app import key_storage  # noqa: PLC0415
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

    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    from polyroute.storage.database import open_database  # noqa: PLC0415
    from polyroute.storage.keys import list_keys  # noqa: PLC0415

    table = Table(box=None, pad_edge=False)
    for column in ("id", "name", "begins with", "routes", "limits", "user", "created", "state"):
        table.add_column(column, overflow="fold")
    for key in list_keys(open_database(read_settings(config).storage.database)):
        routes = "all" if key.routes is None else ", ".join(key.routes)
        created = datetime.fromtimestamp(key.created_at, UTC).strftime("%Y-%m-%d %H:%M")
        state = "revoked" if key.revoked_at is not None else "operator" if key.operator else "active"
        table.add_row(
            key.id, key.name, key.prefix + "…", routes, describe_limits(key.limits), key.user_id or "", created, state
        )
    Console().print(table)


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
    from polyroute.storage.database import open_database  # noqa: PLC0415
    from polyroute.storage.keys import assign_key  # noqa: PLC0415

    record = assign_key(open_database(read_settings(config).storage.database), key, user)
    if record is None:
        typer.echo(f"There is no one active key '{key}'; `polyroute keys list` shows them.", err=True)
        raise typer.Exit(2)
    typer.echo(f"{record.id} ('{record.name}') belongs to {record.user_id or 'nobody'}.")


@keys_app.command("revoke")
def keys_revoke(
    key: Annotated[str, typer.Argument(help="Its id, its name, or what it begins with.")], config: Config = None
) -> None:
    """Revoke a key; every worker refuses it within two seconds."""
    from polyroute.storage.database import open_database  # noqa: PLC0415
    from polyroute.storage.keys import revoke_key  # noqa: PLC0415

    record = revoke_key(open_database(read_settings(config).storage.database), key)
    if record is None:
        typer.echo(f"There is no one active key '{key}'; `polyroute keys list` shows them.", err=True)
        raise typer.Exit(2)
    typer.echo(f"{record.id} ('{record.name}') is revoked.")


# ---------------------------------------------------------------- database


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
    from polyroute import bookkeeping  # noqa: PLC0415

    try:
        pruned = bookkeeping.prune(read_settings(config), older_than, dry_run=dry_run)
    except ValueError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
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
    from polyroute import bookkeeping  # noqa: PLC0415

    counted = bookkeeping.recount(read_settings(config), rebuild=rebuild)
    typer.echo("Every request is counted." if counted is None else f"{counted} requests were counted.")


@app.command()
def export(
    table: Annotated[str, typer.Argument(help="requests or attempts.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write; `-` is standard output.")],
    since: Annotated[str, typer.Option(help="From when on: 7d, 2026-11-20, 2026-11-20T21:00:00+01:00.")] = "30d",
    until: Annotated[str, typer.Option(help="To before when.")] = "now",
    form: Annotated[str, typer.Option("--format", help="csv, jsonl or parquet.")] = "csv",
    config: Config = None,
) -> None:
    """Write requests or attempts of the ledger to a file."""
    from polyroute import bookkeeping  # noqa: PLC0415
    from polyroute.storage.export import ExportError  # noqa: PLC0415

    try:
        bookkeeping.export(read_settings(config), table, since=since, until=until, form=form, output=output)
    except (ValueError, ExportError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error


money_cli.register(app)
