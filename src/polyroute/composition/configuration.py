"""From files and environment to checked settings, and from settings to the catalog of what exists."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from polyroute.catalog.build import build_catalog, check_input
from polyroute.catalog.inputs import CatalogProblem, read_input
from polyroute.catalog.model import Catalog
from polyroute.catalog.rows import load_rows
from polyroute.providers.media.ffmpeg.tools import find_ffmpeg
from polyroute.settings import Settings, load_settings


def read_configuration(path: Path | None = None, overrides: Mapping[str, Any] | None = None) -> Settings:
    """The settings, checked as far as a catalog can be made of them. `overrides` are the command line's, by dotted key.

    Raises ConfigurationError with everything that is wrong.
    """

    def check(settings: Settings) -> tuple[CatalogProblem, ...]:
        return check_input(load_rows(), read_input(settings.catalog_values()), settings.environment)

    return load_settings(path, overrides=overrides, check=check)


def make_catalog(settings: Settings, sandbox_url: str | None = None) -> Catalog:
    """What exists under these settings."""
    return build_catalog(
        load_rows(), read_input(settings.catalog_values()), surroundings(settings), sandbox_url=sandbox_url
    )


def surroundings(settings: Settings) -> Mapping[str, str]:
    """The environment, and what is installed on this machine as if it were named there."""
    environment = settings.environment
    path = environment.get("PATH")
    if environment.get("FFMPEG_BINARY") or not path:
        return environment
    found = find_ffmpeg(path)
    return environment if found is None else {**environment, "FFMPEG_BINARY": found}
