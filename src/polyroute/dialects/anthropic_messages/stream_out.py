"""Canonical events → a Messages stream. One content block is open at a time; what interleaves is held back or continued in
a further block."""

from __future__ import annotations

from collections import deque
from typing import Any

import msgspec

from polyroute.dialects.anthropic_messages.answer_out import (
    CallIds,
    asks_caller,
    attached_state,
    closed_reasoning,
    hides_reasoning,
    render_error,
    signature_of,
    stop_reason,
)
from polyroute.dialects.anthropic_messages.usage import render_usage
from polyroute.dialects.sse import render_event
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
    ProviderState,
    ReasoningPart,
    RefusalPart,
    TextPart,
    ToolCallPart,
)
from polyroute.types.errors import PolyrouteError
from polyroute.types.operations import Dialect
from polyroute.types.usage import Usage

_A = Dialect.ANTHROPIC_MESSAGES
_encode = msgspec.json.encode


class _Block:
    """A part on its way out. `waiting` holds what came while another block was open."""

    __slots__ = ("begun", "ended", "kind", "part", "prefix", "state", "waiting", "wrote")

    def __init__(self, part: AnyPart, kind: str) -> None:
        self.part = part
        self.kind = kind
        self.waiting: list[str] = []
        self.state: ProviderState | None = part.state
        self.begun = False
        self.ended = False
        self.wrote = False
        self.prefix = b""


def _kind_of(part: AnyPart) -> str | None:
    """Which block a part becomes; None for what this API's answers cannot hold."""
    match part:
        case TextPart() | RefusalPart() | AudioPart():
            return "text"
        case ReasoningPart():
            return "thinking"
        case ToolCallPart():
            return "tool_use"
        case _:
            return None


