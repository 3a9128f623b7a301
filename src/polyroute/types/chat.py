"""The canonical form of a chat: what every text dialect is parsed into and rendered from.

A turn is a list of closed part kinds. A part can carry `state`: what a provider wants back verbatim (thinking signatures,
encrypted reasoning, item ids), tagged with the dialect that issued it, so that it is replayed there and nowhere else.
Answers are streams of events; a whole answer is their fold (`polyroute.dialects.fold`).
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from polyroute.types.operations import Dialect
from polyroute.types.usage import Usage

# ---------------------------------------------------------------- parts


class ProviderState(msgspec.Struct, frozen=True):
    """Opaque data of one dialect, by that dialect's own field names, e.g. {"signature": "EqQB…"} or {"id": "rs_1",
    "encrypted_content": "gAAA…"}. It is rendered back only into the same dialect."""

    dialect: Dialect
    fields: dict[str, Any]


class CacheMark(msgspec.Struct, frozen=True):
    """A prompt-cache breakpoint after this part. `ttl` is "5m" or "1h" or None for the provider's default."""

    ttl: str | None = None


class Part(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    """What all parts can carry."""

    state: ProviderState | None = None
    cache: CacheMark | None = None


class TextPart(Part, frozen=True, kw_only=True, tag="text"):
    """Plain text. `annotations` are citations in OpenAI's shape (`url_citation` …), where there are any."""

    text: str
    annotations: tuple[dict[str, Any], ...] = ()


class ImagePart(Part, frozen=True, kw_only=True, tag="image"):
    """An image: exactly one of `url` (http or https), `data` (base64, with `media_type`) or `file_id` is set."""

    url: str | None = None
    data: str | None = None
    media_type: str | None = None
    file_id: str | None = None
    detail: str | None = None


class AudioPart(Part, frozen=True, kw_only=True, tag="audio"):
    """Audio as base64 `data` of `format` ("wav", "mp3", "pcm16" …), or `url`. In answers `transcript` may be set."""

    data: str | None = None
    format: str | None = None
    url: str | None = None
    id: str | None = None
    transcript: str | None = None


class FilePart(Part, frozen=True, kw_only=True, tag="file"):
    """A document (PDF, text): one of `url`, `data` (base64, with `media_type`), `text` or `file_id`."""

    url: str | None = None
    data: str | None = None
    text: str | None = None
    media_type: str | None = None
    file_id: str | None = None
    filename: str | None = None


class ReasoningPart(Part, frozen=True, kw_only=True, tag="reasoning"):
    """Reasoning text as far as it is shown. Hidden reasoning is empty text with `state`. `summary` tells whether the text
    is a summary (Responses summaries) or the model's own (open models)."""

    text: str = ""
    summary: bool = False
    redacted: bool = False


class ToolCallPart(Part, frozen=True, kw_only=True, tag="tool_call"):
    """A call of a tool. `arguments` is JSON text exactly as the model wrote it ("" when it wrote none)."""

    id: str
    name: str
    arguments: str = ""
    custom: bool = False


class ToolResultPart(Part, frozen=True, kw_only=True, tag="tool_result"):
    """The answer to a tool call, by its id. `content` holds text, image and file parts."""

    call_id: str
    content: tuple[TextPart | ImagePart | FilePart | AudioPart, ...] = ()
    name: str | None = None
    is_error: bool = False


class RefusalPart(Part, frozen=True, kw_only=True, tag="refusal"):
    """The model's refusal, in its words."""

    text: str


AnyPart = TextPart | ImagePart | AudioPart | FilePart | ReasoningPart | ToolCallPart | ToolResultPart | RefusalPart

Role = Literal["system", "user", "assistant", "tool"]


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One turn. `tool` turns hold only tool results. OpenAI's `developer` is `system` here."""

    role: Role
    parts: tuple[AnyPart, ...]
    name: str | None = None


# ---------------------------------------------------------------- request


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """A function that the model may call. `parameters` is JSON Schema, None for no parameters. `custom` is OpenAI's
    free-form tool, whose input is text in `format` (any other dialect gets a function with one string `input`)."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    custom: bool = False
    format: dict[str, Any] | None = None
    cache: CacheMark | None = None


class HostedTool(msgspec.Struct, frozen=True):
    """A tool that the provider itself runs (web search, code execution …), in its own dialect's words. Translates nowhere."""

    dialect: Dialect
    definition: dict[str, Any]


class ToolChoice(msgspec.Struct, frozen=True, kw_only=True):
    """`auto`, `none`, `required` (some tool), or `tool` (the one in `names`). With `auto`/`required`, `names` restricts."""

    mode: Literal["auto", "none", "required", "tool"]
    names: tuple[str, ...] = ()


class Reasoning(msgspec.Struct, frozen=True, kw_only=True):
    """How much the model shall think: `effort` (none, minimal, low, medium, high, xhigh, max), or a token `budget`, or
    `adaptive`. `enabled=False` switches it off. `summary` (auto, concise, detailed, omitted) asks for visible text."""

    enabled: bool | None = None
    effort: str | None = None
    budget: int | None = None
    adaptive: bool = False
    summary: str | None = None


class OutputFormat(msgspec.Struct, frozen=True, kw_only=True):
    """Structured output: any JSON object, or JSON after `schema`."""

    kind: Literal["json_object", "json_schema"]
    name: str | None = None
    schema: dict[str, Any] | None = None
    strict: bool | None = None
    description: str | None = None


class ChatRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A chat request in no dialect. None always means "not said". `system` instructions are leading `system` messages.

    `extra` holds the caller's fields that have no canonical place, by the name of the caller's dialect: they go out
    verbatim to the same dialect and are reported as dropped elsewhere.
    """

    model: str
    messages: tuple[Message, ...]
    stream: bool = False
    tools: tuple[Tool | HostedTool, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    output_format: OutputFormat | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    n: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    logit_bias: dict[str, float] | None = None
    reasoning: Reasoning | None = None
    user: str | None = None
    metadata: dict[str, Any] | None = None
    service_tier: str | None = None
    store: bool | None = None
    include_usage: bool | None = None
    extra: dict[str, dict[str, Any]] = msgspec.field(default_factory=dict)


# ---------------------------------------------------------------- answer, as events

FinishKind = Literal["stop", "length", "tool_calls", "content_filter", "error", "other"]


class Finish(msgspec.Struct, frozen=True):
    """Why generation ended: our word, the provider's, and the stop sequence that was hit where it is told."""

    unified: FinishKind
    raw: str | None = None
    stop_sequence: str | None = None


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="event"):
    """What all events carry: the choice (0 unless n > 1)."""

    choice: int = 0


