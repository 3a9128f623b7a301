"""pydantic's complaints in the configuration's own words."""

from __future__ import annotations

import types
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from polyroute.settings.document import Document
from polyroute.settings.models import Values
from polyroute.settings.problems import KeyPath, find_nearest, show

_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text, in quotes if it looks like something else",
    "list": "a list",
    "dict": "a mapping",
    "model": "a mapping",
    "path": "a path",
    "finite": "a number",
}
_LIMITS = {
    "greater_than": ("more than {gt}", "gt"),
    "greater_than_equal": ("at least {ge}", "ge"),
    "less_than": ("less than {lt}", "lt"),
    "less_than_equal": ("at most {le}", "le"),
}


def report_errors(error: ValidationError, raw: dict[str, Any], document: Document) -> None:
    """Note every complaint at its place; `raw` are the values as written, before variables were filled in."""
    seen: dict[KeyPath, list[str]] = {}
    unknown: set[KeyPath] = set()
    for found in error.errors(include_url=False, include_input=False):
        path, missing = _place(found["loc"], raw)
        if found["type"] == "extra_forbidden":
            unknown.add(path)
        expected = _expected(found["type"], found.get("ctx", {}), found["msg"])
        place = (*path, *missing) if found["type"] == "missing" else path
        seen.setdefault(place, []).append(expected)
    for path, expectations in seen.items():
        if any(path[: len(known)] == known for known in document.invalid):
            continue
        if path in unknown:
            names = keys_at(path[:-1])
            nearest = find_nearest(str(path[-1]), names)
            document.report(path, "unknown key", expected="one of " + ", ".join(names), nearest=nearest)
            continue
        given = _value_at(raw, path)
        message = "is required and missing" if path and _place(path, raw)[1] else "wrong value"
        choices = literals_at(path)
        document.report(
            path,
            message,
            given=show(given, path),
            expected=" or ".join(dict.fromkeys(expectations)),
            nearest=find_nearest(given, choices) if isinstance(given, str) and choices else None,
        )


def keys_at(path: KeyPath) -> list[str]:
    """The names that may stand under a key path; empty where any may."""
    model = _model_at(path)
    return list(model.model_fields) if model else []


def literals_at(path: KeyPath) -> list[str]:
    """The fixed choices of a key; empty when it has none."""
    annotation = _annotation_at(path)
    return [choice for choice in get_args(annotation) if isinstance(choice, str)] if annotation is not None else []


def _expected(kind: str, context: dict[str, Any], message: str) -> str:
    if kind == "missing":
        return "a value"
    if kind == "literal_error":
        return "one of " + str(context.get("expected", "")).replace("'", "").replace(" or ", ", ")
    if kind == "too_short":
        return f"at least {context.get('min_length', 1)} entry"
    if kind in _LIMITS:
        text, name = _LIMITS[kind]
        return text.format(**{name: f"{context[name]:g}"})
    for name, words in _KINDS.items():
        if kind.startswith(name):
            return words
    return message.removeprefix("Value error, ")


def _place(location: tuple[str | int, ...], raw: Any) -> tuple[KeyPath, KeyPath]:
    """The part of pydantic's location that is in the document, and the rest (missing keys, names of union branches)."""
    value = raw
    for depth, part in enumerate(location):
        if not _holds(value, part):
            return location[:depth], location[depth:]
        value = value[part]
    return location, ()


def _value_at(raw: Any, path: KeyPath) -> Any:
    for part in path:
        if not _holds(raw, part):
            return None
        raw = raw[part]
    return raw


def _holds(value: Any, part: str | int) -> bool:
    if isinstance(value, dict):
        return part in value
    return isinstance(value, list) and isinstance(part, int) and part < len(value)


def _annotation_at(path: KeyPath) -> Any:
    annotation: Any = Values
    for part in path:
        annotation = _child(_plain(annotation), part)
        if annotation is None:
            return None
    return _plain(annotation)


def _model_at(path: KeyPath) -> type[BaseModel] | None:
    annotation = _annotation_at(path)
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def _child(annotation: Any, part: str | int) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        field = annotation.model_fields.get(str(part))
        return field.annotation if field else None
    if get_origin(annotation) is dict:
        return get_args(annotation)[1]
    return None


def _plain(annotation: Any) -> Any:
    """Without Optional and Annotated; unions of several kinds stay as they are."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in {Union, types.UnionType}:
        members = [member for member in get_args(annotation) if member is not type(None)]
        return _plain(members[0]) if len(members) == 1 else annotation
    return annotation
