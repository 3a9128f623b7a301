"""The relay lane's observer: bytes unchanged, facts read, failures told."""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyroute.dialects.openai_chat.observer import ChatObserver, observe_chat
from polyroute.dialects.openai_chat.usage import observe_usage, render_usage
from polyroute.ports import Observation
from polyroute.types.errors import AttemptFailed, ErrorKind
from support.recordings import Recording, parametrize, recordings

ROLE = b'data: {"id":"c1","model":"m1","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n'
TEXT = b'data: {"id":"c1","model":"m1","choices":[{"index":0,"delta":{"content":"Hel"},"finish_reason":null}]}\n\n'
STOP = b'data: {"id":"c1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
USAGE = b'data: {"id":"c1","choices":[],"usage":{"prompt_tokens":12,"completion_tokens":4,"total_tokens":16}}\n\n'
DONE = b"data: [DONE]\n\n"
WHOLE = ROLE + TEXT + STOP + USAGE + DONE


def observe(body: bytes, *, withhold: bool = False, cuts: list[int] | None = None) -> tuple[bytes, Observation]:
    observer = ChatObserver(Observation(), withhold)
    edges = [0, *sorted(cuts or []), len(body)]
    out = b"".join(observer.feed(body[a:b]) for a, b in pairwise(edges) if a < b)
    return out + observer.end(), observer.seen


def failure(body: bytes) -> tuple[ErrorKind, str]:
    with pytest.raises(AttemptFailed) as caught:
        observe(body)
    return caught.value.failure.kind, caught.value.failure.message


def test_everything_is_read_and_nothing_changed() -> None:
    out, seen = observe(WHOLE)
    assert out == WHOLE
    assert (seen.meaningful, seen.complete, seen.finish, seen.model, seen.upstream_id) == (
        True,
        True,
        "stop",
        "m1",
        "c1",
    )
    assert seen.characters == 3
    assert seen.usage is not None
    assert (seen.usage.input, seen.usage.output) == (12, 4)


def test_a_usage_chunk_nobody_asked_for_is_withheld() -> None:
    out, seen = observe(WHOLE, withhold=True)
    assert out == ROLE + TEXT + STOP + DONE
    assert seen.usage is not None


def test_usage_on_a_chunk_with_choices_passes() -> None:
    last = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":1}}\n\n'
    assert observe(TEXT + last, withhold=True)[0] == TEXT + last


def test_the_first_bytes_are_not_meaningful_until_something_is_said() -> None:
    observer = ChatObserver(Observation(), False)
    assert observer.feed(b": OPENROUTER PROCESSING\n\n" + ROLE) == b": OPENROUTER PROCESSING\n\n" + ROLE
    assert not observer.seen.meaningful
    observer.feed(TEXT)
    assert observer.seen.meaningful


@pytest.mark.parametrize(
    "delta",
    [
        b'{"reasoning_content":"hm"}', b'{"reasoning":"hm"}', b'{"refusal":"no"}', b'{"audio":{"id":"a"}}',
        b'{"tool_calls":[{"index":0,"id":"c","function":{"name":"f","arguments":""}}]}',
        b'{"content":[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]}]}',
        b'{"reasoning_details":[{"type":"reasoning.encrypted","data":"x"}]}',
    ],
)  # fmt: skip
def test_every_kind_of_content_is_meaningful(delta: bytes) -> None:
    observer = ChatObserver(Observation(), False)
    observer.feed(b'data: {"choices":[{"index":0,"delta":%b}]}\n\n' % delta)
    assert observer.seen.meaningful


@given(st.lists(st.integers(0, len(WHOLE) * 2), max_size=8), st.sampled_from([b"\n", b"\r\n", b"\r"]), st.booleans())
@settings(max_examples=100, deadline=None)
def test_any_split_gives_the_same(cuts: list[int], line_end: bytes, withhold: bool) -> None:
    """In every framing, with comments and names of events between."""
    body = (b": hi\n\nevent: x\n" + WHOLE).replace(b"\n", line_end)
    assert observe(body, withhold=withhold, cuts=[c for c in cuts if c < len(body)]) == observe(body, withhold=withhold)
    assert observe(body)[0] == body


@parametrize("openai_chat", stream=True)
def test_recorded_streams_pass_unchanged_at_any_split(recording: Recording) -> None:
    if "tool-use-failed-error-streaming-with-text-1" in recording.id:
        pytest.skip("this stream tells an error")
    whole, seen = observe(recording.body)
    assert whole == recording.body
    assert (seen.meaningful, seen.complete) == (True, True)
    for size in (1, 17, 4096):
        assert observe(recording.body, cuts=list(range(0, len(recording.body), size))) == (whole, seen)


