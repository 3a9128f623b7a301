"""Citations: nested as Chat Completions has them (the canonical form) ⇄ flat as Responses has them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

_NESTED = ("url_citation", "file_citation", "container_file_citation", "file_path")


def nest(annotation: dict[str, Any]) -> dict[str, Any]:
    """{"type": "url_citation", "url": …} → {"type": "url_citation", "url_citation": {"url": …}}; others as they are."""
    kind = annotation.get("type")
    if kind not in _NESTED or isinstance(annotation.get(kind), dict):
        return annotation
    return {"type": kind, kind: {name: value for name, value in annotation.items() if name != "type"}}


def flatten(annotation: dict[str, Any]) -> dict[str, Any]:
    """The reverse of `nest`, with the positions that clients' types require."""
    kind = annotation.get("type")
    inner = annotation.get(kind) if isinstance(kind, str) else None
    flat = {"type": kind, **inner} if isinstance(inner, dict) else dict(annotation)
    if kind == "url_citation":
        flat = {"start_index": 0, "end_index": 0, "title": "", "url": ""} | flat
    return flat


def nested(annotations: Iterable[Any]) -> tuple[dict[str, Any], ...]:
    """All annotations in the canonical form."""
    return tuple(nest(annotation) for annotation in annotations if isinstance(annotation, dict))
