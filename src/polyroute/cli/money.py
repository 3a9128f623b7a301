"""The commands about money: `polyroute prices`, `reconcile`, `backtest`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from polyroute.cli.options import AsJson, Config, open_ledger, read_settings, refusals_in_words

if TYPE_CHECKING:
    from datetime import datetime

    from polyroute.audit.prices import PriceDiff
    from polyroute.settings import Settings

prices_app = typer.Typer(help="Prices that hold, and those that providers publish.", no_args_is_help=True)

Sandbox = Annotated[
    bool, typer.Option("--sandbox", help="Of the simulated providers that run at sandbox.host and sandbox.port.")
]
Provider = Annotated[str, typer.Option("--provider", "-p", help="Which provider.")]
Models = Annotated[
    list[str] | None, typer.Option("--model", "-m", help="Only models that fit, such as 'openai/*'; may be repeated.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to the program's."""
    app.add_typer(prices_app, name="prices")
    app.command("reconcile")(reconcile)
    app.command("backtest")(backtest)


def _sandbox_url(settings: Settings, sandbox: bool) -> str | None:
    return f"http://{settings.sandbox.host}:{settings.sandbox.port}" if sandbox else None


def _now() -> datetime:
    from datetime import UTC, datetime  # noqa: PLC0415

    return datetime.now(UTC)


# ---------------------------------------------------------------- prices


