"""The reference of every key, as Markdown: `python -m polyroute.settings.reference`; `docs/configuration.md` holds it."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from polyroute.settings.models import Values

_WORDS = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    Path: "path",
    date: "date",
    SecretStr: "secret text",
}


def render_reference() -> str:
    """A table for each section; `NAME` stands for the names that one chooses."""
    parts = []
    for path, model in walk_sections(Values):
        rows = [
            f"| `{name}` | {_kind(field.annotation)} | {_default(field)} | {_text(field.description)} |"
            for name, field in model.model_fields.items()
            if _section(field.annotation) is None
        ]
        if rows:
            head = f"### `{path}`\n\n{_text(model.__doc__)}\n\n| key | kind | default | meaning |\n|---|---|---|---|\n"
            parts.append(head + "\n".join(rows) + "\n")
    return "\n".join(parts)


def walk_sections(model: type[BaseModel], path: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """Every section with its dotted place, outermost first."""
    if path:
        yield path, model
    for name, field in model.model_fields.items():
        inner = _section(field.annotation)
        if inner is not None:
            chosen = ".NAME" if get_origin(_plain(field.annotation)) is dict else ""
            yield from walk_sections(inner, f"{path}.{name}{chosen}".removeprefix("."))


def _section(annotation: Any) -> type[BaseModel] | None:
    plain = _plain(annotation)
    if get_origin(plain) is dict:
        plain = _plain(get_args(plain)[1])
    return plain if isinstance(plain, type) and issubclass(plain, BaseModel) else None


def _plain(annotation: Any) -> Any:
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in {Union, types.UnionType}:
        members = [member for member in get_args(annotation) if member is not type(None)]
        return _plain(members[0]) if len(members) == 1 else annotation
    return annotation


def _kind(annotation: Any) -> str:
    plain = _plain(annotation)
    origin, inner = get_origin(plain), get_args(plain)
    if origin in {Union, types.UnionType}:
        return " or ".join(_kind(member) for member in inner if member is not type(None))
    if origin is Literal:
        return " or ".join(f"`{choice}`" for choice in inner)
    if origin is list:
        return f"list of {_kind(inner[0])}"
    if origin is dict:
        return f"mapping to {_kind(inner[1])}"
    if isinstance(plain, type) and issubclass(plain, BaseModel):
        return f"mapping of {', '.join(plain.model_fields)}"
    return _WORDS.get(plain, "anything")


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "required"
    if field.default is None or field.default in ([], {}):
        return "none"
    return f"`{str(field.default).lower() if isinstance(field.default, bool) else field.default}`"


def _text(description: str | None) -> str:
    return " ".join((description or "").split()).replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(render_reference())
