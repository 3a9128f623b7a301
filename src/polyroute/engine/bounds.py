"""The most that a request may cost at a target: quantities that it cannot exceed, at the dearest rates that may apply.

A token is at least one byte of the request, whatever the tokenizer; what providers put around it is covered by the JSON
around the text and an allowance. Media tell less of themselves, and get generous allowances. An answer ends at the caller's
limit, else the model's, else at the configured allowance, which alone may be exceeded.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Protocol

import msgspec

from polyroute.pricing import exact_cost, tier_of
from polyroute.routing.requirements import requirements_of_fields
from polyroute.types.budgets import UNIT
from polyroute.types.operations import Dialect, Operation
from polyroute.types.usage import Price, Usage

_ALLOWANCE = 64
"""Tokens that providers add of their own around a conversation."""
_TOOLS = 1024
"""Tokens of the prompt that tells a model what tools are."""
_MEDIUM = 40_000
"""Tokens that one image, or a minute of video, may take at the most talkative provider."""
_DOCUMENT = 400_000
"""Tokens of a document of a hundred pages, as text and images."""
_UNKNOWN_PROMPT = 1_000_000
"""Tokens of a conversation that the provider itself keeps, where the model's context is not known."""
_LONG_VALUE = 4096
_IMAGE_TOKENS = 8_192
_MEGAPIXELS = 5.0
"""Of one image, at most."""
_TOKENS_PER_CHARACTER = 4
"""Tokens of speech for a character of text, and more than any model makes of it."""
_SECONDS_PER_CHARACTER = 0.25
_LEAST_BYTES_PER_SECOND = 1000
"""The thinnest audio that speech survives: 8 kbit/s."""
_TOKENS_PER_SECOND = 40
"""Tokens of a second of recorded sound, prompt or transcript."""
_MARKS = (b'"image', b'"input_image', b'"file_uri', b'"fileUri', b'"audio', b'"input_audio', b'"video', b'"mime')
_DOCUMENTS = (b"application/pdf", b'"document"', b'"file"', b'"input_file"', b"fileUri", b"file_uri")
_KEPT = frozenset({"previous_response_id", "conversation", "prompt", "cachedContent", "cached_content"})
_CHOICES = ("n", "num_generations")
_LENGTHS = ("seconds", "duration", "duration_seconds")
_LONGEST_CLIP = 60
"""Seconds of a clip that does not say how long it shall be."""
_LIMITS = ("max_completion_tokens", "max_tokens", "max_output_tokens")
_NESTED = frozenset({Dialect.GEMINI, Dialect.OLLAMA, Dialect.OLLAMA_GENERATE, Dialect.BEDROCK_CONVERSE})
"""Dialects that say the answer's limit below the top of the request."""
_TOOL_FIELDS = frozenset({"tools", "functions", "toolConfig"})
_SPECIAL = re.compile(rb'"(?:image|input_|file|audio|video|mime|document|tools|functions|toolC)|pdf')
"""What tells that there may be more to a prompt than text."""
_INTEGER = msgspec.json.Decoder(int)
_TEXT = msgspec.json.Decoder(str)


class Model(Protocol):
    """What is known of a target's model: tokens, None where unknown."""

    @property
    def context(self) -> int | None:
        """Prompt and answer together."""

    @property
    def max_output(self) -> int | None:
        """The answer alone."""


class Limits(msgspec.Struct, frozen=True):
    """A model's limits in tokens; see `Model`."""

    context: int | None = None
    max_output: int | None = None


class Extent(msgspec.Struct, frozen=True, kw_only=True):
    """The size of a request, of which nothing can become more. `prompt` in tokens; None: as much as the context holds.
    `answer` in tokens, None where the request sets no limit. `size` in bytes is that of an upload."""

    operation: Operation
    prompt: int | None = 0
    answer: int | None = None
    choices: int = 1
    audio: bool = False
    images: int = 0
    image_size: str | None = None
    image_quality: str | None = None
    characters: int = 0
    size: int = 0
    byte_rate: int | None = None
    seconds: int = 0


Fields = dict[str, msgspec.Raw]


