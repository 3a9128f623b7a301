"""How a broken answer goes on at another target: what that target is asked, and how its events become more of the same
stream."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from polyroute.catalog.model import RescueMode
from polyroute.dialects.openai_responses.answer_out import ResponsesRenderer
from polyroute.dialects.registry import codec
from polyroute.engine.delivered import Sent
from polyroute.engine.lanes import Conversation, TranslateLane
from polyroute.engine.seam import Continuation, Restart, Seam
from polyroute.engine.totals import add_usage
from polyroute.engine.translators import StreamTranslator, UnstreamedReader, created_at
from polyroute.ports import Adapter, AnswerReader, Call, Credential, Endpoint, EventRenderer, Observation
from polyroute.types.chat import (
    AnyEvent,
    ChatRequest,
    Finished,
    Measured,
    Message,
    ModelProfile,
    PartDelta,
    PartEnded,
    PartStarted,
    ReasoningPart,
    Started,
    TextPart,
)
from polyroute.types.errors import PolyrouteError
from polyroute.types.operations import Dialect
from polyroute.types.plans import Target
from polyroute.types.usage import Usage

ALMOST_NOTHING = 20
"""Characters below which it is simpler to ask again than to explain what is there already."""
_TAIL = 60
_CHARACTERS_PER_TOKEN = 4
_LEAST_TOKENS = 16
_INSTRUCTION = (
    "Your last message was interrupted before it was complete. Write the rest of it, so that both together read as one text"
    " that was never interrupted. Begin by repeating its last words exactly as they stand here, and go straight on from"
    " there, in the middle of a sentence or a word if need be:\n\n{tail}\n\nDo not greet, do not comment, do not begin anew."
)
_TAKES_PREFILL = frozenset({Dialect.ANTHROPIC_MESSAGES, Dialect.OPENAI_CHAT, Dialect.OLLAMA, Dialect.BEDROCK_CONVERSE})
_ANSWERS_ANEW = frozenset({"openai", "azure", "xai", "perplexity"})
"""Providers who take a conversation that ends with the assistant's words, but begin a new message after it."""


class Form(StrEnum):
    """How the next target is asked: the text as the beginning of its own answer, an instruction after the text, or the
    caller's request as it was."""

    PREFILL = "prefill"
    INSTRUCTION = "instruction"
    ANEW = "anew"


def forms(
    mode: RescueMode, sent: Sent, request: ChatRequest, dialect: Dialect, profile: ModelProfile
) -> tuple[Form, ...]:
    """The ways to ask a target, the best first; the next one is for a target that refuses the one before."""
    if mode == "restart" or not sent.text.strip():
        return (Form.ANEW,)
    without = Form.ANEW if len(sent.text) < ALMOST_NOTHING else Form.INSTRUCTION
    thinks = request.reasoning is not None and request.reasoning.enabled is not False
    prefills = (
        dialect in _TAKES_PREFILL
        and "prefill" not in profile.refuses
        and profile.provider not in _ANSWERS_ANEW
        and not (thinks and dialect in (Dialect.ANTHROPIC_MESSAGES, Dialect.BEDROCK_CONVERSE))
    )
    return (Form.PREFILL, without) if prefills else (without,)


