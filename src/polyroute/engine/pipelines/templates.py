"""Templates: `{{step.text}}` in a pipeline's values, replaced by what steps made; pure.

A template names values and does nothing else. `a | b` is the first of them that there is. A value that is nothing but one
template becomes the value itself (a list, a number); within text it becomes text. `a | none` leaves the field out where
there is no `a`, and in a list the whole item that the field is part of.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

_TEMPLATE = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_REFERENCE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)((?:\.[A-Za-z_][A-Za-z0-9_]*|\[\d{1,4}\])*)")
_PART = re.compile(r"\.([A-Za-z_][A-Za-z0-9_]*)|\[(\d{1,4})\]")
_DEEPEST = 20
_NONE = "none"
_NOTHING: Any = object()


class Reference(msgspec.Struct, frozen=True):
    """`script.json.scenes[0]`: the `head` and the names and places below it."""

    head: str
    path: tuple[str | int, ...]

    def __str__(self) -> str:
        return self.head + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in self.path)


class TemplateError(ValueError):
    """A template that cannot be read, or that names something which is not there."""


class Missing(TemplateError):
    """None of the values that a template names is there."""


Lookup = Callable[[Reference], Any]
"""The value of a reference. Raises Missing."""


def read_template(text: str) -> tuple[Reference, ...]:
    """The alternatives between the braces of one template. Raises TemplateError."""
    found: list[Reference] = []
    parts = text.split("|")
    for part in parts:
        match = _REFERENCE.fullmatch(part.strip())
        if match is None:
            raise TemplateError(
                f"'{{{{{text[:80]}}}}}' is no template; there are {{{{step.text}}}}, {{{{step.artifacts[0]}}}}, "
                "{{input.name}} and alternatives of those, 'a | b'"
            )
        path = tuple(int(place) if place else name for name, place in _PART.findall(match[2]))
        found.append(Reference(match[1], path))
    if any(one.head == _NONE for one in found[:-1]) or (found[-1].head == _NONE and len(found) == 1):
        raise TemplateError(f"'{{{{{text[:80]}}}}}': 'none' can only be the last of several alternatives")
    return tuple(found)


def templates_in(value: Any, depth: int = 0) -> Iterator[tuple[Reference, ...]]:
    """Every template in a value, however deep. Raises TemplateError."""
    if depth > _DEEPEST:
        raise TemplateError("values are nested too deeply")
    if isinstance(value, str):
        for match in _TEMPLATE.finditer(value):
            yield read_template(match[1])
    elif isinstance(value, dict):
        for one in value.values():
            yield from templates_in(one, depth + 1)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from templates_in(one, depth + 1)


def fill(value: dict[str, Any], look_up: Lookup) -> dict[str, Any]:
    """Fields with their templates replaced. Raises TemplateError."""
    return {name: one for name, one in _filled_fields(value, look_up).items() if one is not _NOTHING}


def _filled_fields(value: dict[str, Any], look_up: Lookup) -> dict[str, Any]:
    return {name: _filled(one, look_up) for name, one in value.items()}


def _filled(value: Any, look_up: Lookup) -> Any:
    if isinstance(value, str):
        whole = _TEMPLATE.fullmatch(value.strip())
        if whole is not None and "{{" not in whole[1]:
            return _first(read_template(whole[1]), look_up)
        return _TEMPLATE.sub(lambda match: _as_text(_first(read_template(match[1]), look_up)), value)
    if isinstance(value, dict):
        return fill(value, look_up)
    if isinstance(value, list | tuple):
        items = [_filled_item(one, look_up) for one in value]
        return [one for one in items if one is not _NOTHING]
    return value


def _filled_item(value: Any, look_up: Lookup) -> Any:
    if not isinstance(value, dict):
        return _filled(value, look_up)
    fields = _filled_fields(value, look_up)
    return _NOTHING if any(one is _NOTHING for one in fields.values()) else fields


def _first(alternatives: tuple[Reference, ...], look_up: Lookup) -> Any:
    for reference in alternatives[:-1]:
        try:
            return look_up(reference)
        except Missing:
            continue
    last = alternatives[-1]
    return _NOTHING if last.head == _NONE else look_up(last)


def _as_text(value: Any) -> str:
    if value is _NOTHING:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def walk_to(value: Any, reference: Reference, path: tuple[str | int, ...]) -> Any:
    """What lies at `path` below a value. Raises Missing."""
    for place, part in enumerate(path):
        try:
            value = value[part]
        except (LookupError, TypeError):
            done = Reference(reference.head, reference.path[: len(reference.path) - len(path) + place])
            raise Missing(f"'{reference}' is not there; {done} {_about(value)}") from None
    return value


def _about(value: Any) -> str:
    if isinstance(value, dict):
        return f"has {', '.join(map(str, list(value)[:20])) or 'nothing'}"
    if isinstance(value, list):
        return f"has {len(value)} items"
    return "has no parts"
