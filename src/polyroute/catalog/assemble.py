"""(built-in row, configuration's entry, environment) → a provider that is on, or why it is not; pure."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from polyroute.catalog import addresses
from polyroute.catalog.entries import PRESUMED, EntryReader, shape_of
from polyroute.catalog.facts import read_model_facts
from polyroute.catalog.inputs import ProviderEntry
from polyroute.catalog.model import Currency, Provider, SkippedProvider
from polyroute.catalog.problems import Problems
from polyroute.catalog.rows import Row
from polyroute.ports import Endpoint, Timeouts
from polyroute.types.operations import OPERATION_OF, ProviderKind

SANDBOX_CREDENTIAL = "sandbox"


def assemble_provider(
    name: str,
    row: Row | None,
    entry: ProviderEntry | None,
    environment: Mapping[str, str],
    *,
    timeouts: Timeouts,
    sandbox_url: str | None,
    built_in: Mapping[str, Row],
    currencies: Mapping[str, Currency],
    problems: Problems,
) -> Provider | SkippedProvider:
    """One provider, with every mistake in its entry noted in `problems`. `timeouts` are the defaults,
    `built_in` the rows that there are."""
    entry_or_none, entry = entry, entry or ProviderEntry()
    shape = shape_of(name, row, entry, built_in, problems)
    check = EntryReader(name, entry, shape.endpoints, problems)
    endpoints, serves = check.endpoints(), check.serves()
    media = check.media(shape.media, serves)
    parts = {
        "name": name,
        "adapter": shape.adapter,
        "auth": check.auth(shape.auth),
        "kind": check.kind(shape.kind),
        "priority": MappingProxyType(check.priority(dict(row.priorities) if row else {}, serves)),
        "capabilities": check.capabilities(row.capabilities if row else PRESUMED) | check.tasks(media, endpoints),
        "media_adapter": shape.media_adapter,
        "media": MappingProxyType(media),
        "quirks": MappingProxyType(check.quirks(row.quirks if row else {})),
        **check.model_names(dict(row.default_models) if row else {}, serves, media),
        "serves": serves,
        "headers": MappingProxyType(dict(entry.headers)),
        "timeouts": None if entry.timeouts is None else msgspec.structs.replace(timeouts, **entry.timeouts),
        "built_in": row is not None,
        "source": row.source if row else None,
        "checked": row.checked if row else None,
        "models_path": row.models_path if row else None,
        "enabled": True,
        "wanted": entry_or_none is not None or row is None or row.program is None,
        "limits": entry.limits,
        "terms": MappingProxyType(dict(entry.terms)),
        "tags": frozenset(entry.tags),
        "mark_up": entry.mark_up,
        "mark_up_date": entry.mark_up_date,
        "model_facts": MappingProxyType(read_model_facts(name, entry, currencies, problems)),
    }
    if not entry.enabled:
        return SkippedProvider(name, f"switched off in the configuration (providers.{name}.enabled)")
    if row is None:
        return _own_provider(name, entry, endpoints, parts)
    return _built_in_provider(row, entry_or_none, endpoints, environment, sandbox_url=sandbox_url, parts=parts)


def _own_provider(
    name: str, entry: ProviderEntry, endpoints: tuple[Endpoint, ...], parts: dict[str, Any]
) -> Provider | SkippedProvider:
    if not entry.base_url:
        return SkippedProvider(name, f"no address: set providers.{name}.base_url")
    return Provider(
        **parts,
        base_url=addresses.strip_overlap(addresses.normalise_url(entry.base_url), endpoints),
        endpoints=endpoints,
        credentials=tuple(secret for secret in entry.credentials if secret),
        simulated=False,
        options=MappingProxyType(dict(entry.options)),
    )


def _built_in_provider(
    row: Row,
    entry: ProviderEntry | None,
    endpoints: tuple[Endpoint, ...],
    environment: Mapping[str, str],
    *,
    sandbox_url: str | None,
    parts: dict[str, Any],
) -> Provider | SkippedProvider:
    name, options = row.name, dict(entry.options) if entry else {}
    if not row.endpoints:
        return SkippedProvider(name, "not served by this version: it speaks none of its dialects yet")
    program = _program(row, options, environment)
    if row.program is not None and sandbox_url is not None:
        if program is None:
            return SkippedProvider(name, row.hint or f"not found: set {row.variables[row.program].environment[0]}")
        return Provider(  # what is simulated is what it works on
            **parts, base_url=row.base_url, endpoints=endpoints, credentials=(), simulated=True,
            options=MappingProxyType({row.program: program, **options}),
        )  # fmt: skip
    if sandbox_url is not None:
        wanted = {endpoint.dialect for endpoint in endpoints}
        placed = addresses.row_endpoints(row, moved=False, sandbox_url=sandbox_url)
        return Provider(
            **parts,
            base_url=addresses.sandbox_base_url(sandbox_url, name, row.base_url),
            endpoints=tuple(endpoint for endpoint in placed if endpoint.dialect in wanted),
            credentials=() if parts["auth"] == "none" else (SANDBOX_CREDENTIAL,),
            simulated=True,
            options=MappingProxyType({**_defaults_of(row), **options}),
        )
    credentials = tuple(secret for secret in entry.credentials if secret) if entry else ()
    credentials = credentials or find_credential(row, environment)
    moved = (addresses.normalise_url(entry.base_url) if entry and entry.base_url else None) or (
        addresses.environment_base_url(row, environment)
    )
    if row.kind is ProviderKind.LOCAL:
        if row.program is not None:
            parts = {**parts, "wanted": parts["wanted"] or moved is not None}
            if program is None and moved is None:
                return SkippedProvider(name, row.hint or f"not found: set {row.variables[row.program].environment[0]}")
        elif entry is None and moved is None:
            return SkippedProvider(
                name, f"not configured: set {row.base_url_environment[0]} or list it under providers"
            )
    elif not credentials and parts["auth"] != "none":
        return SkippedProvider(name, f"no credential: set {describe_credential(row)} or providers.{name}.api_key")
    try:
        variables = addresses.fill_variables(row, options, environment)
    except addresses.MissingVariable as missing:
        if moved is None:
            hint = f"set {missing.environment[0]} or providers.{name}.options.{missing.name}"
            return SkippedProvider(name, f"no address: {hint}, or providers.{name}.base_url")
        variables = {}
    if moved is not None:
        endpoints = tuple(endpoint for endpoint in endpoints if endpoint.base_url is None)
        moved = addresses.strip_overlap(moved, endpoints)
        parts["serves"] &= frozenset(OPERATION_OF[endpoint.dialect] for endpoint in endpoints)
    return Provider(
        **parts,
        base_url=moved or addresses.own_base_url(row, variables),
        endpoints=endpoints,
        credentials=credentials,
        simulated=False,
        options=MappingProxyType({**row.options, **variables, **options}),
    )


def _program(row: Row, options: Mapping[str, Any], environment: Mapping[str, str]) -> str | None:
    """The program that does the work of this row, None where it is not known or not needed."""
    if row.program is None:
        return None
    given = options.get(row.program) or next(
        (environment[key] for key in row.variables[row.program].environment if environment.get(key, "").strip()), None
    )
    return None if given is None else str(given).strip()


def find_credential(row: Row, environment: Mapping[str, str]) -> tuple[str, ...]:
    """The first alternative of a row's credential that the environment holds; empty when it holds none."""
    for alternative in row.credential_environment:
        values = [environment.get(part.removesuffix("?"), "").strip() for part in alternative.split(":")]
        required = [not part.endswith("?") for part in alternative.split(":")]
        if all(value or not needed for value, needed in zip(values, required, strict=True)):
            return (":".join(value for value in values if value),)
    return ()


def describe_credential(row: Row) -> str:
    """Which variable to set, in words."""
    names = [" and ".join(part for part in a.split(":") if not part.endswith("?")) for a in row.credential_environment]
    return names[0] if len(names) == 1 else f"{names[0]} (or {', '.join(names[1:])})"


def _defaults_of(row: Row) -> dict[str, Any]:
    named = {name: variable.default for name, variable in row.variables.items() if variable.default}
    return {**row.options, **named}
