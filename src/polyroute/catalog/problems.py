"""Collecting everything that is wrong with the catalog's input, with the name that was most likely meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from enum import StrEnum
from typing import TypeVar

from polyroute.catalog.inputs import CatalogProblem

Named = TypeVar("Named", bound=StrEnum)


class Problems:
    """Collects what is wrong while the rest is still looked at."""

    def __init__(self) -> None:
        self.found: list[CatalogProblem] = []

    def note(
        self,
        path: tuple[str | int, ...],
        message: str,
        *,
        given: str | None = None,
        expected: str | None = None,
        nearest: str | None = None,
    ) -> None:
        """Note one problem in full."""
        self.found.append(CatalogProblem(path=path, message=message, given=given, expected=expected, nearest=nearest))

    def add(
        self,
        path: tuple[str | int, ...],
        message: str,
        *,
        given: str | None = None,
        choices: Iterable[str] | None = None,
    ) -> None:
        """Note one problem; with `choices`, name them and the one nearest to what was given."""
        names = None if choices is None else list(choices)
        expected = None if names is None else "one of " + ", ".join(names)
        nearest = None if names is None or given is None else find_nearest(given, names)
        self.note(path, message, given=given, expected=expected, nearest=nearest)

    def name(self, kind: type[Named], text: str, path: tuple[str | int, ...], what: str) -> Named | None:
        """Text → a member of a closed set, or a problem."""
        try:
            return kind(text)
        except ValueError:
            self.add(path, f"unknown {what}", given=text, choices=[member.value for member in kind])
            return None


def find_nearest(given: str, names: Iterable[str]) -> str | None:
    """The one of the names that a mistyped one most likely meant."""
    folded = {name.lower(): name for name in names}
    found = difflib.get_close_matches(given.lower(), folded, n=1, cutoff=0.6)
    return folded[found[0]] if found else None


class CatalogError(Exception):
    """The catalog's input is wrong; `problems` says where and why, all at once."""

    def __init__(self, problems: Iterable[CatalogProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(f"{'.'.join(map(str, found.path))}: {found.message}" for found in self.problems))