@parametrize("openai_chat", stream=False)
def test_recorded_answers_are_read(recording: Recording) -> None:
    seen = observe_chat(recording.body)
    assert (seen.meaningful, seen.complete) == (True, True)
    assert seen.model
    assert seen.usage is not None
    assert seen.usage.output_total


def test_what_breaks_off_is_truncated_and_what_holds_nothing_is_bad() -> None:
    assert failure(ROLE + TEXT)[0] is ErrorKind.TRUNCATED
    assert failure(ROLE)[0] is ErrorKind.TRUNCATED
    assert failure(TEXT + STOP[:30])[0] is ErrorKind.TRUNCATED
    assert failure(b"")[0] is ErrorKind.BAD_RESPONSE
    assert failure(b": hello\n\n")[0] is ErrorKind.BAD_RESPONSE
    assert failure(ROLE + STOP + DONE)[0] is ErrorKind.BAD_RESPONSE
    assert failure(b"<html><title>520</title>")[0] is ErrorKind.BAD_RESPONSE
    assert failure(b"data: {nonsense\n\n")[0] is ErrorKind.BAD_RESPONSE


def test_after_the_finish_the_terminator_may_be_missing() -> None:
    assert observe(TEXT + STOP)[1].complete
    assert observe(TEXT + STOP.rstrip(b"\n"))[1].finish == "stop"


@pytest.mark.parametrize("finish", ["length", "content_filter"])
def test_an_empty_answer_with_a_reason_is_an_answer(finish: str) -> None:
    body = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"%b"}]}\n\n' % finish.encode()
    assert observe(body)[1].finish == finish


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        (
            b'{"error":{"code":502,"message":"down","metadata":{"error_type":"provider_unavailable"}}}',
            ErrorKind.UNAVAILABLE,
        ),
        (b'{"error":{"code":429,"message":"slow down"}}', ErrorKind.RATE_LIMITED),
        (b'{"error":{"message":"maximum context length is 5","code":400}}', ErrorKind.CONTEXT_TOO_LONG),
        (
            b'{"error":{"message":"x","code":"insufficient_quota","type":"insufficient_quota"}}',
            ErrorKind.QUOTA_EXHAUSTED,
        ),
        (b'{"error":{"message":"The response was filtered","code":"content_filter"}}', ErrorKind.CONTENT_FILTERED),
        (b'{"code":"Overloaded","error":"The service is overloaded"}', ErrorKind.UNAVAILABLE),
        (b'{"object":"error","message":"bad","code":"rate_limit_error"}', ErrorKind.RATE_LIMITED),
        (b'{"choices":[],"x_groq":{"error":"over capacity, try again later"}}', ErrorKind.UNAVAILABLE),
        (b'{"choices":[{"index":0,"delta":{},"finish_reason":"insufficient_system_resource"}]}', ErrorKind.UNAVAILABLE),
        (b'{"choices":[{"index":0,"delta":{},"finish_reason":"error"}]}', ErrorKind.UNAVAILABLE),
        (b'{"choices":"odd","error":{"message":"Too many tokens, please wait","code":429}}', ErrorKind.RATE_LIMITED),
    ],
)
def test_errors_inside_a_stream_fail_the_attempt(event: bytes, kind: ErrorKind) -> None:
    observer = ChatObserver(Observation(), False)
    assert observer.feed(TEXT) == TEXT
    with pytest.raises(AttemptFailed) as caught:
        observer.feed(b"data: " + event + b"\n\n")
    assert caught.value.failure.kind is kind
    assert caught.value.failure.message


def test_no_part_of_an_error_event_leaves() -> None:
    observer = ChatObserver(Observation(), False)
    assert observer.feed(TEXT + b'data: {"error":{"mess') == TEXT
    with pytest.raises(AttemptFailed):
        observer.feed(b'age":"down"}}\n\n')


def test_a_credential_in_an_error_is_not_repeated() -> None:
    _, message = failure(
        b'data: {"error":{"message":"Incorrect API key provided: sk-proj-abcdefgh1234","code":401}}\n\n'
    )
    assert "abcdefgh" not in message
    assert "Incorrect API key" in message


