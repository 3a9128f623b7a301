"""Base URLs: where a provider is asked, given its row, the configuration, the environment or the sandbox; pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import msgspec

from polyroute.catalog.rows import Row
from polyroute.ports import Endpoint

_VARIABLE = re.compile(r"\{(\w+)\}")
_SCHEME = re.compile(r"^[a-zA-Z][a-zA-Z0-9+.-]*://")


class MissingVariable(Exception):
    """A part of the base URL that nothing supplies; `environment` are the variables that would."""

    def __init__(self, name: str, environment: Sequence[str]) -> None:
        super().__init__(name)
        self.name = name
        self.environment = tuple(environment)


def fill_variables(row: Row, options: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, str]:
    """The values of a row's variables: the configuration's `options` first, then the environment, then the default.

    Raises MissingVariable.
    """
    values: dict[str, str] = {}
    for name, variable in row.variables.items():
        candidates = (options.get(name), *(environment.get(key) for key in variable.environment), variable.default)
        value = next((str(candidate) for candidate in candidates if candidate), None)
        if value is None:
            raise MissingVariable(name, variable.environment)
        values[name] = value.strip().rstrip("/")
    return values


def own_base_url(row: Row, variables: Mapping[str, str]) -> str:
    """The row's base URL with its variables filled in."""
    return _VARIABLE.sub(lambda match: variables[match[1]], row.base_url)


def environment_base_url(row: Row, environment: Mapping[str, str]) -> str | None:
    """The base URL that the environment gives, completed as the provider's SDK does; None when it gives none."""
    given = next(
        (environment[key].strip() for key in row.base_url_environment if environment.get(key, "").strip()), None
    )
    if given is None:
        return None
    url = normalise_url(given, row.default_port)
    suffix = row.base_url_suffix
    return url if not suffix or url.endswith(suffix) else url + suffix


def normalise_url(text: str, default_port: int | None = None) -> str:
    """`host`, `host:port` or a URL → a URL without a slash at its end. `default_port` holds where neither scheme nor port
    is given; 0.0.0.0, which is an address to listen on, becomes loopback."""
    bare = _SCHEME.match(text) is None
    parts = urlsplit(f"http://{text}" if bare else text)
    host = parts.netloc.replace("0.0.0.0", "127.0.0.1")  # noqa: S104 - recognised in order not to be used
    if bare and default_port is not None and ":" not in host.rpartition("]")[2]:
        host = f"{host}:{default_port}"
    return urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))


def sandbox_base_url(sandbox_url: str, name: str, row_url: str) -> str:
    """The address of a simulated provider: its name, then the path that its real base URL has.

    >>> sandbox_base_url("http://127.0.0.1:9900", "openai", "https://api.openai.com/v1")
    'http://127.0.0.1:9900/openai/v1'
    """
    address = _VARIABLE.sub("simulated", row_url.replace("{endpoint}", "https://simulated"))
    return f"{sandbox_url.rstrip('/')}/{name}{urlsplit(address).path.rstrip('/')}"


def strip_overlap(base_url: str, endpoints: Sequence[Endpoint]) -> str:
    """The base URL without an end that its endpoints' paths begin with, so that both spellings of a base URL work.

    >>> strip_overlap("http://host/v1", [Endpoint(dialect=Dialect.ANTHROPIC_MESSAGES, path="/v1/messages")])
    'http://host'
    """
    parts = urlsplit(base_url)
    segments = [segment for segment in parts.path.split("/") if segment]
    overlap = max((_overlap(segments, endpoint) for endpoint in endpoints), default=0)
    if not overlap:
        return base_url
    path = "".join(f"/{segment}" for segment in segments[: len(segments) - overlap])
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))


def _overlap(segments: list[str], endpoint: Endpoint) -> int:
    if endpoint.base_url is not None:
        return 0
    head = [segment for segment in endpoint.path.split("/") if segment]
    return next((size for size in range(min(len(segments), len(head)), 0, -1) if segments[-size:] == head[:size]), 0)


def row_endpoints(row: Row, *, moved: bool, sandbox_url: str | None) -> tuple[Endpoint, ...]:
    """A row's endpoints as they stand, at the sandbox, or with the base URL `moved` elsewhere: then those that live on a
    host of their own are left out, because they would pass the configured address by."""
    endpoints = tuple(
        Endpoint(dialect=dialect, path=endpoint.path, base_url=endpoint.base_url, auth=endpoint.auth)
        for dialect, endpoint in row.endpoints.items()
    )
    if sandbox_url is not None:
        return tuple(
            endpoint
            if endpoint.base_url is None
            else msgspec.structs.replace(endpoint, base_url=sandbox_base_url(sandbox_url, row.name, endpoint.base_url))
            for endpoint in endpoints
        )
    return tuple(endpoint for endpoint in endpoints if not (moved and endpoint.base_url is not None))
