"""Chat Completions answers: read from every provider's form, rendered as the official SDK reads them."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from polyroute.dialects.fold import fold, unfold
from polyroute.dialects.openai_chat import CODEC
from polyroute.dialects.sse import SseDecoder
from polyroute.types.chat import (
    AnyEvent,
    AudioPart,
    ChatRequest,
    ChatResponse,
    Choice,
    Extra,
    Finish,
    Finished,
    ImagePart,
    Measured,
    Message,
    PartEnded,
    PartStarted,
    ProviderState,
    ReasoningPart,
    RefusalPart,
    Started,
    TextPart,
    Tool,
    ToolCallPart,
)
from polyroute.types.errors import AttemptFailed, ErrorKind, FailedAttempt, PolyrouteError
from polyroute.types.operations import Dialect
from polyroute.types.usage import Usage
from support import strategies
from support.recordings import Recording, parametrize

REQUEST = ChatRequest(
    model="m", messages=(Message(role="user", parts=(TextPart(text="hi"),)),), stream=True, include_usage=True
)
FINISHES: dict[Any, str] = {k: k for k in ("stop", "length", "tool_calls", "content_filter")}


def read_stream(body: bytes, size: int | None = None) -> list[AnyEvent]:
    parser = CODEC.parser()
    step = size or len(body) or 1
    events = [event for at in range(0, len(body), step) for event in parser.feed(body[at : at + step])]
    return events + parser.close()


def read(recording: Recording) -> ChatResponse:
    return fold(read_stream(recording.body) if recording.stream else CODEC.parse_response(recording.body))


def chunks(*deltas: dict[str, Any], finish: str | None = "stop", more: bytes = b"") -> bytes:
    lines = [{"id": "c", "created": 1, "model": "m", "choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    if finish is not None:
        lines.append({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    return b"".join(b"data: " + msgspec.json.encode(line) + b"\n\n" for line in lines) + more + b"data: [DONE]\n\n"


def call(index: int | None, call_id: str | None, name: str | None, arguments: Any = None) -> dict[str, Any]:
    found = {"index": index, "id": call_id, "function": {"name": name, "arguments": arguments}}
    return {"tool_calls": [{key: value for key, value in found.items() if value is not None}]}


def calls_of(body: bytes) -> list[tuple[str, str]]:
    return [(p.name, p.arguments) for p in fold(read_stream(body)).choices[0].parts if isinstance(p, ToolCallPart)]


def rendered_stream(events: list[AnyEvent], request: ChatRequest = REQUEST) -> bytes:
    renderer = CODEC.renderer(request, "chatcmpl-1", 7)
    return b"".join(renderer.feed(event) for event in events) + renderer.close()


# ---------------------------------------------------------------- recordings


def expected_of(recording: Recording) -> dict[str, Any]:
    """What a recording says, read naively: all choices 0 joined."""
    if recording.stream:
        decoder = SseDecoder()
        datas = [event.data for event in decoder.feed(recording.body) + decoder.close()]
        pieces = [json.loads(data) for data in datas if data.strip() != b"[DONE]"]
    else:
        pieces = [json.loads(recording.body)]
    text, finish, ids = "", None, []
    for piece in pieces:
        for choice in piece.get("choices") or []:
            message = choice.get("delta" if recording.stream else "message") or {}
            if choice.get("index"):
                continue
            if isinstance(message.get("content"), str):
                text += message["content"]
            finish = choice.get("finish_reason") or finish
            ids += [c["id"] for c in message.get("tool_calls") or [] if c.get("id") and c["id"] not in ids]
    return {"text": text, "finish": finish, "ids": ids}


@parametrize("openai_chat")
def test_recorded_answers_are_read_right(recording: Recording) -> None:
    if "tool-use-failed-error-streaming-with-text-1" in recording.id:
        with pytest.raises(AttemptFailed, match="did not call a tool"):
            read(recording)
        return
    answer, expected = read(recording), expected_of(recording)
    parts = answer.choices[0].parts
    if expected["text"]:
        assert "".join(part.text for part in parts if isinstance(part, TextPart)) == expected["text"]
    assert [part.id for part in parts if isinstance(part, ToolCallPart)] == expected["ids"]
    assert all(json.loads(part.arguments or "{}") is not None for part in parts if isinstance(part, ToolCallPart))
    assert answer.choices[0].finish.raw == expected["finish"]
    assert answer.model


@parametrize("openai_chat", stream=True)
def test_recorded_streams_are_the_same_at_any_split(recording: Recording) -> None:
    def events(size: int) -> list[AnyEvent] | str:
        try:
            return read_stream(recording.body, size)
        except AttemptFailed as failure:
            return failure.failure.message

    whole = events(len(recording.body))
    assert all(events(size) == whole for size in (1, 7, 100, 4000))


@parametrize("openai_chat")
def test_recorded_answers_are_rendered_as_the_sdk_reads_them(recording: Recording) -> None:
    if "tool-use-failed-error-streaming-with-text-1" in recording.id:
        pytest.skip("this stream tells an error")
    answer = read(recording)
    whole = ChatCompletion.model_validate_json(CODEC.render_response(answer, REQUEST))
    assert whole.model == "m"
    again = fold(read_stream(rendered_stream(unfold(answer))))
    message, parts = whole.choices[0].message, again.choices[0].parts
    assert (message.content or "") == "".join(part.text for part in parts if isinstance(part, TextPart))
    sent = [(c.id, c.function.name) for c in message.tool_calls or [] if c.type == "function"]
    assert sent == [(part.id, part.name) for part in parts if isinstance(part, ToolCallPart)]
    if answer.usage is not None and whole.usage is not None:
        assert whole.usage.prompt_tokens == answer.usage.input_total
        assert whole.usage.completion_tokens == answer.usage.output_total


# ---------------------------------------------------------------- round trips


responses = strategies.chat_responses(
    finishes=FINISHES,
    reasoning=strategies.texts().map(lambda text: ReasoningPart(text=text)),
    usage=strategies.usages(),
)


def without_raw(answer: ChatResponse) -> ChatResponse:
    usage = None if answer.usage is None else msgspec.structs.replace(answer.usage, raw=None)
    if usage is not None and usage.cache_read is not None and usage.cache_read > (usage.input_total or 0):
        usage = None
    return msgspec.structs.replace(answer, usage=usage)


@given(responses)
@settings(max_examples=50, deadline=None)
def test_whole_answers_are_read_back(answer: ChatResponse) -> None:
    assert without_raw(fold(CODEC.parse_response(CODEC.render_response(answer, REQUEST)))) == answer


@given(responses, st.integers(1, 300))
@settings(max_examples=50, deadline=None)
def test_streamed_answers_are_read_back_at_any_split(answer: ChatResponse, size: int) -> None:
    renderer = CODEC.renderer(REQUEST, answer.id or "", answer.created or 0)
    body = b"".join(renderer.feed(event) for event in unfold(answer)) + renderer.close()
    assert without_raw(fold(read_stream(body, size))) == answer


@given(st.binary(max_size=80), st.integers(0, 400))
@settings(max_examples=120, deadline=None)
def test_no_bytes_crash_the_parser(noise: bytes, at: int) -> None:
    body = chunks({"content": "a"}, call(0, "i", "f", "{}"))
    with suppress(AttemptFailed):
        read_stream(body[:at] + noise + body[at:], 50)
    with suppress(AttemptFailed):
        CODEC.parse_response(noise)


@given(
    st.dictionaries(
        st.sampled_from(
            ["content", "tool_calls", "reasoning", "reasoning_details", "audio", "refusal", "images", "role"]
        ),
        strategies.json_values(),
        max_size=4,
    )
)
@settings(max_examples=120, deadline=None)
def test_no_delta_crashes_the_parser(delta: dict[str, Any]) -> None:
    with suppress(AttemptFailed):
        read_stream(chunks(delta))
    body = msgspec.json.encode({"choices": [{"message": delta, "finish_reason": "stop"}], "usage": delta})
    with suppress(AttemptFailed):
        CODEC.parse_response(body)


# ---------------------------------------------------------------- tool calls


def test_parallel_calls_by_index() -> None:
    body = chunks(
        call(0, "a", "f", ""), call(1, "b", "g", '{"x"'), call(0, None, None, "{}"), call(1, None, None, ":1}")
    )
    assert calls_of(body) == [("f", "{}"), ("g", '{"x":1}')]


def test_an_index_stuck_at_zero_is_another_call_when_id_and_name_change() -> None:
    assert calls_of(chunks(call(0, "a", "f", "{}"), call(0, "b", "g", "{}"))) == [("f", "{}"), ("g", "{}")]


def test_calls_without_index_go_by_id_and_name() -> None:
    body = chunks(call(None, "a", "f", '{"x'), call(None, None, None, '":1}'), call(None, "b", "f", "{}"))
    assert calls_of(body) == [("f", '{"x":1}'), ("f", "{}")]


def test_repeated_names_and_ids_are_not_joined() -> None:
    assert calls_of(chunks(call(0, "a", "f", "{"), call(0, "a", "f", "}"))) == [("f", "{}")]


def test_late_names_arguments_as_objects_and_missing_ids() -> None:
    body = chunks(call(0, "a", None, '{"x":1'), call(0, None, "f", "}"), call(1, None, "g", {"y": 2}))
    parts = [part for part in fold(read_stream(body)).choices[0].parts if isinstance(part, ToolCallPart)]
    assert [(part.name, part.arguments) for part in parts] == [("f", '{"x":1}'), ("g", '{"y":2}')]
    assert parts[1].id.startswith("call_")
    assert fold(read_stream(body)) == fold(read_stream(body, 3))


def test_calls_decide_the_finish_but_truncation_wins() -> None:
    assert fold(read_stream(chunks(call(0, "a", "f", "{}")))).choices[0].finish == Finish("tool_calls", "stop")
    assert fold(read_stream(chunks(call(0, "a", "f", '{"x'), finish="length"))).choices[0].finish.unified == "length"


def test_legacy_function_calls_are_calls() -> None:
    assert calls_of(chunks({"function_call": {"name": "f", "arguments": "{}"}}, finish="function_call")) == [
        ("f", "{}")
    ]


# ---------------------------------------------------------------- reasoning, usage and oddities


@pytest.mark.parametrize(
    "delta",
    [
        {"reasoning_content": "hm"},
        {"reasoning": "hm"},
        {"reasoning": "hm", "reasoning_content": "hm"},
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]},
    ],
)
def test_reasoning_is_read_once_from_any_field(delta: dict[str, Any]) -> None:
    parts = fold(read_stream(chunks(delta, {"content": "ok"}))).choices[0].parts
    assert parts == (ReasoningPart(text="hm"), TextPart(text="ok"))


def test_reasoning_details_are_text_and_state() -> None:
    body = chunks(
        {"reasoning": "h", "reasoning_details": [{"type": "reasoning.text", "text": "h", "index": 0}]},
        {"reasoning": "m", "reasoning_details": [{"type": "reasoning.text", "text": "m", "index": 0}]},
        {"reasoning_details": [{"type": "reasoning.text", "signature": "s", "index": 0}]},
        {"content": "ok"},
    )
    parts = fold(read_stream(body)).choices[0].parts
    detail = {"type": "reasoning.text", "text": "hm", "index": 0, "signature": "s"}
    state = ProviderState(Dialect.OPENAI_CHAT, {"reasoning_details": [detail]})
    assert parts == (ReasoningPart(text="hm"), TextPart(text="ok"), ReasoningPart(state=state))


@pytest.mark.parametrize(("raw", "unified"), [("eos", "stop"), ("model_length", "length"), ("load", "other")])
def test_other_finish_reasons_have_our_words(raw: str, unified: str) -> None:
    assert fold(read_stream(chunks({"content": "a"}, finish=raw))).choices[0].finish == Finish(unified, raw)  # type: ignore[arg-type]  # by name


def test_a_finish_on_every_chunk_cuts_nothing_and_the_last_usage_counts() -> None:
    lines = [
        {
            "choices": [{"index": 0, "delta": {"content": word}, "finish_reason": "stop"}],
            "usage": {"completion_tokens": n},
        }
        for n, word in enumerate(["a", "b", "c"], 1)
    ]
    body = b"".join(b"data:" + msgspec.json.encode(line) + b"\r\n\r\n" for line in lines)
    answer = fold(read_stream(body))
    assert answer.choices[0].parts == (TextPart(text="abc"),)
    assert answer.usage is not None
    assert answer.usage.output == 3


def test_groq_usage_and_empty_choices_are_read() -> None:
    more = b'data: {"choices":[],"prompt_filter_results":[]}\n\ndata: {"choices":[],"x_groq":{"usage":{"prompt_tokens":5}}}\n\n'
    answer = fold(read_stream(chunks({"content": "a"}, more=more)))
    assert answer.usage is not None
    assert answer.usage.input == 5


def test_several_choices_stay_apart() -> None:
    body = b"".join(
        b'data: {"choices":[{"index":%d,"delta":{"content":"%b"},"finish_reason":"stop"}]}\n\n' % (index, text)
        for index, text in [(0, b"a"), (1, b"x"), (0, b"b"), (1, b"y")]
    )
    answer = fold(read_stream(body))
    assert [choice.parts for choice in answer.choices] == [(TextPart(text="ab"),), (TextPart(text="xy"),)]
    whole = ChatCompletion.model_validate_json(CODEC.render_response(answer, REQUEST))
    assert [choice.message.content for choice in whole.choices] == ["ab", "xy"]


def test_audio_images_refusals_citations_and_logprobs_survive() -> None:
    token = {"token": "a", "logprob": -0.1, "bytes": [97], "top_logprobs": []}
    cite = {
        "type": "url_citation",
        "url_citation": {"url": "https://e.com", "title": "E", "start_index": 0, "end_index": 1},
    }
    answer = ChatResponse(
        id="c", model="m", created=1, usage=None,
        choices=(
            Choice(
                parts=(
                    TextPart(text="a", annotations=(cite,)),
                    RefusalPart(text="no"),
                    AudioPart(id="au", data="QUJD", transcript="abc"),
                    ImagePart(data="QUJD", media_type="image/png"),
                ),
                finish=Finish("stop", "stop", "END"),
                logprobs=(token,),
            ),
        ),
        extra={"openai_chat": {"citations": ["https://e.com"]}},
    )  # fmt: skip
    assert fold(CODEC.parse_response(CODEC.render_response(answer, REQUEST))) == answer
    renderer = CODEC.renderer(REQUEST, "c", 1)
    body = b"".join(renderer.feed(event) for event in unfold(answer)) + renderer.close()
    assert fold(read_stream(body)) == answer


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", ErrorKind.BAD_RESPONSE),
        (b": hi\n\n", ErrorKind.BAD_RESPONSE),
        (b"<!DOCTYPE html>", ErrorKind.BAD_RESPONSE),
        (b"data: {oops\n\n", ErrorKind.BAD_RESPONSE),
        (b"data: 5\n\n", ErrorKind.BAD_RESPONSE),
        (chunks({"content": "a"}, finish=None).replace(b"data: [DONE]\n\n", b""), ErrorKind.TRUNCATED),
        (chunks({"content": "a"}, finish=None).replace(b"[DONE]", b'{"choi')[:-2], ErrorKind.TRUNCATED),
        (chunks({"content": ""}), ErrorKind.BAD_RESPONSE),
        (chunks({"content": "a"}, finish="insufficient_system_resource"), ErrorKind.UNAVAILABLE),
        (b'data: {"error":{"code":429,"message":"m"}}\n\n', ErrorKind.RATE_LIMITED),
        (b'event: error\ndata: {"message":"overloaded"}\n\n', ErrorKind.UNAVAILABLE),
        (b'{"error":{"message":"m","code":"context_length_exceeded"}}', ErrorKind.CONTEXT_TOO_LONG),
    ],
)
def test_streams_that_fail_fail_the_attempt(body: bytes, kind: ErrorKind) -> None:
    for size in (1, 1000):
        with pytest.raises(AttemptFailed) as caught:
            read_stream(body, size)
        assert caught.value.failure.kind is kind


def test_a_whole_answer_where_a_stream_was_due_is_read() -> None:
    body = b'\n\n{"choices":[{"message":{"content":"Hi"},"finish_reason":"stop"}]}'
    assert fold(read_stream(body, 4)).choices[0].parts == (TextPart(text="Hi"),)


# ---------------------------------------------------------------- rendering


def test_the_stream_has_the_shape_that_clients_expect() -> None:
    events: list[AnyEvent] = [
        Started(id="x", model="other"),
        PartStarted(index=0, part=ToolCallPart(id="call_1", name="now")),
        PartEnded(index=0),
        Extra(dialect=Dialect.OPENAI_CHAT, fields={"citations": ["u"]}),
        Finished(finish=Finish("tool_calls")),
        Measured(usage=Usage(input=3, cache_read=2, output=1)),
    ]
    body = rendered_stream(events)
    assert body.endswith(b"data: [DONE]\n\n")
    found = [json.loads(event.data) for event in SseDecoder().feed(body)[:-1]]
    for chunk in found:
        ChatCompletionChunk.model_validate(chunk)
        assert (chunk["id"], chunk["model"], chunk["created"]) == ("chatcmpl-1", "m", 7)
    assert found[0]["choices"][0]["delta"]["role"] == "assistant"
    arguments = "".join(
        c["function"].get("arguments", "")
        for f in found
        for x in f["choices"]
        for c in x["delta"].get("tool_calls", [])
    )
    assert arguments == "{}"  # a call without arguments
    assert found[-2]["choices"][0]["finish_reason"] == "tool_calls"
    assert found[-1]["choices"] == []
    assert found[-1]["usage"]["prompt_tokens"] == 5
    assert found[-1]["citations"] == ["u"]


def test_usage_is_left_out_unless_asked_for() -> None:
    request = msgspec.structs.replace(REQUEST, include_usage=None)
    assert b"usage" not in rendered_stream(
        unfold(ChatResponse(id="i", model="m", choices=(), usage=Usage(input=1))), request
    )


def test_foreign_reasoning_state_comes_back_through_a_chat_caller() -> None:
    """A caller that sends back what it got restores thinking and its signature, whole and streamed."""
    thought = ReasoningPart(text="hm", state=ProviderState(Dialect.ANTHROPIC_MESSAGES, {"signature": "sig"}))
    signed = ToolCallPart(
        id="call_1", name="f", arguments="{}", state=ProviderState(Dialect.GEMINI, {"thoughtSignature": "g"})
    )
    answer = ChatResponse(id="i", model="m", choices=(Choice(parts=(thought, signed), finish=Finish("tool_calls")),))
    whole = json.loads(CODEC.render_response(answer, REQUEST))["choices"][0]["message"]
    streamed: dict[str, Any] = {"role": "assistant", "reasoning_content": "", "tool_calls": [{}]}
    for event in SseDecoder().feed(rendered_stream(unfold(answer)))[:-1]:
        for choice in json.loads(event.data)["choices"]:
            delta = choice["delta"]
            streamed["reasoning_content"] += delta.get("reasoning_content", "")
            streamed |= {k: v for k, v in delta.items() if k == "reasoning_details"}
            for piece in delta.get("tool_calls", []):
                streamed["tool_calls"][0] |= {k: v for k, v in piece.items() if k != "function" or "name" in v}
    streamed["tool_calls"][0]["function"]["arguments"] = "{}"
    for message in (whole, streamed):
        history = [
            {"role": "user", "content": "x"},
            message,
            {"role": "tool", "tool_call_id": "call_1", "content": "y"},
        ]
        asked = CODEC.parse_request(msgspec.json.encode({"model": "m", "messages": history}))
        assert asked.messages[1].parts == (thought, signed)


def test_free_form_tools_answer_as_declared_even_through_functions() -> None:
    request = msgspec.structs.replace(REQUEST, tools=(Tool(name="sql", custom=True),))
    wrapped = ToolCallPart(id="call_1", name="sql", arguments='{"input":"select 1"}')
    answer = ChatResponse(id="i", model="m", choices=(Choice(parts=(wrapped,), finish=Finish("tool_calls")),))
    whole = json.loads(CODEC.render_response(answer, request))["choices"][0]["message"]["tool_calls"][0]
    assert whole == {"id": "call_1", "type": "custom", "custom": {"name": "sql", "input": "select 1"}}
    assert b'"input":"select 1"' in rendered_stream(unfold(answer), request)


@pytest.mark.parametrize("kind", list(ErrorKind))
def test_every_error_has_openai_shape(kind: ErrorKind) -> None:
    error = PolyrouteError(
        kind, "All failed", param="p", request_id="req_1", attempts=(FailedAttempt("a", "m", kind, "no"),)
    )
    body = json.loads(CODEC.render_error(error))["error"]
    assert body["message"] == "All failed"
    assert body["param"] == "p"
    assert body["request_id"] == "req_1"
    assert isinstance(body["type"], str)
    assert isinstance(body["code"], str)


def test_a_stream_that_fails_ends_with_an_error_and_no_done() -> None:
    renderer = CODEC.renderer(REQUEST, "c", 1)
    body = renderer.feed(Started(id="x")) + renderer.error(PolyrouteError(ErrorKind.TRUNCATED, "it broke off"))
    assert b"[DONE]" not in body
    with pytest.raises(AttemptFailed, match="it broke off"):
        read_stream(body)
