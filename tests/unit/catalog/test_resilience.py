"""What a route may say of broken streams and of hedging."""

from __future__ import annotations

from pathlib import Path

import pytest

from polyroute.catalog.build import build_catalog, check_input
from polyroute.catalog.inputs import read_input
from polyroute.catalog.model import Catalog, Hedge
from polyroute.catalog.rows import load_rows
from polyroute.settings import ConfigurationError, load_settings


def read(route: str, folder: Path) -> Catalog:
    """The catalog with this route."""
    file = folder / "polyroute.yaml"
    file.write_text(f"providers: {{openai: {{api_key: k}}}}\nroutes:\n  mine: {route}\n", encoding="utf-8")
    settings = load_settings(
        file, {}, check=lambda found: check_input(load_rows(), read_input(found.catalog_values()), found.environment)
    )
    return build_catalog(load_rows(), read_input(settings.catalog_values()), settings.environment)


def test_streams_are_rescued_and_nothing_is_hedged_unless_said_otherwise(tmp_path: Path) -> None:
    route = read("{targets: [openai/gpt-4o]}", tmp_path).routes["mine"]
    assert (route.rescue, route.hedge) == ("continue", None)


def test_a_route_says_otherwise(tmp_path: Path) -> None:
    route = read("{targets: [openai/gpt-4o], rescue: restart, hedge: {after: 1.5, share: 0.1}}", tmp_path).routes[
        "mine"
    ]
    assert (route.rescue, route.hedge) == ("restart", Hedge(after=1.5, share=0.1))
    assert read("{targets: [openai/gpt-4o], hedge: {}}", tmp_path).routes["mine"].hedge == Hedge(after=None, share=0.05)


@pytest.mark.parametrize(
    ("route", "told"),
    [
        ("{targets: [openai/gpt-4o], rescue: perhaps}", r"polyroute\.yaml:3: routes\.mine\.rescue"),
        ("{targets: [openai/gpt-4o], hedge: {after: p50}}", r"polyroute\.yaml:3: routes\.mine\.hedge\.after"),
        ("{targets: [openai/gpt-4o], hedge: {after: -1}}", r"polyroute\.yaml:3: routes\.mine\.hedge\.after"),
        ("{targets: [openai/gpt-4o], hedge: {share: 0}}", r"polyroute\.yaml:3: routes\.mine\.hedge\.share"),
        (
            "{operation: image, targets: [openai/gpt-image-1], hedge: {after: 1}}",
            r"routes\.mine\.hedge: a route for image cannot hedge: only chat, embed, moderate can",
        ),
        ("{operation: embed, targets: [openai/e], rescue: continue}", r"routes\.mine\.rescue: .* only chat does"),
    ],
)
def test_nonsense_is_refused_with_its_place(route: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=told):
        read(route, tmp_path)
