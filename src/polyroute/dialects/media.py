"""Whole answers of the relayed operations other than chat: what they say of usage and of failure."""

from __future__ import annotations

from collections.abc import Callable
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
    meta: Any = None
    size: Any = None
    quality: Any = None
    error: Any = None


_ANSWER = msgspec.json.Decoder(_MediaAnswer)
_IMAGES = (Dialect.OPENAI_IMAGES, Dialect.OPENAI_IMAGE_EDITS, Dialect.OPENAI_IMAGE_VARIATIONS)


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a media request asks for, as far as it is charged: the size and quality of images, the text to speak."""

    size: str | None = None
    quality: str | None = None
    characters: int | None = None


NOTHING_ASKED = Asked()
_AUTOMATIC = frozenset({None, "", "auto"})


def read_asked(dialect: Dialect, field: Callable[[str], Any]) -> Asked:
    """What a request asks for. `field` gives a top-level field's value, None where there is none."""
    if dialect in _IMAGES:
        return Asked(size=_word(field("size")), quality=_word(field("quality")))
    if dialect is Dialect.OPENAI_SPEECH:
        text = field("input")
        return Asked(characters=len(text) if isinstance(text, str) else None)
    return NOTHING_ASKED


def _word(value: Any) -> str | None:
    return value if isinstance(value, str) and value not in _AUTOMATIC and len(value) <= 40 else None


def observe_spoken(asked: Asked, seen: Observation) -> None:
    """Speech says nothing of its usage: what was asked is what is charged."""
    if seen.usage is None and asked.characters is not None:
        seen.usage = Usage(characters=asked.characters)


def observe_event(dialect: Dialect, data: bytes, asked: Asked, seen: Observation) -> None:
    """Read one event of a media stream: the last one of speech, transcriptions and images tells the usage."""
    try:
        answer = _ANSWER.decode(data)
    except (msgspec.MsgspecError, ValueError):
        return
    if isinstance(answer.usage, dict):
        usage = _usage(dialect, answer, asked)
        seen.usage = usage if seen.usage is None or usage is None else _both(seen.usage, usage)


def _both(first: Usage, second: Usage) -> Usage:
    """Images that come one by one, each with its own usage."""
    changes: dict[str, Any] = {}
    for name in ("input", "output", "image_input", "image_output", "audio_input", "audio_output", "images"):
        known = [count for count in (getattr(first, name), getattr(second, name)) if count is not None]
        changes[name] = sum(known) if known else None
    return msgspec.structs.replace(second, **changes)


def observe_json(dialect: Dialect, body: bytes, seen: Observation, asked: Asked = NOTHING_ASKED) -> None:
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
    seen.usage = _usage(dialect, answer, asked)


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


_TICKS_PER_DOLLAR = 10**10  # xAI's cost_in_usd_ticks


def _usage(dialect: Dialect, answer: _MediaAnswer, asked: Asked) -> Usage | None:
    """OpenAI's usage of embeddings (prompt_tokens), images and transcriptions (input_tokens, or seconds), read leniently:
    an odd usage object is no reason to refuse a good answer."""
    raw = answer.usage if isinstance(answer.usage, dict) else None
    told = raw or {}
    inputs = _details(told, "input_token_details", "input_tokens_details", "prompt_tokens_details")
    outputs = _details(told, "output_token_details", "output_tokens_details", "completion_tokens_details")
    audio, pictures = _whole(inputs.get("audio_tokens")), _whole(inputs.get("image_tokens"))
    cached = _whole(inputs.get("cached_tokens"))
    total = _whole(told.get("input_tokens", told.get("prompt_tokens")))
    if total is None and dialect is Dialect.OPENAI_EMBEDDINGS:
        total = _whole(told.get("total_tokens"))  # all that Voyage tells
    output, drawn, spoken = _made(dialect, told, outputs)
    images = _pictures(dialect, answer)
    reported = _reported_cost(told, answer.meta)
    in_images = dialect in _IMAGES
    usage = Usage(
        input=None if total is None else max(0, total - (audio or 0) - (pictures or 0) - (cached or 0)),
        cache_read=cached or None, audio_input=audio, image_input=pictures,
        output=output, image_output=drawn, audio_output=spoken, images=images,
        image_size=_word(answer.size) or asked.size if in_images and images else None,
        image_quality=_word(answer.quality) or asked.quality if in_images and images else None,
        seconds=_number(told.get("seconds", answer.duration)) if dialect in _SPEECH_TO_TEXT else None,
        characters=asked.characters, reported_cost_usd=reported, raw=raw,
    )  # fmt: skip
    return None if usage == Usage() else usage


def _details(told: dict[str, Any], *names: str) -> dict[str, Any]:
    found = next((value for name in names if isinstance(value := told.get(name), dict)), None)
    return {} if found is None else found


def _made(dialect: Dialect, told: dict[str, Any], outputs: dict[str, Any]) -> tuple[int | None, int | None, int | None]:
    """Tokens of output: text, image, audio. Image and speech endpoints that tell no details make nothing but their own."""
    total = _whole(told.get("output_tokens", told.get("completion_tokens")))
    drawn, spoken = _whole(outputs.get("image_tokens")), _whole(outputs.get("audio_tokens"))
    if total is None:
        return None, drawn, spoken
    if drawn is None and spoken is None:
        if dialect in _IMAGES:
            return 0, total, None
        if dialect is Dialect.OPENAI_SPEECH:
            return 0, None, total
    return max(0, total - (drawn or 0) - (spoken or 0)), drawn, spoken


def _pictures(dialect: Dialect, answer: _MediaAnswer) -> int | None:
    if dialect not in _IMAGES:
        return None
    made = answer.data or answer.images
    if isinstance(made, list):
        return len(made)
    return 1 if answer.usage is not None else None  # an event of a stream is one image


def _reported_cost(told: dict[str, Any], meta: Any) -> Decimal | None:
    """What the provider says it charged, in USD: OpenRouter's number, Perplexity's object, xAI's ticks, AI/ML's meta."""
    cost = told.get("cost")
    if isinstance(cost, dict):
        cost = cost.get("total_cost")
    if cost is None and isinstance(meta, dict) and isinstance(meta.get("usage"), dict):
        cost = meta["usage"].get("usd_spent")
    if isinstance(cost, int | float) and not isinstance(cost, bool) and 0 <= cost < float("inf"):
        return Decimal(str(cost))
    ticks = _whole(told.get("cost_in_usd_ticks"))
    return None if ticks is None else Decimal(ticks) / _TICKS_PER_DOLLAR


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if 0 <= number < float("inf") else None
