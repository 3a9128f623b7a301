"""JSON Schema ⇄ the OpenAPI subset that `parameters` and `responseSchema` take (types in capitals, `nullable`, no `$ref`,
no `additionalProperties`, no type lists …)."""

from __future__ import annotations

from typing import Any

from polyroute.dialects.gemini.names import invalid

_DEEPEST = 24
_SPELLINGS = {"any_of": "anyOf", "additional_properties": "additionalProperties"}
_KEPT = (
    "title", "description", "maxItems", "minItems", "minProperties", "maxProperties", "minLength", "maxLength", "pattern",
    "minimum", "maximum", "default", "example", "propertyOrdering",
)  # fmt: skip
_FORMATS = {"string": ("enum", "date-time"), "number": ("float", "double"), "integer": ("int32", "int64")}


_TYPES = frozenset({"string", "number", "integer", "boolean", "array", "object", "null", "type_unspecified"})


def check_schema(schema: Any, place: str) -> None:
    """Refuses what is no schema of either kind."""
    if schema is None or isinstance(schema, bool):
        return
    if not isinstance(schema, dict):
        raise invalid(f"Invalid value at '{place}': a schema is an object", place)
    types = schema.get("type")
    for given in types if isinstance(types, list) else [types] if types is not None else []:
        if not isinstance(given, str) or given.lower() not in _TYPES:
            kind = "type.googleapis.com/google.ai.generativelanguage.v1beta.Type"
            raise invalid(f"Invalid value at '{place}.type' ({kind}), \"{given}\"", f"{place}.type")
    properties = schema.get("properties")
    if properties is not None and not isinstance(properties, dict):
        raise invalid(f"Invalid value at '{place}.properties': properties are an object", f"{place}.properties")
    for name, inner in (properties or {}).items():
        check_schema(inner, f"{place}.properties.{name}")
    check_schema(schema.get("items"), f"{place}.items")


