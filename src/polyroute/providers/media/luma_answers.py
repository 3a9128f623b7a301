"""What Luma's two APIs have in common: refusals, how strongly a film is changed, options laid over a body; pure."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from polyroute.providers.media.tables import load_table
from polyroute.providers.media.verdicts import filtered, gone_wrong, is_moderation
from polyroute.types.errors import AttemptFailed, ErrorKind, Failure
from polyroute.types.media import MediaInput, MediaRequest
from polyroute.types.usage import Usage

_STRENGTHS = tuple(f"{word}_{number}" for word in ("adhere", "flex", "reimagine") for number in (1, 2, 3))
"""How far an edit may go from its source, least first."""
_MONEY = ("credit", "balance", "fund", "billing", "budget")
_WORD = re.compile(r"[A-Za-z_][\w.]*")
_INPUTS = frozenset({"image_too_large", "unsupported_format", "corrupt_input"})


def strength_word(strength: float) -> str:
    """The one of nine grades that a strength from 0 to 1 falls into.

    >>> strength_word(0.0), strength_word(0.5), strength_word(1.0)
    ('adhere_1', 'flex_2', 'reimagine_3')
    """
    return _STRENGTHS[min(int(strength * len(_STRENGTHS)), len(_STRENGTHS) - 1)]


def one_source(request: MediaRequest) -> MediaRequest:
    """The first picture is what is changed; those after it are references."""
    if len(request.given("image")) < 2:
        return request
    seen, inputs = False, list[MediaInput]()
    for item in request.inputs:
        again = item.role == "image" and seen
        inputs.append(msgspec.structs.replace(item, role="reference") if again else item)
        seen = seen or item.role == "image"
    return msgspec.structs.replace(request, inputs=tuple(inputs))


def laid_over(body: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
    """A body with the caller's own fields over it, object by object.

    >>> laid_over({"video": {"duration": "5s"}}, {"video": {"hdr": True}})
    {'video': {'duration': '5s', 'hdr': True}}
    """
    found = dict(body)
    for name, value in extra.items():
        mine = found.get(name)
        found[name] = laid_over(mine, value) if isinstance(mine, dict) and isinstance(value, dict) else value
    return found


def usage_of(data: dict[str, Any], count: int) -> Usage:
    """Luma says nothing of what it charges: what was made is measured. `data` is the handle's."""
    if data.get("kind") == "image":
        return Usage(images=count, image_size=data.get("size"))
    return Usage(video_seconds=data.get("seconds"), video_size=data.get("size"))


def measures(request: MediaRequest, fields: dict[str, Any]) -> dict[str, Any]:
    """What a handle remembers for the usage: the length that was ordered in seconds, and the class of size."""
    film = fields.get("video") if isinstance(fields.get("video"), dict) else fields
    told = str((film or {}).get("duration") or "").rstrip("s")
    return {
        "kind": "image" if "image" in request.task else "video", "size": (film or {}).get("resolution"),
        "seconds": float(told) if told.replace(".", "", 1).isdecimal() else None,
    }  # fmt: skip


def ended_badly(code: str | None, reason: str, param: str | None = None) -> AttemptFailed:
    """Why an accepted generation failed, by `failure_code`; by the words of `failure_reason` where there is no code."""
    match code:
        case "content_moderated":
            return filtered(reason, code)
        case "budget_exhausted":
            kind, message = ErrorKind.QUOTA_EXHAUSTED, "The account's budget is used up."
        case "rate_limited":
            kind, message = ErrorKind.RATE_LIMITED, "The provider throttles requests."
        case "invalid_request":
            kind, message = ErrorKind.INVALID_REQUEST, f"The provider says: {reason[:300]}"
        case str() if code in _INPUTS:
            kind, message = ErrorKind.INVALID_REQUEST, f"The provider cannot use an input: {code}. {reason[:300]}"
        case _:
            return gone_wrong("The generation failed.", reason, code)
    named = param if code in _INPUTS else None
    return AttemptFailed(Failure(kind=kind, message=message, code=code, param=named, detail=reason[:2000]))


def read_refusal(table: str, status: int, body: bytes) -> Failure | None:
    """An error answer of either API: `detail` is a sentence, or FastAPI's list. None leaves it to the usual classification."""
    place, text = _said(body)
    kind, param = ErrorKind.INVALID_REQUEST, None
    if status == 402 or (status in (400, 403) and any(word in text.lower() for word in _MONEY)):
        kind, message = ErrorKind.QUOTA_EXHAUSTED, "The account has no credit."
    elif status in (400, 403, 422) and is_moderation(text):
        return msgspec.structs.replace(filtered(text).failure, http_status=status)
    elif status in (400, 422):
        words = (place, *_WORD.findall(text)) if place else _WORD.findall(text)
        param = next((found for word in words if (found := load_table(table).intent_of(word.strip(".")))), None)
        message = f"The provider says: {text[:300]}"
    else:
        return None
    return Failure(kind=kind, message=message, http_status=status, param=param, detail=text[:2000])


def _said(body: bytes) -> tuple[str, str]:
    """The field that a refusal names, and what it says."""
    try:
        told = msgspec.json.decode(body)
    except msgspec.MsgspecError:
        return "", body[:300].decode("utf-8", "replace")
    detail = told.get("detail") or told.get("message") or told.get("error") if isinstance(told, dict) else None
    if isinstance(detail, list) and detail and isinstance(detail[0], dict):
        place = [str(part) for part in detail[0].get("loc") or () if part != "body"]
        return ".".join(place), f"{'.'.join(place)}: {detail[0].get('msg')}"
    return "", detail if isinstance(detail, str) else msgspec.json.encode(detail).decode()
