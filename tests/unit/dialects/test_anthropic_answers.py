"""Answers of the Messages API: read whole and streamed, rendered as official clients read them, failures told."""

from __future__ import annotations

import contextlib
import json
from typing import Any, get_args

import anthropic
import pytest
from anthropic.types import Message as SdkMessage
from anthropic.types import RawMessageStreamEvent
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from polyroute.dialects.anthropic_messages import CODEC
from polyroute.dialects.fold import fold
from polyroute.dialects.sse import SseDecoder
from polyroute.types.chat import (
    AnyEvent,
    ChatRequest,
    ChatResponse,
    Choice,
    Finish,
    Finished,
    Measured,
    PartDelta,
    PartEnded,
    PartStarted,
    ProviderState,
    Reasoning,
    ReasoningPart,
    RefusalPart,
    Started,
    TextPart,
    ToolCallPart,
)
from polyroute.types.errors import AttemptFailed, ErrorKind, PolyrouteError
from polyroute.types.operations import Dialect
from polyroute.types.usage import Usage
from support.recordings import Recording, parametrize
from support.strategies import json_values

_REQUEST = ChatRequest(model="m", messages=())
_SDK_EVENT: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)


def _stream(*events: dict[str, Any]) -> bytes:
    return b"".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events)


_START = {
    "type": "message_start",
    "message": {
        "id": "msg_1",
        "model": "claude",
        "usage": {"input_tokens": 30, "cache_read_input_tokens": 7, "output_tokens": 1},
    },
}
_STOP = {"type": "message_stop"}


def _block(index: int, block: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"type": "content_block_start", "index": index, "content_block": block},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def _end(reason: str = "end_turn", **usage: Any) -> dict[str, Any]:
    return {
        "type": "message_delta",
        "delta": {"stop_reason": reason, "stop_sequence": None},
        "usage": {"output_tokens": 60, **usage},
    }


def _read(body: bytes) -> ChatResponse:
    parser = CODEC.parser()
    return fold(parser.feed(body) + parser.close())


def _expected(recording: Recording) -> dict[str, Any]:
    """The message that a recording holds, put together by the SDK's own types where it is a stream."""
    if not recording.stream:
        value: dict[str, Any] = json.loads(recording.body)
        return value
    message: dict[str, Any] = {}
    blocks: dict[int, dict[str, Any]] = {}
    for event in SseDecoder().feed(recording.body):
        data = json.loads(event.data)
        match data["type"]:
            case "message_start":
                message = data["message"]
            case "content_block_start":
                blocks[data["index"]] = data["content_block"] | {"json": ""}
            case "content_block_delta":
                block, delta = blocks[data["index"]], data["delta"]
                for name in ("text", "thinking", "signature"):
                    if name in delta:
                        block[name] = block.get(name, "") + delta[name]
                block["json"] += delta.get("partial_json", "")
            case "message_delta":
                message |= data["delta"]
                message["usage"] |= data["usage"]
    for block in blocks.values():
        if text := block.pop("json"):
            block["input"] = json.loads(text)
    return message | {"content": [blocks[index] for index in sorted(blocks)]}


@parametrize("anthropic_messages")
def test_recordings_are_read_in_full(recording: Recording) -> None:
    if recording.operation not in ("chat", "chat_stream"):
        pytest.skip("no chat")
    expected = _expected(recording)
    response = _read(recording.body) if recording.stream else fold(CODEC.parse_response(recording.body))
    (choice,) = response.choices
    blocks = expected["content"]
    assert (response.id, response.model) == (expected["id"], expected["model"])
    assert [p.text for p in choice.parts if isinstance(p, TextPart)] == [
        b["text"] for b in blocks if b["type"] == "text"
    ]
    thoughts = [p for p in choice.parts if isinstance(p, ReasoningPart) and not p.redacted]
    assert [p.text for p in thoughts] == [b["thinking"] for b in blocks if b["type"] == "thinking"]
    assert [p.state and p.state.fields["signature"] for p in thoughts] == [
        b["signature"] for b in blocks if b["type"] == "thinking"
    ]
    calls = [p for p in choice.parts if isinstance(p, ToolCallPart)]
    assert [(p.id, p.name, json.loads(p.arguments)) for p in calls] == [
        (b["id"], b["name"], b["input"]) for b in blocks if b["type"] == "tool_use"
    ]
    hidden = [p.state.fields for p in choice.parts if isinstance(p, ReasoningPart) and p.redacted and p.state]
    assert [f.get("data") or f["block"] for f in hidden] == [
        b["data"] if b["type"] == "redacted_thinking" else b
        for b in blocks
        if b["type"] not in ("text", "thinking", "tool_use")
    ]
    usage = response.usage
    assert usage is not None
    assert usage.output_total == expected["usage"]["output_tokens"]
    assert usage.input_total == sum(
        expected["usage"].get(name) or 0
        for name in ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    )
    assert choice.finish.raw == expected["stop_reason"]


