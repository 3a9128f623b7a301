"""What fal's models answer: files in a dozen places, transcripts in two shapes, errors in two more; pure."""

from __future__ import annotations

import time
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from polyroute.ports import Headers, Reply
from polyroute.providers.media.tables import load_table
from polyroute.providers.media.verdicts import filtered, is_moderation, unreadable
from polyroute.providers.retry_after import retry_after
from polyroute.types.errors import ErrorKind, Failure
from polyroute.types.media import Handle, Outcome, Produced, Segment, Task, Transcript, Voice, Word
from polyroute.types.usage import Usage

_BY_TYPE: dict[str, ErrorKind] = {
    "content_policy_violation": ErrorKind.CONTENT_FILTERED,
    "no_media_generated": ErrorKind.GENERATION_FAILED,
    "generation_timeout": ErrorKind.GENERATION_FAILED,
    "internal_server_error": ErrorKind.GENERATION_FAILED,
    "downstream_service_error": ErrorKind.GENERATION_FAILED,
    "downstream_service_unavailable": ErrorKind.GENERATION_FAILED,
    "feature_not_supported": ErrorKind.UNSUPPORTED,
    "missing": ErrorKind.UNSUPPORTED,
    "request_timeout": ErrorKind.TIMEOUT,
    "startup_timeout": ErrorKind.TIMEOUT,
    "concurrent_requests_limit": ErrorKind.RATE_LIMITED,
}
_BY_STATUS: dict[int, ErrorKind] = {
    401: ErrorKind.CREDENTIAL_REJECTED,
    402: ErrorKind.QUOTA_EXHAUSTED,
    403: ErrorKind.CREDENTIAL_REJECTED,
    404: ErrorKind.MODEL_NOT_FOUND,
    422: ErrorKind.INVALID_REQUEST,
    429: ErrorKind.RATE_LIMITED,
    504: ErrorKind.TIMEOUT,
}
_WORDS: dict[ErrorKind, str] = {
    ErrorKind.CONTENT_FILTERED: "The provider's safety check refused this.",
    ErrorKind.CREDENTIAL_REJECTED: "The provider refused the credential.",
    ErrorKind.QUOTA_EXHAUSTED: "The account has no credit.",
    ErrorKind.MODEL_NOT_FOUND: "The provider does not have this model.",
    ErrorKind.RATE_LIMITED: "The provider throttles requests.",
}


def read_failure(status: int, headers: Headers, body: bytes) -> Failure | None:
    """An error of a model (a list under `detail`) or of the platform (`detail` as text, `error_type`). None for what is
    neither."""
    try:
        told = msgspec.json.decode(body)
    except msgspec.MsgspecError:
        return None
    detail = told.get("detail") if isinstance(told, dict) else None
    if isinstance(detail, list) and detail and isinstance(detail[0], dict):
        first = detail[0]
        code, text = str(first.get("type") or ""), str(first.get("msg") or "")
        param = _param(first.get("loc"))
    elif isinstance(detail, str):
        code, text, param = str(told.get("error_type") or ""), detail, None
    else:
        return None
    kind = _BY_TYPE.get(code) or _BY_STATUS.get(status)
    if status in (402, 403) and "balance" in text.lower():
        kind = ErrorKind.QUOTA_EXHAUSTED
    if kind is ErrorKind.INVALID_REQUEST and is_moderation(f"{code} {text}"):
        kind = ErrorKind.CONTENT_FILTERED
    if kind is None:
        kind = ErrorKind.INVALID_REQUEST if status < 500 else ErrorKind.UNAVAILABLE
    about = f"'{param}': " if param else ""
    return Failure(
        kind=kind, message=_WORDS.get(kind) or f"The provider says: {about}{text[:300]}", http_status=status,
        code=code or None, param=param, detail=f"{code}: {text}"[:2000],
        retry_after=retry_after(headers, None, text, time.time) if status == 429 else None,
    )  # fmt: skip


def _param(location: Any) -> str | None:
    names = [part for part in location or () if isinstance(part, str) and part != "body"]
    return (load_table("fal").intent_of(names[0]) or names[0]) if names else None


