"""The built-in providers as data: one TOML file for each under `catalog/providers`, read into Row values."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from datetime import date
from functools import lru_cache
from importlib import resources
from typing import Any

import msgspec

from polyroute.catalog.inputs import QuirksEntry
from polyroute.types.media import OPERATION_OF_TASK, Task
from polyroute.types.operations import CATEGORY_OF, OPERATION_OF, Capability, Category, Dialect, Operation, ProviderKind


class EndpointRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a provider speaks one dialect: a path under its base URL, or under one of its own. `{model}` in the path
    stands for the model's id."""

    path: str
    base_url: str | None = None
    auth: str | None = None


class VariableRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of the base URL that differs from account to account: where it is read from, and what it is otherwise."""

    environment: tuple[str, ...]
    default: str | None = None


class Row(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One built-in provider; `endpoints` are in order of preference.

    `credential_environment` lists alternatives, the one that the provider's SDK reads first. An alternative of several
    variables is written `A:B:C?` (the last one optional) and yields their values joined by colons.
    `base_url_environment` replaces the base URL; `base_url_suffix` is appended to it when the SDK's convention leaves it
    out, `default_port` when no port is given. `{name}` in the base URL is one of `variables`. `program` is the variable that
    names a program which does the work in this process: the row is on where there is one, and `hint` says what is missing
    where there is none. `media_adapter` makes what `media` lists: by task the models that are known for it, the default
    first. `options` are what the configuration may say otherwise (`hosts`: further hosts that the credential may go to;
    `upload_hosts`: those that the provider has files put on, without it).
    """

    name: str
    kind: ProviderKind
    adapter: str
    base_url: str
    auth: str
    source: str
    checked: date
    credential_environment: tuple[str, ...]
    endpoints: dict[Dialect, EndpointRow]
    base_url_environment: tuple[str, ...] = ()
    base_url_suffix: str = ""
    default_port: int | None = None
    variables: dict[str, VariableRow] = {}
    models_path: str | None = None
    capabilities: frozenset[Capability] = frozenset()
    priority: dict[Category, int] = {}
    default_models: dict[Operation, str] = {}
    quirks: dict[Dialect, QuirksEntry] = {}
    program: str | None = None
    hint: str | None = None
    media_adapter: str | None = None
    media: dict[Task, tuple[str, ...]] = {}
    options: dict[str, Any] = {}

    @property
    def serves(self) -> frozenset[Operation]:
        """The operations that its endpoints amount to."""
        return frozenset(OPERATION_OF[dialect] for dialect in self.endpoints)

    @property
    def priorities(self) -> dict[Operation, int]:
        """The priority by operation."""
        return {
            operation: self.priority[category]
            for operation, category in CATEGORY_OF.items()
            if category in self.priority
        }


def parse_row(name: str, text: str) -> Row:
    """One provider's TOML → Row. Raises ValueError naming the provider and the field."""
    try:
        values: dict[str, Any] = tomllib.loads(text)
        endpoints = {
            dialect: {"path": endpoint} if isinstance(endpoint, str) else endpoint
            for dialect, endpoint in values.get("endpoints", {}).items()
        }
        row = msgspec.convert({**values, "name": name, "endpoints": endpoints}, Row)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ValueError(f"provider row {name}.toml: {error}") from error
    if row.media and row.media_adapter is None:
        raise ValueError(f"provider row {name}.toml: `media` needs a `media_adapter`")
    for task in row.media:
        if OPERATION_OF_TASK[task] not in row.serves:
            raise ValueError(
                f"provider row {name}.toml: {task} belongs to {OPERATION_OF_TASK[task]}, which none of its endpoints serves"
            )
    for operation in row.default_models:
        if operation not in row.serves:
            raise ValueError(
                f"provider row {name}.toml: a default model for {operation}, which none of its endpoints serves"
            )
    return row


@lru_cache(maxsize=1)
def load_rows() -> Mapping[str, Row]:
    """The built-in rows by name, in the order of their names."""
    folder = resources.files("polyroute.catalog") / "providers"
    names = sorted(file.name for file in folder.iterdir() if file.name.endswith(".toml"))
    return {
        name.removesuffix(".toml"): parse_row(name.removesuffix(".toml"), (folder / name).read_text(encoding="utf-8"))
        for name in names
    }
