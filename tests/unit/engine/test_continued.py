"""A second answer as more of the first: what the next target is asked, and what the caller gets."""

from __future__ import annotations

import pytest

from polyroute.dialects.registry import codec
from polyroute.engine.continued import (
    ContinuedRenderer,
    Form,
    ask_on,
    forms,
    make_seam,
    resume_renderer,
)
from polyroute.engine.delivered import Delivered, Sent
from polyroute.engine.envelope import json_call
from polyroute.ports import Call
from polyroute.types.chat import (
    AnyEvent,
    ChatRequest,
    Finish,
    Finished,
    Measured,
    Message,
    ModelProfile,
    PartDelta,
    PartEnded,
    PartStarted,
    Reasoning,
    ReasoningPart,
    Started,
    TextPart,
    ToolCallPart,
)
from polyroute.types.operations import Dialect
from polyroute.types.usage import Usage

CALLERS = (
    Dialect.OPENAI_CHAT, Dialect.OPENAI_RESPONSES, Dialect.ANTHROPIC_MESSAGES, Dialect.GEMINI, Dialect.OLLAMA,
)  # fmt: skip
TEXT = "The quick brown fox jumps over"
REST = " the lazy dog, and rests."
ASK = ChatRequest(
    model="story", messages=(Message(role="user", parts=(TextPart(text="Go on."),)),), stream=True, include_usage=True
)
FIRST: list[AnyEvent] = [
    Started(id="first-1", model="model-1", created=1_700_000_000),
    PartStarted(index=0, part=ReasoningPart()),
    PartDelta(index=0, text="Let me think."),
    PartEnded(index=0),
    PartStarted(index=1, part=TextPart(text="")),
    *(PartDelta(index=1, text=TEXT[at : at + 5]) for at in range(0, len(TEXT), 5)),
]
SECOND: list[AnyEvent] = [
    Started(id="second-1", model="model-2", created=1_800_000_000),
    PartStarted(index=0, part=ReasoningPart()),
    PartDelta(index=0, text="I shall go on."),
    PartEnded(index=0),
    PartStarted(index=1, part=TextPart(text="")),
    PartDelta(index=1, text=TEXT[-14:]),
    PartDelta(index=1, text=REST),
    PartEnded(index=1),
    Finished(finish=Finish("stop")),
    Measured(usage=Usage(input=20, output=7)),
]


def call_of(dialect: Dialect) -> Call:
    body = b'{"model": "story", "stream": true}'
    return json_call(body, dialect, request_id="req_0019a0000000aaaabbbbccccdddd", model="story", stream=True)


def deliver(dialect: Dialect, events: list[AnyEvent]) -> tuple[bytes, Sent]:
    """A stream as it begins at the first target, and what is known of it."""
    renderer = codec(dialect).renderer(ASK, "first-1", 1_700_000_000)
    delivered, out = Delivered(dialect), b""
    for event in events:
        data = renderer.feed(event)
        out += data
        if data:
            delivered.add(data)
    return out, delivered.read()


def go_on(dialect: Dialect, sent: Sent, events: list[AnyEvent], form: Form = Form.PREFILL) -> bytes:
    """What the second target's events add."""
    renderer = ContinuedRenderer(
        resume_renderer(sent, ASK, call_of(dialect)), sent, make_seam(sent, form, exact=False),
        Usage(input=10, output=6, estimated=True),
    )  # fmt: skip
    return b"".join(renderer.feed(event) for event in events) + renderer.close()


@pytest.mark.parametrize("dialect", CALLERS)
def test_the_stream_is_the_one_that_a_single_target_would_have_given(dialect: Dialect) -> None:
    first, sent = deliver(dialect, FIRST)
    parser = codec(dialect).parser()
    events = parser.feed(first + go_on(dialect, sent, SECOND)) + parser.close()
    assert [event for event in events if isinstance(event, Started)][1:] == []
    assert len([event for event in events if isinstance(event, Finished)]) == 1
    texts = {event.index for event in events if isinstance(event, PartStarted) and isinstance(event.part, TextPart)}
    assert len(texts) == 1
    said = "".join(event.text for event in events if isinstance(event, PartDelta) and event.index in texts)
    assert said == TEXT + REST
    thought = "".join(event.text for event in events if isinstance(event, PartDelta) and event.index not in texts)
    assert thought == "Let me think."
    usage = [event.usage for event in events if isinstance(event, Measured)][-1]
    assert (usage.input_total, usage.output_total) == (30, 13)


def test_chunks_keep_the_id_model_and_time_of_the_first_answer() -> None:
    _, sent = deliver(Dialect.OPENAI_CHAT, FIRST)
    second = go_on(Dialect.OPENAI_CHAT, sent, SECOND)
    assert second.count(b'"id":"first-1"') == second.count(b"data: {")
    assert second.count(b'"created":1700000000') == second.count(b"data: {")
    assert b"model-2" not in second
    assert b'"role"' not in second


