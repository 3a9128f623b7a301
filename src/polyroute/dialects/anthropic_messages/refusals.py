"""Refusals of a caller's request in the API's own words, and the readers of single fields that utter them."""

from __future__ import annotations

from typing import Any, TypeVar, cast

from polyroute.types.errors import ErrorKind, PolyrouteError

_T = TypeVar("_T")
_TYPE_WORDS: dict[type, str] = {
    str: "string", int: "integer", float: "number", bool: "boolean", list: "list", dict: "dictionary",
}  # fmt: skip


def invalid(place: str, message: str) -> PolyrouteError:
    """The refusal of one field, e.g. `max_tokens: Field required`."""
    return PolyrouteError(ErrorKind.INVALID_REQUEST, f"{place}: {message}" if place else message, param=place or None)


def typed(value: Any, kind: type[_T], place: str) -> _T:
    """The value when it is of that type; integers count as numbers, booleans do not count as integers."""
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return cast("_T", float(value))
    if isinstance(value, kind) and not (isinstance(value, bool) and kind is not bool):
        return value
    raise invalid(place, f"Input should be a valid {_TYPE_WORDS[kind]}")


def required(fields: dict[str, Any], name: str, kind: type[_T], place: str = "") -> _T:
    """A field that must be there."""
    path = f"{place}.{name}" if place else name
    if fields.get(name) is None:
        raise invalid(path, "Field required")
    return typed(fields[name], kind, path)


def optional(fields: dict[str, Any], name: str, kind: type[_T], place: str = "") -> _T | None:
    """A field that may be absent or null."""
    if fields.get(name) is None:
        return None
    return typed(fields[name], kind, f"{place}.{name}" if place else name)


def bounded(fields: dict[str, Any], name: str, low: float, high: float) -> float | None:
    """A number within bounds."""
    value = optional(fields, name, float)
    if value is None:
        return None
    if value < low:
        raise invalid(name, f"Input should be greater than or equal to {low:g}")
    if value > high:
        raise invalid(name, f"Input should be less than or equal to {high:g}")
    return value
