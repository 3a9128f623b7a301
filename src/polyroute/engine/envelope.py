"""The envelope: a caller's request read just as far as routing needs, with its body kept as bytes."""

from __future__ import annotations

import os
import secrets
import time

import msgspec

from polyroute.ports import NO_OPTIONS, Call, Headers, Options
from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.operations import OPERATION_OF, Dialect
from polyroute.types.records import KeyRecord

_FIELDS: msgspec.json.Decoder[dict[str, msgspec.Raw]] = msgspec.json.Decoder(dict[str, msgspec.Raw])
_STRING = msgspec.json.Decoder(str)
_FLAG: msgspec.json.Decoder[bool | None] = msgspec.json.Decoder(bool | None)
_OPTIONS = msgspec.json.Decoder(Options)

ALWAYS_STREAMED = frozenset({Dialect.OPENAI_SPEECH})
"""Dialects whose answer is handed on as it arrives although no field asks for it."""


STREAMED_UNLESS_TOLD = frozenset({Dialect.OLLAMA, Dialect.OLLAMA_GENERATE})
"""Dialects that stream when no field says otherwise."""


_RANDOM_PAGE = 512
"""Ids for which random bits are taken from the operating system at once: a system call for each of them costs more than the
rest of the envelope."""

_random: list[str] = []
"""Sixteen hexadecimal digits each, to be used once."""
os.register_at_fork(after_in_child=_random.clear)  # a forked worker must not repeat its parent's ids


def new_request_id() -> str:
    """An id that sorts by time: milliseconds since the epoch and 64 random bits."""
    try:
        bits = _random.pop()
    except IndexError:
        page = secrets.token_hex(8 * _RANDOM_PAGE)
        _random.extend([page[start : start + 16] for start in range(0, len(page), 16)])
        bits = _random.pop()
    return f"req_{time.time_ns() // 1_000_000:011x}{bits}"


def invalid(message: str, param: str | None = None) -> PolyrouteError:
    """A refusal of what the caller sent."""
    return PolyrouteError(ErrorKind.INVALID_REQUEST, message, param=param)


def read_fields(body: bytes) -> dict[str, msgspec.Raw]:
    """The top-level fields of a JSON object, unparsed. Where a name stands twice the last one counts, here and upstream."""
    try:
        return _FIELDS.decode(body)
    except msgspec.ValidationError as error:
        raise invalid("The request body must be a JSON object.") from error
    except RecursionError as error:
        raise invalid("The request body is nested too deeply.") from error
    except ValueError as error:  # msgspec.DecodeError and UnicodeDecodeError
        what = "empty" if not body.strip() else f"not valid JSON: {error}"
        raise invalid(f"The request body is {what}.") from error


def read_string(fields: dict[str, msgspec.Raw], name: str) -> str | None:
    """A text field; None when it is absent."""
    raw = fields.get(name)
    if raw is None:
        return None
    try:
        return _STRING.decode(raw)
    except (msgspec.MsgspecError, ValueError) as error:
        raise invalid(f"'{name}' must be a string.", name) from error


def read_flag(fields: dict[str, msgspec.Raw], name: str, *, default: bool = False) -> bool:
    """A yes/no field; absent and null mean the default."""
    raw = fields.get(name)
    if raw is None:
        return default
    try:
        given = _FLAG.decode(raw)
    except (msgspec.MsgspecError, ValueError) as error:
        raise invalid(f"'{name}' must be true or false.", name) from error
    return default if given is None else given


def read_options(raw: msgspec.Raw | str | None, headers: dict[str, str] | None) -> Options:
    """The caller's wishes: a `polyroute` object as JSON, or else `x-polyroute-*` headers (names without that prefix). An
    explanation may be asked for by header besides."""
    if raw is None:
        return options_from_headers(headers) if headers else NO_OPTIONS
    try:
        options = _OPTIONS.decode(raw)
    except (msgspec.MsgspecError, ValueError) as error:
        raise invalid(f"'polyroute': {error}", "polyroute") from error
    if headers and "explain" in headers:
        return msgspec.structs.replace(options, explain=options_from_headers({"explain": headers["explain"]}).explain)
    return options


def options_from_headers(headers: dict[str, str]) -> Options:
    """Options from `x-polyroute-*` headers (names without that prefix): lists are comma-separated, tags `name=value`."""
    values: dict[str, object] = {}
    for name, text in headers.items():
        if name in ("require", "fallbacks"):
            values[name] = [item.strip() for item in text.split(",") if item.strip()]
        elif name == "tags":
            values[name] = dict(item.strip().partition("=")[::2] for item in text.split(",") if item.strip())
        else:
            values[name] = text
    try:
        return msgspec.convert(values, Options, strict=False)
    except msgspec.ValidationError as error:
        raise invalid(f"x-polyroute headers: {error}") from error


def json_call(
    body: bytes,
    dialect: Dialect,
    *,
    request_id: str,
    key: KeyRecord | None = None,
    option_headers: dict[str, str] | None = None,
    forward: Headers | None = None,
    model: str | None = None,
    stream: bool | None = None,
) -> Call:
    """The envelope of a JSON request; `model` and `stream` are given where the dialect has them in the URL.

    Raises PolyrouteError(invalid_request) naming the field.
    """
    fields = read_fields(body)
    given = fields.pop("polyroute", None)
    options = read_options(given, option_headers) if given is not None or option_headers else NO_OPTIONS
    if model is None:
        model = read_string(fields, "model")
        if not model:
            raise invalid("'model' is required: the name of a route, or provider/model.", "model")
    if stream is None:
        stream = dialect in ALWAYS_STREAMED
        if not stream and ("stream" in fields or dialect in STREAMED_UNLESS_TOLD):
            stream = read_flag(fields, "stream", default=dialect in STREAMED_UNLESS_TOLD)
    return Call(
        id=request_id, operation=OPERATION_OF[dialect], dialect=dialect, model=model, stream=stream, body=body,
        content_type=b"application/json", fields=fields, options=options, key=key, forward=forward or [],
    )  # fmt: skip
