"""What a request needs of its target, read from the request itself.

From the canonical form it is exact. From the raw top-level fields of a body that is relayed it is read without a full parse:
a few fields are looked at, media parts are found by searching bytes, and tokens are estimated from the length. What cannot
be understood is not needed: the provider, or the codec, has the better words for a malformed field.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TypeVar

import msgspec

from polyroute.types.chat import (
    AudioPart,
    ChatRequest,
    FilePart,
    ImagePart,
    Message,
    Reasoning,
    TextPart,
    ToolResultPart,
)
from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.media import TASKS_OF_DIALECT, Task
from polyroute.types.operations import OPERATION_OF, Capability, Dialect, Operation

_BYTES_PER_TOKEN = 4
_TOKENS_PER_MEDIA = 1000
"""What an image, a page or half a minute of sound costs, roughly; providers differ by a factor of three both ways."""
_LONG_VALUE = 4096
"""A JSON string from this length on is looked at: base64 is not counted as text."""

_Value = TypeVar("_Value")
Fields = Mapping[str, msgspec.Raw]


class Requirements(msgspec.Struct, frozen=True):
    """Capabilities, the estimated tokens of the prompt, and the most tokens of the answer where the request says."""

    needs: frozenset[Capability]
    tokens: int
    output_tokens: int | None = None


class _Typed(msgspec.Struct):
    type: str | None = None


class _TextFormat(msgspec.Struct):
    format: _Typed | None = None


class _Effort(msgspec.Struct):
    effort: str | None = None
    type: str | None = None
    enabled: bool | None = None
    max_tokens: int | None = None


_ABSENT = msgspec.Raw(b"null")
_NO_THINKING = re.compile(rb'"thinking_?[bB]udget"\s*:\s*0\b')


class _GeminiConfig(msgspec.Struct, rename="camel"):
    response_mime_type: str | None = None
    response_schema: msgspec.Raw = _ABSENT
    response_json_schema: msgspec.Raw = _ABSENT
    thinking_config: msgspec.Raw = _ABSENT
    candidate_count: int | None = None
    max_output_tokens: int | None = None
    response_logprobs: bool | None = None


class _OllamaOptions(msgspec.Struct):
    num_predict: int | None = None


class _BedrockConfig(msgspec.Struct):
    max_tokens: int | None = msgspec.field(default=None, name="maxTokens")


_TYPED = msgspec.json.Decoder(_Typed)
_TEXT_FORMAT = msgspec.json.Decoder(_TextFormat)
_EFFORT = msgspec.json.Decoder(_Effort)
_GEMINI = msgspec.json.Decoder(_GeminiConfig)
_OLLAMA = msgspec.json.Decoder(_OllamaOptions)
_BEDROCK = msgspec.json.Decoder(_BedrockConfig)
_INTEGER = msgspec.json.Decoder(int)
_TASK = msgspec.json.Decoder(Task)
_NO_NEEDS: frozenset[Capability] = frozenset()
_STRINGS = msgspec.json.Decoder(tuple[str, ...])

_Mark = tuple[Capability, bytes, "re.Pattern[bytes]"]


def _part_type(capability: Capability, name: bytes) -> _Mark:
    return capability, b'"' + name + b'"', re.compile(rb'"type"\s*:\s*"' + name + b'"')


def _media_type(capability: Capability, prefix: bytes) -> _Mark:
    return capability, b'"' + prefix, re.compile(rb'"mime_?[tT]ype"\s*:\s*"' + prefix)


def _member(capability: Capability, name: bytes) -> _Mark:
    return capability, b'"' + name + b'"', re.compile(b'"' + name + rb'"\s*:\s*[\[{]\s*["{\w]')


# Inside a JSON string every quote is escaped, so a quoted name is found only where the JSON itself has it; the pattern,
# tried on the messages alone, then tells a content part from a tool's schema or arguments.
_OPENAI_MARKS = (
    _part_type(Capability.VISION, b"image_url"),
    _part_type(Capability.AUDIO_INPUT, b"input_audio"),
    _part_type(Capability.FILES, b"file"),
)
_MARKS: dict[Dialect, tuple[str, tuple[_Mark, ...]]] = {
    Dialect.OPENAI_CHAT: ("messages", _OPENAI_MARKS),
    Dialect.COHERE_V2: ("messages", _OPENAI_MARKS),
    Dialect.OPENAI_RESPONSES: (
        "input",
        (
            _part_type(Capability.VISION, b"input_image"),
            _part_type(Capability.AUDIO_INPUT, b"input_audio"),
            _part_type(Capability.FILES, b"input_file"),
        ),
    ),
    Dialect.ANTHROPIC_MESSAGES: (
        "messages",
        (_part_type(Capability.VISION, b"image"), _part_type(Capability.FILES, b"document")),
    ),
    Dialect.GEMINI: (
        "contents",
        (
            _media_type(Capability.VISION, b"image/"),
            _media_type(Capability.VISION, b"video/"),
            _media_type(Capability.AUDIO_INPUT, b"audio/"),
            _media_type(Capability.FILES, b"application/pdf"),
        ),
    ),
    Dialect.OLLAMA: ("messages", (_member(Capability.VISION, b"images"),)),
    Dialect.BEDROCK_CONVERSE: (
        "messages",
        (_member(Capability.VISION, b"image"), _member(Capability.FILES, b"document")),
    ),
}
_MEDIA = frozenset({Capability.VISION, Capability.AUDIO_INPUT, Capability.FILES})
_LIMITS = ("max_completion_tokens", "max_tokens", "max_output_tokens")
PLAIN_FIELDS = frozenset({
    "model", "messages", "system", "temperature", "top_p", "max_tokens", "max_completion_tokens", "stop", "stream",
    "stream_options", "user", "seed", "presence_penalty", "frequency_penalty", "metadata", "store",
})  # fmt: skip
"""Fields that need nothing but what is in the messages: see `RoutePlanner.plain`."""
_TELLING = frozenset({
    "response_format", "output_format", "text", "output_config", "reasoning_effort", "reasoning", "thinking", "logprobs",
    "top_logprobs", "n", "modalities",
})  # fmt: skip
"""Fields that `_read_common` looks at: most requests have none of them."""
_WITHOUT_REASONING = frozenset({"none", "minimal", "disabled"})


def requirements_of_fields(
    dialect: Dialect,
    fields: Fields,
    body: bytes,
    *,
    stream: bool = False,
    contested: frozenset[Capability] = frozenset(Capability),
    sized: bool = True,
) -> Requirements:
    """What a body needs, given its top-level fields; for operations other than chat only its length counts.

    Searching a long body for media takes time (1 µs a KB): it is left out where nothing depends on it, which is what
    `RoutePlanner.contested` and `.sized` tell.
    """
    if OPERATION_OF[dialect] is not Operation.CHAT:
        return Requirements(_tasks(dialect, fields), len(body) // _BYTES_PER_TOKEN)
    found: set[Capability] = {Capability.STREAMING} if stream else set()
    output: int | None = None
    if _given(fields.get("tools")) or _given(fields.get("functions")) or _given(fields.get("toolConfig")):
        found.add(Capability.TOOLS)
    match dialect:
        case Dialect.GEMINI:
            output = _read_gemini(fields, found)
        case Dialect.OLLAMA:
            output = _read_ollama(fields, found)
        case Dialect.BEDROCK_CONVERSE:
            config = _decode(_BEDROCK, fields.get("inferenceConfig"))
            output = None if config is None else config.max_tokens
        case _:
            _read_common(fields, found)
    for name in _LIMITS:
        if output is None and name in fields:
            output = _decode(_INTEGER, fields[name])
    media = (sized or not contested.isdisjoint(_MEDIA)) and _search_media(dialect, fields, body, found)
    tokens = _tokens_beside_media(body) if media else len(body) // _BYTES_PER_TOKEN
    return Requirements(frozenset(found), tokens, output if output is not None and output > 0 else None)


def _tasks(dialect: Dialect, fields: Fields) -> frozenset[Capability]:
    """What a media request asks to be made, where that is certain: an image edit needs either of two tasks, and says which
    only in a form that is not read here."""
    tasks = TASKS_OF_DIALECT.get(dialect, ())
    if len(tasks) == 1:
        return frozenset(Capability(task.value) for task in tasks)
    named = _decode(_TASK, fields.get("task"))
    return _NO_NEEDS if named is None else frozenset({Capability(named.value)})


def requirements_of_request(request: ChatRequest) -> Requirements:
    """What a canonical request needs."""
    found: set[Capability] = {Capability.STREAMING} if request.stream else set()
    if request.tools:
        found.add(Capability.TOOLS)
    if request.output_format is not None:
        found.add(Capability(request.output_format.kind))
    if request.reasoning is not None and _wants_reasoning(request.reasoning):
        found.add(Capability.REASONING)
    if request.logprobs or request.top_logprobs:
        found.add(Capability.LOGPROBS)
    if request.n is not None and request.n > 1:
        found.add(Capability.CHOICES)
    size = media = 0
    for part in _parts(request.messages):
        match part:
            case TextPart():
                size += len(part.text) if part.text.isascii() else len(part.text.encode())
                continue
            case ImagePart():
                found.add(Capability.VISION)
            case AudioPart():
                found.add(Capability.AUDIO_INPUT)
            case FilePart():
                found.add(Capability.FILES)
        media += 1
    for tool in request.tools:
        size += len(msgspec.json.encode(tool))
    return Requirements(frozenset(found), size // _BYTES_PER_TOKEN + media * _TOKENS_PER_MEDIA, request.max_tokens)


def split_require(names: Iterable[str]) -> tuple[frozenset[Capability], frozenset[str]]:
    """A caller's `require` as capabilities and tags. Raises PolyrouteError(invalid_request) for an empty name."""
    needs: set[Capability] = set()
    tags: set[str] = set()
    for name in names:
        if not name.strip():
            raise PolyrouteError(ErrorKind.INVALID_REQUEST, "`require` holds an empty name", param="require")
        try:
            needs.add(Capability(name))
        except ValueError:
            tags.add(name)
    return frozenset(needs), frozenset(tags)


