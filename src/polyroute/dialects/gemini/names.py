"""Field names: answers and our own bodies are camelCase; callers may also write snake_case."""

from __future__ import annotations

import re
from functools import cache
from typing import Any, TypeVar, cast

from polyroute.types.errors import ErrorKind, PolyrouteError

_T = TypeVar("_T")
_CAPITAL = re.compile(r"(?<!^)([A-Z])")
_KIND_NAMES = {str: "TYPE_STRING", int: "TYPE_INT32", float: "TYPE_FLOAT", bool: "TYPE_BOOL"}


@cache
def snake(name: str) -> str:
    """camelCase → snake_case."""
    return _CAPITAL.sub(lambda found: "_" + found.group(1).lower(), name)


@cache
def camel(name: str) -> str:
    """snake_case → camelCase."""
    head, *rest = name.split("_")
    return head + "".join(word[:1].upper() + word[1:] for word in rest)


def invalid(message: str, param: str | None = None) -> PolyrouteError:
    """A refusal in the API's own words."""
    return PolyrouteError(ErrorKind.INVALID_REQUEST, message, param=param)


class Fields:
    """An object of a caller's request, read field by field in either spelling; what nobody took is left over."""

    __slots__ = ("_values", "place")

    def __init__(self, value: Any, place: str) -> None:
        if not isinstance(value, dict):
            where = f" at '{place}'" if place else ""
            raise invalid(f"Invalid JSON payload received: an object is expected{where}.", place or None)
        self._values = dict(value)
        self.place = place

    def path(self, name: str) -> str:
        """The full name of a field, as the API's messages write it."""
        return f"{self.place}.{snake(name)}" if self.place else snake(name)

    def take(self, name: str) -> Any:
        """The value under the camelCase name or its snake_case form; None when absent."""
        value = self._values.pop(name, None)
        other = self._values.pop(snake(name), None) if snake(name) != name else None
        return other if value is None else value

    def typed(self, name: str, kind: type[_T]) -> _T | None:
        """A value of one type; integers count as numbers, and whole numbers as integers."""
        value = self.take(name)
        if value is None:
            return None
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            return cast("_T", float(value))
        if kind is int and isinstance(value, float) and value.is_integer():
            return cast("_T", int(value))
        if isinstance(value, kind) and not (isinstance(value, bool) and kind is not bool):
            return value
        raise invalid(
            f"Invalid value at '{self.path(name)}' ({_KIND_NAMES.get(kind, kind.__name__)}), {value!r:.80}",
            self.path(name),
        )

    def items(self, name: str) -> list[Any]:
        """A list; a single object stands for a list of one, as in the API."""
        value = self.take(name)
        if value is None:
            return []
        return value if isinstance(value, list) else [value]

    def rest(self) -> dict[str, Any]:
        """What was not taken, by camelCase names."""
        return {camel(name): value for name, value in self._values.items() if value is not None}
