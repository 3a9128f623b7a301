"""JSON Schemas as this API wants them for structured output and strict tools: every object closed."""

from __future__ import annotations

from typing import Any

_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_MAPS = ("properties", "$defs", "definitions")


def close_schema(schema: dict[str, Any]) -> dict[str, Any] | None:
    """The schema with `additionalProperties: false` on every object; None when it is recursive or has open objects."""
    return None if _is_recursive(schema) else _close(schema)


def _close(schema: dict[str, Any]) -> dict[str, Any] | None:
    closed: dict[str, Any] = {}
    for word, value in schema.items():
        if word in _LISTS and isinstance(value, list):
            items = [_close(item) if isinstance(item, dict) else item for item in value]
            if None in items:
                return None
            closed[word] = items
        elif word in _MAPS and isinstance(value, dict):
            inner = {name: _close(item) if isinstance(item, dict) else item for name, item in value.items()}
            if None in inner.values():
                return None
            closed[word] = inner
        elif word == "items" and isinstance(value, dict):
            closed[word] = _close(value)
            if closed[word] is None:
                return None
        else:
            closed[word] = value
    kind = schema.get("type")
    if kind == "object" or (isinstance(kind, list) and "object" in kind) or "properties" in schema:
        more = schema.get("additionalProperties")
        if more not in (None, False) or (more is None and not schema.get("properties")):
            return None
        closed["additionalProperties"] = False
    return closed


def _is_recursive(schema: dict[str, Any]) -> bool:
    definitions = {f"#/{word}/{name}": item for word in _MAPS[1:] for name, item in _map(schema, word).items()}

    def reaches(node: Any, trail: frozenset[str]) -> bool:
        if isinstance(node, list):
            return any(reaches(item, trail) for item in node)
        if not isinstance(node, dict):
            return False
        reference = node.get("$ref")
        if isinstance(reference, str):
            if reference == "#" or reference in trail:
                return True
            if reference in definitions and reaches(definitions[reference], trail | {reference}):
                return True
        return any(reaches(value, trail) for word, value in node.items() if word not in _MAPS[1:] and word != "$ref")

    return reaches(schema, frozenset())


def _map(schema: dict[str, Any], word: str) -> dict[str, Any]:
    value = schema.get(word)
    return value if isinstance(value, dict) else {}