@parametrize("anthropic_messages", stream=True)
def test_recordings_give_the_same_events_byte_by_byte(recording: Recording) -> None:
    whole, bytewise = CODEC.parser(), CODEC.parser()
    body = recording.body[:20_000]
    assert whole.feed(body) == [event for byte in body for event in bytewise.feed(bytes([byte]))]


@parametrize("anthropic_messages")
def test_recordings_survive_being_rendered_again(recording: Recording) -> None:
    if recording.operation not in ("chat", "chat_stream"):
        pytest.skip("no chat")
    events = CODEC.parse_response(recording.body) if not recording.stream else None
    if events is None:
        parser = CODEC.parser()
        events = parser.feed(recording.body) + parser.close()
    response = fold(events)
    request = ChatRequest(model=response.model or "", messages=())
    renderer = CODEC.renderer(request, response.id or "", 0)
    streamed = _read(b"".join(renderer.feed(event) for event in events) + renderer.close())
    again = fold(CODEC.parse_response(CODEC.render_response(response, request)))
    assert _compact(again) == _compact(response)
    assert _compact(streamed) == _compact(response)
    assert streamed.choices[0].finish == response.choices[0].finish


def _compact(response: ChatResponse) -> list[Any]:
    """The parts, with arguments as values: a whole answer holds an object, whose white space is not kept."""
    return [
        (part.id, part.name, json.loads(part.arguments), part.state) if isinstance(part, ToolCallPart) else part
        for part in response.choices[0].parts
    ]


def test_usage_is_cut_into_disjoint_buckets() -> None:
    detail = {"ephemeral_5m_input_tokens": 4, "ephemeral_1h_input_tokens": 5}
    usage = _read(
        _stream(
            _START, *_block(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": "a"}),
            _end(cache_creation_input_tokens=9, cache_creation=detail, output_tokens_details={"thinking_tokens": 24}), _STOP,
        )
    ).usage  # fmt: skip
    assert usage is not None
    assert (usage.input, usage.cache_read, usage.cache_write_5m, usage.cache_write_1h) == (30, 7, 4, 5)
    assert (usage.output, usage.reasoning, usage.input_total, usage.output_total) == (36, 24, 46, 60)


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("end_turn", "stop"), ("stop_sequence", "stop"), ("max_tokens", "length"), ("tool_use", "tool_calls"),
        ("model_context_window_exceeded", "length"), ("pause_turn", "length"), ("refusal", "content_filter"), ("new", "other"),
    ],
)  # fmt: skip
def test_stop_reasons(reason: str, expected: str) -> None:
    assert _read(_stream(_START, _end(reason), _STOP)).choices[0].finish == Finish(expected, reason)  # type: ignore[arg-type]  # from a table


def test_truncation_beats_calls_and_calls_beat_a_plain_end() -> None:
    call = _block(0, {"type": "tool_use", "id": "t", "name": "f", "input": {}})
    assert _read(_stream(_START, *call, _end("max_tokens"), _STOP)).choices[0].finish.unified == "length"
    ended = _read(_stream(_START, *call, _end("end_turn"), _STOP)).choices[0]
    assert ended.finish.unified == "tool_calls"
    assert ended.parts == (ToolCallPart(id="t", name="f", arguments="{}"),)