# ---------------------------------------------------------------- raw fields


def _given(raw: msgspec.Raw | None) -> bool:
    """Whether a field holds something: not absent, null, false, or empty."""
    if raw is None:
        return False
    view = memoryview(raw)
    return view.nbytes > 8 or bytes(view).translate(None, b" \t\r\n") not in (b"null", b"[]", b"{}", b"false", b'""')


def _decode(decoder: msgspec.json.Decoder[_Value], raw: msgspec.Raw | None) -> _Value | None:
    if raw is None:
        return None
    try:
        return decoder.decode(raw)
    except (msgspec.MsgspecError, ValueError):
        return None


def _add_format(kind: str | None, found: set[Capability]) -> None:
    if kind in ("json_object", "json_schema"):
        found.add(Capability(kind))


def _read_common(fields: Fields, found: set[Capability]) -> None:
    """The dialects of OpenAI, Anthropic and Cohere share enough names to be read together."""
    if _TELLING.isdisjoint(fields):
        return
    for name in ("response_format", "output_format"):
        if (typed := _decode(_TYPED, fields.get(name))) is not None:
            _add_format(typed.type, found)
    for name in ("text", "output_config"):
        if (text := _decode(_TEXT_FORMAT, fields.get(name))) is not None and text.format is not None:
            _add_format(text.format.type, found)
    if "reasoning_effort" in fields and bytes(fields["reasoning_effort"]).strip(b'"') not in (
        b"none",
        b"minimal",
        b"null",
    ):
        found.add(Capability.REASONING)
    for name in ("reasoning", "thinking"):
        if name in fields and _is_effort(_decode(_EFFORT, fields[name])):
            found.add(Capability.REASONING)
    if _given(fields.get("logprobs")) or (_decode(_INTEGER, fields.get("top_logprobs")) or 0) > 0:
        found.add(Capability.LOGPROBS)
    if (_decode(_INTEGER, fields.get("n")) or 1) > 1:
        found.add(Capability.CHOICES)
    if "audio" in (_decode(_STRINGS, fields.get("modalities")) or ()):
        found.add(Capability.AUDIO_OUTPUT)


