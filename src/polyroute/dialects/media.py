"""Whole answers of the relayed operations other than chat: what they say of usage and of failure."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from polyroute.ports import Observation
from polyroute.types.errors import AttemptFailed, ErrorKind, Failure
from polyroute.types.operations import Dialect
from polyroute.types.usage import Usage


class _TokenDetails(msgspec.Struct):
    text_tokens: int | None = None
    image_tokens: int | None = None
    audio_tokens: int | None = None


class _MediaUsage(msgspec.Struct):
    """OpenAI's usage objects of embeddings (prompt_tokens), images and transcriptions (input_tokens, or seconds)."""

    prompt_tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    seconds: float | None = None
    cost: Decimal | None = None
    input_token_details: _TokenDetails | None = None
    input_tokens_details: _TokenDetails | None = None


class _MediaAnswer(msgspec.Struct):
    """The fields of a media answer that we read; everything else passes."""

    model: str | None = None
    data: Any = None
    results: Any = None
    text: Any = None
    duration: Any = None
    usage: msgspec.Raw | None = None
    error: Any = None


_ANSWER = msgspec.json.Decoder(_MediaAnswer, strict=False)
_USAGE = msgspec.json.Decoder(_MediaUsage, strict=False)
_ANY = msgspec.json.Decoder()


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
    seen.model = answer.model
    seen.meaningful = seen.complete = True
    seen.usage = _usage(dialect, answer)


_SPEECH_TO_TEXT = (Dialect.OPENAI_TRANSCRIPTIONS, Dialect.OPENAI_TRANSLATIONS)


def _content(dialect: Dialect, answer: _MediaAnswer) -> Any:
    if dialect is Dialect.OPENAI_MODERATIONS:
        return answer.results
    if dialect in _SPEECH_TO_TEXT:
        return answer.text
    return answer.data


def _bad(message: str, body: bytes) -> AttemptFailed:
    detail = body[:2000].decode("utf-8", "replace")
    return AttemptFailed(Failure(kind=ErrorKind.BAD_RESPONSE, message=message, detail=detail))


def _usage(dialect: Dialect, answer: _MediaAnswer) -> Usage | None:
    raw: dict[str, Any] | None = None
    found = _MediaUsage()
    if answer.usage is not None:
        try:
            decoded = _ANY.decode(answer.usage)
            raw = decoded if isinstance(decoded, dict) else None
            found = _USAGE.decode(answer.usage) if raw is not None else found
        except (msgspec.MsgspecError, ValueError):
            pass  # an odd usage object is no reason to refuse a good answer
    details = found.input_token_details or found.input_tokens_details
    audio = details.audio_tokens if details is not None else None
    total = found.prompt_tokens if found.input_tokens is None else found.input_tokens
    images = len(answer.data) if dialect in _IMAGES and isinstance(answer.data, list) else None
    seconds = found.seconds
    if seconds is None and dialect in _SPEECH_TO_TEXT:
        seconds = _number(answer.duration)
    if total is None and images is None and seconds is None:
        return None
    return Usage(
        input=None if total is None else total - (audio or 0), audio_input=audio, output=found.output_tokens,
        images=images, seconds=seconds, reported_cost_usd=found.cost, raw=raw,
    )  # fmt: skip


_IMAGES = (Dialect.OPENAI_IMAGES, Dialect.OPENAI_IMAGE_EDITS)


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