class Started(Event, frozen=True, kw_only=True, tag="started"):
    """The answer begins. `id` and `model` are the provider's; `created` is seconds since the epoch where told."""

    id: str | None = None
    model: str | None = None
    created: int | None = None


class PartStarted(Event, frozen=True, kw_only=True, tag="part_started"):
    """Part number `index` (0, 1, 2 … within its choice, in order of appearance) begins. `part` holds what is known
    already: the kind, a tool call's id and name; its text, arguments or data are empty and follow as deltas. Parts may
    interleave; a dialect that cannot interleave buffers."""

    index: int
    part: AnyPart


class PartDelta(Event, frozen=True, kw_only=True, tag="part_delta"):
    """More of a part: text of text, reasoning and refusal parts, JSON text of a tool call's arguments, base64 of an audio
    part's data (`transcript` for its words). `logprobs` is OpenAI's token list."""

    index: int
    text: str = ""
    transcript: str | None = None
    logprobs: tuple[dict[str, Any], ...] | None = None


class PartEnded(Event, frozen=True, kw_only=True, tag="part_ended"):
    """A part is complete; what became known at its end."""

    index: int
    state: ProviderState | None = None
    annotations: tuple[dict[str, Any], ...] = ()


class Finished(Event, frozen=True, kw_only=True, tag="finished"):
    """A choice is complete. Comes once for each choice, before the stream's end."""

    finish: Finish


class Measured(Event, frozen=True, kw_only=True, tag="measured"):
    """Usage as known so far; the last one counts."""

    usage: Usage


class Extra(Event, frozen=True, kw_only=True, tag="extra"):
    """A fact with no canonical place (citations, service_tier …), by the dialect's own field name; may be dropped."""

    dialect: Dialect
    fields: dict[str, Any]


AnyEvent = Started | PartStarted | PartDelta | PartEnded | Finished | Measured | Extra


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """One alternative of an answer."""

    parts: tuple[AnyPart, ...]
    finish: Finish
    logprobs: tuple[dict[str, Any], ...] | None = None


class ChatResponse(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer: the fold of its events."""

    id: str | None
    model: str | None
    choices: tuple[Choice, ...]
    usage: Usage | None = None
    created: int | None = None
    extra: dict[str, dict[str, Any]] = msgspec.field(default_factory=dict)


class ModelProfile(msgspec.Struct, frozen=True, kw_only=True):
    """What a renderer must know of the target model. None means unknown: then the parameter is sent and the provider
    decides. `max_output` is in tokens."""

    provider: str
    model: str
    max_output: int | None = None
    refuses: frozenset[str] = frozenset()
    """Parameters that the model answers with an error, by ChatRequest's field names ("temperature", "prefill" …)."""


class Rendered(msgspec.Struct, frozen=True):
    """A request in a target's dialect. `dropped` names what could not be expressed, by ChatRequest's field names or by the
    caller's own names for `extra`; `notes` says what was changed to fit (e.g. "reasoning state of anthropic removed")."""

    body: dict[str, Any]
    dropped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
