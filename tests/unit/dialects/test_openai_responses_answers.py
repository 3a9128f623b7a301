"""Responses answers: every event read, the whole event sequence rendered as the official SDK reads it."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.responses import Response

from polyroute.dialects.fold import fold, unfold
from polyroute.dialects.openai_chat import CODEC as CHAT
from polyroute.dialects.openai_responses import CODEC
from polyroute.dialects.sse import SseDecoder
from polyroute.types.chat import (
    AnyEvent,
    ChatRequest,
    ChatResponse,
    Choice,
    Finish,
    Finished,
    ImagePart,
    Measured,
    Message,
    PartDelta,
    PartEnded,
    PartStarted,
    ProviderState,
    Reasoning,
    ReasoningPart,
    RefusalPart,
    Started,
    TextPart,
    Tool,
    ToolCallPart,
)
from polyroute.types.errors import AttemptFailed, ErrorKind, PolyrouteError
from polyroute.types.operations import Dialect
from polyroute.types.usage import Usage
from support import strategies
from support.recordings import Recording, parametrize

REQUEST = ChatRequest(model="m", messages=(Message(role="user", parts=(TextPart(text="hi"),)),), stream=True)
FINISHES: dict[Any, str] = {
    "stop": "completed",
    "tool_calls": "completed",
    "length": "max_output_tokens",
    "content_filter": "content_filter",
}


def read_stream(body: bytes, size: int | None = None) -> list[AnyEvent]:
    parser = CODEC.parser()
    step = size or len(body) or 1
    events = [event for at in range(0, len(body), step) for event in parser.feed(body[at : at + step])]
    return events + parser.close()


def read(recording: Recording) -> ChatResponse:
    return fold(read_stream(recording.body) if recording.stream else CODEC.parse_response(recording.body))


def stream(*events: dict[str, Any]) -> bytes:
    return b"".join(b"event: %b\ndata: %b\n\n" % (e["type"].encode(), msgspec.json.encode(e)) for e in events)


def rendered_stream(events: list[AnyEvent], request: ChatRequest = REQUEST) -> bytes:
    renderer = CODEC.renderer(request, "resp_1", 7)
    return b"".join(renderer.feed(event) for event in events) + renderer.close()


def decoded(body: bytes) -> list[dict[str, Any]]:
    decoder = SseDecoder()
    found = decoder.feed(body) + decoder.close()
    for event in found:
        assert event.name == json.loads(event.data)["type"]
    return [json.loads(event.data) for event in found]


# ---------------------------------------------------------------- recordings

UNREADABLE = {"background-mode-vcr-1": "queued", "midstream-rate-limit": "Request too large"}


def told_to_fail(recording: Recording) -> str | None:
    return next((words for name, words in UNREADABLE.items() if recording.id.endswith(name)), None)


@parametrize("openai_responses")
def test_recorded_answers_are_read_right(recording: Recording) -> None:
    if (words := told_to_fail(recording)) is not None:
        with pytest.raises(AttemptFailed, match=words):
            read(recording)
        return
    answer = read(recording)
    final = decoded(recording.body)[-1]["response"] if recording.stream else json.loads(recording.body)
    parts = answer.choices[0].parts
    items = final["output"] or [
        event["item"] for event in decoded(recording.body) if event["type"].endswith("item.done")
    ]
    texts = [
        p["text"] for item in items if item["type"] == "message" for p in item["content"] if p["type"] == "output_text"
    ]
    assert "".join(part.text for part in parts if isinstance(part, TextPart)) == "".join(texts)
    calls = [(item["call_id"], item["name"], item["arguments"]) for item in items if item["type"] == "function_call"]
    found = [(p.id, p.name, p.arguments) for p in parts if isinstance(p, ToolCallPart) and not p.custom]
    assert found == calls
    assert answer.usage is not None
    assert (answer.usage.input_total, answer.usage.output_total) == (
        final["usage"]["input_tokens"],
        final["usage"]["output_tokens"],
    )
    assert (answer.id, answer.model) == (final["id"], final["model"])


@parametrize("openai_responses", stream=True)
def test_recorded_streams_are_the_same_at_any_split(recording: Recording) -> None:
    def events(size: int) -> list[AnyEvent] | str:
        try:
            return read_stream(recording.body, size)
        except AttemptFailed as failure:
            return failure.failure.message

    whole = events(len(recording.body))
    assert all(events(size) == whole for size in (1, 13, 4000))


@parametrize("openai_responses", stream=True)
def test_a_stream_is_its_final_response(recording: Recording) -> None:
    """One path for streams and whole answers."""
    if told_to_fail(recording):
        pytest.skip("this stream tells an error")
    final = decoded(recording.body)[-1]["response"]
    if not final["output"]:
        pytest.skip("the final response repeats no output")
    streamed, whole = read(recording), fold(CODEC.parse_response(msgspec.json.encode(final)))
    assert streamed.choices[0].finish == whole.choices[0].finish
    assert streamed.usage == whole.usage

    def shown(answer: ChatResponse) -> list[Any]:
        parts = answer.choices[0].parts
        return [
            (p.text if isinstance(p, TextPart) else p.arguments)
            for p in parts
            if isinstance(p, TextPart | ToolCallPart)
        ]

    assert shown(streamed) == shown(whole)


def _hosted(terminal: dict[str, Any]) -> int:
    ours = ("message", "reasoning", "function_call", "custom_tool_call")
    return sum(item["type"] not in ours for item in terminal["response"]["output"])


def sdk_response(response: dict[str, Any]) -> Response:
    """The SDK's reading, without items of hosted tools: those are as the provider sent them, right or wrong."""
    ours = ("message", "reasoning", "function_call", "custom_tool_call")
    return Response.model_validate(response | {"output": [item for item in response["output"] if item["type"] in ours]})