def test_a_whole_answer_where_a_stream_was_due_becomes_one() -> None:
    body = b'{"id":"c1","model":"m","choices":[{"index":0,"message":{"content":"Hi"},"finish_reason":"stop"}]}'
    out, seen = observe(b"\n\n" + body, cuts=[1, 5, 20])
    assert out.startswith(b"data: ")
    assert b'"delta":{"content":"Hi"}' in out
    assert out.endswith(DONE)
    assert (seen.meaningful, seen.finish) == (True, "stop")


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", ErrorKind.BAD_RESPONSE),
        (b"<html>", ErrorKind.BAD_RESPONSE),
        (b"not json", ErrorKind.BAD_RESPONSE),
        (b'{"choices":[]}', ErrorKind.BAD_RESPONSE),
        (b'{"choices":[{"message":{"content":""},"finish_reason":"stop"}]}', ErrorKind.BAD_RESPONSE),
        (b"[" * 100_000, ErrorKind.BAD_RESPONSE),
        (b'{"choices":3}', ErrorKind.BAD_RESPONSE),
        (b'{"error":{"message":"m","code":429}}', ErrorKind.RATE_LIMITED),
        (b'[{"error":{"code":503,"message":"m","status":"UNAVAILABLE"}}]', ErrorKind.UNAVAILABLE),
        (b'{"message":"You\'ve run out of credits","statusCode":403}', ErrorKind.QUOTA_EXHAUSTED),
    ],
)
def test_answers_that_are_none_fail_the_attempt(body: bytes, kind: ErrorKind) -> None:
    with pytest.raises(AttemptFailed) as caught:
        observe_chat(body)
    assert caught.value.failure.kind is kind


@given(st.binary(max_size=60), st.integers(0, len(WHOLE)))
@settings(max_examples=120, deadline=None)
def test_no_bytes_crash_the_observer(noise: bytes, at: int) -> None:
    body = WHOLE[:at] + noise + WHOLE[at:]
    with suppress(AttemptFailed):
        observe(body, cuts=[at])
    with suppress(AttemptFailed):
        observe_chat(noise)


# ---------------------------------------------------------------- usage


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        # OpenAI: everything is inside
        (
            {
                "prompt_tokens": 120, "completion_tokens": 40, "total_tokens": 160,
                "prompt_tokens_details": {"cached_tokens": 64, "cache_write_tokens": 6, "audio_tokens": 10},
                "completion_tokens_details": {"reasoning_tokens": 24, "audio_tokens": 1},
            },
            {"input": 40, "cache_read": 64, "cache_write_5m": 6, "audio_input": 10, "output": 15, "reasoning": 24},
        ),
        # xAI: reasoning stands beside the completion
        (
            {
                "prompt_tokens": 32, "completion_tokens": 9, "total_tokens": 135,
                "completion_tokens_details": {"reasoning_tokens": 94}, "cost_in_usd_ticks": 12_345_678_900,
            },
            {"input": 32, "output": 9, "reasoning": 94, "reported_cost_usd": Decimal("1.23456789")},
        ),
        # more cached than prompt: the prompt excludes the cache
        (
            {"prompt_tokens": 10, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 50}},
            {"input": 10, "cache_read": 50, "output": 1, "reasoning": None},
        ),
        # DeepSeek
        (
            {"prompt_tokens": 30, "completion_tokens": 5, "prompt_cache_hit_tokens": 20, "prompt_cache_miss_tokens": 10},
            {"input": 10, "cache_read": 20, "output": 5},
        ),
        # Perplexity
        (
            {"prompt_tokens": 8, "completion_tokens": 5, "total_tokens": 13, "cost": {"total_cost": 0.00501}},
            {"input": 8, "output": 5, "reported_cost_usd": Decimal("0.00501")},
        ),
        # OpenRouter with the caller's own key: platform fee and upstream cost
        (
            {"prompt_tokens": 1, "cost": 0.01, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.2}},
            {"reported_cost_usd": Decimal("0.21")},
        ),
        # Gemini's layer: the hidden rest is in the total alone
        ({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 25}, {"output": 5, "reasoning": 10}),
        # nothing known is nothing, never 0
        ({"prompt_tokens": None, "completion_tokens": "x"}, {"input": None, "output": None, "cache_read": None}),
    ],
)  # fmt: skip
def test_usage_is_read_into_disjoint_buckets(usage: dict[str, object], expected: dict[str, object]) -> None:
    read = observe_usage(usage)
    assert {name: getattr(read, name) for name in expected} == expected
    assert read.raw == usage


def test_aiml_cost_is_read_from_meta() -> None:
    assert observe_usage({}, {"usage": {"usd_spent": 0.5}}).reported_cost_usd == Decimal("0.5")


def test_totals_survive_reading_and_rendering() -> None:
    for recording in recordings("openai_chat"):
        if recording.status < 400 and not recording.stream:
            seen = observe_chat(recording.body)
            assert seen.usage is not None
            assert seen.usage.raw is not None
            rendered = render_usage(seen.usage)
            assert rendered["prompt_tokens"] >= seen.usage.raw["prompt_tokens"]
            assert rendered["completion_tokens"] == seen.usage.raw["completion_tokens"]
