"""Reads the many shapes in which providers report an error: message, codes, the field at fault."""

from __future__ import annotations

import html
import re
from typing import Any

import msgspec

from polyroute.ports import Headers

_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<(script|style).*?</\1>|<[^>]+>", re.IGNORECASE | re.DOTALL)
_NESTED_LIMIT = 8


class ErrorBody(msgspec.Struct, kw_only=True):
    """What an error body says. `codes` holds every machine-readable word in lower case; `code` is the most telling one;
    `retry_delay` is the wait in seconds that the body asks for."""

    message: str = ""
    code: str | None = None
    param: str | None = None
    codes: set[str] = msgspec.field(default_factory=set)
    retry_delay: float | None = None
    per_day: bool = False
    retryable: bool = False


def read_error_body(headers: Headers, body: bytes) -> ErrorBody:
    """Never fails: what is no JSON is text or HTML."""
    found = ErrorBody()
    for name, value in headers:
        if name == b"x-amzn-errortype":
            found.code = value.decode("latin-1").partition(":")[0].rpartition("#")[2]
            found.codes.add(found.code.lower())
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found.message = _plain(body.decode("utf-8", "replace"))
        return found
    _read(value, found, 0)
    found.message = " ".join(found.message.split())
    return found


def _plain(text: str) -> str:
    title = _TITLE.search(text)
    if title:
        text = title.group(1)
    elif "<" in text[:200]:
        text = _TAG.sub(" ", text)
    return " ".join(html.unescape(text).split())


def _read(value: Any, found: ErrorBody, depth: int) -> None:
    if depth > _NESTED_LIMIT:
        return
    match value:
        case str():
            _say(found, value)
        case list():
            _read_list(value, found, depth)
        case dict():
            _read_object(value, found, depth)
        case _:
            pass


def _say(found: ErrorBody, text: str) -> None:
    """Add a sentence that is not there yet."""
    text = text.strip()
    if text and text not in found.message:
        found.message = f"{found.message}: {text}" if found.message else text


def _read_list(items: list[Any], found: ErrorBody, depth: int) -> None:
    """Google's one-element list around an error, or a list of complaints (FastAPI's `loc` and `msg`)."""
    for item in items[:5]:
        if isinstance(item, dict) and isinstance(item.get("msg"), str):
            location = ".".join(str(step) for step in item.get("loc") or ())
            _say(found, f"{location}: {item['msg']}" if location else item["msg"])
            found.param = found.param or location or None
        else:
            _read(item, found, depth + 1)


def _read_object(value: dict[str, Any], found: ErrorBody, depth: int) -> None:
    for name in (
        "code",
        "status",
        "type",
        "__type",
        "error_code",
        "reason",
        "limit_source",
        "error_type",
        "error_category",
    ):
        _add_code(found, name, value.get(name))
    for name in ("error", "message", "errors", "detail", "title", "msg", "issues", "innererror", "details", "output"):
        inner = value.get(name)
        if name == "details" and isinstance(inner, list):
            _read_details(inner, found)
        elif name in {"details", "innererror"} and not isinstance(inner, str):
            _codes_only(inner, found)
        elif name == "title" and found.message:
            continue
        elif inner is not None and not isinstance(inner, (int, float)):
            _read(inner, found, depth + 1)
    param = value.get("param")
    if isinstance(param, str) and param and not param.isdigit():
        found.param = found.param or param
    _read_metadata(value, found, depth)
    availability = value.get("availability")
    if isinstance(availability, dict):
        _add_code(found, "code", availability.get("code"))
        found.retryable = found.retryable or availability.get("retryable") is True
        found.retry_delay = _seconds(availability.get("retry_after")) or found.retry_delay


def _read_metadata(value: dict[str, Any], found: ErrorBody, depth: int) -> None:
    """OpenRouter: what the provider behind it said is JSON text in `metadata.raw`."""
    metadata = value.get("metadata")
    if not isinstance(metadata, dict):
        return
    for name in ("error_type", "limit_source", "provider_code", "reason"):
        _add_code(found, name, metadata.get(name))
    if "reasons" in metadata and "flagged_input" in metadata:
        found.codes.add("moderation")
    raw = metadata.get("raw")
    if isinstance(raw, str):
        try:
            _read(msgspec.json.decode(raw), found, depth + 1)
        except (msgspec.DecodeError, RecursionError):
            _say(found, _plain(raw))
    elif raw is not None:
        _read(raw, found, depth + 1)


def _add_code(found: ErrorBody, name: str, code: Any) -> None:
    if not isinstance(code, str) or not code or len(code) > 80 or " " in code.strip():
        return
    code = code.rpartition("#")[2].partition(":")[0]
    found.codes.add(code.lower())
    vague = found.code is None or found.code.lower() in {"invalid_request_error", "invalid_argument", "error"}
    if not code.isdigit() and (vague or name == "code"):
        found.code = code


def _codes_only(value: Any, found: ErrorBody) -> None:
    if isinstance(value, dict):
        for name in ("code", "error_code", "reason", "type"):
            _add_code(found, "", value.get(name))


def _read_details(details: list[Any], found: ErrorBody) -> None:
    """google.rpc details: ErrorInfo.reason, RetryInfo.retryDelay, QuotaFailure.violations."""
    for detail in details:
        if not isinstance(detail, dict):
            continue
        _add_code(found, "reason", detail.get("reason"))
        found.retry_delay = _seconds(detail.get("retryDelay")) or found.retry_delay
        for violation in detail.get("violations") or ():
            if isinstance(violation, dict) and "PerDay" in str(violation.get("quotaId")):
                found.per_day = True


def _seconds(value: Any) -> float | None:
    """37, "37" or "37.5s" as seconds."""
    try:
        seconds = float(value.removesuffix("s") if isinstance(value, str) else value)
    except (TypeError, ValueError):
        return None
    return seconds if seconds > 0 else None