@parametrize("openai_responses")
def test_recorded_answers_are_rendered_as_the_sdk_reads_them(recording: Recording) -> None:
    if told_to_fail(recording):
        pytest.skip("this answer is none")
    answer = read(recording)
    texts = "".join(part.text for part in answer.choices[0].parts if isinstance(part, TextPart))
    whole = sdk_response(json.loads(CODEC.render_response(answer, REQUEST)))
    streamed = decoded(rendered_stream(unfold(answer)))
    assert whole.output_text == texts
    assert [event["sequence_number"] for event in streamed] == list(range(len(streamed)))
    final = sdk_response(streamed[-1]["response"])
    assert final.output_text == texts
    added, done = (
        [
            (e["output_index"], e["item"]["id"], e["item"]["type"])
            for e in streamed
            if e["type"] == f"response.output_item.{end}"
        ]
        for end in ("added", "done")
    )
    assert sorted(added) == sorted(done)  # an item never changes its identity
    assert [place for place, _, _ in added] == list(range(len(final.output) + _hosted(streamed[-1])))
    assert "".join(e["delta"] for e in streamed if e["type"] == "response.output_text.delta") == texts


@parametrize("openai_chat")
def test_chat_answers_become_responses(recording: Recording) -> None:
    try:
        events = [*(p := CHAT.parser()).feed(recording.body), *p.close()]
    except AttemptFailed:
        pytest.skip("this stream tells an error")
    answer = fold(events)
    final = Response.model_validate(decoded(rendered_stream(events))[-1]["response"])
    first = answer.choices[0]
    assert final.output_text == "".join(part.text for part in first.parts if isinstance(part, TextPart))
    sent = [(item.call_id, item.name) for item in final.output if item.type == "function_call"]
    assert sent == [(part.id, part.name) for part in first.parts if isinstance(part, ToolCallPart)]
    assert final.status == ("incomplete" if first.finish.unified in ("length", "content_filter") else "completed")
    if answer.usage is not None and final.usage is not None:
        assert final.usage.input_tokens == answer.usage.input_total


# ---------------------------------------------------------------- round trips


@st.composite
def reasonings(draw: st.DrawFn) -> ReasoningPart:
    text = draw(strategies.texts())
    summary = draw(st.booleans())
    return ReasoningPart(text=text, summary=summary)


responses = strategies.chat_responses(
    finishes=FINISHES, reasoning=reasonings(), usage=strategies.usages(audio=False)
)  # fmt: skip


def without_state(answer: ChatResponse) -> ChatResponse:
    """Without the ids that rendering gave to items, and the raw record of usage."""
    choices = tuple(
        msgspec.structs.replace(choice, parts=tuple(msgspec.structs.replace(part, state=None) for part in choice.parts))
        for choice in answer.choices
    )
    usage = answer.usage
    if usage is not None:
        assert usage.audio_input is None
        usage = msgspec.structs.replace(usage, raw=None)
    return msgspec.structs.replace(answer, choices=choices, usage=usage)