def test_arguments_given_at_the_start_of_a_block_count() -> None:
    call = _block(0, {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}})
    (part,) = _read(_stream(_START, *call, _end("tool_use"), _STOP)).choices[0].parts
    assert part == ToolCallPart(id="t", name="f", arguments='{"a":1}')


def test_a_whole_answer_where_a_stream_was_due_is_read() -> None:
    body = json.dumps(
        {"id": "msg_1", "content": [{"type": "text", "text": "hi"}], "stop_reason": "end_turn"}, indent=1
    ).encode()
    assert _read(b"\n" + body) == fold(CODEC.parse_response(body))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"type": "overloaded_error", "message": "Overloaded"}, ErrorKind.UNAVAILABLE),
        ({"type": "rate_limit_error", "message": "slow"}, ErrorKind.RATE_LIMITED),
        (
            {"type": "invalid_request_error", "message": "prompt is too long: 9 tokens > 8 maximum"},
            ErrorKind.CONTEXT_TOO_LONG,
        ),
        ({"type": "invalid_request_error", "message": "Your credit balance is too low"}, ErrorKind.QUOTA_EXHAUSTED),
        ({"type": "authentication_error", "message": "invalid x-api-key"}, ErrorKind.CREDENTIAL_REJECTED),
    ],
)
def test_errors_inside_an_answer(error: dict[str, str], kind: ErrorKind) -> None:
    body = {"type": "error", "error": error}
    for fail in (
        lambda: CODEC.parse_response(json.dumps(body).encode()),
        lambda: CODEC.parser().feed(_stream(_START, body)),
        lambda: _read(json.dumps(body).encode()),
    ):
        with pytest.raises(AttemptFailed) as caught:
            fail()
        assert caught.value.failure.kind is kind
        assert error["message"] in caught.value.failure.message


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", ErrorKind.BAD_RESPONSE),
        (b": ping\n\n", ErrorKind.BAD_RESPONSE),
        (b"<html>Bad gateway</html>", ErrorKind.BAD_RESPONSE),
        (b"data: nonsense\n\n", ErrorKind.BAD_RESPONSE),
        (_stream(_START), ErrorKind.TRUNCATED),
        (_stream(_START, *_block(0, {"type": "text", "text": "a"})), ErrorKind.TRUNCATED),
        (_stream(_START, _end())[:-20], ErrorKind.TRUNCATED),
    ],
)
def test_streams_that_are_no_answer(body: bytes, kind: ErrorKind) -> None:
    with pytest.raises(AttemptFailed) as caught:
        _read(body)
    assert caught.value.failure.kind is kind


def test_a_stream_without_message_stop_is_whole_once_it_has_its_stop_reason() -> None:
    assert _read(_stream(_START, _end())).choices[0].finish.unified == "stop"


@given(st.binary(max_size=60) | json_values(2).map(lambda value: json.dumps(value).encode()), st.booleans())
@settings(max_examples=80, deadline=None)
def test_nonsense_never_crashes(body: bytes, framed: bool) -> None:
    for read in (CODEC.parse_response, _read, CODEC.parse_request):
        with contextlib.suppress(AttemptFailed, PolyrouteError):
            read(b"data: " + body + b"\n\n" if framed and read is _read else body)


_KINDS = st.sampled_from(
    ["message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta"]
)
_EVENTS = st.fixed_dictionaries(
    {"type": _KINDS},
    optional={
        "index": st.integers(0, 2) | st.none(),
        "message": st.dictionaries(st.sampled_from(["id", "model", "usage"]), json_values(1)) | st.none(),
        "content_block": st.fixed_dictionaries(
            {"type": st.sampled_from(["text", "thinking", "tool_use", "x"])},
            optional={
                "text": json_values(0),
                "input": json_values(1),
                "signature": json_values(0),
                "name": json_values(0),
            },
        ),
        "delta": st.fixed_dictionaries(
            {"type": st.sampled_from(["text_delta", "input_json_delta", "signature_delta", "y"])},
            optional={"text": json_values(0), "partial_json": json_values(0), "stop_reason": json_values(0)},
        ),
        "usage": json_values(1),
    },
)


