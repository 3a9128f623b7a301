"""A whole answer is the fold of its events, however they interleave."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from polyroute.dialects.fold import fold, unfold
from polyroute.types.chat import (
    AudioPart,
    ChatResponse,
    Choice,
    Extra,
    Finish,
    Finished,
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
from polyroute.types.usage import Usage
from support import strategies

FINISHES = {"stop": "stop", "length": "length", "tool_calls": "tool_calls"}


@given(
    strategies.chat_responses(
        finishes=FINISHES,  # type: ignore[arg-type]  # the words are finish kinds
        reasoning=strategies.texts().map(
            lambda text: ReasoningPart(text=text, state=ProviderState(Dialect.GEMINI, {"s": text}))
        ),
        usage=strategies.usages(),
    ),
    st.none() | strategies.json_objects(),
)
@settings(max_examples=50, deadline=None)
def test_unfolding_folds_back(answer: ChatResponse, fields: dict[str, object] | None) -> None:
    extra = {} if fields is None else {"openai_chat": fields}
    full = ChatResponse(
        id=answer.id, model=answer.model, created=answer.created, choices=(*answer.choices, *answer.choices),
        usage=answer.usage, extra=extra,
    )  # fmt: skip
    assert fold(unfold(full)) == full


def test_interleaved_parts_and_choices_are_put_in_order() -> None:
    answer = fold(
        [
            Started(id="i", model="m"),
            PartStarted(index=1, part=ToolCallPart(id="b", name="g")),
            PartStarted(index=0, part=TextPart(text="")),
            PartDelta(index=1, text='{"x":'),
            PartStarted(choice=1, index=0, part=TextPart(text="")),
            PartDelta(index=0, text="He"),
            PartDelta(choice=1, index=0, text="other", logprobs=({"token": "other"},)),
            PartDelta(index=1, text="1}"),
            PartDelta(index=0, text="y"),
            PartEnded(index=0, annotations=({"type": "x"},)),
            Finished(choice=1, finish=Finish("length")),
            Finished(finish=Finish("tool_calls", "tool_use")),
        ]
    )
    first, second = answer.choices
    assert first.parts == (
        TextPart(text="Hey", annotations=({"type": "x"},)),
        ToolCallPart(id="b", name="g", arguments='{"x":1}'),
    )
    assert first.finish == Finish("tool_calls", "tool_use")
    assert second == Choice(parts=(TextPart(text="other"),), finish=Finish("length"), logprobs=({"token": "other"},))


def test_the_last_usage_counts_and_extras_add_up() -> None:
    answer = fold(
        [
            Measured(usage=Usage(input=1)),
            Extra(dialect=Dialect.OPENAI_CHAT, fields={"a": 1}),
            Measured(usage=Usage(input=2)),
            Extra(dialect=Dialect.OPENAI_CHAT, fields={"b": 2}),
        ]
    )
    assert answer.usage == Usage(input=2)
    assert answer.extra == {"openai_chat": {"a": 1, "b": 2}}


def test_audio_collects_data_and_words_and_a_choice_without_end_is_other() -> None:
    answer = fold(
        [
            PartStarted(index=0, part=AudioPart(id="a", format="wav")),
            PartDelta(index=0, text="QU", transcript="hel"),
            PartDelta(index=0, text="JD", transcript="lo"),
        ]
    )
    assert answer.choices[0].parts == (AudioPart(id="a", format="wav", data="QUJD", transcript="hello"),)
    assert answer.choices[0].finish == Finish("other")
