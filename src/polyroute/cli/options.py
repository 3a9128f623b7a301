"""What commands share: their options, reading the configuration, and how results and refusals are shown."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from polyroute.catalog.model import Catalog
    from polyroute.settings import Settings
    from polyroute.storage.database import Database

Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="Configuration file.", show_default="polyroute.yaml, where there is one"),
]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON, for programs.")]


def read_settings(config: Path | None, **overrides: object) -> Settings:
    """The settings; `overrides` are options of the command line, None where not given."""
    from polyroute.composition.configuration import read_configuration  # noqa: PLC0415 - `--help` must not load everything

    return read_configuration(config, {key: value for key, value in overrides.items() if value is not None})


def read_catalog(config: Path | None) -> tuple[Settings, Catalog]:
    """Settings, and what exists under them."""
    from polyroute.composition.configuration import make_catalog  # noqa: PLC0415 - see above

    settings = read_settings(config)
    return settings, make_catalog(settings)


def open_ledger(settings: Settings) -> Database:
    """The configured database, at the newest schema. Raises StorageError."""
    from polyroute.storage.database import open_database  # noqa: PLC0415 - see above

    return open_database(settings.storage.database)


@contextmanager
def refusals_in_words() -> Iterator[None]:
    """What the block refuses is said without a traceback, and ends the command with status 2."""
    from polyroute.types.errors import PolyrouteError  # noqa: PLC0415 - see above

    try:
        yield
    except PolyrouteError as error:
        refuse(error.message, error)


def refuse(message: str, cause: Exception | None = None) -> NoReturn:
    """Say why the command cannot go on, and end it with status 2."""
    typer.echo(message, err=True)
    raise typer.Exit(2) from cause


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Rows below their headings."""
    from rich.console import Console  # noqa: PLC0415 - see above
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console().print(table, highlight=False)


def print_json(value: Any) -> None:
    """Values as indented JSON."""
    import msgspec  # noqa: PLC0415 - see above

    typer.echo(json.dumps(msgspec.to_builtins(value), indent=2))
