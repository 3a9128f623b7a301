"""What is wrong with a configuration, all of it at once, with file, line and the name that was most likely meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

KeyPath = tuple[str | int, ...]

_SECRET_KEYS = frozenset({"api_key", "credentials", "pepper", "headers", "database", "force", "default"})
_USER_INFORMATION = re.compile(r"//[^/@\s]*@")
_SHOWN = 80


@dataclass(frozen=True)
class Origin:
    """Where a value was written: a line of a file, or a variable of the environment."""

    source: str
    line: int | None = None

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}"


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong. `given` never holds a secret; `nearest` is the valid name nearest to what was given."""

    origin: Origin
    path: KeyPath
    message: str
    expected: str | None = None
    given: str | None = None
    nearest: str | None = None

    def __str__(self) -> str:
        text = f"{self.origin}: {dotted(self.path)}: {self.message}" if self.path else f"{self.origin}: {self.message}"
        if self.given is not None:
            text += f", given {self.given}"
        if self.nearest is not None:
            text += f"; did you mean {self.nearest}?"
        if self.expected is not None:
            text += f" (expected {self.expected})"
        return text


class Finding(Protocol):
    """A mistake that somebody else found in the values, and who does not know files and lines."""

    @property
    def path(self) -> KeyPath:
        """The key path."""

    @property
    def message(self) -> str:
        """What is wrong."""

    @property
    def expected(self) -> str | None:
        """What would be right."""

    @property
    def given(self) -> str | None:
        """What was found."""

    @property
    def nearest(self) -> str | None:
        """The nearest valid name."""


class ConfigurationError(Exception):
    """The configuration cannot be used. `problems` are in the order of the file."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        lines = "".join(f"\n  {problem}" for problem in self.problems)
        super().__init__(f"the configuration has {count} problem{'s' if count != 1 else ''}:{lines}")


def dotted(path: KeyPath) -> str:
    """A key path as people write it: `routes.text.targets[0]`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def find_nearest(given: str, names: Iterable[str]) -> str | None:
    """The one of the names that a mistyped one most likely meant."""
    folded = {name.lower(): name for name in names}
    found = difflib.get_close_matches(given.lower(), folded, n=1, cutoff=0.6)
    return folded[found[0]] if found else None


def is_secret(path: KeyPath) -> bool:
    """Whether what is written there must not be shown."""
    return any(part in _SECRET_KEYS for part in path)


def hide_user(text: str) -> str:
    """A text without the user and password of URLs in it."""
    return _USER_INFORMATION.sub("//…@", text)


def show(value: object, path: KeyPath) -> str | None:
    """A value for an error message: short, and without secrets."""
    if value is None or is_secret(path):
        return None
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    text = hide_user(repr(value))
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