@prices_app.command("show")
def prices_show(
    targets: Annotated[
        list[str] | None,
        typer.Argument(help="provider/model, several of them.", show_default="those of routes and defaults"),
    ] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Show the prices that hold, each with its table and date."""
    from polyroute.audit import prices  # noqa: PLC0415

    with refusals_in_words():
        database, catalog, book = prices.open_prices(read_settings(config))
        rows = prices.price_rows(book, prices.shown_targets(catalog, targets or []))
        database.close()
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    else:
        prices.print_prices(rows)


@prices_app.command("diff")
def prices_diff(
    provider: Provider,
    models: Models = None,
    everything: Annotated[bool, typer.Option("--all", help="Also models that have no price yet.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Of what was fetched last; ask nobody.")] = False,
    sandbox: Sandbox = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Fetch what a provider publishes, keep it, and show where it is otherwise than the prices that hold."""
    from polyroute.audit import prices  # noqa: PLC0415

    with refusals_in_words():
        diff = _diff(config, provider, models, sandbox=sandbox, fetch=not offline)[0]
    if as_json:
        typer.echo(json.dumps(prices.diff_values(diff), indent=2))
    else:
        prices.print_diff(diff, everything=everything)


@prices_app.command("adopt")
def prices_adopt(
    provider: Provider,
    models: Models = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    sandbox: Sandbox = False,
    config: Config = None,
) -> None:
    """Show the difference to what `diff` fetched last, and take it over. Prices in the configuration still win."""
    from polyroute.audit import prices  # noqa: PLC0415

    with refusals_in_words():
        diff, settings = _diff(config, provider, models, sandbox=sandbox, fetch=False)
    prices.print_diff(diff, everything=True)
    if not diff.models:
        return
    if not yes:
        typer.confirm(f"Take over the prices of {len(diff.models)} models?", abort=True)
    with refusals_in_words():
        count = prices.adopt_diff(open_ledger(settings), diff)
    typer.echo(f"The prices of {count} models hold now; a gateway that runs takes them within five minutes.")


@prices_app.command("drop")
def prices_drop(provider: Provider, models: Models = None, config: Config = None) -> None:
    """Go back from adopted prices to the tables, for models named in full, or all of a provider."""
    from polyroute.audit import prices  # noqa: PLC0415

    with refusals_in_words():
        count = prices.forget_prices(open_ledger(read_settings(config)), provider, models or [])
    typer.echo(f"{count} adopted prices were dropped.")


def _diff(
    config: Path | None, provider: str, models: list[str] | None, *, sandbox: bool, fetch: bool
) -> tuple[PriceDiff, Settings]:
    from polyroute.audit import prices  # noqa: PLC0415

    settings = read_settings(config)
    database, catalog, book = prices.open_prices(settings, _sandbox_url(settings, sandbox))
    get = prices.fetch_prices if fetch else prices.kept_snapshot
    try:
        return prices.diff_prices(book, get(database, catalog, provider), models or []), settings
    finally:
        database.close()


# ---------------------------------------------------------------- reconcile


def reconcile(
    provider: Provider,
    since: Annotated[str, typer.Option(help="From when: 7d, or a day such as 2026-11-01; whole days, UTC.")] = "7d",
    until: Annotated[str | None, typer.Option(help="Before when.", show_default="now")] = None,
    csv: Annotated[Path | None, typer.Option("--csv", help="The provider's export, in place of asking it.")] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option("--column", help="Name a column of the export that is not recognised: day=When, cost=Billed."),
    ] = None,
    by_id: Annotated[bool, typer.Option("--by-id", help="Ask request by request, where the provider can.")] = False,
    tolerance: Annotated[float, typer.Option(min=0, help="Per cent by which the two may differ.")] = 1.0,
    sandbox: Sandbox = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Compare the ledger with a provider's own record, by day and model. Ends with status 1 where they differ."""
    from decimal import Decimal  # noqa: PLC0415

    from polyroute.audit import reconcile as books  # noqa: PLC0415
    from polyroute.audit.moments import read_moment  # noqa: PLC0415
    from polyroute.composition.configuration import make_catalog  # noqa: PLC0415

    settings = read_settings(config)
    with refusals_in_words():
        now = _now()
        start = read_moment(since, now).replace(hour=0, minute=0, second=0, microsecond=0)
        end = now if until is None else read_moment(until, now)
        share = Decimal(str(tolerance)) / 100
        database = open_ledger(settings)
        if csv is not None:
            named = dict(_column(text) for text in columns or ())
            found = books.reconcile_with_export(
                database, provider, csv, named, start, end, tolerance=share, simulated=sandbox
            )
        else:
            catalog = make_catalog(settings, _sandbox_url(settings, sandbox))
            found = books.reconcile_with_provider(
                database, catalog, settings.environment, provider, start, end, tolerance=share, by_id=by_id,
                simulated=sandbox,
            )  # fmt: skip
    if as_json:
        typer.echo(json.dumps(books.report_values(found), indent=2))
    else:
        books.print_report(found)
    if found.drifting:
        raise typer.Exit(1)


def _column(text: str) -> tuple[str, str]:
    kind, equals, name = text.partition("=")
    if not equals:
        raise typer.BadParameter(f"{text!r}: write what it holds and its name, such as cost=Billed")
    return kind.strip(), name.strip()


# ---------------------------------------------------------------- backtest


def backtest(
    policy: Annotated[str | None, typer.Option(help="Policy to try on every route.", show_default="the routes' own")] = None,
    since: Annotated[str, typer.Option(help="From when: 7d, 12h, or a day such as 2026-11-01.")] = "7d",
    until: Annotated[str | None, typer.Option(help="Before when.", show_default="now")] = None,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="The configuration to try.", show_default="the one in use")
    ] = None,
    ledger: Annotated[
        Path | None,
        typer.Option(help="The configuration whose ledger is replayed.", show_default="polyroute.yaml, where there is one"),
    ] = None,
    route: Annotated[str | None, typer.Option(help="Only requests of this route.")] = None,
    as_route: Annotated[
        str | None, typer.Option("--as-route", help="Send them to this route of the proposed configuration.")
    ] = None,
    sandbox: Annotated[bool, typer.Option("--sandbox", help="Replay what simulated providers served.")] = False,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Replay the ledger's requests through a proposed policy or configuration: cost, time and failures. Nothing is sent."""
    from polyroute.audit import backtest_report as report  # noqa: PLC0415
    from polyroute.audit.backtest import run_backtest  # noqa: PLC0415
    from polyroute.audit.moments import read_moment  # noqa: PLC0415
    from polyroute.audit.proposals import open_proposal  # noqa: PLC0415
    from polyroute.storage.replays import past_requests  # noqa: PLC0415

    recorded = read_settings(ledger)
    proposed = recorded if config is None else read_settings(config)
    with refusals_in_words():
        now = _now()
        start, end = read_moment(since, now), now if until is None else read_moment(until, now)
        database = open_ledger(recorded)
        runtime = open_proposal(proposed, database, policy, _sandbox_url(proposed, sandbox))
        found = run_backtest(
            lambda: past_requests(database, start, end, route=route, simulated=sandbox), runtime, policy=policy,
            route=as_route,
        )  # fmt: skip
    told = "The configuration in use" if config is None else str(config)
    proposal = told if policy is None else f"{told} with policy {policy}"
    if as_json:
        typer.echo(json.dumps(report.backtest_values(found, start, end, proposal), indent=2))
    else:
        report.print_backtest(found, start, end, proposal)