@given(responses)
@settings(max_examples=50, deadline=None)
def test_whole_answers_are_read_back(answer: ChatResponse) -> None:
    assert without_state(fold(CODEC.parse_response(CODEC.render_response(answer, REQUEST)))) == answer


@given(responses, st.integers(1, 600))
@settings(max_examples=50, deadline=None)
def test_streamed_answers_are_read_back_at_any_split(answer: ChatResponse, size: int) -> None:
    renderer = CODEC.renderer(REQUEST, answer.id or "", answer.created or 0)
    body = b"".join(renderer.feed(event) for event in unfold(answer)) + renderer.close()
    assert without_state(fold(read_stream(body, size))) == answer


@given(st.binary(max_size=80), st.integers(0, 3000))
@settings(max_examples=100, deadline=None)
def test_no_bytes_crash_the_parser(noise: bytes, at: int) -> None:
    answer = ChatResponse(id="r", model="m", choices=(Choice(parts=(TextPart(text="a"),), finish=Finish("stop")),))
    body = rendered_stream(unfold(answer))
    with suppress(AttemptFailed):
        read_stream(body[:at] + noise + body[at:], 100)
    with suppress(AttemptFailed):
        CODEC.parse_response(noise)


objects = st.dictionaries(
    st.sampled_from(
        ["type", "id", "name", "call_id", "summary", "content", "text", "arguments", "status", "error", "output"]
    ),
    strategies.json_values() | st.sampled_from(["message", "reasoning", "function_call", "completed"]),
)


@given(st.sampled_from(["item", "delta", "response", "annotation", "output_index"]), strategies.json_values() | objects)
@settings(max_examples=120, deadline=None)
def test_no_event_crashes_the_parser(name: str, value: Any) -> None:
    kinds = ("output_item.added", "output_item.done", "output_text.delta", "reasoning_summary_text.delta", "completed")
    for kind in kinds:
        event = {"type": f"response.{kind}", "output_index": 0, name: value}
        with suppress(AttemptFailed):
            read_stream(stream(event, {"type": "response.completed", "response": {"output": [value]}}))
    with suppress(AttemptFailed):
        CODEC.parse_response(msgspec.json.encode({"output": value, "usage": value, "status": value}))


# ---------------------------------------------------------------- reading


def test_arguments_and_texts_without_deltas_come_from_the_done_events() -> None:
    call = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f", "arguments": ""}
    message = {"type": "message", "id": "msg_1", "role": "assistant", "content": []}
    body = stream(
        {"type": "response.created", "response": {"id": "resp_1", "model": "m", "output": []}},
        {"type": "response.output_item.added", "output_index": 0, "item": call},
        {"type": "response.function_call_arguments.delta", "output_index": 0, "item_id": "fc_1", "delta": '{"a'},
        {"type": "response.function_call_arguments.done", "output_index": 0, "item_id": "fc_1", "arguments": '{"a":1}'},
        {"type": "response.output_item.done", "output_index": 0, "item": {**call, "arguments": '{"a":1}'}},
        {"type": "response.output_item.added", "output_index": 1, "item": message},
        {"type": "response.output_text.done", "output_index": 1, "item_id": "msg_1", "content_index": 0, "text": "Hi"},
        {"type": "response.something.new", "output_index": 1},
        {"type": "response.completed", "response": {"id": "resp_1", "output": [{**call, "arguments": '{"a":1}'}]}},
    )
    parts = fold(read_stream(body)).choices[0].parts
    assert isinstance(parts[0], ToolCallPart)
    assert (parts[0].id, parts[0].arguments) == ("call_1", '{"a":1}')
    assert isinstance(parts[1], TextPart)
    assert parts[1].text == "Hi"


def test_output_only_in_the_final_response_is_read() -> None:
    content = [
        {"type": "output_text", "text": "Hi", "annotations": [{"type": "url_citation", "url": "u", "title": "t"}]}
    ]
    item = {"type": "message", "id": "msg_1", "role": "assistant", "content": content}
    body = stream({"type": "response.completed", "response": {"status": "completed", "output": [item]}})
    part = fold(read_stream(body)).choices[0].parts[0]
    assert isinstance(part, TextPart)
    assert part.text == "Hi"
    assert part.annotations == ({"type": "url_citation", "url_citation": {"url": "u", "title": "t"}},)


