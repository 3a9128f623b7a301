"""The parts of a chat completion, whole or chunk, that are read: typed for speed, lenient where providers differ."""

from __future__ import annotations

from typing import Any

import msgspec

from polyroute.types.chat import FinishKind


class WireFunction(msgspec.Struct, gc=False):
    """Name and arguments of a call; arguments are an object at some providers."""

    name: str | None = None
    arguments: Any = None


class WireCustom(msgspec.Struct, gc=False):
    """Name and input of a call of a free-form tool."""

    name: str | None = None
    input: str | None = None


class WireToolCall(msgspec.Struct, gc=False):
    """A tool call or the next piece of one."""

    index: int | None = None
    id: str | None = None
    type: str | None = None
    function: WireFunction | None = None
    custom: WireCustom | None = None
    extra_content: Any = None


class WireMessage(msgspec.Struct):
    """A message or a delta of one."""

    content: str | list[Any] | None = None
    refusal: str | None = None
    reasoning_content: Any = None
    reasoning: Any = None
    reasoning_details: Any = None
    tool_calls: list[WireToolCall] | None = None
    function_call: WireFunction | None = None
    audio: dict[str, Any] | None = None
    images: list[Any] | None = None
    annotations: list[dict[str, Any]] | None = None
    extra_content: Any = None


class WireChoice(msgspec.Struct):
    """A choice, with a `message` (whole) or a `delta` (stream)."""

    index: int | None = 0
    delta: WireMessage | None = None
    message: WireMessage | None = None
    finish_reason: str | None = None
    logprobs: Any = None
    stop_reason: Any = None


class WireAnswer(msgspec.Struct):
    """A whole completion or one chunk."""

    id: str | None = None
    model: str | None = None
    created: int | float | None = None
    object: str | None = None
    choices: list[WireChoice] | None = None
    usage: dict[str, Any] | None = None
    error: Any = None
    x_groq: dict[str, Any] | None = None
    meta: dict[str, Any] | None = None
    message: Any = None
    code: Any = None
    service_tier: Any = None
    system_fingerprint: Any = None
    citations: Any = None
    search_results: Any = None
    provider: Any = None

    @property
    def has_extra(self) -> bool:
        """Whether any of EXTRA_FIELDS is there."""
        return (
            self.service_tier is not None
            or self.system_fingerprint is not None
            or self.citations is not None
            or self.search_results is not None
            or self.provider is not None
        )


EXTRA_FIELDS = ("service_tier", "system_fingerprint", "citations", "search_results", "provider")
"""Top-level facts that chat callers get as they are."""


NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding raises for bytes that are no JSON, or that nest without end."""
decode_answer = msgspec.json.Decoder(WireAnswer).decode
"""JSON → answer. Raises msgspec.ValidationError on other types than these, msgspec.DecodeError on what is no JSON."""

FINISH_KINDS: dict[str, FinishKind] = {
    "stop": "stop", "eos": "stop", "eos_token": "stop", "stop_sequence": "stop", "end_turn": "stop", "length": "length",
    "max_tokens": "length", "model_length": "length", "tool_calls": "tool_calls", "function_call": "tool_calls",
    "tool_use": "tool_calls", "content_filter": "content_filter", "error": "error", "insufficient_system_resource": "error",
}  # fmt: skip
"""Our word for each provider's finish reason; every other one is "other"."""
