"""A value that satisfies a JSON Schema, the same one every time, made of the prompt's own words where it can be."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_QUOTED = re.compile(r"[\"“'`]([^\"”'`\n]{1,60})[\"”'`]")
_NAME = re.compile(r"(?<![.!?]\s)(?<!^)\b[A-Z][\w-]+(?:\s[A-Z][\w-]+)*")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_FORMATS = {
    "date-time": "2026-11-20T12:00:00Z",
    "date": "2026-11-20",
    "time": "12:00:00Z",
    "duration": "PT1H",
    "email": "simulated@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/simulated",
    "uuid": "5a4d1a7e-0000-4000-8000-000000000000",
}
_DEEPEST = 5


class Synthesis:
    """Fills schemas for one prompt; every name and number of the prompt is used once, in order."""

    def __init__(self, text: str, root: Mapping[str, Any], not_words: tuple[str, ...] = ()) -> None:
        words = dict.fromkeys([*_QUOTED.findall(text), *_NAME.findall(text)])
        self._words = [word for word in words if word not in not_words]
        self._numbers = _NUMBER.findall(text)
        self._root = root

    def fill(self, schema: Any, name: str = "value", depth: int = 0) -> Any:
        """A value for `schema`; `name` is the property it is for."""
        if not isinstance(schema, Mapping) or depth > 4 * _DEEPEST:
            return f"simulated {name}"
        schema = self._resolved(schema)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return self._choice(schema["enum"])
        for union in ("anyOf", "oneOf"):
            if schema.get(union):
                return self.fill(self._plainest(schema[union], depth), name, depth + 1)
        kind = _kind(schema)
        match kind:
            case "string":
                return self._string(schema, name)
            case "integer" | "number" as number:
                return self._number(schema, whole=number == "integer")
            case "boolean":
                return True
            case "null":
                return None
        return self._nested(schema, name, depth)

    def _nested(self, schema: Mapping[str, Any], name: str, depth: int) -> Any:
        if _kind(schema) == "object" or "properties" in schema:
            return self._object(schema, depth)
        if _kind(schema) == "array" or "items" in schema or "prefixItems" in schema:
            return self._array(schema, name, depth)
        return f"simulated {name}"

    def _resolved(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        for _ in range(16):
            reference = schema.get("$ref")
            if not isinstance(reference, str):
                break
            target: Any = self._root
            for step in reference.removeprefix("#").strip("/").split("/"):
                if step:
                    step = step.replace("~1", "/").replace("~0", "~")  # noqa: PLW2901 - JSON pointer escapes
                    target = target.get(step, {}) if isinstance(target, Mapping) else {}
            rest = {key: value for key, value in schema.items() if key != "$ref"}
            schema = {**target, **rest} if isinstance(target, Mapping) else rest
        parts = schema.get("allOf")
        if isinstance(parts, list):
            merged: dict[str, Any] = {key: value for key, value in schema.items() if key != "allOf"}
            for part in parts:
                resolved = self._resolved(part) if isinstance(part, Mapping) else {}
                properties = {**merged.get("properties", {}), **resolved.get("properties", {})}
                required = [*merged.get("required", []), *resolved.get("required", [])]
                merged = {**merged, **resolved, "properties": properties, "required": required}
            return merged
        return schema

    def _plainest(self, options: list[Any], depth: int) -> Any:
        empty = next((item for item in options if isinstance(item, Mapping) and item.get("type") == "null"), None)
        if empty is not None and depth >= _DEEPEST:
            return empty
        return next((item for item in options if item is not empty), options[0])

    def _choice(self, options: list[Any]) -> Any:
        for place, word in enumerate(self._words):
            for option in options:
                if isinstance(option, str) and option.lower() == word.lower():
                    del self._words[place]
                    return option
        return options[0]

    def _string(self, schema: Mapping[str, Any], name: str) -> str:
        if schema.get("format") in _FORMATS:
            return _FORMATS[schema["format"]]
        shortest, longest = int(schema.get("minLength", 0)), schema.get("maxLength")
        pattern = schema.get("pattern")
        examples = [schema.get("default"), *_listed(schema.get("examples"))]
        if isinstance(pattern, str):
            examples += [
                "simulated",
                "Simulated",
                "SIM",
                "sim-1",
                "A1",
                "1",
                "12345",
                "2026-11-20",
                "a" * max(1, shortest),
            ]
        for candidate in [*self._words, *examples]:
            if isinstance(candidate, str) and _fits(candidate, shortest, longest, pattern):
                if candidate in self._words:
                    self._words.remove(candidate)
                return candidate
        text = f"simulated {name}".ljust(shortest, ".")
        return text if longest is None else text[: int(longest)]

    def _number(self, schema: Mapping[str, Any], *, whole: bool) -> float | int:
        low, high = schema.get("minimum"), schema.get("maximum")
        above, below = _bound(schema.get("exclusiveMinimum")), _bound(schema.get("exclusiveMaximum"))
        step = schema.get("multipleOf")

        def allowed(value: float) -> bool:
            return (
                (low is None or value >= low)
                and (high is None or value <= high)
                and (above is None or value > above)
                and (below is None or value < below)
                and (not step or abs(value / step - round(value / step)) < 1e-9)
            )

        for place, text in enumerate(self._numbers):
            value = float(text)
            if allowed(value) and (not whole or value.is_integer()):
                del self._numbers[place]
                return int(value) if whole else value
        smallest = low if low is not None else (above + 1 if above is not None else None)
        largest = high if high is not None else (below - 1 if below is not None else None)
        unit = step or 1
        guesses = [42, 1, 0, unit]
        for bound, direction in ((smallest, 1), (largest, -1)):
            if bound is not None:
                multiple = -(-bound // unit) if direction == 1 else bound // unit
                guesses += [bound, multiple * unit]
        if smallest is not None and largest is not None:
            guesses.append((smallest + largest) / 2)
        value = next((guess for guess in guesses if allowed(guess)), 1)
        return int(value) if whole else float(value)

    def _array(self, schema: Mapping[str, Any], name: str, depth: int) -> list[Any]:
        first = [self.fill(item, name, depth + 1) for item in _listed(schema.get("prefixItems"))]
        wanted = max(int(schema.get("minItems", 0)), 0 if depth >= _DEEPEST else 1, len(first))
        if schema.get("maxItems") is not None:
            wanted = min(wanted, int(schema["maxItems"]))
        items = schema.get("items", {})
        while len(first) < wanted and items is not False:
            value = self.fill(items, name, depth + 1)
            if schema.get("uniqueItems") and value in first:
                value = f"{value} {len(first) + 1}" if isinstance(value, str) else len(first) + 1
            first.append(value)
        return first[:wanted]

    def _object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        properties = schema.get("properties") or {}
        required = _listed(schema.get("required"))
        names = [*properties] if depth < _DEEPEST else [name for name in properties if name in required]
        names += [name for name in required if isinstance(name, str) and name not in properties]
        return {name: self.fill(properties.get(name, {}), name, depth + 1) for name in names}


def value_for(schema: Mapping[str, Any], text: str, not_words: tuple[str, ...] = ()) -> Any:
    """A value that satisfies `schema`, with names and numbers of `text` where they fit, but none of `not_words`."""
    return Synthesis(text, schema, not_words).fill(schema)


def _kind(schema: Mapping[str, Any]) -> str | None:
    """The schema's type: the first that is not null, in lower case (Gemini writes capitals)."""
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((item for item in kind if item != "null"), "null")
    return kind.lower() if isinstance(kind, str) else None


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _bound(value: Any) -> float | None:
    """An exclusive bound; the boolean form of old drafts is ignored."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _fits(text: str, shortest: int, longest: Any, pattern: Any) -> bool:
    if len(text) < shortest or (longest is not None and len(text) > int(longest)):
        return False
    if not isinstance(pattern, str):
        return True
    try:
        return re.search(pattern, text) is not None
    except re.error:
        return True