def test_summary_parts_are_apart_by_a_blank_line_and_state_is_kept() -> None:
    item = {"type": "reasoning", "id": "rs_1", "summary": []}
    summary = [{"type": "summary_text", "text": "one"}, {"type": "summary_text", "text": "two"}]
    delta = {"type": "response.reasoning_summary_text.delta", "output_index": 0, "item_id": "rs_1"}
    done = {**item, "summary": summary, "encrypted_content": "gA"}
    body = stream(
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {**delta, "summary_index": 0, "delta": "one"},
        {**delta, "summary_index": 1, "delta": "two"},
        {"type": "response.output_item.done", "output_index": 0, "item": done},
        {"type": "response.incomplete", "response": {"incomplete_details": {"reason": "max_output_tokens"}}},
    )
    answer = fold(read_stream(body))
    fields = {"id": "rs_1", "summary": summary, "encrypted_content": "gA"}
    state = ProviderState(Dialect.OPENAI_RESPONSES, fields)
    assert answer.choices[0].parts == (ReasoningPart(text="one\n\ntwo", summary=True, state=state),)
    assert answer.choices[0].finish == Finish("length", "max_output_tokens")


CREATED = {"type": "response.created", "response": {"id": "resp_1", "model": "m"}}


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", ErrorKind.BAD_RESPONSE),
        (b"<html>", ErrorKind.BAD_RESPONSE),
        (b"data: {oops\n\n", ErrorKind.BAD_RESPONSE),
        (stream(CREATED), ErrorKind.TRUNCATED),
        (stream(CREATED, CREATED)[:-9], ErrorKind.TRUNCATED),
        (stream(CREATED, {"type": "response.completed", "response": {"output": []}}), ErrorKind.BAD_RESPONSE),
        (stream(CREATED, {"type": "error", "code": "rate_limit_exceeded", "message": "slow"}), ErrorKind.RATE_LIMITED),
        (
            stream({"type": "response.failed", "response": {"error": {"code": "server_error", "message": "m"}}}),
            ErrorKind.UNAVAILABLE,
        ),
        (
            stream({"type": "response.failed", "response": {"error": {"code": "bio_policy", "message": "m"}}}),
            ErrorKind.CONTENT_FILTERED,
        ),
        (b'{"error":{"code":"context_length_exceeded","message":"m"}}', ErrorKind.CONTEXT_TOO_LONG),
        (b'{"status":"in_progress","output":[]}', ErrorKind.BAD_RESPONSE),
        (
            b'{"status":"failed","error":{"code":"invalid_prompt","message":"m"},"output":[]}',
            ErrorKind.CONTENT_FILTERED,
        ),
        (b"[]", ErrorKind.BAD_RESPONSE),
        (b'{"choices":[]}', ErrorKind.BAD_RESPONSE),
    ],
)
def test_answers_that_fail_fail_the_attempt(body: bytes, kind: ErrorKind) -> None:
    for size in (1, 10_000):
        with pytest.raises(AttemptFailed) as caught:
            read_stream(body, size)
        assert caught.value.failure.kind is kind


# ---------------------------------------------------------------- rendering


