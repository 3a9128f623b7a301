"""What a relayed stream costs the engine for each chunk, and how much of that is remembering it for a rescue.

`python -m benchmarks.relaying` prints microseconds a chunk: the answer as the surface takes it, from bytes that have arrived
already, so neither the network nor the HTTP server is in it.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

from polyroute.dialects.openai_chat.observer import ChatObserver
from polyroute.dialects.registry import codec
from polyroute.engine.answers import StreamAnswer
from polyroute.engine.attempts import Attempt
from polyroute.engine.delivered import Delivered
from polyroute.engine.observe import ParserObserver
from polyroute.ports import AnswerReader, Headers, Observation, Timeouts
from polyroute.types.errors import Failure, PolyrouteError
from polyroute.types.operations import Dialect

ROUNDS = 15


class ArrivedResponse:
    """A `ports.WireResponse` whose chunks are there already."""

    status = 200

    def __init__(self, chunks: list[bytes]) -> None:
        self.headers: Headers = []
        self._chunks = iter(chunks)

    async def read(self, deadline: float, limit: int) -> bytes:
        """Everything."""
        return b"".join(self._chunks)

    def rest(self) -> None:
        """It is to be received."""

    async def receive(self, deadline: float) -> bytes:
        """The next chunk."""
        return next(self._chunks, b"")

    def abort(self) -> None:
        """Nothing is open."""


class NoCourse:
    """A `Course` that writes nothing down."""

    def served(self, attempt: Attempt) -> None:
        """Whole."""

    def broke(self, attempt: Attempt, failure: Failure) -> PolyrouteError:
        """Nothing breaks here."""
        raise AssertionError(failure)

    def missing_end(self, attempt: Attempt, delivered: Delivered) -> bytes | None:
        """Nothing is missing."""
        return None

    async def rescue(self, attempt: Attempt, failure: Failure, delivered: Delivered) -> Attempt | None:
        """Nobody."""
        return None

    def ended(self, attempt: Attempt, error: PolyrouteError | None) -> None:
        """Over."""

    def render_error(self, error: PolyrouteError) -> bytes | None:
        """No words."""
        return None


class _Marked:
    def closing(self, seen: Observation) -> bytes:
        """Nothing is missing."""
        return b""


def chat_chunks(count: int) -> list[bytes]:
    """A stream as OpenAI sends it."""
    head = b'data: {"id":"chatcmpl-Bx7pQn","object":"chat.completion.chunk","created":1795000000,"model":"gpt-4o-mini",'
    rest = b'"service_tier":"default","system_fingerprint":"fp_560af6e559","choices":[{"index":0,"delta":{"content":" word"},'
    chunk = head + rest + b'"logprobs":null,"finish_reason":null}],"obfuscation":"aB3dE"}\n\n'
    last = chunk.replace(b'"finish_reason":null', b'"finish_reason":"stop"')
    return [chunk] * (count - 1) + [last, b"data: [DONE]\n\n"]


def messages_chunks(count: int) -> list[bytes]:
    """A stream as Anthropic sends it."""
    first = (
        b'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant",'
        b'"model":"claude","content":[],"stop_reason":null,"usage":{"input_tokens":3,"output_tokens":1}}}\n\n'
        b'event: content_block_start\ndata: {"type":"content_block_start","index":0,'
        b'"content_block":{"type":"text","text":""}}\n\n'
    )
    delta = b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" word"}}'
    last = (
        b'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n'
        b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn"},'
        b'"usage":{"output_tokens":9}}\n\n'
        b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
    )
    return [first, *[b"event: content_block_delta\ndata: " + delta + b"\n\n"] * count, last]


async def measure(dialect: Dialect, chunks: list[bytes], *, remembered: bool) -> float:
    """Seconds for a stream."""
    seen = Observation()
    reader: AnswerReader = (
        ChatObserver(seen, False)
        if dialect is Dialect.OPENAI_CHAT
        else ParserObserver(codec(dialect).parser(), seen, dialect)
    )
    attempt = Attempt(
        None, None, _Marked(), ArrivedResponse(chunks), reader, None, timeouts=Timeouts(),  # type: ignore[arg-type]
        media_type=b"", out=b"", whole=False,
    )  # fmt: skip
    loop = asyncio.get_running_loop()
    delivered = Delivered(dialect) if remembered else None
    answer = StreamAnswer([], attempt, NoCourse(), deadline=loop.time() + 60, delivered=delivered, loop=loop)
    started = time.perf_counter()
    while await answer.next():
        pass
    return time.perf_counter() - started


def main() -> None:
    """Print a table."""
    print("dialect              chunks   plain  remembered  (µs a chunk, median)")
    for dialect, make in ((Dialect.OPENAI_CHAT, chat_chunks), (Dialect.ANTHROPIC_MESSAGES, messages_chunks)):
        for count in (50, 300, 2000):
            chunks = make(count)
            times: dict[bool, list[float]] = {False: [], True: []}
            for _ in range(ROUNDS * max(1, 300 // count)):
                for remembered, seconds in times.items():  # in turns, as the machine is never the same for long
                    seconds.append(asyncio.run(measure(dialect, chunks, remembered=remembered)))
            plain, kept = (statistics.median(times[which]) / len(chunks) * 1e6 for which in (False, True))
            print(f"{dialect.value:<20} {count:>6} {plain:>7.2f} {kept:>11.2f}")


if __name__ == "__main__":
    main()
