"""Reading the loosely typed fields of OpenAI's media requests, JSON and forms alike, with errors that name the field."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

from polyroute.types.errors import ErrorKind, PolyrouteError


def refuse(message: str, param: str) -> PolyrouteError:
    """What is raised for a field that cannot be."""
    return PolyrouteError(ErrorKind.INVALID_REQUEST, message, param=param)


class Fields:
    """A request's fields by name. Those of a form are all text; numbers and flags are understood in both forms. `rest` is
    what nobody asked for."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = {name: value for name, value in values.items() if value is not None}
        self._seen: set[str] = set()

    def take(self, name: str) -> Any:
        """A field as it came; None when it is absent or null."""
        self._seen.add(name)
        return self._values.get(name)

    def text(self, name: str, *, required: bool = False, most: int | None = None) -> str | None:
        """A string."""
        value = self.take(name)
        if value is None or (value == "" and not required):
            if required:
                raise refuse(f"'{name}' is required.", name)
            return None
        if not isinstance(value, str):
            raise refuse(f"'{name}' must be a string, not {_kind(value)}.", name)
        if required and not value.strip():
            raise refuse(f"'{name}' is empty.", name)
        if most is not None and len(value) > most:
            raise refuse(f"'{name}' has {len(value)} characters; at most {most} are possible.", name)
        return value

    def choice(self, name: str, choices: Collection[str]) -> str | None:
        """One of some words."""
        value = self.text(name)
        if value is not None and value not in choices:
            raise refuse(f"'{name}' is {value!r}; possible are {', '.join(choices)}.", name)
        return value

    def number(self, name: str, least: float, most: float) -> float | None:
        """A number within bounds."""
        value = self.take(name)
        if value is None or value == "":
            return None
        try:
            number = float("nan" if isinstance(value, bool) else value)
        except (TypeError, ValueError):
            raise refuse(f"'{name}' must be a number, not {value!r}.", name) from None
        if math.isnan(number):
            raise refuse(f"'{name}' must be a number, not {value!r}.", name)
        if not least <= number <= most:
            raise refuse(f"'{name}' is {value}; it must be between {least:g} and {most:g}.", name)
        return number

    def whole(self, name: str, least: int, most: int) -> int | None:
        """A whole number within bounds."""
        number = self.number(name, least, most)
        if number is not None and number != int(number):
            raise refuse(f"'{name}' must be a whole number, not {number:g}.", name)
        return None if number is None else int(number)

    def flag(self, name: str) -> bool | None:
        """True or false."""
        value = self.take(name)
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in ("true", "false", "1", "0"):
            return value.lower() in ("true", "1")
        raise refuse(f"'{name}' must be true or false, not {value!r}.", name)

    def words(self, name: str) -> tuple[str, ...]:
        """A list of strings, of a form also under `name[]`."""
        value = self.take(f"{name}[]")
        value = self.take(name) if value is None else value
        if value is None:
            return ()
        listed = [value] if isinstance(value, str) else value
        if not isinstance(listed, list | tuple) or not all(isinstance(item, str) for item in listed):
            raise refuse(f"'{name}' must be a list of strings.", name)
        return tuple(listed)

    @property
    def rest(self) -> dict[str, Any]:
        """What has not been read."""
        return {name: value for name, value in self._values.items() if name not in self._seen}


def _kind(value: Any) -> str:
    match value:
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case list():
            return "a list"
        case dict():
            return "an object"
        case _:
            return type(value).__name__


def read_size(text: str | None, param: str = "size") -> tuple[int | None, int | None]:
    """`1024x768` as width and height; nothing for `auto`."""
    if text is None or text == "auto":
        return None, None
    width, _, height = text.partition("x")
    if not (width.isascii() and width.isdigit() and height.isascii() and height.isdigit()):
        raise refuse(f"'{param}' is {text!r}; it must be written WIDTHxHEIGHT in pixels, or auto.", param)
    found = int(width), int(height)
    if not all(16 <= side <= 16384 for side in found):
        raise refuse(f"'{param}' is {text!r}; each side must have 16 to 16384 pixels.", param)
    return found
