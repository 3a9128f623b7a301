"""The state machine that reads an answer of the Messages API, block by block, whole or streamed alike."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from polyroute.dialects.anthropic_messages.content_in import reasoning_part
from polyroute.dialects.anthropic_messages.usage import parse_usage
from polyroute.types.chat import (
    AnyEvent,
    AnyPart,
    Extra,
    Finish,
    Finished,
    FinishKind,
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
from polyroute.types.operations import Dialect

_A = Dialect.ANTHROPIC_MESSAGES
FINISH_KINDS: dict[str, FinishKind] = {
    "end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "model_context_window_exceeded": "length",
    "compaction": "length", "pause_turn": "length", "tool_use": "tool_calls", "refusal": "content_filter",
}  # fmt: skip
_EXTRAS = ("stop_details", "container", "context_management")


class Delta(msgspec.Struct, gc=False):
    """The `delta` of a block, or of the message at its end."""

    type: str | None = None
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    partial_json: str | None = None
    citation: Any = None
    content: Any = None
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: Any = None
    container: Any = None


class StreamEvent(msgspec.Struct, gc=False):
    """Any event of the stream: typed for speed, lenient where providers differ."""

    type: str | None = None
    index: int | None = None
    delta: Delta | None = None
    content_block: dict[str, Any] | None = None
    message: dict[str, Any] | None = None
    usage: dict[str, Any] | None = None
    context_management: Any = None
    error: Any = None


class _Block:
    """A content block while it is open. `index` is its part's."""

    __slots__ = ("arguments", "block", "citations", "index", "kind", "length", "signature")

    def __init__(self, index: int, kind: str, block: dict[str, Any]) -> None:
        self.index = index
        self.kind = kind
        self.block = block
        self.arguments: list[str] = []
        self.citations: list[Any] = []
        self.signature = ""
        self.length = 0