def _is_effort(wish: _Effort | None) -> bool:
    if wish is None or wish.enabled is False or wish.type == "disabled" or wish.effort in _WITHOUT_REASONING:
        return False
    return wish.effort is not None or wish.type in ("enabled", "adaptive") or bool(wish.enabled or wish.max_tokens)


def _read_gemini(fields: Fields, found: set[Capability]) -> int | None:
    config = _decode(_GEMINI, fields.get("generationConfig") or fields.get("generation_config"))
    if config is None:
        return None
    if _given(config.response_schema) or _given(config.response_json_schema):
        found.add(Capability.JSON_SCHEMA)
    elif config.response_mime_type == "application/json":
        found.add(Capability.JSON_OBJECT)
    if _given(config.thinking_config) and not _NO_THINKING.search(bytes(config.thinking_config)):
        found.add(Capability.REASONING)
    if (config.candidate_count or 1) > 1:
        found.add(Capability.CHOICES)
    if config.response_logprobs:
        found.add(Capability.LOGPROBS)
    return config.max_output_tokens


def _read_ollama(fields: Fields, found: set[Capability]) -> int | None:
    form = fields.get("format")
    if _given(form):
        found.add(Capability.JSON_OBJECT if bytes(form or b"") == b'"json"' else Capability.JSON_SCHEMA)
    if _given(fields.get("think")):
        found.add(Capability.REASONING)
    if _given(fields.get("images")):  # /api/generate
        found.add(Capability.VISION)
    options = _decode(_OLLAMA, fields.get("options"))
    return None if options is None else options.num_predict