def from_openapi(schema: Any) -> Any:
    """A schema of the subset as JSON Schema; what is JSON Schema already stays as it is."""
    if isinstance(schema, list):
        return [from_openapi(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made: dict[str, Any] = {}
    for word, value in schema.items():
        name = str(_SPELLINGS.get(word, word))
        if name == "properties" and isinstance(value, dict):
            made[name] = {key: from_openapi(item) for key, item in value.items()}
        elif name in ("items", "anyOf", "additionalProperties"):
            made[name] = from_openapi(value)
        elif name == "type" and isinstance(value, str):
            made[name] = value.lower()
        elif name in ("maxItems", "minItems", "minLength", "maxLength") and isinstance(value, str) and value.isdigit():
            made[name] = int(value)  # 64-bit integers are strings in the API's JSON
        elif name != "nullable":
            made[name] = value
    if schema.get("nullable") is True:
        if isinstance(made.get("type"), str):
            made["type"] = [made["type"], "null"]
        elif "anyOf" in made:
            made["anyOf"] = [*made["anyOf"], {"type": "null"}]
    return made


def to_openapi(schema: dict[str, Any]) -> dict[str, Any]:
    """JSON Schema as far as the subset can say it. References are written out; what is recursive becomes an open object."""
    definitions = {
        f"#/{word}/{name}": item
        for word in ("$defs", "definitions")
        if isinstance(schema.get(word), dict)
        for name, item in schema[word].items()
    }
    return _subset(schema, definitions, ())


def _subset(schema: Any, definitions: dict[str, Any], trail: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(schema, dict) or len(trail) > _DEEPEST:
        return {"type": "OBJECT"} if schema is not True else {"type": "STRING"}
    reference = schema.get("$ref")
    if isinstance(reference, str):
        if reference in trail or reference not in definitions:
            return {"type": "OBJECT"}
        inner = definitions[reference]
        merged = {**inner, **{k: v for k, v in schema.items() if k != "$ref"}} if isinstance(inner, dict) else inner
        return _subset(merged, definitions, (*trail, reference))
    if isinstance(schema.get("allOf"), list):
        merged = {k: v for k, v in schema.items() if k != "allOf"}
        for item in schema["allOf"]:
            merged = _merge(merged, item)
        return _subset(merged, definitions, (*trail, "allOf"))
    options = schema.get("anyOf") or schema.get("oneOf")
    types = schema.get("type")
    if not isinstance(options, list) and isinstance(types, list) and len([t for t in types if t != "null"]) > 1:
        options = [{**schema, "type": name} for name in types]
    if isinstance(options, list) and options:
        return _union(options, schema, definitions, trail)
    return _node(schema, definitions, trail)


def _union(
    options: list[Any], schema: dict[str, Any], definitions: dict[str, Any], trail: tuple[str, ...]
) -> dict[str, Any]:
    """`anyOf` may have no sibling but a description; an option `null` becomes `nullable`."""
    real = [item for item in options if not (isinstance(item, dict) and item.get("type") == "null")]
    made: dict[str, Any]
    if len(real) == 1:
        made = _subset(real[0], definitions, (*trail, "anyOf"))
        if "description" in schema:
            made["description"] = schema["description"]
    else:
        made = {"anyOf": [_subset(item, definitions, (*trail, "anyOf")) for item in real]}
    if len(real) < len(options):
        made["nullable"] = True
    return made


def _node(schema: dict[str, Any], definitions: dict[str, Any], trail: tuple[str, ...]) -> dict[str, Any]:
    deeper = (*trail, "")
    types = schema.get("type")
    nullable = schema.get("nullable") is True
    if isinstance(types, list):
        nullable |= "null" in types
        types = next((name for name in types if name != "null"), "null")
    kind = str(types).lower() if types else _guess(schema)
    made: dict[str, Any] = {"type": "STRING" if kind == "null" else kind.upper()}
    made |= {word: schema[word] for word in _KEPT if word in schema}
    if nullable or kind == "null":
        made["nullable"] = True
    values = [schema["const"]] if "const" in schema else schema.get("enum")
    if isinstance(values, list):
        texts = [value for value in values if isinstance(value, str)]
        if kind == "string" and texts:
            made["enum"] = texts
            if None in values:
                made["nullable"] = True
        elif values:
            allowed = "Allowed values: " + ", ".join(str(value) for value in values)
            made["description"] = f"{made['description']} {allowed}" if made.get("description") else allowed
    if schema.get("format") in _FORMATS.get(kind, ()):
        made["format"] = schema["format"]
    if kind == "array":
        made["items"] = _subset(schema.get("items", True), definitions, deeper)
    properties = schema.get("properties")
    if kind == "object" and isinstance(properties, dict) and properties:
        made["properties"] = {name: _subset(item, definitions, deeper) for name, item in properties.items()}
        needed = [name for name in schema.get("required") or [] if name in properties]
        if needed:
            made["required"] = needed
    return made


def _guess(schema: dict[str, Any]) -> str:
    """The type that a node without one means."""
    if "properties" in schema or "additionalProperties" in schema:
        return "object"
    if "items" in schema:
        return "array"
    values = [schema["const"]] if "const" in schema else schema.get("enum") or [""]
    first = values[0]
    if isinstance(first, bool):
        return "boolean"
    if isinstance(first, int):
        return "integer"
    return "number" if isinstance(first, float) else "string"


def _merge(left: dict[str, Any], right: Any) -> dict[str, Any]:
    if not isinstance(right, dict):
        return left
    merged = {**left, **right}
    if isinstance(left.get("properties"), dict) and isinstance(right.get("properties"), dict):
        merged["properties"] = {**left["properties"], **right["properties"]}
    if isinstance(left.get("required"), list) and isinstance(right.get("required"), list):
        merged["required"] = list(dict.fromkeys(left["required"] + right["required"]))
    return merged