@given(st.lists(_EVENTS, max_size=6))
@settings(max_examples=100, deadline=None)
def test_odd_events_never_crash(events: list[dict[str, Any]]) -> None:
    try:
        response = _read(_stream(*events, _STOP))
    except AttemptFailed:
        return
    renderer = CODEC.renderer(_REQUEST, "x", 0)
    assert _read(renderer.close()).choices[0].parts == ()
    assert CODEC.render_response(response, _REQUEST)


# ---------------------------------------------------------------- rendering


def _events(body: bytes) -> list[dict[str, Any]]:
    found = []
    for event in SseDecoder().feed(body):
        data = json.loads(event.data)
        assert event.name == data["type"]
        found.append(data)
    return found


def _render(*events: AnyEvent, request: ChatRequest = _REQUEST) -> list[dict[str, Any]]:
    renderer = CODEC.renderer(request, "1", 0)
    return _events(b"".join(renderer.feed(event) for event in events) + renderer.close())


def _begin(index: int, part: Any) -> PartStarted:
    return PartStarted(index=index, part=part)


def test_a_stream_has_the_shape_that_the_sdk_expects() -> None:
    events = _render(
        Started(id="x", model="y"),
        Measured(usage=Usage(input=10, cache_read=5)),
        _begin(0, ReasoningPart()), PartDelta(index=0, text="hm"),
        PartEnded(index=0, state=ProviderState(Dialect.ANTHROPIC_MESSAGES, {"signature": "EqQB"})),
        _begin(1, ToolCallPart(id="call_1", name="f")), PartDelta(index=1, text='{"a"'), PartDelta(index=1, text=":1}"),
        PartEnded(index=1),
        Finished(finish=Finish("tool_calls", "tool_calls")),
        Measured(usage=Usage(input=10, cache_read=5, output=6, reasoning=2)),
    )  # fmt: skip
    for event in events:
        _SDK_EVENT.validate_python(event)
    assert [event["type"].removeprefix("content_block_") for event in events] == [
        "message_start", "start", "delta", "delta", "stop", "start", "delta", "delta", "stop", "message_delta", "message_stop",
    ]  # fmt: skip
    assert events[0]["message"]["usage"]["input_tokens"] == 10
    assert events[3]["delta"] == {"type": "signature_delta", "signature": "EqQB"}
    assert events[5]["content_block"]["input"] == {}
    assert events[9]["delta"]["stop_reason"] == "tool_use"
    assert events[9]["usage"]["output_tokens"] == 8


def test_one_block_is_open_at_a_time() -> None:
    """Parallel calls that interleave, and parts that are never ended."""
    events = _render(
        _begin(0, TextPart(text="")), PartDelta(index=0, text="a"),
        _begin(1, ToolCallPart(id="c1", name="f")), _begin(2, ToolCallPart(id="c2", name="g")),
        PartDelta(index=1, text='{"x":'), PartDelta(index=2, text='{"y":'), PartDelta(index=1, text="1}"),
        PartEnded(index=1), PartDelta(index=2, text="2}"), PartEnded(index=2),
        Finished(finish=Finish("tool_calls")),
    )  # fmt: skip
    opened: int | None = None
    arguments: dict[int, str] = {}
    for event in events:
        match event["type"]:
            case "content_block_start":
                assert opened is None
                opened = event["index"]
            case "content_block_delta":
                assert opened == event["index"]
                arguments[opened] = arguments.get(opened, "") + event["delta"].get("partial_json", "")
            case "content_block_stop":
                assert opened == event["index"]
                opened = None
    assert arguments == {0: "", 1: '{"x":1}', 2: '{"y":2}'}


def test_text_that_goes_on_after_reasoning_gets_a_further_block() -> None:
    events = _render(
        _begin(0, ReasoningPart()), PartDelta(index=0, text="r1"), _begin(1, TextPart(text="")), PartDelta(index=1, text="t1"),
        PartDelta(index=0, text="r2"), PartDelta(index=1, text="t2"), Finished(finish=Finish("stop")),
    )  # fmt: skip
    deltas = [
        e["delta"].get("text") or e["delta"].get("thinking") for e in events if e["type"] == "content_block_delta"
    ]
    assert [text for text in deltas if text] == ["r1", "t1", "r2", "t2"]


