"""What `polyroute models`, `explain` and `doctor` show."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from polyroute.catalog.charged import charged_targets
from polyroute.catalog.model import Catalog
from polyroute.catalog.prices import CatalogPrices
from polyroute.cli.services import ask_services
from polyroute.composition.providers import live_providers
from polyroute.composition.stores import price_book, state_folder
from polyroute.engine.drills import Drill
from polyroute.engine.envelope import json_call, read_fields
from polyroute.engine.planning import Planning
from polyroute.engine.runtime import Runtime, SnapshotPrices
from polyroute.engine.sharing import put_drill, remove_drills
from polyroute.providers.live_check import LiveCheck, check_live
from polyroute.routing.breakers import Breakers
from polyroute.routing.decision import Decision
from polyroute.routing.observations import Observations
from polyroute.settings import Settings
from polyroute.storage.budgets import missing_subject
from polyroute.storage.database import known_database, open_database
from polyroute.storage.exchange import StateFolder
from polyroute.transport.client import ClientTransport
from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.operations import Dialect, Operation

_DIALECT: dict[Operation, Dialect] = {
    Operation.CHAT: Dialect.OPENAI_CHAT,
    Operation.EMBED: Dialect.OPENAI_EMBEDDINGS,
    Operation.MODERATE: Dialect.OPENAI_MODERATIONS,
    Operation.IMAGE: Dialect.OPENAI_IMAGES,
    Operation.SPEECH: Dialect.OPENAI_SPEECH,
    Operation.TRANSCRIPTION: Dialect.OPENAI_TRANSCRIPTIONS,
}


def models(catalog: Catalog) -> list[dict[str, Any]]:
    """Every name that a caller can use, as rows."""
    rows: list[dict[str, Any]] = []
    for route in catalog.routes.values():
        targets = [str(target) for target in (*route.targets, *route.fallbacks)]
        rows.append({"name": route.name, "operation": str(route.operation), "served_by": targets})
    for provider in catalog.providers.values():
        for operation, names in provider.models.items():
            rows += [
                {"name": f"{provider.name}/{name}", "operation": str(operation), "served_by": [provider.name]}
                for name in names
                if provider.enabled
            ]
    return rows


def print_models(rows: list[dict[str, Any]]) -> None:
    """As a table."""
    table = Table(box=None, pad_edge=False)
    for column in ("name", "operation", "served by"):
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(row["name"], row["operation"], ", ".join(row["served_by"]))
    Console().print(table)


def explain(
    catalog: Catalog, name: str, body: bytes | None = None, dialect: Dialect | None = None, database: str | None = None
) -> Decision:
    """The decision for a name, or for a request with this body to it, as things stand in the configuration: nothing is sent,
    and no breaker and nothing observed is known here. `database` is the URL of that whose adopted prices hold.

    Raises PolyrouteError for a name that means nothing, and for a body that the gateway would refuse.
    """
    prices = _prices_in_use(database)
    runtime = Runtime(catalog, live_providers(catalog), prices)
    route = catalog.routes.get(name)
    operation = route.operation if route is not None else _operation_of(catalog, name)
    dialect = dialect or _DIALECT[operation]
    fields = {} if body is None else read_fields(body)
    call = json_call(
        msgspec.json.encode({**fields, "model": name}), dialect, request_id="", model=name,
        stream=None if dialect is not Dialect.GEMINI else False,
    )  # fmt: skip
    choice = runtime.choose(name, call.operation)
    if call.options.budget is not None or choice.planner.prices_matter(call.options.policy):
        prices.load()
        runtime.forget_prices()
        choice = runtime.choose(name, call.operation)
    planning = Planning(Breakers(), Observations())
    return planning.plan(runtime, choice, call, 0.0, allow_empty=True).whole


def _prices_in_use(url: str | None) -> CatalogPrices:
    """The tables with what a database that is there has adopted."""
    if url is None:
        return CatalogPrices()
    database = known_database(url)
    there = database.path is None or database.path.exists()
    return price_book(database) if there else CatalogPrices()


def _operation_of(catalog: Catalog, name: str) -> Operation:
    """The first operation for which some provider lists a model of this name; chat where none does."""
    provider, _, own = name.partition("/")
    for row in catalog.providers.values():
        for operation, listed in row.models.items():
            if (row.name == provider and own in listed) or name in listed:
                return operation
    return Operation.CHAT


def print_decision(decision: Decision, catalog: Catalog) -> None:
    """The targets in order with the reasons for the order, and the dropped ones with theirs."""
    console = Console()
    console.print(f"'{decision.route}' is for {decision.operation}, ordered by {decision.policy}.", highlight=False)
    if decision.needs:
        console.print(f"the request needs: {', '.join(decision.needs)}", highlight=False)
    if decision.tokens is not None:
        console.print(f"the prompt has about {decision.tokens} tokens", highlight=False)
    if decision.complexity is not None:
        told = decision.complexity
        console.print(f"the request is {told.level}: {told.rule}", highlight=False)
    if decision.money is not None:
        console.print(f"its budget is {decision.money}", highlight=False)
    table = Table(box=None, pad_edge=False)
    for column in ("", "target", "kind", "score"):
        table.add_column(column, overflow="fold")
    for number, (name, score) in enumerate(zip(decision.targets, decision.scores, strict=True), 1):
        row = catalog.providers[name.partition("/")[0]]
        table.add_row(str(number), name, row.kind, "after the others" if score is None else f"{score:.6g}")
    console.print(table)
    for note in decision.notes:
        console.print(note, highlight=False)
    for drop in decision.drops:
        console.print(f"not tried: {drop.target}: {drop.reason}", highlight=False)
    route = catalog.routes.get(decision.route)
    if route is not None:
        for words, chain in (("is too long", route.longer_context), ("is filtered", route.other_filter)):
            if chain:
                told_chain = " > ".join(str(target) for target in chain)
                console.print(f"when the content {words}: {told_chain}", highlight=False)


def doctor(settings: Settings, catalog: Catalog) -> list[str]:
    """Print what is configured and found; gives the problems, each with its mending."""
    console = Console()
    problems: list[str] = []
    file = settings.sources[0] if len(settings.sources) > 1 else "none; from the environment alone"
    console.print(f"configuration: {file}", highlight=False)
    database = _check_database(settings, problems)
    console.print(f"database:      {database}", highlight=False)
    console.print(f"auth:          {settings.auth.mode}", highlight=False)
    for row in catalog.providers.values():
        state = "[green]on[/green] " if row.enabled else "[dim]off[/dim]"
        credential = f"{len(row.credentials)} credential(s)" if row.credentials else "no credential needed"
        told = credential if row.enabled else "switched off in the configuration"
        console.print(f"  {state} {row.name:12} {told}; {', '.join(sorted(row.serves))}", highlight=False)
    for skipped in catalog.skipped:
        console.print(f"  [dim]off[/dim] {skipped.name:12} {skipped.reason}", highlight=False)
    for service in ask_services(settings, catalog):
        console.print(
            f"service:       {service.provider} is {service.state} {service.error or ''}".rstrip(), highlight=False
        )
    problems += [*settings.warnings, *catalog.warnings]
    if not any(row.enabled and row.wanted for row in catalog.providers.values()):
        problems.append("no provider is on: set a credential, or try `polyroute serve --sandbox`")
    for warning in (*_price_warnings(settings, catalog), *_budget_warnings(settings)):
        console.print(f"[yellow]warning:[/yellow] {warning}", highlight=False)
    for problem in problems:
        console.print(f"[red]problem:[/red] {problem}", highlight=False)
    if not problems:
        console.print("[green]No problems found.[/green]")
    return problems


def start_drill(settings: Settings, catalog: Catalog, drill: Drill) -> None:
    """Rehearse in the gateway that runs with these settings. Raises PolyrouteError: an unknown provider, or nothing runs."""
    names = [*catalog.providers, *(skipped.name for skipped in catalog.skipped)]
    if drill.provider not in names:
        raise PolyrouteError(
            ErrorKind.NOT_FOUND, f"there is no provider {drill.provider!r}; there are {', '.join(names)}"
        )
    folder = _state_folder(settings)
    if not any(shared.present for shared in folder.hear()):
        raise PolyrouteError(ErrorKind.UNAVAILABLE, "no gateway runs with this configuration on this machine")
    put_drill(folder, drill)


def end_drills(settings: Settings, provider: str | None) -> int:
    """End a provider's drill, or all; how many were running."""
    return remove_drills(_state_folder(settings), provider)