def ask_on(request: ChatRequest, text: str, form: Form) -> ChatRequest:
    """The caller's request with the answer so far, and a token limit that is less by it."""
    if form is Form.ANEW:
        return request
    messages = request.messages
    begun = ""
    if messages and messages[-1].role == "assistant":  # the caller put words into the assistant's mouth already
        words = messages[-1].parts
        if all(isinstance(part, TextPart) for part in words):
            begun = "".join(part.text for part in words if isinstance(part, TextPart))
            messages = messages[:-1]
    messages = (*messages, Message(role="assistant", parts=(TextPart(text=begun + text),)))
    if form is Form.INSTRUCTION:
        words_again = TextPart(text=_INSTRUCTION.format(tail=_last_words(text)))
        messages = (*messages, Message(role="user", parts=(words_again,)))
    limit = request.max_tokens
    if limit is not None:
        limit = max(min(limit, _LEAST_TOKENS), limit - len(text) // _CHARACTERS_PER_TOKEN)
    return msgspec.structs.replace(request, messages=messages, max_tokens=limit)


def _last_words(text: str) -> str:
    tail = text.rstrip()[-_TAIL:]
    first, space, rest = tail.partition(" ")
    return rest if space and len(text) > _TAIL and rest else first + space + rest


def make_seam(sent: Sent, form: Form, *, exact: bool) -> Seam:
    """What joins the next target's text to the one that was sent."""
    if form is Form.ANEW:
        return Restart(sent.text, exact=exact)
    return Continuation(sent.text, word_by_word=form is Form.INSTRUCTION)


def resume_renderer(sent: Sent, request: ChatRequest, call: Call) -> EventRenderer:
    """A renderer of the caller's dialect in the state in which the stream was left: told what was sent, its words thrown
    away."""
    started = sent.started
    renderer = codec(call.dialect).renderer(
        msgspec.structs.replace(request, model=started.model or request.model),
        started.id or call.id.removeprefix("req_"),
        started.created or created_at(call),
    )
    if isinstance(renderer, ResponsesRenderer) and sent.place is not None:
        renderer.name_items(sent.place.items)
    for event in sent.events:
        if not isinstance(event, Measured):
            renderer.feed(event)
    if isinstance(renderer, ResponsesRenderer) and sent.place is not None and sent.place.following is not None:
        renderer.number_on(sent.place.following)
    return renderer


class ContinuedRenderer:
    """An EventRenderer that takes the events of a second answer for more of the first: no second start, parts numbered on,
    the first text joined to the one that was sent, reasoning before it left out, usage added up."""

    def __init__(self, renderer: EventRenderer, sent: Sent, seam: Seam, spent: Usage | None) -> None:
        self._renderer = renderer
        self._seam = seam
        self._spent = spent
        self._open = sent.open_part if sent.open_text is None else None
        self._goes_on = sent.open_text
        self._begun = sent.open_text is not None
        self._ended = False
        self._next = sent.next_part
        self._text: int | None = None
        self._numbers: dict[int, int | None] = {}

    def feed(self, event: AnyEvent) -> bytes:
        """The bytes that an event becomes."""
        if event.choice != 0 or isinstance(event, Started):
            return b""
        match event:
            case PartStarted():
                return self._start(event)
            case PartDelta(index=index) if index == self._text:
                return self._say(self._seam.feed(event.text))
            case PartDelta() | PartEnded():
                return self._pass_on(event)
            case Finished():
                return self._end_text() + self._renderer.feed(event)
            case Measured():
                usage = add_usage(self._spent, event.usage)
                return b"" if usage is None else self._renderer.feed(Measured(usage=usage))
            case _:
                return self._renderer.feed(event)

    def close(self) -> bytes:
        """The end of the whole stream."""
        return self._end_text() + self._renderer.close()

    def error(self, error: PolyrouteError) -> bytes:
        """The stream, failed."""
        return self._renderer.error(error)

    def _start(self, event: PartStarted) -> bytes:
        if self._text is None and isinstance(event.part, ReasoningPart):
            self._numbers[event.index] = None  # thoughts about what the caller has read already
            return b""
        if self._text is None and isinstance(event.part, TextPart):
            self._text = event.index
            if self._goes_on is None:
                self._goes_on, self._next = self._next, self._next + 1
            self._numbers[event.index] = self._goes_on
            return self._say(self._seam.feed(event.part.text)) if event.part.text else b""
        out = self._say(self._seam.close()) if self._text is not None else self._end_text()
        self._numbers[event.index] = number = self._next
        self._next += 1
        return out + self._renderer.feed(msgspec.structs.replace(event, index=number))

    def _say(self, text: str) -> bytes:
        """More of the text that was begun at the other target."""
        if not text:
            return b""
        assert self._goes_on is not None
        out = b""
        if not self._begun:
            self._begun = True
            out = self._end_open() + self._renderer.feed(PartStarted(index=self._goes_on, part=TextPart(text="")))
        return out + self._renderer.feed(PartDelta(index=self._goes_on, text=text))

    def _pass_on(self, event: PartDelta | PartEnded) -> bytes:
        number = self._numbers.get(event.index)
        if number is None:
            return b""
        if event.index != self._text:
            return self._renderer.feed(msgspec.structs.replace(event, index=number))
        out = self._say(self._seam.close())
        if self._ended or not self._begun:
            return out
        self._ended = True
        return out + self._renderer.feed(msgspec.structs.replace(event, index=number))

    def _end_open(self) -> bytes:
        """Reasoning that was going on when the stream broke is over."""
        number, self._open = self._open, None
        return b"" if number is None else self._renderer.feed(PartEnded(index=number))

    def _end_text(self) -> bytes:
        """What was held back, and the end of a text that has none yet."""
        out = self._end_open()
        if self._text is not None:
            out += self._say(self._seam.close())
        if self._begun and not self._ended and self._goes_on is not None:
            self._ended = True
            out += self._renderer.feed(PartEnded(index=self._goes_on))
        return out


class ContinuedLane(TranslateLane):
    """An attempt to go on with a broken stream."""

    def __init__(
        self, conversation: Conversation, adapter: Adapter, endpoint: Endpoint, target: Target,
        credential: Credential | None, *, renderer: EventRenderer,
    ) -> None:  # fmt: skip
        super().__init__(conversation, adapter, endpoint, target, credential)
        self._renderer = renderer

    def reader(self, content_type: bytes) -> AnswerReader:
        """A reader whose bytes follow on those that the caller has."""
        seen = Observation()
        if self.answers_whole(content_type):
            return UnstreamedReader(self._upstream, self._renderer, seen)
        return StreamTranslator(self._upstream.parser(), self._renderer, seen)
