"""Budgets in the configuration: every mistake at its line, all at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from polyroute.catalog.build import build_catalog, check_input
from polyroute.catalog.inputs import read_input
from polyroute.catalog.rows import load_rows
from polyroute.settings import ConfigurationError, Settings, load_settings
from polyroute.types.budgets import UNIT

ENVIRON = {"OPENAI_API_KEY": "sk-test"}


def load(folder: Path, text: str) -> Settings:
    file = folder / "polyroute.yaml"
    file.write_text(text)
    return load_settings(
        file,
        ENVIRON,
        check=lambda found: check_input(load_rows(), read_input(found.catalog_values()), found.environment),
    )


def test_budgets_and_credits_reach_the_catalog(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        "currencies: {VND: {per_usd: 25000, date: 2026-11-20}}\n"
        "budgets:\n"
        "  a: {amount: 50000 VND, scope: user, subject: alice, window: day, time_zone: Asia/Ho_Chi_Minh}\n"
        "  b: {amount: 10 credits, scope: user, subject: alice, window: day, hard: false}\n"
        "credits: {text: 1.5}\n",
    )
    catalog = build_catalog(load_rows(), read_input(settings.catalog_values()), ENVIRON)
    assert {name: found.limit for name, found in catalog.budgets.items()} == {"a": 2 * UNIT, "b": 10 * UNIT}
    assert catalog.budgets["b"].in_credits
    assert str(catalog.credits["text"]) == "1.5"


def test_every_mistake_is_told_with_its_line_and_its_fix(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(
            tmp_path,
            "budgets:\n"
            "  minus: {amount: -5 USD}\n"
            "  odd: {amount: 5 XAU}\n"
            "  one: {amount: 5 USD, window: day}\n"
            "  two: {amount: 6 USD, window: day}\n"
            "  lost: {amount: 5 USD, scope: route, subject: txet}\n"
            "  where: {amount: 5 USD, window: week, time_zone: Asia/Hanoi}\n"
            "credits: {text: -1}\n",
        )
    told = str(caught.value).splitlines()
    for line, words in (
        (2, "budgets.minus.amount: a budget cannot be below zero"),
        (3, "budgets.odd.amount: unknown currency XAU"),
        (5, "budgets.two: overlaps with budgets.one"),
        (6, "there is no such route, given txet; did you mean text?"),
        (7, "budgets.where.time_zone: unknown time zone, given Asia/Hanoi"),
        (8, "credits.text: wrong value, given -1 (expected at least 0)"),
    ):
        assert any(f"polyroute.yaml:{line}: " in one and words in one for one in told), (line, words, told)
