"""Reading the fields of a caller's body as OpenAI does: what it refuses is refused in its words, naming the field."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

import msgspec

from polyroute.dialects.openai_chat.wire import NOT_JSON
from polyroute.types.errors import ErrorKind, PolyrouteError

_KINDS = {
    dict: "an object",
    list: "an array",
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a decimal",
}
_DATA_URL = re.compile(r"data:([^;,]*)((?:;[^;,]*)*),", re.DOTALL)
_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def invalid(message: str, param: str | None = None, code: str | None = None) -> PolyrouteError:
    """The refusal of a request."""
    return PolyrouteError(ErrorKind.INVALID_REQUEST, message, param=param, code=code)


def read_object(body: bytes) -> dict[str, Any]:
    """The JSON object that a request's body is."""
    try:
        value = msgspec.json.decode(body)
    except NOT_JSON as error:
        raise invalid("We could not parse the JSON body of your request. The API expects a JSON payload.") from error
    if not isinstance(value, dict):
        raise invalid(f"Invalid type for the request body: expected an object, but got {describe(value)} instead.")
    return value


def describe(value: Any) -> str:
    """A value's kind with its article, as OpenAI names it."""
    return "null" if value is None else _KINDS.get(type(value), "an unknown value")


def wrong_type(param: str, expected: str, value: Any) -> PolyrouteError:
    """The refusal of a value of another kind than expected."""
    return invalid(
        f"Invalid type for '{param}': expected {expected}, but got {describe(value)} instead.", param, "invalid_type"
    )


def missing(param: str) -> PolyrouteError:
    """The refusal of a body without a field that must be there."""
    return invalid(f"Missing required parameter: '{param}'.", param, "missing_required_parameter")


def unsupported_value(param: str, value: Any, supported: list[str] | tuple[str, ...]) -> PolyrouteError:
    """The refusal of a word that is none of the possible ones."""
    words = ", ".join(f"'{word}'" for word in supported)
    return invalid(f"Invalid value: '{value}'. Supported values are: {words}.", param, "invalid_value")


def text_of(value: Any, param: str) -> str:
    """A string that must be there."""
    if value is None:
        raise missing(param)
    if not isinstance(value, str):
        raise wrong_type(param, "a string", value)
    return value


def optional_text(value: Any, param: str) -> str | None:
    """A string or nothing."""
    return None if value is None else text_of(value, param)


def object_of(value: Any, param: str) -> dict[str, Any]:
    """An object that must be there."""
    if value is None:
        raise missing(param)
    if not isinstance(value, dict):
        raise wrong_type(param, "an object", value)
    return value


def list_of(value: Any, param: str) -> list[Any]:
    """An array that must be there."""
    if value is None:
        raise missing(param)
    if not isinstance(value, list):
        raise wrong_type(param, "an array", value)
    return value


def flag_of(value: Any, param: str) -> bool | None:
    """A boolean or nothing."""
    if value is None or isinstance(value, bool):
        return value
    raise wrong_type(param, "a boolean", value)


def integer_of(value: Any, param: str, low: int | None = None, high: int | None = None) -> int | None:
    """An integer within bounds, or nothing."""
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise wrong_type(param, "an integer", value)
    _bound(value, param, low, high, "integer")
    return value


def number_of(value: Any, param: str, low: float | None = None, high: float | None = None) -> float | None:
    """A number within bounds, or nothing."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise wrong_type(param, "a decimal", value)
    _bound(value, param, low, high, "decimal")
    return float(value)


def _bound(value: float, param: str, low: float | None, high: float | None, kind: str) -> None:
    if low is not None and value < low:
        message = f"Invalid '{param}': {kind} below minimum value. Expected a value >= {low}, but got {value} instead."
        raise invalid(message, param, f"{kind}_below_min_value")
    if high is not None and value > high:
        message = f"Invalid '{param}': {kind} above maximum value. Expected a value <= {high}, but got {value} instead."
        raise invalid(message, param, f"{kind}_above_max_value")


def tool_name_of(value: Any, param: str) -> str:
    """A function's name."""
    name = text_of(value, param)
    if not _TOOL_NAME.fullmatch(name):
        if len(name) > 64:
            message = (
                f"Invalid '{param}': string too long. Expected a string with maximum length 64, but got a string with"
            )
            raise invalid(f"{message} length {len(name)} instead.", param, "string_above_max_length")
        message = f"Invalid '{param}': string does not match pattern. Expected a string that matches the pattern"
        raise invalid(f"{message} '^[a-zA-Z0-9_-]+$'.", param, "invalid_value")
    return name


def schema_of(value: Any, what: str, param: str, *, code: str) -> dict[str, Any] | None:
    """A JSON Schema of an object, or nothing. `what` names it in messages, e.g. "function 'ocr'"."""
    if value is None:
        return None
    if not isinstance(value, dict):
        raise invalid(f"Invalid schema for {what}: {describe(value)} is not of type 'object', 'boolean'.", param, code)
    kind = value.get("type")
    unioned = any(name in value for name in ("anyOf", "oneOf", "allOf", "$ref"))
    if kind not in (None, "object") or (kind is None and value and not unioned and not value.get("properties")):
        shown = f'"{kind}"' if kind is not None else "None"
        raise invalid(
            f"Invalid schema for {what}: schema must be a JSON Schema of 'type: \"object\"', got 'type: {shown}'.",
            param,
            code,
        )
    for name, expected in (("properties", dict), ("required", list), ("$defs", dict)):
        if name in value and not isinstance(value[name], expected):
            problem = f"{describe(value[name])} is not of type '{'object' if expected is dict else 'array'}'"
            raise invalid(f"Invalid schema for {what}: In context=('{name}',), {problem}.", param, code)
    return value


def read_data_url(url: str, param: str, *, what: str = "image") -> tuple[str | None, str]:
    """Media type (None when it is not said) and base64 data of a data URL."""
    match = _DATA_URL.match(url)
    if match is None or "base64" not in match.group(2).lower().split(";"):
        raise invalid(
            f"Invalid '{param}'. Expected a base64-encoded data URL with an {what} MIME type (e.g."
            " 'data:image/png;base64,aW1nIGJ5dGVzIGhlcmU='), but got a value that is none.",
            param,
            "invalid_value",
        )
    data = url[match.end() :]
    check_base64(data, param, what=what)
    return match.group(1) or None, data


def check_base64(data: str, param: str, *, what: str) -> None:
    """Refuses what is not base64."""
    try:
        binascii.a2b_base64(data.encode("ascii"), strict_mode=True)
    except (binascii.Error, ValueError):
        try:  # without padding, or in the URL alphabet
            base64.b64decode(data + "=" * (-len(data) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError) as error:
            raise invalid(f"Invalid base64 {what}.", param, "invalid_base64") from error
    if not data:
        raise invalid(f"Invalid base64 {what}: the data is empty.", param, "invalid_base64")
