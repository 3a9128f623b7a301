"""Canonical events → a streamGenerateContent stream: events, or one growing array."""

from __future__ import annotations

from typing import Any

import msgspec

from polyroute.dialects.gemini.answer_out import (
    CANDIDATE_FIELDS,
    error_object,
    finish_reason,
    hides_reasoning,
    render_part,
    signature,
)
from polyroute.dialects.gemini.grounding import render_logprobs
from polyroute.dialects.gemini.usage import render_usage
from polyroute.types.chat import (
    AnyEvent,
    AnyPart,
    AudioPart,
    ChatRequest,
    Extra,
    Finish,
    Finished,
    Measured,
    PartDelta,
    PartEnded,
    PartStarted,
    ReasoningPart,
    RefusalPart,
    TextPart,
    ToolCallPart,
)
from polyroute.types.errors import PolyrouteError
from polyroute.types.operations import Dialect
from polyroute.types.usage import Usage

_G = Dialect.GEMINI
_encode = msgspec.json.encode


class _Open:
    """A part while its deltas arrive; `held` for parts that this API only knows whole."""

    __slots__ = ("held", "part", "streams", "words")

    def __init__(self, part: AnyPart) -> None:
        self.part = part
        self.streams = isinstance(part, TextPart | RefusalPart | ReasoningPart)
        self.held: list[str] = []
        self.words: list[str] = []


class GeminiRenderer:
    """One stream to a caller as events. Text goes out as it comes, calls when they are complete; finish reasons and usage are
    in the last chunk."""

    def __init__(self, request: ChatRequest, response_id: str) -> None:
        self._quiet = hides_reasoning(request)
        tail = {"modelVersion": request.model, "responseId": response_id}
        self._tail = b"," + _encode(tail)[1:]
        self._parts: dict[tuple[int, int], _Open] = {}
        self._finishes: dict[int, Finish] = {}
        self._usage: Usage | None = None
        self._beside: dict[str, Any] = {}
        self._top: dict[str, Any] = {}

    def feed(self, event: AnyEvent) -> bytes:
        """The bytes for one event."""
        if isinstance(event, PartDelta):
            return self._delta(event)
        match event:
            case PartStarted():
                self._parts[event.choice, event.index] = _Open(event.part)
            case PartEnded():
                return self._end(event)
            case Finished():
                self._finishes[event.choice] = event.finish
            case Measured():
                self._usage = event.usage
            case Extra() if event.dialect is _G:
                for name, value in event.fields.items():
                    (self._beside if name in CANDIDATE_FIELDS else self._top)[name] = value
            case _:
                pass
        return b""

    def close(self) -> bytes:
        """What was held back, then the last chunk."""
        out = b"".join(self._end(PartEnded(choice=choice, index=index)) for choice, index in list(self._parts))
        candidates = [
            {
                "content": {"role": "model", "parts": [{"text": ""}]},
                "finishReason": finish_reason(finish),
                "index": number,
                **(self._beside if number == 0 else {}),
            }
            for number, finish in sorted(self._finishes.items())
        ]
        last: dict[str, Any] = {} if "promptFeedback" in self._top and not out else {"candidates": candidates}
        last |= self._top
        if self._usage is not None:
            last["usageMetadata"] = render_usage(self._usage)
        if not last:
            last["candidates"] = candidates
        return out + self._frame(_encode(last)[:-1] + self._tail) + self._end_of_stream()

    def error(self, error: PolyrouteError) -> bytes:
        """An error chunk; nothing follows it."""
        return self._frame(_encode(error_object(error))) + self._end_of_stream()

    def _frame(self, chunk: bytes) -> bytes:
        return b"data: %b\r\n\r\n" % chunk

    def _end_of_stream(self) -> bytes:
        return b""

    def _delta(self, event: PartDelta) -> bytes:
        opened = self._parts.get((event.choice, event.index))
        if opened is None:
            return b""
        if not opened.streams:
            opened.held.append(event.text)
            if event.transcript:
                opened.words.append(event.transcript)
            return b""
        if isinstance(opened.part, ReasoningPart):
            if self._quiet or not event.text:
                return b""
            return self._chunk(event.choice, b'{"text":%b,"thought":true}' % _encode(event.text))
        if not event.text and event.logprobs is None:
            return b""
        told = b"" if event.logprobs is None else b',"logprobsResult":' + _encode(render_logprobs(event.logprobs))
        return self._chunk(event.choice, b'{"text":%b}' % _encode(event.text), told)

    def _end(self, event: PartEnded) -> bytes:
        opened = self._parts.pop((event.choice, event.index), None)
        if opened is None:
            return b""
        state = event.state or opened.part.state
        part = msgspec.structs.replace(opened.part, state=state)
        made: dict[str, Any] | None
        if opened.streams:
            own = state.fields if state is not None and state.dialect is _G else {}
            signed = signature(state) if isinstance(part, ReasoningPart) else own
            thought = {"thought": True} if isinstance(part, ReasoningPart) else {}
            made = own.get("part") or ({"text": "", **thought, **signed} if signed else None)
        else:
            made = render_part(_with_content(part, opened), quiet=self._quiet)
        return b"" if made is None else self._chunk(event.choice, _encode(made))

    def _chunk(self, choice: int, part: bytes, more: bytes = b"") -> bytes:
        return self._frame(
            b'{"candidates":[{"content":{"role":"model","parts":[%b]},"index":%d%b}]%b'
            % (part, choice, more, self._tail)
        )


def _with_content(part: AnyPart, opened: _Open) -> AnyPart:
    text = "".join(opened.held)
    if isinstance(part, ToolCallPart):
        return msgspec.structs.replace(part, arguments=part.arguments + text)
    if isinstance(part, AudioPart):
        words = "".join(opened.words)
        return msgspec.structs.replace(part, data=(part.data or "") + text or None, transcript=words or part.transcript)
    return part