def test_a_call_without_arguments_says_so() -> None:
    events = _render(
        _begin(0, ToolCallPart(id="c", name="f")), PartEnded(index=0), Finished(finish=Finish("tool_calls"))
    )
    assert events[2]["delta"] == {"type": "input_json_delta", "partial_json": "{}"}


def test_illegal_and_repeated_call_ids_become_legal_and_distinct() -> None:
    calls = tuple(ToolCallPart(id=call_id, name="f", arguments="{}") for call_id in ("a b", "c", "c", ""))
    response = ChatResponse(id="x", model="m", choices=(Choice(parts=calls, finish=Finish("tool_calls")),))
    message = SdkMessage.model_validate_json(CODEC.render_response(response, _REQUEST))
    ids = [block.id for block in message.content if block.type == "tool_use"]
    assert len(set(ids)) == 4
    assert ids[1] == "c"
    assert all(i.replace("_", "").replace("-", "").isalnum() for i in ids)


@pytest.mark.parametrize(
    ("finish", "reason"),
    [
        (Finish("stop", "stop"), "end_turn"), (Finish("length", "length"), "max_tokens"), (Finish("content_filter"), "refusal"),
        (Finish("other", "weird"), "end_turn"), (Finish("stop", "stop", "END"), "stop_sequence"),
        (Finish("length", "pause_turn"), "pause_turn"),
    ],
)  # fmt: skip
def test_finish_words(finish: Finish, reason: str) -> None:
    response = ChatResponse(id=None, model=None, choices=(Choice(parts=(TextPart(text="a"),), finish=finish),))
    message = SdkMessage.model_validate_json(CODEC.render_response(response, _REQUEST))
    assert message.stop_reason == reason
    assert message.stop_sequence == finish.stop_sequence


def test_a_refusal_is_told_as_text_and_stop_reason() -> None:
    parts = (RefusalPart(text="No."),)
    response = ChatResponse(id="x", model="m", choices=(Choice(parts=parts, finish=Finish("stop", "stop")),))
    message = json.loads(CODEC.render_response(response, _REQUEST))
    assert (message["content"], message["stop_reason"]) == ([{"type": "text", "text": "No."}], "refusal")


def test_omitted_thinking_keeps_its_signature() -> None:
    request = ChatRequest(model="m", messages=(), reasoning=Reasoning(enabled=True, adaptive=True, summary="omitted"))
    thought = ReasoningPart(text="secret", state=ProviderState(Dialect.GEMINI, {"thoughtSignature": "C"}))
    response = ChatResponse(id="x", model="m", choices=(Choice(parts=(thought,), finish=Finish("stop")),))
    body = CODEC.render_response(response, request)
    assert b"secret" not in body
    (block,) = json.loads(body)["content"]
    assert block["signature"]
    events = _render(
        _begin(0, ReasoningPart()),
        PartDelta(index=0, text="secret"),
        PartEnded(index=0, state=thought.state),
        request=request,
    )
    assert "secret" not in json.dumps(events)
    assert any(event.get("delta", {}).get("signature") for event in events)


@pytest.mark.parametrize("kind", list(ErrorKind))
def test_every_error_has_the_apis_shape(kind: ErrorKind) -> None:
    error = PolyrouteError(kind, "Something: went wrong", code="a_code", request_id="req_1")
    body = json.loads(CODEC.render_error(error))
    known = {
        get_args(t.model_fields["type"].annotation)[0]
        for t in get_args(get_args(anthropic.types.shared.ErrorObject)[0])
    }
    assert body["type"] == "error"
    assert body["error"]["type"] in known | {"request_too_large"}  # documented, but not in the SDK's union
    assert "went wrong" in body["error"]["message"]
    assert body["request_id"] == "req_1"
    renderer = CODEC.renderer(_REQUEST, "1", 0)
    (event,) = _events(renderer.error(error))
    assert event["error"] == body["error"]


def test_a_long_context_is_told_in_the_words_that_clients_look_for() -> None:
    body = json.loads(CODEC.render_error(PolyrouteError(ErrorKind.CONTEXT_TOO_LONG, "too many tokens")))
    assert body["error"]["message"].startswith("prompt is too long")