def _search_media(dialect: Dialect, fields: Fields, body: bytes, found: set[Capability]) -> bool:
    """Add what the content's media parts need; whether there are any."""
    where, marks = _MARKS.get(dialect, ("messages", ()))
    content: bytes | None = None
    seen = Capability.VISION in found
    for capability, literal, pattern in marks:
        if literal in body:
            if content is None:
                raw = fields.get(where)
                content = b"" if raw is None else bytes(raw)
            if pattern.search(content):
                found.add(capability)
                seen = True
    return seen


def _tokens_beside_media(body: bytes) -> int:
    """Base64 counts as one medium each, everything else by its length. Base64 holds no quotes, so it lies in one piece."""
    size, media = len(body), 0
    for value in body.split(b'"'):
        if len(value) >= _LONG_VALUE and _BASE64.fullmatch(value[-260:-4]):
            size -= len(value)
            media += 1
    return size // _BYTES_PER_TOKEN + max(media, 1) * _TOKENS_PER_MEDIA


_BASE64 = re.compile(rb"[A-Za-z0-9+/_=-]+")


# ---------------------------------------------------------------- canonical


def _wants_reasoning(reasoning: Reasoning) -> bool:
    if reasoning.enabled is False or reasoning.effort in _WITHOUT_REASONING:
        return False
    return bool(reasoning.enabled or reasoning.effort or reasoning.budget or reasoning.adaptive)


def _parts(messages: Iterable[Message]) -> Iterable[TextPart | ImagePart | AudioPart | FilePart]:
    """The parts that carry content, those of tool results included."""
    for message in messages:
        for part in message.parts:
            match part:
                case TextPart() | ImagePart() | AudioPart() | FilePart():
                    yield part
                case ToolResultPart():
                    yield from part.content
                case _:
                    pass
