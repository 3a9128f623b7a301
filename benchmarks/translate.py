"""Microseconds of CPU that the translate lane spends on a streamed chunk, by pair of dialects, and on a whole answer.

Run: python -m benchmarks.translate   (the bar is 40 µs a chunk; exit status 1 where a pair is over it)
No network: each stream is made once by the dialect's own renderer and read in pieces of one event, as they arrive.
"""

from __future__ import annotations

import gc
import statistics
import sys
import time
from collections.abc import Sequence

import msgspec

from polyroute.dialects.fold import fold, unfold
from polyroute.dialects.registry import codec
from polyroute.engine.translators import StreamTranslator
from polyroute.ports import Observation
from polyroute.types.chat import (
    AnyEvent,
    AnyPart,
    ChatRequest,
    ChatResponse,
    Choice,
    Finish,
    Message,
    ModelProfile,
    PartDelta,
    ReasoningPart,
    TextPart,
    Tool,
    ToolCallPart,
)
from polyroute.types.operations import Dialect
from polyroute.types.usage import Usage

BAR = 40.0
_ROUNDS = 7
_PIECES = 400
_MADE_OF = "four"

_CALLERS = (
    Dialect.OPENAI_CHAT,
    Dialect.OPENAI_RESPONSES,
    Dialect.ANTHROPIC_MESSAGES,
    Dialect.GEMINI,
    Dialect.OLLAMA,
)
_UPSTREAMS = (*_CALLERS, Dialect.COHERE_V2)
_REQUEST = ChatRequest(
    model="text",
    messages=(Message(role="user", parts=(TextPart(text="Hello"),)),),
    stream=True,
    include_usage=True,
    tools=(Tool(name="lookup", parameters={"type": "object"}),),
)
_PROFILE = ModelProfile(provider="benchmark", model="text")
_SHAPES: dict[str, tuple[AnyPart, ...]] = {
    "text": (TextPart(text=_MADE_OF * _PIECES),),
    "reasoning": (ReasoningPart(text=_MADE_OF * _PIECES), TextPart(text="Done.")),
    "tool call": (ToolCallPart(id="call_1", name="lookup", arguments='{"a":"' + _MADE_OF * _PIECES + '"}'),),
}


def answer_of(parts: tuple[AnyPart, ...]) -> ChatResponse:
    """A whole answer with these parts."""
    finish = Finish("tool_calls" if isinstance(parts[-1], ToolCallPart) else "stop")
    usage = Usage(input=12, output=_PIECES)
    return ChatResponse(
        id="answer-1", model="text", choices=(Choice(parts=parts, finish=finish),), usage=usage, created=1_795_000_000
    )


def in_pieces(events: Sequence[AnyEvent]) -> list[AnyEvent]:
    """The same events with every delta cut into pieces of four characters, about a token each."""
    cut: list[AnyEvent] = []
    for event in events:
        if isinstance(event, PartDelta) and len(event.text) > len(_MADE_OF):
            size = len(_MADE_OF)
            cut += [
                msgspec.structs.replace(event, text=event.text[start : start + size])
                for start in range(0, len(event.text), size)
            ]
        else:
            cut.append(event)
    return cut


def stream_of(dialect: Dialect, parts: tuple[AnyPart, ...]) -> list[bytes]:
    """The chunks of a stream in a dialect, one event each."""
    renderer = codec(dialect).renderer(_REQUEST, "answer-1", 1_795_000_000)
    chunks = [renderer.feed(event) for event in in_pieces(unfold(answer_of(parts)))]
    return [chunk for chunk in (*chunks, renderer.close()) if chunk]


def microseconds(upstream: Dialect, caller: Dialect, chunks: Sequence[bytes]) -> float:
    """Median CPU time a chunk through a fresh parser and renderer, with what the engine notes on the way."""
    rounds = []
    for _ in range(_ROUNDS):
        renderer = codec(caller).renderer(_REQUEST, "answer-1", 1_795_000_000)
        lane = StreamTranslator(codec(upstream).parser(), renderer, Observation())
        written = 0
        begun = time.process_time()
        for chunk in chunks:
            written += len(lane.feed(chunk))
        written += len(lane.end())
        rounds.append((time.process_time() - begun) / len(chunks) * 1e6)
        assert written > _PIECES
    return statistics.median(rounds)


def whole_microseconds(upstream: Dialect, caller: Dialect) -> float:
    """Median CPU time of a whole answer of 1.6 KB, and of the request that it answers."""
    ours, theirs = codec(caller), codec(upstream)
    asked = msgspec.structs.replace(_REQUEST, stream=False, include_usage=None)
    request = msgspec.json.encode(ours.render_request(asked, _PROFILE).body)
    if caller is Dialect.GEMINI:
        request = request[:-1] + b',"model":"text"}'
    answer = theirs.render_response(answer_of(_SHAPES["text"]), asked)
    rounds = []
    for _ in range(_ROUNDS):
        begun = time.process_time()
        for _ in range(50):
            read = ours.parse_request(request)
            msgspec.json.encode(theirs.render_request(read, _PROFILE).body)
            ours.render_response(fold(theirs.parse_response(answer)), read)
        rounds.append((time.process_time() - begun) / 50 * 1e6)
    return statistics.median(rounds)


def main() -> int:
    """Print the tables; 1 when a pair is over the bar."""
    gc.disable()
    worst = 0.0
    for shape, parts in _SHAPES.items():
        print(
            f"{f'µs a chunk, {shape}: upstream down, caller across':60}" + "".join(f"{c.value:>20}" for c in _CALLERS)
        )
        for upstream in _UPSTREAMS:
            chunks = stream_of(upstream, parts)
            row = [0.0 if upstream is caller else microseconds(upstream, caller, chunks) for caller in _CALLERS]
            worst = max(worst, *row)
            shown = "".join(f"{taken:20.1f}" if taken else f"{'relayed':>20}" for taken in row)
            print(f"{f'{upstream.value} ({len(chunks)} chunks)':60}{shown}")
        print()
    print(f"{'µs a request and its whole answer of 1.6 KB':60}" + "".join(f"{c.value:>20}" for c in _CALLERS))
    for upstream in _UPSTREAMS:
        row = [0.0 if upstream is caller else whole_microseconds(upstream, caller) for caller in _CALLERS]
        print(f"{upstream.value:60}" + "".join(f"{taken:20.0f}" if taken else f"{'relayed':>20}" for taken in row))
    print(f"\nworst: {worst:.1f} µs a chunk; the bar is {BAR:g}")
    return int(worst > BAR)


if __name__ == "__main__":
    sys.exit(main())