def _state_folder(settings: Settings) -> StateFolder:
    return state_folder(settings, open_database(settings.storage.database))


def check_live_all(catalog: Catalog) -> list[str]:
    """Ask every provider that is on for its models, with each of its credentials, and print what came of it; gives the
    problems."""
    rows = asyncio.run(_ask_all(catalog))
    console, problems = Console(), []
    for row in rows:
        state = {True: "[green]ok[/green]", False: "[red]fails[/red]", None: "[dim]not asked[/dim]"}[row.ok]
        name = row.credential or row.provider
        console.print(f"  {state} {name:24} {row.told}", highlight=False)
        if row.ok is False:
            problems.append(f"{name}: {row.told}")
    return problems


async def _ask_all(catalog: Catalog) -> list[LiveCheck]:
    transport = ClientTransport()
    try:
        return await asyncio.gather(
            *(
                check_live(provider.row, credential, transport)
                for provider in live_providers(catalog).values()
                if provider.row.enabled
                for credential in (provider.credentials or (None,))
            )
        )
    finally:
        await transport.aclose()


def _check_database(settings: Settings, problems: list[str]) -> str:
    from polyroute.storage.database import StorageError, display_url, open_database  # noqa: PLC0415 - only doctor asks

    url = settings.storage.database
    try:
        open_database(url).close()
    except StorageError as error:
        problems.append(str(error))
        return f"{display_url(url)} cannot be used"
    return f"{display_url(url)} is at the newest schema"