class Reading:
    """The state machine that whole answers and streams share."""

    def __init__(self) -> None:
        self.began = False
        self.reason: str | None = None
        self._sequence: str | None = None
        self._open: dict[int, _Block] = {}
        self._next = 0
        self._calls = False
        self._id = ""
        self._usage: dict[str, Any] = {}
        self._extra: dict[str, Any] = {}

    def start(self, message: dict[str, Any]) -> list[AnyEvent]:
        """The answer's head."""
        self.began = True
        identity, model = message.get("id"), message.get("model")
        self._id = identity if isinstance(identity, str) else ""
        self._merge_usage(message.get("usage"))
        events: list[AnyEvent] = [Started(id=self._id or None, model=model if isinstance(model, str) else None)]
        if known := {k: v for k, v in self._usage.items() if k not in ("output_tokens", "output_tokens_details")}:
            events.append(Measured(usage=parse_usage(known)))
        return events

    def begin(self, index: int, block: dict[str, Any]) -> list[AnyEvent]:
        """A block begins, with whatever it holds already."""
        self.began = True
        events = self.end(index) if index in self._open else []
        given = block.get("type")
        kind = given if isinstance(given, str) else "text"
        opened = self._open[index] = _Block(self._next, kind, block)
        self._next += 1
        part: AnyPart
        match kind:
            case "text":
                part = TextPart(text="")
                opened.citations = list(block.get("citations") or ())
            case "thinking":
                part = ReasoningPart()
                opened.signature = _string(block.get("signature"))
            case "tool_use":
                part = self._call(opened)
            case _:
                part = ReasoningPart(redacted=True)
        events.append(PartStarted(index=opened.index, part=part))
        if kind in ("text", "thinking") and (text := _string(block.get(kind))):
            opened.length += len(text)
            events.append(PartDelta(index=opened.index, text=text))
        return events

    def _call(self, opened: _Block) -> ToolCallPart:
        block = opened.block
        caller = block.get("caller")
        if not isinstance(caller, dict) or caller.get("type", "direct") == "direct":
            self._calls = True
        call_id = _string(block.get("id"))
        if not call_id:
            seed = f"{self._id}/{opened.index}/{block.get('name')}"
            call_id = "toolu_" + hashlib.sha256(seed.encode("utf-8", "surrogatepass")).hexdigest()[:24]
        others = {
            key: value
            for key, value in block.items()
            if key not in ("type", "id", "name", "input") and value is not None and value != {"type": "direct"}
        }
        return ToolCallPart(
            id=call_id, name=_string(block.get("name")), state=ProviderState(_A, others) if others else None
        )

    def delta(self, index: int, delta: Delta) -> list[AnyEvent]:
        """More of a block; one that never began begins now."""
        opened = self._open.get(index)
        events: list[AnyEvent] = []
        if opened is None:
            kind = {"thinking_delta": "thinking", "signature_delta": "thinking"}.get(delta.type or "", "text")
            if delta.type == "input_json_delta":
                return events  # arguments of a call that has no name are of no use
            events = self.begin(index, {"type": kind})
            opened = self._open[index]
        match delta.type:
            case "text_delta" | "thinking_delta":
                text = delta.text if delta.type == "text_delta" else delta.thinking
                if text:
                    opened.length += len(text)
                    events.append(PartDelta(index=opened.index, text=text))
            case "input_json_delta":
                if delta.partial_json:
                    opened.arguments.append(delta.partial_json)
                    if opened.kind == "tool_use":
                        events.append(PartDelta(index=opened.index, text=delta.partial_json))
            case "signature_delta":
                opened.signature += delta.signature or ""
            case "citations_delta":
                opened.citations.append(delta.citation)
            case "compaction_delta":
                opened.block["content"] = _string(opened.block.get("content")) + _string(delta.content)
            case _:
                pass
        return events

    def end(self, index: int) -> list[AnyEvent]:
        """A block is complete."""
        opened = self._open.pop(index, None)
        if opened is None:
            return []
        block = opened.block
        match opened.kind:
            case "text":
                cited = [citation for citation in opened.citations if isinstance(citation, dict)]
                state = ProviderState(_A, {"citations": cited}) if cited else None
                return [PartEnded(index=opened.index, state=state, annotations=_annotations(cited, opened.length))]
            case "thinking":
                return [PartEnded(index=opened.index, state=reasoning_part("", opened.signature).state)]
            case "tool_use":
                events: list[AnyEvent] = []
                if not opened.arguments:
                    given = block.get("input")
                    text = given if isinstance(given, str) else msgspec.json.encode(given or {}).decode()
                    events.append(PartDelta(index=opened.index, text=text))
                return [*events, PartEnded(index=opened.index)]
            case "redacted_thinking":
                return [PartEnded(index=opened.index, state=ProviderState(_A, {"data": _string(block.get("data"))}))]
            case _:
                if opened.arguments:
                    block = {**block, "input": _json_or_text("".join(opened.arguments))}
                return [PartEnded(index=opened.index, state=ProviderState(_A, {"block": block}))]

    def note_end(self, delta: dict[str, Any] | Delta | None, usage: Any, management: Any) -> None:
        """What a `message_delta` or a whole message says of the answer's end."""
        self._merge_usage(usage)
        fields = delta if isinstance(delta, dict) else msgspec.structs.asdict(delta) if delta is not None else {}
        if isinstance(fields.get("stop_reason"), str):
            self.reason = fields["stop_reason"]
            sequence = fields.get("stop_sequence")
            self._sequence = sequence if isinstance(sequence, str) else None
        for name in _EXTRAS:
            value = management if name == "context_management" and management is not None else fields.get(name)
            if value is not None:
                self._extra[name] = value

    def finish(self) -> list[AnyEvent]:
        """The answer is complete."""
        events = [event for index in sorted(self._open) for event in self.end(index)]
        kind = FINISH_KINDS.get(self.reason or "", "other")
        if kind in ("stop", "other") and self._calls:
            kind = "tool_calls"
        events.append(Finished(finish=Finish(kind, self.reason, self._sequence)))
        if self._extra:
            events.append(Extra(dialect=_A, fields=self._extra))
        if self._usage:
            events.append(Measured(usage=parse_usage(self._usage)))
        return events

    def _merge_usage(self, usage: Any) -> None:
        if isinstance(usage, dict):
            self._usage |= {name: value for name, value in usage.items() if value is not None}


def _annotations(citations: list[dict[str, Any]], length: int) -> tuple[dict[str, Any], ...]:
    """Citations of web pages in OpenAI's shape. This API cites for a block as a whole."""
    return tuple(
        {
            "type": "url_citation",
            "url_citation": {
                "url": citation["url"], "title": _string(citation.get("title")), "start_index": 0, "end_index": length,
            },
        }
        for citation in citations
        if isinstance(citation.get("url"), str)
    )  # fmt: skip


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _json_or_text(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return text