def test_the_event_sequence_is_complete_and_in_order() -> None:
    events: list[AnyEvent] = [
        Started(id="x", model="other"),
        PartStarted(index=0, part=ReasoningPart(summary=True)),
        PartDelta(index=0, text="hm"),
        PartEnded(index=0),
        PartStarted(index=1, part=TextPart(text="")),
        PartDelta(index=1, text="EX"),
        PartDelta(index=1, text="IT"),
        PartEnded(index=1, annotations=({"type": "url_citation", "url_citation": {"url": "u", "title": "t"}},)),
        PartStarted(index=2, part=ToolCallPart(id="call_1", name="f")),
        PartEnded(index=2),
        Finished(finish=Finish("tool_calls")),
        Measured(usage=Usage(input=3, cache_read=2, output=1, reasoning=4)),
    ]
    found = decoded(rendered_stream(events))
    assert [event["type"].removeprefix("response.") for event in found] == [
        "created", "in_progress",
        "output_item.added", "reasoning_summary_part.added", "reasoning_summary_text.delta",
        "reasoning_summary_text.done", "reasoning_summary_part.done", "output_item.done",
        "output_item.added", "content_part.added", "output_text.delta", "output_text.delta",
        "output_text.annotation.added", "output_text.done", "content_part.done", "output_item.done",
        "output_item.added", "function_call_arguments.delta", "function_call_arguments.done", "output_item.done",
        "completed",
    ]  # fmt: skip
    by_type = {event["type"].removeprefix("response."): event for event in found}
    assert by_type["reasoning_summary_text.done"]["text"] == "hm"
    assert by_type["output_text.done"]["text"] == "EXIT"
    assert by_type["function_call_arguments.done"]["name"] == "f"
    assert by_type["function_call_arguments.done"]["arguments"] == "{}"
    final = by_type["completed"]["response"]
    assert [item["type"] for item in final["output"]] == ["reasoning", "message", "function_call"]
    assert final["usage"]["input_tokens"] == 5
    assert final["usage"]["output_tokens_details"]["reasoning_tokens"] == 4
    assert final["model"] == "m"
    dones = [event["item"] for event in found if event["type"] == "response.output_item.done"]
    assert dones == final["output"]
    assert len({item["id"] for item in final["output"]}) == 3


def test_interleaved_parallel_calls_keep_their_places() -> None:
    events: list[AnyEvent] = [
        PartStarted(index=0, part=ToolCallPart(id="call_a", name="f")),
        PartStarted(index=1, part=ToolCallPart(id="call_b", name="g")),
        PartDelta(index=1, text="{}"),
        PartDelta(index=0, text='{"x":1}'),
        Finished(finish=Finish("tool_calls")),
    ]
    found = decoded(rendered_stream(events))
    output = found[-1]["response"]["output"]
    assert [(item["call_id"], item["arguments"]) for item in output] == [("call_a", '{"x":1}'), ("call_b", "{}")]
    deltas = [(event["output_index"], event["delta"]) for event in found if event["type"].endswith("arguments.delta")]
    assert deltas == [(1, "{}"), (0, '{"x":1}')]


@pytest.mark.parametrize(("unified", "reason"), [("length", "max_output_tokens"), ("content_filter", "content_filter")])
def test_what_was_cut_is_incomplete(unified: Any, reason: str) -> None:
    events: list[AnyEvent] = [PartStarted(index=0, part=RefusalPart(text="")), PartDelta(index=0, text="No")]
    found = decoded(rendered_stream([*events, Finished(finish=Finish(unified))]))
    assert found[-1]["type"] == "response.incomplete"
    assert found[-1]["response"]["incomplete_details"] == {"reason": reason}
    assert found[-1]["response"]["output"][0]["content"] == [{"type": "refusal", "refusal": "No"}]


def test_a_stream_that_fails_ends_with_failed_alone() -> None:
    renderer = CODEC.renderer(REQUEST, "resp_1", 1)
    out = renderer.feed(PartStarted(index=0, part=TextPart(text=""))) + renderer.feed(PartDelta(index=0, text="a"))
    out += renderer.error(PolyrouteError(ErrorKind.RATE_LIMITED, "slow down", request_id="req_1"))
    last = decoded(out)[-1]
    assert last["type"] == "response.failed"
    assert last["response"]["error"] == {"code": "rate_limit_exceeded", "message": "slow down"}
    with pytest.raises(AttemptFailed, match="slow down"):
        read_stream(out)


def test_the_request_is_echoed() -> None:
    body = {
        "model": "m", "input": "x", "instructions": "Be brief.", "temperature": 0.5, "max_output_tokens": 9,
        "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": True}, {"type": "web_search"}],
        "tool_choice": {"type": "function", "name": "f"}, "metadata": {"a": "b"}, "text": {"verbosity": "low"},
        "reasoning": {"effort": "low"}, "parallel_tool_calls": False, "store": False,
    }  # fmt: skip
    request = CODEC.parse_request(msgspec.json.encode(body))
    answer = ChatResponse(id="resp_1", model="x", choices=(Choice(parts=(TextPart(text="a"),), finish=Finish("stop")),))
    found = json.loads(CODEC.render_response(answer, request))
    Response.model_validate(found)
    for name in ("instructions", "temperature", "max_output_tokens", "tools", "tool_choice", "metadata", "store"):
        assert found[name] == body[name]
    assert found["text"] == {"format": {"type": "text"}, "verbosity": "low"}
    assert found["parallel_tool_calls"] is False


