"""The state machine that reads generateContent answers, chunk by chunk, whole or streamed alike."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from polyroute.dialects.gemini.content_in import state_of
from polyroute.dialects.gemini.grounding import grounding_annotations, logprob_tokens
from polyroute.dialects.gemini.usage import parse_usage
from polyroute.dialects.media_types import audio_format
from polyroute.dialects.openai_chat.failures import failed
from polyroute.types.chat import (
    AnyEvent,
    AnyPart,
    AudioPart,
    Extra,
    FilePart,
    Finish,
    Finished,
    FinishKind,
    ImagePart,
    Measured,
    PartDelta,
    PartEnded,
    PartStarted,
    ProviderState,
    ReasoningPart,
    Started,
    TextPart,
    ToolCallPart,
)
from polyroute.types.errors import ErrorKind
from polyroute.types.operations import Dialect

_G = Dialect.GEMINI
FINISH_KINDS: dict[str, FinishKind] = {
    "STOP": "stop", "MAX_TOKENS": "length", "CONTINUATION": "length", "SAFETY": "content_filter",
    "RECITATION": "content_filter", "LANGUAGE": "content_filter", "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter", "SPII": "content_filter", "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter", "IMAGE_RECITATION": "content_filter", "MODEL_ARMOR": "content_filter",
}  # fmt: skip
_FAILED = frozenset(
    {
        "MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS", "MALFORMED_RESPONSE",
        "MISSING_THOUGHT_SIGNATURE",
    }
)  # fmt: skip
"""Reasons that mean that the model wrote nonsense: the attempt failed."""


class Call(msgspec.Struct, gc=False):
    """A function call, always complete."""

    id: str | None = None
    name: str | None = None
    args: dict[str, Any] | None = None


class Part(msgspec.Struct):
    """One part, or the next piece of a text."""

    text: str | None = None
    thought: bool | None = None
    thoughtSignature: str | None = None  # noqa: N815 (wire name)
    functionCall: Call | None = None  # noqa: N815
    inlineData: dict[str, Any] | None = None  # noqa: N815
    fileData: dict[str, Any] | None = None  # noqa: N815
    executableCode: Any = None  # noqa: N815
    codeExecutionResult: Any = None  # noqa: N815
    toolCall: Any = None  # noqa: N815
    toolResponse: Any = None  # noqa: N815


class Content(msgspec.Struct):
    """The parts of a candidate."""

    parts: list[Part] | None = None


class Candidate(msgspec.Struct):
    """One alternative, or more of it."""

    index: int | None = None
    content: Content | None = None
    finishReason: str | None = None  # noqa: N815
    finishMessage: str | None = None  # noqa: N815
    groundingMetadata: dict[str, Any] | None = None  # noqa: N815
    citationMetadata: dict[str, Any] | None = None  # noqa: N815
    urlContextMetadata: Any = None  # noqa: N815
    safetyRatings: Any = None  # noqa: N815
    logprobsResult: dict[str, Any] | None = None  # noqa: N815


class Chunk(msgspec.Struct):
    """A chunk of a stream, or a whole answer."""

    candidates: list[Candidate] | None = None
    promptFeedback: dict[str, Any] | None = None  # noqa: N815
    usageMetadata: dict[str, Any] | None = None  # noqa: N815
    modelVersion: str | None = None  # noqa: N815
    responseId: str | None = None  # noqa: N815
    error: Any = None


class _Choice:
    """One candidate so far. `open` is the text or reasoning part that goes on, with its index."""

    __slots__ = ("calls", "extra", "kind", "message", "next", "open", "pieces", "reason", "signature")

    def __init__(self) -> None:
        self.next = 0
        self.open: int | None = None
        self.kind = ""
        self.signature: str | None = None
        self.pieces: list[str] = []
        self.calls = 0
        self.reason: str | None = None
        self.message: str | None = None
        self.extra: dict[str, Any] = {}


class Reading:
    """The state machine."""

    def __init__(self) -> None:
        self.began = False
        self._id = ""
        self._choices: dict[int, _Choice] = {}
        self._usage: dict[str, Any] = {}
        self._feedback: dict[str, Any] | None = None

    @property
    def complete(self) -> bool:
        """Whether every candidate has its finish reason, or the prompt was blocked."""
        if not self._choices:
            return self._blocked() is not None
        return all(choice.reason is not None for choice in self._choices.values())

    def take(self, chunk: Chunk) -> list[AnyEvent]:
        """The events of one chunk. Raises AttemptFailed (`bad_response`) when the model's answer is malformed."""
        events: list[AnyEvent] = []
        if not self.began:
            self.began = True
            self._id = chunk.responseId or ""
            events.append(Started(id=chunk.responseId, model=chunk.modelVersion))
            if chunk.usageMetadata and "promptTokenCount" in chunk.usageMetadata:
                events.append(Measured(usage=parse_usage(chunk.usageMetadata)))
        if chunk.usageMetadata:
            self._usage |= chunk.usageMetadata
        if chunk.promptFeedback:
            self._feedback = chunk.promptFeedback
        for candidate in chunk.candidates or ():
            self._candidate(candidate, events)
        return events

    def _candidate(self, candidate: Candidate, events: list[AnyEvent]) -> None:
        number = candidate.index or 0
        choice = self._choices.get(number)
        if choice is None:
            choice = self._choices[number] = _Choice()
        parts = candidate.content.parts if candidate.content is not None else None
        told = logprob_tokens(candidate.logprobsResult) if candidate.logprobsResult else None
        fresh = True  # parts of one chunk are parts of their own; only the first may go on with the last chunk's
        for part in parts or ():
            self._part(number, choice, part, events, joins=fresh)
            fresh = False
        if told:
            at = choice.open if choice.kind == "text" and choice.open is not None else None
            if at is not None:
                events.append(PartDelta(choice=number, index=at, logprobs=told))
        if candidate.finishReason is not None and candidate.finishReason != "FINISH_REASON_UNSPECIFIED":
            choice.reason = candidate.finishReason
            choice.message = candidate.finishMessage or choice.message
        for name in ("groundingMetadata", "citationMetadata", "urlContextMetadata", "safetyRatings"):
            if value := getattr(candidate, name):
                choice.extra[name] = value

    def _part(self, number: int, choice: _Choice, part: Part, events: list[AnyEvent], *, joins: bool) -> None:
        if part.functionCall is not None:
            self._call(number, choice, part.functionCall, part.thoughtSignature, events)
        elif part.text is not None:
            self._text(number, choice, part, events, joins=joins)
        else:
            self._other(number, choice, part, events)

    def _text(self, number: int, choice: _Choice, part: Part, events: list[AnyEvent], *, joins: bool) -> None:
        kind = "reasoning" if part.thought else "text"
        text, signature = part.text or "", part.thoughtSignature
        if not text and not signature:
            return
        if not text and (choice.open is None or choice.signature is not None):
            state = ProviderState(_G, {"part": {"text": "", "thoughtSignature": signature}})
            self._add(number, choice, ReasoningPart(redacted=True), events, state)
            return
        signed = choice.signature is not None  # a signed part must not grow
        if text and (choice.kind != kind or choice.open is None or not joins or signed):
            self._close(number, choice, events)
            choice.open, choice.kind = choice.next, kind
            choice.pieces = []
            choice.next += 1
            opened: AnyPart = ReasoningPart(summary=True) if kind == "reasoning" else TextPart(text="")
            events.append(PartStarted(choice=number, index=choice.open, part=opened))
        assert choice.open is not None
        if text:
            events.append(PartDelta(choice=number, index=choice.open, text=text))
            if kind == "text":
                choice.pieces.append(text)
        if signature:
            choice.signature = signature

    def _call(self, number: int, choice: _Choice, call: Call, signature: str | None, events: list[AnyEvent]) -> None:
        arguments = msgspec.json.encode(call.args or {}).decode()
        call_id = call.id
        if not call_id:
            seed = f"{self._id}/{number}/{choice.calls}/{call.name}/{arguments}"
            call_id = "call_" + hashlib.sha256(seed.encode("utf-8", "surrogatepass")).hexdigest()[:24]
        choice.calls += 1
        part = ToolCallPart(id=call_id, name=call.name or "", state=state_of(signature))
        self._close(number, choice, events)
        index, choice.next = choice.next, choice.next + 1
        events.append(PartStarted(choice=number, index=index, part=part))
        events.append(PartDelta(choice=number, index=index, text=arguments))
        events.append(PartEnded(choice=number, index=index))

    def _other(self, number: int, choice: _Choice, part: Part, events: list[AnyEvent]) -> None:
        data = part.inlineData or {}
        media_type, content = str(data.get("mimeType") or ""), data.get("data")
        state = state_of(part.thoughtSignature)
        if isinstance(content, str) and media_type.startswith("image/"):
            self._add(number, choice, ImagePart(data=content, media_type=media_type), events, state)
        elif isinstance(content, str) and media_type.startswith("audio/"):
            self._add(number, choice, AudioPart(format=audio_format(media_type)), events, state, data=content)
        elif isinstance(content, str):
            self._add(number, choice, FilePart(data=content, media_type=media_type or None), events, state)
        elif part.fileData and isinstance(part.fileData.get("fileUri"), str):
            stored = FilePart(file_id=part.fileData["fileUri"], media_type=part.fileData.get("mimeType"))
            self._add(number, choice, stored, events, state)
        else:
            opaque = {
                name: value
                for name in ("executableCode", "codeExecutionResult", "toolCall", "toolResponse", "thoughtSignature")
                if (value := getattr(part, name)) is not None
            }
            if opaque:
                self._add(number, choice, ReasoningPart(redacted=True), events, ProviderState(_G, {"part": opaque}))

    def _add(
        self, number: int, choice: _Choice, part: AnyPart, events: list[AnyEvent], state: ProviderState | None,
        *, data: str = "",
    ) -> None:  # fmt: skip
        """A part that comes at once."""
        self._close(number, choice, events)
        index, choice.next = choice.next, choice.next + 1
        events.append(PartStarted(choice=number, index=index, part=part))
        if data:
            events.append(PartDelta(choice=number, index=index, text=data))
        events.append(PartEnded(choice=number, index=index, state=state))

    def _close(
        self, number: int, choice: _Choice, events: list[AnyEvent], annotations: tuple[dict[str, Any], ...] = ()
    ) -> None:
        if choice.open is None:
            return
        state = state_of(choice.signature)
        events.append(PartEnded(choice=number, index=choice.open, state=state, annotations=annotations))
        choice.open, choice.signature = None, None

    def finish(self) -> list[AnyEvent]:
        """The answer is complete. Raises AttemptFailed where a candidate failed, or where there is none."""
        events: list[AnyEvent] = []
        blocked = self._blocked()
        if not self._choices and blocked is None:
            raise failed(ErrorKind.BAD_RESPONSE, "empty answer: no candidates")
        for number, choice in sorted(self._choices.items()):
            self._finish_choice(number, choice, events)
        if not self._choices:
            events.append(Finished(finish=Finish("content_filter", blocked)))
        if self._feedback:
            events.append(Extra(dialect=_G, fields={"promptFeedback": self._feedback}))
        if self._usage:
            events.append(Measured(usage=parse_usage(self._usage)))
        return events

    def _finish_choice(self, number: int, choice: _Choice, events: list[AnyEvent]) -> None:
        annotations: tuple[dict[str, Any], ...] = ()
        if choice.open is not None and choice.kind == "text" and choice.extra:
            annotations = grounding_annotations(choice.extra, "".join(choice.pieces))
        self._close(number, choice, events, annotations)
        reason = choice.reason
        if reason in _FAILED:
            said = f": {choice.message}" if choice.message else ""
            raise failed(ErrorKind.BAD_RESPONSE, f"the model's answer failed with {reason}{said}")
        kind = FINISH_KINDS.get(reason or "", "other")
        if kind in ("stop", "other") and choice.calls:
            kind = "tool_calls"
        events.append(Finished(choice=number, finish=Finish(kind, reason)))
        if choice.extra:
            events.append(Extra(choice=number, dialect=_G, fields=choice.extra))

    def _blocked(self) -> str | None:
        reason = (self._feedback or {}).get("blockReason")
        return reason if isinstance(reason, str) else None