def _budget_warnings(settings: Settings) -> list[str]:
    """Budgets of users, teams and keys that the database does not know."""
    if not settings.budgets:
        return []
    try:
        driver = open_database(settings.storage.database).connect()
    except Exception:  # noqa: BLE001 - what is wrong with the database is told beside
        return []
    try:
        return [
            f"budgets.{name} is for {one.scope} '{one.subject}', of which the database knows nothing: `{mending}` makes it"
            for name, one in settings.budgets.items()
            if (mending := missing_subject(driver, one.scope, one.subject)) is not None
        ]
    finally:
        driver.close()


def _price_warnings(settings: Settings, catalog: Catalog) -> list[str]:
    """Targets that no table, adopted list or configuration has a price for, and mark-ups of an unknown day."""
    try:
        tables = price_book(open_database(settings.storage.database))
        tables.load()
    except Exception:  # noqa: BLE001 - what is wrong with the database is told beside
        tables = CatalogPrices()
    prices = SnapshotPrices(catalog, tables)
    missing = [f"{name}/{model}" for name, model in charged_targets(catalog) if prices.price(name, model) is None]
    warnings = [f"no price is known for {', '.join(missing)}: cost will be NULL, not 0"] if missing else []
    strict = [name for name, one in settings.budgets.items() if one.hard and one.unpriced == "refuse"]
    if missing and strict:
        warnings.append(
            f"the hard limit of budgets.{', budgets.'.join(strict)} passes over targets without a price, these among them: "
            "set their price under model_facts, or `unpriced: allow` for the budget"
        )
    return warnings + [
        f"providers.{row.name}.mark_up has no date: add mark_up_date, so that the ledger can name it"
        for row in catalog.providers.values()
        if row.mark_up != 1 and row.mark_up_date is None
    ]