def test_a_tool_call_may_follow_on_a_text_that_broke() -> None:
    _, sent = deliver(Dialect.ANTHROPIC_MESSAGES, FIRST)
    events: list[AnyEvent] = [
        PartStarted(index=0, part=ToolCallPart(id="call_1", name="look")),
        PartDelta(index=0, text="{}"),
        PartEnded(index=0),
        Finished(finish=Finish("tool_calls")),
    ]
    second = go_on(Dialect.ANTHROPIC_MESSAGES, sent, events)
    assert second.index(b'"content_block_stop","index":1') < second.index(b'"content_block_start","index":2')
    assert b'"stop_reason":"tool_use"' in second


def test_a_stream_that_broke_while_it_thought_gets_the_whole_new_text() -> None:
    first, sent = deliver(Dialect.ANTHROPIC_MESSAGES, FIRST[:3])
    assert sent.text == ""
    second = go_on(Dialect.ANTHROPIC_MESSAGES, sent, SECOND, Form.ANEW)
    parser = codec(Dialect.ANTHROPIC_MESSAGES).parser()
    events = parser.feed(first + second) + parser.close()
    assert (
        "".join(event.text for event in events if isinstance(event, PartDelta) and event.index == 1)
        == TEXT[-14:] + REST
    )


def test_a_long_stream_is_kept_as_text_alone() -> None:
    long: list[AnyEvent] = [*FIRST, *(PartDelta(index=1, text=f" word {number}") for number in range(3000))]
    _, sent = deliver(Dialect.OPENAI_CHAT, long)
    assert sent.text.endswith(" word 2999")
    assert len(sent.events) < 10
    assert (sent.plain, sent.finished, sent.open_text) == (True, False, sent.next_part - 1)


def test_a_tool_call_is_no_plain_text() -> None:
    _, sent = deliver(Dialect.OPENAI_CHAT, [*FIRST, PartStarted(index=2, part=ToolCallPart(id="c", name="look"))])
    assert not sent.plain


# ---------------------------------------------------------------- what the next target is asked


def profile(provider: str, **changes: frozenset[str]) -> ModelProfile:
    return ModelProfile(provider=provider, model="m", **changes)


@pytest.mark.parametrize(
    ("dialect", "target", "due"),
    [
        (Dialect.ANTHROPIC_MESSAGES, profile("anthropic"), (Form.PREFILL, Form.INSTRUCTION)),
        (Dialect.ANTHROPIC_MESSAGES, profile("anthropic", refuses=frozenset({"prefill"})), (Form.INSTRUCTION,)),
        (Dialect.OPENAI_CHAT, profile("together"), (Form.PREFILL, Form.INSTRUCTION)),
        (Dialect.OPENAI_CHAT, profile("openai"), (Form.INSTRUCTION,)),
        (Dialect.GEMINI, profile("google"), (Form.INSTRUCTION,)),
    ],
)
def test_a_prefill_is_for_targets_that_go_on_from_it(
    dialect: Dialect, target: ModelProfile, due: tuple[Form, ...]
) -> None:
    _, sent = deliver(Dialect.OPENAI_CHAT, FIRST)
    assert forms("continue", sent, ASK, dialect, target) == due


def test_claude_takes_no_prefill_while_it_thinks() -> None:
    _, sent = deliver(Dialect.OPENAI_CHAT, FIRST)
    thinking = ChatRequest(model="m", messages=ASK.messages, reasoning=Reasoning(effort="low"))
    assert forms("continue", sent, thinking, Dialect.ANTHROPIC_MESSAGES, profile("anthropic")) == (Form.INSTRUCTION,)


def test_almost_nothing_is_asked_for_anew() -> None:
    _, sent = deliver(Dialect.OPENAI_CHAT, FIRST[:6])
    assert sent.text == "The q"
    assert forms("continue", sent, ASK, Dialect.GEMINI, profile("google")) == (Form.ANEW,)
    assert forms("restart", sent, ASK, Dialect.OLLAMA, profile("ollama")) == (Form.ANEW,)


def test_the_text_so_far_follows_the_conversation_and_counts_against_the_limit() -> None:
    limited = ChatRequest(model="m", messages=ASK.messages, max_tokens=100)
    prefilled = ask_on(limited, "x" * 200, Form.PREFILL)
    assert prefilled.messages[-1] == Message(role="assistant", parts=(TextPart(text="x" * 200),))
    assert prefilled.max_tokens == 50
    told = ask_on(limited, TEXT, Form.INSTRUCTION)
    assert [message.role for message in told.messages] == ["user", "assistant", "user"]
    instruction = told.messages[-1].parts[0]
    assert isinstance(instruction, TextPart)
    assert TEXT in instruction.text
    assert ask_on(limited, TEXT, Form.ANEW) == limited


def test_words_that_the_caller_put_into_the_assistants_mouth_stay_in_front() -> None:
    begun = (*ASK.messages, Message(role="assistant", parts=(TextPart(text="Once upon "),)))
    prefilled = ask_on(ChatRequest(model="m", messages=begun), "a time", Form.PREFILL)
    assert prefilled.messages[1:] == (Message(role="assistant", parts=(TextPart(text="Once upon a time"),)),)