class MessagesRenderer:
    """One stream to a caller. Text and thinking begin when there is something to say; arguments of parallel calls come one
    call after the other."""

    def __init__(self, request: ChatRequest, response_id: str) -> None:
        self._model = request.model
        self._quiet = hides_reasoning(request)
        self._id = response_id if response_id.startswith("msg_") else f"msg_{response_id}"
        self._ids = CallIds(self._id)
        self._blocks: dict[int, _Block] = {}
        self._current: int | None = None
        self._queue: deque[int] = deque()
        self._next = 0
        self._started = False
        self._finish: Finish | None = None
        self._usage: Usage | None = None
        self._extra: dict[str, Any] = {}
        self._refused = self._called = False

    def feed(self, event: AnyEvent) -> bytes:
        """The bytes for one event; other choices than the first have no place here."""
        if isinstance(event, PartDelta):
            return self._delta(event) if event.choice == 0 else b""
        if isinstance(event, Measured):
            self._usage = event.usage
        elif isinstance(event, Extra):
            if event.dialect is _A:
                self._extra |= event.fields
        elif event.choice == 0:
            if isinstance(event, PartStarted):
                return self._begin(event)
            if isinstance(event, PartEnded):
                return self._end(event)
            if isinstance(event, Finished):
                self._finish = event.finish
        return b""

    def close(self) -> bytes:
        """All blocks closed, then usage and stop reason, then the end."""
        out = self._head()
        while self._current is not None:
            self._blocks[self._current].ended = True
            out += self._advance()
        reason, sequence = stop_reason(self._finish or Finish("other"), refused=self._refused, called=self._called)
        management = self._extra.pop("context_management", None)
        closing: dict[str, Any] = {
            "type": "message_delta",
            "delta": {"stop_reason": reason, "stop_sequence": sequence, "stop_details": None, **self._extra},
            "usage": render_usage(self._usage),
        }
        if management is not None:
            closing["context_management"] = management
        return (
            out
            + render_event(_encode(closing), "message_delta")
            + b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
        )

    def error(self, error: PolyrouteError) -> bytes:
        """An error event; nothing follows it."""
        return render_event(render_error(error), "error")

    # ---------------------------------------------------------------- blocks

    def _head(self) -> bytes:
        if self._started:
            return b""
        self._started = True
        usage = render_usage(self._usage)
        usage["output_tokens"] = 0
        usage.pop("output_tokens_details", None)
        message: dict[str, Any] = {
            "id": self._id, "type": "message", "role": "assistant", "model": self._model, "content": [],
            "stop_reason": None, "stop_sequence": None, "stop_details": None, "usage": usage,
        }  # fmt: skip
        return render_event(_encode({"type": "message_start", "message": message}), "message_start")

    def _begin(self, event: PartStarted) -> bytes:
        kind = _kind_of(event.part)
        if kind is None:
            return b""
        self._refused |= isinstance(event.part, RefusalPart)
        self._called |= asks_caller(event.part)
        self._blocks[event.index] = _Block(event.part, kind)
        return self._give_way(event.index)

    def _give_way(self, index: int) -> bytes:
        """Makes a part the current one, or queues it behind a call that is still being written."""
        if self._current is None:
            self._current = index
            return self._write(self._blocks[index])
        current = self._blocks[self._current]
        if current.kind == "tool_use" and not current.ended:
            self._queue.append(index)
            return b""
        out = self._stop(current)
        self._current = index
        return out + self._write(self._blocks[index])

    def _delta(self, event: PartDelta) -> bytes:
        block = self._blocks.get(event.index)
        if block is None:
            return b""
        text = (event.transcript or "") if isinstance(block.part, AudioPart) else event.text
        if not text or (self._quiet and block.kind == "thinking"):
            return b""
        if event.index == self._current and not (isinstance(block.part, ToolCallPart) and block.part.custom):
            out = b"" if block.begun else self._open(block)
            return out + self._text(block, text)
        block.waiting.append(text)
        if event.index == self._current or event.index in self._queue:
            return b""
        return self._give_way(event.index)  # a part that had given way goes on: in a further block

    def _end(self, event: PartEnded) -> bytes:
        block = self._blocks.get(event.index)
        if block is None:
            return b""
        block.ended = True
        block.state = event.state or block.state
        if event.index == self._current:
            return self._advance()
        if event.index not in self._queue and block.kind == "thinking" and event.state is not None:
            return self._give_way(event.index)  # its state came late: an empty block carries it
        return b""

    def _advance(self) -> bytes:
        """Closes the current block, then writes those behind it as far as they can be."""
        out = b""
        while self._current is not None and self._blocks[self._current].ended:
            out += self._stop(self._blocks[self._current])
            self._current = self._queue.popleft() if self._queue else None
            if self._current is not None:
                out += self._write(self._blocks[self._current])
        return out

    def _write(self, block: _Block) -> bytes:
        """What a block has to say when its turn comes."""
        if block.kind == "tool_use":
            out = self._open(block)
            if block.part.__class__ is ToolCallPart and block.part.custom:
                return out
        elif block.waiting:
            out = self._open(block)
        else:
            return b""
        text, block.waiting = "".join(block.waiting), []
        return out + (self._text(block, text) if text else b"")

    def _open(self, block: _Block) -> bytes:
        block.begun = True
        match block.kind:
            case "text":
                content: dict[str, Any] = {"type": "text", "text": ""}
            case "thinking":
                content = {"type": "thinking", "thinking": "", "signature": ""}
            case _:
                return self._open_call(block)
        return self._open_with(block, content)

    def _open_call(self, block: _Block) -> bytes:
        part = block.part
        assert isinstance(part, ToolCallPart)
        out = b""
        attached = attached_state(part.state)
        if attached is not None:
            out = self._whole(attached)
        own = part.state.fields if part.state is not None and attached is None else {}
        call = {"type": "tool_use", "id": self._ids.take(part.id), "name": part.name, "input": {}, **own}
        return out + self._open_with(block, call)

    def _open_with(self, block: _Block | None, content: dict[str, Any]) -> bytes:
        out = self._head()
        index = self._next
        self._next += 1
        if block is not None:
            block.prefix = (
                b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":' % index
            )
        start = {"type": "content_block_start", "index": index, "content_block": content}
        return out + render_event(_encode(start), "content_block_start")

    def _text(self, block: _Block, text: str) -> bytes:
        block.wrote = True
        match block.kind:
            case "text":
                return b'%b{"type":"text_delta","text":%b}}\n\n' % (block.prefix, _encode(text))
            case "thinking":
                return b'%b{"type":"thinking_delta","thinking":%b}}\n\n' % (block.prefix, _encode(text))
            case _:
                return b'%b{"type":"input_json_delta","partial_json":%b}}\n\n' % (block.prefix, _encode(text))

    def _stop(self, block: _Block) -> bytes:
        """The end of a block: a call's missing arguments, a text's citations, a thought's signature."""
        out = b""
        part = block.part
        if block.kind == "thinking":
            closed = closed_reasoning(block.state)
            if closed is not None:
                return b"" if block.begun else self._whole(closed)
            if not block.begun:
                if block.state is None and not (self._quiet and block.ended):
                    return b""
                out = self._open(block)
            signature = signature_of(block.state)
            out += b'%b{"type":"signature_delta","signature":%b}}\n\n' % (block.prefix, _encode(signature))
            block.state = None
        elif not block.begun:
            return b""
        elif isinstance(part, ToolCallPart):
            if part.custom:
                out = self._text(block, _encode({"input": "".join(block.waiting)}).decode())
            elif not block.wrote:
                out = self._text(block, "{}")
        elif block.state is not None and block.state.dialect is _A:
            for citation in block.state.fields.get("citations") or ():
                out += b'%b{"type":"citations_delta","citation":%b}}\n\n' % (block.prefix, _encode(citation))
        block.begun = False
        return out + b'event: content_block_stop\ndata: {"type":"content_block_stop","index":%d}\n\n' % (self._next - 1)

    def _whole(self, content: dict[str, Any]) -> bytes:
        """A block that comes at once. Input of a call of the provider's own goes as a delta, as clients expect it."""
        index = self._next
        arguments = content.get("input")
        if isinstance(arguments, dict) and content.get("type") != "tool_use":
            content = {**content, "input": {}}
        shown = content
        signature = None
        if content.get("type") == "thinking":
            signature = content["signature"]
            shown = {**content, "signature": ""}
        out = self._open_with(None, shown)
        if arguments:
            delta = {"type": "input_json_delta", "partial_json": _encode(arguments).decode()}
        elif signature is not None:
            delta = {"type": "signature_delta", "signature": signature}
        else:
            delta = None
        if delta is not None:
            event = {"type": "content_block_delta", "index": index, "delta": delta}
            out += render_event(_encode(event), "content_block_delta")
        return out + b'event: content_block_stop\ndata: {"type":"content_block_stop","index":%d}\n\n' % index
