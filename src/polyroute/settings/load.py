"""From a file, the environment and the command line to Settings, or to everything that is wrong at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import PrivateAttr, SecretStr, ValidationError

from polyroute.settings.document import Document, expand_references, read_document, walk
from polyroute.settings.environment import fill_from_environment, read_env_file
from polyroute.settings.explain import report_errors
from polyroute.settings.models import Values
from polyroute.settings.problems import (
    ConfigurationError,
    Finding,
    KeyPath,
    Origin,
    Problem,
    dotted,
    hide_user,
    is_secret,
)
from polyroute.settings.sections import Section

DEFAULT_FILE = Path("polyroute.yaml")
_NAMED = frozenset({"providers", "routes", "currencies", "budgets"})
"""Sections of named entries: one that is wrong is left out whole."""


class Settings(Values):
    """A valid configuration. `environment` is the process environment with the `.env` file behind it, for credentials;
    `sources` are the files to watch; `warnings` are what an operator should know."""

    _environment: dict[str, str] = PrivateAttr(default_factory=dict)
    _origins: dict[KeyPath, Origin] = PrivateAttr(default_factory=dict)
    _sources: tuple[Path, ...] = PrivateAttr(default=())
    _warnings: tuple[str, ...] = PrivateAttr(default=())
    _invalid: frozenset[str] = PrivateAttr(default=frozenset())

    @property
    def environment(self) -> Mapping[str, str]:
        """Where credentials and addresses of providers are looked up."""
        return self._environment

    @property
    def sources(self) -> tuple[Path, ...]:
        """The configuration file (when one is used) and the `.env` file, present or not."""
        return self._sources

    @property
    def warnings(self) -> tuple[str, ...]:
        """Things that are not wrong, but probably not meant."""
        return self._warnings

    def origin(self, path: KeyPath) -> Origin | None:
        """Where a key was written; None when it has its default."""
        return self._origins.get(path)

    def catalog_values(self) -> dict[str, Any]:
        """Defaults, providers, routes, currencies and budgets as plain values with their secrets, for `catalog.inputs`."""
        providers = {}
        for name, entry in self.providers.items():
            values = _plain(entry)
            own_key = values.pop("api_key", None)
            credentials: dict[str, dict[str, Any]] = {}
            for given in (own_key, *values.get("credentials", ())):
                terms = dict(given) if isinstance(given, dict) else {}
                secret = terms.pop("key", None) if terms else given
                if secret:
                    credentials.setdefault(secret, {}).update(terms)
            values["credentials"] = list(credentials)
            values["terms"] = {secret: terms for secret, terms in credentials.items() if terms}
            providers[name] = values
        defaults = {
            "policy": self.defaults.policy,
            "retries": self.defaults.retries,
            "timeouts": self.defaults.timeouts.model_dump(),
            "output_tokens": self.defaults.output_tokens,
        }
        routes = {name: _plain(entry) for name, entry in self.routes.items()}
        return {
            "defaults": defaults,
            "providers": providers,
            "routes": routes,
            "currencies": {name: entry.model_dump() for name, entry in self.currencies.items()},
            "budgets": {name: _plain(entry) for name, entry in self.budgets.items()},
            "credits": dict(self.credits),
            "invalid": sorted(self._invalid),
        }

    def describe_changes(self) -> list[str]:
        """One line for each key that differs from its default, with where it was written; secrets are not shown."""
        usual = dict(walk(Values().model_dump()))
        lines = []
        for path, value in walk(self.model_dump(exclude_unset=True)):
            if path in usual and usual[path] == value:
                continue
            origin = self._origins.get(path)
            shown = "(secret)" if is_secret(path) else hide_user(str(value))
            lines.append(f"{dotted(path)} = {shown}" + (f"  ({origin})" if origin else ""))
        return lines


def load_settings(
    path: Path | None = None,
    environ: Mapping[str, str] | None = None,
    *,
    overrides: Mapping[str, Any] | None = None,
    check: Callable[[Settings], Iterable[Finding]] | None = None,
) -> Settings:
    """Read the configuration: `path`, else `POLYROUTE_CONFIG`, else `./polyroute.yaml` if it exists, else none.

    A `.env` file beside it (in the working folder without one) stands behind the environment. `overrides` are
    values of the command line by dotted key (`server.port`); they come before everything. `check` finds
    mistakes that need more knowledge than types; it is asked about whatever is right in itself even when something else
    is wrong. `environ` None means the process's own.

    Raises ConfigurationError with everything that is wrong.
    """
    process = os.environ if environ is None else environ
    path = path or (Path(process["POLYROUTE_CONFIG"]) if process.get("POLYROUTE_CONFIG") else None)
    if path is None and DEFAULT_FILE.is_file():
        path = DEFAULT_FILE
    document = Document() if path is None else read_document(path)
    env_file = (path.parent if path is not None else Path()) / ".env"
    environment = {**read_env_file(env_file, document.problems), **process}
    warnings = fill_from_environment(document, environment)
    _apply_overrides(document, overrides or {})
    settings = _validate(document, environment)
    if check is not None:
        for found in check(settings):
            document.problems.append(
                Problem(
                    document.origin(found.path), found.path, found.message, found.expected, found.given, found.nearest
                )
            )
    _check_open_door(settings, document)
    if document.problems:
        raise ConfigurationError(sorted(document.problems, key=lambda problem: _order(problem.origin)))
    settings._environment = environment  # noqa: SLF001 - this function is its constructor
    settings._warnings = tuple(warnings)  # noqa: SLF001
    settings._sources = (env_file,) if path is None else (path, env_file)  # noqa: SLF001
    return settings


def _validate(document: Document, environment: Mapping[str, str]) -> Settings:
    """The values as Settings; what is wrong is noted and left out."""
    raw = document.values
    expanded = _without_nulls(expand_references(document, environment))
    _remove(expanded, document)
    invalid = {dotted(path[:2]) for path in document.invalid}
    for _ in range(len(document.origins) + 2):
        try:
            settings = Settings.model_validate(expanded)
        except ValidationError as error:
            before = len(document.invalid)
            report_errors(error, raw, document)
            if len(document.invalid) == before:
                break
            _remove(expanded, document)
            invalid |= {dotted(path[:2]) for path in document.invalid}
        else:
            settings._environment = dict(environment)  # noqa: SLF001 - see load_settings
            settings._origins = document.origins  # noqa: SLF001
            settings._invalid = frozenset(invalid)  # noqa: SLF001
            return settings
    return Settings()


def _without_nulls(values: dict[str, Any]) -> dict[str, Any]:
    """An empty section or entry (`openai:`) is an empty mapping."""
    result: dict[str, Any] = {}
    for name, value in values.items():
        filled = {} if value is None else value
        if name in _NAMED and isinstance(filled, dict):
            filled = {entry: {} if child is None else child for entry, child in filled.items()}
        result[name] = filled
    return result


def _remove(values: dict[str, Any], document: Document) -> None:
    """Take what has a problem out of the values: a whole entry of providers, routes and currencies, a single key elsewhere."""
    for path in document.invalid:
        place = path[:2] if path[:1] and path[0] in _NAMED else path
        holder: Any = values
        for part in place[:-1]:
            holder = holder.get(part) if isinstance(holder, dict) else None
        if isinstance(holder, dict) and place:
            holder.pop(place[-1], None)


def _apply_overrides(document: Document, overrides: Mapping[str, Any]) -> None:
    for key, value in overrides.items():
        path = tuple(key.split("."))
        holder = document.values
        for part in path[:-1]:
            if not isinstance(holder.get(part), dict):
                holder[part] = {}
            holder = holder[part]
        holder[path[-1]] = value
        document.origins[path] = Origin("command line")


def _check_open_door(settings: Settings, document: Document) -> None:
    if settings.auth.mode == "open" and not settings.server.is_loopback:
        path: KeyPath = ("server", "host") if ("server", "host") in document.origins else ("auth", "mode")
        document.report(
            path,
            f"auth.mode is open, and {settings.server.host} can be reached from other machines",
            expected="`auth: {mode: keys}` and a key of `polyroute keys create --name NAME`, or `server: {host: 127.0.0.1}`",
        )


def _plain(section: Section) -> dict[str, Any]:
    """What was set in a section, secrets revealed."""
    return {name: _reveal(value) for name, value in section.model_dump(exclude_unset=True).items() if value is not None}


def _reveal(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, list):
        return [_reveal(child) for child in value]
    if isinstance(value, dict):
        return {name: _reveal(child) for name, child in value.items() if child is not None}
    return value


def _order(origin: Origin) -> tuple[bool, str, int]:
    return origin.line is None, origin.source, origin.line or 0
