"""The short way through OpenAI's ordinary usage record says the same as the long one."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from polyroute.dialects.openai_chat.usage import observe_usage

COUNT = st.none() | st.integers(-1, 300) | st.sampled_from([2.0, 1.5, True, "7"])
DETAILS = (
    st.none()
    | st.just([])
    | st.dictionaries(
        st.sampled_from(["cached_tokens", "cache_write_tokens", "audio_tokens", "reasoning_tokens", "other"]), COUNT
    )
)


@st.composite
def records(draw: st.DrawFn) -> dict[str, Any]:
    prompt, completion = draw(st.integers(0, 300)), draw(st.integers(0, 300))
    record: dict[str, Any] = {"prompt_tokens": prompt, "completion_tokens": completion}
    record["total_tokens"] = draw(st.just(prompt + completion) | st.integers(0, 900) | st.none())
    for name in ("prompt_tokens_details", "completion_tokens_details"):
        if draw(st.booleans()):
            record[name] = draw(DETAILS)
    for name in draw(st.sets(st.sampled_from(sorted(record)), max_size=1)):
        del record[name]
    return record


@settings(max_examples=400, deadline=None)
@given(record=records())
def test_an_unknown_field_changes_nothing_but_the_raw_record(record: dict[str, Any]) -> None:
    short, long = observe_usage(record), observe_usage({**record, "a_field_that_nobody_knows": 1})
    assert short.raw == record
    assert short == msgspec.structs.replace(long, raw=record)