def measure_request(
    operation: Operation, dialect: Dialect, fields: Fields | None, body: bytes, *, upload: int = 0, added: int = 0,
    answer: int | None = None, form: dict[str, Any] | None = None, byte_rate: int | None = None,
) -> Extent:  # fmt: skip
    """The extent of a request. `upload` is the size of a form, whose text fields are `form`; `added` bytes are put in by a
    persona, whose own limit of the answer is `answer`."""
    fields, form = fields or {}, form or {}
    if operation is Operation.CHAT:
        said = _answer_limit(dialect, fields, body)
        special = _SPECIAL.search(body) is not None
        known = _KEPT.isdisjoint(fields)
        return Extent(
            operation=operation, prompt=_prompt_tokens(fields, body, special=special) + added if known else None,
            answer=answer if said is None else said, choices=_choices(dialect, fields),
            audio=special and (b'"audio"' in body or b'"input_audio"' in body or b'"audio/' in body),
        )  # fmt: skip
    if operation is Operation.IMAGE:
        count = _integer(fields.get("n")) or _number(form.get("n")) or 1
        inputs = 4 if upload else 0
        return Extent(
            operation=operation, images=max(1, count), prompt=len(body or b"") + _ALLOWANCE + inputs * _IMAGE_TOKENS,
            image_size=_text(fields.get("size")) or form.get("size"),
            image_quality=_text(fields.get("quality")) or form.get("quality"),
        )  # fmt: skip
    if operation is Operation.SPEECH:
        text = _text(fields.get("input"))
        characters = len(body) if text is None else len(text)
        return Extent(operation=operation, characters=characters, prompt=len(body) + _ALLOWANCE)
    if operation in (Operation.VIDEO, Operation.MUSIC):
        lengths = [
            _number(_text(fields.get(name)) or form.get(name)) or _integer(fields.get(name)) for name in _LENGTHS
        ]
        seconds = max([one for one in lengths if one is not None], default=_LONGEST_CLIP)
        return Extent(operation=operation, prompt=len(body) + _ALLOWANCE, seconds=seconds)
    return Extent(operation=operation, prompt=len(body) + _ALLOWANCE, size=upload, byte_rate=byte_rate)


def most_it_costs(extent: Extent, price: Price, model: Model, allowance: int, factor: float = 1.0) -> Decimal | None:
    """The most that a request of this extent can cost in USD; None when some rate that it needs is unknown. `allowance` is
    the tokens of an answer that nothing limits, `factor` the provider's mark-up."""
    found = [
        cost for usage in _usages(extent, price, model, allowance) if (cost := exact_cost(usage, price)) is not None
    ]
    if not found:
        return None
    dearest = max((rate for _, rate in price.factors), default=Decimal(1))  # of a service tier
    return max(found) * Decimal(str(max(factor, 1.0))) * max(dearest, Decimal(1))


def most_of_chat(extent: Extent, price: Price, model: Model, allowance: int) -> int | None:
    """As `most_it_costs` without a mark-up, for the plain chat that most requests are: in whole units of a dollar, each
    token's rate rounded up. None where it takes the long way."""
    if extent.operation is not Operation.CHAT or extent.audio or extent.prompt is None or price.factors:
        return None
    prompt = extent.prompt if model.context is None else min(extent.prompt, model.context)
    rates = _rates_of(tier_of(price, prompt) if price.tiers else price)
    if rates is None:
        return None
    answer = extent.answer or model.max_output or allowance
    return prompt * rates[0] + answer * extent.choices * rates[1] + rates[2]


_KNOWN_RATES: dict[int, tuple[Price, tuple[int, int, int] | None]] = {}
_MOST_KNOWN = 4096


def _rates_of(price: Price) -> tuple[int, int, int] | None:
    """The dearest units for a token of prompt and of answer, and for the request; None when one of them is unknown."""
    found = _KNOWN_RATES.get(id(price))
    if found is not None and found[0] is price:
        return found[1]
    rates: tuple[int, int, int] | None = None
    if price.input is not None and price.output is not None:
        prompts = (price.input, price.cache_write_5m, price.cache_write_1h)
        answers = (price.output, price.image_output)
        rates = (
            _most_units(prompts, _PER_MILLION),
            _most_units(answers, _PER_MILLION),
            _most_units((price.request,), UNIT),
        )
    if len(_KNOWN_RATES) >= _MOST_KNOWN:
        _KNOWN_RATES.clear()
    _KNOWN_RATES[id(price)] = (price, rates)  # the card is held, so that its id stays its own
    return rates


_PER_MILLION = UNIT // 1_000_000


def _most_units(rates: Iterable[Decimal | None], units: int) -> int:
    return max((math.ceil(rate * units) for rate in rates if rate is not None), default=0)


