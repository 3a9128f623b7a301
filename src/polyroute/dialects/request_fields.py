"""Typed access to the fields of a caller's request: what is not as the API wants it becomes an `invalid_request` naming it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NoReturn

import msgspec

from polyroute.types.chat import Message, ProviderState
from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.operations import Dialect


def refusal(message: str, param: str | None = None) -> PolyrouteError:
    """The refusal of a request."""
    return PolyrouteError(ErrorKind.INVALID_REQUEST, message, param=param)


def refuse(message: str, param: str | None = None) -> NoReturn:
    """Raise the refusal of a request."""
    raise refusal(message, param)


def read_object(body: bytes) -> dict[str, Any]:
    """The request body, which has to be a JSON object."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PolyrouteError(ErrorKind.INVALID_REQUEST, f"invalid JSON: {error}") from None
    if not isinstance(value, dict):
        refuse("the request body must be a JSON object")
    return value


class Fields:
    """The fields of one JSON object of a request. Reading takes them out; `rest` is what nobody asked for.

    null counts as absent. `path` is where the object stands, for messages ("messages[2]").
    """

    __slots__ = ("_path", "_values")

    def __init__(self, values: Any, path: str = "") -> None:
        if not isinstance(values, dict):
            refuse(f"{path or 'the request'} must be an object", path or None)
        self._values: dict[str, Any] = dict(values)
        self._path = path

    def path(self, name: str) -> str:
        """Where a field stands."""
        return f"{self._path}.{name}" if self._path else name

    def take(self, name: str) -> Any:
        """Any value, None when absent."""
        return self._values.pop(name, None)

    def text(self, name: str) -> str | None:
        """A string."""
        value = self.take(name)
        if value is not None and not isinstance(value, str):
            refuse(f"{self.path(name)} must be a string", self.path(name))
        return value

    def required_text(self, name: str) -> str:
        """A string that has to be there and not be empty."""
        value = self.text(name)
        if not value:
            refuse(f"{self.path(name)} is required", self.path(name))
        return value

    def flag(self, name: str) -> bool | None:
        """A boolean."""
        value = self.take(name)
        if value is not None and not isinstance(value, bool):
            refuse(f"{self.path(name)} must be true or false", self.path(name))
        return value

    def number(self, name: str) -> float | None:
        """A number."""
        value = self.take(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            refuse(f"{self.path(name)} must be a number", self.path(name))
        return value

    def integer(self, name: str) -> int | None:
        """A whole number, also where it is written as 5.0."""
        value = self.number(name)
        if value is None:
            return None
        if value != int(value):
            refuse(f"{self.path(name)} must be an integer", self.path(name))
        return int(value)

    def items(self, name: str) -> list[Any]:
        """A list, [] when absent."""
        value = self.take(name)
        if value is None:
            return []
        if not isinstance(value, list):
            refuse(f"{self.path(name)} must be a list", self.path(name))
        return value

    def object(self, name: str) -> dict[str, Any] | None:
        """An object, None when absent."""
        value = self.take(name)
        if value is not None and not isinstance(value, dict):
            refuse(f"{self.path(name)} must be an object", self.path(name))
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """A string or a list of strings."""
        value = self.take(name)
        if value is None:
            return ()
        if isinstance(value, str):
            return (value,)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            refuse(f"{self.path(name)} must be a string or a list of strings", self.path(name))
        return tuple(value)

    def rest(self) -> dict[str, Any]:
        """The fields that were not taken, nulls left out."""
        return {name: value for name, value in self._values.items() if value is not None}


def json_text(value: Any) -> str:
    """Compact JSON."""
    return msgspec.json.encode(value).decode()


def arguments_object(arguments: str) -> tuple[dict[str, Any], bool]:
    """A call's arguments as the object that some dialects want, and whether the text was one: "" counts as {}, anything
    else is kept as {"_raw": text}."""
    if not arguments.strip():
        return {}, True
    try:
        value = msgspec.json.decode(arguments)
    except (msgspec.DecodeError, RecursionError):
        return {"_raw": arguments}, False
    return (value, True) if isinstance(value, dict) else ({"_raw": arguments}, False)


def join_tool_turns(messages: Iterable[Message]) -> tuple[Message, ...]:
    """Neighbouring tool messages as one turn, as the canonical form has them."""
    joined: list[Message] = []
    for message in messages:
        if message.role == "tool" and joined and joined[-1].role == "tool":
            joined[-1] = Message(role="tool", parts=joined[-1].parts + message.parts)
        else:
            joined.append(message)
    return tuple(joined)


class Losses:
    """Collects what a rendering could not express: parameters by name, and notes on what was changed; each once."""

    def __init__(self) -> None:
        self._dropped: dict[str, None] = {}
        self._notes: dict[str, None] = {}

    def drop(self, name: str, *, when: bool = True) -> None:
        """A parameter is lost."""
        if when:
            self._dropped[name] = None

    def note(self, text: str, *, when: bool = True) -> None:
        """Something was changed to fit."""
        if when:
            self._notes[text] = None

    def state(self, state: ProviderState | None, own: Dialect) -> dict[str, Any] | None:
        """A part's state where it is this dialect's own; a foreign one is removed with a note."""
        if state is None:
            return None
        if state.dialect == own:
            return state.fields
        self.note(f"state of {state.dialect} removed")
        return None

    def foreign_extra(self, extra: dict[str, dict[str, Any]], own: Iterable[Dialect]) -> dict[str, Any]:
        """The caller's own fields for these dialects; the names of all others are lost."""
        mine: dict[str, Any] = {}
        names = set(own)
        for dialect, fields in extra.items():
            if dialect in names:
                mine.update(fields)
            else:
                for name in fields:
                    self.drop(name)
        return mine

    @property
    def dropped(self) -> tuple[str, ...]:
        """The names, in order."""
        return tuple(self._dropped)

    @property
    def notes(self) -> tuple[str, ...]:
        """The notes, in order."""
        return tuple(self._notes)
