"""What Kie's records say: of unified jobs, and of each older product in its own way; pure."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import msgspec

from polyroute.ports import Headers
from polyroute.providers.media.tables import load_table
from polyroute.providers.media.verdicts import filtered, gone_wrong, is_moderation, money, unreadable
from polyroute.providers.retry_after import retry_after
from polyroute.types.errors import ErrorKind, Failure

_KINDS: dict[int, tuple[ErrorKind, str]] = {
    401: (ErrorKind.CREDENTIAL_REJECTED, "The provider refused the credential."),
    402: (ErrorKind.QUOTA_EXHAUSTED, "The account has no credit."),
    404: (ErrorKind.MODEL_NOT_FOUND, "The provider does not have this model."),
    422: (ErrorKind.INVALID_REQUEST, ""),
    429: (ErrorKind.RATE_LIMITED, "The provider throttles requests."),
    433: (ErrorKind.QUOTA_EXHAUSTED, "The key's own limit is used up."),
    451: (ErrorKind.INVALID_REQUEST, "The provider could not fetch an input."),
    455: (ErrorKind.UNAVAILABLE, "The provider is under maintenance."),
    501: (ErrorKind.GENERATION_FAILED, "The generation failed."),
    505: (ErrorKind.UNSUPPORTED, "The provider has switched this off."),
    531: (ErrorKind.GENERATION_FAILED, "The generation failed."),
}
_WORD = re.compile(r"[A-Za-z_]\w+")
_MODERATED = frozenset({"SENSITIVE_WORD_ERROR"})
_FAILED = frozenset({"fail", "failed", "CREATE_TASK_FAILED", "GENERATE_AUDIO_FAILED", "CALLBACK_EXCEPTION"})
_WAITING = frozenset({"waiting", "queuing", "wait", "queueing", "PENDING"})


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """How far a task is; `credits` and what was made when it is over."""

    over: bool = False
    running: bool = False
    percent: float | None = None
    urls: tuple[str, ...] = ()
    text: str | None = None
    seconds: float | None = None
    credits: Decimal | None = None


def fault(code: int, text: str, headers: Headers, status: int | None = None) -> Failure:
    """What a body's code means."""
    kind, message = _KINDS.get(code, (ErrorKind.INVALID_REQUEST if 400 <= code < 500 else ErrorKind.UNAVAILABLE, ""))
    param = None
    if kind is ErrorKind.INVALID_REQUEST:
        if is_moderation(text):
            kind, message = ErrorKind.CONTENT_FILTERED, "The provider's safety check refused this."
        else:
            table = load_table("kie")
            param = next((intent for word in _WORD.findall(text) if (intent := table.intent_of(word))), None)
    return Failure(
        kind=kind, message=message or f"The provider says: {text[:300]}", http_status=status or code, code=str(code),
        param=param, detail=text[:2000],
        retry_after=retry_after(headers, None, text, time.time) if code == 429 else None,
    )  # fmt: skip


def job_report(data: dict[str, Any]) -> Report:
    """A record of the unified jobs; its result is JSON in a string. Raises AttemptFailed for a task that failed."""
    state = str(data.get("state"))
    credits_, percent = money(data.get("creditsConsumed")), data.get("progress")
    if state == "success":
        result = _decoded(data.get("resultJson")) or {}
        made = result.get("resultObject") or {}
        text = made.get("text") if isinstance(made, dict) else str(made)
        return Report(over=True, urls=tuple(_addresses(result.get("resultUrls"))), text=text, credits=credits_)
    _raise_failed(state, str(data.get("failMsg") or ""), str(data.get("failCode") or ""))
    if state not in _WAITING and state not in ("generating", "processing"):
        raise unreadable("The task has a state that is not known.", state)
    return Report(
        running=state not in _WAITING,
        percent=min(float(percent), 99.0) if isinstance(percent, int | float) else None,
    )


def product_report(data: dict[str, Any]) -> Report:
    """A record of Veo, 4o image, Flux Kontext, Suno, Runway, Aleph or Midjourney. Raises AttemptFailed for one that failed."""
    flag, credits_ = data.get("successFlag"), money(data.get("creditsConsumed"))
    state = str(data.get("status") or data.get("state") or "")
    text = str(data.get("errorMessage") or data.get("failMsg") or "")
    _raise_failed(state, text, str(data.get("errorCode") or data.get("failCode") or state))
    if flag in (2, 3):
        raise gone_wrong("The task failed.", text, str(data.get("errorCode") or flag))
    if flag != 1 and state not in ("SUCCESS", "success"):
        return Report(running=state not in _WAITING, percent=_percent(data.get("progress")))
    response = _decoded(data.get("response")) or {}
    found = [
        url
        for holder in (response, data, data.get("videoInfo") or {}, _decoded(data.get("resultInfoJson")) or {})
        for name in ("resultUrls", "result_urls", "resultImageUrl", "videoUrl", "resultVideoUrl")
        for url in _addresses(_decoded(holder.get(name)) if isinstance(holder, dict) else None)
    ]
    songs = response.get("sunoData") or ()
    found += [str(one["audioUrl"]) for one in songs if one.get("audioUrl")]
    seconds = sum(float(one.get("duration") or 0) for one in songs) or None
    return Report(over=True, urls=tuple(dict.fromkeys(found)), credits=credits_, seconds=seconds)


def _raise_failed(state: str, text: str, code: str) -> None:
    if state in _MODERATED:
        raise filtered(text, state)
    if state in _FAILED:
        raise filtered(text, code) if code == "400" else gone_wrong("The task failed.", text, code)


def _percent(given: Any) -> float | None:
    """Products count from "0.00" to "1.00"."""
    found = money(given)
    return None if found is None else min(float(found) * 100, 99.0)


def _decoded(given: Any) -> Any:
    """JSON in a string; what is none stays as it is."""
    if isinstance(given, str) and given.lstrip().startswith(("{", "[")):
        try:
            return msgspec.json.decode(given)
        except msgspec.MsgspecError:
            return given
    return given


def _addresses(given: Any) -> Iterator[str]:
    match given:
        case str() if given.startswith(("https://", "http://")):
            yield given
        case list():
            for item in given:
                yield from _addresses(item)
        case {"resultUrl": str(url)}:
            yield url
        case _:
            return
