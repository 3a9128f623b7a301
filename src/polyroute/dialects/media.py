"""Whole answers of the relayed operations other than chat: what they say of usage and of failure."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from polyroute.ports import Observation
from polyroute.types.errors import AttemptFailed, ErrorKind, Failure
from polyroute.types.operations import Dialect
from polyroute.types.usage import Usage


class _MediaAnswer(msgspec.Struct):
    """The fields of a media answer that we read; everything else passes."""

    model: Any = None
    data: Any = None
    images: Any = None
    results: Any = None
    text: Any = None
    duration: Any = None
    usage: Any = None
    error: Any = None


_ANSWER = msgspec.json.Decoder(_MediaAnswer)


def observe_json(dialect: Dialect, body: bytes, seen: Observation) -> None:
    """Read a whole JSON answer of embeddings, moderations, images or transcriptions into `seen`.

    Raises AttemptFailed(bad_response) when it is no such answer, is empty, or is an error in a 200.
    """
    try:
        answer = _ANSWER.decode(body)
    except (msgspec.MsgspecError, ValueError) as error:
        raise _bad("The provider's answer is not the JSON that was due.", body) from error
    if answer.error:
        raise _bad("The provider answered 200 with an error in it.", body)
    content = _content(dialect, answer)
    if not content and not (dialect in _SPEECH_TO_TEXT and content == ""):  # silence is transcribed as ""
        raise _bad("The provider gave an empty answer.", body)
    seen.model = answer.model if isinstance(answer.model, str) else None
    seen.meaningful = seen.complete = True
    seen.usage = _usage(dialect, answer)


_SPEECH_TO_TEXT = (Dialect.OPENAI_TRANSCRIPTIONS, Dialect.OPENAI_TRANSLATIONS)


def _content(dialect: Dialect, answer: _MediaAnswer) -> Any:
    if dialect is Dialect.OPENAI_MODERATIONS:
        return answer.results
    if dialect in _SPEECH_TO_TEXT:
        return answer.text
    return answer.data or answer.images


def _bad(message: str, body: bytes) -> AttemptFailed:
    detail = body[:2000].decode("utf-8", "replace")
    return AttemptFailed(Failure(kind=ErrorKind.BAD_RESPONSE, message=message, detail=detail))


_IMAGES = (Dialect.OPENAI_IMAGES, Dialect.OPENAI_IMAGE_EDITS)
_TICKS_PER_DOLLAR = 10**10  # xAI's cost_in_usd_ticks


def _usage(dialect: Dialect, answer: _MediaAnswer) -> Usage | None:
    """OpenAI's usage of embeddings (prompt_tokens), images and transcriptions (input_tokens, or seconds), read leniently:
    an odd usage object is no reason to refuse a good answer."""
    raw = answer.usage if isinstance(answer.usage, dict) else None
    told = raw or {}
    details = told.get("input_token_details") or told.get("input_tokens_details")
    audio = _whole(details.get("audio_tokens")) if isinstance(details, dict) else None
    total = _whole(told.get("input_tokens", told.get("prompt_tokens")))
    made = answer.data or answer.images
    images = len(made) if dialect in _IMAGES and isinstance(made, list) else None
    seconds = None
    if dialect in _SPEECH_TO_TEXT:
        seconds = _number(told.get("seconds", answer.duration))
    usage = Usage(
        input=None if total is None else max(0, total - (audio or 0)), audio_input=audio,
        output=_whole(told.get("output_tokens")), images=images, seconds=seconds,
        reported_cost_usd=_reported_cost(told), raw=raw,
    )  # fmt: skip
    return None if usage == Usage() else usage


def _reported_cost(told: dict[str, Any]) -> Decimal | None:
    """What the provider says it charged, in USD: OpenRouter's number, Perplexity's object, xAI's ticks."""
    cost = told.get("cost")
    if isinstance(cost, dict):
        cost = cost.get("total_cost")
    if isinstance(cost, int | float) and not isinstance(cost, bool):
        return Decimal(str(cost))
    ticks = _whole(told.get("cost_in_usd_ticks"))
    return None if ticks is None else Decimal(ticks) / _TICKS_PER_DOLLAR


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