def test_encrypted_reasoning_that_was_streamed_under_another_id_is_restored() -> None:
    fields = {"id": "rs_up", "encrypted_content": "gA", "summary": [{"type": "summary_text", "text": "hm"}]}
    thought = ReasoningPart(text="hm", summary=True, state=ProviderState(Dialect.OPENAI_RESPONSES, fields))
    answer = ChatResponse(
        id="i", model="m", choices=(Choice(parts=(thought, TextPart(text="a")), finish=Finish("stop")),)
    )
    items = decoded(rendered_stream(unfold(answer)))[-1]["response"]["output"]
    body = {"model": "m", "input": [{"role": "user", "content": "x"}, *items, {"role": "user", "content": "y"}]}
    assert CODEC.parse_request(msgspec.json.encode(body)).messages[1].parts[0] == thought


@pytest.mark.parametrize("streamed", [False, True])
def test_foreign_state_comes_back_through_a_responses_caller(streamed: bool) -> None:
    """A caller that sends the output items back restores thinking with its signature, and signed calls."""
    thought = ReasoningPart(text="hm", state=ProviderState(Dialect.ANTHROPIC_MESSAGES, {"signature": "sig"}))
    hidden = ReasoningPart(redacted=True, state=ProviderState(Dialect.ANTHROPIC_MESSAGES, {"data": "x"}))
    call = ToolCallPart(
        id="call_1", name="f", arguments="{}", state=ProviderState(Dialect.GEMINI, {"thoughtSignature": "g"})
    )
    answer = ChatResponse(
        id="i", model="m", choices=(Choice(parts=(thought, hidden, call), finish=Finish("tool_calls")),)
    )
    request = msgspec.structs.replace(REQUEST, reasoning=Reasoning(summary="auto"))
    body = rendered_stream(unfold(answer), request) if streamed else CODEC.render_response(answer, request)
    output = decoded(body)[-1]["response"]["output"] if streamed else json.loads(body)["output"]
    assert output[0]["summary"] == [{"type": "summary_text", "text": "hm"}]
    whole = json.loads(CODEC.render_response(answer, request))
    echoed = [item.model_dump(exclude_none=True) for item in sdk_response(whole | {"output": output}).output]
    result = {"type": "function_call_output", "call_id": "call_1", "output": "y"}
    asked = CODEC.parse_request(
        msgspec.json.encode({"model": "m", "input": [{"role": "user", "content": "x"}, *echoed, result]})
    )
    assert asked.messages[1].parts == (thought, hidden, call)


def test_hosted_items_free_form_calls_and_images_are_items_again() -> None:
    search = {
        "type": "web_search_call",
        "id": "ws_1",
        "status": "completed",
        "action": {"type": "search", "query": "q"},
    }
    hosted = ReasoningPart(state=ProviderState(Dialect.OPENAI_RESPONSES, {"item": search}))
    wrapped = ToolCallPart(id="call_1", name="sql", arguments='{"input":"select 1"}')
    image = ImagePart(data="QUJD", media_type="image/png")
    answer = ChatResponse(
        id="i", model="m", choices=(Choice(parts=(hosted, wrapped, image), finish=Finish("tool_calls")),)
    )
    request = msgspec.structs.replace(REQUEST, tools=(Tool(name="sql", custom=True),))
    output = json.loads(CODEC.render_response(answer, request))["output"]
    assert output[0] == search
    assert (output[1]["type"], output[1]["input"]) == ("custom_tool_call", "select 1")
    assert output[2]["result"] == "QUJD"
    types = [event["type"] for event in decoded(rendered_stream(unfold(answer), request))]
    assert "response.custom_tool_call_input.done" in types


def test_errors_have_openai_shape() -> None:
    body = json.loads(CODEC.render_error(PolyrouteError(ErrorKind.CONTEXT_TOO_LONG, "too long")))
    assert body["error"]["code"] == "context_length_exceeded"
