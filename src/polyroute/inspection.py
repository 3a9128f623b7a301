"""What `polyroute models`, `explain` and `doctor` show."""

from __future__ import annotations

import asyncio
from typing import Any

from rich.console import Console
from rich.table import Table

from polyroute.app import live_providers, state_folder
from polyroute.catalog.model import Catalog
from polyroute.engine.drills import Drill
from polyroute.engine.runtime import Runtime
from polyroute.engine.sharing import put_drill, remove_drills
from polyroute.providers.live_check import LiveCheck, check_live
from polyroute.routing.plan import Facts, PlanRequest
from polyroute.settings import Settings
from polyroute.storage.database import open_database
from polyroute.storage.exchange import StateFolder
from polyroute.transport.client import ClientTransport
from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.operations import Dialect, Operation
from polyroute.types.plans import Plan

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


def explain(catalog: Catalog, name: str) -> Plan:
    """The plan for a name as things stand in the configuration: no breaker is known here.

    Raises PolyrouteError for a name that means nothing.
    """
    runtime = Runtime(catalog, live_providers(catalog))
    route = catalog.routes.get(name)
    operation = route.operation if route is not None else _operation_of(catalog, name)
    planner = runtime.choose(name, operation).planner
    return planner.plan(PlanRequest(dialect=_DIALECT[operation]), Facts(now=0.0))


def _operation_of(catalog: Catalog, name: str) -> Operation:
    """The first operation for which some provider lists a model of this name; chat where none does."""
    provider, _, own = name.partition("/")
    for row in catalog.providers.values():
        for operation, listed in row.models.items():
            if (row.name == provider and own in listed) or name in listed:
                return operation
    return Operation.CHAT


def print_plan(plan: Plan, catalog: Catalog) -> None:
    """The targets in order with the reasons for the order, and the dropped ones with theirs."""
    console = Console()
    console.print(f"'{plan.route}' is for {plan.operation}, ordered by {plan.policy}.", highlight=False)
    table = Table(box=None, pad_edge=False)
    for column in ("", "target", "kind", "priority"):
        table.add_column(column, overflow="fold")
    for number, target in enumerate(plan.targets, 1):
        row = catalog.providers[target.provider]
        priority = row.priority.get(plan.operation)
        table.add_row(str(number), str(target), row.kind, "after the others" if priority is None else str(priority))
    console.print(table)
    for drop in plan.drops:
        console.print(f"not tried: {drop.target}: {drop.reason}", highlight=False)


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
    problems += [*settings.warnings, *catalog.warnings]
    if not any(row.enabled for row in catalog.providers.values()):
        problems.append("no provider is on: set a credential, or try `polyroute serve --sandbox`")
    for warning in _unpriced(catalog):
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


def _unpriced(catalog: Catalog) -> list[str]:
    from polyroute.catalog.prices import CatalogPrices  # noqa: PLC0415 - loading the tables takes a while

    prices = CatalogPrices()
    missing = [
        f"{row.name}/{model}"
        for row in catalog.providers.values()
        if row.enabled and row.kind != "local"
        for operation, model in row.default_models.items()
        if operation in row.serves and prices.price(row.name, model) is None
    ]
    return [f"no price is known for {', '.join(missing)}: cost will be NULL, not 0"] if missing else []