def _usages(extent: Extent, price: Price, model: Model, allowance: int) -> Iterable[Usage]:
    """The usages among which the dearest is: the same quantities in each bucket that they may turn out to belong to."""
    context = model.context
    prompt = extent.prompt if extent.prompt is not None else context or _UNKNOWN_PROMPT
    if context is not None:
        prompt = min(prompt, context)
    match extent.operation:
        case Operation.CHAT:
            answer = extent.answer or model.max_output or allowance
            yield from _of_chat(extent, price, prompt, answer * extent.choices)
        case Operation.IMAGE:
            tokens = extent.images * _IMAGE_TOKENS
            for size in _choices_of(extent.image_size, {size for size, _, _ in price.images}):
                for grade in _choices_of(extent.image_quality, {grade for _, grade, _ in price.images}):
                    yield Usage(images=extent.images, image_size=size, image_quality=grade)
            yield Usage(images=extent.images, megapixels=extent.images * _MEGAPIXELS)
            yield Usage(input=prompt, output=tokens)
            yield Usage(input=prompt, image_output=tokens)
            yield Usage(input=0, image_input=prompt, image_output=tokens)
        case Operation.SPEECH:
            seconds, tokens = extent.characters * _SECONDS_PER_CHARACTER, extent.characters * _TOKENS_PER_CHARACTER
            yield Usage(characters=extent.characters)
            yield Usage(seconds=seconds)
            yield Usage(input=prompt, audio_output=tokens)
            yield Usage(input=prompt, output=tokens)
        case Operation.TRANSCRIPTION:
            seconds = extent.size / (extent.byte_rate or _LEAST_BYTES_PER_SECOND) + 1.0
            tokens = int(seconds * _TOKENS_PER_SECOND)
            yield Usage(seconds=seconds)
            yield Usage(audio_input=tokens, output=tokens)
            yield Usage(input=tokens, output=tokens)
        case Operation.VIDEO | Operation.MUSIC:
            yield Usage(seconds=float(extent.seconds))
            for size in {None, *(size for size, _, _ in price.videos)}:
                yield Usage(video_seconds=float(extent.seconds), video_size=size)
        case _:
            yield Usage(input=prompt)


def _of_chat(extent: Extent, price: Price, prompt: int, answer: int) -> Iterable[Usage]:
    yield Usage(input=prompt, output=answer)
    yield Usage(cache_write_5m=prompt, output=answer)
    yield Usage(cache_write_1h=prompt, output=answer)
    if price.image_output is not None:
        yield Usage(input=prompt, image_output=answer)
    if extent.audio:
        yield Usage(input=prompt, audio_output=answer)
        yield Usage(audio_input=prompt, output=answer)
        yield Usage(audio_input=prompt, audio_output=answer)


def _choices_of(said: str | None, priced: set[str | None]) -> set[str | None]:
    """What a choice may turn out to be: what was said, or anything that has a price where the provider chooses."""
    return priced | {said} if said is None or said == "auto" else {said}


def _answer_limit(dialect: Dialect, fields: Fields, body: bytes) -> int | None:
    """The most tokens that the answer may have, by the request; None when it says nothing."""
    if dialect in _NESTED:
        return requirements_of_fields(dialect, fields, body, contested=frozenset(), sized=False).output_tokens
    for name in _LIMITS:
        if name in fields:
            found = _integer(fields[name])
            if found is not None and found > 0:
                return found
    return None


def _prompt_tokens(fields: Fields, body: bytes, *, special: bool) -> int:
    """The most tokens of a prompt; `special` says that there may be more to it than text."""
    tokens = len(body) + _ALLOWANCE
    if not special:
        return tokens
    if not _TOOL_FIELDS.isdisjoint(fields):
        tokens += _TOOLS
    if any(mark in body for mark in _DOCUMENTS):
        return tokens + _DOCUMENT
    media = sum(body.count(mark) for mark in _MARKS)
    if not media:
        return tokens
    for value in body.split(b'"'):
        if len(value) >= _LONG_VALUE and b" " not in value:  # base64: its length says nothing of its tokens
            tokens -= len(value)
    return max(tokens, 0) + media * _MEDIUM


def _choices(dialect: Dialect, fields: Fields) -> int:
    if dialect is not Dialect.GEMINI:
        return max(
            [1, *(count for name in _CHOICES if name in fields and (count := _integer(fields[name])) is not None)]
        )
    config = fields.get("generationConfig") or fields.get("generation_config")
    try:
        values: Any = {} if config is None else msgspec.json.decode(config)
    except (msgspec.MsgspecError, ValueError):
        values = None
    count = values.get("candidateCount", values.get("candidate_count")) if isinstance(values, dict) else None
    return count if isinstance(count, int) and count > 1 else 1


def _integer(raw: msgspec.Raw | None) -> int | None:
    if raw is None:
        return None
    try:
        return _INTEGER.decode(raw)
    except (msgspec.MsgspecError, ValueError):
        return None


def _text(raw: msgspec.Raw | None) -> str | None:
    if raw is None:
        return None
    try:
        return _TEXT.decode(raw)
    except (msgspec.MsgspecError, ValueError):
        return None


def _number(text: Any) -> int | None:
    return int(text) if isinstance(text, str) and text.isascii() and text.isdigit() else None