def outcome_of(reply: Reply, handle: Handle, unit_price: Decimal | None) -> Outcome:
    """A result with what it cost. Raises AttemptFailed."""
    told, task = reply.json(), Task(handle.data["task"])
    if not isinstance(told, dict):
        raise unreadable("The result is no object.")
    usage = _usage(reply, handle, unit_price)
    if task in (Task.TRANSCRIBE, Task.TRANSLATE):
        transcript = _transcript(told, words=bool(handle.data.get("words")))
        usage = msgspec.structs.replace(usage, seconds=transcript.duration)
        return Outcome(transcript=transcript, usage=usage, upstream_id=handle.id, model=handle.data["model"])
    if task is Task.CLONE_VOICE:
        identifier = told.get("custom_voice_id") or told.get("voice_id") or told.get("voice")
        if not identifier:
            raise unreadable("The provider gave no voice.")
        name = str(handle.data.get("voice_name") or identifier)
        return Outcome(voice=Voice(id=str(identifier), name=name, cloned=True), usage=usage, upstream_id=handle.id)
    flags = told.get("has_nsfw_concepts") or ()
    produced = [file for name, value in told.items() if name not in ("thumbnail", "mask") for file in _files(value)]
    if flags and all(flags) and len(flags) >= len(produced):
        raise filtered("every picture was flagged")
    if "image" in task:
        usage = msgspec.structs.replace(usage, images=len(produced), image_size=_size(told))
    return Outcome(produced=tuple(produced), usage=usage, upstream_id=handle.id, model=handle.data["model"])


def _files(value: Any) -> Iterator[Produced]:
    """Files are objects with a `url`, alone or in a list; some models put the hexadecimal bytes where the address goes."""
    match value:
        case {"url": str(url)}:
            media_type = value.get("content_type")
            if url.startswith(("https://", "http://", "data:")):
                yield Produced(url=url, media_type=media_type)
            else:
                try:
                    yield Produced(data=bytes.fromhex(url), media_type=media_type)
                except ValueError:
                    raise unreadable("The provider's file has no address.") from None
        case list():
            for item in value:
                yield from _files(item)
        case _:
            return


def _size(told: dict[str, Any]) -> str | None:
    listed = told.get("images") or [told.get("image")]
    first = listed[0] if isinstance(listed, list) and listed and isinstance(listed[0], dict) else {}
    return f"{first['width']}x{first['height']}" if first.get("width") and first.get("height") else None


def _usage(reply: Reply, handle: Handle, unit_price: Decimal | None) -> Usage:
    """Billable units times the listed price of one is what fal charges."""
    given = reply.header("x-fal-billable-units")
    try:
        units = None if given is None else Decimal(given)
    except InvalidOperation:
        units = None
    return Usage(
        characters=handle.data.get("characters"),
        seconds=handle.data.get("seconds"),
        reported_cost_usd=None if units is None or unit_price is None else units * unit_price,
        raw=None if units is None else {"billable_units": float(units)},
    )


def _transcript(told: dict[str, Any], *, words: bool) -> Transcript:
    """Whisper's chunks, which are words when words were asked for; or ElevenLabs' words."""
    spoken = [one for one in told.get("words") or () if isinstance(one, dict) and one.get("type", "word") == "word"]
    chunks = [one for one in told.get("chunks") or () if isinstance(one, dict)]
    pieces = [
        Segment(text=str(one.get("text", "")).strip(), start=start, end=end, speaker=one.get("speaker"))
        for one in chunks
        for start, end in [_times(one.get("timestamp"))]
    ]
    heard = tuple(
        Word(word=str(one.get("text", "")), start=float(one.get("start") or 0), end=float(one.get("end") or 0),
             speaker=one.get("speaker_id"))
        for one in spoken
    )  # fmt: skip
    if words and pieces:
        heard = tuple(Word(word=one.text, start=one.start, end=one.end, speaker=one.speaker) for one in pieces)
        pieces = []
    languages = told.get("inferred_languages") or told.get("languages") or ()
    ends = [one.end for one in pieces] + [one.end for one in heard]
    return Transcript(
        text=str(told.get("text") or ""), language=told.get("language_code") or (languages[0] if languages else None),
        duration=max(ends) if ends else None, segments=tuple(pieces), words=heard,
    )  # fmt: skip


def _times(given: Any) -> tuple[float, float]:
    start, end = (given[0], given[1]) if isinstance(given, list | tuple) and len(given) == 2 else (0, 0)
    return float(start or 0), float(end or start or 0)
